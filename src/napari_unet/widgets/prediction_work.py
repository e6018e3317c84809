"""What a prediction does in its worker thread: torch is imported here."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import threading
    from collections.abc import Generator, Sequence
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


def region_events(
    model: TrainedNetwork, image: ArrayLike, config: PredictConfig, stop: threading.Event
) -> Generator[object, None, Any]:
    """Predict a region of an image that is too large to hold a result for all of it.

    Returns
    -------
    RegionResult
        Of the region alone.
    """
    from napari_unet.prediction.region import predict_region

    return (yield from predict_region(model, image, config, stop))


def stored_events(
    model: TrainedNetwork,
    image: ArrayLike,
    config: PredictConfig,
    target: Path,
    path: Path | None,
    name: str,
    stop: threading.Event,
) -> Generator[object, None, Any]:
    """Predict an image into an OME-Zarr.

    Parameters
    ----------
    path : Path or None
        Where the image lies, as far as that is known: when it was changed is looked up here, and
        not on the window's thread.
    name : str
        Of its layer: layers of one file are often its channels.

    Returns
    -------
    StoredResult
        Where it is.
    """
    from napari_unet.prediction.files import identity_of
    from napari_unet.prediction.stored import predict_to_zarr

    origin = identity_of(path) if path is not None and path.exists() else str(path or "")
    source = f"{origin} {name}"
    return (yield from predict_to_zarr(model, image, config, target, stop, source))


def files_events(
    model: TrainedNetwork,
    paths: Sequence[Path],
    target: Path,
    config: PredictConfig,
    stop: threading.Event,
) -> Generator[object, None, Any]:
    """Predict image files into a folder."""
    from napari_unet.prediction.files import predict_files

    return (yield from predict_files(model, paths, target, config, stop))
