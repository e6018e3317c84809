"""All tasks there are, and what was painted for one: which value is which class of the network."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.data.labels import (
    BACKGROUND_VALUE,
    DEFAULT_THRESHOLD,
    UNLABELLED,
    Kind,
    Unpainted,
    pixels_per_number,
)
from napari_unet.errors import ConfigError, NothingToLearnError
from napari_unet.tasks.classes import CLASSES
from napari_unet.tasks.image import DENOISE, IMAGE
from napari_unet.tasks.object_classes import OBJECT_CLASSES
from napari_unet.tasks.objects import OBJECTS
from napari_unet.tasks.overlapping_classes import OVERLAPPING_CLASSES, check_class_names

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from napari_unet.data.labels import Target
    from napari_unet.tasks.base import Task


# So many times as fine images can be made as they are.
FINER = (1, 2, 3, 4)
TASKS: dict[Kind, Task] = {
    task.kind: task
    for task in (OBJECTS, CLASSES, OVERLAPPING_CLASSES, OBJECT_CLASSES, IMAGE, DENOISE)
}
# What is painted, and shown as labels.
PAINTED_TASKS = tuple(task for task in TASKS.values() if task.paints)


def task_of(kind: str) -> Task:
    """Return the task of a kind; ConfigError if there is no such kind."""
    for task in TASKS.values():
        if task.kind == kind:
            return task
    raise ConfigError(f"kind is {kind!r}; choose {' or '.join(map(repr, TASKS))}.")


def task_in_layers(kind: str, names: Sequence[str]) -> Task:
    """Return the task of a kind that has labels of each class; ConfigError if it has not."""
    task = task_of(kind)
    if not task.in_layers:
        raise ConfigError(
            f"Labels by class ({', '.join(names)}) are of overlapping classes, but kind is "
            f"{kind!r}; choose {OVERLAPPING_CLASSES.kind!r}, or {OBJECT_CLASSES.kind!r} where they "
            "are objects, or give one label image per image."
        )
    return task


def task_of_layer(layer_kind: str) -> Task:
    """Return the task whose classes are in layers of a kind, as they are painted and found."""
    found = (task for task in TASKS.values() if task.in_layers and task.layer_kind == layer_kind)
    return next(found)


@dataclass(frozen=True)
class ClassTable:
    """How painted values, network classes and result values correspond."""

    kind: Kind
    """Whether values above the background are single objects, or classes."""
    unpainted: Unpainted
    """What the value 0 means."""
    painted: tuple[int, ...] = ()
    """With classes: the painted value of each network class, ascending. Empty with objects."""
    target_range: tuple[float, float] = (0.0, 1.0)
    """With images: which values stand for the network's 0 and 1, where the image that it sees goes
    from 0 to 1."""
    names: tuple[str, ...] = ()
    """Of classes that are in layers, in the order of the network's; empty with others."""

    finer: int = 1
    """With images: pixels of what is made per pixel of the image, along Y and X."""

    def __post_init__(self) -> None:
        """Refuse tables that no labels could have made."""
        task_of(self.kind)
        if self.unpainted not in BACKGROUND_VALUE:
            raise ConfigError(
                f"unpainted is {self.unpainted!r}; choose 'unlabelled' or 'background'."
            )
        if list(self.painted) != sorted(set(self.painted)):
            raise ConfigError(f"Class values {self.painted} are not ascending.")
        low, high = self.target_range
        if not -math.inf < low < high < math.inf:
            raise ConfigError(f"target_range is {self.target_range}; give two ascending numbers.")
        if self.finer not in FINER or (self.finer > 1 and self.task.paints):
            raise ConfigError(f"finer is {self.finer}; images can be made 2, 3 or 4 times as fine.")
        if self.task.in_layers and not self.names:
            names = tuple(f"class {number}" for number in range(1, len(self.painted) + 1))
            object.__setattr__(self, "names", names)
        if self.task.in_layers:
            check_class_names(self.names)
        if len(self.names) != (len(self.painted) if self.task.in_layers else 0):
            raise ConfigError(
                f"{len(self.painted)} {self.task.things} cannot be called {self.names}."
            )

    @property
    def task(self) -> Task:
        """What the network is trained for."""
        return task_of(self.kind)

    @property
    def n_classes(self) -> int:
        """Number of network classes; with objects: background and foreground."""
        return self.task.n_classes(self.painted)

    @property
    def results(self) -> tuple[int, ...]:
        """Value of each network class in a result: background is 0, others as painted."""
        return self.task.results(self)

    @property
    def judged_singly(self) -> bool:
        """Whether each painted thing is judged; masks have enough to hold some back."""
        return self.task.judged_singly and self.unpainted == "unlabelled"

    @property
    def may_hold_membrane(self) -> bool:
        """Whether one of the classes may be the membrane between cells."""
        return self.task.membranes and self.n_classes == 2

    def decide(
        self, probabilities: NDArray[np.float32], threshold: float = DEFAULT_THRESHOLD
    ) -> NDArray[np.intp]:
        """Decide which network class, 0 to `n_classes` - 1, each pixel is of.

        Of overlapping classes the sum of the `results` of all that it is of. Probabilities are of
        each class: C, then any sizes. The threshold is the probability above which a pixel is of an
        object, of the second of two classes, or of each overlapping one; of more classes the most
        probable one wins.
        """
        return self.task.decide(probabilities, self, threshold)

    def takes_most_probable(self, threshold: float) -> bool:
        """Return whether each pixel is simply of its most probable class."""
        by_default = not self.task.by_threshold and threshold == DEFAULT_THRESHOLD
        return self.n_classes > 2 or by_default


