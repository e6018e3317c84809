"""What is known of each object of a layer: its description, and the class found for it.

Computed in a thread of its own; Qt and napari are not needed.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.objects.classifier import class_columns, class_image
from napari_unet.objects.description import CENTRES, describing
from napari_unet.objects.measurements import one_table
from napari_unet.run import PartsDone, Run

if TYPE_CHECKING:
    import threading
    from collections.abc import Generator, Mapping

    from numpy.typing import NDArray

    from napari_unet.objects.classifier import ObjectClassifier

    Columns = dict[str, NDArray[Any]]
    Place = tuple[int, ...]
    Key = tuple[int, int]


@dataclass(frozen=True)
class Setup:
    """How objects are described; equal where an object has the same numbers."""

    ndim: int
    """Along how many axes an object extends."""
    scale: tuple[float, ...]
    first: int = 1
    """The lowest number of an object: where people paint, 1 is background."""
    image: object = None
    """What stands for the image whose grey values count; None: sizes and shapes alone."""


@dataclass(frozen=True, eq=False)
class Described:
    """The objects of labels as they were when they were described."""

    labels: NDArray[Any]
    """A copy."""
    setup: Setup
    frames: list[Columns]

    @cached_property
    def columns(self) -> Columns:
        """One row per object and frame."""
        return one_table(self.frames)

    @cached_property
    def rows(self) -> dict[Key, int]:
        """The row of each object, by number and frame."""
        keys = zip(self.columns["index"].tolist(), self.columns["frame"].tolist(), strict=True)
        return {key: row for row, key in enumerate(keys)}

    def centre(self, row: int) -> Place:
        """Return the middle of an object as a pixel of the labels."""
        shape = self.labels.shape[: self.labels.ndim - self.setup.ndim]
        frame = np.unravel_index(int(self.columns["frame"][row]), shape) if shape else ()
        middle = (self.columns[name][row] for name in CENTRES[-self.setup.ndim :])
        return (*map(int, frame), *(round(float(each)) for each in middle))

    def given(self, examples: Mapping[Place, int]) -> dict[int, int]:
        """Return the class of each row of which a pixel has one; the last one counts."""
        found = objects_at(self.labels, examples, self.setup.ndim, self.setup.first)
        return {self.rows[key]: value for key, value in found.items()}


def objects_at(labels: Any, examples: Mapping[Place, int], ndim: int, first: int) -> dict[Key, int]:
    """Return the classes of the objects that are at some pixels, by number and flat frame.

    Numbers below `first` are no objects.
    """
    found: dict[Key, int] = {}
    for place, value in examples.items():
        inside = len(place) == len(labels.shape) and all(
            0 <= at < size for at, size in zip(place, labels.shape, strict=True)
        )
        number = int(labels[place]) if inside else 0
        if number >= first:
            found[number, flat_frame(place, labels.shape, ndim)] = value
    return found


def flat_frame(place: Place, shape: tuple[int, ...], ndim: int) -> int:
    """Return which frame a pixel is in."""
    lead = len(shape) - ndim
    return int(np.ravel_multi_index(place[:lead], shape[:lead])) if lead else 0


def describing_labels(
    labels: Any,
    setup: Setup,
    pixels: Any,
    channel_axis: int | None,
    before: Described | None,
    stop: threading.Event,
) -> Generator[PartsDone, None, Described | None]:
    """Describe the objects of labels, but for frames that are as they were `before`.

    None where it was stopped.
    """
    labels = np.asarray(labels)
    known = {} if before is None or before.setup != setup else _unchanged(before, labels)
    objects = _objects(labels, setup)
    run = Run(describing(objects, pixels, channel_axis, setup.scale, setup.ndim, known))
    for event in run:
        if stop.is_set():
            return None
        yield event
    made = Described(labels, setup, run.result)
    len(made.rows)  # which takes a moment, here and not where the window waits
    return made


def _objects(labels: NDArray[Any], setup: Setup) -> NDArray[Any]:
    return labels if setup.first == 1 else np.where(labels >= setup.first, labels, 0)


def _unchanged(before: Described, labels: NDArray[Any]) -> dict[int, Columns]:
    if before.labels.shape != labels.shape:
        return {}
    frames = np.ndindex(labels.shape[: labels.ndim - before.setup.ndim])
    return {
        flat: before.frames[flat]
        for flat, frame in enumerate(frames)
        if np.array_equal(before.labels[frame], labels[frame])
    }


@dataclass(frozen=True, eq=False)
class Found:
    """The classes of all objects."""

    columns: Columns
    """"index", "frame" where there are frames, and what `class_columns` returns."""
    picture: NDArray[Any]
    """The number of its class at each pixel of an object."""
    counts: dict[int, int]
    """Objects of each class."""
    unsure: list[int]
    """Rows that are no examples, the least certain first."""


def find_classes(
    described: Described, classifier: ObjectClassifier, values: list[int], given: dict[int, int]
) -> Found:
    """Classify all objects; `values` are the numbers of the classifier's classes.

    `given` are the numbers of examples' classes, by row. Raises ConfigError as
    `ObjectClassifier.classify` does.
    """
    found = classifier.classify(described.columns)
    names = dict(zip(values, classifier.names, strict=True))
    columns = class_columns(
        classifier.names, found, {row: names[value] for row, value in given.items()}
    )
    numbers = np.array(values, np.min_scalar_type(max(values)))[found.classes]
    numbers[list(given)] = list(given.values())
    keys = {name: described.columns[name] for name in ("index", "frame")}
    order = np.argsort(found.certainty, kind="stable").tolist()
    objects, setup = _objects(described.labels, described.setup), described.setup
    picture = class_image(objects, described.columns, numbers, setup.ndim)
    if objects.ndim == setup.ndim:
        del keys["frame"]
    unsure = [row for row in order if row not in given]
    return Found(keys | columns, picture, dict(Counter(numbers.tolist())), unsure)
