"""`evaluate`: all scores of predictions against truth, as one dict that fits into JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

from napari_unet.data.labels import Kind, Unpainted
from napari_unet.errors import EvaluationError
from napari_unet.evaluation.metrics import METRICS
from napari_unet.evaluation.pairs import checked_images, n_counted, prepared_pair
from napari_unet.settings import check_settings, setting

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray


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
        choices=get_args(Kind),
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
    metrics = METRICS[kind]
    pairs = [
        prepared_pair(prediction, true, unpainted, metrics.may_hold_1)
        for prediction, true in checked_images(predictions, truth)
    ]
    if not any(map(n_counted, pairs)):
        raise EvaluationError(
            "No pixel of the truth can be compared: the images are empty, or nothing is painted. "
            "Paint some truth, or choose unpainted='background' if 0 is background in it."
        )
    pooled, *single = metrics.rows(pairs)
    return {**pooled, "images": single} if per_image else pooled


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
