"""Binning: means of blocks, read region by region; labels by vote; results at full size."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_unet.data.binning import (
    binned_frame,
    binned_labels,
    binned_mask,
    choose_binning,
    typical_diameter,
)
from napari_unet.data.frames import Frame
from napari_unet.data.labels import Unpainted
from napari_unet.data.rescaling import scaled_size

Array = Any

PAINT: Unpainted = "unlabelled"
MASKS: Unpainted = "background"


def discs(radius: int, spacing: int, number: int = 4) -> Array:
    rows, columns = np.mgrid[: spacing * number, : spacing * number]
    inside = np.hypot(rows % spacing - spacing // 2, columns % spacing - spacing // 2) < radius
    ids = rows // spacing * number + columns // spacing + 1
    return np.where(inside, ids, 0)


def test_a_binned_pixel_is_the_mean_of_its_block() -> None:
    image = np.arange(16, dtype=np.uint16).reshape(4, 4)
    binned = binned_frame(Frame(image, "YX", 2), 2).read((slice(0, 2), slice(0, 2)))
    np.testing.assert_array_equal(binned, [[[2.5, 4.5], [10.5, 12.5]]])


def test_a_factor_of_one_leaves_the_frame_alone() -> None:
    frame = Frame(np.zeros((4, 4)), "YX", 2)
    assert binned_frame(frame, 1) is frame


def test_planes_are_binned_and_z_is_not() -> None:
    frame = binned_frame(Frame(np.zeros((5, 8, 9)), "ZYX", 3), 3)
    assert frame.spatial_shape == (5, 3, 3)


@given(factor=st.integers(1, 5), height=st.integers(1, 30), data=st.data())
def test_a_region_alone_is_what_it_is_in_the_whole(
    factor: int, height: int, data: st.DataObject
) -> None:
    image = np.random.default_rng(height).random((2, height, 17), dtype=np.float32)
    frame = binned_frame(Frame(image, "CYX", 2), factor)
    whole = frame.read((slice(None), slice(None)))
    start = data.draw(st.integers(0, frame.spatial_shape[0] - 1))
    stop = data.draw(st.integers(start + 1, frame.spatial_shape[0]))
    part = frame.read((slice(start, stop), slice(1, None, 2)))
    assert whole.shape == (2, *frame.spatial_shape)
    np.testing.assert_array_equal(part, whole[:, start:stop, 1::2])


def test_a_block_takes_the_label_of_most_of_its_pixels() -> None:
    labels = np.array([[3, 3, 0, 0], [3, 7, 7, 0]])
    np.testing.assert_array_equal(binned_labels(labels, 2, MASKS), [[3, 0]])


def test_a_thin_stroke_survives_where_the_rest_is_unlabelled() -> None:
    labels = np.zeros((3, 3), np.uint16)
    labels[1, 2] = 9
    np.testing.assert_array_equal(binned_labels(labels, 3, PAINT), [[9]])


def test_a_thin_stroke_is_outvoted_where_the_rest_is_background() -> None:
    labels = np.zeros((3, 3), np.uint16)
    labels[1, 2] = 9
    np.testing.assert_array_equal(binned_labels(labels, 3, MASKS), [[0]])


@given(factor=st.integers(2, 4), seed=st.integers(0, 99))
def test_binned_labels_are_among_those_of_their_block(factor: int, seed: int) -> None:
    labels = np.random.default_rng(seed).integers(0, 4, (11, 9))
    binned = binned_labels(labels, factor, PAINT)
    for row, column in np.ndindex(*binned.shape):
        block = labels[row * factor :, column * factor :][:factor, :factor]
        assert binned[row, column] in block
        assert binned[row, column] > 0 or not block.any()


def test_a_mask_marks_a_block_with_any_marked_pixel() -> None:
    mask = np.zeros((4, 4), bool)
    mask[3, 0] = True
    np.testing.assert_array_equal(binned_mask(mask, 2), [[False, False], [True, False]])


FACTORS = st.floats(0.25, 5, allow_nan=False)


@given(factor=FACTORS, height=st.integers(1, 30), seed=st.integers(0, 99))
def test_labels_lie_on_the_grid_of_the_frame(factor: float, height: int, seed: int) -> None:
    labels = np.random.default_rng(seed).integers(0, 4, (height, 17))
    frame = binned_frame(Frame(labels, "YX", 2), factor)
    assert binned_labels(labels, factor, PAINT).shape == frame.spatial_shape


@given(factor=FACTORS, seed=st.integers(0, 99), data=st.data())
def test_a_box_of_the_grid_is_what_it_is_in_the_whole(
    factor: float, seed: int, data: st.DataObject
) -> None:
    labels = np.random.default_rng(seed).integers(0, 4, (19, 17))
    whole = binned_labels(labels, factor, PAINT)
    start = data.draw(st.integers(0, len(whole) - 1))
    stop = data.draw(st.integers(start + 1, len(whole)))
    box = (slice(start, stop), slice(0, 2))
    np.testing.assert_array_equal(binned_labels(labels, factor, PAINT, box), whole[box])
    marked = binned_mask(labels > 2, factor)
    np.testing.assert_array_equal(binned_mask(labels > 2, factor, box), marked[box])


@given(factor=FACTORS, row=st.integers(0, 30))
def test_no_stroke_is_so_thin_that_it_is_missed(factor: float, row: int) -> None:
    labels = np.zeros((31, 9), int)
    labels[row] = 5
    assert (binned_labels(labels, factor, PAINT) == 5).any()


def test_a_factor_that_is_not_whole_takes_the_label_of_most_samples() -> None:
    labels = np.array([[1, 1, 2, 2, 2, 3]])
    np.testing.assert_array_equal(binned_labels(labels, 1.5, MASKS), [[1, 2, 2, 3]])


def test_enlarged_labels_are_those_of_the_nearest_pixel() -> None:
    np.testing.assert_array_equal(binned_labels(np.array([[4, 7]]), 0.5, MASKS), [[4, 4, 7, 7]] * 2)


@pytest.mark.parametrize("factor", [0.25, 0.33, 0.5, 0.67, 1.5, 2, 2.75])
def test_marks_cover_the_grid_of_the_frame(factor: float) -> None:
    sides = tuple(scaled_size(size, factor) for size in (13, 20))
    assert binned_mask(np.ones((13, 20), bool), factor).shape == sides


# --- how large is what is painted --------------------------------------------------------------


@pytest.mark.parametrize("radius", [3, 10, 25, 66])
def test_the_diameter_of_round_cells_is_measured(radius: int) -> None:
    found = typical_diameter([discs(radius, 2 * radius + 4)], MASKS)
    assert found == pytest.approx(2 * radius, rel=0.1)


def ellipse(long: int, short: int, turned: float) -> Array:
    y, x = np.mgrid[-100:101, -100:101]
    along = x * np.cos(turned) + y * np.sin(turned)
    across = y * np.cos(turned) - x * np.sin(turned)
    return ((along / long) ** 2 + (across / short) ** 2 < 1).astype(int)


@pytest.mark.parametrize("turned", [0, 0.4, np.pi / 4])
@pytest.mark.parametrize("unpainted", [MASKS, PAINT])
def test_a_long_cell_counts_by_its_area_however_it_lies(
    turned: float, unpainted: Unpainted
) -> None:
    labels = ellipse(40, 20, turned) + (unpainted == PAINT) * 1
    assert typical_diameter([labels], unpainted) == pytest.approx(2 * (40 * 20) ** 0.5, rel=0.02)


def test_cells_that_are_painted_with_one_number_are_still_single_parts() -> None:
    labels = (discs(10, 24, 12) > 0).astype(int)
    assert typical_diameter([labels], MASKS) == pytest.approx(20, rel=0.1)


def test_debris_does_not_count() -> None:
    labels = discs(66, 140)
    labels[::20, :3] = 999
    assert typical_diameter([labels], MASKS) == pytest.approx(132, rel=0.02)


def test_a_stroke_tells_of_a_cell_longer_than_itself() -> None:
    labels = np.zeros((300, 300), int)
    for number in range(1, 6):
        labels[number * 50 : number * 50 + 5, 20:80] = number + 1  # 60 pixels long
    assert typical_diameter([labels], PAINT) == pytest.approx(96)


def test_a_rod_in_a_finished_mask_counts_by_its_width() -> None:
    labels = np.zeros((300, 300), int)
    for number in range(1, 6):
        labels[number * 50 : number * 50 + 12, 20:220] = number
    assert typical_diameter([labels], MASKS) == pytest.approx(24)


def test_a_cell_that_fills_all_that_is_painted_is_measured() -> None:
    labels = np.zeros((40, 40), int)
    labels[10:30, 10:30] = 2
    assert typical_diameter([labels], PAINT) == pytest.approx(22.6, abs=0.1)


def test_the_painted_background_is_no_object() -> None:
    labels = discs(10, 24) + 1
    assert typical_diameter([labels], PAINT) == pytest.approx(20, rel=0.1)


def test_a_dab_of_the_brush_is_no_small_cell() -> None:
    labels = discs(3, 60)
    assert typical_diameter([np.where(labels > 0, labels + 1, 0)], PAINT) == 0


def test_a_small_cell_is_known_by_the_background_around_it() -> None:
    labels = np.zeros((40, 40), int)
    labels[15:25, 15:25] = 1  # a dab of background
    labels[17:23, 17:23] = 2  # and in it a cell
    assert typical_diameter([labels], PAINT) == pytest.approx(6.8, abs=0.1)


@pytest.mark.parametrize(
    ("labels", "unpainted"),
    [
        pytest.param(np.zeros((9, 9), int), MASKS, id="nothing painted"),
        pytest.param(np.zeros((0, 9), int), MASKS, id="no pixel"),
    ],
)
def test_where_nobody_can_tell_the_size_is_unknown(labels: Array, unpainted: Unpainted) -> None:
    assert typical_diameter([labels], unpainted) == 0


def test_of_a_volume_sections_are_measured() -> None:
    volume = np.stack([discs(20, 50)] * 3)
    assert typical_diameter([volume[np.newaxis]], MASKS) == pytest.approx(40, rel=0.02)


# --- the binning at which they are seen --------------------------------------------------------


@pytest.mark.parametrize("diameter", [14, 20, 30, 35, 36])
def test_cells_of_a_comfortable_size_are_seen_as_they_are(diameter: float) -> None:
    assert choose_binning(diameter) == 1


@pytest.mark.parametrize(
    ("diameter", "binning"),
    [(6, 0.25), (10, 0.33), (13, 0.5), (37, 1.25), (60, 1.5), (115, 3), (200, 5.25), (999, 8)],
)
def test_others_are_brought_to_the_best_size(diameter: float, binning: float) -> None:
    assert choose_binning(diameter) == binning


def test_cells_of_unknown_size_are_seen_as_they_are() -> None:
    assert choose_binning(0) == 1


def test_the_binning_is_no_larger_than_allowed() -> None:
    assert choose_binning(180, 2.25) == 2.25
