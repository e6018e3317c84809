"""The classes of a layer's objects in a project: names, colours and examples."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_unet.project.contents import ProjectClasses
from napari_unet.widgets.common.object_classes import (
    OBJECT_CLASSES_KEY,
    Learned,
    ObjectClasses,
    object_classes_in,
)

if TYPE_CHECKING:
    from napari.layers import Image, Labels


def saved_classes(layer: Labels) -> ProjectClasses | None:
    """Return what was said of the classes of a layer's objects; None where that is nothing."""
    state = object_classes_in(layer)
    if state is None or not (state.examples or state.learned):
        return None
    known = state.learned or Learned((), np.zeros((0, 0)), np.zeros(0, np.intp))
    return ProjectClasses(
        names=dict(state.names),
        colours=dict(state.colours),
        examples=tuple(state.examples.items()),
        ndim=state.ndim,
        first=state.first,
        without_image=state.without_image,
        columns=known.columns,
        rows=tuple(
            tuple(each if np.isfinite(each) else None for each in row)
            for row in known.rows.tolist()
        ),
        values=tuple(known.values.tolist()),
    )


def open_classes(layer: Labels, saved: ProjectClasses | None, image: Image | None) -> None:
    """Give a layer what was saved; all objects get classes when the dock is open."""
    if saved is None or not saved.names:
        return
    state = ObjectClasses(
        names=dict(saved.names),
        colours=dict(saved.colours),
        examples=dict(saved.examples),
        ndim=saved.ndim,
        first=saved.first,
        without_image=saved.without_image,
    )
    if saved.rows:
        rows = np.array(saved.rows, np.float64)
        state.learned = Learned(saved.columns, rows, np.array(saved.values, np.intp))
    if image is not None:
        state.image = image
    layer.metadata[OBJECT_CLASSES_KEY] = state
