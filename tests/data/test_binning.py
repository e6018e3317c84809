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
)
from napari_unet.data.frames import Frame
from napari_unet.data.labels import ClassTable

Array = Any

PAINT = ClassTable("objects", "unlabelled")
MASKS = ClassTable("objects", "background")


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


@pytest.mark.parametrize(("radius", "factor"), [(10, 1), (25, 1), (45, 2), (66, 3), (90, 4)])
def test_the_binning_grows_with_the_objects(radius: int, factor: int) -> None:
    labels = discs(radius, 2 * radius + 4)
    assert choose_binning([labels], MASKS, 2, 8) == factor


def test_cells_that_are_painted_with_one_number_are_still_single_parts() -> None:
    labels = (discs(10, 24, 12) > 0).astype(int)
    assert choose_binning([labels], MASKS, 2, 8) == 1


def test_debris_does_not_decide_the_binning() -> None:
    labels = discs(66, 140)
    labels[::20, :3] = 999
    assert choose_binning([labels], MASKS, 2, 8) == 3


def test_a_stroke_tells_of_a_cell_longer_than_itself() -> None:
    labels = np.zeros((300, 300), int)
    for number in range(1, 6):
        labels[number * 50 : number * 50 + 5, 20:80] = number + 1  # 60 pixels long
    assert choose_binning([labels], PAINT, 2, 8) == 2


def test_a_rod_in_a_finished_mask_is_not_binned_away() -> None:
    labels = np.zeros((300, 300), int)
    for number in range(1, 6):
        labels[number * 50 : number * 50 + 12, 20:220] = number
    assert choose_binning([labels], MASKS, 2, 8) == 1


def test_the_painted_background_is_no_object() -> None:
    labels = discs(10, 24) + 1
    assert choose_binning([labels], PAINT, 2, 8) == 1


def test_the_binning_is_no_larger_than_allowed() -> None:
    assert choose_binning([discs(90, 190)], MASKS, 2, 2) == 2


@pytest.mark.parametrize(
    ("labels", "table", "ndim"),
    [
        pytest.param(np.zeros((9, 9), int), MASKS, 2, id="nothing painted"),
        pytest.param(np.zeros((0, 9), int), MASKS, 2, id="no pixel"),
        pytest.param(discs(90, 190), ClassTable("classes", "background", (0, 1)), 2, id="classes"),
        pytest.param(discs(90, 190)[np.newaxis], MASKS, 3, id="a volume"),
    ],
)
def test_where_there_is_no_size_of_objects_nothing_is_binned(
    labels: Array, table: ClassTable, ndim: int
) -> None:
    assert choose_binning([labels], table, ndim, 8) == 1
