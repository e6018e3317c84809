"""What the table of classes says about an annotation, row by row."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_unet.widgets.annotation import BACKGROUND_VALUE, FIRST_VALUE
from napari_unet.widgets.class_table import ClassRow

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari_unet.widgets.annotation import Annotation
    from napari_unet.widgets.coverage import Coverage


def rows_of_objects(annotation: Annotation, coverage: Coverage) -> tuple[ClassRow, ...]:
    """Return the rows where numbers are objects: the background, and all objects in one."""
    background = ClassRow(
        BACKGROUND_VALUE,
        annotation.name_of(BACKGROUND_VALUE),
        annotation.colour_of(BACKGROUND_VALUE),
        coverage.pixels_of(BACKGROUND_VALUE),
        0,
    )
    name = annotation.names.get(FIRST_VALUE, "objects")
    numbers = coverage.objects
    objects = ClassRow(FIRST_VALUE, name, "", coverage.pixels_of(*numbers), len(numbers))
    return background, objects


def rows_of_classes(
    annotation: Annotation, coverage: Coverage, values: Iterable[int]
) -> tuple[ClassRow, ...]:
    """Return the rows where numbers are classes: one for each.

    Parameters
    ----------
    annotation : Annotation
        Knows names and colours.
    coverage : Coverage
        What is painted.
    values : iterable of int
        The numbers of the classes, background included, in the order of the rows.
    """
    return tuple(
        ClassRow(
            value,
            annotation.name_of(value),
            annotation.colour_of(value),
            coverage.pixels_of(value),
            coverage.components.get(value, 0),
        )
        for value in values
    )
