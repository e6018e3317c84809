"""What all our docks are: widgets of a viewer, in a window that may close, as tabs of one area."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QDockWidget, QMainWindow, QWidget

from napari_unet.widgets.common.recovery import keeper_of
from napari_unet.widgets.common.session import session_of

if TYPE_CHECKING:
    from napari.viewer import Viewer
    from qtpy.QtGui import QShowEvent


class Dock(QWidget):
    """A widget that shares the session of its viewer, and guards the window it is docked in."""

    def __init__(self, viewer: Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self._session = session_of(viewer)
        self._joined_tabs = False

    def showEvent(self, event: QShowEvent | None) -> None:
        """Guard the window: when it closes, nothing is lost, and all work ends."""
        super().showEvent(event)
        keeper_of(self._viewer).guard(self.window())
        if not self._joined_tabs:  # later the user may have put it elsewhere
            self._joined_tabs = True
            QTimer.singleShot(0, self._join_tabs)  # Qt is laying the window out just now

    def _join_tabs(self) -> None:
        """Become a tab of our other docks: napari puts docks below each other, too low to use."""
        place, window = _dock_of(self), self.window()
        if place is None or not isinstance(window, QMainWindow):
            return
        if not window.dockOptions() & QMainWindow.DockOption.AllowTabbedDocks:
            return
        # napari's title names the plugin as well, which leaves a tab no room for its own name.
        place.setWindowTitle(place.windowTitle().split(" (")[0])
        for other in window.findChildren(Dock):
            its_place = _dock_of(other)
            if other is self or its_place is None or its_place.isFloating():
                continue
            if not its_place.isVisible() or place in window.tabifiedDockWidgets(its_place):
                continue
            if window.dockWidgetArea(its_place) == window.dockWidgetArea(place):
                window.tabifyDockWidget(its_place, place)
                place.raise_()
                return


def _dock_of(widget: QWidget) -> QDockWidget | None:
    parent = widget.parentWidget()
    while parent is not None and not isinstance(parent, QDockWidget):
        parent = parent.parentWidget()
    return parent
