"""Score a prediction beside the window, and put the scores into words."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import threading
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from napari_unet.data.axes import ArrayLike, Region
    from napari_unet.data.labels import Kind
    from napari_unet.evaluation.scores import EvaluateConfig

    Places = tuple[tuple[tuple[int, ...], Region], ...]


@dataclass(frozen=True, eq=False)
class Comparison:
    """What came out."""

    kind: Kind
    """What the numbers stand for."""
    scores: Mapping[str, Any] = field(default_factory=dict)
    """As `evaluate` returns them; the frames are pooled."""
    errors: NDArray[np.uint8] = field(default_factory=lambda: np.zeros(0, np.uint8))
    """Of the shape of the prediction: values of `ERROR_VALUES`."""
    share: float = 1.0
    """Of the pixels that was predicted and compared."""


class ScoreRow(NamedTuple):
    """One score in words."""

    name: str
    text: str
    tooltip: str


def compare_labels(
    predicted: ArrayLike,
    true: ArrayLike,
    ndim: int,
    config: EvaluateConfig,
    places: Places,
    stop: threading.Event,
) -> Comparison | None:
    """Score a prediction and colour its errors, in a worker thread; None if it was stopped.

    Of the images, of one shape and perhaps lazy, the last `ndim` axes are of space: each frame
    before them is an image of its own. `places` are frames, and the box in each, to compare; where
    there are none, all is compared.

    Raises EvaluationError if the images cannot be compared.
    """
    from napari_unet.evaluation.scores import errors_of, evaluate

    prediction, truth = np.asarray(predicted), np.asarray(true)
    kind, unpainted = config.kind, config.unpainted
    boxes = dict(places or _all_of(truth.shape, ndim))  # of several in a frame the last one
    scores = evaluate(
        [prediction[frame][region] for frame, region in boxes.items()],
        [truth[frame][region] for frame, region in boxes.items()],
        kind,
        unpainted=unpainted,
    )
    errors = np.zeros(truth.shape, np.uint8)
    for frame, region in boxes.items():
        if stop.is_set():
            return None
        errors[frame][region] = errors_of(
            prediction[frame][region], truth[frame][region], kind, unpainted
        )
    compared = sum(errors[frame][region].size for frame, region in boxes.items())
    return Comparison(kind, scores, errors, min(1.0, compared / max(1, truth.size)))


def _all_of(shape: tuple[int, ...], ndim: int) -> Places:
    n_frame_axes = len(shape) - ndim
    whole = tuple(slice(0, size) for size in shape[n_frame_axes:])
    return tuple((frame, whole) for frame in np.ndindex(*shape[:n_frame_axes]))


def score_rows(comparison: Comparison, class_names: Mapping[int, str]) -> list[ScoreRow]:
    """Return the scores that a person wants to see.

    Classes without a name in `class_names`, which is by number, are called "class 2".
    """
    from napari_unet.evaluation.scores import METRICS

    scores = comparison.scores
    rows = [
        ScoreRow(name, _short(scores[key]), tooltip)
        for key, (name, tooltip) in METRICS[comparison.kind].words.items()
        if key in scores
    ]
    for value, iou in scores.get("iou_per_class", {}).items():
        name = "background" if value == "0" else class_names.get(int(value), f"class {value}")
        rows.append(ScoreRow(f"IoU {name}", _short(iou), f"Of the pixels of {name}."))
    return rows


def _short(value: float) -> str:
    if isinstance(value, int):
        return str(value)
    return f"{value:.2g}" if 0 < value < 0.001 else f"{value:.3f}"
