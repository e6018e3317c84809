"""Annotated images: checks, frames and voxels, and what model file and user are told of them."""

from __future__ import annotations

import hashlib
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.data.axes import (
    SPATIAL_AXES,
    Region,
    axes_beside_labels,
    check_image,
    frame_axes,
    guess_axes,
    without_channels,
)
from napari_unet.data.finer import FinerImage, finer_size, on_finer_grid
from napari_unet.data.frames import box_within, frames_of
from napari_unet.data.intensity import sample_regions, unusual_pixels
from napari_unet.data.labels import (
    fill_regions,
    oddity_of,
    paint_box,
    painted_bands,
    pixels_per_number,
)
from napari_unet.data.pixel_hashes import hash_of
from napari_unet.data.rescaling import LARGEST_RATIO
from napari_unet.errors import ImageError, LabelsError
from napari_unet.model.record import TrainingImageRecord
from napari_unet.model.starting import flat_levels_to_begin_with
from napari_unet.tasks import FINER, Decision, scores_in_words, task_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_unet.data.frames import Frame
    from napari_unet.tasks import ClassTable
    from napari_unet.training.config import TrainConfig
    from napari_unet.training.dataset import AnnotatedImage, TrainingData, TrainingFrame
    from napari_unet.training.held_back import Block

# Pixel sizes that differ by less are written differently by the same microscope.
_SAME_SIZE = 0.01
# Slices up to nearly three times as thick as pixels are wide are pooled like pixels: on such
# nuclei (2.2 times) whole 3x3x3 kernels were better than flat ones in both runs.
_HESITATION = 0.5


def checked_sources(
    images: Sequence[AnnotatedImage], config: TrainConfig
) -> tuple[AnnotatedImage, ...]:
    """Check images and their labels, and fill what is fully annotated.

    An error begins with the name of its image, if there are several.
    """
    found = []
    for image in images:
        try:
            found.append(_checked(image, config))
        except (ImageError, LabelsError) as error:
            if len(images) == 1:
                raise
            raise type(error)(f"{image.name}: {error}") from error
    return tuple(found)


def _checked(image: AnnotatedImage, config: TrainConfig) -> AnnotatedImage:
    check_image(image.image)
    task = task_of(config.kind)
    if not task.paints:
        image = _as_fine_as_target(image, config.ndim)
    labels = task.check(image.labels)
    if config.unpainted == "unlabelled" and not image.class_names:
        labels = fill_regions(labels, image.regions)
    if image.corrected is not None and image.corrected.shape != labels.shape:
        raise LabelsError(
            f"Corrections {image.corrected.shape} do not match labels {labels.shape}."
        )
    axes_of(image, config.ndim)
    return replace(image, labels=labels, regions=())


def _as_fine_as_target(image: AnnotatedImage, ndim: int) -> AnnotatedImage:
    """Return an image on the grid of its target, which may be finer along Y and X.

    Raises LabelsError where a target is neither of the same pixels nor of a finer grid.
    """
    shape, of_target = tuple(image.image.shape), tuple(image.labels.shape)
    if isinstance(image.image, FinerImage):  # of a training that goes on
        return image
    axes = image.axes or guess_axes(shape, ndim, 1)
    for factor in FINER:
        finer = tuple(n * (factor if a in "YX" else 1) for n, a in zip(shape, axes, strict=True))
        fitting = [finer, *(finer[:i] + finer[i + 1 :] for i in range(len(finer)))]
        if of_target in fitting and factor == 1:
            break
        if of_target in fitting:
            seen, size = on_finer_grid(image.image, axes, factor), image.pixel_size
            return replace(image, image=seen, axes=axes, pixel_size=finer_size(size, factor))
    else:
        raise LabelsError(
            f"The target image {of_target} is not of the shape of its image {shape}: give pairs of "
            "images of the same pixels, or targets of exactly 2, 3 or 4 times as many along Y and "
            "X. Targets have no channel axis."
        )
    if len(of_target) > 2 and of_target[-1] in (3, 4) and of_target == shape:
        raise LabelsError(
            f"The target image {of_target} looks like a colour image; give one grey value per "
            "pixel."
        )
    return image


def finer_of(images: Sequence[AnnotatedImage]) -> int:
    """Return how many times as fine as the images their targets are; LabelsError: they differ."""
    factors = {e.image.factor if isinstance(e.image, FinerImage) else 1 for e in images}
    if len(factors) > 1:
        raise LabelsError(
            f"The targets are {' and '.join(map(str, sorted(factors)))} times as fine as their "
            "images; give pairs of one kind."
        )
    return factors.pop()


