"""Scores of objects, and what is wrong with them: missed, false, merged, split.

Scores are F1, AP, mAP (Data Science Bowl), SEG (Cell Tracking Challenge) and the Rand error.
Everything is first counted per image; `ObjectCounts` of several images are pooled by adding
them, and only then turned into scores.

What the words mean is said in `napari_unet.evaluation.overlap`.

References
----------
Caicedo et al. 2019, Nucleus segmentation across imaging experiments: the 2018 Data Science
Bowl, Nature Methods 16 (AP and its mean over thresholds).
Maska et al. 2014, A benchmark for comparison of cell tracking algorithms, Bioinformatics 30
(SEG).
Arganda-Carreras et al. 2015, Crowdsourcing the creation of image segmentation algorithms for
connectomics, Frontiers in Neuroanatomy 9:142 (Rand error).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from napari_unet.errors import EvaluationError
from napari_unet.evaluation.classes import ratio
from napari_unet.evaluation.overlap import checked_images, overlap_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_unet.data.labels import IntArray
    from napari_unet.evaluation.overlap import Overlap


# Whole hundredths divided once: each is the same float as the literal (0.55, not 0.55000000001)
THRESHOLDS = tuple(hundredths / 100 for hundredths in range(50, 100, 5))


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
    n_missed: int = 0
    """See `Overlap`; so are the other three."""
    n_false: int = 0
    n_merged: int = 0
    n_split: int = 0
    rand_sum: float = 0.0
    """Sum of the Rand errors of the images that have a true object."""
    n_rand: int = 0
    """Number of these images."""

    def __add__(self, other: ObjectCounts) -> ObjectCounts:
        """Pool with the counts of other images."""
        names = [each.name for each in fields(self) if each.name != "matched"]
        return ObjectCounts(
            matched=tuple(map(sum, zip(self.matched, other.matched, strict=True))),
            **{name: getattr(self, name) + getattr(other, name) for name in names},
        )

    def scores(self) -> dict[str, float | int]:
        """Return the scores under the keys that `evaluate` documents; 1 where all is empty."""
        at = {iou: self.scores_at(iou) for iou in THRESHOLDS}
        names = ("precision", "recall", "f1", "ap")
        mean = {name: sum(each[name] for each in at.values()) / len(at) for name in names}
        return {
            **{f"{name}_{100 * iou:.0f}": at[iou][name] for name in names for iou in (0.5, 0.75)},
            "mean_precision": mean["precision"],
            "mean_recall": mean["recall"],
            "mean_f1": mean["f1"],
            "map": mean["ap"],
            "seg": ratio(self.seg_sum, self.n_truth, empty=0.0 if self.n_predicted else 1.0),
            "n_truth": self.n_truth,
            "n_predicted": self.n_predicted,
            "rand_error": self.rand_sum / max(self.n_rand, 1),
            "n_missed": self.n_missed,
            "n_false": self.n_false,
            "n_merged": self.n_merged,
            "n_split": self.n_split,
        }

    def scores_at(self, iou_threshold: float) -> dict[str, float]:
        """Return the scores of the matches at one of `THRESHOLDS`."""
        n_matched = self.matched[THRESHOLDS.index(iou_threshold)]
        n_true, n_predicted = self.n_truth, self.n_predicted
        return {
            "precision": ratio(n_matched, n_predicted, empty=0.0 if n_true else 1.0),
            "recall": ratio(n_matched, n_true, empty=0.0 if n_predicted else 1.0),
            "f1": ratio(2 * n_matched, n_true + n_predicted, empty=1.0),
            "ap": ratio(n_matched, n_true + n_predicted - n_matched, empty=1.0),
        }


def count_objects(
    prediction: IntArray, truth: IntArray, counted: NDArray[np.bool_] | None = None
) -> ObjectCounts:
    """Count what the object scores of one image are made of; arguments as of `overlap_of`."""
    overlap = overlap_of(prediction, truth, counted)
    # Pairs above 0.5 have no rival, so the pairing at 0.5 holds those of all higher thresholds
    ious = overlap.iou[overlap.matches]
    return ObjectCounts(
        n_truth=overlap.n_truth,
        n_predicted=overlap.n_predicted,
        matched=tuple(int(np.count_nonzero(ious >= threshold)) for threshold in THRESHOLDS),
        seg_sum=float(seg_ious(overlap).sum()),
        n_missed=int(np.count_nonzero(overlap.missed)),
        n_false=int(np.count_nonzero(overlap.false)),
        n_merged=int(np.count_nonzero(overlap.merged)),
        n_split=int(np.count_nonzero(overlap.split)),
        rand_sum=object_rand_error(overlap) if overlap.n_truth else 0.0,
        n_rand=int(overlap.n_truth > 0),
    )


def seg_ious(overlap: Overlap) -> NDArray[np.float64]:
    """Return the Cell Tracking Challenge's SEG measure of each true object.

    It is the IoU with the predicted object that covers more than half of the true object, and
    0 where there is none. Unlike a match, a predicted object may serve several true ones. In the
    order of ``overlap.truth_ids``.
    """
    covered = 2 * overlap.intersections > overlap.truth_areas[overlap.truth_index]
    per_object = np.zeros(overlap.n_truth)
    per_object[overlap.truth_index[covered]] = overlap.iou[covered]
    return per_object


def object_rand_error(overlap: Overlap) -> float:
    """Return the adapted Rand error: 1 - F-score over the pairs of pixels in one object.

    Pixels outside true objects are not counted; inside them, what is predicted as background is
    one more object, as in scikit-image. Among many small objects this one is by far the largest:
    it alone can bring the error near 1 where every tenth object is missed. Computed from the
    overlap, so that large and sparse numbers cost nothing. 0 (same objects) to 1; 0 also where no
    true object has two pixels.
    """
    common = overlap.intersections
    found = np.bincount(overlap.truth_index, weights=common, minlength=overlap.n_truth)
    lost = overlap.truth_areas - found
    predicted = np.bincount(overlap.prediction_index, weights=common, minlength=overlap.n_predicted)
    in_both = _ordered_pairs(common) + _ordered_pairs(lost)
    in_truth = _ordered_pairs(overlap.truth_areas)
    in_prediction = _ordered_pairs(np.append(predicted, lost.sum()))
    n_pairs = in_truth + in_prediction
    return 1 - 2 * in_both / n_pairs if n_pairs else 0.0


def _ordered_pairs(pixels: NDArray[np.int64] | NDArray[np.float64]) -> float:
    """Return how many ordered pairs of different pixels groups of these sizes hold."""
    sizes = pixels.astype(np.float64)
    return float(sizes @ sizes - sizes.sum())


# --- What is wrong with objects -----------------------------------------------------------------

CORRECT, MISSED, FALSE, MERGED, SPLIT, CONFUSED = 1, 2, 3, 4, 5, 6


class ErrorValue(NamedTuple):
    """What a value of an error map means."""

    value: int
    name: str
    """One or two words."""
    colour: str
    """``#rrggbb``, of the palette of Okabe and Ito, distinguished by colour-blind people."""


