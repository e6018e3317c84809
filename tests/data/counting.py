"""A lazy image that counts what is read of it, and refuses to be read whole."""

from __future__ import annotations

import itertools
import math
from typing import Any


class CountingArray:
    """Stand in front of an array (of NumPy, Zarr, dask) as an image that lies on disk.

    Has ``shape``, ``dtype``, ``ndim`` and ``__getitem__`` with integers and slices of step 1,
    as a lazy array has. ``np.asarray`` of it fails.

    Parameters
    ----------
    array : ArrayLike
        Where the pixels come from.
    chunks : tuple of int
        Sizes of the chunks that are counted; those of `array` where it has some.

    Attributes
    ----------
    reads : int
        How often it was read.
    pixels : int
        Pixels read, all reads together.
    largest : int
        Pixels of the largest read.
    chunk_reads : int
        Chunks touched, all reads together: one that is read twice counts twice.
    chunks_touched : set of tuple of int
        Positions of all chunks that were ever touched.
    """

    def __init__(self, array: Any, chunks: tuple[int, ...] | None = None) -> None:
        self._array = array
        self.shape: tuple[int, ...] = tuple(array.shape)
        self.dtype: Any = array.dtype
        self.ndim = len(self.shape)
        own: tuple[int, ...] | None = getattr(array, "chunks", None)
        self.chunks = chunks or own or self.shape
        self.reads = self.pixels = self.largest = self.chunk_reads = 0
        self.chunks_touched: set[tuple[int, ...]] = set()

    def __getitem__(self, key: Any, /) -> Any:
        region = self._region(key)
        size = math.prod(r.stop - r.start for r in region)
        self.reads += 1
        self.pixels += size
        self.largest = max(self.largest, size)
        if size:
            spans = [
                range(r.start // c, -(-r.stop // c))
                for r, c in zip(region, self.chunks, strict=True)
            ]
            touched = list(itertools.product(*spans))
            self.chunk_reads += len(touched)
            self.chunks_touched |= set(touched)
        return self._array[key]

    def __array__(self, *arguments: Any, **options: Any) -> Any:
        raise AssertionError("np.asarray was called on a whole lazy image")

    def __len__(self) -> int:
        return self.shape[0]

    def __iter__(self) -> Any:  # else NumPy would read it plane by plane
        raise AssertionError("a lazy image was iterated over")

    @property
    def n_chunks(self) -> int:
        """How many chunks there are."""
        return math.prod(-(-s // c) for s, c in zip(self.shape, self.chunks, strict=True))

    def _region(self, key: Any) -> list[slice]:
        keys = list(key) if isinstance(key, tuple) else [key]
        missing = self.ndim - sum(k is not Ellipsis for k in keys)
        at = keys.index(Ellipsis) if Ellipsis in keys else len(keys)
        keys[at : at + (Ellipsis in keys)] = [slice(None)] * missing
        return [_span(k, size) for k, size in zip(keys, self.shape, strict=True)]


def _span(key: Any, size: int) -> slice:
    if isinstance(key, slice):
        start, stop, step = key.indices(size)
        assert step == 1, "lazy images are read in regions without steps"
        return slice(start, max(start, stop))
    position = range(size)[key]
    return slice(position, position + 1)
