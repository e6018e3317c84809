from __future__ import annotations

import numpy as np
import pytest

from napari_unet.data import labels as paint
from napari_unet.data.labels import (
    copy_of_paint,
    paint_box,
    pixels_per_number,
    same_paint,
    values_in,
)


@pytest.fixture(autouse=True)
def narrow_bands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paint, "_BAND_PIXELS", 40)


def sparse(dtype: str = "uint16") -> np.ndarray:
    """Labels of 30 x 20 x 10, painted in two far places."""
    labels = np.zeros((30, 20, 10), dtype)
    labels[4, 3:6, 7] = 2
    labels[20, 11, 2:5] = 1
    return labels


@pytest.mark.parametrize("dtype", ["uint16", "int64", "bool"])
def test_the_box_of_the_paint_holds_all_of_it_and_no_more(dtype: str) -> None:
    assert paint_box(sparse(dtype)) == (slice(4, 21), slice(3, 12), slice(2, 8))


def test_unpainted_labels_have_no_box() -> None:
    assert paint_box(np.zeros((30, 20), np.uint8)) is None


def test_a_copy_of_paint_is_equal_and_its_own() -> None:
    labels = sparse()

    copied = copy_of_paint(labels)

    np.testing.assert_array_equal(copied, labels)
    assert (copied.dtype, np.shares_memory(copied, labels)) == (labels.dtype, False)


def test_paint_differs_where_one_pixel_differs() -> None:
    labels = sparse()
    other = labels.copy()
    other[29, 19, 9] = 1

    assert same_paint(labels, labels.copy())
    assert not same_paint(labels, other)
    assert not same_paint(labels, labels[:-1])


def test_the_values_of_labels_are_those_of_all_bands() -> None:
    assert values_in(sparse()) == {0, 1, 2}
    assert values_in(np.full((9, 9), 3)) == {3}


def test_pixels_are_counted_across_bands() -> None:
    labels = np.random.default_rng(0).integers(0, 50, (7, 5, 4)).astype(np.uint16)
    np.testing.assert_array_equal(pixels_per_number(labels), np.bincount(labels.ravel()))


def test_nothing_is_counted_in_nothing() -> None:
    assert pixels_per_number(np.zeros((0, 5), np.int32)).tolist() == [0]
