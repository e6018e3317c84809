"""What a painted value means, and what it becomes as a training target.

=====  ==================================  =================================
value  while unpainted = "unlabelled"      while unpainted = "background"
=====  ==================================  =================================
0      unlabelled: no loss, never counted  background
1      background                          first object or class
2...   objects or classes                  further objects or classes
=====  ==================================  =================================
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_unet.errors import LabelsError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from napari_unet.data.axes import ArrayLike, Region

    IntArray = NDArray[np.integer[Any]]

LabelKind = Literal["objects", "classes"]
PaintedKind = Literal["objects", "classes", "overlapping", "object-classes"]
Kind = Literal["objects", "classes", "overlapping", "object-classes", "image", "denoise"]
Output = Literal["softmax", "sigmoid", "linear"]  # what a network makes of its scores
Unpainted = Literal["unlabelled", "background"]

UNLABELLED = -1
BACKGROUND_VALUE: dict[Unpainted, int] = {"unlabelled": 1, "background": 0}
# Where no better threshold was found.
DEFAULT_THRESHOLD = 0.5
_BAND_PIXELS = 2**20
# Boxes around what is marked begin and end on multiples of so many pixels.
BOX_GRID = 32


@dataclass(frozen=True)
class Target:
    """What the network is to answer at each pixel of one frame."""

    classes: NDArray[np.int16]
    """Network class per pixel, ``[Z]YX``; -1 where unlabelled."""
    objects: NDArray[np.int32]
    """Object ids per pixel, ``[Z]YX``, 0 elsewhere; all 0 with classes."""
    border: NDArray[np.float32] | None = None
    """Border weight per pixel, ``[Z]YX``; None: not computed, or there is none."""
    values: NDArray[np.float32] | None = None
    """With images: what the network is to answer per pixel, ``[Z]YX``; its classes are 0 then."""

    @property
    def answer(self) -> NDArray[np.int16] | NDArray[np.float32]:
        """What the loss compares with: the values of an image, else the classes."""
        return self.classes if self.values is None else self.values

    @property
    def painted(self) -> NDArray[np.bool_]:
        """Where there is a label."""
        painted: NDArray[np.bool_] = self.classes != UNLABELLED
        return painted

    def within(self, box: Region) -> Target:
        """Return what is asked in a box of the frame."""
        border = None if self.border is None else self.border[box]
        values = None if self.values is None else self.values[box]
        return Target(self.classes[box], self.objects[box], border, values)


def check_labels(labels: NDArray[Any]) -> IntArray:
    """Return `labels` as an integer array.

    Raises LabelsError if the labels are no integers, or some are negative.
    """
    labels = np.asarray(labels)
    if labels.dtype.kind == "b":
        return labels.astype(np.uint8)
    if labels.dtype.kind not in "ui":
        raise LabelsError(
            f"Labels of dtype {labels.dtype} cannot be used; save them as whole numbers, "
            "for example uint16."
        )
    if labels.size and labels.dtype.kind == "i" and labels.min() < 0:
        raise LabelsError(f"Labels must not be negative; the smallest is {labels.min()}.")
    return labels


def object_target(
    labels: IntArray, unpainted: Unpainted, sliver: float = 0.0, anisotropy: float = 1.0
) -> Target:
    """Turn painted objects, ``[Z]YX``, into a training target.

    A one-pixel ridge of background is drawn between touching objects, so that each 4-connected (in
    3D 6-connected) component of the foreground is of one object. Where two painted objects leave an
    unpainted sliver of up to so many pixels between them, its middle line is background too;
    `anisotropy` is how many times as long along Z as wide a voxel is.
    """
    background = BACKGROUND_VALUE[unpainted]
    numbers = labels
    if labels.dtype.itemsize > 2:  # ids may exceed int32; only their difference matters
        ids, number = np.unique(np.where(labels > background, labels, 0), return_inverse=True)
        numbers = number.reshape(labels.shape) + (ids[0] != 0)  # 0 stays free for background
    boxes = marked_boxes(labels > background)  # a few cells on a huge image cost little
    objects, ridge = np.zeros(labels.shape, np.int32), np.zeros(labels.shape, bool)
    for box in boxes:
        objects[box] = np.where(labels[box] > background, numbers[box], 0)
        ridge[box] |= ridge_between(objects[box])
    classes = np.zeros(labels.shape, np.int16)
    for box in boxes:
        classes[box] = (objects[box] > 0) & ~ridge[box]
    if unpainted == "unlabelled":
        classes[labels == 0] = UNLABELLED
        for box in boxes if sliver > 0 else ():  # none is wider than what lies between two boxes
            borders = _borders_within(objects[box], labels[box] == 0, sliver, anisotropy)
            classes[box][borders] = 0
    return Target(classes, objects)


def class_target(labels: IntArray, painted_values: Sequence[int]) -> Target:
    """Turn painted classes ``[Z]YX`` into a training target.

    `painted_values` are those of the network's classes, ascending; others are unlabelled.
    """
    largest = np.iinfo(labels.dtype).max
    # In the labels' own dtype: float64, where int64 and uint64 meet, takes neighbours for the same
    painted = np.array([value for value in painted_values if value <= largest], labels.dtype)
    classes = np.full(labels.shape, UNLABELLED, np.int16)
    if painted.size:
        position = np.searchsorted(painted, labels).clip(max=len(painted) - 1)
        known = painted[position] == labels
        classes[known] = position[known]
    return Target(classes, np.zeros(labels.shape, np.int32))


def fill_regions(labels: NDArray[Any], regions: Sequence[Region]) -> NDArray[Any]:
    """Make what is unpainted inside fully annotated regions background: in a copy, if any."""
    if not regions:
        return labels
    filled = copy_of_paint(labels)
    for region in regions:
        inside = filled[region]  # a view
        inside[inside == 0] = BACKGROUND_VALUE["unlabelled"]
    return filled


def annotation_from_mask(mask: NDArray[Any], zero: Unpainted) -> IntArray:
    """Turn a finished or partial mask, in which 0 means `zero`, into painted labels.

    They are 0 unlabelled, 1 background, every number of the mask one higher; uint16 or wider.
    Raises LabelsError if the mask is no label image, or holds the largest number of uint64.
    """
    mask = check_labels(mask)
    largest = int(mask.max(initial=0))
    if largest >= np.iinfo(np.uint64).max:
        raise LabelsError(f"The mask holds {largest}; renumber it, no dtype holds one more.")
    dtype = np.result_type(np.uint16, np.min_scalar_type(largest + 1))
    annotation: IntArray = mask.astype(dtype) + dtype.type(1)
    if zero == "unlabelled":
        annotation[mask == 0] = 0
    return annotation


def ridge_between(objects: NDArray[Any]) -> NDArray[np.bool_]:
    """Mark one pixel of each pair of face neighbours in different objects, ``[Z]YX``."""
    ridge = np.zeros(objects.shape, bool)
    for axis in range(objects.ndim):
        here, _ = _neighbours(ridge, axis)
        here |= _touching(objects, axis)
    return ridge


def _neighbours(pixels: NDArray[Any], axis: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return views of all pixels but the last ones along an axis, and of those behind them."""
    moved = np.moveaxis(pixels, axis, 0)
    return moved[:-1], moved[1:]


