"""Mark cells on screen, for a moment or until it is taken back, without changing a layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels
from napari.utils.color import ColorValue
from napari.utils.colormaps import CyclicLabelColormap
from qtpy.QtCore import QObject, QTimer

from napari_unet.widgets.common.layers import METADATA_KEY, placement_from_labels, plain_layers
from napari_unet.widgets.common.placement import moved_to

if TYPE_CHECKING:
    from napari.viewer import Viewer
    from numpy.typing import NDArray

_FLASH_MS = 450
_KEPT_MS = 10_000
_LARGEST = 2**26  # pixels of a box that is marked


class Highlight(QObject):
    """A layer above all others that is filled where something is marked."""

    def __init__(self, viewer: Viewer, name: str, colour: str, parent: QObject) -> None:
        super().__init__(parent)
        self._viewer, self._name, self._colour = viewer, name, ColorValue(colour)
        self._layer: Labels | None = None
        self._placement = ""
        self._fading, self._leaving = QTimer(self), QTimer(self)
        for timer, after, slot in (
            (self._fading, _FLASH_MS, self._fade),
            (self._leaving, _KEPT_MS, self.hide),
        ):
            timer.setSingleShot(True)
            timer.setInterval(after)
            timer.timeout.connect(slot)

    def show(self, layer: Labels, at: tuple[NDArray[np.intp], ...]) -> None:
        """Mark pixels of a labels layer, given as one array per axis."""
        if not at[0].size:
            self.hide()
            return
        start = tuple(int(each.min()) for each in at)
        shape = tuple(int(each.max()) + 1 - first for each, first in zip(at, start, strict=True))
        if np.prod(shape) > _LARGEST:
            self.hide()
            return
        mask = np.zeros(shape, np.uint8)
        mask[tuple(each - first for each, first in zip(at, start, strict=True))] = 1
        placement = moved_to(placement_from_labels(layer), start)
        where = repr({**placement, "translate": None})
        shown = self._layer
        if shown is not None and shown in plain_layers(self._viewer) and where == self._placement:
            shown.data, shown.translate, shown.visible = mask, placement["translate"], True
            return
        self.hide()
        self._placement = where
        self._add(mask, placement)

    def _add(self, mask: NDArray[np.uint8], placement: dict[str, Any]) -> None:
        chosen = set(self._viewer.layers.selection)
        self._layer = Labels(
            mask,
            name=self._name,
            metadata={METADATA_KEY: "highlight"},
            # napari compiles for seconds before the first layer with a table of colours.
            colormap=CyclicLabelColormap(colors=np.array([[0, 0, 0, 0], self._colour])),
            opacity=0.6,
            **placement,
        )
        self._viewer.add_layer(self._layer)
        self._viewer.layers.selection = chosen

    def flash(self, layer: Labels, at: tuple[NDArray[np.intp], ...]) -> None:
        """Mark pixels for a moment."""
        self.show(layer, at)
        self._fading.start()
        self._leaving.start()

    def _fade(self) -> None:
        """Be seen no more, but stay for a while: a layer that is added holds the window up."""
        if self._layer is not None:
            self._layer.visible = False

    def hide(self) -> None:
        """Mark nothing."""
        self._fading.stop()
        self._leaving.stop()
        layer, self._layer = self._layer, None
        if layer is not None and layer in plain_layers(self._viewer):
            self._viewer.layers.remove(layer)
