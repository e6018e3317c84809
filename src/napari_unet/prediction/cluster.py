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
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_unet.errors import ConfigError, DeviceError, ModelMismatchError, NotEnoughMemoryError
from napari_unet.io.files import read_image
from napari_unet.io.locks import locked
from napari_unet.model.devices import choose_device
from napari_unet.model.starting import load_model_or_starting_model
from napari_unet.model.trained import hash_of_weights
from napari_unet.prediction.partial import open_partial, order_of, trying_again
from napari_unet.prediction.pipeline import (
    make_runner,
    number_objects,
    predict_tile,
    separate_block,
    settled,
    starting_events,
)
from napari_unet.prediction.plan import plan_prediction
from napari_unet.prediction.results import PredictionEvent, PredictionProgress

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from distributed import Client

    from napari_unet.data.axes import ArrayLike
    from napari_unet.data.intensity import Scaling
    from napari_unet.model.execution import Runner
    from napari_unet.model.trained import TrainedNetwork
    from napari_unet.prediction.config import PredictConfig
    from napari_unet.prediction.partial import PartialResult
    from napari_unet.prediction.results import Prediction, PredictionEvent

# Tasks per thread of the cluster that are under way, so that no worker waits for the client.
_TASKS_PER_THREAD = 3
_CONNECT_SECONDS = 10
_LOOK_SECONDS = 0.5
_PATIENCE_SECONDS = 30.0


_Task = tuple["Callable[..., Any]", tuple[Any, ...], str, int, int]  # work, what for, frame, part


@dataclass(frozen=True)
class Order:
    """What a worker is told: where things lie."""

    model: str
    """Model file, or the name of a starting model."""
    image: str
    partial: PartialResult = field(compare=False)
    """Where the result grows."""
    device: str
    identity: str
    """Changes with model, image and plan: a worker opens both again where it is another one."""
    model_hash: str
    """Of the weights that the client has."""


# --- What a worker does: each task is a function of files, which may be done again ---------------

# Of the threads of a worker one opens an order and makes its network ready; the others wait.
_opening = threading.Lock()


def measure_frame(order: Order, frame: int) -> Scaling:
    """Measure the intensities of a frame."""
    trained, pixels, _ = _opened_for(order)
    of_frame = order.partial.plan.frame(pixels, frame)
    return trying_again(lambda: trained.record.normalization.measure(of_frame))


def predict_one(order: Order, frame: int, intensity: Scaling, tile: int) -> None:
    """Predict a tile and write it."""
    _, pixels, runner = _opened_for(order)
    plan = order.partial.plan
    of_frame, region = plan.frame(pixels, frame), plan.tiles[tile]
    values = trying_again(lambda: predict_tile(runner, of_frame, intensity, region, plan))
    order.partial.write_tile(frame, tile, values)


def separate_one(partial: PartialResult, frame: int, block: int) -> None:
    """Separate the objects of a block and write them in numbers of their own."""
    labels, objects = separate_block(partial.foreground(frame), partial.plan, block)
    partial.write_block(frame, block, labels, objects)


def _opened_for(order: Order) -> tuple[TrainedNetwork, ArrayLike, Runner]:
    """Return model, image and the model made ready: what did not fit is of a tile."""
    with _opening:
        trained, pixels, runner = _opened(order)
    return trained, pixels, replace(runner)


@lru_cache(maxsize=2)
def _opened(order: Order) -> tuple[TrainedNetwork, ArrayLike, Runner]:
    """Load the model, open the image and make the model ready, once per process and order.

    Raises ModelMismatchError if the model file was changed meanwhile, or is another one here.
    """
    trained = load_model_or_starting_model(order.model)
    if hash_of_weights(trained.network.state_dict()) != order.model_hash:
        raise ModelMismatchError(
            f"The model {order.model} is another one for a worker than where the prediction was "
            "started. Put it where all can read it, and predict again."
        )
    runner = make_runner(trained, order.partial.plan, choose_device(order.device))
    return trained, read_image(Path(order.image)).array, runner


# --- What the client does ------------------------------------------------------------------------


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
    with spawning, _deaf_to_signals():  # they reach all processes, and are for this one
        local = _untyped(LocalCluster)(
            n_workers=workers,
            threads_per_worker=1,
            dashboard_address="127.0.0.1:0",  # not the one port that a second cluster would miss
            silence_logs=40,
        )
    with local, _untyped(Client)(local) as client:
        yield client


