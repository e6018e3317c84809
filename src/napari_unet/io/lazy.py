"""Pixels that stay in their file until they are asked for, region by region.

Nothing is mapped into memory: where another program cuts off a file that is mapped, the system ends
the process that looks at it. What is read by its position is an error that can be told.
"""

from __future__ import annotations

import itertools
import math
import operator
import os
import threading
import weakref
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar, Self
from zipfile import ZipFile

import numpy as np

from napari_unet.errors import FileProblemError
from napari_unet.io.disk import reading
from napari_unet.io.limits import check_fits_memory

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

# A call of the system costs as much as copying so many bytes.
_BYTES_PER_CALL = 10_000
_LARGEST_BLOCK = 2**26  # bytes that are read at once to keep a part of them
_WORTH_KEEPING = 4  # how much dearer a block may be whose neighbours will be asked for next


class LazyPixels(ABC):
    """What is asked of an image (`ArrayLike`); subclasses set `shape` and `dtype`, and read.

    Where that fails, whatever the error, it is a FileProblemError that names the file.
    """

    shape: tuple[int, ...]
    dtype: Any

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    def without_transparency(self) -> Self:
        """Show only the first three of the colours along the last axis."""
        self.shape = (*self.shape[:-1], 3)
        return self

    def __getitem__(self, key: Any, /) -> Any:
        keys = key if isinstance(key, tuple) else (key,)
        whole = [slice(None)] * (self.ndim - sum(k is not Ellipsis for k in keys))
        at = next((n for n, k in enumerate(keys) if k is Ellipsis), len(keys))
        keys = (*keys[:at], *whole, *keys[at + 1 :])
        region = tuple(range(size)[k] for k, size in zip(keys, self.shape, strict=True))
        with reading(self._path):
            return self._read(region)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self[...], dtype, copy=copy)

    @abstractmethod
    def _read(self, region: tuple[int | range, ...]) -> Any:
        """Read a region that has a number or a range inside of the image for each axis."""


class FilePixels(LazyPixels):
    """The pixels of a file that has them one after the other; can be pickled.

    `offset` is where they begin. The last axis is the fastest, or the first, where it is `reverse`.
    """

    # The block that was read last: its file, where it begins there, and its bytes. Tiles in a row
    # are read at once so; one for all files, as any number of images are open.
    _kept: ClassVar[tuple[Any, int, NDArray[np.uint8]]] = (None, 0, np.empty(0, np.uint8))

    def __init__(
        self, path: Path, offset: int, shape: tuple[int, ...], dtype: Any, reverse: bool = False
    ) -> None:
        super().__init__(path)
        self.shape: tuple[int, ...] = shape
        self.dtype: Any = np.dtype(dtype)
        self._origin = (path, offset, shape, dtype, reverse)
        self._offset, self._reverse = offset, reverse
        self._stored = shape[::-1] if reverse else shape
        self._file = path.open("rb", buffering=0)
        weakref.finalize(self, self._file.close)
        self._lock = threading.Lock()
        size = offset + math.prod(shape) * self.dtype.itemsize
        if path.stat().st_size < size:
            raise ValueError(f"it has {path.stat().st_size} bytes, {size} belong to it")

    def __reduce__(self) -> tuple[Any, ...]:
        return _opened_again, (self._origin, self.shape[-1])

    def _read(self, region: tuple[int | range, ...]) -> NDArray[Any]:
        taken = [range(k, k + 1) if isinstance(k, int) else k for k in region]
        wanted = tuple(0 if isinstance(k, int) else slice(None) for k in region)
        pixels = self._stored_pixels(taken[::-1]).T if self._reverse else self._stored_pixels(taken)
        return pixels[wanted]

    def _stored_pixels(self, taken: list[range]) -> NDArray[Any]:
        """Read blocks, each all between the first and the last place of an axis; cut them."""
        shape = tuple(map(len, taken))
        pixels: NDArray[Any]
        if not all(shape):
            return np.empty(shape, self.dtype)
        axis, is_kept = self._blocks(taken)
        first = min(taken[axis])
        stored = (max(taken[axis]) + 1 - first, *self._stored[axis + 1 :])
        cut = (_shifted(taken[axis], first), *(_shifted(each, 0) for each in taken[axis + 1 :]))
        places = [
            self._offset + sum(map(operator.mul, (*at, first), self._strides))
            for at in itertools.product(*taken[:axis])
        ]
        if is_kept:
            block = self._kept_bytes(places[0], math.prod(stored) * self.dtype.itemsize)
            pixels = block.view(self.dtype).reshape(stored)[cut].reshape(shape)
            return pixels
        pixels = np.empty(shape, self.dtype)
        parts = pixels.reshape(len(places), *shape[axis:])
        if self._is_run(axis, taken):
            in_bytes = parts.reshape(-1).view(np.uint8).data
            size = len(in_bytes) // len(places)
            for start, place in zip(itertools.count(0, size), places, strict=False):
                self._fill(in_bytes[start : start + size], place)
            return pixels
        block = np.empty(stored, self.dtype)
        in_bytes = block.reshape(-1).view(np.uint8).data
        for part, place in zip(parts, places, strict=True):
            self._fill(in_bytes, place)
            part[...] = block[cut]
        return pixels

    @property
    def _strides(self) -> list[int]:
        sizes = (*self._stored[1:], self.dtype.itemsize)
        return [math.prod(sizes[axis:]) for axis in range(len(sizes))]

    def _blocks(self, taken: list[range]) -> tuple[int, bool]:
        """Choose along which axis blocks are read, and whether one is kept for its neighbours."""
        best, least, single = 0, math.inf, (0, math.inf)
        for axis, stride in enumerate(self._strides):
            count = math.prod(map(len, taken[:axis]))
            size = (max(taken[axis]) + 1 - min(taken[axis])) * stride
            cost = count * (_BYTES_PER_CALL + size)
            is_run = self._is_run(axis, taken)
            if (is_run or size <= _LARGEST_BLOCK) and cost < least:
                best, least = axis, cost
            if count == 1 and not is_run and size <= _LARGEST_BLOCK:
                single = axis, cost
        is_kept = single[1] <= _WORTH_KEEPING * least
        return (single[0] if is_kept else best), is_kept

    def _is_run(self, axis: int, taken: list[range]) -> bool:
        """Return whether blocks of an axis hold nothing but what is wanted."""
        whole = map(range, self._stored[axis + 1 :])
        return taken[axis].step == 1 and taken[axis + 1 :] == list(whole)

    def _kept_bytes(self, place: int, size: int) -> NDArray[np.uint8]:
        owner, start, kept = FilePixels._kept
        state = os.fstat(self._file.fileno())
        here = self._file, state.st_mtime_ns, state.st_size  # another program may write it anew
        if owner != here or not start <= place <= place + size <= start + len(kept):
            kept, start = np.empty(size, np.uint8), place
            self._fill(kept.data, place)
            kept.flags.writeable = False  # others will see it
            FilePixels._kept = here, start, kept
        return kept[place - start : place - start + size]

    def _fill(self, into: memoryview, place: int) -> None:
        """Read bytes from a place of the file; ValueError if it has become too short for that."""
        done = 0
        while done < len(into):
            read = self._read_at(into[done:], place + done)
            if not read:
                raise ValueError(
                    f"{len(into) - done} bytes at {place + done} are missing: it was cut off while "
                    "it was read. Restore it from a copy, and begin anew."
                )
            done += read

    def _read_at(self, into: memoryview, place: int) -> int:
        if hasattr(os, "preadv"):
            return os.preadv(self._file.fileno(), [into], place)
        with self._lock:
            self._file.seek(place)
            return self._file.readinto(into) or 0


