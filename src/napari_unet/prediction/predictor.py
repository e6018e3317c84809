"""Tiled prediction of an image, into memory or into an OME-Zarr, as a generator of events.

The image is read tile by tile, and each tile is stored while the next one is computed. The
objects of a frame are separated block by block, in memory as soon as the tiles of a block are
there. So neither the image nor, in a file, the result is ever held as a whole, and what is stored
goes on after an interruption.
"""

from __future__ import annotations

from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeAlias

import torch

from napari_unet.errors import ConfigError
from napari_unet.model.devices import choose_device, describe, unused_gpu
from napari_unet.prediction.in_memory import ResultInMemory
from napari_unet.prediction.pipeline import (
    TileReader,
    Writer,
    device_for,
    make_runner,
    read_ahead,
    settled,
    starting_events,
    threads,
    tile_values,
)
from napari_unet.prediction.plan import plan_prediction
from napari_unet.prediction.results import (
    FrameFinished,
    Prediction,
    PredictionProgress,
    TilePredicted,
)
from napari_unet.run import Notice

if TYPE_CHECKING:
    import threading
    from collections.abc import Container, Generator, Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_unet.data.axes import ArrayLike
    from napari_unet.data.frames import Beside
    from napari_unet.model.execution import Runner
    from napari_unet.model.trained import TrainedNetwork
    from napari_unet.prediction.config import PredictConfig
    from napari_unet.prediction.partial import PartialResult
    from napari_unet.prediction.plan import PredictionPlan
    from napari_unet.prediction.results import PredictionEvent

    ResultStore: TypeAlias = "ResultInMemory | PartialResult"


def predict_image(
    trained: TrainedNetwork,
    image: ArrayLike,
    config: PredictConfig,
    stop: threading.Event,
    target: Path | None = None,
    source: str = "",
    keeps_foreground: bool = False,
    beside: Beside | None = None,
    painted: ArrayLike | None = None,
) -> Generator[PredictionEvent, None, Prediction]:
    """Predict an image, or the part of it that the settings name, tile by tile.

    The image is never read as a whole, and memory is taken for what `config` names alone. After a
    stop the current tile ends it; finished tiles are kept. `target` is the OME-Zarr to write, of a
    whole image: one of an earlier prediction is replaced, one that was interrupted goes on if
    `source` says that it is of the same image. Where it `keeps_foreground`, in memory and up to
    2**27 pixels of which each takes a byte, `separate_again` may ask for other objects later. What
    the network says of a tile goes through `beside`, where that is given. Objects in memory are as
    they were `painted` where they were, in labels of the shape of the result: see `keep_painted`.

    It yields `TilePredicted` per tile, in memory `BlockSeparated` per block of objects,
    `PredictionProgress` per block once all tiles have come, and `FrameFinished` per frame.

    Raises ConfigError if a part of the image is to go into a file; ModelMismatchError if model and
    image do not fit, or the model cannot give this kind of result; ImageError if the image is
    empty, of an unusable dtype, or a part of it cannot be read; FileProblemError if the result
    cannot be written, or another process writes it.
    """
    if target is not None:
        config.check_whole()
    plan = plan_prediction(trained.record, image, config)
    device = choose_device(config.device)
    plan = settled(plan, device)
    with _store_for(plan, trained, image, config, target, source, painted) as store:
        if keeps_foreground and isinstance(store, ResultInMemory) and plan.result.is_separated:
            store.keep_foreground()
        runner = make_runner(trained, plan, device, partial(_go_on, stop))
        notices, goes_on = unused_gpu(config.device, device), any(store.done())
        shown_device = describe(device_for(trained.network, device))
        yield from starting_events(plan, shown_device, notices, goes_on=goes_on)
        reader = TileReader(runner, plan, image, trained.record.normalization, store.attempt)
        last, complete = yield from _predict_frames(
            image, plan, runner, reader, store, stop, beside
        )
        yield from map(Notice, runner.fallback.take_notices())
        yield from reader.notices()
        return store.end(last, complete, stop)


def separate_again(
    trained: TrainedNetwork,
    image: ArrayLike,
    config: PredictConfig,
    before: Prediction,
    stop: threading.Event,
    painted: ArrayLike | None = None,
) -> Generator[PredictionEvent, None, Prediction]:
    """Separate the objects of a prediction with another threshold, or another smallest object.

    The network is not asked again: what it said is in `before`, which has kept its foreground. All
    other settings of `config` are those of `before`. Events and result as of `predict_image`.
    """
    from napari_unet.prediction.frame_objects import FrameObjects

    assert before.plan is not None
    asked = plan_prediction(trained.record, image, config)
    plan = replace(before.plan, threshold=asked.threshold, limits=asked.limits)
    store, last = ResultInMemory(plan, painted), 0
    store.keep_foreground(before.foreground)
    yield from starting_events(plan, "")
    at_once = torch.get_num_threads()
    with threads("objects", at_once) as separators:
        for number in plan.frames:
            if stop.is_set():
                return store.end(last, False, stop)
            objects = FrameObjects(plan, store, number, separators, at_once)
            last, complete = yield from objects.finish(last, PredictionProgress(), stop)
            if not complete:
                return store.end(last, False, stop)
            labels = store.shown_frame(number)
            assert labels is not None
            yield FrameFinished(plan.index_of(number), plan.region, labels)
    return store.end(last, True, stop)


