"""What a prediction is made of: tiles, read ahead, predicted and stored, and blocks of objects.

The network runs in the thread that asks for the tiles; one thread reads ahead of it by one tile,
and one writes behind it by one tile. So at most three tiles are in memory, and what is slow about
a disk or a network drive is not waited for.

Predicting a tile and separating a block are functions of a plan and of pixels alone, so that it
does not matter in which order, where or how often they are done: in memory, from file to file, or
by the workers of a cluster. What separates objects is imported on use: it takes half a second.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

import numpy as np
import torch

from napari_unet.data.axes import SPATIAL_AXES, frame_axes
from napari_unet.data.frames import box_within
from napari_unet.data.intensity import unusual_pixels
from napari_unet.errors import first_line
from napari_unet.model.devices import choose_precision
from napari_unet.model.execution import Runner
from napari_unet.model.external import ExternalNetwork
from napari_unet.model.memory import Shortage, within_memory
from napari_unet.prediction.results import PredictionStarted
from napari_unet.run import Notice
from napari_unet.tasks.object_classes import numbered, parts_of_foreground, votes_of

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
    from concurrent.futures import Executor, Future

    from numpy.typing import NDArray

    from napari_unet.data.axes import ArrayLike, Region
    from napari_unet.data.frames import Frame
    from napari_unet.data.intensity import IntensityMeasure, Scaling
    from napari_unet.model.external import ReadyNetwork
    from napari_unet.model.trained import TrainedNetwork
    from napari_unet.model.unet import UNet
    from napari_unet.objects.blocks import BlockObjects
    from napari_unet.prediction.plan import PredictionPlan
    from napari_unet.prediction.results import PredictionEvent

Item = TypeVar("Item")
Read = TypeVar("Read")


class TileReader:
    """Reads what the network sees of one tile after the other, for one thread.

    Each frame is measured for its normalisation before its first tile. `attempt` calls its
    argument, and perhaps again where that fails.
    """

    def __init__(
        self,
        runner: Runner,
        plan: PredictionPlan,
        image: ArrayLike,
        normalization: IntensityMeasure,
        attempt: Callable[[Callable[[], Any]], Any],
    ) -> None:
        self._runner, self._plan, self._image = runner, plan, image
        self._normalization, self._attempt = normalization, attempt
        self._intensity: dict[int, Scaling] = {}  # of the last frame
        self._not_finite = self._constant = 0

    def __call__(self, frame_and_tile: tuple[int, int]) -> tuple[NDArray[np.float32], Scaling]:
        """Return the network's input for a tile, C_in and its sizes, and how it was normalised."""
        number, tile = frame_and_tile
        frame, region = self._plan.frame(self._image, number), self._plan.tiles[tile]
        if number not in self._intensity:
            self._intensity = {number: self._attempt(lambda: self._normalization.measure(frame))}
            self._constant += self._intensity[number].is_constant

        def read() -> tuple[NDArray[np.float32], int]:
            watched = Watched(frame, region)
            pixels = self._runner.read(watched.frame, self._intensity[number], region)
            return pixels, watched.not_finite

        pixels: NDArray[np.float32]
        pixels, not_finite = self._attempt(read)
        self._not_finite += not_finite
        return pixels, self._intensity[number]

    def notices(self) -> Iterator[Notice]:
        """Return what was unusual about the pixels; ask when the last tile has come."""
        return map(Notice, unusual_pixels(self._not_finite, self._constant))


@contextmanager
def threads(name: str, number: int = 1) -> Iterator[ThreadPoolExecutor]:
    """Lend threads that end what they were given; at the end they are gone.

    After an error, or where nobody goes on, they end what they have begun, and begin no more.
    On Linux they inherit the priority of the thread that gives them work.
    """
    own: set[int] = set()
    pool = ThreadPoolExecutor(
        number,
        thread_name_prefix=f"napari-unet {name}",
        initializer=lambda: own.add(threading.get_ident()),
    )
    try:
        yield pool
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    finally:
        # an abandoned generator is closed in whatever thread collects the garbage
        pool.shutdown(wait=threading.get_ident() not in own)


