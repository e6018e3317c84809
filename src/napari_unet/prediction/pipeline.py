"""Read the next tile, and store the last one, while the present one is computed.

The network runs in the thread that asks for the tiles; one thread reads ahead of it by one tile,
and one writes behind it by one tile. So at most three tiles are in memory, and what is slow about
a disk or a network drive is not waited for.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from napari_unet.data.axes import SPATIAL_AXES, frame_axes
from napari_unet.data.intensity import unusual_pixels
from napari_unet.run import Notice

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator
    from concurrent.futures import Executor, Future

    from numpy.typing import NDArray

    from napari_unet.data.axes import Region
    from napari_unet.data.frames import Frame
    from napari_unet.data.intensity import IntensityMeasure, Scaling
    from napari_unet.model.execution import Runner

Item = TypeVar("Item")
Read = TypeVar("Read")


@dataclass(frozen=True)
class TileJob:
    """A tile that is to be predicted."""

    frame: Frame
    tile: int
    """Its number in the plan."""
    region: Region
    """Its box in the frame, ``[Z]YX``."""
    number: int
    """Tiles done when this one is, of all frames."""


class TileReader:
    """Reads what the network sees of one tile after the other, for one thread.

    Each frame is measured for its normalisation before its first tile. `attempt` calls its
    argument, and perhaps again where that fails.
    """

    def __init__(
        self,
        runner: Runner,
        normalization: IntensityMeasure,
        attempt: Callable[[Callable[[], Any]], Any],
    ) -> None:
        self._runner, self._normalization, self._attempt = runner, normalization, attempt
        self._frame: Frame | None = None
        self._intensity: Scaling | None = None
        self._not_finite = self._constant = 0

    def __call__(self, job: TileJob) -> NDArray[np.float32]:
        """Return the network's input for a tile: C_in and its sizes, normalised."""
        frame = job.frame
        if self._frame is not frame:
            self._intensity = self._attempt(lambda: self._normalization.measure(frame))
            self._frame = frame
            self._constant += self._intensity.is_constant
        intensity = self._intensity
        assert intensity is not None

        def read() -> tuple[NDArray[np.float32], int]:
            watched = Watched(frame, job.region)
            return self._runner.read(watched.frame, intensity, job.region), watched.not_finite

        pixels: NDArray[np.float32]
        pixels, not_finite = self._attempt(read)
        self._not_finite += not_finite
        return pixels

    def notices(self) -> Iterator[Notice]:
        """Return what was unusual about the pixels; ask when the last tile has come."""
        return map(Notice, unusual_pixels(self._not_finite, self._constant))


@contextmanager
def one_thread(name: str) -> Iterator[ThreadPoolExecutor]:
    """Lend a thread that does one thing after the other; at the end it is gone.

    On Linux it inherits the priority of the thread that first gives it work.
    """
    thread = ThreadPoolExecutor(1, thread_name_prefix=f"napari-unet {name}")
    number = thread.submit(threading.get_ident).result()
    try:
        yield thread
    finally:
        # an abandoned generator is closed in whatever thread collects the garbage
        elsewhere = threading.get_ident() != number
        thread.shutdown(wait=elsewhere)


def read_ahead(
    items: Iterable[Item], read: Callable[[Item], Read], stop: threading.Event
) -> Generator[tuple[Item, Read], None, None]:
    """Read things in a thread of their own, the next one while the last is worked on.

    `read` is called by one thread alone; its errors are raised when their turn has come. Set `stop`
    to end before the next.
    """
    with one_thread("reader") as thread:
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

    The executor is of one thread; what was submitted is written before it ends.
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

    What is read around it, or at neighbouring timepoints, belongs to other boxes: not counted.

    Attributes
    ----------
    not_finite : int
        Pixels found so far; those of each channel count.
    frame : Frame
        To read from; integers, which are always finite, are read as they are.
    """

    def __init__(self, frame: Frame, region: Region) -> None:
        self._array, self.not_finite = frame.array, 0
        self.shape, self.dtype = frame.array.shape, frame.array.dtype
        self.chunks = getattr(frame.array, "chunks", None)  # named where one cannot be read
        box = dict(zip(SPATIAL_AXES[frame.ndim], region, strict=True))
        timepoint = dict(zip(frame_axes(frame.axes, frame.ndim), frame.index, strict=True))
        self._wanted = [box.get(axis, timepoint.get(axis)) for axis in frame.axes]  # None: channels
        is_real = np.dtype(frame.array.dtype).kind == "f"
        self.frame = replace(frame, array=self) if is_real else frame

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
