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

from napari_unet.data.paint import copy_of_paint, marked_boxes, values_in
from napari_unet.errors import ConfigError, LabelsError, NothingToLearnError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from napari_unet.data.axes import Region

Kind = Literal["objects", "classes"]
Unpainted = Literal["unlabelled", "background"]

UNLABELLED = -1
BACKGROUND_VALUE: dict[Unpainted, int] = {"unlabelled": 1, "background": 0}
# Where no better threshold was found.
DEFAULT_THRESHOLD = 0.5


@dataclass(frozen=True)
class ClassTable:
    """Tell how painted values, network classes and result values correspond.

    Parameters
    ----------
    kind : {"objects", "classes"}
        Whether values above the background are single objects, or classes.
    unpainted : {"unlabelled", "background"}
        What the value 0 means.
    painted : tuple of int
        With classes: the painted value of each network class, ascending. Empty with objects.
    """

    kind: Kind
    unpainted: Unpainted
    painted: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        """Refuse tables that no labels could have made."""
        if self.kind not in ("objects", "classes"):
            raise ConfigError(f"kind is {self.kind!r}; choose 'objects' or 'classes'.")
        if self.unpainted not in BACKGROUND_VALUE:
            raise ConfigError(
                f"unpainted is {self.unpainted!r}; choose 'unlabelled' or 'background'."
            )
        if list(self.painted) != sorted(set(self.painted)):
            raise ConfigError(f"Class values {self.painted} are not ascending.")

    @property
    def n_classes(self) -> int:
        """Number of network classes; with objects: background and foreground."""
        return 2 if self.kind == "objects" else len(self.painted)

    @property
    def results(self) -> tuple[int, ...]:
        """Value of each network class in a result: background is 0, others as painted."""
        if self.kind == "objects":
            return (0, 1)
        background = BACKGROUND_VALUE[self.unpainted]
        return tuple(0 if value == background else value for value in self.painted)

    def decide(
        self, probabilities: NDArray[np.float32], threshold: float = DEFAULT_THRESHOLD
    ) -> NDArray[np.intp]:
        """Decide which network class each pixel is of.

        Parameters
        ----------
        probabilities : ndarray
            Of each class: C, then any sizes.
        threshold : float
            Probability above which a pixel is of an object, or of the second of two classes. Of
            more classes the most probable one wins.

        Returns
        -------
        ndarray
            Without C, 0 to `n_classes` - 1.
        """
        if self.takes_most_probable(threshold):
            return np.asarray(probabilities.argmax(axis=0))
        return np.asarray(probabilities[1] > threshold, np.intp)

    def takes_most_probable(self, threshold: float) -> bool:
        """Return whether each pixel is simply of its most probable class."""
        return self.n_classes > 2 or (self.kind == "classes" and threshold == DEFAULT_THRESHOLD)


@dataclass(frozen=True)
class Target:
    """What the network is to answer at each pixel of one frame.

    Parameters
    ----------
    classes : ndarray
        Network class per pixel, ``[Z]YX`` int16; -1 where unlabelled.
    objects : ndarray
        Object ids per pixel, ``[Z]YX`` int32, 0 elsewhere; all 0 with classes.
    """

    classes: NDArray[np.int16]
    objects: NDArray[np.int32]

    @property
    def painted(self) -> NDArray[np.bool_]:
        """Where there is a label."""
        painted: NDArray[np.bool_] = self.classes != UNLABELLED
        return painted


