"""What a prediction does in its worker thread: torch is imported here."""

from __future__ import annotations

import hashlib
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

_SAMPLED = 16  # pixels along an axis that tell one image from another


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
    source: str,
    stop: threading.Event,
) -> Generator[object, None, Any]:
    """Predict an image into an OME-Zarr.

    Parameters
    ----------
    source : str
        Says which image it is; a few of its pixels are added.

    Returns
    -------
    StoredResult
        Where it is.
    """
    from napari_unet.prediction.stored import predict_to_zarr

    source = f"{source} {sample_hash(image)}"
    return (yield from predict_to_zarr(model, image, config, target, stop, source))


def sample_hash(image: ArrayLike) -> str:
    """Return a hash of a few pixels: of a lazy image of one small box, else from all over it."""
    shape = tuple(image.shape)
    if isinstance(image, np.ndarray):
        key = tuple(slice(None, None, max(1, size // _SAMPLED)) for size in shape)
    else:
        starts = [max(0, size // 2 - _SAMPLED // 2) for size in shape]
        lengths = [1] * (len(shape) - 3) + [_SAMPLED] * 3
        key = tuple(
            slice(start, start + length)
            for start, length in zip(starts, lengths[-len(shape) :], strict=True)
        )
    pixels = np.ascontiguousarray(image[key])
    return hashlib.sha256(pixels.tobytes()).hexdigest()


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