def read_ahead(
    items: Iterable[Item], read: Callable[[Item], Read], stop: threading.Event
) -> Generator[tuple[Item, Read], None, None]:
    """Read things in a thread of their own, the next one while the last is worked on.

    `read` is called by one thread alone; its errors are raised when their turn has come. Set `stop`
    to end before the next.
    """
    with threads("reader") as thread:
        coming: tuple[Item, Future[Read]] | None = None
        for item in items:
            if stop.is_set():
                return
            before, coming = coming, (item, thread.submit(read, item))
            if before is not None:
                yield before[0], before[1].result()
        if coming is not None and not stop.is_set():
            yield coming[0], coming[1].result()


class Writer:
    """Writes in a thread, one thing at a time, while the next is made.

    The executor is of one thread; what was submitted is written before it ends without an error.
    """

    def __init__(self, thread: Executor) -> None:
        self._thread = thread
        self._last: Future[None] | None = None

    def submit(self, write: Callable[[], None]) -> None:
        """Let something be written, after what came before; errors of that are raised here."""
        self.wait()
        self._last = self._thread.submit(write)

    def wait(self) -> None:
        """Wait until all is written; raise what went wrong."""
        last, self._last = self._last, None
        if last is not None:
            last.result()


# --- Count what is unusual about pixels while they are read, so that nothing is read twice -------


class Watched:
    """A box of a frame, in which pixels that are not finite are counted as they are read.

    Those of each channel count. What is read around the box, or at neighbouring timepoints, belongs
    to other boxes. Integers, which are always finite, are read as they are.
    """

    def __init__(self, frame: Frame, region: Region) -> None:
        self._array = frame.array
        self.not_finite: int = 0
        self.shape: Final = frame.array.shape
        self.dtype: Final = frame.array.dtype
        self.chunks: Final = getattr(frame.array, "chunks", None)  # named where one cannot be read
        box = dict(zip(SPATIAL_AXES[frame.ndim], region, strict=True))
        timepoint = dict(zip(frame_axes(frame.axes, frame.ndim), frame.index, strict=True))
        self._wanted = [box.get(axis, timepoint.get(axis)) for axis in frame.axes]  # None: channels
        is_real = np.dtype(frame.array.dtype).kind == "f"
        self.frame: Final = replace(frame, array=self) if is_real else frame

    def __getitem__(self, key: tuple[slice | int, ...], /) -> NDArray[Any]:
        pixels: NDArray[Any] = np.asarray(self._array[key])
        inside = []
        for part, wanted in zip(key, self._wanted, strict=True):
            if isinstance(part, slice) and isinstance(wanted, slice):
                inside.append(slice(max(0, wanted.start - part.start), wanted.stop - part.start))
            elif isinstance(part, slice):
                inside.append(slice(None))
            elif part != wanted:
                return pixels
        finite = np.isfinite(pixels[tuple(inside)])
        self.not_finite += finite.size - int(np.count_nonzero(finite))
        return pixels


# --- The two kinds of work: one tile, and one block of objects -----------------------------------


def settled(plan: PredictionPlan, device: torch.device) -> PredictionPlan:
    """Choose the number format where a plan leaves it open, once for all its tiles."""
    chosen = choose_precision(plan.precision, device)
    return replace(plan, precision="bfloat16" if chosen == torch.bfloat16 else "float32")


def device_for(network: UNet | ExternalNetwork, device: torch.device) -> torch.device:
    """Return the device, or the CPU for what runs nowhere else."""
    on_cpu = isinstance(network, ExternalNetwork) and network.config.engine == "onnx"
    return torch.device("cpu") if on_cpu else device


def starting_events(
    plan: PredictionPlan, device: str, notices: Sequence[str] = (), goes_on: bool = False
) -> Iterator[PredictionEvent]:
    """Yield what is planned, then what the user should know about it."""
    shape = (*plan.frames_shape, *plan.shape)
    tiles = len(plan.tiles) * len(plan.frames)
    yield PredictionStarted(device, tiles, shape, plan.kind, plan.precision)
    yield from map(Notice, (*plan.notices, *notices))
    if goes_on:
        yield Notice("It goes on where an earlier prediction was interrupted.")


