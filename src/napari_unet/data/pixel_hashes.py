"""Hashes of pixels: they show whether an array is the one that a model file or a run card names."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from napari_unet.data.axes import ArrayLike

_HASHED_AT_ONCE = 2**26
_HASHED_AS_A_WHOLE = 2**28
_SAMPLE_BOXES, _SAMPLE_EDGE = 64, 32


@dataclass(frozen=True)
class PixelHash:
    """What identifies the pixels of an array."""

    shape: tuple[int, ...]
    dtype: str
    """NumPy's name of the type."""
    sha256: str
    """Hash of shape, type and pixels."""
    sampled: bool
    """Whether only 64 small boxes at fixed places were read, not all pixels."""


def hash_pixels(array: ArrayLike) -> PixelHash:
    """Hash an array: all of one in memory, and 64 small boxes of one that is read from a disk.

    So nothing that was streamed is read a second time as a whole.
    """
    sampled = not _in_memory(array)
    digest = _hash_of_boxes(array) if sampled else hash_of(array)
    return PixelHash(tuple(array.shape), str(np.dtype(array.dtype)), digest, sampled)


def hash_of(array: ArrayLike) -> str:
    """Hash an array block by block, so that lazy ones are read once and never as a whole.

    Of lazy arrays of more than 2**28 pixels the hash is of shape, type and 64 boxes at fixed
    places: to read terabytes would take longer than the training.
    """
    if not _in_memory(array) and math.prod(array.shape) > _HASHED_AS_A_WHOLE:
        return _hash_of_boxes(array)
    digest = hashlib.sha256(f"{array.dtype}{tuple(array.shape)}".encode())
    row_bytes = max(1, int(np.prod(array.shape[1:])) * np.dtype(array.dtype).itemsize)
    rows = max(1, _HASHED_AT_ONCE // row_bytes)
    for start in range(0, array.shape[0], rows):
        digest.update(np.ascontiguousarray(array[start : start + rows]).data)
    return digest.hexdigest()


def _in_memory(array: ArrayLike) -> bool:
    return isinstance(array, np.ndarray) and not isinstance(array, np.memmap)


def _hash_of_boxes(array: ArrayLike) -> str:
    digest = hashlib.sha256(f"{array.dtype}{tuple(array.shape)}".encode())
    for box in _sample_boxes(tuple(array.shape)):
        digest.update(np.ascontiguousarray(array[box]).tobytes())
    return digest.hexdigest()


def _sample_boxes(shape: tuple[int, ...]) -> list[tuple[slice, ...]]:
    """Choose the same boxes for the same shape, small along the last two axes and flat else."""
    edges = [1] * (len(shape) - 2) + [_SAMPLE_EDGE] * min(2, len(shape))
    rng = np.random.default_rng(0)
    boxes = []
    for _ in range(_SAMPLE_BOXES):
        starts = [int(rng.integers(max(1, n - e + 1))) for n, e in zip(shape, edges, strict=True)]
        boxes.append(tuple(slice(a, a + e) for a, e in zip(starts, edges, strict=True)))
    return boxes
