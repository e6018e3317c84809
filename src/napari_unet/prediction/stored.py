"""Prediction from any image to OME-Zarr, with bounded memory, as a generator of events.

The image is read tile by tile, each tile is written before the next one is computed, and objects
are told apart block by block. So neither the image nor the result is ever held as a whole, and an
interrupted prediction goes on where it was.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial as partial_of
from typing import TYPE_CHECKING

from napari_unet.data.intensity import measure_intensity
from napari_unet.errors import ConfigError
from napari_unet.model.devices import choose_device, describe
from napari_unet.prediction.events import (
    BlockSeparated,
    PredictionEvent,
    PredictionStarted,
    TilePredicted,
)
from napari_unet.prediction.lock import locked
from napari_unet.prediction.partial import (
    open_partial,
    order_of,
    stored_axes,
    trying_again,
    writing_to,
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
    from pathlib import Path

    from napari_unet.data.axes import ArrayLike
    from napari_unet.data.frames import Frame
    from napari_unet.model.execution import Runner
    from napari_unet.model.trained import TrainedNetwork
    from napari_unet.prediction.config import PredictConfig, ResultKind
    from napari_unet.prediction.partial import PartialResult
    from napari_unet.prediction.plan import PredictionPlan


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
    ConfigError
        A part of the image is asked for.
    ModelMismatchError, ImageError
        Model and image do not fit; or a part of the image cannot be read.
    FileProblemError
        The result cannot be written, or another process writes it.
    """
    plan = plan_whole(trained, image, config)
    order = order_of(trained, plan, source, image)
    with locked(target):
        partial = open_partial(target, plan, order, config.pixel_size)
        return (yield from _go_on(trained, image, config, partial, target, stop))


def plan_whole(trained: TrainedNetwork, image: ArrayLike, config: PredictConfig) -> PredictionPlan:
    """Plan a prediction of all of an image.

    Raises
    ------
    ConfigError
        A part of it is asked for: what is stored is whole.
    ModelMismatchError, ImageError
        As `plan_prediction`.
    """
    if config.region is not None or config.frames is not None:
        raise ConfigError(
            "Predictions into files are of whole images; leave out region and frames, or predict "
            "into memory."
        )
    return plan_prediction(trained.record, image, config)


def _go_on(
    trained: TrainedNetwork,
    image: ArrayLike,
    config: PredictConfig,
    partial: PartialResult,
    target: Path,
    stop: threading.Event,
) -> Generator[PredictionEvent, None, StoredResult]:
    """Predict what is not done yet."""
    plan = partial.plan
    tiles_done, frames_done = partial.done()
    device = choose_device(config.device)
    runner = make_runner(trained.network, plan, device)
    yield started(plan, describe(device), bool(tiles_done or frames_done))
    last = 0
    for number in range(plan.n_frames):
        if number in frames_done:
            last = frames_done[number]
            continue
        with writing_to(partial.folder):
            partial.begin_frame(number)
        done = tiles_done.get(number, set())
        frame = plan.frame(image, number)
        yield from _predict_frame(runner, trained, partial, frame, number, done, stop)
        if not stop.is_set() and plan.kind == "objects":
            last = yield from _separate_frame(partial, number, frame.index, last, stop)
        if stop.is_set():
            return result_of(plan, target, None)
        partial.note_frame(number, last)
    with writing_to(partial.folder):
        finished = partial.finish(target, stop)
    return result_of(plan, target, last if finished else None)


def started(plan: PredictionPlan, device: str, goes_on: bool) -> PredictionStarted:
    """Return the event that a prediction into a file begins, or goes on."""
    notices = plan.notices
    if goes_on:
        notices += ("It goes on where an earlier prediction was interrupted.",)
    n_tiles = len(plan.tiles) * plan.n_frames
    return PredictionStarted(device, n_tiles, (*plan.frames_shape, *plan.shape), plan.kind, notices)


def result_of(plan: PredictionPlan, target: Path, last: int | None) -> StoredResult:
    """Return what a prediction left; `last` is the highest number given, None if incomplete."""
    objects = last if plan.kind == "objects" else None
    return StoredResult(plan.kind, target, stored_axes(plan), objects, complete=last is not None)


def _predict_frame(
    runner: Runner,
    trained: TrainedNetwork,
    partial: PartialResult,
    frame: Frame,
    number: int,
    done: set[int],
    stop: threading.Event,
) -> Generator[PredictionEvent, None, None]:
    """Predict the tiles of a frame that are not done."""
    plan, before = partial.plan, number * len(partial.plan.tiles)
    if len(done) == len(plan.tiles):
        return
    intensity = trying_again(lambda: measure_intensity(frame, trained.record.intensity))
    for tile, region in enumerate(plan.tiles):
        if tile in done:
            continue
        if stop.is_set():
            return
        values = trying_again(partial_of(predict_tile, runner, frame, intensity, region, plan))
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
