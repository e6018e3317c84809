"""Follow the events of one layer at a time, for as long as a widget exists."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

from qtpy.compat import isalive

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari.layers import Layer
    from qtpy.QtWidgets import QWidget


class FollowedLayer:
    """Calls a slot when something of a layer changes.

    Parameters
    ----------
    widget : QWidget
        Whose slot it is: when Qt deletes it, nothing is called any more.
    names : sequence of str
        Events of the layer.
    slot : callable
        Called without arguments.
    """

    def __init__(self, widget: QWidget, names: Sequence[str], slot: Callable[[], object]) -> None:
        self._names, self._slot = names, slot
        self._widget = weakref.ref(widget)
        self._layer: Layer | None = None

    def follow(self, layer: Layer | None) -> None:
        """Follow this layer, and the previous one no more."""
        if layer is self._layer:
            return
        self.leave()
        self._layer = layer
        if layer is not None:
            for name in self._names:
                layer.events[name].connect(self._call)

    def leave(self) -> None:
        """Follow no layer."""
        layer, self._layer = self._layer, None
        if layer is not None:
            for name in self._names:
                layer.events[name].disconnect(self._call)

    def _call(self, event: object = None) -> None:
        widget = self._widget()
        if widget is None or not isalive(widget):
            self.leave()
        else:
            self._slot()
