"""Which object of one frame goes on as which of the next: overlap, and scipy's assignment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from napari_unet.objects.overlaps import joint_counts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    IntArray = NDArray[np.integer[Any]]
    Positions = NDArray[np.intp]

_MOSTLY = 0.5  # share of a daughter that lies in its mother
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
        return Overlaps(
            self.previous[chosen],
            self.following[chosen],
            self.iou[chosen],
            self.share_of_previous[chosen],
            self.share_of_following[chosen],
        )


_NOWHERE, _NOTHING = np.zeros(0, np.intp), np.zeros(0)
NO_OVERLAPS = Overlaps(_NOWHERE, _NOWHERE, _NOTHING, _NOTHING, _NOTHING)


def joined(parts: Sequence[Overlaps]) -> Overlaps:
    """Return the pairs of several lists in one; at least one list."""
    return Overlaps(
        np.concatenate([part.previous for part in parts]),
        np.concatenate([part.following for part in parts]),
        np.concatenate([part.iou for part in parts]),
        np.concatenate([part.share_of_previous for part in parts]),
        np.concatenate([part.share_of_following for part in parts]),
    )


def overlaps_between(
    previous: IntArray, following: IntArray, previous_sizes: IntArray, following_sizes: IntArray
) -> Overlaps:
    """List the pairs of objects of two frames that overlap; 0 is background.

    The frames have one shape, and are parts of frames where something was cut off; sizes are the
    pixels of each object in its whole frame, by its number.
    """
    joint = joint_counts(previous, following)
    firsts = joint.first_values[joint.first_index].astype(np.intp)
    seconds = joint.second_values[joint.second_index].astype(np.intp)
    both = (firsts > 0) & (seconds > 0)
    firsts, seconds, pixels = firsts[both], seconds[both], joint.pixels[both]
    first_sizes, second_sizes = previous_sizes[firsts], following_sizes[seconds]
    return Overlaps(
        firsts,
        seconds,
        pixels / (first_sizes + second_sizes - pixels),
        pixels / first_sizes,
        pixels / second_sizes,
    )


def divisions_among(overlaps: Overlaps) -> Overlaps:
    """Find the pairs of mother and daughter.

    Two or more objects that lie mostly in one of the previous frame are its daughters, unless one
    of them covers nearly all of it: then the others are fragments.
    """
    inside = overlaps.where(overlaps.share_of_following > _MOSTLY)
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
