"""Prediction of an OME-Zarr by the workers of a dask.distributed cluster.

Workers are told where model, image and partial result lie, never pixels: they read what they need
and write their own chunks. A task is a function of files alone, so that the scheduler may do it
again when a worker is lost. The client keeps the journal, numbers the objects and needs the memory
of a few strips alone. The result is that of a single process.
"""

from __future__ import annotations

import signal
import threading
import time
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from napari_unet.errors import ConfigError, DeviceError
from napari_unet.io.files import read_image
from napari_unet.model.devices import choose_device
from napari_unet.model.starting import load_model_or_starting_model
from napari_unet.model.tensor_file import hash_of_weights
from napari_unet.prediction.cluster_tasks import (
    Order,
    measure_frame,
    predict_one,
    separate_one,
    write_one,
)
from napari_unet.prediction.events import BlockSeparated, PredictionEvent, TileWritten
from napari_unet.prediction.lock import locked
from napari_unet.prediction.partial import open_partial, order_of
from napari_unet.prediction.plan import plan_prediction
from napari_unet.prediction.predictor import GOES_ON, check_whole
from napari_unet.prediction.work import number_objects, settled, starting_events

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from pathlib import Path

    from distributed import Client

    from napari_unet.prediction.config import PredictConfig
    from napari_unet.prediction.results import Prediction

# Tasks per thread of the cluster that are under way, so that no worker waits for the client.
_TASKS_PER_THREAD = 3
_CONNECT_SECONDS = 10
_LOOK_SECONDS = 0.5
_PATIENCE_SECONDS = 30.0


@contextmanager
def connected(scheduler: str | None, workers: int | None) -> Iterator[Client]:
    """Connect to a cluster, or start so many workers on this machine, and leave it at the end.

    Raises ConfigError if dask.distributed is not installed, or no worker is asked for; DeviceError
    if the scheduler does not answer.
    """
    try:
        import dask.config
        from distributed import Client, LocalCluster
    except ImportError as error:
        raise ConfigError(
            "A cluster needs dask.distributed: pip install 'napari-unet-paint[distributed]'."
        ) from error
    if scheduler is not None:
        try:
            client = _untyped(Client)(scheduler, timeout=_CONNECT_SECONDS)
        except (OSError, TimeoutError, ValueError) as error:
            raise DeviceError(
                f"The scheduler {scheduler} does not answer; check the address, and that it runs."
            ) from error
        with client:
            yield client
        return
    if workers is None or workers < 1:
        raise ConfigError(f"--workers is {workers}; start at least 1.")
    # Never fork: what Qt, OpenMP or CUDA have begun does not live on in a forked process.
    spawning = dask.config.set({"distributed.worker.multiprocessing-method": "spawn"})
    with spawning, _deaf_to_interrupts():  # Ctrl+C reaches all processes, and is for this one
        local = _untyped(LocalCluster)(
            n_workers=workers,
            threads_per_worker=1,
            dashboard_address="127.0.0.1:0",  # not the one port that a second cluster would miss
            silence_logs=40,
        )
    with local, _untyped(Client)(local) as client:
        yield client


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Let processes that are started meanwhile ignore SIGINT."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@dataclass
class _FrameState:
    """What is still to be done of a frame."""

    tiles: set[int]
    blocks: set[int]
    unwritten: set[int] = field(default_factory=set)
    last: int = 0


_Task = tuple["Callable[..., Any]", tuple[Any, ...], str, int, int]  # work, what for, frame, part


def predict_on_cluster(
    client: Client,
    model: str,
    image: Path,
    config: PredictConfig,
    target: Path,
    stop: threading.Event,
    source: str = "",
) -> Generator[PredictionEvent, None, Prediction]:
    """Spread the tiles and blocks of an image over a cluster.

    Parameters
    ----------
    model : str
        Model file that all workers can read, or the name of a starting model.
    image : Path
        Image that all workers can read; an OME-Zarr, so that they read chunks of it.
    target : Path
        The OME-Zarr to write, in a folder that all workers can write.
    stop : threading.Event
        Set it from any thread to end; what is done is kept.
    source : str
        Says which image it is: a prediction goes on only for the same one.

    Raises
    ------
    ModelMismatchError, ImageError, FileProblemError
        As in a single process.
    """
    trained, pixels = load_model_or_starting_model(model), read_image(image).array
    check_whole(config)
    plan = settled(plan_prediction(trained.record, pixels, config), choose_device(config.device))
    identity = order_of(trained, plan, source, pixels)
    threads = sum(_untyped(client).nthreads().values())
    if not threads:
        raise ConfigError("The cluster has no workers yet; start some and predict again.")
    with locked(target):
        partial = open_partial(target, plan, identity, config.pixel_size)
        weights = hash_of_weights(trained.network.state_dict())
        order = Order(model, str(image), partial, config.device, identity, weights)
        run = _Run(client, order, _TASKS_PER_THREAD * threads)
        notices = (GOES_ON,) if run.goes_on else ()
        yield from starting_events(plan, f"{threads} threads of a cluster", plan.n_frames, notices)
        yield from run.events(stop)
        return partial.end(run.last, not stop.is_set(), stop)