def _touching(objects: NDArray[Any], axis: int) -> NDArray[np.bool_]:
    here, after = _neighbours(objects, axis)
    touching: NDArray[np.bool_] = (here != after) & (here > 0) & (after > 0)
    return touching


def _borders_within(
    objects: NDArray[np.int32], unpainted: NDArray[np.bool_], sliver: float, anisotropy: float
) -> NDArray[np.bool_]:
    """Mark the unpainted pixels midway between two different objects that lie near each other.

    Users do not paint cells up to the last pixel: two numbers side by side mean that a border runs
    between them, although not exactly where. An unpainted cell does not fit into so narrow a gap.
    """
    from scipy.ndimage import distance_transform_edt

    spacing = (anisotropy,) * (objects.ndim - 2) + (1.0, 1.0)
    distance, nearest = distance_transform_edt(objects == 0, spacing, return_indices=True)
    grown = np.where(distance <= sliver / 2, objects[tuple(nearest)], objects)
    borders = np.zeros(objects.shape, bool)
    for axis in range(objects.ndim):
        touching = _touching(grown, axis)
        open_here, open_after = _neighbours(unpainted, axis)
        here, after = _neighbours(borders, axis)
        here |= touching & open_here
        after |= touching & ~open_here & open_after
    if objects.ndim == 3:
        borders &= _between(objects > 0, [2 * math.ceil(sliver / width) for width in spacing])
    return borders


