"""The folder that the commands of a page find themselves in, made once and copied for each page."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tifffile
from skimage.segmentation import relabel_sequential

from napari_unet.samples import load_nuclei_2d, sample_dir

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

SIDE = 128
# Corners of the small images, cut from the sample image.
TO_TRAIN_ON = {"nuclei_1.tif": (0, 0), "nuclei_2.tif": (200, 200)}
TO_PREDICT = {"nuclei_3.tif": (0, 300), "nuclei_4.tif": (350, 60)}


def cut(array: NDArray[Any], corner: tuple[int, int]) -> NDArray[Any]:
    y, x = corner
    return array[y : y + SIDE, x : x + SIDE]


def write(folder: Path, image: NDArray[Any], corners: dict[str, tuple[int, int]]) -> None:
    folder.mkdir()
    for name, corner in corners.items():
        small = cut(image, corner)
        if folder.name in ("labels", "truth"):
            small = relabel_sequential(small)[0].astype(np.uint16)
        tifffile.imwrite(folder / name, small, photometric="minisblack")


def train_briefly(folder: Path) -> None:
    """Write a model that knows nuclei: some steps from the starting model."""
    import napari_unet as nu

    images = [tifffile.imread(path) for path in sorted((folder / "images").iterdir())]
    labels = [tifffile.imread(path) for path in sorted((folder / "labels").iterdir())]
    changes = {"unpainted": "background", "device": "cpu"}
    config = nu.TrainConfig(steps=5, patch_size=64, learning_rate=1e-4, **changes)  # type: ignore[arg-type]
    nu.train(images, labels, config).save(folder / "cells.safetensors")


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What every page finds; read only."""
    folder = tmp_path_factory.mktemp("docs") / "template"
    shutil.copytree(sample_dir(), folder / "sample_data")
    image, _, labels = load_nuclei_2d()
    write(folder / "images", image, TO_TRAIN_ON)
    write(folder / "labels", labels, TO_TRAIN_ON)
    write(folder / "more_images", image, TO_PREDICT)
    write(folder / "truth", labels, TO_PREDICT)
    train_briefly(folder)
    return folder


@pytest.fixture
def scratch(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, which is the current folder; without a screen, and with a home of its own."""
    folder = tmp_path / "scratch"
    shutil.copytree(template, folder)
    monkeypatch.chdir(folder)
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))
    return folder
