"""Overlapping classes: each is painted in labels of its own, and a pixel may be of several.

What is painted for one pixel, and what is found there, is one number, so that all that knows labels
knows these too. Paint is a number to the base of 3 with a digit for each class (0 unlabelled,
1 background, 2 of the class); a result has a bit for each.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.data.labels import BACKGROUND_VALUE, UNLABELLED, Target, check_labels
from napari_unet.errors import ConfigError, LabelsError
from napari_unet.tasks.classes import Classes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from napari_unet.data.labels import IntArray, Unpainted
    from napari_unet.tasks.base import Answer, Counts, Decision
    from napari_unet.tasks.table import ClassTable

# So many digits fit into the int16 of a target, and bits into the byte of a result.
MOST_CLASSES = 8
_BASE, _NO, _YES = 3, 1, 2


class OverlappingClasses(Classes):
    """A channel of the network for each class; each answers for itself whether a pixel is of it."""

    def painted(
        self, labels: Iterable[NDArray[Any]], unpainted: Unpainted, known: Iterable[int]
    ) -> tuple[int, ...]:
        largest = max((int(np.max(check_labels(each), initial=0)) for each in labels), default=0)
        places = [number for number in range(MOST_CLASSES) if _BASE**number <= largest]
        return tuple(sorted({*known, *painted_values(len(places))}))

    def values_of(self, n_names: int) -> tuple[int, ...]:
        return painted_values(n_names)

    def packed(self, layers: Mapping[str, NDArray[Any]], unpainted: Unpainted) -> IntArray:
        return packed_paint(layers, unpainted)

    def unpacked(self, values: NDArray[Any], n_classes: int) -> NDArray[Any]:
        return unpacked_result(values, n_classes)

    def target(
        self, labels: IntArray, table: ClassTable, sliver: float, anisotropy: float
    ) -> Target:
        classes = np.where(labels > 0, labels, UNLABELLED).astype(np.int16)
        return Target(classes, np.zeros(labels.shape, np.int32))

    def answers(self, table: ClassTable) -> list[Answer]:
        return [
            partial(_says, number=number, digit=digit)
            for number in range(table.n_classes)
            for digit in (_NO, _YES)
        ]

    def questions(self, table: ClassTable) -> int:
        return table.n_classes

    def missing(self, present: set[int], table: ClassTable) -> str:
        """Return which class lacks paint, or is painted without anything that is not of it."""
        codes = np.array(sorted(present), np.int16)
        for number, name in enumerate(table.names):
            found = set(digits_of(codes, number).tolist())
            if _YES not in found:
                return (
                    f"No pixel is painted as {name!r}; paint some of it in its own labels, or "
                    "leave this class out."
                )
            if _NO not in found:
                return (
                    f"All that is painted for {name!r} is of this class; paint background too (1) "
                    "in the same labels: what is not of it."
                )
        return ""

    def loss(
        self, scores: Tensor, classes: Tensor, weights: Tensor, balance: Sequence[float] = ()
    ) -> Tensor:
        from napari_unet.tasks.losses import binary_cross_entropy

        return binary_cross_entropy(scores, classes, weights, balance)

    def weights(
        self, classes: NDArray[np.int16], balance: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Weigh all pixels alike: the loss weighs the answers of each class."""
        return np.ones(classes.shape, np.float32)

    def counts(
        self, table: ClassTable, decision: Decision, dense: bool, membrane: int | None
    ) -> Counts:
        from napari_unet.tasks.validation import OverlappingFound

        return OverlappingFound(table.n_classes)

    def results(self, table: ClassTable) -> tuple[int, ...]:
        """Return a bit for each class; a pixel of several holds their sum."""
        return tuple(1 << number for number in range(table.n_classes))

    def decide(
        self, probabilities: NDArray[np.float32], table: ClassTable, threshold: float
    ) -> NDArray[np.intp]:
        found = np.zeros(probabilities.shape[1:], np.intp)
        for bit, of_class in zip(table.results, probabilities, strict=True):
            found |= np.where(of_class > threshold, bit, 0)
        return found

    def of_pixels(
        self, probabilities: NDArray[np.float32], table: ClassTable, threshold: float
    ) -> IntArray:
        return self.decide(probabilities, table, threshold).astype(np.uint8)

    def uncertainty(self, probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return that of the class of which the network is least sure."""
        of_each = [
            super(OverlappingClasses, self).uncertainty(np.stack([1 - p, p])) for p in probabilities
        ]
        largest: NDArray[np.float32] = np.max(of_each, axis=0)
        return largest

    def channel_names(self, table: ClassTable) -> tuple[str, ...]:
        return table.names

    def recipe(self, table: ClassTable, decision: Decision) -> str:
        return (
            f"Overlapping classes ({', '.join(table.names)}): a pixel is of each class whose "
            f"channel is above {decision.threshold:.3f}, of several at once or of none."
        )

    def recipe_in_python(self, table: ClassTable, decision: Decision) -> str:
        return 'masks = probabilities > facts["threshold"]'


# --- Labels of several classes in one number per pixel -------------------------------------------


def painted_values(n_classes: int) -> tuple[int, ...]:
    """Return the number of a pixel that is painted as one of so many classes, for each of them."""
    return tuple(_YES * _BASE**number for number in range(n_classes))


def digits_of(packed: NDArray[Any], number: int) -> NDArray[Any]:
    """Return what is painted for one class: 0 unlabelled, 1 background, 2 of it; -1 is 0.

    Examples
    --------
    >>> digits_of(np.array([-1, 0, 1, 2, 3, 8]), 0).tolist()
    [0, 0, 1, 2, 0, 2]
    """
    digits: NDArray[Any] = packed.clip(min=0) // _BASE**number % _BASE
    return digits


def _says(classes: NDArray[np.int16], number: int, digit: int) -> NDArray[np.bool_]:
    said: NDArray[np.bool_] = digits_of(classes, number) == digit
    return said


def packed_paint(layers: Mapping[str, NDArray[Any]], unpainted: Unpainted) -> NDArray[np.uint16]:
    """Put the labels of each class together, in the order of the classes.

    Labels are of one shape and of any integer dtype; every number above the background is the
    class. Where 0 is background nothing is unlabelled.

    Raises LabelsError if shapes differ, and ConfigError for names that cannot be told apart.

    Examples
    --------
    >>> packed_paint({"nucleus": np.array([0, 1, 2]), "cell": np.array([0, 2, 7])}, "unlabelled")
    array([0, 7, 8], dtype=uint16)
    """
    packed = np.zeros(check_layers(layers), np.uint16)
    lowest = BACKGROUND_VALUE[unpainted]
    for number, labels in enumerate(layers.values()):
        labels = check_labels(labels)
        digits = np.where(labels > lowest, np.uint16(_YES), np.uint16(_NO))
        if unpainted == "unlabelled":
            digits[labels == 0] = 0
        packed += digits * np.uint16(_BASE**number)
    return packed


def unpacked_result(labels: NDArray[Any], n_classes: int) -> NDArray[np.uint8]:
    """Return what a result holds of each class, in a first axis: 1 where a pixel is of it.

    Examples
    --------
    >>> unpacked_result(np.array([0, 1, 2, 3], np.uint8), 2).tolist()
    [[0, 1, 0, 1], [0, 0, 1, 1]]
    """
    return np.stack([labels >> number & 1 for number in range(n_classes)]).astype(np.uint8)


def check_layers(layers: Mapping[str, NDArray[Any]]) -> tuple[int, ...]:
    """Return the one shape of the labels of all classes.

    Raises LabelsError if shapes differ, and ConfigError for names that cannot be told apart.
    """
    check_class_names(tuple(layers))
    first_name, first = next(iter(layers.items()))
    for name, labels in layers.items():
        if np.shape(labels) != np.shape(first):
            raise LabelsError(
                f"The labels of {name!r} have the shape {np.shape(labels)}, those of "
                f"{first_name!r} {np.shape(first)}: all classes of an image need labels of its "
                "shape."
            )
    return tuple(np.shape(first))


def check_class_names(names: Sequence[str]) -> None:
    """Refuse names of classes that cannot be told apart, and too many classes.

    Raises ConfigError.
    """
    if not 1 <= len(names) <= MOST_CLASSES:
        raise ConfigError(f"There are {len(names)} classes by name; give 1 to {MOST_CLASSES}.")
    for name in names:
        if not name.strip() or any(
            letter in "/\\=:" or not letter.isprintable() for letter in name
        ):
            raise ConfigError(
                f"{name!r} is no name of a class; use letters, digits, spaces and hyphens."
            )
    if len({name.casefold() for name in names}) < len(names):
        raise ConfigError(f"Two classes have one name: {', '.join(names)}. Rename one of them.")


OVERLAPPING_CLASSES = OverlappingClasses(
    kind="overlapping",
    thing="class",
    things="overlapping classes",
    named=True,
    activation="sigmoid",
    result="overlapping",
    fewest_classes=1,
    loss_settings=("balance",),
    in_layers=True,
)
