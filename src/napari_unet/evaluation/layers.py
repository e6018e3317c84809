"""Scores of classes that have labels of their own, along the first axis: masks, or objects."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.errors import EvaluationError
from napari_unet.evaluation.classes import ClassCounts, count_classes, scores_of_masks
from napari_unet.evaluation.objects import ObjectCounts, count_objects

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_unet.data.labels import IntArray
    from napari_unet.evaluation.overlap import Pair


def rows_of_masks(pairs: Sequence[Pair]) -> list[dict[str, Any]]:
    """Return the pooled scores of overlapping classes, then those of each image."""
    _check_layers(pairs)
    return [scores_of_masks(of_image) for of_image in _pixel_counts(pairs)]


def rows_of_object_classes(pairs: Sequence[Pair]) -> list[dict[str, Any]]:
    """Return the pooled scores of objects of several classes, then those of each image.

    An object is found only if it is of its class. Scores are means over the classes, numbers of
    objects are sums; F1, and how many there are, come of each class too, counted from 1.
    """
    _check_layers(pairs)
    pairs = [(found, true, known_anywhere(known)) for found, true, known in pairs]
    counts = [[count_objects(*each) for each in _layers(pair)] for pair in pairs]
    nothing = ObjectCounts()
    pooled = [sum(of_class, nothing) for of_class in zip(*counts, strict=True)]
    rows = [_scores_of_objects(of_image) for of_image in (pooled, *counts)]
    pixels = map(scores_of_masks, _pixel_counts(pairs))
    return [of_pixels | row for of_pixels, row in zip(pixels, rows, strict=True)]


def known_anywhere(known: NDArray[np.bool_] | None) -> NDArray[np.bool_] | None:
    """Return where something is painted for any class: what is of one is not of the others."""
    return None if known is None else np.broadcast_to(known.any(axis=0), known.shape)


def foreground_of(labels: IntArray) -> IntArray:
    """Return 1 wherever labels are above 0."""
    return (labels > 0).astype(np.uint8)


def _scores_of_objects(counts: Sequence[ObjectCounts]) -> dict[str, Any]:
    single = [of_class.scores() for of_class in counts]
    there = [row for row in single if row["n_truth"] or row["n_predicted"]] or single
    row: dict[str, Any] = {
        name: sum(each[name] for each in there) / (1 if name.startswith("n_") else len(there))
        for name in single[0]
    }
    row |= {name: int(value) for name, value in row.items() if name.startswith("n_")}
    for name in ("f1_50", "n_truth"):
        row[f"{name}_per_class"] = {str(k): each[name] for k, each in enumerate(single, start=1)}
    return row


def _pixel_counts(pairs: Sequence[Pair]) -> list[list[ClassCounts]]:
    """Count the pixels of each class, of all images together and then of each."""
    counts = [
        [
            count_classes(foreground_of(found), foreground_of(true), known)
            for found, true, known in _layers(pair)
        ]
        for pair in pairs
    ]
    nothing: ClassCounts = Counter()
    return [[sum(of_class, nothing) for of_class in zip(*counts, strict=True)], *counts]


def _layers(pair: Pair) -> list[Pair]:
    found, true, known = pair
    known_of = [None] * len(true) if known is None else known
    return list(zip(found, true, known_of, strict=True))


def _check_layers(pairs: Sequence[Pair]) -> None:
    if len({len(truth) for _, truth, _ in pairs}) > 1 or any(t.ndim < 3 for _, t, _ in pairs):
        raise EvaluationError(
            "Labels by class are compared class by class: one of each along the first axis, of the "
            "same classes in all images."
        )