@contextmanager
def _deaf_to_signals() -> Iterator[None]:
    """Let processes that are started meanwhile ignore what asks a whole group of them to end.

    Ctrl+C, a terminal that is closed, and a queue whose time is over do so. The program that has
    started them stops, and ends them when their tasks are done.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    names = [name for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {getattr(signal, name): signal.getsignal(getattr(signal, name)) for name in names}
    for number in before:
        signal.signal(number, signal.SIG_IGN)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def predict_on_cluster(
    client: Client,
    model: str,
    image: Path,
    config: PredictConfig,
    target: Path,
    stop: threading.Event,
    source: str = "",
) -> Generator[PredictionEvent, None, Prediction]:
    """Spread the tiles and blocks of an image over a cluster; see `predict_image`.

    All workers must be able to read the model file (or it is the name of a starting model) and the
    image, an OME-Zarr, so that they read chunks of it; and to write the folder of the target.
    """
    trained, pixels = load_model_or_starting_model(model), read_image(image).array
    config.check_whole()
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
        words = f"{threads} threads of a cluster"
        yield from starting_events(plan, words, goes_on=any(partial.done()))
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
        self._tiles_done, self._finished = order.partial.done()
        self._n_frames = self._plan.n_frames
        self._waiting = deque(f for f in range(self._n_frames) if f not in self._finished)
        # of a frame that is begun: the tiles, blocks and blocks to be numbered that are not done
        self._left: dict[tuple[str, int], set[int]] = {}
        self._last_of: dict[int, int] = {}
        self._ready: deque[_Task] = deque()
        self._futures: dict[Any, _Task] = {}
        self._to_number, self.last = 0, 0
        self._written = sum(map(len, self._tiles_done.values()))

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
        while len(self._futures) < self._most and (self._ready or self._waiting):
            if not self._ready:
                self._begin(self._waiting.popleft())
                continue
            task = self._ready.popleft()
            work, arguments = task[:2]
            self._futures[self._client.submit(work, *arguments, pure=False)] = task

    def _begin(self, frame: int) -> None:
        self._partial.begin_frame(frame)
        tiles = set(range(len(self._plan.tiles)))
        tiles -= self._tiles_done.get(frame, set())
        blocks = set(range(len(self._plan.blocks))) if self._plan.result.is_separated else set()
        blocks -= {block for block in blocks if self._partial.has_block(frame, block)}
        self._left["tile", frame], self._left["block", frame] = tiles, blocks
        if tiles:
            self._ready.append((measure_frame, (self._order, frame), "measure", frame, 0))
        else:
            self._after_tiles(frame)

    def _note(self, task: _Task, result: Any) -> Generator[PredictionEvent, None, None]:
        _, _, purpose, frame, part = task
        if purpose == "measure":
            for tile in sorted(self._left["tile", frame]):
                arguments = (self._order, frame, result, tile)
                self._ready.append((predict_one, arguments, "tile", frame, tile))
            return
        left = self._left[purpose, frame]
        left.discard(part)
        tiles, blocks = len(self._plan.tiles) * self._n_frames, len(self._plan.blocks)
        if purpose == "tile":
            self._partial.note_tile(frame, part)
            self._written += 1
            yield PredictionProgress(self._written, tiles)
        elif purpose == "block":
            yield PredictionProgress(self._written, tiles, blocks - len(left), blocks)
        if left:
            return
        if purpose == "tile":
            self._after_tiles(frame)
        elif purpose == "block":
            self._number_what_can_be()
        else:
            self._finish(frame)

    def _after_tiles(self, frame: int) -> None:
        if not self._plan.result.is_separated:
            self._finish(frame)
            return
        blocks = self._left["block", frame]
        for block in sorted(blocks, reverse=True):  # before the tiles of later frames
            arguments = (self._partial, frame, block)
            self._ready.appendleft((separate_one, arguments, "block", frame, block))
        if not blocks:
            self._number_what_can_be()

    def _number_what_can_be(self) -> None:
        """Give numbers to the objects of a frame as soon as all frames before have theirs."""
        while self._plan.result.is_separated and self._to_number < self._n_frames:
            frame = self._to_number
            if frame in self._finished:
                self.last = self._finished[frame]
                self._to_number += 1
                continue
            is_begun = ("tile", frame) in self._left
            if not is_begun or self._left["tile", frame] or self._left["block", frame]:
                return
            blocks = self._plan.blocks
            found = [self._partial.read_block(frame, block) for block in range(len(blocks))]
            tables, self.last = number_objects(self._plan, found, self.last)
            self._last_of[frame], self._left["write", frame] = self.last, set(range(len(blocks)))
            for block, table in enumerate(tables):
                work, arguments = self._partial.number_block, (frame, block, table)
                self._ready.appendleft((work, arguments, "write", frame, block))
            self._to_number += 1

    def _finish(self, frame: int) -> None:
        self._partial.note_frame(frame, self._last_of.pop(frame, 0))


def _result_of(future: Any, task: _Task) -> Any:
    """Return what a task gave.

    Raises NotEnoughMemoryError if the task ended worker after worker, or waited in each of them.
    """
    from distributed import KilledWorker

    try:
        return future.result()
    except KilledWorker as error:
        _, _, purpose, frame, part = task
        raise NotEnoughMemoryError(
            f"{error.allowed_failures + 1} workers were killed, one after the other, that had "
            f"{purpose} {part} of frame {frame} to do, probably out of memory. Choose a smaller "
            "--tile-size or fewer --workers; what is done is kept, predict again to go on."
        ) from error


def _untyped(thing: Any) -> Any:
    """Drop the type of what dask.distributed has typed in part only."""
    return thing