@contextmanager
def _store_for(
    plan: PredictionPlan,
    trained: TrainedNetwork,
    image: ArrayLike,
    config: PredictConfig,
    target: Path | None,
    source: str,
    painted: ArrayLike | None,
) -> Iterator[ResultStore]:
    if target is None:
        yield ResultInMemory(plan, painted)
        return
    if painted is not None:
        raise ConfigError("What was painted is kept in memory alone; leave out painted, or path.")
    from napari_unet.io.locks import locked
    from napari_unet.prediction.partial import open_partial, order_of

    order = order_of(trained, plan, source, image)
    with locked(target):
        yield open_partial(target, plan, order, config.pixel_size)


def _predict_frames(
    image: ArrayLike,
    plan: PredictionPlan,
    runner: Runner,
    reader: TileReader,
    store: ResultStore,
    stop: threading.Event,
    beside: Beside | None,
) -> Generator[PredictionEvent, None, tuple[int, bool]]:
    """Predict frames one after the other, and separate the objects of each.

    Returns the last number that was given to an object, and whether all is done.
    """
    tiles_done, frames_done = store.done()
    # On use: a model is loaded without scipy.
    from napari_unet.prediction.frame_objects import FrameObjects

    last, n_done = 0, sum(map(len, tiles_done.values()))
    n_tiles = len(plan.tiles) * len(plan.frames)
    missing_tiles = _missing_tiles(plan, store, tiles_done, frames_done)
    at_once = torch.get_num_threads()
    with (
        closing(read_ahead(missing_tiles, reader, stop)) as read,
        threads("writer") as thread,
        threads("objects", at_once) as separators,
    ):
        writer = Writer(thread)
        for number in plan.frames:
            if number in frames_done:
                last = frames_done[number]
                continue
            frame = plan.frame(image, number)
            objects = FrameObjects(plan, store, number, separators, at_once)
            missing = of_frame = len(plan.tiles) - len(tiles_done.get(number, ()))
            for (_, tile), (pixels, intensity) in islice(read, of_frame):
                region = plan.tiles[tile]
                try:
                    said = runner.compute(pixels, frame, region)
                except _Stopped:
                    break
                if beside is not None:
                    said = beside(said, frame, intensity, region)
                values = tile_values(said, frame, intensity, region, plan)
                writer.submit(partial(_store, store, number, tile, values))
                missing, n_done = missing - 1, n_done + 1
                yield from map(Notice, runner.fallback.take_notices())
                shown = plan.result.shown(values, plan)
                yield TilePredicted(n_done, frame.index, region, shown)
                for block in objects.ready_after(tile):
                    if not stop.is_set():
                        writer.wait()
                        objects.begin(block)
                yield from objects.ended()
            writer.wait()
            if stop.is_set() and (store.goes_on or missing == of_frame):
                return last, False
            if plan.result.is_separated:
                progress = PredictionProgress(n_done, n_tiles)
                last, separated = yield from objects.finish(last, progress, stop)
                missing += not separated
            if missing:
                return last, False
            store.note_frame(number, last)
            final = store.shown_frame(number)
            if final is not None:
                yield FrameFinished(frame.index, plan.region, final)
    return last, True


class _Stopped(Exception):
    """Who cancels does not wait for the other views of a tile."""


def _go_on(stop: threading.Event) -> None:
    if stop.is_set():
        raise _Stopped


def _missing_tiles(
    plan: PredictionPlan,
    store: ResultStore,
    tiles_done: Mapping[int, set[int]],
    frames_done: Container[int],
) -> Iterator[tuple[int, int]]:
    """List the tiles that are not done, frame by frame; of each frame those on screen first."""
    order = plan.tiles.nearest_first(plan.near)
    for frame in plan.frames:
        if frame not in frames_done:
            store.begin_frame(frame)
            done = tiles_done.get(frame, ())
            yield from ((frame, tile) for tile in order if tile not in done)


def _store(store: ResultStore, frame: int, tile: int, values: NDArray[Any]) -> None:
    store.write_tile(frame, tile, values)
    store.note_tile(frame, tile)