def _between(inside: NDArray[np.bool_], reach: Sequence[int]) -> NDArray[np.bool_]:
    """Mark what has an object on both sides along some axis, so many pixels apart at most.

    It leaves out what lies beside the one plane of a volume that is painted: how cells that touch
    in it go on beyond, nobody has said.
    """
    from scipy.ndimage import maximum_filter1d, minimum_filter1d

    between = np.zeros(inside.shape, bool)
    for axis, pixels in enumerate(reach):
        margin = [(pixels, pixels) if i == axis else (0, 0) for i in range(inside.ndim)]
        wide = np.pad(inside.view(np.uint8), margin)
        wide = maximum_filter1d(wide, pixels + 1, axis, mode="constant")
        wide = minimum_filter1d(wide, pixels + 1, axis, mode="constant")
        between |= wide.take(range(pixels, pixels + inside.shape[axis]), axis) > 0
    return between


# --- Where labels are painted ---------------------------------------------------------------------
# An empty layer of an image of a terabyte costs nothing: the system gives memory to the pages that
# are written alone. What is here keeps it so. Labels are looked at band by band along their first
# axis, and bands without paint are left alone.


def bands_of(labels: ArrayLike) -> Iterator[tuple[slice, NDArray[Any]]]:
    """Yield slices of the first axis, some million pixels each, and the labels there.

    Lazy labels are read once.
    """
    rows = max(1, _BAND_PIXELS // max(1, math.prod(labels.shape[1:])))
    for start in range(0, labels.shape[0], rows):
        band = slice(start, min(start + rows, labels.shape[0]))
        yield band, np.asarray(labels[band])


def painted_bands(labels: ArrayLike) -> Iterator[tuple[slice, NDArray[Any]]]:
    """Go through those bands of labels that hold any number but 0; see :func:`bands_of`."""
    return ((band, painted) for band, painted in bands_of(labels) if is_painted(painted))


def is_painted(labels: NDArray[Any]) -> bool:
    """Return whether labels hold any number but 0."""
    # Of numbers the largest is found several times as fast as whether there is one
    return bool(labels.any() if labels.dtype.kind != "u" else labels.max(initial=0))


def pixels_per_number(labels: NDArray[Any]) -> NDArray[np.int64]:
    """Count the pixels of each number from 0 on; other threads go on meanwhile.

    Of a large image numpy's own bincount keeps all of them waiting for a third of a second.

    Examples
    --------
    >>> pixels_per_number(np.array([[0, 3], [3, 1]])).tolist()
    [1, 1, 0, 2]
    """
    counts = np.zeros(int(labels.max(initial=0)) + 1, np.int64)
    for _, band in bands_of(labels):
        part = np.bincount(band.ravel())
        counts[: part.size] += part
    return counts


def copy_of_paint(labels: ArrayLike) -> NDArray[Any]:
    """Copy labels into an array of their own, of which only painted bands take memory."""
    copied = np.zeros(labels.shape, labels.dtype)
    for band, painted in painted_bands(labels):
        copied[band] = painted
    return copied


def same_paint(one: NDArray[Any], other: NDArray[Any]) -> bool:
    """Return whether two label arrays are equal, without temporary arrays of their size."""
    if one.shape != other.shape:
        return False
    return all(np.array_equal(painted, other[band]) for band, painted in bands_of(one))


def marked_boxes(marked: NDArray[np.bool_]) -> list[Region]:
    """Find boxes that hold all marked pixels; what lies near together shares one.

    They lie on a grid of 32 pixels, clipped to the array; no two of them touch.
    """
    from scipy.ndimage import find_objects, label

    coarse = marked
    for axis, size in enumerate(marked.shape):
        coarse = np.logical_or.reduceat(coarse, np.arange(0, size, BOX_GRID), axis=axis)
    groups, _ = label(coarse, np.ones((3,) * coarse.ndim))
    return [
        tuple(
            slice(BOX_GRID * part.start, min(BOX_GRID * part.stop, size))
            for part, size in zip(box, marked.shape, strict=True)
        )
        for box in find_objects(groups)
    ]


def paint_box(labels: NDArray[Any]) -> Region | None:
    """Return the smallest box that holds all labels but 0; None where nothing is painted."""
    low = np.array(labels.shape)
    high = np.zeros(labels.ndim, int)
    for band, painted in painted_bands(labels):
        for axis in range(labels.ndim):
            others = tuple(other for other in range(labels.ndim) if other != axis)
            at = np.flatnonzero(painted.any(axis=others)) + (band.start if axis == 0 else 0)
            low[axis], high[axis] = min(low[axis], at[0]), max(high[axis], at[-1] + 1)
    if not high.any():
        return None
    return tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))


