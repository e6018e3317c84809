"""Give an object that is painted another class: it goes to the layer of that class."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_unet.widgets.common.annotation import (
    BACKGROUND_VALUE,
    UNLABELLED_VALUE,
    annotation_of,
    annotations_in,
    class_of_layer,
    image_for,
    next_object,
)
from napari_unet.widgets.common.layers import labels_of, write_pixels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.layers import Labels
    from napari.viewer import Viewer

_NOTHING = "Point at a painted object to give it the next class (C)."


def change_class(viewer: Viewer, annotation: Labels) -> str:
    """Move the object under the mouse to the layer of the next class; return in words what came.

    After the last class comes the first. Each layer takes its part back by its own undo.
    """
    layers = layers_of_classes(viewer, annotation)
    found = _object_at(layers, viewer.cursor.position)
    if found is None:
        return _NOTHING
    number, value = found
    source, target = layers[number], layers[(number + 1) % len(layers)]
    if source is target:
        return "There is one class alone: New annotation makes the layer of the next."
    at = np.nonzero(np.asarray(labels_of(source)) == value)
    write_pixels(target, at, next_object(labels_of(target)))
    write_pixels(source, at, UNLABELLED_VALUE)
    return f"Object {value} is {class_of_layer(target)} now; C again gives it the next class."


def layers_of_classes(viewer: Viewer, annotation: Labels) -> list[Labels]:
    """List where the objects of each class are painted, of the image of an annotation."""
    kind, image = annotation_of(annotation).kind, image_for(viewer, annotation)
    return [
        each
        for each in annotations_in(viewer)
        if annotation_of(each).kind == kind and image_for(viewer, each) is image
    ]


def _object_at(layers: Sequence[Labels], position: Sequence[float]) -> tuple[int, int] | None:
    """Return in which layer an object lies at a place of the world, and its number."""
    for number, layer in enumerate(layers):
        at = np.round(layer.world_to_data(position)).astype(int)
        labels = labels_of(layer)
        if np.all(at >= 0) and np.all(at < labels.shape):
            value = int(labels[tuple(at)])
            if value > BACKGROUND_VALUE:
                return number, value
    return None