def class_table(
    labels: Iterable[NDArray[Any]],
    kind: Kind,
    unpainted: Unpainted,
    known: Iterable[int] = (),
    names: Sequence[str] = (),
) -> ClassTable:
    """Collect the classes that are painted anywhere in `labels`, two or more.

    Labels are of any shape and integer dtype, ids may be sparse and large; `known` are classes that
    a previous training knows, painted in these labels or not. See the table of
    `napari_unet.data.labels`. Classes in layers, whose labels `Task.packed` puts together, have
    names.

    Raises NothingToLearnError if, with classes, fewer than two are painted.
    """
    task = task_of(kind)
    painted = (
        task_in_layers(kind, names).values_of(len(names))
        if names
        else task.painted(labels, unpainted, known)
    )
    if task.in_layers and not painted:
        raise NothingToLearnError("Nothing is painted yet: paint each class in labels of its own.")
    table = ClassTable(kind, unpainted, painted, names=tuple(names))
    if table.n_classes < task.fewest_classes:
        raise _single_class_error(unpainted, table.n_classes)
    return table


def target_of(
    labels: NDArray[Any], table: ClassTable, sliver: float = 0.0, anisotropy: float = 1.0
) -> Target:
    """Turn painted labels into a training target, as `object_target` or `class_target` does.

    Labels are ``[Z]YX`` of any integer dtype. Up to `sliver` pixels between two objects, unpainted
    pixels are a sliver; 0: none are. The anisotropy is how many times as long along Z as wide a
    voxel is.
    """
    return table.task.target(table.task.check(labels), table, sliver, anisotropy)


def count_answers(classes: NDArray[np.int16], table: ClassTable) -> NDArray[np.int64]:
    """Count the pixels of a target that give each answer there is."""
    counts = pixels_per_number(classes - UNLABELLED)[1:]
    numbers = np.arange(len(counts), dtype=np.int16)
    answers = table.task.answers(table)
    return np.array([counts[given(numbers)].sum() for given in answers], np.int64)


def check_classes_painted(targets: Iterable[Target], table: ClassTable) -> None:
    """Refuse targets in which fewer than two classes are painted.

    Raises NothingToLearnError if nothing is painted, or a single class.
    """
    present: set[int] = set()
    for target in targets:
        counts = pixels_per_number(table.task.painted_classes(target, table) - UNLABELLED)
        present.update(np.flatnonzero(counts[1:]).tolist())
    if missing := table.task.missing(present, table):
        raise NothingToLearnError(missing)
    if len(present) < table.task.fewest_classes:
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
        "2 and up are objects or classes. In finished masks unpainted pixels are background "
        "(--unpainted background)."
    )
