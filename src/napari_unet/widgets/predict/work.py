"""What a prediction does in its worker thread: torch is imported here."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.errors import ImageError
from napari_unet.widgets.common.layers import pixels_of

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Generator, Sequence

    from napari.layers import Image
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


@dataclass(frozen=True)
class Source:
    """What a run card tells of model and image, beside their numbers.

    Parameters
    ----------
    model, image : str
        What they are called.
    path : str or None
        File of the image, as far as that is known.
    """

    model: str
    image: str
    path: str | None


def with_card(
    make_events: Callable[..., Generator[object, None, Any]],
    source: Source,
    model: TrainedNetwork,
    image: ArrayLike,
    config: PredictConfig,
    stop: threading.Event,
) -> Generator[object, None, Any]:
    """Predict, and tell the run card of what came of it.

    Parameters
    ----------
    make_events : callable
        `prediction_events` or `region_events`.
    source : Source
        Names.

    Yields
    ------
    PredictionEvent, PredictionCard
        The card comes last, and not of a prediction that was stopped.
    """
    from napari_unet.provenance.origin import now

    started = now()
    result = yield from make_events(model, image, config, stop)
    if result.complete:
        from napari_unet.provenance.prediction import UsedModel, card_of_layer, starting_name

        used = UsedModel(source.model, starting=starting_name(model.record))
        path = Path(source.path) if source.path else None
        yield card_of_layer(model, used, (source.image, image, path), result, config, started)
    return result


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
    from napari_unet.provenance.card import card_beside_result
    from napari_unet.provenance.origin import now
    from napari_unet.provenance.prediction import UsedModel, card_of_stored, starting_name, written

    origin = identity_of(path) if path is not None and path.exists() else str(path or "")
    source, started = f"{origin} {name}", now()
    result = yield from predict_to_zarr(model, image, config, target, stop, source)
    if result.complete:
        used = UsedModel("model", starting=starting_name(model.record))
        card = card_of_stored(model, used, (name, image, path), result, config, started)
        yield from written(card, card_beside_result(target))
    return result


def files_events(
    model: TrainedNetwork,
    paths: Sequence[Path],
    target: Path,
    config: PredictConfig,
    stop: threading.Event,
) -> Generator[object, None, Any]:
    """Predict image files into a folder, with a run card beside each result."""
    from napari_unet.prediction.files import predict_files
    from napari_unet.provenance.prediction import UsedModel, starting_name, writing_cards

    events = predict_files(model, paths, target, config, stop)
    used = UsedModel("model", starting=starting_name(model.record))
    return (yield from writing_cards(events, model, used, config.device))


# --- How large a result may be that is held in memory --------------------------------------------

# Pixels of a result that is held at once: 1 GB, and as much again for what it was before edits.
LARGEST_IN_MEMORY = 2**28
# The result of a part of a larger image covers that part alone.
LARGEST_COVERED = 2**26


def is_large(image: Image, keep: Sequence[int]) -> bool:
    """Return whether a layer for all of a result would be a waste of memory.

    Parameters
    ----------
    image : Image
        The image.
    keep : sequence of int
        Its axes that the result has.
    """
    return math.prod(pixels_of(image).shape[axis] for axis in keep) > LARGEST_COVERED


def check_size(shape: Sequence[int]) -> None:
    """Refuse a result that does not fit into memory.

    Raises
    ------
    ImageError
        It has too many pixels.
    """
    if math.prod(shape) > LARGEST_IN_MEMORY:
        raise ImageError(
            f"{' x '.join(f'{size:,}' for size in shape)} pixels are too large a result for "
            "memory. Predict into a file (To file…), or a smaller view."
        )
