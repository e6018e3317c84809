"""Take an existing mask or prediction as an annotation: the menu, and the layer that is made."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Labels
from qtpy.QtWidgets import QMenu, QWidget

from napari_unet.data.labels import annotation_from_mask
from napari_unet.widgets.common.annotation import annotation_of, image_for
from napari_unet.widgets.common.layers import labels_of, placement_from_labels, plain_layers

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.viewer import Viewer

    from napari_unet.data.labels import Kind, Unpainted


class MaskMenu(QMenu):
    """Offers the labels layers of a viewer, each with what 0 may mean in it.

    `take` is called with the chosen layer and what 0 means in it.
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
            if isinstance(layer, Labels):
                menu = self.addMenu(layer.name)
                assert menu is not None
                as_finished = partial(self._take, layer, "background")
                as_partial = partial(self._take, layer, "unlabelled")
                menu.addAction("0 is background: everything is labelled", as_finished)
                menu.addAction("0 is not labelled yet", as_partial)
        if self.isEmpty():
            self.addSection("There is no labels layer yet")


def add_annotation_from(viewer: Viewer, mask: Labels, zero: Unpainted, kind: Kind) -> Labels:
    """Add an annotation with what an existing mask holds; the mask stays as it is.

    Parameters
    ----------
    zero : {"unlabelled", "background"}
        What 0 means in the mask.
    kind : {"objects", "classes"}
        What a painted number stands for.

    Raises
    ------
    LabelsError
        The mask cannot be an annotation: the text says why.
    """
    labels = annotation_from_mask(np.asarray(labels_of(mask)), zero)
    layer = Labels(labels, name=f"{mask.name} as annotation", **placement_from_labels(mask))
    annotation_of(layer).kind = kind
    viewer.add_layer(layer)
    image = image_for(viewer, layer)
    if image is not None:
        annotation_of(layer).image = image
    return layer
