"""How predicted objects are corrected (delete, merge, split, grow), and what that teaches.

All functions work on label images of one frame: ``[Z]YX``, any integer dtype, 0 background and
objects from 1 up. None changes its arguments: they return an `Edit`, so that the caller can make
it one step of its undo. Distances are in pixels.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import count, pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage as ndi

from napari_unet.data.frames import grown
from napari_unet.data.labels import BACKGROUND_VALUE
from napari_unet.errors import ConfigError
from napari_unet.objects.overlaps import check_fits, check_same_shape, overlapping_pairs

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from napari_unet.data.axes import Region
    from napari_unet.data.labels import IntArray

    Indices = tuple[NDArray[np.intp], ...]

# Halves that differ by rounding errors only are ties: a cut then takes both pixels.
_TIE = 1e-6


@dataclass(frozen=True)
class Edit:
    """Pixels to write."""

    indices: Indices
    """One intp array per axis of the labels, as ``np.nonzero`` returns them."""
    values: IntArray
    """The new value of each pixel, in the dtype of the labels."""

    @property
    def empty(self) -> bool:
        """Whether there is nothing to write."""
        return self.values.size == 0


def delete_object(labels: IntArray, number: int) -> Edit:
    """Make an object background; an empty edit where there is no such object."""
    box = _box_of(labels, number)
    return _edit(labels, box, labels[box] == number, np.array(0))


def fill_between(
    labels: IntArray, number: int, axis: int, spacing: Sequence[float] = (1.0, 1.0, 1.0)
) -> Edit:
    """Fill the planes between those along an axis of a painted volume that show an object.

    Its outline goes over from one to the next (signed distances, shifted with its centre). What is
    painted stays as it is. An object that one plane alone shows is first joined with what it lies
    over in the nearest plane that is painted there, whose number it gets. `labels` are paint
    ``ZYX``, 0 unlabelled and objects from 2 up; `spacing` is the size of a voxel.
    """
    found = _box_of(labels, number)[axis]
    objects = [number]
    if found.stop - found.start == 1:
        objects = [*_painted_over(np.moveaxis(labels, axis, 0), number, found.start), number]
    own = np.isin(labels, np.array(objects, labels.dtype))
    box = _box_around(own, margin=0)
    planes = np.moveaxis(own[box], axis, 0)
    in_plane = [size for i, size in enumerate(spacing) if i != axis]
    filled = np.zeros(planes.shape, bool)
    for first, last in pairwise(np.flatnonzero(planes.any(axis=(1, 2)))):
        for at in range(first + 1, last):
            share = (at - first) / (last - first)
            filled[at] = _outline_between(planes[first], planes[last], share, in_plane)
    inside = labels[box]
    written = (np.moveaxis(filled, 0, axis) & (inside == 0)) | (inside == number)
    written &= inside != objects[0]
    return _edit(labels, box, written, np.array(objects[0]))


def _painted_over(planes: IntArray, number: int, at: int) -> list[int]:
    """Return the object over which one lies that a plane alone shows, if there is one."""
    own = planes[at] == number
    for other in sorted(range(len(planes)), key=lambda plane: abs(plane - at))[1:]:
        met = planes[other][own]
        for value, shared in Counter(met[met > _BACKGROUND].tolist()).most_common(1):
            size = min(np.count_nonzero(own), np.count_nonzero(planes[other] == value))
            return [int(value)] if 2 * shared > size else []
    return []


def _outline_between(
    first: NDArray[np.bool_], last: NDArray[np.bool_], share: float, spacing: Sequence[float]
) -> NDArray[np.bool_]:
    """Return what lies a share of the way from one outline to another."""
    centres = [np.array(ndi.center_of_mass(each)) for each in (first, last)]
    centre = (1 - share) * centres[0] + share * centres[1]
    depth = np.zeros(first.shape)
    for mask, own, weight in zip((first, last), centres, (1 - share, share), strict=True):
        padded = np.pad(mask, 1)  # an object ends somewhere
        signed = ndi.distance_transform_edt(padded, spacing)
        signed -= ndi.distance_transform_edt(~padded, spacing)
        depth += weight * ndi.shift(signed, centre - own, order=1, mode="nearest")[1:-1, 1:-1]
    return depth > 0


def merge_objects(labels: IntArray, numbers: Sequence[int]) -> Edit:
    """Join objects into one, with the background in gaps of up to 2 pixels between them.

    The first number that is present becomes that of all. The edit is empty where fewer than two are
    present.
    """
    largest = np.iinfo(labels.dtype).max
    wanted = [number for number in dict.fromkeys(numbers) if 0 < number <= largest]
    box = _box_around(np.isin(labels, np.array(wanted, labels.dtype)), margin=2)
    inside = labels[box]
    present = [number for number in wanted if (inside == number).any()]
    if len(present) < 2:
        return _no_edit(labels)
    others = np.isin(inside, np.array(present[1:], labels.dtype))
    written = others | _gaps_between(inside, present)
    return _edit(labels, box, written, np.array(present[0]))


def _gaps_between(labels: IntArray, numbers: Sequence[int]) -> NDArray[np.bool_]:
    """Mark narrow background that touches two of the objects, not the holes within one."""
    union = np.isin(labels, np.array(numbers, labels.dtype))
    ball = ndi.generate_binary_structure(labels.ndim, 1)
    padded = np.pad(union, 1, mode="edge")  # the image continues beyond its border
    closed = ndi.binary_closing(padded, ball)[(slice(1, -1),) * labels.ndim]
    gaps, n_gaps = ndi.label(closed & (labels == 0), np.ones((3,) * labels.ndim))
    n_touching = np.zeros(n_gaps + 1, int)
    for number in numbers:
        n_touching[np.unique(gaps[ndi.binary_dilation(labels == number, ball)])] += 1
    n_touching[0] = 0
    between: NDArray[np.bool_] = n_touching[gaps] > 1
    return between


def split_object(labels: IntArray, number: int, line: NDArray[np.floating[Any]]) -> Edit:
    """Split an object along a line of vertices in pixels, (points, axes), also outside the image.

    In 3D the first column is ignored: the cut goes through all planes. The largest part keeps the
    number, the others get new ones above all others; the pixels under the line go to the nearest
    part. Pieces that were separate before and that the line does not split keep the number. The
    edit is empty where the line does not split the object. Raises LabelsError if the dtype of the
    labels does not hold the new numbers.
    """
    box = _box_of(labels, number)
    inside = labels[box] == number
    corner = [part.start for part in box[-2:]]
    cut = _pixels_under(np.asarray(line, float)[:, -2:] - corner, inside.shape[-2:])
    parts, n_parts = ndi.label(inside & ~cut)  # face neighbours only
    renumbered = _parts_to_renumber(ndi.label(inside)[0], parts, n_parts)
    if not renumbered.any():
        return _no_edit(labels)
    first, n_new = int(labels.max()) + 1, int(np.count_nonzero(renumbered))
    check_fits(first + n_new - 1, labels.dtype)
    numbers = np.full(n_parts + 1, number, labels.dtype)
    numbers[renumbered] = np.array(range(first, first + n_new), labels.dtype)
    nearest = ndi.distance_transform_edt(parts == 0, return_distances=False, return_indices=True)
    values = numbers[parts[tuple(nearest)]]
    return _edit(labels, box, inside & (values != number), values)


def _parts_to_renumber(
    pieces: NDArray[np.int32], parts: NDArray[np.int32], n_parts: int
) -> NDArray[np.bool_]:
    """Return which parts share their piece with another one; the largest of all is left out."""
    piece_of = np.zeros(n_parts + 1, np.intp)
    piece_of[parts] = pieces
    n_parts_of = np.bincount(piece_of[1:], minlength=pieces.max(initial=0) + 1)
    parted: NDArray[np.bool_] = n_parts_of[piece_of] > 1
    parted[0] = False
    if parted.any():
        parted[np.argmax(np.bincount(parts.ravel()) * parted)] = False
    return parted


def _pixels_under(line: NDArray[np.float64], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Draw a line of YX vertices; its pixels are 8-connected, so no face neighbours cross it."""
    drawn = np.zeros(shape, bool)
    points = [np.floor(line + 0.5)]
    for start, stop in pairwise(line):
        points.extend(_steps(start, stop, shape))
    pixels = np.concatenate(points)
    pixels = pixels[((pixels >= 0) & (pixels < shape)).all(axis=1)]
    drawn[tuple(pixels.astype(np.intp).T)] = True
    return drawn


