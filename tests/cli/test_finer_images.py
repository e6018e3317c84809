"""Super-resolution on the command line: ``--targets`` that are finer than the images."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_unet.io.files import read_image, write_image
from training.test_finer_images import squares

from .builders import TINY, run

if TYPE_CHECKING:
    from pathlib import Path

Capture = pytest.CaptureFixture[str]


@pytest.mark.parametrize("form", ["tiff", "zarr"])
def test_images_are_made_finer_with_pixels_of_their_size(
    capsys: Capture, tmp_path: Path, form: str
) -> None:
    size = {"Y": 0.5, "X": 0.5}
    for number in range(2):
        coarse, fine = squares(number, 2, 64)
        for name, pixels in (("coarse", coarse), ("fine", fine)):
            (tmp_path / name).mkdir(exist_ok=True)
            write_image(tmp_path / name / f"a{number}.tif", pixels, "YX", size)
    model = tmp_path / "m.safetensors"
    pairs = ("--images", tmp_path / "coarse", "--targets", tmp_path / "fine")
    outcome = run(capsys, "train", *pairs, *TINY, "--output", model)
    assert outcome.code == 0, outcome.err
    assert "Bicubic enlargement, to compare: PSNR" in outcome.err + outcome.out
    given = ("--output", tmp_path / "made", "--device", "cpu", "--format", form)
    outcome = run(capsys, "predict", model, tmp_path / "coarse", *given)
    assert outcome.code == 0, outcome.err
    made = read_image(tmp_path / "made" / ("a0.tif" if form == "tiff" else "a0.zarr"))
    assert np.shape(made.array) == (64, 64)
    assert made.pixel_size["X"] == pytest.approx(0.25, rel=1e-3)
