"""Notice when the paint of a layer changes, without counting at every move of the mouse."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, QTimer, Signal

from napari_unet.widgets.layers import follow, paint_events

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from napari.layers import Labels, Shapes
    from qtpy.QtWidgets import QWidget

_DELAY_MS = 250


class PaintWatcher(QObject):
    """Follows the paint of one layer, and tells a moment after the last change.

    Parameters
    ----------
    owner : QWidget
        As long as it exists, the layer is followed.

    Attributes
    ----------
    layer : Labels or None
        The layer that is followed.
    """

    painted = Signal()

    def __init__(self, owner: QWidget) -> None:
        super().__init__(owner)
        self._owner = owner
        self.layer: Labels | None = None
        self._regions: Shapes | None = None
        self._leave_layer: list[Callable[[], object]] = []
        self._leave_regions: list[Callable[[], object]] = []
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_DELAY_MS)
        self._timer.timeout.connect(self.painted)

    def watch(self, layer: Labels | None) -> None:
        """Follow another layer, or none."""
        self.layer = layer
        self._follow(self._leave_layer, paint_events(layer) if layer is not None else ())

    def watch_regions(self, layer: Shapes | None) -> None:
        """Follow the fully annotated regions too."""
        if layer is not self._regions:
            self._regions = layer
            self._follow(self._leave_regions, (layer.events.data,) if layer is not None else ())
            self.tell_soon()

    def _follow(self, leave: list[Callable[[], object]], emitters: Iterable[Any]) -> None:
        while leave:
            leave.pop()()
        leave += [follow(self._owner, emitter, self.tell_soon) for emitter in emitters]

    def tell_soon(self, event: object = None) -> None:
        """Emit `painted` a moment later; asked again meanwhile, a moment after that."""
        self._timer.start()
