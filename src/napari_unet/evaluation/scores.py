"""`evaluate`: all scores of predictions against truth, as one dict that fits into JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from napari_unet.errors import EvaluationError
from napari_unet.evaluation.boundaries import BoundaryCounts, count_boundaries
from napari_unet.evaluation.classes import ClassCounts, count_classes
from napari_unet.evaluation.config import EvaluateConfig
from napari_unet.evaluation.mistakes import MistakeCounts, count_mistakes
from napari_unet.evaluation.objects import ObjectCounts, count_matches
from napari_unet.evaluation.overlap import overlap_where
from napari_unet.evaluation.pairs import checked_images, prepared_pair
from napari_unet.evaluation.rand import RandCounts, count_rand

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from napari_unet.data.labels import Kind, Unpainted
    from napari_unet.evaluation.pairs import ComparedImages

    IntArray = NDArray[np.integer[Any]]

Counts = TypeVar("Counts", ClassCounts, ObjectCounts, RandCounts, MistakeCounts, BoundaryCounts)


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
        objects with less than half of their pixels on painted ones are then left out, unless they
        cover more than half of a true object.
    per_image : bool
        Add the scores of each image, a list of dicts with the same keys, as ``"images"``.

    Returns
    -------
    dict
        With objects: ``iou``, ``dice``, ``precision``, ``recall`` of the foreground's pixels.
        Of the objects that match (IoU at least 0.50, or 0.75) ``precision_50``, ``recall_50``,
        ``f1_50``, ``ap_50`` and the same with ``_75``; their means over IoU 0.50, 0.55 .. 0.95
        are ``mean_precision``, ``mean_recall``, ``mean_f1`` and ``map``. ``seg``;
        ``rand_error`` (adapted, mean over the images that have a true object). The numbers
        ``n_truth`` and ``n_predicted``, ``n_missed``, ``n_merged`` and ``n_split`` of true
        objects and ``n_false`` of predicted ones, as `napari_unet.evaluation.mistakes` says.

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
    ConfigError
        `kind` or `unpainted` is unknown.
    EvaluationError
        Numbers of images or shapes differ; labels are no whole numbers or negative; nothing is
        painted.

    References
    ----------
    ``ap_*`` and ``map`` are those of the Data Science Bowl 2018 (Caicedo et al. 2019, Nature
    Methods 16), ``seg`` that of the Cell Tracking Challenge (Maska et al. 2014, Bioinformatics
    30), ``rand_error`` and ``warping_error`` those of ISBI 2012 (Arganda-Carreras et al. 2015,
    Frontiers in Neuroanatomy 9).

    Examples
    --------
    >>> import numpy as np
    >>> scores = evaluate(np.array([[1, 1, 0, 2]]), np.array([[5, 5, 0, 0]]))
    >>> scores["ap_50"], scores["recall"]
    (0.5, 1.0)
    """
    EvaluateConfig(kind, unpainted, per_image)
    pairs = [
        prepared_pair(prediction, true, kind, unpainted)
        for prediction, true in checked_images(predictions, truth)
    ]
    if not any(pair.n_counted for pair in pairs):
        raise EvaluationError(
            "No pixel of the truth can be compared: the images are empty, or nothing is painted. "
            "Paint some truth, or choose unpainted='background' if 0 is background in it."
        )
    rows = _object_rows(pairs) if kind == "objects" else _class_rows(pairs)
    pooled, *single = rows
    return {**pooled, "images": single} if per_image else pooled


def _object_rows(pairs: Sequence[ComparedImages]) -> list[dict[str, Any]]:
    """Return the pooled scores, then those of each image."""
    overlaps = [overlap_where(pair.prediction, pair.truth, pair.counted) for pair in pairs]
    pixels = [
        count_classes(_foreground(pair.prediction), _foreground(pair.truth), pair.counted)
        for pair in pairs
    ]
    return [
        {**foreground.scores_of(1), **objects.scores(), **rand.scores(), **mistakes.scores()}
        for foreground, objects, rand, mistakes in zip(
            _pooled_first(pixels, ClassCounts()),
            _pooled_first(map(count_matches, overlaps), ObjectCounts()),
            _pooled_first(map(count_rand, overlaps), RandCounts()),
            _pooled_first(map(count_mistakes, overlaps), MistakeCounts()),
            strict=True,
        )
    ]


def _class_rows(pairs: Sequence[ComparedImages]) -> list[dict[str, Any]]:
    """Return the pooled scores, then those of each image."""
    counts = [count_classes(pair.prediction, pair.truth, pair.counted) for pair in pairs]
    counts = _pooled_first(counts, ClassCounts())
    rows = [of_image.scores() for of_image in counts]
    if len(counts[0].classes) != 2:
        return rows
    inside = counts[0].classes[0]
    boundaries = [
        count_boundaries(pair.prediction == inside, pair.truth == inside)
        if pair.fully_counted  # a gap would part or join true cells where the prediction is right
        else BoundaryCounts()
        for pair in pairs
    ]
    return [
        {**row, **of_image.scores()} if of_image.n_images else row
        for row, of_image in zip(rows, _pooled_first(boundaries, BoundaryCounts()), strict=True)
    ]


def _pooled_first(counts: Iterable[Counts], nothing: Counts) -> list[Counts]:
    """Return the sum of counts, then each of them."""
    rows = list(counts)
    rows.insert(0, sum(rows, nothing))
    return rows


def _foreground(labels: IntArray) -> IntArray:
    return (labels > 0).astype(np.uint8)
