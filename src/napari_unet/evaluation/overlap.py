"""Which objects of two label images touch, by how many pixels, and which are a match."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.errors import EvaluationError
from napari_unet.objects.overlaps import JointCounts, joint_counts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    IntArray = NDArray[np.integer[Any]]
    Positions = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Overlap:
    """The objects of a prediction and of a truth, and where they touch."""

    prediction_ids: IntArray
    """Ids of the objects, ascending, without the background 0; `truth_ids` likewise."""
    truth_ids: IntArray
    prediction_areas: NDArray[np.int64]
    """Pixels of each of these objects."""
    truth_areas: NDArray[np.int64]
    prediction_index: Positions
    """Per touching pair the position in `prediction_ids`; `truth_index` likewise."""
    truth_index: Positions
    intersections: NDArray[np.int64]
    """Per touching pair the common pixels, at least 1."""

    @property
    def n_predicted(self) -> int:
        """Number of predicted objects."""
        return len(self.prediction_ids)

    @property
    def n_truth(self) -> int:
        """Number of true objects."""
        return len(self.truth_ids)

    @property
    def iou(self) -> NDArray[np.float64]:
        """Intersection over union of each touching pair, above 0 and up to 1."""
        both_areas = (
            self.prediction_areas[self.prediction_index] + self.truth_areas[self.truth_index]
        )
        ratio: NDArray[np.float64] = self.intersections / (both_areas - self.intersections)
        return ratio

    def keeping(self, kept: NDArray[np.bool_]) -> Overlap:
        """Return the overlap with those predicted objects alone for which `kept` is True."""
        new_position = np.cumsum(kept) - 1
        pair_kept = kept[self.prediction_index]
        return replace(
            self,
            prediction_ids=self.prediction_ids[kept],
            prediction_areas=self.prediction_areas[kept],
            prediction_index=new_position[self.prediction_index[pair_kept]],
            truth_index=self.truth_index[pair_kept],
            intersections=self.intersections[pair_kept],
        )


def counts_of(prediction: IntArray, truth: IntArray) -> JointCounts:
    """Count the pairs of values of a truth (first) and its prediction (second).

    Both are of one shape and any integer dtype.
    """
    check_one_shape(prediction, truth)
    return joint_counts(truth, prediction)


def check_one_shape(prediction: NDArray[Any], truth: NDArray[Any]) -> None:
    """Refuse, by EvaluationError, images of different shapes."""
    if prediction.shape != truth.shape:
        raise EvaluationError(
            f"The prediction has shape {prediction.shape}, the truth {truth.shape}; "
            "compare images of the same size."
        )


def overlap_of(
    prediction: IntArray, truth: IntArray, counted: NDArray[np.bool_] | None = None
) -> Overlap:
    """Find the objects of two label images and their intersections.

    Images are ``[Z]YX`` of one shape (else EvaluationError) and any integer dtype; 0 is background,
    ids may be sparse and large, and need not correspond.

    `counted` is where the truth is known; everywhere by default. Elsewhere both images are ignored.
    Predicted objects with less than half of their pixels inside are left out, unless they cover
    more than half of a true object (a stroke inside a cell): nothing was painted there to refute
    them, so they would be false positives only because the painting stopped.

    Examples
    --------
    >>> import numpy as np
    >>> overlap = overlap_of(np.array([[7, 7, 0, 0]]), np.array([[0, 2, 2, 0]]))
    >>> overlap.iou.round(3).tolist()
    [0.333]
    """
    if counted is None:
        return _all_overlap(prediction, truth)
    inside = _all_overlap(prediction, counted.astype(np.uint8))
    pixels_inside = np.zeros(inside.n_predicted, np.int64)
    pixels_inside[inside.prediction_index] = inside.intersections
    mostly_inside = inside.prediction_ids[2 * pixels_inside >= inside.prediction_areas]

    overlap = _all_overlap(np.where(counted, prediction, 0), np.where(counted, truth, 0))
    kept = np.isin(overlap.prediction_ids, mostly_inside)
    covering = 2 * overlap.intersections > overlap.truth_areas[overlap.truth_index]
    kept[overlap.prediction_index[covering]] = True
    return overlap.keeping(kept)


def _all_overlap(prediction: IntArray, truth: IntArray) -> Overlap:
    joint = counts_of(prediction, truth)
    truth_areas = _area_per_value(joint.first_index, joint.pixels, len(joint.first_values))
    prediction_areas = _area_per_value(joint.second_index, joint.pixels, len(joint.second_values))

    is_true, is_predicted = joint.first_values != 0, joint.second_values != 0
    touching = is_true[joint.first_index] & is_predicted[joint.second_index]
    # ids are ascending, so leaving the background out moves every position by its place
    prediction_position = np.cumsum(is_predicted) - 1
    truth_position = np.cumsum(is_true) - 1
    return Overlap(
        prediction_ids=joint.second_values[is_predicted],
        truth_ids=joint.first_values[is_true],
        prediction_areas=prediction_areas[is_predicted],
        truth_areas=truth_areas[is_true],
        prediction_index=prediction_position[joint.second_index[touching]],
        truth_index=truth_position[joint.first_index[touching]],
        intersections=joint.pixels[touching],
    )


def matched_pairs(overlap: Overlap, iou_threshold: float = 0.5) -> Positions:
    """Pair predicted with true objects, each at most once.

    Two objects may become partners if their IoU is at least the threshold (``>=``). Of all
    pairings one with the most pairs is taken and, among these, with the largest sum of IoUs.
    Above 0.5 there is only one pairing, as no object can cover more than half of two others.

    Returned are positions, ascending, among the touching pairs of the overlap. A threshold that is
    not above 0 and up to 1 raises EvaluationError.
    """
    if not 0 < iou_threshold <= 1:
        raise EvaluationError(
            f"The IoU threshold is {iou_threshold}; choose one above 0 and up to 1."
        )
    ious = overlap.iou
    candidates = np.flatnonzero(ious >= iou_threshold)
    return candidates[
        _best_pairs(
            overlap.prediction_index[candidates], overlap.truth_index[candidates], ious[candidates]
        )
    ]


def _area_per_value(index: Positions, pixels: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    return np.bincount(index, weights=pixels, minlength=n).astype(np.int64)


def _best_pairs(
    prediction_index: Positions, truth_index: Positions, ious: NDArray[np.float64]
) -> Positions:
    """Return the positions of the pairs of the best one-to-one pairing."""
    if not len(ious):
        return np.zeros(0, np.intp)
    contested = (np.bincount(prediction_index)[prediction_index] > 1) | (
        np.bincount(truth_index)[truth_index] > 1
    )
    # Only rivals go into the dense gain table: thousands of clear pairs would fill gigabytes
    rivals = np.flatnonzero(contested)
    rows, row = np.unique(prediction_index[rivals], return_inverse=True)
    columns, column = np.unique(truth_index[rivals], return_inverse=True)
    gain = np.zeros((len(rows), len(columns)))
    # A further pair must outweigh any sum of IoUs, of which there are at most this many
    gain[row, column] = min(gain.shape) + 1 + ious[rivals]
    chosen_column = np.full(len(rows), -1)
    from scipy.optimize import linear_sum_assignment  # on use, as in boundaries

    assigned = linear_sum_assignment(gain, maximize=True)
    chosen_column[assigned[0]] = assigned[1]
    winners = rivals[chosen_column[row] == column]
    return np.sort(np.concatenate([np.flatnonzero(~contested), winners]))
