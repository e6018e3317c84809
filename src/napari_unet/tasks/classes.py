"""Classes: every painted number is one class, and each pixel is of one of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.data.labels import BACKGROUND_VALUE, check_labels, class_target, values_in
from napari_unet.tasks.base import Task

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from napari_unet.data.labels import IntArray, Target, Unpainted
    from napari_unet.objects.corrections import Edit
    from napari_unet.tasks.base import Counts, Decision
    from napari_unet.tasks.table import ClassTable


class Classes(Task):
    """A channel of the network for each painted number, the background's among them."""

    def painted(
        self, labels: Iterable[NDArray[Any]], unpainted: Unpainted, known: Iterable[int]
    ) -> tuple[int, ...]:
        values = set(known)
        for image_labels in labels:
            values |= values_in(check_labels(image_labels))
        if unpainted == "unlabelled":
            values.discard(0)
        return tuple(sorted(values))

    def n_classes(self, painted: Sequence[int]) -> int:
        return len(painted)

    def target(
        self, labels: IntArray, table: ClassTable, sliver: float, anisotropy: float
    ) -> Target:
        return class_target(labels, table.painted)

    def corrections(self, before: IntArray, after: IntArray, annotation: IntArray) -> Edit:
        from napari_unet.objects.corrections import corrected_classes_as_annotation

        return corrected_classes_as_annotation(before, after, annotation)

    def counts(
        self, table: ClassTable, decision: Decision, dense: bool, membrane: int | None
    ) -> Counts:
        from napari_unet.tasks.validation import ClassesFound

        return ClassesFound(table, membrane)

    def results(self, table: ClassTable) -> tuple[int, ...]:
        """Return the values as painted, but 0 for the background."""
        background = BACKGROUND_VALUE[table.unpainted]
        return tuple(0 if value == background else value for value in table.painted)

    def as_result(self, annotation: IntArray) -> NDArray[Any]:
        """Keep classes as they were painted."""
        return np.where(annotation > 1, annotation, 0).astype(annotation.dtype)

    def channel_names(self, table: ClassTable) -> tuple[str, ...]:
        return tuple(f"class {value}" if value else "background" for value in table.results)

    def recipe(self, table: ClassTable, decision: Decision) -> str:
        values = ", ".join(map(str, table.results))
        if table.takes_most_probable(decision.threshold):
            return f"Classes: the channel of the highest probability; label values {values}."
        return (
            "Classes: the second channel where its probability is above "
            f"{decision.threshold:.3f}, else the first; label values {values}."
        )

    def recipe_in_python(self, table: ClassTable, decision: Decision) -> str:
        number = '(probabilities[1] > facts["threshold"]).astype(int)'
        if table.takes_most_probable(decision.threshold):
            number = "probabilities.argmax(axis=0)"
        return f'labels = np.array(facts["label_values"])[{number}]'


CLASSES = Classes(
    kind="classes",
    thing="class",
    things="classes",
    named=True,
    pixel_classifier=True,
    membranes=True,
)
