"""What all four docks are: widgets of a viewer, in a window that may close."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QWidget

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

    def showEvent(self, event: QShowEvent | None) -> None:
        """Guard the window: when it closes, nothing is lost, and all work ends."""
        super().showEvent(event)
        keeper_of(self._viewer).guard(self.window())
