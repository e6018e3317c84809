"""Tiled prediction of an image, into memory or into an OME-Zarr, as a generator of events.

The image is read tile by tile, and each tile is stored while the next one is computed. When all
tiles of a frame are there its objects are separated, block by block. So neither the image nor,
in a file, the result is ever held as a whole, and what is stored goes on after an interruption.
"""

from __future__ import annotations

from contextlib import closing, contextmanager
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar

from napari_unet.errors import ConfigError
from napari_unet.model.devices import choose_device, describe, unused_gpu
from napari_unet.prediction.events import BlockSeparated, FrameFinished, TilePredicted
from napari_unet.prediction.in_memory import ResultInMemory
from napari_unet.prediction.pipeline import TileJob, TileReader, Writer, one_thread, read_ahead
from napari_unet.prediction.plan import plan_prediction
from napari_unet.prediction.work import (
    device_for,
    make_runner,
    number_objects,
    separate_block,
    settled,
    starting_events,
)
from napari_unet.run import Notice

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Container, Generator, Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_unet.data.axes import ArrayLike
    from napari_unet.data.frames import Frame
    from napari_unet.model.execution import Runner
    from napari_unet.model.trained import TrainedNetwork
    from napari_unet.objects.stitching import BlockObjects
    from napari_unet.prediction.config import PredictConfig
    from napari_unet.prediction.events import PredictionEvent
    from napari_unet.prediction.plan import PredictionPlan
    from napari_unet.prediction.results import Prediction

Read = TypeVar("Read")

GOES_ON = "It goes on where an earlier prediction was interrupted."


class ResultStore(Protocol):
    """Where the tiles of a prediction go, and its objects: memory, or a file that grows.

    Frames, tiles and blocks are named by their numbers in the plan.
    """

    goes_on: ClassVar[bool]
    """Whether what a stop leaves is gone on with later; else it is made the best of."""

    def attempt(self, read: Callable[[], Read]) -> Read:
        """Read a part of the image, and perhaps again where that fails."""

    def done(self) -> tuple[dict[int, set[int]], dict[int, int]]:
        """Return the tiles that are done of each frame, and the last number of finished ones."""

    def begin_frame(self, frame: int) -> None:
        """Make room for a frame."""

    def write_tile(self, frame: int, tile: int, values: NDArray[Any]) -> None:
        """Keep what a tile gives."""

    def note_tile(self, frame: int, tile: int) -> None:
        """Note that a tile is there."""

    def foreground(self, frame: int) -> Any:
        """Return what to separate objects in, ``[Z]YX`` uint8."""

    def has_block(self, frame: int, block: int) -> bool:
        """Return whether the objects of a block are separated."""

    def write_block(
        self, frame: int, block: int, labels: NDArray[Any], objects: BlockObjects
    ) -> None:
        """Keep the labels of a block in its own numbers, and what joins it to its neighbours."""

    def read_block(self, frame: int, block: int) -> BlockObjects:
        """Return what joins a block to its neighbours."""

    def number_block(self, frame: int, block: int, table: NDArray[Any]) -> None:
        """Give the objects of a block their final numbers."""

    def note_frame(self, frame: int, last: int) -> None:
        """Note that a frame is finished, and what the last number of its objects is."""

    def shown_frame(self, frame: int) -> NDArray[Any] | None:
        """Return the final labels of a frame where they can be shown as they are."""

    def end(self, last: int, complete: bool, stop: threading.Event) -> Prediction:
        """Return what the prediction leaves."""


def predict_image(
    trained: TrainedNetwork,
    image: ArrayLike,
    config: PredictConfig,
    stop: threading.Event,
    target: Path | None = None,
    source: str = "",
) -> Generator[PredictionEvent, None, Prediction]:
    """Predict an image, or the part of it that the settings name, tile by tile.

    Parameters
    ----------
    image : ArrayLike
        Any size from 1x1 up; never read as a whole.
    config : PredictConfig
        What to predict. Memory is taken for that part alone, however large the image is.
    stop : threading.Event
        Set it from any thread to end after the current tile; finished tiles are kept.
    target : Path, optional
        The OME-Zarr to write, of a whole image; one of an earlier prediction is replaced, one that
        was interrupted goes on. Into memory by default.
    source : str
        Says which image it is: a prediction into a file goes on only for the same one.

    Yields
    ------
    PredictionEvent
        `TilePredicted` per tile, `BlockSeparated` per block of objects, in memory `FrameFinished`
        per frame.

    Returns
    -------
    Prediction
        Also after a stop.

    Raises
    ------
    ConfigError
        A part of the image is to go into a file.
    ModelMismatchError
        Model and image do not fit, or the model cannot give this kind of result.
    ImageError
        The image is empty or of an unusable dtype, or a part of it cannot be read.
    FileProblemError
        The result cannot be written, or another process writes it.
    """
    if target is not None:
        check_whole(config)
    plan = plan_prediction(trained.record, image, config)
    device = choose_device(config.device)
    plan = settled(plan, device)
    frames = plan.frames_of(image)
    with _store_for(plan, trained, image, config, target, source) as store:
        runner = make_runner(trained, plan, device)
        notices = unused_gpu(config.device, device)
        if any(store.done()):
            notices += (GOES_ON,)
        shown_device = describe(device_for(trained.network, device))
        yield from starting_events(plan, shown_device, len(frames), notices)
        reader = TileReader(runner, trained.record.normalization, store.attempt)
        last, complete = yield from _predict_frames(frames, plan, runner, reader, store, stop)
        yield from map(Notice, runner.fallback.take_notices())
        yield from reader.notices()
        return store.end(last, complete, stop)


