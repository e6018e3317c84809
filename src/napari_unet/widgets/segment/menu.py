"""Menus: a right click on a cell deletes, accepts or breaks it; who answers a click on a cell."""

from __future__ import annotations

import weakref
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from qtpy.compat import isalive
from qtpy.QtCore import QObject
from qtpy.QtGui import QCursor
from qtpy.QtWidgets import QMenu, QWidget

from napari_unet.widgets.common.highlight import Highlight
from napari_unet.widgets.common.mouse_edits import numbers_along, path_in_frame
from napari_unet.widgets.common.result_layer import predicted_of, result_to_correct

if TYPE_CHECKING:
    from collections.abc import Generator

    from napari.viewer import Viewer

    from napari_unet.widgets.predict.correct import CorrectTools
    from napari_unet.widgets.segment.click import ClickTool

_RIGHT = 2  # napari's number of the mouse button
_DRAGGED = 4  # pixels of the screen: more zooms


class CellMenu(QObject):
    """Offers what can be done with the cell under the mouse."""

    def __init__(self, viewer: Viewer, tools: CorrectTools, dock: QWidget) -> None:
        super().__init__(dock)
        self._viewer, self._tools, self._dock = viewer, tools, dock
        self._marked = Highlight(viewer, "#ffffff", self)
        self.menu: Final = QMenu(dock)
        self.menu.aboutToHide.connect(self._marked.hide)
        own = weakref.ref(self)

        def press(viewer: Any, event: Any) -> Generator[None, None, None]:
            alive = own()
            if alive is not None and isalive(alive):
                yield from alive.press(event)

        viewer.mouse_drag_callbacks.append(press)

    def press(self, event: Any) -> Generator[None, None, None]:
        """Open the menu where the right button goes down and up at one place."""
        active = self._viewer.layers.selection.active
        moving = active is None or str(active.mode) in ("pan_zoom", "PAN_ZOOM", "Mode.PAN_ZOOM")
        free = moving and not self._tools.in_hand and self._dock.isVisible()
        if event.button != _RIGHT or not free:
            return
        start = np.asarray(event.pos, float)
        position = tuple(event.position)
        yield
        while event.type == "mouse_move":
            yield
        if np.abs(np.asarray(event.pos, float) - start).max() <= _DRAGGED:
            self.open_at(position)

    def open_at(self, position: tuple[float, ...]) -> None:
        """Offer what can be done with the cell at a position of the world, if there is one."""
        layer = result_to_correct(self._viewer)
        predicted = None if layer is None else predicted_of(layer)
        if layer is None or predicted is None or not layer.visible or predicted.in_progress:
            return
        path = np.asarray(layer.world_to_data(position), float)[np.newaxis]
        inside = path_in_frame(layer, path)
        numbers = numbers_along(inside)
        if not numbers:
            return
        at = np.nonzero(inside.labels == numbers[0])
        self.menu.clear()
        thing = predicted.task.thing if predicted.task.named else "cell"
        offers = [(f"Delete this {thing}", "delete"), (f"Accept this {thing}", "copy_object")]
        if self._tools.cells.linked(layer) is not None:
            offers.append(("From this frame on another cell", "break"))
        for text, tool in offers:
            self.menu.addAction(text, partial(self._tools.apply_once, layer, tool, path))
        self._marked.show(layer, (*(np.full(at[0].size, i) for i in inside.frame), *at))
        self.menu.popup(QCursor.pos())


class PromptModelMenu(QMenu):
    """Chooses which prompt model answers clicks; it is there if the user has installed one."""

    def __init__(self, tool: ClickTool, menu: QMenu) -> None:
        super().__init__("Click a cell with", menu)
        self._tool = tool
        menu.aboutToShow.connect(self.refresh)

    def refresh(self) -> None:
        """List what is installed now."""
        from napari_unet.external.prompt_models import installed_prompt_models

        models, in_use = installed_prompt_models(), self._tool.prompt_model
        chosen = None if in_use is None else in_use.name
        self.clear()
        for name, entry in (("the model in use", None), *models.items()):
            made = self.addAction(name, partial(self._tool.choose, entry))
            assert made is not None
            made.setCheckable(True)
            made.setChecked((entry and entry.name) == chosen)
        own = self.menuAction()
        assert own is not None
        own.setVisible(bool(models))