def _shifted(taken: range, first: int) -> slice:
    """Return a range as a slice of what begins at `first`."""
    stop = taken.stop - first
    return slice(taken.start - first, None if stop < 0 else stop, taken.step)


def _opened_again(origin: tuple[Any, ...], colours: int) -> FilePixels:
    pixels = FilePixels(*origin)
    return pixels if pixels.shape[-1] == colours else pixels.without_transparency()


def npy_header(file: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Read what a NumPy file says of its array: shape, whether the first axis is fastest, type.

    Damaged headers, which NumPy reads as Python's literals, raise anything.
    """
    old = np.lib.format.read_magic(file) == (1, 0)
    read = np.lib.format.read_array_header_1_0 if old else np.lib.format.read_array_header_2_0
    return read(file)


def npy_pixels(path: Path) -> FilePixels:
    """Open the array of a NumPy file; ValueError if it is none of numbers."""
    with path.open("rb") as file:
        shape, reverse, dtype = npy_header(file)
        offset = file.tell()
    if dtype.kind not in "biufc":
        raise ValueError(f"it holds {str(dtype)[:100]}, not numbers")
    return FilePixels(path, offset, shape, dtype, reverse)


def read_npy(path: Path, largest: int) -> FilePixels | NDArray[Any]:
    """Read the array of a file; one of more bytes than the largest stays there."""
    if path.stat().st_size > largest:
        return npy_pixels(path)
    array = np.load(path, allow_pickle=False)
    if not isinstance(array, np.ndarray):
        raise ValueError("it is an archive of arrays, not one array")
    return array


def read_npz(path: Path) -> NDArray[Any]:
    """Read the one array of an archive that can be an image: of numbers, and two axes or more."""
    with ZipFile(path) as archive:
        size = sum(each.file_size for each in archive.infolist())
    check_fits_memory(path, (size,), np.uint8)
    with np.load(path, allow_pickle=False) as arrays:
        found = [(name, arrays[name]) for name in arrays.files]
    images = {name: each for name, each in found if each.ndim > 1 and each.dtype.kind in "uifb"}
    if len(images) != 1:
        raise FileProblemError(
            f"{path} holds {len(images)} arrays that can be an image "
            f"({', '.join(images) or 'none'}). Save the one that is meant as .npy."
        )
    return next(iter(images.values()))
