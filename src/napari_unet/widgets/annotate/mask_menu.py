"""Take an existing mask or prediction as an annotation: the menu, and the layer that is made."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Image, Labels
from qtpy.QtWidgets import QMenu, QWidget

from napari_unet.data.labels import annotation_from_mask
from napari_unet.widgets.common.annotation import annotation_of, image_for
from napari_unet.widgets.common.layers import (
    METADATA_KEY,
    labels_of,
    pixels_of,
    placement_from_labels,
    plain_layers,
)
from napari_unet.widgets.common.placement import placement_along

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.viewer import Viewer

    from napari_unet.data.labels import Kind, Unpainted


class MaskMenu(QMenu):
    """Offers the labels layers of a viewer, each with what 0 may mean in it.

    Images that hold labels, as napari opens a mask that is dropped on it, are offered too: what is
    chosen becomes a labels layer. `take` is called with it and what 0 means in it.
    """

    def __init__(
        self,
        viewer: Viewer,
        take: Callable[[Labels, Unpainted], None],
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._viewer, self._take = viewer, take
        self.aboutToShow.connect(self.fill)

    def fill(self) -> None:
        """Read the layers anew."""
        self.clear()
        for layer in plain_layers(self._viewer):
            if isinstance(layer, Labels) or (isinstance(layer, Image) and looks_like_labels(layer)):
                menu = self.addMenu(layer.name)
                assert menu is not None
                as_finished = partial(self._take_layer, layer, "background")
                as_partial = partial(self._take_layer, layer, "unlabelled")
                menu.addAction("0 is background: everything is labelled", as_finished)
                menu.addAction("0 is ignored", as_partial)
        if self.isEmpty():
            self.addSection("There is no layer that holds labels yet")

    def _take_layer(self, layer: Image | Labels, zero: Unpainted) -> None:
        self._take(as_labels(self._viewer, layer) if isinstance(layer, Image) else layer, zero)


_ROWS = 64  # of an image that are looked at
_ALIKE = 0.8  # share of neighbours within objects that are equal; in pictures far less are


def looks_like_labels(image: Image) -> bool:
    """Return whether the pixels of an image are labels: whole numbers, in patches of one value."""
    pixels = pixels_of(image)
    if image.rgb or METADATA_KEY in image.metadata or np.dtype(pixels.dtype).kind not in "biu":
        return False
    lead, height = pixels.shape[:-2], pixels.shape[-2]
    rows = slice(None, None, max(1, height // _ROWS))
    plane = np.asarray(pixels[(*(size // 2 for size in lead), rows, slice(None))])
    before, after = plane[:, :-1], plane[:, 1:]
    inside = (before > 0) & (after > 0)
    return bool(inside.any()) and float(np.mean(before[inside] == after[inside])) >= _ALIKE


def as_labels(viewer: Viewer, image: Image) -> Labels:
    """Put a labels layer in the place of an image that holds labels."""
    pixels = np.asarray(pixels_of(image))
    labels = Labels(
        pixels.astype(np.uint8) if pixels.dtype == bool else pixels,
        name=image.name,
        **placement_along(image, range(image.ndim)),
    )
    place = plain_layers(viewer).index(image)
    viewer.layers.remove(image)
    viewer.layers.insert(place, labels)
    return labels


def add_annotation_from(viewer: Viewer, mask: Labels, zero: Unpainted, kind: Kind) -> Labels:
    """Add an annotation with what an existing mask holds; the mask stays as it is.

    `zero` is what 0 means in the mask. LabelsError if it cannot be an annotation: the text says
    why.
    """
    labels = annotation_from_mask(np.asarray(labels_of(mask)), zero)
    layer = Labels(labels, name=f"{mask.name} as annotation", **placement_from_labels(mask))
    annotation_of(layer).kind = kind
    viewer.add_layer(layer)
    image = image_for(viewer, layer)
    if image is not None:
        annotation_of(layer).image = image
    return layer
