"""How annotated images are divided into frames, and what is known of their voxels."""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.data.axes import SPATIAL_AXES, axes_beside_labels, frame_axes
from napari_unet.data.frames import frames_of
from napari_unet.data.labels import painted_bands
from napari_unet.data.pixel_hashes import hash_of
from napari_unet.errors import LabelsError
from napari_unet.model.record import TrainingImageRecord

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_unet.data.frames import Frame
    from napari_unet.training.config import TrainConfig
    from napari_unet.training.dataset import AnnotatedImage, TrainingData

# Pixel sizes that differ by less are written differently by the same microscope.
_SAME_SIZE = 0.01
# Slices up to nearly three times as thick as pixels are wide are pooled like pixels: on such
# nuclei (2.2 times) whole 3x3x3 kernels were better than flat ones in both runs.
_HESITATION = 0.5


def axes_of(image: AnnotatedImage, ndim: int) -> tuple[str, str]:
    """Return the axes of an image and of its labels: as given, else guessed from the shapes.

    Raises LabelsError if the labels have not the image's shape without its channel axis.
    """
    shape, labels_shape = tuple(image.image.shape), tuple(image.labels.shape)
    if image.axes is None:
        return axes_beside_labels(shape, labels_shape, ndim)
    labels_axes = image.axes.replace("C", "")
    wanted = tuple(size for size, axis in zip(shape, image.axes, strict=False) if axis != "C")
    if len(image.axes) == len(shape) and labels_shape != wanted:
        raise LabelsError(
            f"Labels {labels_shape} do not match image {shape} with axes {image.axes}; they must "
            f"have the shape {wanted}, that of the image without its channel axis."
        )
    return image.axes, labels_axes


def source_frames(image: AnnotatedImage, config: TrainConfig) -> list[Frame]:
    """Split an annotated image into the frames that a network of these settings sees.

    Raises LabelsError if the labels do not match the image; ImageError if it is empty or of an
    unusable dtype, its axes do not fit the settings, or it lacks a channel that is to be used.
    """
    axes, _ = axes_of(image, config.ndim)
    return frames_of(image.image, axes, config.ndim, config.used_channels, config.window)


def by_frame(labels: NDArray[Any], axes: str, ndim: int) -> NDArray[Any]:
    """Bring labels to one ``[Z]YX`` array per frame, in the order of the frames."""
    spatial = SPATIAL_AXES[ndim]
    ordered = labels.transpose([axes.index(axis) for axis in frame_axes(axes, ndim) + spatial])
    first = ordered.ndim - ndim
    return ordered.reshape(math.prod(ordered.shape[:first]), *ordered.shape[first:])


def anisotropy_of(image: AnnotatedImage) -> float | None:
    """Return how many times as long as wide a voxel is; None where its size is not known."""
    size = image.pixel_size
    if not all(axis in size for axis in "ZYX"):
        return None
    return size["Z"] / math.sqrt(size["Y"] * size["X"])


def choose_flat_levels(
    images: Sequence[AnnotatedImage], config: TrainConfig, binning: float
) -> tuple[int, tuple[str, ...]]:
    """Choose how many first levels neither pool nor convolve along Z; and notices.

    They are 0 to ``config.depth``: as many as make the voxels about isotropic, for the median of
    the images of known voxel size, unless ``config.flat_levels`` is not -1. The binning is in
    pixels of the image per pixel of the network, along Y and X.
    """
    if config.ndim == 2 or config.flat_levels >= 0:
        return config.network(1, 2).flat_levels, ()
    found = [anisotropy_of(image) for image in images]
    known = [anisotropy for anisotropy in found if anisotropy is not None]
    if not known:
        return 0, (
            "The voxel size is not known: slices are taken to be as thick as pixels are wide. "
            "Give the images a scale (in napari or in the file), or set flat_levels.",
        )
    wanted = math.floor(math.log2(float(np.median(known)) / binning) - _HESITATION)
    return min(max(wanted, 0), config.depth), ()


def common_pixel_size(
    images: Sequence[AnnotatedImage], ndim: int
) -> tuple[dict[str, float], tuple[str, ...]]:
    """Return the pixel size that a model of these images has, and notices where sizes differ.

    In micrometres along each of ``[Z]YX``, the median over the images; empty unless the size of
    every image is known.
    """
    axes = SPATIAL_AXES[ndim]
    if not all(axis in image.pixel_size for image in images for axis in axes):
        return {}, ()
    common, notices = {}, []
    for axis in axes:
        sizes = [float(image.pixel_size[axis]) for image in images]
        common[axis] = float(np.median(sizes))
        if max(sizes) > (1 + _SAME_SIZE) * min(sizes):
            notices.append(
                f"The images have pixel sizes from {min(sizes):g} to {max(sizes):g} micrometres "
                f"along {axis}; the model keeps the median, {common[axis]:g}."
            )
    return common, tuple(notices)


# --- What a model file tells about the images that it was trained on -----------------------------

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
