"""A viewer whose window holds docks and nothing else: it paints no image, and opens at once."""

from __future__ import annotations

from typing import Any

from napari.components import ViewerModel
from npe2 import PluginManager
from qtpy.QtCore import QEvent, Qt
from qtpy.QtWidgets import QApplication, QDockWidget, QMainWindow, QWidget

RIGHT = Qt.DockWidgetArea.RightDockWidgetArea


class PanelWindow:
    """Docks behind each other, as napari has them."""

    def __init__(self) -> None:
        self._window = QMainWindow()
        self._window.resize(1000, 700)
        self._window.show()

    def add_dock_widget(self, widget: QWidget, *, name: str = "", tabify: bool = True) -> None:
        """Dock a widget in front of the others."""
        others, dock = self._window.findChildren(QDockWidget), QDockWidget(name)
        dock.setWidget(widget)
        self._window.addDockWidget(RIGHT, dock)
        if others and tabify:
            self._window.tabifyDockWidget(others[-1], dock)
        dock.show()
        dock.raise_()

    def close(self) -> None:
        """Close it, with what is docked in it."""
        self._window.close()
        self._window.deleteLater()
        QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)  # no loop runs to do it


class PanelViewer(ViewerModel):  # type: ignore[misc]  # napari has no types
    """A viewer for what needs its layers, but not its canvas."""

    _window: Any = None

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        PluginManager.instance().discover()  # readers of files
        self._window = PanelWindow()

    @property
    def window(self) -> PanelWindow:
        """Where widgets are docked."""
        window: PanelWindow = self._window
        return window

    def close(self) -> None:
        """Remove the layers, and close the window."""
        self._layer_slicer.shutdown()
        self.layers.clear()
        self.window.close()
