"""Correct a prediction: delete, merge, split, grow objects; or copy them to the paint.

Each correction is one step of napari's undo, in the layer that it changes.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from napari.utils.notifications import show_info, show_warning
from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import QLineEdit, QPushButton, QWidget

from napari_unet.errors import NapariUNetError
from napari_unet.widgets.common.button_grid import ButtonGrid
from napari_unet.widgets.common.controls import Note, add_row, button, form_layout, stack
from napari_unet.widgets.common.copy_to_annotation import AnnotationCopier
from napari_unet.widgets.common.layers import plain_layers
from napari_unet.widgets.common.mouse_edits import (
    FramePath,
    edit_along,
    numbers_along,
    numbers_in,
    path_in_frame,
    path_through,
    plane_on_screen,
    write_edit,
)
from napari_unet.widgets.common.result_layer import (
    HIDDEN,
    count_in_words,
    predicted_of,
    result_to_correct,
)
from napari_unet.widgets.common.session import session_of
from napari_unet.widgets.common.visible import check_planes
from napari_unet.widgets.predict.linked import LINK_TOOLS, NOT_LINKED, linked_cells_of

if TYPE_CHECKING:
    from collections.abc import Generator

    from napari.layers import Image, Labels
    from napari.viewer import Viewer
    from numpy.typing import NDArray
    from qtpy.QtGui import QHideEvent

_LEFT = 1  # napari's number of the mouse button
# Name of a tool: the text of its button, its tooltip, and how it is used.
TOOLS = {
    "copy": (
        "Copy to my paint",
        "Copy the cells under the brush to your paint.",
        "Drag over what is right: it is copied to your paint.",
    ),
    "copy_object": (
        "Accept o&bject",
        "Copy a whole object to your paint.",
        "Click cells that are right: they are copied to your paint.",
    ),
    "delete": (
        "Delete",
        "Delete an object: there is none.",
        "Click things that are not cells.",
    ),
    "merge": (
        "Mer&ge",
        "Join objects that are one.",
        "Drag from one part of a cell to the other.",
    ),
    "split": (
        "Split",
        "Part an object along a line.",
        "Draw a line through a cell that should be two.",
    ),
    "grow": (
        "Grow",
        "Grow an object by one pixel.",
        "Click a cell that is too small; click again for more.",
    ),
    **LINK_TOOLS,
}
_NUMBERS_HELP = (
    "Without a mouse: numbers of objects in the plane on screen, as in 3, 7. The tools below then "
    "act on these at once; Split parts an object across its longer side. Measure lists the numbers."
)
_NOTHING = {
    "delete": "There is no cell under the mouse.",
    "merge": "Drag from one object to another one to join them.",
    "split": "The line must cross the object from one side to the other.",
    "grow": "There is no background beside this object to grow into.",
}
NO_CELLS = "There are no cells to correct yet: train, or choose a starting model."


class CorrectTools(QObject):
    """What the mouse corrects: the result that is selected, or else the topmost that is shown."""

    taken: Final = Signal(str)  # one of `TOOLS` was taken in hand; "": put down
    told: Final = Signal(str)  # how it is used, or why it does nothing
    # What a tool did: the result, or the annotation that it copied into; the tool; the Change
    edited: Final = Signal(object, str, object)
    undone: Final = Signal(int)  # -1: a correction was undone, and what it taught; 1: redone

    def __init__(self, viewer: Viewer, parent: QObject) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self.copier: Final = AnnotationCopier(viewer, self._follow_undo)
        self.cells: Final = linked_cells_of(viewer)
        self.cells.told.connect(self.told)
        self._tool = ""
        # The tool acts on a prediction, and is held in the layer that it writes to: there napari
        # undoes its last step.
        self._target: Labels | None = None
        self._in_hand: Labels | None = None

    @property
    def in_hand(self) -> bool:
        """Whether the mouse corrects."""
        return self._in_hand is not None

    def ready(self) -> Labels | None:
        """Return the result if it can be corrected now; else tell why not."""
        layer = result_to_correct(self._viewer)
        if layer is None:
            self._tell(NO_CELLS)
        elif (predicted := predicted_of(layer)) is not None and predicted.in_progress:
            self._tell("The cells are still being found: correct them when it is done, or cancel.")
        elif not layer.visible:
            self._tell(HIDDEN)
        else:
            return layer
        return None

    def take(self, tool: str) -> None:
        """Take one of `TOOLS` in hand, or put it down if it is the one in hand."""
        again = tool == self._tool
        self.put_down()
        target = None if again else self.ready()
        if target is None:
            return
        if tool in LINK_TOOLS and self.cells.linked(target) is None:
            self._tell(NOT_LINKED)
            return
        layer = target
        if tool.startswith("copy"):
            with suppress(NapariUNetError):  # it is told when the tool is used
                layer = self.copier.annotation_for(target)
        self._tool, self._target, self._in_hand = tool, target, layer
        layer.mode = "pan_zoom"
        layer.mouse_pan = False
        layer.mouse_drag_callbacks.append(self._drag)
        layer.events.mode.connect(self._mode_changed)
        target.events.visible.connect(self._visibility_changed)
        self._viewer.layers.selection.active = layer
        self.taken.emit(tool)
        self.told.emit(TOOLS[tool][2])

    def put_down(self) -> None:
        """Put the tool down: the mouse is napari's again."""
        layer, self._in_hand, self._tool = self._in_hand, None, ""
        target, self._target = self._target, None
        if target is not None:
            target.events.visible.disconnect(self._visibility_changed)
        if layer is not None:
            layer.events.mode.disconnect(self._mode_changed)
            layer.mouse_drag_callbacks.remove(self._drag)
            layer.mouse_pan = layer.mode in ("pan_zoom", "transform")
        self.cells.drop_first()
        self.taken.emit("")
        self.told.emit("")

    def _mode_changed(self, event: object = None) -> None:
        """Another tool of napari was taken: ours goes down."""
        self.put_down()

    def _visibility_changed(self, event: object = None) -> None:
        """Go on with what is shown in place of a result that was hidden, as linked cells are."""
        target, shown, tool = self._target, result_to_correct(self._viewer), self._tool
        if target is None or target.visible or shown is None or not shown.visible:
            return
        if _image_of(shown) is _image_of(target):
            self.put_down()
            self._viewer.layers.selection.active = shown
            self.take(tool)

    def _drag(self, layer: Labels, event: Any) -> Generator[None, None, None]:
        """Collect where the mouse goes, and act at its end, or on the way with the brush."""
        target = self._target
        if target is None or target not in plain_layers(self._viewer) or event.button != _LEFT:
            return
        if not (layer.visible and target.visible):
            self._tell(f"{layer.name} is hidden: show it." if target.visible else HIDDEN)
            return
        path = [np.asarray(target.world_to_data(event.position), float)]
        try:
            if self._tool == "copy":
                yield from self._brush(target, event)
                return
            yield
            while event.type == "mouse_move":
                path.append(np.asarray(target.world_to_data(event.position), float))
                yield
            # Where the window is busy, a quick drag has no move but this.
            path.append(np.asarray(target.world_to_data(event.position), float))
            self.apply(target, self._tool, np.array(path))
        except NapariUNetError as error:
            self._tell(str(error))

    def _tell(self, text: str) -> None:
        """Tell it where it is seen, however far the dock is scrolled."""
        self.told.emit(text)
        session_of(self._viewer).told_of_result.emit(text)

    def _brush(self, target: Labels, event: Any) -> Generator[None, None, None]:
        """Copy all along a drag, as one step of the annotation's undo."""
        _check_seen(self._viewer, target)
        with self.copier.annotation_for(target).block_history():
            while event.type in ("mouse_press", "mouse_move"):
                at = np.asarray(target.world_to_data(event.position), float)
                self.copier.copy_under_brush(target, at)
                yield

    def apply(self, layer: Labels, tool: str, path: NDArray[np.floating[Any]]) -> None:
        """Use one of `TOOLS` along a path (points, axes of the layer), in pixels of the layer."""
        _check_seen(self._viewer, layer)
        inside = path_in_frame(layer, path)
        numbers = numbers_along(inside)
        if numbers:
            self.change(layer, tool, inside, numbers)
        else:
            self._tell("There is no cell under the mouse.")

    def apply_once(self, layer: Labels, tool: str, path: NDArray[np.floating[Any]]) -> None:
        """Use a tool without taking it in hand, and tell why where it cannot be used."""
        try:
            self.apply(layer, tool, path)
        except NapariUNetError as error:
            self._tell(str(error))

    def change(self, layer: Labels, tool: str, inside: FramePath, numbers: list[int]) -> None:
        """Use one of `TOOLS` on numbered objects that lie under a path."""
        if tool == "copy_object":
            annotation, change = self.copier.copy_object(layer, inside, numbers[0])
            self._viewer.layers.selection.active = annotation  # Ctrl+Z undoes it there
            self.edited.emit(annotation, tool, change)
            return
        if tool in LINK_TOOLS:
            self.relink(layer, tool, inside.frame[0], numbers)
            return
        edit = edit_along(tool, inside, numbers)
        if edit.empty:
            self._tell(_NOTHING[tool])
            return
        with self.copier.correcting(layer):
            change = write_edit(layer, inside.frame, edit)
        self._count(layer)
        self.edited.emit(layer, tool, change)

    def relink(self, layer: Labels, tool: str, frame: int, numbers: list[int]) -> None:
        """Use one of `LINK_TOOLS` on cells of a frame."""
        with self.copier.correcting(layer):
            self.told.emit(self.cells.correct(layer, tool, frame, numbers))

    def _count(self, layer: Labels) -> None:
        """Say how many there are now, where it stood how many were found."""
        count = count_in_words(layer)
        if count:
            session_of(self._viewer).told_of_result.emit(f"{count} now.")

    def _follow_undo(self, layer: Labels, by: int) -> None:
        self._count(layer)
        self.undone.emit(by)


