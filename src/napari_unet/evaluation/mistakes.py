"""What is wrong with objects: missed, false, merged, split.

A true object is

- *merged* if a predicted object covers more than half of it and more than half of another true
  object;
- *split* if at least two predicted objects each lie with more than half of their area in it and
  together cover more than half of it;
- *missed* if no predicted object matches it at IoU 0.5 and it is neither merged nor split.

A predicted object is *false* if it matches nothing and takes no part in a merger or a split. A
true object may be merged and split at once, and one that is matched may be either: a small
neighbour swallowed, or a crumb beside the match, is a merger or a split all the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_unet.evaluation.objects import match_objects

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_unet.evaluation.overlap import Overlap

    Flags = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Mistakes:
    """Which objects of an overlap are wrong, and how.

    The first three have one entry per true object, in the order of ``overlap.truth_ids``; the
    others one per predicted object, in the order of ``overlap.prediction_ids``.
    """

    missed: Flags
    merged: Flags
    split: Flags
    false: Flags
    merging: Flags
    """Covers more than half of several true objects."""
    piece: Flags
    """A part of a split one."""


@dataclass(frozen=True)
class MistakeCounts:
    """How many objects are wrong, of one image or, after adding, of several."""

    n_missed: int = 0
    n_false: int = 0
    n_merged: int = 0
    n_split: int = 0

    def __add__(self, other: MistakeCounts) -> MistakeCounts:
        """Pool with the counts of other images."""
        return MistakeCounts(
            self.n_missed + other.n_missed,
            self.n_false + other.n_false,
            self.n_merged + other.n_merged,
            self.n_split + other.n_split,
        )

    def scores(self) -> dict[str, int]:
        """Return the counts under the keys that `evaluate` documents."""
        return {
            "n_missed": self.n_missed,
            "n_false": self.n_false,
            "n_merged": self.n_merged,
            "n_split": self.n_split,
        }


def find_mistakes(overlap: Overlap) -> Mistakes:
    """Tell which true objects are missed, merged or split, and which predicted ones are false.

    Parameters
    ----------
    overlap : Overlap
        From `overlap_of` or `overlap_within`.
    """
    merging, merged = _mergers(overlap)
    piece, split = _splits(overlap)
    match = match_objects(overlap)
    matched = np.isin(overlap.truth_ids, match.truth_ids)
    matching = np.isin(overlap.prediction_ids, match.prediction_ids)
    return Mistakes(
        missed=~(matched | merged | split),
        merged=merged,
        split=split,
        false=~(matching | merging | piece),
        merging=merging,
        piece=piece,
    )


def count_mistakes(overlap: Overlap) -> MistakeCounts:
    """Count the objects that `find_mistakes` finds."""
    found = find_mistakes(overlap)
    return MistakeCounts(
        n_missed=int(np.count_nonzero(found.missed)),
        n_false=int(np.count_nonzero(found.false)),
        n_merged=int(np.count_nonzero(found.merged)),
        n_split=int(np.count_nonzero(found.split)),
    )


def _mergers(overlap: Overlap) -> tuple[Flags, Flags]:
    """Return which predicted objects merge, and which true objects are merged."""
    covers = 2 * overlap.intersections > overlap.truth_areas[overlap.truth_index]
    n_covered = np.bincount(overlap.prediction_index[covers], minlength=overlap.n_predicted)
    merging = n_covered >= 2
    merged = np.zeros(overlap.n_truth, bool)
    merged[overlap.truth_index[covers & merging[overlap.prediction_index]]] = True
    return merging, merged


def _splits(overlap: Overlap) -> tuple[Flags, Flags]:
    """Return which predicted objects are parts of a split object, and which those are."""
    lies_in = 2 * overlap.intersections > overlap.prediction_areas[overlap.prediction_index]
    parents = overlap.truth_index[lies_in]
    n_pieces = np.bincount(parents, minlength=overlap.n_truth)
    covered = np.bincount(
        parents, weights=overlap.intersections[lies_in], minlength=overlap.n_truth
    )
    split = (n_pieces >= 2) & (2 * covered > overlap.truth_areas)
    piece = np.zeros(overlap.n_predicted, bool)
    piece[overlap.prediction_index[lies_in & split[overlap.truth_index]]] = True
    return piece, split
