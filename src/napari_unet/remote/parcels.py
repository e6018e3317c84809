"""What is sent to another machine: values in pieces that are known by their hash.

A piece that is there already, of an earlier try or of another training on the same image, is not
sent again.
"""

from __future__ import annotations

import hashlib
import pickle
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numcodecs import Zstd

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from napari_unet.data.axes import ArrayLike
    from napari_unet.training.dataset import TrainingData

    # Where a part of an array begins, and what is in it
    Box = tuple[tuple[int, ...], NDArray[Any]]
    # Of each buffer, the first of which is the pickle that needs the others, its pieces' hashes
    Recipe = list[list[str]]

PIECE = 2**22  # bytes: what a connection that breaks has to send again
_CODEC = Zstd(level=3)


def pack(value: object) -> tuple[Recipe, dict[str, memoryview]]:
    """Take a value apart: how it is put together again, and its pieces by their SHA-256."""
    buffers: list[memoryview] = []
    # by pickle, as dask hands over all that it is given: see SECURITY.md
    stream = pickle.dumps(value, 5, buffer_callback=lambda each: buffers.append(each.raw()))
    pieces: dict[str, memoryview] = {}
    recipe = []
    for buffer in (memoryview(stream), *buffers):
        parts = [buffer[at : at + PIECE] for at in range(0, len(buffer), PIECE)]
        names = [hashlib.sha256(part).hexdigest() for part in parts]
        pieces |= zip(names, parts, strict=True)
        recipe.append(names)
    return recipe, pieces


def unpack(recipe: Recipe, read: Callable[[str], bytes]) -> Any:
    """Put a value together again of pieces that `read` finds by their hash."""
    stream, *buffers = (bytearray().join(map(read, names)) for names in recipe)
    return pickle.loads(stream, buffers=buffers)


def compressed(piece: memoryview) -> bytes:
    """Pack a piece for the way."""
    return bytes(_CODEC.encode(piece))


def opened(name: str, sent: bytes) -> bytes:
    """Unpack a piece; raises ValueError if it is not the one of that name."""
    piece = bytes(_CODEC.decode(sent))
    if hashlib.sha256(piece).hexdigest() != name:
        raise ValueError(f"piece {name} was damaged on the way")
    return piece


def packed_array(array: NDArray[Any]) -> tuple[tuple[int, ...], str, bytes]:
    """Pack an array for the way: its shape, its dtype, and what is in it."""
    return array.shape, array.dtype.str, compressed(np.ascontiguousarray(array).data.cast("B"))


def opened_array(shape: tuple[int, ...], dtype: str, sent: bytes) -> NDArray[Any]:
    """Unpack an array."""
    return np.frombuffer(bytearray(_CODEC.decode(sent)), dtype).reshape(shape)


class SentPixels:
    """An image of which only what was read of it goes along: all that a training ever reads."""

    def __init__(self, image: ArrayLike) -> None:
        self.shape, self.dtype = tuple(image.shape), np.dtype(image.dtype)
        self.image: ArrayLike | None = image  # None over there
        self.boxes: list[Box] = []

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "image": None}

    def __getitem__(self, key: Sequence[slice | int]) -> NDArray[Any]:
        ranges = [_range(part, size) for part, size in zip(key, self.shape, strict=True)]
        low, pixels = self._box_around(ranges)
        return pixels[
            tuple(
                part - start if isinstance(part, int) else slice(a - start, b - start)
                for part, (a, b), start in zip(key, ranges, low, strict=True)
            )
        ]

    def _box_around(self, ranges: list[tuple[int, int]]) -> tuple[tuple[int, ...], NDArray[Any]]:
        for low, pixels in self.boxes:
            ends = [start + size for start, size in zip(low, pixels.shape, strict=True)]
            if all(s <= a and b <= e for s, (a, b), e in zip(low, ranges, ends, strict=True)):
                return low, pixels
        if self.image is None:
            raise LookupError(f"the pixels at {ranges} were not sent")
        read = np.ascontiguousarray(self.image[tuple(slice(a, b) for a, b in ranges)])
        self.boxes.append((tuple(a for a, _ in ranges), read))
        return self.boxes[-1]


def _range(part: slice | int, size: int) -> tuple[int, int]:
    return (part, part + 1) if isinstance(part, int) else part.indices(size)[:2]


def sendable(data: TrainingData) -> TrainingData:
    """Return training data whose images are what the training reads of them, in memory."""
    sent: dict[int, SentPixels] = {}

    def of(image: ArrayLike) -> SentPixels:
        return sent.setdefault(id(image), SentPixels(image))

    made = _with_images(data, of)
    read_painted(made)
    return made


def here_again(data: TrainingData) -> TrainingData:
    """Return `sendable` data with the images that they were made from."""
    return _with_images(data, lambda sent: sent.image)


def read_painted(data: TrainingData) -> None:
    """Read what a training on such data reads."""
    for each in data.frames:
        each.frame.read(tuple(slice(0, size) for size in each.frame.spatial_shape))


def _with_images(data: TrainingData, other: Callable[[Any], Any]) -> TrainingData:
    frames = [
        replace(each, frame=replace(each.frame, array=other(each.frame.array)))
        for each in data.frames
    ]
    sources = [replace(source, image=other(source.image)) for source in data.sources]
    return replace(data, frames=tuple(frames), sources=tuple(sources))
