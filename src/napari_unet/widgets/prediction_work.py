"""What a prediction does in its worker thread: torch is imported here."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import threading
    from collections.abc import Generator
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_unet.data.axes import ArrayLike
    from napari_unet.data.uncertainty import Spot
    from napari_unet.model.trained import TrainedNetwork
    from napari_unet.prediction.config import PredictConfig


@dataclass(frozen=True)
class UncertainSpots:
    """Where a network is unsure.

    Parameters
    ----------
    spots : tuple of Spot
        The most uncertain first.
    """

    spots: tuple[Spot, ...]


def prediction_events(
    model: TrainedNetwork, image: ArrayLike, config: PredictConfig, stop: threading.Event
) -> Generator[object, None, Any]:
    """Predict an image.

    Yields
    ------
    PredictionEvent
        See :func:`napari_unet.prediction.predictor.predict_image`.

    Returns
    -------
    PredictionResult
        The labels or probabilities.
    """
    from napari_unet.prediction.predictor import predict_image

    return (yield from predict_image(model, image, config, stop))


def uncertainty_events(
    model: TrainedNetwork,
    image: ArrayLike,
    painted: NDArray[np.bool_] | None,
    config: PredictConfig,
    stop: threading.Event,
) -> Generator[object, None, Any]:
    """Predict where a network is unsure, then rank the spots.

    Yields
    ------
    PredictionEvent, UncertainSpots
        The spots come last.
    """
    from napari_unet.data.uncertainty import find_spots
    from napari_unet.prediction.predictor import predict_image

    config = replace(config, result="uncertainty")
    result = yield from predict_image(model, image, config, stop)
    ndim = model.record.network.ndim
    spots: list[Spot] = []
    for frame in np.ndindex(*result.array.shape[: result.array.ndim - ndim]):
        if result.array[frame].any():
            known = None if painted is None else painted[frame]
            unsure = result.array[frame].astype(np.float32, copy=False)
            spots.extend(find_spots(unsure, known, frame=frame))
    spots.sort(key=lambda spot: -spot.score)
    yield UncertainSpots(tuple(spots))
    return result


def folder_events(
    model: TrainedNetwork, source: Path, target: Path, config: PredictConfig, stop: threading.Event
) -> Generator[object, None, Any]:
    """Predict every image of a folder into another folder."""
    from napari_unet.data.files import find_images
    from napari_unet.prediction.files import predict_files

    return (yield from predict_files(model, find_images([source]), target, config, stop))
