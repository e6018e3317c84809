"""Fully annotated regions: rectangles of a shapes layer, inside which unpainted is background."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Labels, Shapes

from napari_unet.widgets.common.layers import (
    labels_of,
    placement_from_labels,
    plain_layers,
)

if TYPE_CHECKING:
    from napari.viewer import Viewer

    from napari_unet.data.axes import Region

REGIONS_KEY = "napari-unet-paint regions"


def regions_layer(viewer: Viewer, annotation: Labels) -> Shapes | None:
    """Find the shapes layer that holds the fully annotated regions of an annotation."""
    for layer in plain_layers(viewer):
        if isinstance(layer, Shapes) and layer.metadata.get(REGIONS_KEY) == annotation.unique_id:
            return layer
    return None


def new_regions_layer(viewer: Viewer, annotation: Labels) -> Shapes:
    """Add a shapes layer in which rectangles can be drawn over an annotation."""
    layer = Shapes(
        ndim=annotation.ndim,
        name=f"{annotation.name}: fully annotated",
        metadata={REGIONS_KEY: annotation.unique_id},
        **placement_from_labels(annotation),  # rectangles lie along the pixels of a turned image
        edge_color="#F0E442",
        face_color="transparent",
        edge_width=2,
    )
    viewer.add_layer(layer)
    return layer


def regions_of(viewer: Viewer, annotation: Labels) -> tuple[Region, ...]:
    """Return the boxes of an annotation that are fully annotated, in its pixels."""
    layer = regions_layer(viewer, annotation)
    if layer is None:
        return ()
    shape = tuple(labels_of(annotation).shape)
    boxes = []
    for corners in layer.data:
        world = np.array([layer.data_to_world(corner) for corner in np.asarray(corners)])
        pixels = np.array([annotation.world_to_data(corner) for corner in world])
        box = _box(pixels, shape)
        if all(part.start < part.stop for part in box):
            boxes.append(box)
    return tuple(boxes)


def _box(corners: np.ndarray, shape: tuple[int, ...]) -> Region:
    """Return the pixels whose centres lie between corners; a flat axis keeps its one plane."""
    low, high = corners.min(axis=0), corners.max(axis=0)
    flat = high - low < 1e-6
    start = np.where(flat, np.round(low), np.ceil(low)).astype(int)
    stop = np.where(flat, np.round(low), np.floor(high)).astype(int) + 1
    return tuple(
        slice(max(0, int(a)), min(int(b), size))
        for a, b, size in zip(start, stop, shape, strict=True)
    )
