"""What the user should know about the images before a training."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from napari_unet.data.intensity import sample_regions, unusual_pixels
from napari_unet.data.labels import paint_box

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from napari_unet.data.frames import Frame
    from napari_unet.data.validation_blocks import Block
    from napari_unet.training.dataset import AnnotatedImage, TrainingFrame

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
    if all(map(_looks_like_masks, frames)):
        notices.append(
            "The labels look like finished masks: value 1 is a single object among others, but "
            "counts as background here. If it is one, say that unpainted pixels are background."
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
    sizes = np.bincount(frame.target.objects.ravel())[1:]
    sizes = sizes[sizes > 0]
    longest = _AS_LONG * np.median(sizes) ** (1 / len(sides)) if len(sizes) >= _MANY else 0
    return bool(max(sides) <= longest)


def _in_words(binning: float) -> str:
    if binning > 1:
        return f"binned {binning:.3g} x {binning:.3g}"
    return f"enlarged {1 / binning:.2g} times (binning {binning:.3g})"


def notices_by_image(images: Sequence[AnnotatedImage], learned: Collection[int]) -> tuple[str, ...]:
    """Return, for each image, how it was read, and where it teaches nothing.

    Something is learned from the images of the numbers `learned`.
    """
    notices = [f"{image.name}: {text}" for image in images for text in image.notices]
    idle = [image.name for number, image in enumerate(images) if number not in learned]
    if idle:
        shown = ", ".join(idle[:_NAMED]) + (" ..." if len(idle) > _NAMED else "")
        notices.append(f"Nothing is painted on {shown}: nothing is learned from there.")
    return tuple(notices)


def _count_not_finite(frame: Frame) -> int:
    if np.dtype(frame.array.dtype).kind != "f":
        return 0
    regions = sample_regions(frame.spatial_shape, _LOOKED_AT)  # all but of huge frames
    return sum(int(np.count_nonzero(~np.isfinite(frame.read(region)))) for region in regions)