def _check_seen(viewer: Viewer, layer: Labels) -> None:
    """Refuse to correct planes that are not those on screen, by ImageError; volumes are whole."""
    predicted = predicted_of(layer)
    if predicted is None or predicted.ndim == 2:
        check_planes(viewer, layer, range(layer.ndim))


def _image_of(result: Labels) -> Image | None:
    predicted = predicted_of(result)
    return None if predicted is None else predicted.image


class CorrectPanel(QWidget):
    """All tools that correct a prediction, with the mouse or by numbers of objects."""

    def __init__(self, viewer: Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self.tools: Final = CorrectTools(viewer, self)
        self.buttons: dict[str, QPushButton] = {}
        for tool, (text, tooltip, _) in TOOLS.items():
            made = button(text, tooltip, partial(self.take_tool, tool))
            made.setCheckable(True)
            self.buttons[tool] = made
        self._show_linked()
        self.tools.cells.changed.connect(self._show_linked)
        self.teach_button: Final = button(
            "Learn from my corrections",
            "Copy all corrected objects to your paint; Continue in the Train widget does "
            "so by itself. Corrected pixels count more.",
            self.teach,
        )
        self.text: Final = Note()
        self.numbers_edit: Final = QLineEdit()
        self.numbers_edit.setPlaceholderText("with the mouse")
        self.numbers_edit.textChanged.connect(self.tools.put_down)
        self.tools.taken.connect(self._show_taken)
        self.tools.told.connect(self.text.setText)
        form = form_layout()
        add_row(form, "Objects", self.numbers_edit, _NUMBERS_HELP)
        stack(self, form, ButtonGrid(3, self.buttons.values()), self.teach_button, self.text)

    def take_tool(self, tool: str) -> None:
        """Take one of `TOOLS` in hand, or act at once on the objects whose numbers are given."""
        if not self.numbers_edit.text().strip():
            self.tools.take(tool)
            return
        self.tools.put_down()
        layer = self.tools.ready()
        if layer is not None:
            self.apply_by_number(layer, tool)

    def hideEvent(self, event: QHideEvent | None) -> None:
        """Put the tool down with the panel: without its buttons the user could not."""
        self.tools.put_down()
        super().hideEvent(event)

    def _show_taken(self, tool: str) -> None:
        for name, made in self.buttons.items():
            made.setChecked(name == tool)

    def _show_linked(self) -> None:
        linked = self.tools.cells.linked(result_to_correct(self._viewer)) is not None
        for tool in LINK_TOOLS:
            self.buttons[tool].setVisible(linked)

    def apply_by_number(self, layer: Labels, tool: str) -> None:
        """Use one of `TOOLS` on the objects whose numbers are in the field, in the plane shown."""
        if tool == "copy":
            show_warning(
                "Copy to my paint copies where the mouse goes; Accept object knows numbers."
            )
            return
        try:
            numbers = numbers_in(self.numbers_edit.text())
            if tool in LINK_TOOLS and tool != "break":  # the other one need not be on screen
                self.tools.relink(layer, tool, plane_on_screen(self._viewer, layer)[0], numbers)
                return
            groups = [numbers] if tool == "merge" else [[number] for number in numbers]
            paths = [path_through(self._viewer, layer, group, tool) for group in groups]
            for path, group in zip(paths, groups, strict=True):
                self.tools.change(layer, tool, path_in_frame(layer, path), group)
        except NapariUNetError as error:
            show_warning(str(error))
            return
        self.text.setText(f"{TOOLS[tool][0].replace('&', '')}: {', '.join(map(str, numbers))}.")

    def teach(self) -> None:
        """Copy every corrected object, and what was deleted, into the annotation."""
        taught = self.tools.copier.copy_corrections()
        show_info(
            f"{taught} corrected pixels are in your paint now; click Continue to learn them."
            if taught
            else "Nothing was corrected since."
        )