def _steps(
    start: NDArray[np.float64], stop: NDArray[np.float64], shape: tuple[int, ...]
) -> list[NDArray[np.float64]]:
    """Return one pixel, in a tie two, at each step along the axis on which a segment is long."""
    long = int(np.abs(stop - start).argmax())
    if start[long] == stop[long]:
        return []
    low, high = sorted((start[long], stop[long]))
    # Only the steps inside the image: the vertices may be far away.
    steps = np.arange(max(np.ceil(low), 0.0), min(np.floor(high), shape[long] - 1) + 1)
    slope = (stop[1 - long] - start[1 - long]) / (stop[long] - start[long])
    across = start[1 - long] + (steps - start[long]) * slope
    sides = (np.floor(across + 0.5 + _TIE), np.ceil(across - 0.5 - _TIE))
    return [np.stack((steps, side)[:: 1 - 2 * long], axis=1) for side in sides]


def grow_object(labels: IntArray, number: int, pixels: int = 1) -> Edit:
    """Grow an object into the background, never over other objects.

    `pixels` is the largest Euclidean distance from the object; a negative one raises ConfigError.
    """
    if pixels < 0:
        raise ConfigError(f"An object cannot grow by {pixels} pixels; choose 0 or more.")
    box = _box_of(labels, number, margin=pixels)
    inside = labels[box]
    near = ndi.distance_transform_edt(inside != number) <= pixels
    return _edit(labels, box, near & (inside == 0), np.array(number))


