"""Which objects of two label images overlap, and how much."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.errors import LabelsError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    IntArray = NDArray[np.integer[Any]]


def keep_numbers(labels: IntArray, former: IntArray) -> NDArray[np.int32]:
    """Renumber objects like those they overlap with, so that colours do not flicker.

    Parameters
    ----------
    labels : ndarray
        ``[Z]YX``: 0 background, objects 1..N.
    former : ndarray
        Of the same shape: the former prediction, with any numbers.

    Returns
    -------
    ndarray
        int32. Two objects that overlap most with each other share the number of the former
        one; the other objects get numbers above all former ones.

    Raises
    ------
    LabelsError
        The shapes differ, or a number is too large for int32.
    """
    check_same_shape(labels, former)
    numbers, former_numbers, _ = overlapping_pairs(labels, former)
    mutual = _is_first(numbers) & _is_first(former_numbers)
    unmatched = np.bincount(labels.ravel().astype(np.intp, copy=False), minlength=1) > 0
    unmatched[0] = False
    unmatched[numbers[mutual]] = False
    largest, n_fresh = int(former.max(initial=0)), int(np.count_nonzero(unmatched))
    check_fits(largest + n_fresh, np.dtype(np.int32))
    kept = np.zeros(unmatched.size, np.int32)
    kept[numbers[mutual]] = former_numbers[mutual]
    kept[unmatched] = np.arange(largest + 1, largest + n_fresh + 1)
    renumbered: NDArray[np.int32] = kept[labels]
    return renumbered


def overlapping_pairs(labels: IntArray, former: IntArray) -> tuple[IntArray, IntArray, IntArray]:
    """List the pairs of objects that overlap, and in how many pixels; falling, then by number."""
    both = (labels > 0) & (former > 0)
    first, second = labels[both], former[both]
    # Neighbours mostly hold the same pair: only the beginnings of runs are sorted.
    begins = np.ones(first.size, bool)
    begins[1:] = (first[1:] != first[:-1]) | (second[1:] != second[:-1])
    starts = np.flatnonzero(begins)
    lengths = np.diff(starts, append=first.size)
    firsts, first_code = np.unique(first[starts], return_inverse=True)
    seconds, second_code = np.unique(second[starts], return_inverse=True)
    n_seconds = max(seconds.size, 1)
    pairs, pair_of = np.unique(first_code * n_seconds + second_code, return_inverse=True)
    pixels = np.bincount(pair_of, lengths, minlength=pairs.size).astype(np.int64)
    order = np.argsort(-pixels, kind="stable")
    pairs = pairs[order]
    return firsts[pairs // n_seconds], seconds[pairs % n_seconds], pixels[order]


def _is_first(numbers: IntArray) -> NDArray[np.bool_]:
    first = np.zeros(numbers.size, bool)
    first[np.unique(numbers, return_index=True)[1]] = True
    return first


def check_same_shape(first: IntArray, second: IntArray) -> None:
    """Refuse label images of different shapes.

    Raises
    ------
    LabelsError
        They have different shapes.
    """
    if first.shape != second.shape:
        raise LabelsError(
            f"Labels of shape {first.shape} do not fit those of shape {second.shape}; "
            "choose layers of the same size."
        )


def check_fits(number: int, dtype: np.dtype[Any]) -> None:
    """Refuse a number that labels of a dtype cannot hold.

    Raises
    ------
    LabelsError
        It does not fit.
    """
    largest = np.iinfo(dtype).max
    if number > largest:
        raise LabelsError(
            f"The new number {number} does not fit into labels of dtype {dtype}, which end at "
            f"{largest}; convert them to a wider dtype, for example uint32, or renumber them."
        )
