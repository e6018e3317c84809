"""Objects of several classes: touching ones come apart, and each is of one of the classes.

The objects of each class are painted in labels of their own. As with overlapping classes what is
painted for one pixel, and what is found there, is one number: that of the object times 16, and its
class, counted from 1. Paint has 0 and 1 besides, as ever: unlabelled, and background.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.data.labels import BACKGROUND_VALUE, check_labels, object_target, values_in
from napari_unet.errors import LabelsError
from napari_unet.tasks.base import OUTLINES
from napari_unet.tasks.objects import Objects
from napari_unet.tasks.overlapping_classes import check_layers

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from napari_unet.data.labels import IntArray, Target, Unpainted
    from napari_unet.tasks.base import Counts, Decision
    from napari_unet.tasks.table import ClassTable

_BITS = 4
# The class; above it is the number of the object.
_CLASS = (1 << _BITS) - 1
# An object of which so much also belongs to objects of other classes is no object beside them.
_MOST_COVERED = 0.5


class ObjectsOfClasses(Objects):
    """A channel for the background, and one for the objects of each class.

    What is not background is divided into objects; each is of the class of most of its pixels.
    """

    def n_classes(self, painted: Sequence[int]) -> int:
        return 1 + len(painted)

    def painted(
        self, labels: Iterable[NDArray[Any]], unpainted: Unpainted, known: Iterable[int]
    ) -> tuple[int, ...]:
        values = {*known, *(value & _CLASS for each in labels for value in values_in(each))}
        return self.values_of(max(values, default=0))

    def values_of(self, n_names: int) -> tuple[int, ...]:
        return tuple(range(1, n_names + 1))

    def packed(self, layers: Mapping[str, NDArray[Any]], unpainted: Unpainted) -> IntArray:
        """Put the objects of all classes together, each with a number of its own.

        What two classes claim is a border between them: nobody knows where exactly it runs.
        Raises LabelsError where shapes differ, or objects lie within objects of another class, and
        ConfigError for names that cannot be told apart.

        Examples
        --------
        >>> red, blue = np.array([0, 1, 5, 5]), np.array([7, 0, 0, 0])
        >>> OBJECT_CLASSES.packed({"red": red, "blue": blue}, "unlabelled").tolist()
        [34, 1, 17, 17]
        """
        shape, lowest = check_layers(layers), BACKGROUND_VALUE[unpainted]
        painted = {name: check_labels(labels) for name, labels in layers.items()}
        packed, claims = np.zeros(shape, np.uint32), np.zeros(shape, np.uint8)
        for labels in painted.values():
            claims += labels > lowest
        before = 0
        for number, (name, labels) in enumerate(painted.items(), start=1):
            inside = labels > lowest
            ids, objects = np.unique(labels[inside], return_inverse=True)
            _check_apart(name, ids, objects, claims[inside] > 1)
            packed[inside] = (objects + (before + 1) << _BITS) + number
            before += len(ids)
        packed[claims > 1] = 0
        if unpainted == "unlabelled":
            background = np.any([labels == lowest for labels in painted.values()], axis=0)
            packed[background & (claims == 0)] = lowest
        return packed

    def unpacked(self, values: NDArray[Any], n_classes: int) -> NDArray[Any]:
        """Return the numbers of the objects of each class, in a first axis; 0 elsewhere.

        Examples
        --------
        >>> OBJECT_CLASSES.unpacked(np.array([0, 17, 34, 34]), 2).tolist()
        [[0, 1, 0, 0], [0, 0, 2, 2]]
        """
        numbers, classes = values >> _BITS, values & _CLASS
        return np.stack([np.where(classes == k, numbers, 0) for k in range(1, n_classes + 1)])

    def target(
        self, labels: IntArray, table: ClassTable, sliver: float, anisotropy: float
    ) -> Target:
        target = object_target(labels, table.unpainted, sliver, anisotropy)
        of_class = (labels & _CLASS).astype(np.int16)
        classes = np.where(target.classes > 0, of_class, target.classes)
        objects = np.where(target.objects > 0, (target.objects << _BITS) + of_class, 0)
        return replace(target, classes=classes, objects=objects.astype(np.int32))

    def missing(self, present: set[int], table: ClassTable) -> str:
        """Return of which class no object is painted."""
        for number, name in enumerate(table.names, start=1):
            if number not in present:
                return (
                    f"No object is painted as {name!r}; paint some in its own labels, or leave "
                    "this class out."
                )
        return ""

    def counts(
        self, table: ClassTable, decision: Decision, dense: bool, membrane: int | None
    ) -> Counts:
        from napari_unet.tasks.validation import ObjectsOfClassesFound

        return ObjectsOfClassesFound(table, decision, dense)

    def results(self, table: ClassTable) -> tuple[int, ...]:
        """Return the class of pixels by themselves, counted from 1."""
        return tuple(range(table.n_classes))

    def decode(
        self, probabilities: NDArray[np.float32], table: ClassTable, decision: Decision
    ) -> IntArray:
        foreground = np.stack([probabilities[0], 1 - probabilities[0]])
        found = super().decode(foreground, table, decision)
        return numbered(found, votes_of(found, probabilities[1:].argmax(axis=0), len(table.names)))

    def channel_names(self, table: ClassTable) -> tuple[str, ...]:
        return ("background", *table.names)

    def keep_painted(self, found: IntArray, painted: IntArray, smallest: int) -> IntArray:
        """Return what is found: its numbers carry classes, and are no longer in a row."""
        return found

    def recipe(self, table: ClassTable, decision: Decision) -> str:
        return (
            f"{super().recipe(table, decision)} Foreground is all but the first channel; an object "
            f"is of the class ({', '.join(table.names)}) that most of its pixels are of."
        )

    def recipe_in_python(self, table: ClassTable, decision: Decision) -> str:
        return 'foreground = 1 - probabilities[0] > facts["threshold"]'


# --- While objects are separated ------------------------------------------------------------------


def foreground_and_class(probabilities: NDArray[np.float32], steps: int) -> NDArray[np.uint16]:
    """Return the foreground in so many steps, below 256, and 256 times the likeliest class there.

    Probabilities are of the background, then of each class, which is counted from 0.
    """
    foreground = np.rint((1 - probabilities[0]) * np.float32(steps)).astype(np.uint16)
    return np.asarray(probabilities[1:].argmax(axis=0).astype(np.uint16) << 8 | foreground)


def parts_of_foreground(foreground: NDArray[Any]) -> tuple[NDArray[np.uint8], NDArray[Any] | None]:
    """Undo `foreground_and_class`; where the foreground is bytes there are no classes."""
    if foreground.dtype.itemsize == 1:
        return foreground, None
    return (foreground & 255).astype(np.uint8), foreground >> 8


def one_object(above: NDArray[np.uint8], classes: NDArray[Any]) -> NDArray[np.uint8]:
    """Return what is shown before objects are separated, of each class a single one."""
    return above * ((1 << _BITS) + 1 + classes).astype(np.uint8)


def votes_of(numbers: NDArray[Any], classes: NDArray[Any], n_classes: int) -> NDArray[np.int64]:
    """Count in each object, from number 0 up, the pixels of each class, which counts from 0."""
    places = numbers.astype(np.int64) * n_classes + classes
    n_objects = int(numbers.max(initial=0)) + 1
    counts = np.bincount(places.ravel(), minlength=n_objects * n_classes)
    return counts.astype(np.int64).reshape(n_objects, n_classes)


def numbered(numbers: NDArray[Any], votes: NDArray[np.int64], first: int = 0) -> NDArray[np.uint32]:
    """Add to the numbers of objects the class that most of their pixels are of.

    The votes are for the numbers from `first` up, of which the first is the background's; 0 stays.
    """
    values = (np.arange(len(votes)) + first << _BITS) + 1 + votes.argmax(axis=1)
    values[0] = 0
    found: NDArray[np.uint32] = values.astype(np.uint32)[numbers.clip(min=first) - first]
    return found


def _check_apart(
    name: str, ids: NDArray[Any], objects: NDArray[np.intp], covered: NDArray[np.bool_]
) -> None:
    """Refuse an object that lies within objects of other classes."""
    shares = np.bincount(objects, covered, len(ids)) / np.bincount(objects, minlength=len(ids))
    if len(ids) and shares.max() > _MOST_COVERED:
        raise LabelsError(
            f"Most of object {ids[shares.argmax()]} of {name!r} lies in objects of other classes; "
            "each pixel may be of one object. Choose kind 'overlapping' where one lies in another."
        )


OBJECT_CLASSES = ObjectsOfClasses(
    kind="object-classes",
    thing="object",
    things="objects of several classes",
    border_weighted=True,
    judged_singly=True,
    by_threshold=True,
    result="object-classes",
    look=OUTLINES,
    in_layers=True,
    layer_kind="objects",
)
