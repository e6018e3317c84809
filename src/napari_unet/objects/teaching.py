"""What the corrections of a prediction teach: edits of the annotation.

In an annotation 0 is unlabelled, 1 background, and objects are 2 and up; in a prediction 0 is
background and objects are 1 and up. All label images are one frame, ``[Z]YX``.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage as ndi

from napari_unet.data.labels import BACKGROUND_VALUE
from napari_unet.objects.corrections import Edit, box_around, box_of_object
from napari_unet.objects.overlaps import check_fits, check_same_shape, overlapping_pairs

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from napari_unet.objects.corrections import Indices, IntArray

_BACKGROUND = BACKGROUND_VALUE["unlabelled"]


@dataclass(frozen=True)
class Corrections:
    """What a user changed in a prediction."""

    changed: NDArray[np.bool_]
    """``[Z]YX``: where the value differs."""
    objects: tuple[int, ...]
    """Numbers of the corrected objects, ascending."""


def copy_region(
    prediction: IntArray, annotation: IntArray, region_indices: Indices, numbers: Mapping[int, int]
) -> Edit:
    """Write into an annotation what a prediction says, background included.

    All pixels of `region_indices`, one index array per axis, are written; `numbers` has the
    annotation's number of each predicted object among them, else KeyError. LabelsError where the
    dtype of the annotation does not hold one.
    """
    present, position = np.unique(prediction[region_indices], return_inverse=True)
    meant = [_BACKGROUND if found == 0 else numbers[int(found)] for found in present]
    check_fits(max(meant, default=0), annotation.dtype)
    return Edit(region_indices, np.array(meant, annotation.dtype)[position])


def annotation_number_for(annotation: IntArray, prediction: IntArray, number: int) -> int:
    """Choose the number that a predicted object gets in the annotation.

    It is the one number of at least half the painted object pixels under the predicted object (of
    two such numbers the lower one), else one that is new in the annotation.
    """
    box = box_of_object(prediction, number) or (slice(0),) * prediction.ndim
    only = prediction[box] * (prediction[box] == number)
    return _annotation_numbers((number,), only, annotation[box], _fresh(annotation))[number]


def _annotation_numbers(
    objects: Sequence[int], prediction: IntArray, annotation: IntArray, fresh: Iterator[int]
) -> dict[int, int]:
    """Give each object of `prediction` a number of its own; the larger overlap has the choice."""
    painted = annotation * (annotation > _BACKGROUND)
    pairs = [found.tolist() for found in overlapping_pairs(prediction, painted)]
    n_painted: Counter[int] = Counter()
    for one, _, pixels in zip(*pairs, strict=True):
        n_painted[one] += pixels
    numbers: dict[int, int] = {}
    decided: set[int] = set()
    for one, number, pixels in zip(*pairs, strict=True):  # an object's best pair comes first
        if one in decided:
            continue
        decided.add(one)
        if 2 * pixels >= n_painted[one] and number not in numbers.values():
            numbers[one] = number
    return numbers | {one: next(fresh) for one in objects if one not in numbers}


def _fresh(annotation: IntArray) -> Iterator[int]:
    """Count up from the first number that no object of the annotation has reached."""
    return count(max(int(annotation.max(initial=0)), _BACKGROUND) + 1)


def changes_between(before: IntArray, after: IntArray) -> Corrections:
    """Find what a user changed from the pristine prediction to the corrected one.

    Corrected objects are those of `after` at changed pixels, those that lost pixels, and those that
    touch, also by a corner, what was an object's and is background now. Different shapes raise
    LabelsError.
    """
    check_same_shape(before, after)
    changed: NDArray[np.bool_] = before != after
    box = box_around(changed, changed.shape, margin=1)
    if box is None:
        return Corrections(changed, ())
    removed = (before[box] > 0) & (after[box] == 0)
    near = ndi.binary_dilation(removed, np.ones((3,) * removed.ndim))
    met = after[box][changed[box] | near]
    lost = np.unique(before[box][changed[box]])
    # Without these a split would teach only the part that is new, and no border between parts.
    remaining = after[np.isin(after, lost)]
    numbers = np.union1d(met, remaining)
    return Corrections(changed, tuple(numbers[numbers > 0].tolist()))


def corrections_as_annotation(before: IntArray, after: IntArray, annotation: IntArray) -> Edit:
    """Turn corrections of a pristine prediction into the edit of the annotation that teaches them.

    Changed pixels that are background now become background; corrected objects are copied as a
    whole, each with a number of its own. All other pixels stay as they are. Different shapes, or a
    number that the dtype of the annotation does not hold, raise LabelsError.
    """
    check_same_shape(after, annotation)
    corrections = changes_between(before, after)
    corrected = np.isin(after, np.array(corrections.objects, after.dtype))
    written = corrected | (corrections.changed & (after == 0))
    numbers = _annotation_numbers(
        corrections.objects, after * corrected, annotation, _fresh(annotation)
    )
    return copy_region(after, annotation, np.nonzero(written), numbers)


def corrected_classes_as_annotation(
    before: IntArray, after: IntArray, annotation: IntArray
) -> Edit:
    """Turn corrections of predicted classes into the edit of the annotation that teaches them.

    Changed pixels get the class that they have now, or background; errors are those of
    `corrections_as_annotation`.
    """
    check_same_shape(before, after)
    check_same_shape(after, annotation)
    changed = np.nonzero(before != after)
    classes = {int(value): int(value) for value in np.unique(after[changed])}
    return copy_region(after, annotation, changed, classes)


def keep_corrected_objects(
    new: IntArray, before: IntArray, after: IntArray, unused: int
) -> tuple[IntArray, NDArray[np.bool_]]:
    """Put what was corrected in a prediction, from `before` to `after`, into a new one.

    Corrected objects stay whole, and what was deleted stays background. New objects that lie there
    for the most part go; the others keep their numbers, or get one from `unused` up where a
    corrected object has it. Also returns which pixels stay as they are.
    """
    changed = before != after
    met = np.union1d(before[changed], after[changed])
    stays: NDArray[np.bool_] = changed | np.isin(after, met[met > 0])
    pixels = np.bincount(new.ravel(), minlength=1)
    hidden = np.bincount(new[stays], minlength=pixels.size)
    numbers = np.arange(pixels.size, dtype=np.int32)
    met_twice = np.isin(numbers, np.union1d(before[stays], after[stays]))
    numbers[met_twice] = unused + np.arange(np.count_nonzero(met_twice))
    numbers[2 * hidden > pixels] = 0
    numbers[0] = 0
    return np.where(stays, after, numbers[new]), stays