class _Run:
    """Hands out the tasks of all frames, a bounded number at a time, and follows them.

    A frame is measured, then predicted, then its objects are separated; frames overlap in time,
    but they are numbered in their order.
    """

    def __init__(self, client: Client, order: Order, most: int) -> None:
        self._client, self._order, self._most = _untyped(client), order, most
        self._plan, self._partial = order.partial.plan, order.partial
        tiles_done, self._finished = order.partial.done()
        self._tiles_done = {f: t for f, t in tiles_done.items() if f not in self._finished}
        self._n_frames = self._plan.n_frames
        self._waiting = deque(f for f in range(self._n_frames) if f not in self._finished)
        self._frames: dict[int, _FrameState] = {}
        self._ready: deque[_Task] = deque()
        self._futures: dict[Any, _Task] = {}
        self._to_number, self.last = 0, 0
        self._written = sum(map(len, self._tiles_done.values()))
        self._written += len(self._finished) * len(self._plan.tiles)

    @property
    def goes_on(self) -> bool:
        """Whether an earlier prediction has left something."""
        return self._written > 0

    def events(self, stop: threading.Event) -> Generator[PredictionEvent, None, None]:
        """Run all tasks to the end; after a stop those that are under way."""
        stopped_at = None
        try:
            self._number_what_can_be()
            self._hand_out()
            while self._futures:
                for future in self._done():
                    task = self._futures.pop(future)
                    yield from self._note(task, _result_of(future, task))
                if not stop.is_set():
                    self._hand_out()
                    continue
                stopped_at = stopped_at or time.monotonic()
                if time.monotonic() - stopped_at > _PATIENCE_SECONDS:  # its workers may be gone
                    return
        finally:
            self._client.cancel(list(self._futures))

    def _done(self) -> list[Any]:
        """Wait for tasks to end, but not so long that a stop is noticed late."""
        from distributed import wait

        try:
            found = _untyped(wait)(
                list(self._futures), timeout=_LOOK_SECONDS, return_when="FIRST_COMPLETED"
            )
        except TimeoutError:
            return []
        return list(found.done)

    def _hand_out(self) -> None:
        while len(self._futures) < self._most:
            if not self._ready:
                if not self._waiting:
                    return
                self._begin(self._waiting.popleft())
                continue
            task = self._ready.popleft()
            work, arguments = task[:2]
            future = self._client.submit(work, self._order, *arguments, pure=False)
            self._futures[future] = task

    def _begin(self, frame: int) -> None:
        self._partial.begin_frame(frame)
        tiles = set(range(len(self._plan.tiles)))
        tiles -= self._tiles_done.get(frame, set())
        blocks = set(range(len(self._plan.blocks))) if self._plan.result.is_separated else set()
        blocks -= {block for block in blocks if self._partial.has_block(frame, block)}
        self._frames[frame] = _FrameState(tiles, blocks)
        if tiles:
            self._ready.append((measure_frame, (frame,), "measure", frame, 0))
        else:
            self._after_tiles(frame)

    def _note(self, task: _Task, result: Any) -> Generator[PredictionEvent, None, None]:
        _, _, purpose, frame, part = task
        state = self._frames[frame]
        if purpose == "measure":
            for tile in sorted(state.tiles):
                self._ready.append((predict_one, (frame, result, tile), "tile", frame, tile))
        elif purpose == "tile":
            state.tiles.discard(part)
            self._partial.note_tile(frame, part)
            self._written += 1
            yield TileWritten(self._written)
            if not state.tiles:
                self._after_tiles(frame)
        elif purpose == "block":
            state.blocks.discard(part)
            n_blocks = len(self._plan.blocks)
            yield BlockSeparated(n_blocks - len(state.blocks), n_blocks, ())
            if not state.blocks:
                self._number_what_can_be()
        else:
            state.unwritten.discard(part)
            if not state.unwritten:
                self._finish(frame)

    def _after_tiles(self, frame: int) -> None:
        state = self._frames[frame]
        if not self._plan.result.is_separated:
            self._finish(frame)
            return
        for block in sorted(state.blocks, reverse=True):  # before the tiles of later frames
            self._ready.appendleft((separate_one, (frame, block), "block", frame, block))
        if not state.blocks:
            self._number_what_can_be()

    def _number_what_can_be(self) -> None:
        """Give numbers to the objects of a frame as soon as all frames before have theirs."""
        while self._plan.result.is_separated and self._to_number < self._n_frames:
            frame = self._to_number
            if frame in self._finished:
                self.last = self._finished[frame]
                self._to_number += 1
                continue
            state = self._frames.get(frame)
            if state is None or state.tiles or state.blocks:
                return
            blocks = self._plan.blocks
            found = [self._partial.read_block(frame, block) for block in range(len(blocks))]
            tables, self.last = number_objects(blocks, found, self.last)
            state.last, state.unwritten = self.last, set(range(len(blocks)))
            for block, table in enumerate(tables):
                self._ready.appendleft((write_one, (frame, block, table), "write", frame, block))
            self._to_number += 1

    def _finish(self, frame: int) -> None:
        self._partial.note_frame(frame, self._frames.pop(frame).last)


def _result_of(future: Any, task: _Task) -> Any:
    """Return what a task gave.

    Raises DeviceError if the task ended worker after worker, or was waiting in each of them.
    """
    from distributed import KilledWorker

    try:
        return future.result()
    except KilledWorker as error:
        _, _, purpose, frame, part = task
        raise DeviceError(
            f"{error.allowed_failures + 1} workers were killed, one after the other, that had "
            f"{purpose} {part} of frame {frame} to do, probably out of memory. Choose a smaller "
            "--tile-size or fewer --workers; what is done is kept, predict again to go on."
        ) from error


def _untyped(thing: Any) -> Any:
    """Drop the type of what dask.distributed has typed in part only."""
    return thing