def check_whole(config: PredictConfig) -> None:
    """Refuse to store a part of an image.

    Raises ConfigError if the settings name a part.
    """
    if config.region is not None or config.frames is not None:
        raise ConfigError(
            "Predictions into files are of whole images; leave out region and frames, or predict "
            "into memory."
        )


@contextmanager
def _store_for(
    plan: PredictionPlan,
    trained: TrainedNetwork,
    image: ArrayLike,
    config: PredictConfig,
    target: Path | None,
    source: str,
) -> Iterator[ResultStore]:
    if target is None:
        yield ResultInMemory(plan)
        return
    from napari_unet.prediction.lock import locked
    from napari_unet.prediction.partial import open_partial, order_of

    order = order_of(trained, plan, source, image)
    with locked(target):
        yield open_partial(target, plan, order, config.pixel_size)


def _predict_frames(
    frames: Sequence[Frame],
    plan: PredictionPlan,
    runner: Runner,
    reader: TileReader,
    store: ResultStore,
    stop: threading.Event,
) -> Generator[PredictionEvent, None, tuple[int, bool]]:
    """Predict frames one after the other, and separate the objects of each.

    Returns the last number that was given to an object, and whether all is done.
    """
    tiles_done, frames_done = store.done()
    last, jobs = 0, _jobs(frames, plan, store, tiles_done, frames_done)
    with closing(read_ahead(jobs, reader, stop)) as tiles, one_thread("writer") as thread:
        writer = Writer(thread)
        for frame in frames:
            number = plan.number_of(frame)
            if number in frames_done:
                last = frames_done[number]
                continue
            missing = of_frame = len(plan.tiles) - len(tiles_done.get(number, ()))
            for job, pixels in islice(tiles, of_frame):
                values = plan.result.of_tile(runner.compute(pixels, frame, job.region), plan)
                writer.submit(partial(_store, store, number, job.tile, values))
                missing -= 1
                yield from map(Notice, runner.fallback.take_notices())
                shown = plan.result.shown(values, plan)
                yield TilePredicted(job.number, frame.index, job.region, shown)
            writer.wait()
            if stop.is_set() and (store.goes_on or missing == of_frame):
                return last, False
            if plan.result.is_separated:
                last = yield from _separate(plan, store, number, last, stop)
            if missing or (stop.is_set() and store.goes_on):
                return last, False
            store.note_frame(number, last)
            labels = store.shown_frame(number)
            if labels is not None:
                yield FrameFinished(frame.index, plan.region, labels)
    return last, True


def _jobs(
    frames: Sequence[Frame],
    plan: PredictionPlan,
    store: ResultStore,
    tiles_done: Mapping[int, set[int]],
    frames_done: Container[int],
) -> Iterator[TileJob]:
    """List the tiles that are not done, frame by frame; of each frame those on screen first."""
    order = plan.tiles.nearest_first(plan.near)
    for position, frame in enumerate(frames):
        number = plan.number_of(frame)
        if number in frames_done:
            continue
        store.begin_frame(number)
        done = tiles_done.get(number, ())
        for before, tile in enumerate(order, position * len(order)):
            if tile not in done:
                yield TileJob(frame, tile, plan.tiles[tile], before + 1)


def _store(store: ResultStore, frame: int, tile: int, values: NDArray[Any]) -> None:
    store.write_tile(frame, tile, values)
    store.note_tile(frame, tile)


def _separate(
    plan: PredictionPlan, store: ResultStore, frame: int, last: int, stop: threading.Event
) -> Generator[PredictionEvent, None, int]:
    """Separate the objects of a frame block by block, and give them numbers above `last`.

    Returns the last number given.
    """
    blocks, total = plan.blocks, len(plan.blocks)
    for block in range(total):
        if stop.is_set() and store.goes_on:
            return last
        if not store.has_block(frame, block):
            store.write_block(frame, block, *separate_block(store.foreground(frame), plan, block))
        if total > 1:
            yield BlockSeparated(block + 1, total, plan.index_of(frame))
    found = [store.read_block(frame, block) for block in range(total)]
    tables, last = number_objects(blocks, found, last)
    for block, table in enumerate(tables):
        store.number_block(frame, block, table)
    return last
