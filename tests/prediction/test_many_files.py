"""Ten times the files take ten times the time, not a hundred times."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from napari_unet.io.files import find_images, pair_files
from napari_unet.io.outputs import check_apart, check_free
from napari_unet.prediction.config import PredictConfig
from napari_unet.prediction.files import FileFailed, predict_files

if TYPE_CHECKING:
    from pathlib import Path

FEW, TIMES = 300, 10

pytestmark = pytest.mark.fault(70)


def named(folder: Path, ending: str, number: int) -> list[Path]:
    """Make files that no reader can read, and find them."""
    folder.mkdir()
    for each in range(number):
        (folder / f"img_{each}{ending}.tif").touch()
    return find_images([folder])


def seconds_for(folder: Path, number: int) -> float:
    """Find, pair and check so many files, and try to predict each; return the processor's time."""
    folder.mkdir()
    began = time.process_time()
    images = named(folder / "images", "", number)
    pairs = pair_files(images, named(folder / "masks", "_mask", number))
    check_apart([folder / name.name for name, _ in pairs], images, "")
    check_free([folder / name.name for name, _ in pairs], "")
    unused: Any = None
    stop, output = threading.Event(), folder / "out"
    config = PredictConfig()
    events = predict_files(unused, images, output, config, stop, may_replace=lambda path: True)
    assert sum(isinstance(event, FileFailed) for event in events) == number
    return time.process_time() - began


def test_time_grows_with_the_number_of_files_and_not_with_its_square(tmp_path: Path) -> None:
    seconds_for(tmp_path / "first", FEW)  # imports, compiles
    few = min(seconds_for(tmp_path / f"few {number}", FEW) for number in range(3))
    many = seconds_for(tmp_path / "many", TIMES * FEW)
    assert many < 3 * TIMES * few
