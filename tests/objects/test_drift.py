"""The shift of a whole frame."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from skimage.registration import phase_cross_correlation

from napari_unet.objects.drift import drift_between, shared_part

Mask = NDArray[np.bool_]


def blobs(shape: tuple[int, ...], shift: tuple[int, ...] = ()) -> Mask:
    """A few boxes in the middle, moved."""
    mask = np.zeros(shape, bool)
    middle = tuple(size // 2 for size in shape)
    by = shift or (0,) * len(shape)
    for offset in (-9, 0, 4):
        box = (slice(c + s + offset, c + s + offset + 3) for c, s in zip(middle, by, strict=True))
        mask[tuple(box)] = True
    return mask


@given(st.integers(-25, 25), st.integers(-25, 25))
def test_a_shift_is_found(down: int, right: int) -> None:
    assert drift_between(blobs((81, 97)), blobs((81, 97), (down, right))) == (down, right)


def test_scikit_image_finds_the_same_shift() -> None:
    previous, following = blobs((81, 97)), blobs((81, 97), (-13, 22))
    expected, _, _ = phase_cross_correlation(following, previous, normalization=None)
    assert drift_between(previous, following) == tuple(expected)


def test_a_shift_of_a_volume_is_found() -> None:
    shape = (30, 40, 50)
    assert drift_between(blobs(shape), blobs(shape, (2, -7, 9))) == (2, -7, 9)


def test_a_large_frame_is_read_in_steps() -> None:
    shape = (2200, 2200)
    previous, following = np.zeros(shape, bool), np.zeros(shape, bool)
    previous[900:1300, 800:1000] = True
    following[960:1360, 840:1040] = True
    assert drift_between(previous, following) == (60, 40)


@pytest.mark.parametrize("empty", ["previous", "following"])
def test_an_empty_frame_has_not_moved(empty: str) -> None:
    masks = {"previous": blobs((40, 40)), "following": blobs((40, 40), (3, 3))}
    masks[empty][:] = False
    assert drift_between(**masks) == (0, 0)


def test_a_gain_that_may_be_chance_is_no_drift() -> None:
    previous, following = np.zeros((60, 60), bool), np.zeros((60, 60), bool)
    previous[10:30, 10:30], following[10:30, 11:31] = True, True
    assert drift_between(previous, following) == (0, 0)


def test_shared_parts_lie_on_each_other() -> None:
    previous, following = shared_part(blobs((81, 97)), blobs((81, 97), (5, -20)), (5, -20))
    np.testing.assert_array_equal(previous, following)


def test_a_shift_beyond_the_frame_shares_nothing() -> None:
    previous, following = shared_part(np.ones((4, 4)), np.ones((4, 4)), (5, 0))
    assert (previous.size, following.size) == (0, 0)
