"""Prediction from any image to OME-Zarr, with bounded memory, as a generator of events.

The image is read tile by tile, each tile is written while the next one is computed, and objects
are separated block by block behind them. So neither the image nor the result is ever held as a
whole, and an interrupted prediction goes on where it was.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial as partial_of
from itertools import chain, tee
from typing import TYPE_CHECKING, Any

from napari_unet.errors import ConfigError
from napari_unet.model.devices import choose_device, describe, unused_gpu
from napari_unet.prediction.frame_work import predict_frames
from napari_unet.prediction.lock import locked
from napari_unet.prediction.partial import (
    open_partial,
    order_of,
    stored_axes,
    trying_again,
    writing_to,
)
from napari_unet.prediction.pipeline import TileJob, TileReader, computed_tiles, stored_behind
from napari_unet.prediction.plan import plan_prediction
from napari_unet.prediction.work import (
    device_for,
    make_runner,
    number_objects,
    separate_block,
    settled,
    starting_events,
    told,
)

if TYPE_CHECKING:
    import threading
    from collections.abc import Generator, Iterable, Iterator
    from pathlib import Path

    import torch
    from numpy.typing import NDArray

    from napari_unet.data.axes import ArrayLike, Region
    from napari_unet.data.frames import Frame
    from napari_unet.model.trained import TrainedNetwork
    from napari_unet.prediction.config import PredictConfig, ResultKind
    from napari_unet.prediction.events import PredictionEvent
    from napari_unet.prediction.partial import PartialResult
    from napari_unet.prediction.plan import PredictionPlan

GOES_ON = "It goes on where an earlier prediction was interrupted."


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
    device = choose_device(config.device)
    plan = plan_whole(trained, image, config, device)
    order = order_of(trained, plan, source, image)
    with locked(target):
        partial = open_partial(target, plan, order, config.pixel_size)
        passed_over = unused_gpu(config.device, device)
        return (yield from _go_on(trained, image, device, passed_over, partial, target, stop))


def plan_whole(
    trained: TrainedNetwork, image: ArrayLike, config: PredictConfig, device: torch.device
) -> PredictionPlan:
    """Plan a prediction of all of an image for a device.

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
    plan = plan_prediction(trained.record, image, config)
    return settled(plan, device)


def _go_on(
    trained: TrainedNetwork,
    image: ArrayLike,
    device: torch.device,
    notices: tuple[str, ...],
    partial: PartialResult,
    target: Path,
    stop: threading.Event,
) -> Generator[PredictionEvent, None, StoredResult]:
    """Predict what is not done yet."""
    plan = partial.plan
    tiles_done, frames_done = partial.done()
    runner = make_runner(trained, plan, device)
    if tiles_done or frames_done:
        notices += (GOES_ON,)
    shown_device = describe(device_for(trained.network, device))
    yield from starting_events(plan, shown_device, plan.n_frames, notices)

    def works() -> Iterator[_StoredFrame]:
        for number in range(plan.n_frames):
            if number not in frames_done:
                frame, done = plan.frame(image, number), tiles_done.get(number, set())
                yield _StoredFrame(partial, frame, number, done, frames_done, stop)

    of_frames, ahead = tee(works())
    jobs = chain.from_iterable(work.jobs() for work in ahead)
    reader = TileReader(runner, trained.record.normalization, trying_again)
    tiles = stored_behind(computed_tiles(runner, plan, jobs, reader, stop))
    yield from told(predict_frames(of_frames, tiles, plan), runner)
    yield from reader.notices()
    if stop.is_set():
        return result_of(plan, target, None)
    with writing_to(partial.folder):
        finished = partial.finish(target, stop)
    return result_of(plan, target, frames_done[plan.n_frames - 1] if finished else None)


def result_of(plan: PredictionPlan, target: Path, last: int | None) -> StoredResult:
    """Return what a prediction left; `last` is the highest number given, None if incomplete."""
    objects = last if plan.result.is_separated else None
    return StoredResult(plan.kind, target, stored_axes(plan), objects, complete=last is not None)


class _StoredFrame:
    """A frame whose values are written to a partial result.

    Parameters
    ----------
    partial : PartialResult
        Where to.
    frame : Frame
        Which frame.
    position : int
        Its number among all frames.
    done : set of int
        Tiles that are written.
    frames_done : dict of int to int
        The last number given in each frame that is finished; this one is added at its end.
    stop : threading.Event
        Where it is set, nothing more is separated or noted.
    """

    def __init__(
        self,
        partial: PartialResult,
        frame: Frame,
        position: int,
        done: set[int],
        frames_done: dict[int, int],
        stop: threading.Event,
    ) -> None:
        self.index = frame.index
        self._partial, self._frame, self._position = partial, frame, position
        self._done, self._frames_done, self._stop = done, frames_done, stop
        with writing_to(partial.folder):
            partial.begin_frame(position)

    @property
    def present(self) -> Iterable[Region]:
        """Tiles that an earlier prediction has written."""
        return (self._partial.plan.tiles[tile] for tile in self._done)

    @property
    def n_todo(self) -> int:
        """How many tiles are not written."""
        return len(self._partial.plan.tiles) - len(self._done)

    def jobs(self) -> Iterator[TileJob]:
        """Return the tiles that are not written."""
        tiles = self._partial.plan.tiles
        for tile, region in enumerate(tiles):
            if tile not in self._done:
                number = self._position * len(tiles) + tile + 1
                yield TileJob(self._frame, region, number, partial_of(self._store, tile))

    def separate(self, block: int) -> bool:
        """Tell the objects of a block apart and write them, if nobody has done it yet."""
        partial = self._partial
        if self._stop.is_set():
            return False
        if not partial.has_block(self._position, block):
            foreground = partial.foreground(self._position)
            labels, objects = separate_block(foreground, partial.plan, block)
            with writing_to(partial.folder):
                partial.write_block(self._position, block, labels, objects)
        return True

    def number(self, first: int) -> int:
        """Write all objects in their final numbers."""
        if self._stop.is_set():
            return first
        partial, frame = self._partial, self._position
        blocks = partial.plan.blocks
        first = self._frames_done.get(frame - 1, first)
        found = [partial.read_block(frame, block) for block in range(len(blocks))]
        tables, last = number_objects(blocks, found, first)
        with writing_to(partial.folder):
            for block, table in enumerate(tables):
                partial.number_block(frame, block, table)
        return last

    def end(self, last: int) -> Iterable[PredictionEvent]:
        """Note that the frame is finished."""
        if not self._stop.is_set():
            with writing_to(self._partial.folder):
                self._partial.note_frame(self._position, last)
            self._frames_done[self._position] = last
        return ()

    def _store(self, tile: int, values: NDArray[Any]) -> None:
        with writing_to(self._partial.folder):
            self._partial.write_tile(self._position, tile, values)
            self._partial.note_tile(self._position, tile)
