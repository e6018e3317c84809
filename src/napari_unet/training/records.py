"""What a model file tells about the images that it was trained on."""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING

import numpy as np

from napari_unet.model.trained import TrainingImageRecord

if TYPE_CHECKING:
    from napari_unet.data.axes import ArrayLike
    from napari_unet.training.dataset import AnnotatedImage, TrainingData

_HASHED_AT_ONCE = 2**26
_HASHED_AS_A_WHOLE = 2**28
_SAMPLE_BOXES, _SAMPLE_EDGE = 64, 32


def record_of(
    number: int, image: AnnotatedImage, former: TrainingData | None
) -> TrainingImageRecord:
    """Identify an image; the pixels of the same array are not hashed again."""
    known = former.image_hashes.get(number) if former else None
    image_hash = _hash_of(image.image) if known is None else known
    return TrainingImageRecord(
        image.name, tuple(image.image.shape), image_hash, _hash_of(image.labels)
    )


def _hash_of(array: ArrayLike) -> str:
    """Hash an array block by block, so that lazy ones are read once and never as a whole.

    Of lazy arrays of more than 2**28 pixels the hash is of shape, type and 64 boxes at fixed
    places: to read terabytes would take longer than the training.
    """
    digest = hashlib.sha256(f"{array.dtype}{tuple(array.shape)}".encode())
    in_memory = isinstance(array, np.ndarray) and not isinstance(array, np.memmap)
    if not in_memory and math.prod(array.shape) > _HASHED_AS_A_WHOLE:
        for box in _sample_boxes(tuple(array.shape)):
            digest.update(np.ascontiguousarray(array[box]).tobytes())
        return digest.hexdigest()
    row_bytes = max(1, int(np.prod(array.shape[1:])) * np.dtype(array.dtype).itemsize)
    rows = max(1, _HASHED_AT_ONCE // row_bytes)
    for start in range(0, array.shape[0], rows):
        digest.update(np.ascontiguousarray(array[start : start + rows]).tobytes())
    return digest.hexdigest()


def _sample_boxes(shape: tuple[int, ...]) -> list[tuple[slice, ...]]:
    """Choose the same boxes for the same shape, small along the last three axes."""
    edges = [1] * (len(shape) - 3) + [_SAMPLE_EDGE] * min(3, len(shape))
    rng = np.random.default_rng(0)
    boxes = []
    for _ in range(_SAMPLE_BOXES):
        starts = [int(rng.integers(max(1, n - e + 1))) for n, e in zip(shape, edges, strict=True)]
        boxes.append(tuple(slice(a, a + e) for a, e in zip(starts, edges, strict=True)))
    return boxes
