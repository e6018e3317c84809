from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from napari_unet.prediction.cluster import connected

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of the user who runs the worker."""
    folder = tmp_path_factory.mktemp("there")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(os.environ, "XDG_DATA_HOME", str(folder))
        yield folder / "napari-unet-paint" / "remote"


@pytest.fixture(scope="module")
def address(there: Path) -> Iterator[str]:
    """A scheduler with one worker in a process of its own."""
    with connected(None, 1) as client:
        yield str(client.scheduler_info()["address"])
