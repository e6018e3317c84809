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

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_unet.data.paint import copy_of_paint, marked_boxes
from napari_unet.errors import LabelsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_unet.data.axes import Region

Kind = Literal["objects", "classes"]
Unpainted = Literal["unlabelled", "background"]

UNLABELLED = -1
BACKGROUND_VALUE: dict[Unpainted, int] = {"unlabelled": 1, "background": 0}
# Where no better threshold was found.
DEFAULT_THRESHOLD = 0.5


@dataclass(frozen=True)
class Target:
    """What the network is to answer at each pixel of one frame."""

    classes: NDArray[np.int16]
    """Network class per pixel, ``[Z]YX``; -1 where unlabelled."""
    objects: NDArray[np.int32]
    """Object ids per pixel, ``[Z]YX``, 0 elsewhere; all 0 with classes."""

    @property
    def painted(self) -> NDArray[np.bool_]:
        """Where there is a label."""
        painted: NDArray[np.bool_] = self.classes != UNLABELLED
        return painted


def check_labels(labels: NDArray[Any]) -> NDArray[np.integer[Any]]:
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
    labels: NDArray[np.integer[Any]],
    unpainted: Unpainted,
    sliver: float = 0.0,
    anisotropy: float = 1.0,
) -> Target:
    """Turn painted objects into a training target.

    A one-pixel ridge of background is drawn between touching objects, so that each 4-connected (in
    3D 6-connected) component of the foreground is of one object. Where two painted objects leave an
    unpainted sliver between them, its middle line is background too.

    Parameters
    ----------
    labels : ndarray
        ``[Z]YX``.
    unpainted : {"unlabelled", "background"}
        What a 0 means.
    sliver : float
        Pixels between two objects up to which unpainted pixels are a sliver; 0: none are.
    anisotropy : float
        How many times as long along Z as wide a voxel is.
    """
    background = BACKGROUND_VALUE[unpainted]
    objects = np.where(labels > background, labels, 0)
    if objects.dtype.itemsize > 2:  # ids may exceed int32; only their difference matters
        ids, number = np.unique(objects, return_inverse=True)
        objects = number.reshape(labels.shape) + (ids[0] != 0)  # 0 stays free for background
    objects = objects.astype(np.int32)
    foreground = (objects > 0) & ~ridge_between(objects)
    classes = foreground.astype(np.int16)
    if unpainted == "unlabelled":
        empty = labels == 0
        classes[empty] = UNLABELLED
        classes[_implied_borders(objects, empty, sliver, anisotropy)] = 0
    return Target(classes, objects)


def class_target(labels: NDArray[np.integer[Any]], painted_values: Sequence[int]) -> Target:
    """Turn painted classes ``[Z]YX`` into a training target.

    Parameters
    ----------
    painted_values : sequence of int
        Of each network class, ascending; other values are unlabelled.
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
    """Make what is unpainted inside fully annotated regions background.

    Parameters
    ----------
    labels : ndarray
        Painted labels: 0 unlabelled, 1 background.
    regions : sequence of tuple of slice
        Boxes of `labels`, one slice per axis.

    Returns
    -------
    ndarray
        `labels` itself where there is no region, else a copy.
    """
    if not regions:
        return labels
    filled = copy_of_paint(labels)
    for region in regions:
        inside = filled[region]  # a view
        inside[inside == 0] = BACKGROUND_VALUE["unlabelled"]
    return filled


def annotation_from_mask(mask: NDArray[Any], zero: Unpainted) -> NDArray[np.integer[Any]]:
    """Turn a finished or partial mask into painted labels.

    Parameters
    ----------
    mask : ndarray
        0 and objects or classes from 1 up, any integer dtype.
    zero : {"unlabelled", "background"}
        What 0 means in the mask.

    Returns
    -------
    ndarray
        0 unlabelled, 1 background, every number of the mask one higher; uint16 or wider.

    Raises
    ------
    LabelsError
        The mask is no label image, or holds the largest number of uint64.
    """
    mask = check_labels(mask)
    largest = int(mask.max(initial=0))
    if largest >= np.iinfo(np.uint64).max:
        raise LabelsError(f"The mask holds {largest}; renumber it, no dtype holds one more.")
    dtype = np.result_type(np.uint16, np.min_scalar_type(largest + 1))
    annotation: NDArray[np.integer[Any]] = mask.astype(dtype) + dtype.type(1)
    if zero == "unlabelled":
        annotation[mask == 0] = 0
    return annotation


def ridge_between(objects: NDArray[Any]) -> NDArray[np.bool_]:
    """Mark one pixel of each pair of face neighbours in different objects, ``[Z]YX``."""
    ridge = np.zeros(objects.shape, bool)
    for axis in range(objects.ndim):
        here = np.moveaxis(objects, axis, 0)[:-1]
        next_one = np.moveaxis(objects, axis, 0)[1:]
        touching = (here != next_one) & (here > 0) & (next_one > 0)
        np.moveaxis(ridge, axis, 0)[:-1] |= touching
    return ridge


def _implied_borders(
    objects: NDArray[np.int32], unpainted: NDArray[np.bool_], sliver: float, anisotropy: float
) -> NDArray[np.bool_]:
    """Mark the unpainted pixels midway between two different objects that lie near each other.

    Users do not paint cells up to the last pixel: two numbers side by side mean that a border runs
    between them, although not exactly where. An unpainted cell does not fit into so narrow a gap.
    """
    borders = np.zeros(objects.shape, bool)
    if sliver > 0:
        for box in marked_boxes(objects > 0):  # no sliver is wider than what lies between two
            borders[box] = _borders_within(objects[box], unpainted[box], sliver, anisotropy)
    return borders


def _borders_within(
    objects: NDArray[np.int32], unpainted: NDArray[np.bool_], sliver: float, anisotropy: float
) -> NDArray[np.bool_]:
    from skimage.segmentation import expand_labels  # slow to import, and settings need it not

    spacing = (anisotropy,) * (objects.ndim - 2) + (1.0, 1.0)
    grown = expand_labels(objects, sliver / 2, spacing)
    borders = np.zeros(objects.shape, bool)
    for axis in range(objects.ndim):
        here, after = (np.moveaxis(grown, axis, 0)[part] for part in (slice(-1), slice(1, None)))
        touching = (here != after) & (here > 0) & (after > 0)
        open_here, open_after = (
            np.moveaxis(unpainted, axis, 0)[part] for part in (slice(-1), slice(1, None))
        )
        np.moveaxis(borders, axis, 0)[:-1] |= touching & open_here
        np.moveaxis(borders, axis, 0)[1:] |= touching & ~open_here & open_after
    return borders
