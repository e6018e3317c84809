"""`evaluate`: all scores of predictions against truth, as one dict that fits into JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, get_args

import numpy as np

from napari_unet.data.labels import Kind, PaintedKind, Unpainted
from napari_unet.errors import EvaluationError
from napari_unet.evaluation.classes import (
    ClassCounts,
    boundary_counts,
    boundary_scores,
    classes_in,
    count_classes,
    scores_of_class,
    scores_of_classes,
)
from napari_unet.evaluation.layers import (
    foreground_of,
    known_anywhere,
    rows_of_masks,
    rows_of_object_classes,
)
from napari_unet.evaluation.objects import (
    CONFUSED,
    CORRECT,
    FALSE,
    MERGED,
    MISSED,
    SPLIT,
    ObjectCounts,
    class_error_map,
    count_objects,
    error_map,
)
from napari_unet.evaluation.overlap import checked_images, n_counted, prepared_pair
from napari_unet.settings import check_settings, setting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

    from napari_unet.data.labels import IntArray
    from napari_unet.evaluation.overlap import Pair

    ErrorMap = Callable[[IntArray, IntArray, NDArray[np.bool_] | None], NDArray[np.uint8]]


@dataclass(frozen=True)
class EvaluateConfig:
    """Say how predictions are compared with the truth.

    Each setting documents itself, as those of `PredictConfig` do.

    Raises
    ------
    ConfigError
        There is no such choice.
    """

    kind: Kind = setting(
        "objects",
        "What a number stands for: one object, whichever number it has, or one class.",
        choices=get_args(PaintedKind),
        label="Kind",
    )
    unpainted: Unpainted = setting(
        "background",
        "What unpainted pixels (0) mean in the truth. Painted in napari: ignored, they "
        "are not counted, and 1 is background. Finished masks: background.",
        choices=get_args(Unpainted),
        words={"unlabelled": "ignored"},
        label="Unpainted pixels",
    )
    per_image: bool = setting(
        False,
        "Add the scores of each image to those of all.",
        lacks={"window": "It compares one image, and shows its errors."},
    )

    def __post_init__(self) -> None:
        """Refuse unknown choices."""
        check_settings(self)


def evaluate(
    predictions: NDArray[Any] | Sequence[NDArray[Any]] | Mapping[str, Any],
    truth: NDArray[Any] | Sequence[NDArray[Any]] | Mapping[str, Any],
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
        holds several images, an array is one image. Predictions hold 0 as background. Of
        overlapping classes, and of objects of several, the first axis of each is the class; or
        give them by name, as in training: ``{"nucleus": ..., "cell": ...}``.
    kind : {"objects", "classes", "overlapping", "object-classes"}
        Whether values stand for single objects, whose numbers mean nothing, or for classes; of
        overlapping classes every number but the background is the class. Of objects of several
        classes those of each class have labels of their own.
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
        objects and ``n_false`` of predicted ones, as `napari_unet.evaluation.overlap` says.

        With classes: ``iou``, ``dice``, ``precision``, ``recall``, each the mean over all
        classes, background included; ``iou_per_class``, ``dice_per_class``,
        ``precision_per_class``, ``recall_per_class``, each a dict from the class value as a
        string (background: ``"0"``) to the score; ``pixel_error``. If truth and predictions
        hold exactly two classes altogether, ``rand_error`` and ``warping_error`` of the images
        whose truth has no unlabelled pixel, if any: the class of the lower value (background,
        0 in predictions) is the inside of cells, the other one the membrane between them, as
        in the ISBI 2012 challenge. With overlapping classes the same scores but these two, of each
        class by itself: by its name, or its place from ``"1"`` on; means are over the classes.

        With objects of several classes the scores of objects, found only if they are of their
        class, as means over the classes (numbers of objects are sums); ``f1_50_per_class``,
        ``n_truth_per_class`` and those of pixels.

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
    metrics = METRICS[kind]
    names = _names_of(predictions, truth)
    pairs = [
        prepared_pair(prediction, true, unpainted, metrics.may_hold_1)
        for prediction, true in checked_images(_stacked(predictions), _stacked(truth))
    ]
    if not any(map(n_counted, pairs)):
        raise EvaluationError(
            "No pixel of the truth can be compared: the images are empty, or nothing is painted. "
            "Paint some truth, or choose unpainted='background' if 0 is background in it."
        )
    pooled, *single = (_with_names(row, names) for row in metrics.rows(pairs))
    return {**pooled, "images": single} if per_image else pooled


def _names_of(*images: Any) -> tuple[str, ...]:
    """Return the names of the classes that are given by name; EvaluationError where they differ."""
    names = [tuple(map(str, each)) for each in images if isinstance(each, Mapping)]
    if len(set(names)) > 1:
        raise EvaluationError(
            f"Predictions are of {', '.join(names[0])}, the truth is of {', '.join(names[1])}; "
            "give the same classes in the same order."
        )
    return names[0] if names else ()


def _stacked(images: Any) -> Any:
    """Put what is given by class together, along a first axis of each image."""
    if not isinstance(images, Mapping):
        return images
    by_class = list(images.values())
    try:
        if not isinstance(by_class[0], (list, tuple)):
            return np.stack(by_class)
        return [np.stack(of_image) for of_image in zip(*by_class, strict=True)]
    except (ValueError, IndexError) as error:
        raise EvaluationError(
            "The classes have different numbers of images, or images of different shapes: give one "
            "of each class, all of the shape of their image."
        ) from error


def _with_names(row: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """Call overlapping classes by their names rather than their places."""
    return {
        key: dict(zip(names, value.values(), strict=True))
        if names and isinstance(value, dict) and len(value) == len(names)
        else value
        for key, value in row.items()
    }


def errors_of(
    prediction: NDArray[Any], truth: NDArray[Any], kind: Kind, unpainted: Unpainted
) -> NDArray[np.uint8]:
    """Return the error map of one image; arguments and errors are those of `evaluate`.

    Nothing needs to be painted.
    """
    EvaluateConfig(kind, unpainted)
    metrics = METRICS[kind]
    (checked,) = checked_images(prediction, truth)
    return metrics.errors(*prepared_pair(*checked, unpainted, metrics.may_hold_1))


# --- What is computed: `Metrics` for each meaning that numbers may have ---------------------------

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
        count_classes(foreground_of(prediction), foreground_of(truth), counted)
        for prediction, truth, counted in pairs
    ]
    objects = [count_objects(*pair) for pair in pairs]
    return [
        {**scores_of_class(foreground, 1), **of_objects.scores()}
        for foreground, of_objects in zip(
            _pooled_first(pixels, Counter()),
            _pooled_first(objects, ObjectCounts()),
            strict=True,
        )
    ]


def _class_rows(pairs: Sequence[Pair]) -> list[dict[str, Any]]:
    """Return the pooled scores, then those of each image."""
    counts = _pooled_first([count_classes(*pair) for pair in pairs], Counter())
    rows = [scores_of_classes(of_image) for of_image in counts]
    classes = classes_in(counts[0])
    if len(classes) != 2:
        return rows
    boundaries = _boundary_rows(pairs, classes[0])
    return [row | scores for row, scores in zip(rows, boundaries, strict=True)]


def _mask_error_map(
    prediction: IntArray, truth: IntArray, counted: NDArray[np.bool_] | None
) -> NDArray[np.uint8]:
    """Show the mistakes of each class; its number means nothing."""
    return class_error_map(foreground_of(prediction), foreground_of(truth), counted)


def _layered_error_map(
    prediction: IntArray, truth: IntArray, counted: NDArray[np.bool_] | None
) -> NDArray[np.uint8]:
    """Show the mistakes among the objects of each class."""
    known = [None] * len(truth) if counted is None else known_anywhere(counted)
    assert known is not None
    return np.stack([error_map(*each) for each in zip(prediction, truth, known, strict=True)])


def _boundary_rows(pairs: Sequence[Pair], inside: int) -> list[dict[str, float]]:
    """Return the pooled scores of boundaries, then those of each image.

    Images whose truth is not known everywhere have none: a gap would part or join true cells where
    the prediction is right.
    """
    single = [
        [boundary_counts(pair[0] == inside, pair[1] == inside)]
        if n_counted(pair) == pair[1].size > 0
        else []
        for pair in pairs
    ]
    pooled = [counts for of_image in single for counts in of_image]
    return [boundary_scores(counts) if counts else {} for counts in (pooled, *single)]


def _pooled_first(counts: Iterable[Counts], nothing: Counts) -> list[Counts]:
    """Return the sum of counts, then each of them."""
    rows = list(counts)
    rows.insert(0, sum(rows, nothing))
    return rows


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
    "overlapping": Metrics(
        rows_of_masks,
        _mask_error_map,
        (CORRECT, MISSED, FALSE),
        {name: _CLASS_SCORES[name] for name in ("iou", "dice", "pixel_error")},
        may_hold_1=False,
    ),
    "object-classes": Metrics(
        rows_of_object_classes,
        _layered_error_map,
        (CORRECT, MISSED, FALSE, MERGED, SPLIT),
        _OBJECT_SCORES,
        may_hold_1=False,
    ),
}