ERROR_VALUES = (
    ErrorValue(CORRECT, "correct", "#56B4E9"),
    ErrorValue(MISSED, "missed", "#F0E442"),
    ErrorValue(FALSE, "false", "#D55E00"),
    ErrorValue(MERGED, "merged", "#CC79A7"),
    ErrorValue(SPLIT, "split", "#009E73"),
    ErrorValue(CONFUSED, "other class", "#0072B2"),
)


# --- Maps: a label image with one named value per kind of error ---------------------------------


def error_map(
    prediction: NDArray[Any], truth: NDArray[Any], counted: NDArray[np.bool_] | None = None
) -> NDArray[np.uint8]:
    """Colour missed, false, merged and split objects.

    A true object has one value all over: 4 where it is merged, else 5 where it is split, else 1
    where it is matched, else 2. Outside of true objects, a predicted object has the value of
    what it does: 4 if it merges, 5 if it is part of a split, 1 if it matches, 3 if it is false.
    A false object also shows where it lies on a missed one. What the words mean is said in
    `napari_unet.evaluation.overlap`.

    Parameters
    ----------
    prediction, truth : ndarray
        ``[Z]YX`` of one shape, any integer dtype; 0 is background.
    counted : ndarray of bool, optional
        Same shape: where the truth is known; the map is 0 elsewhere, and predicted objects with
        less than half of their pixels inside are left out, unless they cover most of a true
        one. Everywhere by default.

    Returns
    -------
    ndarray
        uint8 of the same shape: 0 background, 1 correct, 2 missed, 3 false, 4 merged, 5 split.
        `ERROR_VALUES` has names and colours.

    Raises
    ------
    EvaluationError
        Shapes differ, labels are no whole numbers or negative, or `counted` is not of bools.

    Examples
    --------
    >>> import numpy as np
    >>> error_map(np.array([[1, 1, 0, 0, 2]]), np.array([[7, 7, 0, 8, 0]])).tolist()
    [[1, 1, 0, 2, 3]]
    """
    prediction, truth = _checked(prediction, truth, counted)
    overlap = overlap_of(prediction, truth, counted)
    of_truth, of_prediction = _values(overlap)
    if counted is not None:
        prediction, truth = np.where(counted, prediction, 0), np.where(counted, truth, 0)
    true_map = _painted(truth, overlap.truth_ids, of_truth)
    predicted_map = _painted(prediction, overlap.prediction_ids, of_prediction)
    shows_prediction = (true_map == 0) | ((true_map == MISSED) & (predicted_map == FALSE))
    return np.where(shows_prediction, predicted_map, true_map)


