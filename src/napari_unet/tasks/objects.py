"""Objects: every painted number is one cell, and touching cells are to be separated."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.data.labels import object_target
from napari_unet.tasks.base import OUTLINES, Task

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from napari_unet.data.labels import IntArray, Target, Unpainted
    from napari_unet.objects.corrections import Edit
    from napari_unet.tasks.base import Counts, Decision
    from napari_unet.tasks.table import ClassTable

_ENOUGH_PAINTED = 3


class Objects(Task):
    """Background and foreground for the network; the foreground is divided into objects."""

    def n_classes(self, painted: Sequence[int]) -> int:
        return 2

    def target(
        self, labels: IntArray, table: ClassTable, sliver: float, anisotropy: float
    ) -> Target:
        return object_target(labels, table.unpainted, sliver, anisotropy)

    def painted_classes(self, target: Target, table: ClassTable) -> NDArray[np.int16]:
        if table.unpainted == "background":
            return target.classes
        # The ridge between touching objects is background, but was not painted.
        painted: NDArray[np.int16] = target.classes[(target.classes != 0) | (target.objects == 0)]
        return painted

    def diameter(self, labels: Iterable[NDArray[Any]], unpainted: Unpainted) -> float:
        from napari_unet.data.binning import typical_diameter

        return typical_diameter(labels, unpainted)

    def corrections(self, before: IntArray, after: IntArray, annotation: IntArray) -> Edit:
        from napari_unet.objects.corrections import corrections_as_annotation

        return corrections_as_annotation(before, after, annotation)

    def counts(
        self, table: ClassTable, decision: Decision, dense: bool, membrane: int | None
    ) -> Counts:
        from napari_unet.tasks.validation import ObjectsFound

        return ObjectsFound(table, decision, dense)

    def results(self, table: ClassTable) -> tuple[int, ...]:
        return (0, 1)

    def decode(
        self, probabilities: NDArray[np.float32], table: ClassTable, decision: Decision
    ) -> IntArray:
        from napari_unet.objects.separation import separate_objects, without_unsure

        foreground, (threshold, limits, typical, binning) = probabilities[1], decision
        smallest, part = limits.smallest, limits.doubtful
        found = separate_objects(foreground, smallest, threshold, binning, typical, part)
        return without_unsure(found, foreground, threshold, limits)

    def as_result(self, annotation: IntArray) -> NDArray[Any]:
        """Give objects numbers that are one lower."""
        above = annotation > 1
        return np.where(above, annotation - above, 0).astype(annotation.dtype)

    def keep_corrections(
        self, new: IntArray, before: IntArray, after: IntArray, unused: int
    ) -> tuple[IntArray, NDArray[np.bool_]]:
        """Keep corrected objects whole, and deleted ones away."""
        from napari_unet.objects.corrections import keep_corrected_objects

        return keep_corrected_objects(new, before, after, unused)

    def keep_painted(self, found: IntArray, painted: IntArray, smallest: int) -> IntArray:
        """Show painted cells and background as they were painted."""
        from napari_unet.objects.painted import keep_painted

        return keep_painted(found, painted, smallest)[0]

    def wish(self, n_painted: int) -> str:
        if n_painted < _ENOUGH_PAINTED:
            return "A few more objects, some of them touching, would help."
        return ""

    def channel_names(self, table: ClassTable) -> tuple[str, ...]:
        return ("background", "foreground")

    def recipe(self, table: ClassTable, decision: Decision) -> str:
        return (
            f"Objects: pixels whose foreground is above {decision.threshold:.3f}. Telling touching "
            "objects apart is not part of the model: label connected parts (4-connected in 2D, "
            "6-connected in 3D), or use a watershed on the foreground. Objects below "
            f"{decision.limits.smallest} pixels are too small to count."
        )

    def recipe_in_python(self, table: ClassTable, decision: Decision) -> str:
        return 'foreground = probabilities[1] > facts["threshold"]'


OBJECTS = Objects(
    kind="objects",
    thing="object",
    things="objects",
    border_weighted=True,
    judged_singly=True,
    starting_model_teaches=True,
    by_threshold=True,
    result="objects",
    look=OUTLINES,
)
