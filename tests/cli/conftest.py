from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from napari_unet.cli import main

from .builders import TINY, picture, training_folders

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> Iterator[None]:
    """Tiny networks are slower on several threads than on one."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def trained(folder: Path, kind: str) -> Path:
    model = folder / f"{kind}.safetensors"
    arguments = ["train", *training_folders(folder, *picture()), "--output", model, *TINY]
    assert main([str(a) for a in (*arguments, "--kind", kind, "--json")]) == 0
    return model


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of objects that the command line trained; read only."""
    return trained(tmp_path_factory.mktemp("objects"), "objects")


@pytest.fixture(scope="session")
def class_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of classes that the command line trained; read only."""
    return trained(tmp_path_factory.mktemp("classes"), "classes")
