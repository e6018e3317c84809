"""`evaluate`: all scores of predictions against truth, as one dict that fits into JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from napari_unet.errors import EvaluationError
from napari_unet.evaluation.boundaries import BoundaryCounts, count_boundaries
from napari_unet.evaluation.classes import ClassCounts, count_classes
from napari_unet.evaluation.objects import ObjectCounts, count_objects

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    IntArray = NDArray[np.integer[Any]]

Kind = Literal["objects", "classes"]
Unpainted = Literal["background", "unlabelled"]


@dataclass(frozen=True)
class _Pair:
    """One prediction and its truth, in which 0 is background whatever was painted.

    `counted` tells where the truth is known; None means everywhere.
    """

    prediction: IntArray
    truth: IntArray
    counted: NDArray[np.bool_] | None


def evaluate(
    predictions: NDArray[Any] | Sequence[NDArray[Any]],
    truth: NDArray[Any] | Sequence[NDArray[Any]],
    kind: Kind = "objects",
    *,
    unpainted: Unpainted = "background",
    per_image: bool = False,
) -> dict[str, Any]:
    """Compare predictions with truth.

    Counts (of pixels, of matched objects) are summed over the images before the scores are
    computed, so large images weigh more than small ones; only `rand_error` is the mean over
    the images. A score that has nothing to count is that of a perfect prediction.

    Parameters
    ----------
    predictions, truth : ndarray or list of ndarray
        Label images ``[Z]YX`` of any integer dtype, one prediction per truth. A list or tuple
        holds several images, an array is one image. Predictions hold 0 as background.
    kind : {"objects", "classes"}
        Whether values stand for single objects, whose numbers mean nothing, or for classes.
    unpainted : {"background", "unlabelled"}
        What a 0 in the truth means. With "background", values above 0 are objects or classes.
        With "unlabelled", 0 is not counted, 1 is background (as 0 is in predictions; class
        predictions may hold 1 as well) and values above 1 are objects or classes. Predicted
        objects with less than half of their pixels on painted ones are then left out.
    per_image : bool
        Add the scores of each image, a list of dicts with the same keys, as ``"images"``.

    Returns
    -------
    dict
        With objects: ``iou``, ``dice``, ``precision``, ``recall`` of the foreground's pixels;
        ``f1_50``, ``f1_75``, ``ap_50``, ``ap_75``, ``map`` (mean over IoU 0.50, 0.55 .. 0.95;
        objects match if their IoU is at least the threshold), ``seg``; and the numbers
        ``n_truth`` and ``n_predicted``.

        With classes: ``iou``, ``dice``, ``precision``, ``recall``, each the mean over all
        classes, background included; ``iou_per_class``, ``dice_per_class``,
        ``precision_per_class``, ``recall_per_class``, each a dict from the class value as a
        string (background: ``"0"``) to the score; ``pixel_error``. If truth and predictions
        hold exactly two classes altogether, ``rand_error`` and ``warping_error`` of the images
        whose truth has no unlabelled pixel, if any: the class of the lower value (background,
        0 in predictions) is the inside of cells, the other one the membrane between them, as
        in the ISBI 2012 challenge.

    Raises
    ------
    EvaluationError
        Numbers of images or shapes differ; labels are no whole numbers or negative; nothing is
        painted; `kind` or `unpainted` is unknown.

    Examples
    --------
    >>> import numpy as np
    >>> scores = evaluate(np.array([[1, 1, 0, 2]]), np.array([[5, 5, 0, 0]]))
    >>> scores["ap_50"], scores["recall"]
    (0.5, 1.0)
    """
    if kind not in get_args(Kind):
        raise EvaluationError(f"kind is {kind!r}; choose 'objects' or 'classes'.")
    if unpainted not in get_args(Unpainted):
        raise EvaluationError(f"unpainted is {unpainted!r}; choose 'background' or 'unlabelled'.")
    pairs = [
        _prepare(prediction, true, kind, unpainted)
        for prediction, true in _checked_images(predictions, truth)
    ]
    if not any(_n_counted(pair) for pair in pairs):
        raise EvaluationError(
            "No pixel of the truth can be compared: the images are empty, or nothing is painted. "
            "Paint some truth, or choose unpainted='background' if 0 is background in it."
        )
    rows = _object_rows(pairs) if kind == "objects" else _class_rows(pairs)
    pooled, *single = rows
    return {**pooled, "images": single} if per_image else pooled


def _object_rows(pairs: Sequence[_Pair]) -> list[dict[str, Any]]:
    """Return the pooled scores, then those of each image."""
    objects = [count_objects(pair.prediction, pair.truth, pair.counted) for pair in pairs]
    pixels = [
        count_classes(_foreground(pair.prediction), _foreground(pair.truth), pair.counted)
        for pair in pairs
    ]
    objects.insert(0, sum(objects, ObjectCounts()))
    pixels.insert(0, sum(pixels, ClassCounts()))
    return [
        {**foreground.scores_of(1), **counts.scores()}
        for foreground, counts in zip(pixels, objects, strict=True)
    ]


def _class_rows(pairs: Sequence[_Pair]) -> list[dict[str, Any]]:
    """Return the pooled scores, then those of each image."""
    counts = [count_classes(pair.prediction, pair.truth, pair.counted) for pair in pairs]
    counts.insert(0, sum(counts, ClassCounts()))
    rows = [of_image.scores() for of_image in counts]
    if len(counts[0].classes) != 2:
        return rows
    inside = counts[0].classes[0]
    boundaries = [
        count_boundaries(pair.prediction == inside, pair.truth == inside)
        if _is_fully_counted(pair)
        else BoundaryCounts()
        for pair in pairs
    ]
    boundaries.insert(0, sum(boundaries, BoundaryCounts()))
    return [
        {**row, **of_image.scores()} if of_image.n_images else row
        for row, of_image in zip(rows, boundaries, strict=True)
    ]


def _prepare(prediction: IntArray, truth: IntArray, kind: Kind, unpainted: Unpainted) -> _Pair:
    """Make 0 the background of both images."""
    if unpainted == "background":
        return _Pair(prediction, truth, None)
    counted = truth != 0
    if kind == "classes":
        prediction = _with_1_as_background(prediction)
    return _Pair(prediction, _with_1_as_background(truth), counted)


def _foreground(labels: IntArray) -> IntArray:
    return (labels > 0).astype(np.uint8)


def _with_1_as_background(labels: IntArray) -> IntArray:
    return np.where(labels == 1, np.zeros_like(labels), labels)


def _n_counted(pair: _Pair) -> int:
    return pair.truth.size if pair.counted is None else int(np.count_nonzero(pair.counted))


def _is_fully_counted(pair: _Pair) -> bool:
    # An unlabelled gap would part or join true cells where the prediction is right
    return _n_counted(pair) == pair.truth.size > 0


def _checked_images(
    predictions: NDArray[Any] | Sequence[NDArray[Any]], truth: NDArray[Any] | Sequence[NDArray[Any]]
) -> list[tuple[IntArray, IntArray]]:
    """Return pairs of label images, or refuse them."""
    predicted_images = _listed(predictions)
    true_images = _listed(truth)
    if not true_images or len(predicted_images) != len(true_images):
        raise EvaluationError(
            f"There are {len(predicted_images)} predictions and {len(true_images)} truth images; "
            "give one prediction for each truth image."
        )
    pairs = []
    for i, (predicted, true) in enumerate(zip(predicted_images, true_images, strict=True)):
        prediction = _checked_labels(predicted, f"Prediction {i}")
        true_labels = _checked_labels(true, f"Truth {i}")
        if prediction.shape != true_labels.shape:
            raise EvaluationError(
                f"Prediction {i} has shape {prediction.shape}, its truth {true_labels.shape}; "
                "give the prediction of the same image."
            )
        pairs.append((prediction, true_labels))
    return pairs


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
