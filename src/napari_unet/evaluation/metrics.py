"""What is computed of label images: `Metrics` for each meaning that their numbers may have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from napari_unet.evaluation.boundaries import n_differing_after_warp, rand_error
from napari_unet.evaluation.classes import ClassCounts, count_classes
from napari_unet.evaluation.mistakes import (
    CONFUSED,
    CORRECT,
    FALSE,
    MERGED,
    MISSED,
    SPLIT,
    class_error_map,
    error_map,
)
from napari_unet.evaluation.objects import ObjectCounts, count_objects
from napari_unet.evaluation.pairs import n_counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from napari_unet.evaluation.pairs import Pair

    Binary = NDArray[np.bool_]
    IntArray = NDArray[np.integer[Any]]
    ErrorMap = Callable[[IntArray, IntArray, NDArray[np.bool_] | None], NDArray[np.uint8]]

Counts = TypeVar("Counts", ClassCounts, ObjectCounts)


@dataclass(frozen=True)
class Metrics:
    """How predictions and truth are compared whose numbers have one meaning."""

    rows: Callable[[Sequence[Pair]], list[dict[str, Any]]]
    """Compute the pooled scores, then those of each image."""
    errors: ErrorMap
    """Show each mistake."""
    error_values: tuple[int, ...]
    """What `errors` may hold, of `ERROR_VALUES`."""
    words: Mapping[str, tuple[str, str]]
    """Name and meaning of the scores that a person wants to see, in this order."""
    may_hold_1: bool
    """Whether 1 is background in predictions too, where it is background in the truth."""


def _object_rows(pairs: Sequence[Pair]) -> list[dict[str, Any]]:
    """Return the pooled scores, then those of each image."""
    pixels = [
        count_classes(_foreground(prediction), _foreground(truth), counted)
        for prediction, truth, counted in pairs
    ]
    objects = [count_objects(*pair) for pair in pairs]
    return [
        {**foreground.scores_of(1), **of_objects.scores()}
        for foreground, of_objects in zip(
            _pooled_first(pixels, ClassCounts()),
            _pooled_first(objects, ObjectCounts()),
            strict=True,
        )
    ]


def _class_rows(pairs: Sequence[Pair]) -> list[dict[str, Any]]:
    """Return the pooled scores, then those of each image."""
    counts = _pooled_first([count_classes(*pair) for pair in pairs], ClassCounts())
    rows = [of_image.scores() for of_image in counts]
    if len(counts[0].classes) != 2:
        return rows
    boundaries = _boundary_rows(pairs, counts[0].classes[0])
    return [row | scores for row, scores in zip(rows, boundaries, strict=True)]


def _boundary_rows(pairs: Sequence[Pair], inside: int) -> list[dict[str, float]]:
    """Return the pooled scores of boundaries, then those of each image.

    Images whose truth is not known everywhere have none: a gap would part or join true cells where
    the prediction is right.
    """
    single = [
        [_boundary_counts(pair[0] == inside, pair[1] == inside)]
        if n_counted(pair) == pair[1].size > 0
        else []
        for pair in pairs
    ]
    pooled = [counts for of_image in single for counts in of_image]
    return [_boundary_scores(counts) if counts else {} for counts in (pooled, *single)]


def _boundary_counts(prediction: Binary, truth: Binary) -> tuple[float, int, int]:
    """Return the Rand error, the pixels that differ after warping, and all pixels."""
    differing = n_differing_after_warp(prediction, truth)
    return rand_error(prediction, truth), differing, truth.size


def _boundary_scores(counts: Sequence[tuple[float, int, int]]) -> dict[str, float]:
    """Return the mean Rand error of the images, and the warping error of all pixels."""
    errors, differing, pixels = zip(*counts, strict=True)
    return {
        "rand_error": sum(errors) / len(counts),
        "warping_error": sum(differing) / sum(pixels),
    }


def _pooled_first(counts: Iterable[Counts], nothing: Counts) -> list[Counts]:
    """Return the sum of counts, then each of them."""
    rows = list(counts)
    rows.insert(0, sum(rows, nothing))
    return rows


def _foreground(labels: IntArray) -> IntArray:
    return (labels > 0).astype(np.uint8)


_OBJECT_SCORES = {
    "f1_50": ("F1 at 0.5", "Objects found and right, of all true and predicted ones; IoU 0.5."),
    "f1_75": ("F1 at 0.75", "The same, where objects must fit better: IoU 0.75."),
    "ap_50": ("AP at 0.5", "Matches / (matches + missed + false) at IoU 0.5."),
    "ap_75": ("AP at 0.75", "The same at IoU 0.75."),
    "map": ("Mean AP", "Mean over IoU 0.50, 0.55 … 0.95, as in the Data Science Bowl 2018."),
    "seg": ("SEG", "Mean IoU of the true objects, as in the Cell Tracking Challenge."),
    "iou": ("IoU", "Of the foreground's pixels."),
    "dice": ("Dice", "Of the foreground's pixels."),
    "rand_error": (
        "Rand error",
        "Adapted Rand error, 0 is best. All that is missed counts as one object: of little use "
        "where many small ones are.",
    ),
    "n_merged": ("Merged", "True objects that share a predicted one."),
    "n_split": ("Split", "True objects that are predicted in parts."),
    "n_missed": ("Missed", "True objects that were not found."),
    "n_false": ("False", "Predicted objects where there is none."),
    "n_truth": ("Objects", "True objects."),
}
_CLASS_SCORES = {
    "iou": ("Mean IoU", "Mean over the classes, background included."),
    "dice": ("Mean Dice", "Mean over the classes, background included."),
    "pixel_error": ("Pixel error", "Share of the pixels that have the wrong class."),
    "rand_error": ("Rand error", "Adapted Rand error of what the second class separates."),
    "warping_error": ("Warping error", "Pixels that change what is joined and what is apart."),
}

METRICS: dict[str, Metrics] = {
    "objects": Metrics(
        _object_rows,
        error_map,
        (CORRECT, MISSED, FALSE, MERGED, SPLIT),
        _OBJECT_SCORES,
        may_hold_1=False,
    ),
    "classes": Metrics(
        _class_rows,
        class_error_map,
        (CORRECT, MISSED, FALSE, CONFUSED),
        _CLASS_SCORES,
        may_hold_1=True,
    ),
}