def class_names_of(images: Sequence[AnnotatedImage], config: TrainConfig) -> tuple[str, ...]:
    """Return the names of overlapping classes, the same for all images; of others there are none.

    Raises LabelsError where they differ, or labels do not say which class they are of.
    """
    names = images[0].class_names
    if task_of(config.kind).in_layers and not names:
        raise LabelsError(
            "Overlapping classes need labels for each class, by its name: labels={'nucleus': ..., "
            "'cell': ...} in Python, --labels nucleus=PATH --labels cell=PATH on the command line."
        )
    for image in images:
        if image.class_names != names:
            raise LabelsError(
                f"{image.name} has labels of {', '.join(image.class_names) or 'no classes'}, but "
                f"{images[0].name} of {', '.join(names) or 'no classes'}: give all images labels "
                "of the same classes, in one order."
            )
    return names


def axes_of(image: AnnotatedImage, ndim: int) -> tuple[str, str]:
    """Return the axes of an image and of its labels: as given, else guessed from the shapes.

    Raises LabelsError if the labels have not the image's shape without its channel axis.
    """
    shape, labels_shape = tuple(image.image.shape), tuple(image.labels.shape)
    if image.axes is None:
        return axes_beside_labels(shape, labels_shape, ndim)
    labels_axes = image.axes.replace("C", "")
    wanted = without_channels(shape, image.axes)
    if len(image.axes) == len(shape) and labels_shape != wanted:
        first = image.axes[0]
        is_one_too_many = labels_shape == shape[1:] and first in "TZ"
        remedy = f", or say C instead of {first} if these are channels" * is_one_too_many
        raise LabelsError(
            f"Labels {labels_shape} do not match image {shape} with axes {image.axes}; they must "
            f"have the shape {wanted}, that of the image without its channel axis{remedy}."
        )
    return image.axes, labels_axes


def no_labels(shape: tuple[int, ...], axes: str | None, ndim: int) -> NDArray[Any]:
    """Return what stands beside an image that teaches itself: zeros, which take no memory."""
    axes = axes or guess_axes(shape, ndim, 1)
    kept = [size for size, axis in zip(shape, axes, strict=False) if axis != "C"]
    return np.broadcast_to(np.uint8(0), kept)


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


def painted_in(
    image: AnnotatedImage, config: TrainConfig, index: tuple[int, ...], region: Region
) -> NDArray[Any]:
    """Return the labels of a part of one frame, which has this index on the frame axes."""
    axes = axes_of(image, config.ndim)[1]
    ordered = frame_axes(axes, config.ndim) + SPATIAL_AXES[config.ndim]
    labels = image.labels.transpose([axes.index(axis) for axis in ordered])
    box: tuple[int | slice, ...] = (*index, *region)
    return np.asarray(labels[box])


def anisotropy_of(image: AnnotatedImage) -> float | None:
    """Return how many times as long as wide a voxel is; None where that is not known."""
    size = image.pixel_size
    if not all(axis in size for axis in "ZYX"):
        return image.anisotropy
    return size["Z"] / math.sqrt(size["Y"] * size["X"])


def choose_flat_levels(
    images: Sequence[AnnotatedImage], config: TrainConfig, binning: float
) -> tuple[int, tuple[str, ...]]:
    """Choose how many first levels neither pool nor convolve along Z; and notices.

    They are 0 to ``config.depth``: as many as make the voxels about isotropic, for the median of
    the images of known voxel size, unless ``config.flat_levels`` is not -1, or it begins with a
    starting model, which has its own. The binning is in
    pixels of the image per pixel of the network, along Y and X.
    """
    if config.ndim == 2 or config.flat_levels >= 0:
        return config.network(1, 2).flat_levels, ()
    if (begun := flat_levels_to_begin_with(config.network(1, 2), config.start)) is not None:
        return begun, ()
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
        if max(sizes) >= LARGEST_RATIO * min(sizes):
            raise ImageError(
                f"The images have pixel sizes from {min(sizes):g} to {max(sizes):g} micrometres "
                f"along {axis}: too different for one model. Correct the wrong one, or train "
                "without the odd image."
            )
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
    known = previous.images[number].image_sha256 if previous else ""
    source = image.image.array if isinstance(image.image, FinerImage) else image.image
    image_hash, labels_hash = known or hash_of(source), _hash_of_labels(image.labels)
    return TrainingImageRecord(image.name, tuple(source.shape), image_hash, labels_hash)


def _hash_of_labels(labels: NDArray[Any]) -> str:
    """Hash labels; of more than 2**26 pixels what is painted, and where."""
    if labels.size <= _LABELS_HASHED_AS_A_WHOLE:
        return hash_of(labels)
    digest = hashlib.sha256(f"{labels.dtype}{labels.shape}".encode())
    for band, painted in painted_bands(labels):
        digest.update(str(band.start).encode())
        digest.update(np.ascontiguousarray(painted).tobytes())
    return digest.hexdigest()


# --- What the user should know about the images before a training --------------------------------

