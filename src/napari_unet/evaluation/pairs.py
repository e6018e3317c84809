"""A prediction and its truth, checked, in which 0 is background whatever was painted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.errors import EvaluationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_unet.data.labels import Unpainted

    IntArray = NDArray[np.integer[Any]]
    # Prediction, truth, and where the truth is known (None means everywhere), ``[Z]YX``
    Pair = tuple[IntArray, IntArray, NDArray[np.bool_] | None]


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