def make_runner(
    trained: TrainedNetwork,
    plan: PredictionPlan,
    device: torch.device,
    between_views: Callable[[], object] = tuple,
) -> Runner:
    """Make a model ready for the tiles of a plan; for a folder of images, once.

    What `between_views` raises ends a tile between two of its views. Where a GPU fails or has too
    little memory the CPU goes on, in float32.
    """
    cpu = torch.device("cpu")
    spare = partial(trained.ready.on, cpu, torch.float32)
    if device_for(trained.network, device) == cpu:
        on_cpu = trained.ready.on(cpu, choose_precision(plan.precision, cpu))
        return Runner(on_cpu, plan.factors, plan.views, None, between_views)

    def make_ready() -> ReadyNetwork:
        return trained.ready.on(device, choose_precision(plan.precision, device))

    try:
        ready = within_memory(make_ready, device)
        if not isinstance(ready, Shortage):
            return Runner(ready, plan.factors, plan.views, spare, between_views)
        problem = f"{ready}"
    except RuntimeError as error:
        problem = f"The GPU failed ({first_line(error)})"
    runner = Runner(spare(), plan.factors, plan.views, None, between_views)
    runner.fallback.note_once(f"{problem}: all is computed on the CPU.")
    return runner


def predict_tile(
    runner: Runner, frame: Frame, intensity: Scaling, tile: Region, plan: PredictionPlan
) -> NDArray[Any]:
    """Predict one tile; the result is of `plan.tile_dtype`.

    It is, with objects, the foreground in steps of 1/255; probabilities as C followed by the tile;
    uncertainty; grey values; or the value of each pixel's class.
    """
    said = runner.probabilities(frame, intensity, tile)
    return tile_values(said, frame, intensity, tile, plan)


def tile_values(
    said: NDArray[np.float32], frame: Frame, intensity: Scaling, tile: Region, plan: PredictionPlan
) -> NDArray[Any]:
    """Turn what the network says of a tile into its values, which `predict_tile` returns."""
    table = plan.classes
    said = table.task.completed(said, frame, intensity, tile, table)
    return plan.result.of_tile(table.task.in_image(said, intensity, table), plan)


def separate_block(
    foreground: Any, plan: PredictionPlan, number: int
) -> tuple[NDArray[np.int32], BlockObjects]:
    """Separate the objects of one block.

    The foreground is that of the frame, ``[Z]YX``, as `predict_tile` gives it; only what the block
    sees is read. Returns int32 labels of the block's own box, 1..N, and what joins it to its
    neighbours.
    """
    from napari_unet.objects.separation import separate_objects

    seen, own = plan.blocks.seen(number), plan.blocks[number]
    there = np.asarray(foreground[seen])
    labels = separate_objects(
        parts_of_foreground(there)[0],
        plan.limits.smallest,
        plan.threshold,
        plan.factors[-1],
        plan.typical,
        plan.limits.doubtful,
    )
    return owned(labels, there, seen, own, plan)


def owned(
    labels: NDArray[np.int32],
    foreground: NDArray[Any],
    seen: Region,
    own: Region,
    plan: PredictionPlan,
) -> tuple[NDArray[np.int32], BlockObjects]:
    """Return what a block owns, as `own_labels`, with the classes that its pixels vote for."""
    from napari_unet.objects.blocks import own_labels

    steps, classes = parts_of_foreground(foreground)
    found, objects = own_labels(labels, steps, seen, own)
    if classes is None:
        return found, objects
    votes = votes_of(found, classes[box_within(own, seen)], len(plan.classes.names))
    return found, replace(objects, votes=votes)


def number_objects(
    plan: PredictionPlan, objects: Sequence[BlockObjects], first: int = 0
) -> tuple[list[NDArray[np.uint32]], int]:
    """Give the objects of a frame their numbers, those that cross from block to block once.

    What is not sure enough gets none. Numbers begin above `first`. Returns a table for each block,
    from its own numbers to the final ones, and the highest number given.
    """
    from napari_unet.objects.blocks import final_numbers, same_objects
    from napari_unet.objects.separation import is_sure

    pairs = []
    for number, block in enumerate(objects):
        for axis, strip in block.high.items():
            after = plan.blocks.next_along(number, axis)
            pairs.append((number, after, same_objects(strip, objects[after].low[axis], axis)))
    kept = partial(is_sure, threshold=plan.threshold, limits=plan.limits)
    tables, last = final_numbers(objects, pairs, kept, first)
    if not plan.result.is_packed:
        return tables, last
    votes = np.zeros((last - first + 1, len(plan.classes.names)), np.int64)
    for table, block in zip(tables, objects, strict=True):
        if block.votes is not None:
            known = table > first
            np.add.at(votes, table[known] - first, block.votes[known])
    return [numbered(table, votes, first) for table in tables], last