def class_error_map(
    prediction: NDArray[Any], truth: NDArray[Any], counted: NDArray[np.bool_] | None = None
) -> NDArray[np.uint8]:
    """Colour pixels of missed, false and confused classes; arguments and errors of `error_map`.

    0 is background in both, 1 the right class, 2 a class predicted as background, 3 background
    predicted as a class, 6 one class predicted as another.
    """
    prediction, truth = _checked(prediction, truth, counted)
    errors = np.full(truth.shape, CONFUSED, np.uint8)
    errors[prediction == truth] = CORRECT
    errors[(prediction == 0) & (truth != 0)] = MISSED
    errors[(prediction != 0) & (truth == 0)] = FALSE
    errors[(prediction == 0) & (truth == 0)] = 0
    if counted is not None:
        errors[~counted] = 0
    return errors


def _checked(
    prediction: NDArray[Any], truth: NDArray[Any], counted: NDArray[np.bool_] | None
) -> tuple[IntArray, IntArray]:
    """Return both label images; EvaluationError where they cannot be compared."""
    (pair,) = checked_images(prediction, truth)
    counted = None if counted is None else np.asarray(counted)
    if counted is not None and (counted.shape != pair[1].shape or counted.dtype != bool):
        raise EvaluationError(
            f"counted has shape {counted.shape} and dtype {counted.dtype}, the truth shape "
            f"{pair[1].shape}; give one bool per pixel."
        )
    return pair


def _values(overlap: Overlap) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return the value of each true and of each predicted object."""
    of_truth = np.full(overlap.n_truth, CORRECT, np.uint8)
    of_truth[overlap.missed] = MISSED
    of_truth[overlap.split] = SPLIT
    of_truth[overlap.merged] = MERGED
    of_prediction = np.full(overlap.n_predicted, CORRECT, np.uint8)
    of_prediction[overlap.false] = FALSE
    of_prediction[overlap.piece] = SPLIT
    of_prediction[overlap.merging] = MERGED
    return of_truth, of_prediction


def _painted(labels: IntArray, ids: IntArray, values: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Give every object its value; 0 for the background and for what has no value."""
    painted = np.zeros(labels.shape, np.uint8)
    if len(ids):
        position = np.searchsorted(ids, labels).clip(max=len(ids) - 1)
        known = ids[position] == labels
        painted[known] = values[position[known]]
    return painted