_LOOKED_AT = 2**26
_NAMED = 5
# Labels with so many objects may be a finished mask, if value 1 fills so much of its box and is at
# most so many times as long as they are: strokes of background are longer, thin, or many.
_MANY, _COMPACT, _AS_LONG = 8, 0.4, 2.5


def notices_of(
    frames: Sequence[TrainingFrame], blocks: Sequence[Block], binning: float, plenty: bool
) -> tuple[str, ...]:
    """Return in words what is unusual about training data.

    `plenty`: some of the paint was to be held back. Of few cells none is, as it should be: what
    becomes of them is reported during training. The binning is in pixels of the images per pixel of
    the frames.
    """
    bad = sum(_count_not_finite(frame.frame) for frame in frames)
    constant = sum(frame.intensity.is_constant for frame in frames)
    notices = []
    if binning != 1:
        notices.append(
            f"The network sees the image {_in_words(binning)}, so that its cells have a size that "
            "the network knows. Results have the size of the image."
        )
    notices += unusual_pixels(bad, constant)
    if plenty and not blocks:
        notices.append(
            "The paint is too little, or too much in one place, to hold some back: "
            "no validation score is shown."
        )
    return tuple(notices)


def _looks_like_masks(frame: TrainingFrame) -> bool:
    """Return whether value 1 is one compact piece as large as the many objects are."""
    ones = frame.labels == 1
    box = paint_box(ones)
    if box is None or frame.target.painted.all():
        return False
    sides = [side.stop - side.start for side in box]
    if np.count_nonzero(ones[box]) < _COMPACT * math.prod(sides):  # as of nearly all paint
        return False
    sizes = pixels_per_number(frame.target.objects)[1:]
    sizes = sizes[sizes > 0]
    longest = _AS_LONG * np.median(sizes) ** (1 / len(sides)) if len(sizes) >= _MANY else 0
    return bool(max(sides) <= longest)


def _in_words(binning: float) -> str:
    if binning > 1:
        return f"binned {binning:.3g} x {binning:.3g}"
    return f"enlarged {1 / binning:.2g} times (binning {binning:.3g})"


def notices_of_bicubic(
    frames: Sequence[TrainingFrame], blocks: Sequence[Block], table: ClassTable
) -> tuple[str, ...]:
    """Return what enlarging alone reaches on the held-back blocks, where finer images are made."""
    if table.finer == 1 or not blocks:
        return ()
    counts = table.task.counts(table, Decision(), True, None)
    for block in blocks:
        seen = next(f for f in frames if (f.image, f.frame.index) == (block.image, block.frame))
        box = box_within(block.region, seen.frame.bounds)
        target, pixels = seen.target.within(box), seen.frame.read(box)
        grey = replace(target, values=pixels[len(pixels) // 2])
        enlarged = table.task.scaled(grey, seen.intensity, table).values
        assert enlarged is not None
        counts.add(enlarged[np.newaxis], target, seen.weights[box])
    found = counts.scores()
    text = scores_in_words(psnr=found.psnr, ssim=found.ssim)
    return (
        f"Images are made {table.finer} times as fine. Bicubic enlargement, to compare: {text}.",
    )


def notices_by_image(
    images: Sequence[AnnotatedImage],
    frames: Sequence[TrainingFrame],
    one_by_one: bool,
) -> tuple[str, ...]:
    """Return how images were read, whose labels may be none, and where nothing is learned from.

    `one_by_one`: each number of the labels is to be one object, and 0 the background.
    """
    notices = [f"{image.name}: {text}" for image in images for text in image.notices]
    numbers = {frame.image for frame in frames}
    masks = {
        number
        for number in numbers
        if all(_looks_like_masks(frame) for frame in frames if frame.image == number)
    }
    if masks:
        of = "" if masks == numbers else f" of {_listed([images[n].name for n in sorted(masks)])}"
        notices.append(
            f"The labels{of} look like finished masks: value 1 is a single object among others, "
            "but counts as background here. If it is one, say that unpainted pixels are background."
        )
    for image in images if not frames or frames[0].target.values is None else ():
        if odd := oddity_of(image.labels, one_by_one):
            notices.append(f"The labels of {image.name}: {odd}.")
    idle = [image.name for number, image in enumerate(images) if number not in numbers]
    if idle:
        notices.append(f"Nothing is painted on {_listed(idle)}: nothing is learned from there.")
    return tuple(notices)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (" ..." if len(names) > _NAMED else "")


def _count_not_finite(frame: Frame) -> int:
    if np.dtype(frame.array.dtype).kind != "f":
        return 0
    regions = sample_regions(frame.spatial_shape, _LOOKED_AT)  # all but of huge frames
    return sum(int(np.count_nonzero(~np.isfinite(frame.read(region)))) for region in regions)
