"""Tiled prediction of an image in memory, as a generator of events."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

import numpy as np

from napari_unet.model.devices import choose_device, describe, unused_gpu
from napari_unet.prediction.in_memory import FrameInMemory, predict_in_memory
from napari_unet.prediction.plan import plan_prediction
from napari_unet.prediction.work import device_for, make_runner, settled, starting_events

if TYPE_CHECKING:
    import threading
    from collections.abc import Generator

    from numpy.typing import NDArray

    from napari_unet.data.axes import ArrayLike
    from napari_unet.data.frames import Frame
    from napari_unet.model.trained import TrainedNetwork
    from napari_unet.prediction.config import PredictConfig, ResultKind
    from napari_unet.prediction.events import PredictionEvent


@dataclass(frozen=True)
class PredictionResult:
    """What a finished or stopped prediction leaves.

    Parameters
    ----------
    kind : {"objects", "classes", "probabilities", "uncertainty"}
        What it is.
    array : ndarray
        Labels, or uncertainty (float32, 0 to 1): frame axes then ``[Z]YX``. Probabilities: frame
        axes, C, then ``[Z]YX``, float32.
    axes : str
        Axes of `array`.
    complete : bool
        Whether all tiles were predicted; elsewhere `array` is 0.
    """

    kind: ResultKind
    array: NDArray[np.integer] | NDArray[np.float32]
    axes: str
    complete: bool


def predict_image(
    trained: TrainedNetwork, image: ArrayLike, config: PredictConfig, stop: threading.Event
) -> Generator[PredictionEvent, None, PredictionResult]:
    """Predict all frames of an image, tile by tile; the result is held in memory.

    Parameters
    ----------
    trained : TrainedNetwork
        The model.
    image : ArrayLike
        Any size from 1x1 up; read tile by tile.
    config : PredictConfig
        What to predict.
    stop : threading.Event
        Set it from any thread to end after the current tile; finished tiles are kept.

    Yields
    ------
    PredictionEvent
        `TilePredicted` per tile and `FrameFinished` per frame.

    Returns
    -------
    PredictionResult
        Also after a stop.

    Raises
    ------
    ModelMismatchError
        Model and image do not fit, or the model cannot give this kind of result.
    ImageError
        The image is empty or of an unusable dtype.
    """
    plan = plan_prediction(trained.record, image, config)
    frames = plan.frames_of(image)
    device = choose_device(config.device)
    plan = settled(plan, device)
    runner = make_runner(trained, plan, device)
    with_objects = plan.result.is_separated
    result = np.zeros(plan.result_shape, np.int32 if with_objects else plan.tile_dtype)
    shown_device = describe(device_for(trained.network, device))
    notices = unused_gpu(config.device, device)
    yield from starting_events(plan, shown_device, len(frames), notices)

    def work_on(number: int, frame: Frame) -> FrameInMemory:
        target = result[frame.index]
        values = np.zeros(plan.shape, np.uint8) if with_objects else target
        return FrameInMemory(plan, frame, number * len(plan.tiles), values, target)

    works = map(work_on, count(), frames)
    normalization = trained.record.normalization
    complete = yield from predict_in_memory(works, runner, plan, normalization, stop)
    return PredictionResult(plan.kind, compact(result), plan.result_axes, complete)


def compact(
    result: NDArray[np.integer] | NDArray[np.float32],
) -> NDArray[np.integer] | NDArray[np.float32]:
    """Store labels in the smallest unsigned type that holds them; it never wraps."""
    if result.dtype.kind == "f":
        return result
    smallest = np.min_scalar_type(int(result.max()))
    return result.astype(max(smallest, np.dtype(np.uint8), key=lambda dtype: dtype.itemsize))
