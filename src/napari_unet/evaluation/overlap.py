"""A prediction and its truth: checked, where their objects touch, and what is wrong with them.

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

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.errors import EvaluationError
from napari_unet.objects.overlaps import JointCounts, joint_counts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_unet.data.labels import IntArray, Unpainted

    Positions = NDArray[np.intp]
    Flags = NDArray[np.bool_]
    # Prediction, truth, and where the truth is known (None means everywhere), ``[Z]YX``
    Pair = tuple[IntArray, IntArray, NDArray[np.bool_] | None]


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

    @cached_property
    def matches(self) -> Positions:
        """Positions of the touching pairs that match at IoU 0.5; see `matched_pairs`."""
        return matched_pairs(self)

    @cached_property
    def _mergers(self) -> tuple[Flags, Flags]:
        """Which predicted objects merge, and which true objects are merged."""
        covers = 2 * self.intersections > self.truth_areas[self.truth_index]
        n_covered = np.bincount(self.prediction_index[covers], minlength=self.n_predicted)
        merging = n_covered >= 2
        merged = np.zeros(self.n_truth, bool)
        merged[self.truth_index[covers & merging[self.prediction_index]]] = True
        return merging, merged

    @cached_property
    def _splits(self) -> tuple[Flags, Flags]:
        """Which predicted objects are parts of a split object, and which those are."""
        lies_in = 2 * self.intersections > self.prediction_areas[self.prediction_index]
        parents = self.truth_index[lies_in]
        n_pieces = np.bincount(parents, minlength=self.n_truth)
        covered = np.bincount(parents, weights=self.intersections[lies_in], minlength=self.n_truth)
        split = (n_pieces >= 2) & (2 * covered > self.truth_areas)
        piece = np.zeros(self.n_predicted, bool)
        piece[self.prediction_index[lies_in & split[self.truth_index]]] = True
        return piece, split

    @property
    def merging(self) -> Flags:
        """Which predicted objects cover more than half of several true ones."""
        return self._mergers[0]

    @property
    def merged(self) -> Flags:
        """Which true objects are merged."""
        return self._mergers[1]

    @property
    def piece(self) -> Flags:
        """Which predicted objects are parts of a split one."""
        return self._splits[0]

    @property
    def split(self) -> Flags:
        """Which true objects are split."""
        return self._splits[1]

    @property
    def missed(self) -> Flags:
        """Which true objects are missed."""
        missed = ~(self.merged | self.split)
        missed[self.truth_index[self.matches]] = False
        return missed

    @property
    def false(self) -> Flags:
        """Which predicted objects are false."""
        false = ~(self.merging | self.piece)
        false[self.prediction_index[self.matches]] = False
        return false

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


# --- A prediction and its truth, checked, in which 0 is background whatever was painted ----------


def prepared_pair(
    prediction: IntArray, truth: IntArray, unpainted: Unpainted, may_hold_1: bool
) -> Pair:
    """Make 0 the background of both images, which are from `checked_images`.

    `may_hold_1` is whether 1, the background of painted truth, is that of predictions as well.
    """
    if unpainted == "background":
        return prediction, truth, None
    if may_hold_1:
        prediction = _with_1_as_background(prediction)
    return prediction, _with_1_as_background(truth), truth != 0


def n_counted(pair: Pair) -> int:
    """Return the number of pixels where the truth is known."""
    _, truth, counted = pair
    return truth.size if counted is None else int(np.count_nonzero(counted))


def checked_images(
    predictions: NDArray[Any] | Sequence[NDArray[Any]], truth: NDArray[Any] | Sequence[NDArray[Any]]
) -> list[tuple[IntArray, IntArray]]:
    """Return pairs of a prediction and its truth.

    EvaluationError: numbers of images or shapes differ; labels are no whole numbers or negative.
    """
    predicted_images = _listed(predictions)
    true_images = _listed(truth)
    if not true_images or len(predicted_images) != len(true_images):
        raise EvaluationError(
            f"There are {len(predicted_images)} predictions and {len(true_images)} truth images; "
            "give one prediction for each truth image."
        )
    return [
        checked_pair(predicted, true, f"Prediction {i}", f"Truth {i}")
        for i, (predicted, true) in enumerate(zip(predicted_images, true_images, strict=True))
    ]


def checked_pair(
    predicted: NDArray[Any], true: NDArray[Any], name: str, true_name: str
) -> tuple[IntArray, IntArray]:
    """Return a prediction and its truth, which errors call by their names; see `checked_images`."""
    prediction, true_labels = _checked_labels(predicted, name), _checked_labels(true, true_name)
    if prediction.shape != true_labels.shape:
        raise EvaluationError(
            f"{name} has shape {prediction.shape}, its truth {true_labels.shape} ({true_name}); "
            "give the prediction of the same image."
        )
    return prediction, true_labels


def _with_1_as_background(labels: IntArray) -> IntArray:
    return np.where(labels == 1, np.zeros_like(labels), labels)


def _listed(images: NDArray[Any] | Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
    return list(images) if isinstance(images, list | tuple) else [np.asarray(images)]


def _checked_labels(image: NDArray[Any], name: str) -> IntArray:
    labels = np.asarray(image)
    if labels.dtype.kind == "b":
        return labels.astype(np.uint8)
    if labels.dtype.kind not in "iu":
        raise EvaluationError(
            f"{name} has dtype {labels.dtype}; labels must be whole numbers. Save them as "
            "integers, for example uint16 (probabilities cannot be compared)."
        )
    if labels.ndim not in (2, 3):
        raise EvaluationError(
            f"{name} has {labels.ndim} axes; give label images with the axes YX or ZYX."
        )
    if labels.size and labels.min() < 0:
        raise EvaluationError(
            f"{name} holds the negative value {labels.min()}; use 0 for background and "
            "positive numbers for objects or classes."
        )
    return labels
