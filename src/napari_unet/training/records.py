"""What a model file tells about the images that it was trained on."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.data.paint import painted_bands
from napari_unet.data.pixel_hashes import hash_of
from napari_unet.model.record import TrainingImageRecord

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_unet.training.dataset import AnnotatedImage, TrainingData

_LABELS_HASHED_AS_A_WHOLE = 2**26


def record_of(
    number: int, image: AnnotatedImage, previous: TrainingData | None
) -> TrainingImageRecord:
    """Identify an image; the pixels of the same array are not hashed again."""
    known = previous.image_hashes.get(number) if previous else None
    image_hash = hash_of(image.image) if known is None else known
    return TrainingImageRecord(
        image.name, tuple(image.image.shape), image_hash, _hash_of_labels(image.labels)
    )


def _hash_of_labels(labels: NDArray[Any]) -> str:
    """Hash labels; of more than 2**26 pixels what is painted, and where."""
    if labels.size <= _LABELS_HASHED_AS_A_WHOLE:
        return hash_of(labels)
    digest = hashlib.sha256(f"{labels.dtype}{labels.shape}".encode())
    for band, painted in painted_bands(labels):
        digest.update(str(band.start).encode())
        digest.update(np.ascontiguousarray(painted).tobytes())
    return digest.hexdigest()
