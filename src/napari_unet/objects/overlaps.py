"""Which objects of two label images overlap, how much, and which of them are the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from napari_unet.errors import LabelsError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from napari_unet.data.labels import IntArray

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


def joint_objects(first: IntArray, second: IntArray) -> tuple[IntArray, IntArray, IntArray]:
    """List the pairs of objects that overlap, by number, and in how many pixels."""
    joint = joint_counts(first, second)
    firsts = joint.first_values[joint.first_index]
    seconds = joint.second_values[joint.second_index]
    both = (firsts > 0) & (seconds > 0)
    return firsts[both], seconds[both], joint.pixels[both]


def overlapping_pairs(labels: IntArray, previous: IntArray) -> tuple[IntArray, IntArray, IntArray]:
    """List the pairs of objects that overlap, and in how many pixels; falling, then by number."""
    firsts, seconds, pixels = joint_objects(labels, previous)
    order = np.argsort(-pixels, kind="stable")
    return firsts[order], seconds[order], pixels[order]


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


# --- Which object of one frame goes on as which of the next: overlap, and scipy's assignment -----

_MOSTLY = 0.5  # share of a daughter that lies in its mother
_PARTLY = 0.3  # the same, where her sister lies mostly in her
_DAUGHTER = 0.75  # of her mother's size she is smaller
_NEARLY_ALL = 0.75  # what covers more of a mother is the mother herself, not a daughter


class Overlaps(NamedTuple):
    """Pairs of objects of two frames that overlap; one entry per pair."""

    previous: Positions
    """Number of the object in the previous frame, intp; `following` likewise."""
    following: Positions
    iou: NDArray[np.float64]
    """Pixels of both, of those of either; float64."""
    share_of_previous: NDArray[np.float64]
    """Pixels of both, of those of the previous one; float64."""
    share_of_following: NDArray[np.float64]

    def where(self, chosen: NDArray[np.bool_]) -> Overlaps:
        """Return some of the pairs."""
        return Overlaps._make(column[chosen] for column in self)

    def are_among(self, pairs: Iterable[tuple[int, int]]) -> NDArray[np.bool_]:
        """Return which of the pairs are some of previous and following."""
        among = np.zeros(self.previous.size, bool)
        for previous, following in pairs:
            among |= (self.previous == previous) & (self.following == following)
        return among


_NOWHERE, _NOTHING = np.zeros(0, np.intp), np.zeros(0)
NO_OVERLAPS = Overlaps(_NOWHERE, _NOWHERE, _NOTHING, _NOTHING, _NOTHING)


def concatenated(parts: Sequence[Overlaps]) -> Overlaps:
    """Return the pairs of several lists in one; at least one list."""
    return Overlaps._make(map(np.concatenate, zip(*parts, strict=True)))


def overlaps_between(
    previous: IntArray, following: IntArray, previous_sizes: IntArray, following_sizes: IntArray
) -> Overlaps:
    """List the pairs of objects of two frames that overlap; 0 is background.

    The frames have one shape, and are parts of frames where something was cut off; sizes are the
    pixels of each object in its whole frame, by its number.
    """
    firsts, seconds, pixels = joint_objects(previous, following)
    first_sizes, second_sizes = previous_sizes[firsts], following_sizes[seconds]
    return Overlaps(
        firsts.astype(np.intp),
        seconds.astype(np.intp),
        pixels / (first_sizes + second_sizes - pixels),
        pixels / first_sizes,
        pixels / second_sizes,
    )


def divisions_among(overlaps: Overlaps) -> Overlaps:
    """Find the pairs of mother and daughter.

    Two or more objects that lie mostly in one of the previous frame are its daughters, unless one
    of them covers nearly all of it: then the others are fragments. Daughters also move apart:
    beside one that lies mostly in it, another need only lie partly in it, and in no other object
    more, if both are as small as daughters are.
    """
    small = overlaps.share_of_previous < _DAUGHTER * overlaps.share_of_following  # sizes
    mostly = overlaps.share_of_following > _MOSTLY
    most = np.zeros(overlaps.following.max(initial=0) + 1)
    np.maximum.at(most, overlaps.following, overlaps.share_of_following)
    partly = overlaps.share_of_following == most[overlaps.following]
    partly &= small & (overlaps.share_of_following > _PARTLY) & ~mostly
    with_sister = np.zeros(overlaps.previous.max(initial=0) + 1, bool)
    with_sister[overlaps.previous[mostly & small]] = True
    inside = overlaps.where(mostly | (partly & with_sister[overlaps.previous]))
    if not inside.previous.size:
        return inside
    n_daughters = np.bincount(inside.previous)
    covered = np.zeros(n_daughters.size)
    np.maximum.at(covered, inside.previous, inside.share_of_previous)
    divides = (n_daughters >= 2) & (covered <= _NEARLY_ALL)
    return inside.where(divides[inside.previous])


def best_links(overlaps: Overlaps) -> tuple[Positions, Positions]:
    """Link each object to at most one of the other frame, so that the sum of IoU is largest.

    The numbers of the linked objects are returned, of the previous and of the following frame.
    """
    if not overlaps.iou.size:
        return overlaps.previous, overlaps.following
    alone = (np.bincount(overlaps.previous)[overlaps.previous] == 1) & (
        np.bincount(overlaps.following)[overlaps.following] == 1
    )
    contested = overlaps.where(~alone)
    firsts, seconds = _assigned(contested) if contested.iou.size else contested[:2]
    return (
        np.concatenate([overlaps.previous[alone], firsts]),
        np.concatenate([overlaps.following[alone], seconds]),
    )


def _assigned(pairs: Overlaps) -> tuple[Positions, Positions]:
    """Solve the assignment of pairs, as a sparse problem: most objects never meet.

    Every object of the previous frame may also take a partner of its own that stands for none.
    """
    from scipy.sparse import coo_array  # on use: windows open without it
    from scipy.sparse.csgraph import min_weight_full_bipartite_matching

    firsts, row = np.unique(pairs.previous, return_inverse=True)
    seconds, column = np.unique(pairs.following, return_inverse=True)
    n_rows, n_columns = len(firsts), len(seconds)
    nobody = np.arange(n_rows)
    costs = np.concatenate([2 - pairs.iou, np.full(n_rows, 2.0)])  # sparse arrays drop zeros
    rows, columns = np.concatenate([row, nobody]), np.concatenate([column, n_columns + nobody])
    table = coo_array((costs, (rows, columns)), shape=(n_rows, n_columns + n_rows)).tocsr()
    chosen_rows, chosen_columns = min_weight_full_bipartite_matching(table)
    linked = chosen_columns < n_columns
    return firsts[chosen_rows[linked]], seconds[chosen_columns[linked]]
