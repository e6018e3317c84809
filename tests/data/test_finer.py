"""An image on a finer grid: bicubic, lazy, the same whatever is read of it."""

from __future__ import annotations

import numpy as np
import pytest

from napari_unet.data.finer import FinerImage, finer_size, on_finer_grid


def image(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((3, 12, 17)).astype(np.float32)


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_it_has_as_many_pixels_along_y_and_x_and_no_more_along_others(factor: int) -> None:
    finer = FinerImage(image(), "ZYX", factor)
    assert finer.shape == (3, 12 * factor, 17 * factor)
    assert np.asarray(finer).shape == finer.shape


def test_a_region_is_the_same_as_that_of_the_whole() -> None:
    finer = FinerImage(image(), "ZYX", 4)
    whole = np.asarray(finer)
    for box in [
        (slice(0, 3), slice(5, 31), slice(0, 9)),
        (slice(1, 2), slice(40, 48), slice(60, 68)),
    ]:
        np.testing.assert_array_equal(finer[box], whole[box])
    np.testing.assert_array_equal(finer[1, 3:9, 7], whole[1, 3:9, 7])


def test_straight_lines_stay_straight_inside() -> None:
    ramp = np.tile(np.arange(20.0, dtype=np.float32), (20, 1))
    finer = np.asarray(FinerImage(ramp, "YX", 2))
    np.testing.assert_allclose(finer[20, 4:36], (np.arange(4, 36) + 0.5) / 2 - 0.5, atol=1e-5)


def test_flat_images_stay_as_they_are() -> None:
    finer = np.asarray(FinerImage(np.full((5, 5), 7, np.uint8), "YX", 3))
    np.testing.assert_allclose(finer, 7, atol=1e-5)
    assert finer.dtype == np.float32


def test_once_as_fine_is_the_image_itself() -> None:
    pixels = image()
    assert on_finer_grid(pixels, "ZYX", 1) is pixels


def test_pixels_are_smaller_along_y_and_x_alone() -> None:
    assert finer_size({"Z": 2.0, "Y": 0.5, "X": 0.5}, 2) == {"Z": 2.0, "Y": 0.25, "X": 0.25}
