"""Another grid: means of areas or interpolation, region by region, and results brought back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_unet.data.frames import Frame, scaled_frame
from napari_unet.data.rescaling import (
    enlarged,
    mean_of_blocks,
    scaled_region,
    scaled_size,
)

Array = Any
FACTORS = st.one_of(st.integers(1, 5).map(float), st.floats(0.3, 4.0))


def noise(*shape: int) -> Array:
    return np.random.default_rng(sum(shape)).random(shape, dtype=np.float32)


def whole_of(frame: Frame) -> Array:
    return frame.read(tuple(slice(0, size) for size in frame.spatial_shape))


def test_a_block_that_the_edge_cuts_is_the_mean_of_what_there_is() -> None:
    np.testing.assert_array_equal(mean_of_blocks(np.array([1, 3, 10], np.float32), (2,)), [2, 10])


def test_pixels_of_a_coarser_grid_are_means_of_the_area_they_cover() -> None:
    image = np.array([[1, 2, 3, 4, 5, 6]], np.float32)
    found = whole_of(scaled_frame(Frame(image, "YX", 2), (1.0, 1.5)))
    expected = [(1 + 0.5 * 2) / 1.5, (0.5 * 2 + 3) / 1.5, (4 + 0.5 * 5) / 1.5, (2.5 + 6) / 1.5]
    np.testing.assert_allclose(found[0, 0], expected, rtol=1e-6)


def test_a_finer_grid_is_interpolated_linearly() -> None:
    ramp = np.arange(8, dtype=np.float32)[np.newaxis]
    found = whole_of(scaled_frame(Frame(ramp, "YX", 2), (1.0, 0.5)))
    np.testing.assert_allclose(found[0, 0, 1:-1], np.arange(14) / 2 + 0.25, atol=1e-6)


@given(factor=FACTORS, size=st.integers(1, 40))
def test_the_mean_of_an_image_is_kept(factor: float, size: int) -> None:
    image = np.full((size, size), 7, np.float32)
    found = whole_of(scaled_frame(Frame(image, "YX", 2), (factor, factor)))
    np.testing.assert_allclose(found, 7, rtol=1e-5)


@given(factor=FACTORS, data=st.data())
def test_a_region_alone_is_what_it_is_in_the_whole(factor: float, data: st.DataObject) -> None:
    frame = scaled_frame(Frame(noise(23, 31), "YX", 2), (1.0, factor))
    whole = whole_of(frame)
    rows, columns = frame.spatial_shape
    start = data.draw(st.integers(0, columns - 1))
    region = (slice(3, rows), slice(start, data.draw(st.integers(start + 1, columns))))
    np.testing.assert_allclose(frame.read(region), whole[(slice(None), *region)], atol=1e-5)


@given(size=st.integers(1, 500), factor=FACTORS)
def test_the_grid_covers_the_whole_image(size: int, factor: float) -> None:
    n = scaled_size(size, factor)
    assert n * factor >= size - 1e-3
    assert n == 1 or (n - 1) * factor < size


@pytest.mark.parametrize("factors", [(), (1, 1), (1.0, 1.0)], ids=["none", "whole", "real"])
def test_a_factor_of_one_leaves_the_frame_alone(factors: tuple[float, ...]) -> None:
    frame = Frame(noise(4, 4), "YX", 2)
    assert scaled_frame(frame, factors) is frame


def test_channels_and_window_are_kept() -> None:
    frame = Frame(noise(5, 3, 8, 8), "TCYX", 2, (2,), (0, 2), 3)
    scaled = scaled_frame(frame, (2.0, 2.0))
    assert whole_of(scaled).shape == (6, 4, 4)
    np.testing.assert_allclose(
        whole_of(scaled), mean_of_blocks(whole_of(frame), (1, 2, 2)), rtol=1e-6
    )


@pytest.mark.parametrize("factor", [3.0, 2.5, 0.4], ids=str)
def test_a_linear_ramp_comes_back_as_a_ramp(factor: float) -> None:
    ramp = np.arange(24, dtype=np.float32)[np.newaxis, :].repeat(6, axis=0)
    coarse = whole_of(scaled_frame(Frame(ramp, "YX", 2), (1.0, factor)))
    back = enlarged(coarse, (0, 0), (slice(0, 6), slice(0, 24)), (1.0, factor))
    np.testing.assert_allclose(back[0, :, 3:-5], ramp[:, 3:-5], atol=0.05)


@given(factor=FACTORS, data=st.data())
def test_an_enlarged_region_alone_is_what_it_is_in_the_whole(
    factor: float, data: st.DataObject
) -> None:
    size, n = 31, scaled_size(31, factor)
    coarse = noise(1, n, n)
    whole = enlarged(coarse, (0, 0), (slice(0, size), slice(0, size)), (factor, factor))
    start = data.draw(st.integers(0, size - 1))
    region = (slice(start, data.draw(st.integers(start + 1, size))), slice(4, 9))
    box = scaled_region(region, (factor, factor), (n, n))
    part = enlarged(coarse[(slice(None), *box)], [b.start for b in box], region, (factor, factor))
    np.testing.assert_allclose(part, whole[(slice(None), *region)], atol=1e-5)


@pytest.mark.fault(15)
@pytest.mark.parametrize("bad", [np.nan, np.inf], ids=str)
@pytest.mark.parametrize("factor", [0.7, 1.5, 2, 2.3])
def test_a_bad_pixel_does_not_spread_beyond_what_it_covers(factor: float, bad: float) -> None:
    image = np.random.default_rng(0).random((40, 40)).astype(np.float32)
    good = scaled_frame(Frame(image, "YX", 2), (factor, factor))
    whole = tuple(slice(0, size) for size in good.spatial_shape)
    expected = good.read(whole)
    image = image.copy()
    image[20, 20] = bad
    found = scaled_frame(Frame(image, "YX", 2), (factor, factor)).read(whole)
    spoiled = ~np.isfinite(found)
    assert 1 <= spoiled.sum() <= (2 / factor + 2) ** 2
    np.testing.assert_allclose(found[~spoiled], expected[~spoiled], atol=1e-5)
