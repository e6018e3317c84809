"""Prediction from any image to OME-Zarr, with bounded memory, as a generator of events.

The image is read tile by tile, each tile is written before the next one is computed, and objects
are told apart block by block. So neither the image nor the result is ever held as a whole, and an
interrupted prediction goes on where it was.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_unet.data.intensity import measure_intensity
from napari_unet.errors import UnreadableError
from napari_unet.model.devices import choose_device, describe
from napari_unet.prediction.events import (
    BlockSeparated,
    PredictionEvent,
    PredictionStarted,
    TilePredicted,
)
from napari_unet.prediction.partial import open_partial, order_of, writing_to
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
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_unet.data.axes import ArrayLike, Region
    from napari_unet.data.frames import Frame
    from napari_unet.data.intensity import IntensityRange
    from napari_unet.model.execution import Runner
    from napari_unet.model.trained import TrainedNetwork
    from napari_unet.prediction.config import PredictConfig, ResultKind
    from napari_unet.prediction.partial import PartialResult
    from napari_unet.prediction.plan import PredictionPlan

_ATTEMPTS = 3


@dataclass(frozen=True)
class StoredResult:
    """What a prediction to a file leaves.

    Parameters
    ----------
    kind : {"objects", "classes", "probabilities", "uncertainty"}
        What it is.
    path : Path
        The OME-Zarr; if the prediction was stopped it is not there yet.
    axes : str
        Its axes.
    objects : int or None
        How many, with objects.
    complete : bool
        Whether all of it was predicted. If not, the same prediction goes on where it was.
    """

    kind: ResultKind
    path: Path
    axes: str
    objects: int | None
    complete: bool


def predict_to_zarr(
    trained: TrainedNetwork,
    image: ArrayLike,
    config: PredictConfig,
    target: Path,
    stop: threading.Event,
    source: str = "",
) -> Generator[PredictionEvent, None, StoredResult]:
    """Predict an image of any size into an OME-Zarr.

    Parameters
    ----------
    trained : TrainedNetwork
        The model.
    image : ArrayLike
        Never read as a whole.
    config : PredictConfig
        What to predict: whole frames.
    target : Path
        The OME-Zarr to write; one of an earlier prediction is replaced.
    stop : threading.Event
        Set it from any thread to end after the current tile.
    source : str
        Says which image it is: a prediction goes on only for the same one.

    Yields
    ------
    PredictionEvent
        `TilePredicted` per tile, and `BlockSeparated` per block of objects.

    Returns
    -------
    StoredResult
        Also after a stop.

    Raises
    ------
    ModelMismatchError, ImageError
        Model and image do not fit; or a part of the image cannot be read.
    FileProblemError
        The result cannot be written.
    """
    plan = plan_prediction(trained.record, image, config)
    order = order_of(trained, plan, source, image.dtype)
    partial = open_partial(target, plan, order, config.pixel_size)
    tiles_done, frames_done = partial.done()
    frames = plan.frames_of(image)
    device = choose_device(config.device)
    runner = make_runner(trained.network, plan, device)
    n_tiles = len(plan.tiles) * len(frames)
    label_shape = (*plan.frames_shape, *plan.shape)
    notices = plan.notices
    if tiles_done or frames_done:
        notices += ("It goes on where an earlier prediction was interrupted.",)
    yield PredictionStarted(describe(device), n_tiles, label_shape, plan.kind, notices)
    last = 0
    for number, frame in enumerate(frames):
        if number in frames_done:
            last = frames_done[number]
            continue
        with writing_to(partial.folder):
            partial.begin_frame(number)
        done = {tile for of_frame, tile in tiles_done if of_frame == number}
        before = number * len(plan.tiles)
        yield from _predict_frame(runner, trained, partial, frame, (number, before), done, stop)
        if not stop.is_set() and plan.kind == "objects":
            last = yield from _separate_frame(partial, number, frame.index, last, stop)
        if stop.is_set():
            return StoredResult(plan.kind, target, plan.result_axes, None, complete=False)
        partial.note_frame(number, last)
    with writing_to(partial.folder):
        partial.finish(target)
    objects = last if plan.kind == "objects" else None
    return StoredResult(plan.kind, target, plan.result_axes, objects, complete=True)


def _predict_frame(
    runner: Runner,
    trained: TrainedNetwork,
    partial: PartialResult,
    frame: Frame,
    numbers: tuple[int, int],
    done: set[int],
    stop: threading.Event,
) -> Generator[PredictionEvent, None, None]:
    """Predict the tiles of a frame that are not done."""
    plan, (number, before) = partial.plan, numbers
    if len(done) == len(plan.tiles):
        return
    intensity = measure_intensity(frame, trained.record.intensity)
    for tile, region in enumerate(plan.tiles):
        if tile in done:
            continue
        if stop.is_set():
            return
        values = read_and_predict(runner, frame, intensity, region, plan)
        with writing_to(partial.folder):
            partial.write_tile(number, tile, values)
            partial.note_tile(number, tile)
        yield TilePredicted(before + tile + 1, frame.index, region, shown_values(values, plan))


def _separate_frame(
    partial: PartialResult,
    number: int,
    index: tuple[int, ...],
    first: int,
    stop: threading.Event,
) -> Generator[PredictionEvent, None, int]:
    """Tell the objects of a frame apart and write them; return the last number given."""
    plan = partial.plan
    foreground, n_blocks = partial.foreground(number), len(plan.blocks)
    for block in range(n_blocks):
        if stop.is_set():
            return first
        if not partial.has_block(number, block):
            labels, objects = separate_block(foreground, plan, block)
            with writing_to(partial.folder):
                partial.write_block(number, block, labels, objects)
        yield BlockSeparated(block + 1, n_blocks, index)
    found = [partial.read_block(number, block) for block in range(n_blocks)]
    tables, last = number_objects(plan.blocks, found, first)
    with writing_to(partial.folder):
        for block, table in enumerate(tables):
            partial.number_block(number, block, table)
    return last


def read_and_predict(
    runner: Runner, frame: Frame, intensity: IntensityRange, region: Region, plan: PredictionPlan
) -> NDArray[Any]:
    """Predict a tile; a part of a file that cannot be read is tried again.

    Raises
    ------
    UnreadableError
        It cannot be read a third time either.
    """
    for _ in range(_ATTEMPTS - 1):
        with contextlib.suppress(UnreadableError):
            return predict_tile(runner, frame, intensity, region, plan)
    try:
        return predict_tile(runner, frame, intensity, region, plan)
    except UnreadableError as error:
        raise UnreadableError(f"{error} What is done is kept; predict again to go on.") from error
