"""Scores that count objects: F1, AP, mAP (Data Science Bowl), SEG (Cell Tracking Challenge).

Everything is first counted per image; `ObjectCounts` of several images are pooled by adding
them, and only then turned into scores.

References
----------
Caicedo et al. 2019, Nucleus segmentation across imaging experiments: the 2018 Data Science
Bowl, Nature Methods 16 (AP and its mean over thresholds).
Maska et al. 2014, A benchmark for comparison of cell tracking algorithms, Bioinformatics 30
(SEG).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.errors import EvaluationError
from napari_unet.evaluation.overlap import overlap_where

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from napari_unet.evaluation.overlap import Overlap

# Whole hundredths divided once: each is the same float as the literal (0.55, not 0.55000000001)
THRESHOLDS = tuple(hundredths / 100 for hundredths in range(50, 100, 5))


@dataclass(frozen=True, eq=False)
class ObjectMatch:
    """A one-to-one pairing of predicted and true objects."""

    true_positives: int
    false_positives: int
    """Predicted objects without a partner."""
    false_negatives: int
    """True objects without a partner."""
    prediction_ids: NDArray[np.integer[Any]]
    """Ids of the partners, one entry per pair; `truth_ids` likewise."""
    truth_ids: NDArray[np.integer[Any]]
    ious: NDArray[np.float64]
    """Intersection over union of each pair, float64."""


@dataclass(frozen=True)
class ObjectCounts:
    """What is counted of one image or, after adding, of several.

    An image without any object, in the prediction and in the truth, adds nothing.
    """

    n_truth: int = 0
    n_predicted: int = 0
    matched: tuple[int, ...] = (0,) * len(THRESHOLDS)
    """Matched pairs at each of `THRESHOLDS`."""
    seg_sum: float = 0.0
    """Sum over the true objects of the IoU with the predicted object that covers more than half of
    them; 0 for those that have none.
    """

    def __add__(self, other: ObjectCounts) -> ObjectCounts:
        """Pool with the counts of other images."""
        return ObjectCounts(
            n_truth=self.n_truth + other.n_truth,
            n_predicted=self.n_predicted + other.n_predicted,
            matched=tuple(a + b for a, b in zip(self.matched, other.matched, strict=True)),
            seg_sum=self.seg_sum + other.seg_sum,
        )

    def f1(self, iou_threshold: float) -> float:
        """Return 2 TP / (2 TP + FP + FN) at one of `THRESHOLDS`; 1 if there are no objects."""
        n_objects = self.n_truth + self.n_predicted
        return 2 * self._true_positives(iou_threshold) / n_objects if n_objects else 1.0

    def ap(self, iou_threshold: float) -> float:
        """Return TP / (TP + FP + FN) at one of `THRESHOLDS`; 1 if there are no objects."""
        true_positives = self._true_positives(iou_threshold)
        n_distinct = self.n_truth + self.n_predicted - true_positives
        return true_positives / n_distinct if n_distinct else 1.0

    def precision(self, iou_threshold: float) -> float:
        """Return TP / (TP + FP) at one of `THRESHOLDS`; without predictions, 1 if all is empty."""
        if not self.n_predicted:
            return 0.0 if self.n_truth else 1.0
        return self._true_positives(iou_threshold) / self.n_predicted

    def recall(self, iou_threshold: float) -> float:
        """Return TP / (TP + FN) at one of `THRESHOLDS`; without true objects, 1 if all is empty."""
        if not self.n_truth:
            return 0.0 if self.n_predicted else 1.0
        return self._true_positives(iou_threshold) / self.n_truth

    @property
    def mean_ap(self) -> float:
        """Mean of `ap` over the IoU thresholds 0.50, 0.55, ... 0.95."""
        return _mean_over_thresholds(self.ap)

    @property
    def seg(self) -> float:
        """Mean over all true objects; without any, 1 if nothing was predicted either, else 0."""
        if self.n_truth:
            return self.seg_sum / self.n_truth
        return 0.0 if self.n_predicted else 1.0

    def scores(self) -> dict[str, float | int]:
        """Return the scores under the keys that `evaluate` documents."""
        scores: dict[str, float | int] = {}
        for name, at in (
            ("precision", self.precision),
            ("recall", self.recall),
            ("f1", self.f1),
            ("ap", self.ap),
        ):
            scores |= {f"{name}_50": at(0.5), f"{name}_75": at(0.75)}
        return scores | {
            "mean_precision": _mean_over_thresholds(self.precision),
            "mean_recall": _mean_over_thresholds(self.recall),
            "mean_f1": _mean_over_thresholds(self.f1),
            "map": self.mean_ap,
            "seg": self.seg,
            "n_truth": self.n_truth,
            "n_predicted": self.n_predicted,
        }

    def _true_positives(self, iou_threshold: float) -> int:
        if iou_threshold not in THRESHOLDS:
            raise EvaluationError(
                f"Objects were not counted at IoU {iou_threshold}; choose one of {THRESHOLDS}."
            )
        return self.matched[THRESHOLDS.index(iou_threshold)]


def match_objects(overlap: Overlap, iou_threshold: float = 0.5) -> ObjectMatch:
    """Pair predicted with true objects, each at most once.

    Two objects may become partners if their IoU is at least the threshold (``>=``). Of all
    pairings one with the most pairs is taken and, among these, with the largest sum of IoUs.
    Above 0.5 there is only one pairing, as no object can cover more than half of two others.

    Parameters
    ----------
    overlap : Overlap
        From `overlap_of`.
    iou_threshold : float
        Above 0, up to 1.

    Raises
    ------
    EvaluationError
        The threshold is out of range.
    """
    if not 0 < iou_threshold <= 1:
        raise EvaluationError(
            f"The IoU threshold is {iou_threshold}; choose one above 0 and up to 1."
        )
    ious = overlap.iou
    candidates = np.flatnonzero(ious >= iou_threshold)
    chosen = _best_pairs(
        overlap.prediction_index[candidates], overlap.truth_index[candidates], ious[candidates]
    )
    pairs = candidates[chosen]
    return ObjectMatch(
        true_positives=len(pairs),
        false_positives=overlap.n_predicted - len(pairs),
        false_negatives=overlap.n_truth - len(pairs),
        prediction_ids=overlap.prediction_ids[overlap.prediction_index[pairs]],
        truth_ids=overlap.truth_ids[overlap.truth_index[pairs]],
        ious=ious[pairs],
    )


def seg_ious(overlap: Overlap) -> NDArray[np.float64]:
    """Return the Cell Tracking Challenge's SEG measure of each true object.

    It is the IoU with the predicted object that covers more than half of the true object, and
    0 where there is none. Unlike a match, a predicted object may serve several true ones.

    Parameters
    ----------
    overlap : Overlap
        From `overlap_of`.

    Returns
    -------
    ndarray
        float64, in the order of ``overlap.truth_ids``.
    """
    covered = 2 * overlap.intersections > overlap.truth_areas[overlap.truth_index]
    per_object = np.zeros(overlap.n_truth)
    per_object[overlap.truth_index[covered]] = overlap.iou[covered]
    return per_object


def count_objects(
    prediction: NDArray[np.integer[Any]],
    truth: NDArray[np.integer[Any]],
    counted: NDArray[np.bool_] | None = None,
) -> ObjectCounts:
    """Count what the object scores of one image are made of.

    Parameters
    ----------
    prediction, truth : ndarray
        ``[Z]YX`` of one shape, any integer dtype; 0 is background.
    counted : ndarray of bool, optional
        Where the truth is known; see `overlap_within`. Everywhere by default.

    Raises
    ------
    EvaluationError
        The shapes differ.
    """
    return count_matches(overlap_where(prediction, truth, counted))


def count_matches(overlap: Overlap) -> ObjectCounts:
    """Count the matches in an overlap from `overlap_of` or `overlap_within`."""
    # Pairs above 0.5 have no rival, so the pairing at 0.5 holds those of all higher thresholds
    ious = match_objects(overlap, THRESHOLDS[0]).ious
    return ObjectCounts(
        n_truth=overlap.n_truth,
        n_predicted=overlap.n_predicted,
        matched=tuple(int(np.count_nonzero(ious >= threshold)) for threshold in THRESHOLDS),
        seg_sum=float(seg_ious(overlap).sum()),
    )


def _mean_over_thresholds(score: Callable[[float], float]) -> float:
    return sum(score(threshold) for threshold in THRESHOLDS) / len(THRESHOLDS)


def _best_pairs(
    prediction_index: NDArray[np.intp], truth_index: NDArray[np.intp], ious: NDArray[np.float64]
) -> NDArray[np.intp]:
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
