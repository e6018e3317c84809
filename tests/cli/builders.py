"""Image folders, and a way to run the command line, shared by the tests of this folder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import tifffile

from napari_unet.cli import main

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

Array = Any

TINY = [
    *("--steps", "3", "--base-channels", "2", "--depth", "2"),
    *("--patch-size", "32", "--batch-size", "2", "--device", "cpu"),
]


@dataclass(frozen=True)
class Outcome:
    """What a command left: exit code, stdout and stderr."""

    code: int
    out: str
    err: str

    @property
    def error_line(self) -> str:
        """The one line on stderr."""
        lines = self.err.splitlines()
        assert len(lines) == 1, self.err
        assert "Traceback" not in self.err
        return lines[0]


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> Outcome:
    capsys.readouterr()
    try:
        code = main([str(argument) for argument in arguments])
    except SystemExit as end:  # argparse's way out
        code = int(str(end.code))
    captured = capsys.readouterr()
    return Outcome(code, captured.out, captured.err)


def picture(size: int = 48) -> tuple[Array, Array]:
    """Four bright squares, painted as objects 2 to 5 with background (1) in the rows above."""
    image = np.random.default_rng(0).integers(0, 20, (size, size)).astype(np.uint8)
    labels = np.zeros((size, size), np.uint8)
    labels[:6] = 1
    for number, (row, column) in enumerate([(10, 8), (10, 26), (28, 8), (28, 26)]):
        image[row : row + 10, column : column + 10] += 100
        labels[row : row + 10, column : column + 10] = 2 + number
    return image, labels


def write_images(folder: Path, **images: Array) -> Path:
    """Write TIFF files named as the arguments; return their folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in images.items():
        tifffile.imwrite(folder / f"{name}.tif", array, photometric="minisblack")
    return folder


def training_folders(folder: Path, image: Array, labels: Array) -> list[object]:
    """Write an image with its labels; return the arguments that name them."""
    images = write_images(folder / "images", cells=image)
    painted = write_images(folder / "labels", cells=labels)
    return ["--images", images, "--labels", painted]
