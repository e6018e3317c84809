"""Tiled prediction of an image in memory, as a generator of events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.data.intensity import measure_intensity
from napari_unet.model.devices import choose_device, describe
from napari_unet.prediction.events import (
    BlockSeparated,
    FrameFinished,
    PredictionEvent,
    PredictionStarted,
    TilePredicted,
)
from napari_unet.prediction.plan import plan_prediction
from napari_unet.prediction.work import (
    make_runner,
    number_objects,
    predict_tile,
    separate_block,
    shown_values,
)

if TYPE_CHECKING:
    import threading
    from collections.abc import Generator

    from numpy.typing import NDArray

    from napari_unet.data.axes import ArrayLike
    from napari_unet.model.trained import TrainedNetwork
    from napari_unet.prediction.config import PredictConfig, ResultKind
    from napari_unet.prediction.plan import PredictionPlan


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
    runner = make_runner(trained.network, plan, device)
    with_objects = plan.kind == "objects"
    result = np.zeros(plan.result_shape, np.int32 if with_objects else plan.tile_dtype)
    n_tiles = len(plan.tiles) * len(frames)
    label_shape = (*plan.frames_shape, *plan.shape)
    yield PredictionStarted(describe(device), n_tiles, label_shape, plan.kind, plan.notices)
    tiles = plan.tiles.nearest_first(plan.near)
    number, n_objects = 0, 0  # objects of different frames have different numbers
    for frame in frames:
        intensity = measure_intensity(frame, trained.record.intensity)
        of_frame = np.zeros(plan.shape, np.uint8) if with_objects else result[frame.index]
        channel = (slice(None),) if plan.kind == "probabilities" else ()
        for tile in tiles:
            if stop.is_set():
                break
            values = predict_tile(runner, frame, intensity, tile, plan)
            of_frame[(*channel, *tile)] = values
            number += 1
            yield TilePredicted(number, frame.index, tile, shown_values(values, plan))
        if with_objects:
            target = result[frame.index]
            n_objects = yield from separate_frame(of_frame, plan, frame.index, target, n_objects)
        if stop.is_set():
            break
        if plan.kind != "probabilities":
            labels = result[frame.index][plan.region]
            yield FrameFinished(frame.index, plan.region, labels)
    return PredictionResult(plan.kind, compact(result), plan.result_axes, number == n_tiles)


def separate_frame(
    foreground: ArrayLike,
    plan: PredictionPlan,
    frame: tuple[int, ...],
    target: Any,
    first: int,
) -> Generator[PredictionEvent, None, int]:
    """Tell the objects of a frame apart, block by block, and number them from `first` on.

    Parameters
    ----------
    foreground : ArrayLike
        Of the frame, as `predict_tile` gives it.
    plan : PredictionPlan
        With objects.
    frame : tuple of int
        Its index on the frame axes.
    target : ArrayLike
        Of the frame, int32: the numbers are written there.
    first : int
        Numbers begin above this.

    Returns
    -------
    int
        The last number given.
    """
    blocks, objects = plan.blocks, []
    for number in range(len(blocks)):
        labels, found = separate_block(foreground, plan, number)
        target[blocks.box(number)] = labels
        objects.append(found)
        if len(blocks) > 1:
            yield BlockSeparated(number + 1, len(blocks), frame)
    tables, last = number_objects(blocks, objects, first)
    for number, table in enumerate(tables):
        box = blocks.box(number)
        target[box] = table[target[box]]
    return last


def compact(
    result: NDArray[np.integer] | NDArray[np.float32],
) -> NDArray[np.integer] | NDArray[np.float32]:
    """Store labels in the smallest unsigned type that holds them; it never wraps."""
    if result.dtype.kind == "f":
        return result
    smallest = np.min_scalar_type(int(result.max()))
    return result.astype(max(smallest, np.dtype(np.uint8), key=lambda dtype: dtype.itemsize))
