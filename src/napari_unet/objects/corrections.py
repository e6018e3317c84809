"""How predicted objects are corrected: delete, merge, split, grow.

All functions work on label images of one frame: ``[Z]YX``, any integer dtype, 0 background and
objects from 1 up. None changes its arguments: they return an `Edit`, so that the caller can make
it one step of its undo. Distances are in pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage as ndi

from napari_unet.errors import ConfigError
from napari_unet.objects.overlaps import check_fits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_unet.data.axes import Region

    IntArray = NDArray[np.integer[Any]]
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

    def applied_to(self, labels: IntArray) -> IntArray:
        """Return a copy of `labels`, ``[Z]YX``, with the edit made."""
        edited = labels.copy()
        edited[self.indices] = self.values
        return edited


def delete_object(labels: IntArray, number: int) -> Edit:
    """Make an object background; an empty edit where there is no such object."""
    box = box_of_object(labels, number)
    if box is None:
        return _no_edit(labels)
    return _edit(labels, box, labels[box] == number, np.zeros((), labels.dtype))


def merge_objects(labels: IntArray, numbers: Sequence[int]) -> Edit:
    """Join objects into one, with the background in gaps of up to 2 pixels between them.

    The first number that is present becomes that of all. The edit is empty where fewer than two are
    present.
    """
    largest = np.iinfo(labels.dtype).max
    wanted = [number for number in dict.fromkeys(numbers) if 0 < number <= largest]
    box = box_around(np.isin(labels, np.array(wanted, labels.dtype)), labels.shape, margin=2)
    if box is None:
        return _no_edit(labels)
    inside = labels[box]
    present = [number for number in wanted if (inside == number).any()]
    if len(present) < 2:
        return _no_edit(labels)
    others = np.isin(inside, np.array(present[1:], labels.dtype))
    written = others | _gaps_between(inside, present)
    return _edit(labels, box, written, np.array(present[0], labels.dtype))


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
    """Split an object along a line.

    The largest part keeps the number, the others get new ones above all others; the pixels under
    the line go to the nearest part. Pieces that were separate before and that the line does not
    split keep the number. The edit is empty where the line does not split the object. Raises
    LabelsError if the dtype of the labels does not hold the new numbers.

    Parameters
    ----------
    line : ndarray
        Shape (points, axes of `labels`): vertices in pixels, also outside the image. In 3D the
        first column is ignored: the cut goes through all planes.
    """
    box = box_of_object(labels, number)
    if box is None:
        return _no_edit(labels)
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
    parted: NDArray[np.bool_] = np.bincount(piece_of[1:], minlength=pieces.max() + 1)[piece_of] > 1
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
    box = box_of_object(labels, number, margin=pixels)
    if box is None:
        return _no_edit(labels)
    inside = labels[box]
    near = ndi.distance_transform_edt(inside != number) <= pixels
    return _edit(labels, box, near & (inside == 0), np.array(number, labels.dtype))


def box_of_object(labels: IntArray, number: int, margin: int = 0) -> Region | None:
    """Return the box around an object; None where there is no such object."""
    return box_around(labels == number, labels.shape, margin) if number > 0 else None


def box_around(inside: NDArray[np.bool_], shape: tuple[int, ...], margin: int) -> Region | None:
    """Return the box around all True pixels, widened by a margin; None where there is none."""
    found = ndi.find_objects(inside.view(np.uint8))
    if not found:
        return None
    return tuple(
        slice(max(part.start - margin, 0), min(part.stop + margin, size))
        for part, size in zip(found[0], shape, strict=True)
    )


def _edit(labels: IntArray, box: Region, written: NDArray[np.bool_], values: IntArray) -> Edit:
    indices = tuple(at + part.start for at, part in zip(np.nonzero(written), box, strict=True))
    return Edit(indices, np.broadcast_to(values, written.shape)[written].astype(labels.dtype))


def _no_edit(labels: IntArray) -> Edit:
    return Edit((np.zeros(0, np.intp),) * labels.ndim, np.zeros(0, labels.dtype))