def values_in(labels: NDArray[Any]) -> set[int]:
    """Return the numbers that labels hold, 0 included."""
    values: set[int] = set()
    for _, band in bands_of(labels):
        values.update(map(int, np.unique(band)) if is_painted(band) else (0,))
    return values


# --- Label images that may be no label images: one number for many pieces, or grey values --------

# Of so many pixels side by side that are labelled most differ in a grey image, few in labels.
_GREY_SHARE, _GREY_PAIRS, _LOOKED_AT = 0.3, 100, 2**20


def oddity_of(labels: NDArray[Any], one_by_one: bool) -> str:
    """Return in words why an image may be no label image; empty where it may well be one.

    `one_by_one`: each number is to be one object, and 0 the background.

    Examples
    --------
    >>> oddity_of(np.array([[255, 0, 255]], np.uint8), one_by_one=True)
    'one number, 255, covers 2 separate pieces: this is no instance mask'
    """
    if _looks_grey(labels):
        return "most pixels side by side hold different numbers: this looks like a grey image"
    number = _only_number(labels) if one_by_one else 0
    pieces = int(_pieces(labels).max()) if number else 0
    if pieces < 2:
        return ""
    return f"one number, {number}, covers {pieces} separate pieces: this is no instance mask"


def label_pieces(labels: NDArray[Any]) -> NDArray[Any]:
    """Give numbers to the connected pieces of a mask that has one number; leave others as they are.

    Examples
    --------
    >>> label_pieces(np.array([255, 0, 255], np.uint8)).tolist()
    [1, 0, 2]
    """
    return _pieces(labels) if _only_number(labels) else labels


def _pieces(labels: NDArray[Any]) -> NDArray[np.int32]:
    from scipy.ndimage import label

    pieces: NDArray[np.int32] = label(labels > 0)[0]
    return pieces


def _only_number(labels: NDArray[Any]) -> int:
    """Return the one number besides 0; 0 where there are several, or none."""
    largest = int(labels.max(initial=0))
    several = any(((band > 0) & (band != largest)).any() for _, band in bands_of(labels))
    return 0 if several else largest


def _looks_grey(labels: NDArray[Any]) -> bool:
    pairs = differing = looked_at = 0
    for _, band in bands_of(labels):
        here, after = band[..., :-1], band[..., 1:]
        labelled = (here > 0) & (after > 0)
        pairs += int(np.count_nonzero(labelled))
        differing += int(np.count_nonzero(labelled & (here != after)))
        looked_at += band.size
        if looked_at > _LOOKED_AT:
            break
    return pairs >= _GREY_PAIRS and differing > _GREY_SHARE * pairs
