"""Which objects of two label images overlap, and how much."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from napari_unet.errors import LabelsError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    IntArray = NDArray[np.integer[Any]]
    Positions = NDArray[np.intp]


class JointCounts(NamedTuple):
    """How often each pair of values occurs at the same pixel of two label images."""

    first_values: IntArray
    """Distinct values, ascending, in the dtype of the image; `second_values` likewise."""
    second_values: IntArray
    first_index: Positions
    """Per pair that occurs, ascending: position in `first_values`; `second_index` likewise."""
    second_index: Positions
    pixels: NDArray[np.int64]
    """Per pair: number of pixels, int64, never 0."""


def joint_counts(first: IntArray, second: IntArray) -> JointCounts:
    """Count the pairs of values that two label images of one shape hold at the same pixel.

    Neighbours along the last axis mostly hold the same pair, so the images are first cut into runs
    of equal pairs: only these, not the pixels, are sorted. Values may be sparse, large and of
    different integer dtypes. Other shapes raise LabelsError.
    """
    check_same_shape(first, second)
    flat_first, flat_second = first.ravel(), second.ravel()
    new_run = np.ones(flat_first.size, bool)
    new_run[1:] = flat_first[1:] != flat_first[:-1]
    new_run[1:] |= flat_second[1:] != flat_second[:-1]
    starts = np.flatnonzero(new_run)
    lengths = np.diff(starts, append=flat_first.size)

    first_values, first_run = np.unique(flat_first[starts], return_inverse=True)
    second_values, second_run = np.unique(flat_second[starts], return_inverse=True)
    n_seconds = max(len(second_values), 1)
    pairs, pair_run = np.unique(first_run * n_seconds + second_run, return_inverse=True)
    # float64 weights are exact up to 2**53 pixels
    pixels = np.bincount(pair_run, weights=lengths, minlength=len(pairs)).astype(np.int64)
    return JointCounts(first_values, second_values, pairs // n_seconds, pairs % n_seconds, pixels)


def keep_numbers(labels: IntArray, previous: IntArray) -> NDArray[np.int32]:
    """Renumber objects 1..N like those they overlap with, so that colours do not flicker.

    Two objects that overlap most with each other share the number of the previous one; the other
    objects get numbers above all previous ones. The result is int32; other shapes, and numbers that
    are too large for it, raise LabelsError.
    """
    check_same_shape(labels, previous)
    numbers, previous_numbers, _ = overlapping_pairs(labels, previous)
    mutual = _is_first(numbers) & _is_first(previous_numbers)
    unmatched = np.bincount(labels.ravel().astype(np.intp, copy=False), minlength=1) > 0
    unmatched[0] = False
    unmatched[numbers[mutual]] = False
    largest, n_fresh = int(previous.max(initial=0)), int(np.count_nonzero(unmatched))
    check_fits(largest + n_fresh, np.dtype(np.int32))
    kept = np.zeros(unmatched.size, np.int32)
    kept[numbers[mutual]] = previous_numbers[mutual]
    kept[unmatched] = np.arange(largest + 1, largest + n_fresh + 1)
    renumbered: NDArray[np.int32] = kept[labels]
    return renumbered


def overlapping_pairs(labels: IntArray, previous: IntArray) -> tuple[IntArray, IntArray, IntArray]:
    """List the pairs of objects that overlap, and in how many pixels; falling, then by number."""
    joint = joint_counts(labels, previous)
    firsts = joint.first_values[joint.first_index]
    seconds = joint.second_values[joint.second_index]
    both = np.flatnonzero((firsts > 0) & (seconds > 0))
    chosen = both[np.argsort(-joint.pixels[both], kind="stable")]
    return firsts[chosen], seconds[chosen], joint.pixels[chosen]


def _is_first(numbers: IntArray) -> NDArray[np.bool_]:
    first = np.zeros(numbers.size, bool)
    first[np.unique(numbers, return_index=True)[1]] = True
    return first


def check_same_shape(first: IntArray, second: IntArray) -> None:
    """Raise LabelsError for label images of different shapes."""
    if first.shape != second.shape:
        raise LabelsError(
            f"Labels of shape {first.shape} do not fit those of shape {second.shape}; "
            "choose layers of the same size."
        )


def check_fits(number: int, dtype: np.dtype[Any]) -> None:
    """Raise LabelsError for a number that labels of a dtype cannot hold."""
    largest = np.iinfo(dtype).max
    if number > largest:
        raise LabelsError(
            f"The new number {number} does not fit into labels of dtype {dtype}, which end at "
            f"{largest}; convert them to a wider dtype, for example uint32, or renumber them."
        )