def check_labels(labels: NDArray[Any]) -> NDArray[np.integer[Any]]:
    """Return `labels` as an integer array, or refuse them.

    Raises
    ------
    LabelsError
        The labels are no integers, or some are negative.
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


def class_table(
    labels: Iterable[NDArray[Any]],
    kind: Kind,
    unpainted: Unpainted,
    known: Iterable[int] = (),
) -> ClassTable:
    """Collect the classes that are painted anywhere in `labels`.

    Parameters
    ----------
    labels : iterable of ndarray
        Label images of any shape and integer dtype; ids may be sparse and large.
    kind, unpainted : str
        See the module's table.
    known : iterable of int
        Classes that a previous training knows, painted in these labels or not.

    Returns
    -------
    ClassTable
        With at least two classes.

    Raises
    ------
    NothingToLearnError
        With classes: fewer than two are painted.
    """
    if kind == "objects":
        return ClassTable(kind, unpainted)
    values = set(known)
    for image_labels in labels:
        values |= values_in(check_labels(image_labels))
    if unpainted == "unlabelled":
        values.discard(0)
    if len(values) < 2:
        raise _single_class_error(unpainted, len(values))
    return ClassTable(kind, unpainted, tuple(sorted(values)))


def target_of(
    labels: NDArray[Any], table: ClassTable, sliver: float = 0.0, anisotropy: float = 1.0
) -> Target:
    """Turn painted labels into a training target.

    With objects, a one-pixel ridge of background is drawn between touching objects, so that
    their foreground falls apart into 4-connected (in 3D 6-connected) components. Where two painted
    objects leave an unpainted sliver between them, its middle line is background too.

    Parameters
    ----------
    labels : ndarray
        ``[Z]YX``, any integer dtype.
    table : ClassTable
        The meaning of the values.
    sliver : float
        Pixels between two objects up to which unpainted pixels are a sliver; 0: none are.
    anisotropy : float
        How many times as long along Z as wide a voxel is.
    """
    labels = check_labels(labels)
    if table.kind == "classes":
        return _class_target(labels, table)
    background = BACKGROUND_VALUE[table.unpainted]
    objects = np.where(labels > background, labels, 0)
    if objects.dtype.itemsize > 2:  # ids may exceed int32; only their difference matters
        ids, number = np.unique(objects, return_inverse=True)
        objects = number.reshape(labels.shape) + (ids[0] != 0)  # 0 stays free for background
    objects = objects.astype(np.int32)
    foreground = (objects > 0) & ~ridge_between(objects)
    classes = foreground.astype(np.int16)
    if table.unpainted == "unlabelled":
        unpainted = labels == 0
        classes[unpainted] = UNLABELLED
        classes[_implied_borders(objects, unpainted, sliver, anisotropy)] = 0
    return Target(classes, objects)


def _class_target(labels: NDArray[np.integer[Any]], table: ClassTable) -> Target:
    largest = np.iinfo(labels.dtype).max
    # In the labels' own dtype: float64, where int64 and uint64 meet, takes neighbours for the same
    painted = np.array([value for value in table.painted if value <= largest], labels.dtype)
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


def mask_from_annotation(annotation: NDArray[np.integer[Any]], kind: Kind) -> NDArray[Any]:
    """Turn painted labels into a mask, numbered as results are.

    Parameters
    ----------
    annotation : ndarray
        0 unlabelled, 1 background, objects or classes from 2 up.
    kind : {"objects", "classes"}
        What a number stands for.

    Returns
    -------
    ndarray
        Of the same dtype: unlabelled and background are 0, objects one lower, and classes as they
        were painted.
    """
    above = annotation > 1
    return np.where(above, annotation - above if kind == "objects" else annotation, 0).astype(
        annotation.dtype
    )


def ridge_between(objects: NDArray[Any]) -> NDArray[np.bool_]:
    """Mark one pixel of each pair of face neighbours that belong to different objects.

    Parameters
    ----------
    objects : ndarray
        ``[Z]YX``, 0 background.
    """
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

    Nobody paints cells up to the last pixel: two numbers side by side say that a border runs
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


def check_classes_painted(targets: Iterable[Target], table: ClassTable) -> None:
    """Refuse targets in which fewer than two classes are painted.

    Raises
    ------
    NothingToLearnError
        Nothing is painted, or a single class.
    """
    present: set[int] = set()
    for target in targets:
        classes = target.classes
        if table.kind == "objects" and table.unpainted == "unlabelled":
            # The ridge between touching objects is background, but nobody has painted it.
            classes = classes[(classes != 0) | (target.objects == 0)]
        present.update(int(c) for c in np.unique(classes) if c != UNLABELLED)
    if len(present) < 2:
        raise _single_class_error(table.unpainted, len(present))


def _single_class_error(unpainted: Unpainted, n_painted: int) -> NothingToLearnError:
    if unpainted == "background":
        return NothingToLearnError(
            "The labels hold a single class. Label at least one object or class beside the "
            "background (0)."
        )
    found = "" if n_painted else "Nothing is painted yet. "
    return NothingToLearnError(
        f"{found}Paint at least two classes (background counts): 1 is background, "
        "2 and up are objects or classes."
    )