def _box_of(labels: IntArray, number: int, margin: int = 0) -> Region:
    """Return the box around an object; an empty one where there is no such object."""
    return _box_around((labels == number) & (number > 0), margin)


def _box_around(inside: NDArray[np.bool_], margin: int) -> Region:
    """Return the box around all True pixels, widened by a margin; empty where there is none."""
    found = ndi.find_objects(inside.view(np.uint8))
    if not found:
        return (slice(0, 0),) * inside.ndim
    return grown(found[0], (margin,) * inside.ndim, inside.shape)


def _edit(labels: IntArray, box: Region, written: NDArray[np.bool_], values: IntArray) -> Edit:
    indices = tuple(at + part.start for at, part in zip(np.nonzero(written), box, strict=True))
    return Edit(indices, np.broadcast_to(values, written.shape)[written].astype(labels.dtype))


def _no_edit(labels: IntArray) -> Edit:
    return Edit((np.zeros(0, np.intp),) * labels.ndim, np.zeros(0, labels.dtype))


# --- What the corrections of a prediction teach: edits of the annotation -------------------------
# In an annotation 0 is unlabelled, 1 background, and objects are 2 and up; in a prediction 0 is
# background and objects are 1 and up. All label images are one frame, ``[Z]YX``.

_BACKGROUND = BACKGROUND_VALUE["unlabelled"]


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
    box = _box_of(prediction, number)
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


def changes_between(before: IntArray, after: IntArray) -> tuple[NDArray[np.bool_], tuple[int, ...]]:
    """Find what a user changed from the pristine prediction to the corrected one.

    Returns where the value differs, and the numbers of the corrected objects, ascending: those of
    `after` at changed pixels, those that lost pixels, and those that touch, also by a corner, what
    was an object's and is background now. Different shapes raise LabelsError.
    """
    check_same_shape(before, after)
    changed: NDArray[np.bool_] = before != after
    box = _box_around(changed, margin=1)
    removed = (before[box] > 0) & (after[box] == 0)
    near = ndi.binary_dilation(removed, np.ones((3,) * removed.ndim))
    met = after[box][changed[box] | near]
    lost = np.unique(before[box][changed[box]])
    # Without these a split would teach only the part that is new, and no border between parts.
    remaining = after[np.isin(after, lost)]
    numbers = np.union1d(met, remaining)
    return changed, tuple(numbers[numbers > 0].tolist())


def corrections_as_annotation(before: IntArray, after: IntArray, annotation: IntArray) -> Edit:
    """Turn corrections of a pristine prediction into the edit of the annotation that teaches them.

    Changed pixels that are background now become background; corrected objects are copied as a
    whole, each with a number of its own. All other pixels stay as they are. Different shapes, or a
    number that the dtype of the annotation does not hold, raise LabelsError.
    """
    check_same_shape(after, annotation)
    changed, objects = changes_between(before, after)
    corrected = np.isin(after, np.array(objects, after.dtype))
    written = corrected | (changed & (after == 0))
    numbers = _annotation_numbers(objects, after * corrected, annotation, _fresh(annotation))
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
