"""The classes of a layer's objects: what the user has said of some, and what was found of all."""

from __future__ import annotations

import string
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.objects.classifier import ObjectClassifier
from napari_unet.widgets.common.annotation import PALETTE
from napari_unet.widgets.common.layers import OfImage

if TYPE_CHECKING:
    from napari.layers import Labels
    from numpy.typing import NDArray

    from napari_unet.widgets.common.object_table import Described, Found

    Columns = dict[str, NDArray[Any]]
    Place = tuple[int, ...]
    Key = tuple[int, int]

OBJECT_CLASSES_KEY = "napari-unet-paint classes of objects"
MOST_CLASSES = 255
_MOST_UNDONE = 200
KEYS = ("index", "frame")
ABOUT_CLASSES = ("class", "probability", "certainty", "example")


@dataclass(frozen=True, eq=False)
class Learned:
    """Examples that came from elsewhere, as a classifier in a file holds them."""

    columns: tuple[str, ...]
    rows: NDArray[np.float64]
    values: NDArray[np.intp]
    """The class of each row, by its number."""


@dataclass
class ObjectClasses(OfImage):
    """What is known of the classes of one layer's objects; kept in the layer's metadata.

    Examples are pixels, not numbers of objects: they stay where they are when objects are
    corrected, or found anew with other numbers.
    """

    names: dict[int, str] = field(default_factory=lambda: {1: "A", 2: "B"})
    """By number of the class, from 1; so are the colours, as "#0072B2"."""
    colours: dict[int, str] = field(default_factory=dict)
    examples: dict[Place, int] = field(default_factory=dict)
    """Class of the object at a pixel, the last one given last."""
    learned: Learned | None = None
    ndim: int = 0
    """Along how many axes an object extends; 0: as the layer is made."""
    first: int = 1
    """The lowest number of an object: where people paint, 1 is background."""
    without_image: bool = False
    """Whether sizes and shapes alone are to count."""
    described: Described | None = None
    stale: bool = False
    """Whether objects were changed since they were described."""
    found: Found | None = None
    visited: set[Key] = field(default_factory=set)
    """Unsure objects that were shown since all were."""
    earlier: list[tuple[Any, ...]] = field(default_factory=list)
    """What is undone."""

    def colour_of(self, value: int) -> str:
        """Return the colour of a class as ``#rrggbb``."""
        return self.colours.get(value, PALETTE[(value - 1) % len(PALETTE)])

    def copied(self, layer: Labels) -> ObjectClasses:
        """Return the same for a layer that was just copied."""
        made: ObjectClasses = super().copied(layer)
        made.visited = set(self.visited)
        return made

    def remember(self) -> None:
        """Keep classes and examples as they are, to come back to them."""
        self.earlier = [*self.earlier, self._as_it_is][-_MOST_UNDONE:]

    @property
    def _as_it_is(self) -> tuple[Any, ...]:
        return dict(self.names), dict(self.colours), dict(self.examples), self.learned

    def undo(self) -> bool:
        """Go back to what was remembered last and is not as it is now, if there is such."""
        now = self._as_it_is
        while self.earlier:
            before = self.earlier.pop()
            if before != now:
                self.names, self.colours, self.examples, self.learned = before
                return True
        return False

    def add_class(self, name: str = "") -> int:
        """Add a class, and return its number; without a name it gets the next free letter."""
        self.remember()
        value = max(self.names, default=0) + 1
        free = (each for each in string.ascii_uppercase if each not in self.names.values())
        self.names[value] = name or next(free, f"class {value}")
        return value

    def remove_class(self, value: int) -> None:
        """Forget a class with its examples."""
        self.remember()
        self.names = {each: name for each, name in self.names.items() if each != value}
        self.examples = {at: each for at, each in self.examples.items() if each != value}
        if self.learned is not None:
            stays = self.learned.values != value
            known = self.learned
            self.learned = Learned(known.columns, known.rows[stays], known.values[stays])

    def take_in(self, classifier: ObjectClassifier) -> None:
        """Let the examples of a classifier count, in place of those taken in before."""
        self.remember()
        given = set(self.examples.values())
        if not given:
            self.names, self.colours = {}, {}
        numbers = {name: value for value, name in self.names.items()}
        for name in classifier.names:
            if name not in numbers:
                numbers[name] = max(self.names, default=0) + 1
                self.names[numbers[name]] = name
        values = np.array([numbers[name] for name in classifier.names], np.intp)
        self.learned = Learned(classifier.columns, classifier.examples, values[classifier.classes])

    def classifier(self, described: Columns, rows: dict[int, int]) -> ObjectClassifier:
        """Return what learns from all examples; `rows` are the classes of described objects."""
        names, numbers = tuple(self.names.values()), list(self.names)
        some = {name: column[list(rows)] for name, column in described.items()}
        own = ObjectClassifier.of(some, names, [numbers.index(each) for each in rows.values()])
        if self.learned is None or not len(self.learned.values):
            return own
        classes = np.array([numbers.index(each) for each in self.learned.values.tolist()], np.intp)
        known = ObjectClassifier(names, self.learned.columns, self.learned.rows, classes)
        return known.with_examples(own)


def object_classes_in(layer: Any) -> ObjectClasses | None:
    """Return the classes of a layer's objects, where it has some."""
    found = layer.metadata.get(OBJECT_CLASSES_KEY)
    return found if isinstance(found, ObjectClasses) else None


def features_with_classes(table: Any, state: ObjectClasses | None) -> Any:
    """Return a table of objects with what is known of their classes, and no other; a data frame.

    Its columns "index" and, where there are frames, "frame" say which object a row is.
    """
    import pandas as pd

    rows = pd.DataFrame(table)
    rows = rows[[name for name in rows if name not in ABOUT_CLASSES]]
    if state is None or state.found is None:
        return rows
    found = pd.DataFrame(state.found.columns)
    keys = _shared_keys(rows, found)
    return rows.merge(found[[*keys, *ABOUT_CLASSES]].drop_duplicates(keys), on=keys, how="left")


def features_of_found(features: Any, found: Found) -> Any:
    """Return a row for each object that has a class, with what a layer's features say of it."""
    import pandas as pd

    rows = pd.DataFrame({name: found.columns[name] for name in KEYS if name in found.columns})
    if features.empty:
        return rows
    if "index" not in features:  # as napari counts them
        features = features.assign(index=range(len(features)))
    keys = _shared_keys(rows, features)
    return rows.merge(features.drop_duplicates(keys), on=keys, how="left")


def _shared_keys(one: Any, other: Any) -> list[str]:
    return [name for name in KEYS if name in one and name in other]


def classes_to_write(state: ObjectClasses | None, above: int = 0) -> Columns:
    """Return what is known of the classes, and the colour of each; nothing where none are found.

    Numbers are written as so much lower ones.
    """
    if state is None or state.found is None:
        return {}
    columns = dict(state.found.columns)
    colours = {name: state.colour_of(value) for value, name in state.names.items()}
    columns["index"] = columns["index"] - above
    columns["colour"] = np.array([colours.get(n, "") for n in columns["class"].tolist()], object)
    return columns
