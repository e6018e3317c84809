"""What a model file tells about the images that it was trained on."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from napari_unet.model.trained import TrainingImageRecord

if TYPE_CHECKING:
    from napari_unet.data.axes import ArrayLike
    from napari_unet.training.dataset import AnnotatedImage, TrainingData

_HASHED_AT_ONCE = 2**26


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
    """Hash an array block by block, so that lazy ones are read once and never as a whole."""
    digest = hashlib.sha256(f"{array.dtype}{tuple(array.shape)}".encode())
    row_bytes = max(1, int(np.prod(array.shape[1:])) * np.dtype(array.dtype).itemsize)
    rows = max(1, _HASHED_AT_ONCE // row_bytes)
    for start in range(0, array.shape[0], rows):
        digest.update(np.ascontiguousarray(array[start : start + rows]).tobytes())
    return digest.hexdigest()
