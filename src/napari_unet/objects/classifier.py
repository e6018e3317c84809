"""Classes of finished objects, learned from a few examples by a random forest.

What is kept, and stored in files, are the examples alone: the forest grows again from them in a
fraction of a second, the same each time. So a file of someone else holds numbers and names only.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np

from napari_unet.errors import ConfigError
from napari_unet.objects.description import KEYS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from napari_unet.data.labels import IntArray

    Columns = dict[str, NDArray[Any]]

ValueT = TypeVar("ValueT", bound=np.generic)
_TREES = 200
_LARGEST_TABLE = 2**26  # bytes or more: numbers may be sparse and huge
_OF_CHANNELS = "min intensity"  # one column per channel


class Classified(NamedTuple):
    """The classes of objects, one row each."""

    classes: NDArray[np.intp]
    """Positions among the names of the classes."""
    probability: NDArray[np.float64]
    """Of that class: the share of the trees that vote for it."""
    certainty: NDArray[np.float64]
    """How much likelier the class is than the second one: 0 to 1."""


@dataclass(frozen=True, eq=False)
class ObjectClassifier:
    """Tells classes of objects by examples; see `classify_objects`."""

    names: tuple[str, ...]
    """Of the classes."""
    columns: tuple[str, ...]
    """What describes an object."""
    examples: NDArray[np.float64]
    """Rows of described objects, by columns; NaN where something is unknown."""
    classes: NDArray[np.intp]
    """Class of each example: its position in the names."""

    @classmethod
    def of(cls, described: Columns, names: Sequence[str], classes: Any) -> ObjectClassifier:
        """Learn from described objects, whose classes are positions in `names`."""
        columns = tuple(name for name in described if name not in KEYS)
        return cls(tuple(names), columns, _matrix(described, columns), np.asarray(classes, np.intp))

    def with_examples(self, other: ObjectClassifier) -> ObjectClassifier:
        """Return one that has learned from the examples of both; classes go by their names."""
        if len(self.classes) and len(other.classes):
            other.check_columns(self.columns)
        names = tuple(dict.fromkeys((*self.names, *other.names)))
        known = [each for each in (self, other) if len(each.classes)] or [self]
        classes = [names.index(each.names[of]) for each in known for of in each.classes]
        examples = np.concatenate([each.examples for each in known])
        return ObjectClassifier(names, known[0].columns, examples, np.array(classes, np.intp))

    def check_columns(self, columns: Sequence[str]) -> None:
        """Refuse, by ConfigError, objects that are described by other numbers than the examples."""
        if tuple(columns) == self.columns:
            return
        mine, theirs = (sum(_OF_CHANNELS in n for n in each) for each in (self.columns, columns))
        if mine != theirs:
            reason = f"it learned from {_in_words(mine)}, and there are {_in_words(theirs)}"
        else:
            reason = "it describes objects by other numbers: it is of another version"
        raise ConfigError(
            f"The classifier does not fit these objects: {reason}. Give examples on these images."
        )

    def check_examples(self) -> None:
        """Refuse, by ConfigError, examples from which no class can be told from another."""
        given = [self.names[each] for each in np.unique(self.classes)]
        if len(given) < 2:
            what = f"all examples are of class {given[0]!r}" if given else "there are no examples"
            raise ConfigError(f"Nothing can be classified: {what}. Give examples of two classes.")

    def classify(self, described: Columns) -> Classified:
        """Return the class of each described object.

        Raises ConfigError where the examples are of fewer than two classes, or of images with
        another number of channels.
        """
        self.check_examples()
        columns = tuple(name for name in described if name not in KEYS)
        self.check_columns(columns)
        if not len(described["index"]):
            return Classified(np.zeros(0, np.intp), np.zeros(0), np.zeros(0))
        forest, usual = self._forest
        rows = _matrix(described, columns)
        chances = forest.predict_proba(np.where(np.isfinite(rows), rows, usual))
        two = np.sort(chances, axis=1)[:, -2:]
        classes = forest.classes_[chances.argmax(axis=1)]
        return Classified(classes, two[:, 1], two[:, 1] - two[:, 0])

    @cached_property
    def _forest(self) -> tuple[Any, NDArray[np.float64]]:
        """The forest, and what stands for numbers that an object lacks."""
        from sklearn.ensemble import RandomForestClassifier  # on use: it takes a second to import

        known = np.isfinite(self.examples)
        usual = np.zeros(self.examples.shape[1])
        for column in np.flatnonzero(known.any(axis=0)):
            usual[column] = np.median(self.examples[known[:, column], column])
        forest = RandomForestClassifier(_TREES, class_weight="balanced", random_state=0, n_jobs=1)
        forest.fit(np.where(known, self.examples, usual), self.classes)
        return forest, usual


def class_image(
    labels: IntArray, columns: Columns, values: NDArray[ValueT], spatial_ndim: int
) -> NDArray[ValueT]:
    """Return for each pixel the value of its object, 0 where there is none.

    `values` belong to rows by the columns "index" and, where there are frames, "frame".
    """
    made = np.zeros(labels.shape, values.dtype)
    frames = columns.get("frame", np.zeros(len(values), int))
    for flat, frame in enumerate(np.ndindex(labels.shape[: labels.ndim - spatial_ndim])):
        here, plane = frames == flat, labels[frame]
        numbers = columns["index"][here]
        if len(numbers) and numbers[-1] < _LARGEST_TABLE:
            table = np.zeros(int(numbers[-1]) + 1, values.dtype)
            table[numbers] = values[here]
            made[frame] = table[plane]
        elif len(numbers):
            inside = plane > 0
            made[frame][inside] = values[here][np.searchsorted(numbers, plane[inside])]
    return made


def class_columns(names: Sequence[str], found: Classified, given: Mapping[int, str]) -> Columns:
    """Return what is known of the classes of all objects as columns of a table.

    `given` are the classes of examples, by row.
    """
    classes = [given.get(row, names[each]) for row, each in enumerate(found.classes.tolist())]
    return {
        "class": np.array(classes, object),
        "probability": np.round(found.probability, 3),
        "certainty": np.round(found.certainty, 3),
        "example": np.array([given.get(row, "") for row in range(len(classes))], object),
    }


def _matrix(described: Mapping[str, NDArray[Any]], columns: Sequence[str]) -> NDArray[np.float64]:
    rows = np.stack([np.asarray(described[name], np.float64) for name in columns], axis=1)
    # Trees compare in 32 bits.
    return np.where(np.abs(rows) < np.finfo(np.float32).max, rows, np.nan)


def _in_words(channels: int) -> str:
    return f"{channels} channel{'' if channels == 1 else 's'}" if channels else "labels alone"
