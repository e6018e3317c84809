"""The tools of the Paint & Segment widget: what to paint, and what to correct."""

from __future__ import annotations

import weakref
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from qtpy.compat import isalive
from qtpy.QtCore import QTimer

from napari_unet.errors import NapariUNetError
from napari_unet.widgets.annotate.painter import FILL_TEXT
from napari_unet.widgets.common.annotation import (
    BACKGROUND_VALUE,
    next_object,
    painted_around,
    stroke_goes_on,
)
from napari_unet.widgets.common.button_grid import ButtonGrid
from napari_unet.widgets.common.controls import Note, button
from napari_unet.widgets.common.highlight import Highlight
from napari_unet.widgets.common.layers import follow, labels_of
from napari_unet.widgets.common.result_layer import active_labels, result_to_correct
from napari_unet.widgets.common.session import session_of
from napari_unet.widgets.common.task import Failed, Outcome
from napari_unet.widgets.predict.correct import NO_CELLS, CorrectTools
from napari_unet.widgets.predict.linked import LINK_TOOLS
from napari_unet.widgets.segment.accept import AcceptPanel
from napari_unet.widgets.segment.click import ClickTool
from napari_unet.widgets.segment.menu import CellMenu

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from napari.layers import Labels
    from napari.viewer import Viewer
    from numpy.typing import NDArray
    from qtpy.QtWidgets import QPushButton, QWidget

    from napari_unet.tasks import Task
    from napari_unet.widgets.annotate.target import PaintTarget
    from napari_unet.widgets.common.linked_undo import Change
    from napari_unet.widgets.predict.options import PredictOptions

# A brush grows and shrinks by this share, not by one pixel: cells are 10 to 200 pixels wide.
_BRUSH_STEP = 1.2
_BRUSH_SHARE = 0.4  # of the diameter of a cell that is known
# Name of a tool: text of its button, its key, its tooltip.
_PAINT = {
    "cell": (
        "Cell",
        "N",
        "Paint cells, a stroke or more for each. A stroke that begins on a painted cell goes on "
        "with it, elsewhere it begins the next one; N begins it also where they touch.",
    ),
    "background": (
        "Background",
        "B",
        "Paint background: a stroke between and beside cells helps most. Painted cells stay.",
    ),
    "click": (
        "Click a cell",
        "C",
        "Click a cell, or draw a line through its parts: the whole of it is proposed, and painted "
        "with the next click or Enter.",
    ),
    "erase": ("Erase", "E", "Erase paint: what is erased is ignored again."),
}
_CORRECT = {
    "delete": ("Delete", "D", "Click what is no cell: it goes, and is learned as background."),
    "merge": ("Merge", "M", "Drag from one part of a cell to the other: they become one."),
    "split": ("Split", "S", "Draw a line through a cell that should be two."),
    "grow": ("Grow", "G", "Click a cell that is too small: it grows by a pixel; click for more."),
    "copy_object": ("Accept", "A", "Click cells that are right: they are learned as they are."),
}
# Shown where cells are linked.
_LINKED = {
    name: (text, key, f"{tooltip} {use}")
    for (name, (text, tooltip, use)), key in zip(LINK_TOOLS.items(), "KJRX", strict=True)
}
# In place of napari's own help, whose keys are ours while the dock is on screen.
_HELP = (
    "N cell, C click a cell, B background, E erase, F fill between, [ ] brush; D delete, M merge, "
    "S split, G grow, A accept; L link, K break, J join, R re-assign, X exchange; U next unsure, "
    "T train, H outlines, Ctrl+Z undo"
)
_NEXT_CLASS = "Paint the next class."
_FLASH = "#ffffff"


class ToolBox(ButtonGrid):
    """Buttons, three in a row, of which one is in hand."""

    def __init__(
        self, viewer: Viewer, target: PaintTarget, options: PredictOptions, dock: QWidget
    ) -> None:
        super().__init__(3)
        self._target, self._options = target, options
        self.links: Final = ButtonGrid(2)  # in a place of their own: there is not always room here
        self.text: Final = Note()
        self._viewer, self._dock, self._session = viewer, dock, session_of(viewer)
        self._corrections = 0  # not learned yet
        self.correct: Final = CorrectTools(viewer, dock)
        self.click: Final = ClickTool(viewer, target, options, dock)
        self.accept_all: Final = AcceptPanel(viewer, target, options, self.correct)
        self.cell_menu: Final = CellMenu(viewer, self.correct, dock)
        self._flash = Highlight(viewer, _FLASH, dock)
        self._number = 0  # what the brush was given to paint with
        self._largest = 0  # number in the paint: a stroke is not to wait for a look at all of it
        self._starts: list[tuple[int, ...]] = []  # of the strokes with this number
        self._painted: Labels | None = None  # the layer that both are of
        self._leave: list[Callable[[], object]] = []
        self.fill_button = button("", "", target.painter.fill_between)
        _describe(self.fill_button, *FILL_TEXT)
        self.buttons: dict[str, QPushButton] = {}
        for name, (text, key, tooltip) in {**_PAINT, **_CORRECT, **_LINKED}.items():
            self.buttons[name] = made = button("", "", partial(self.take, name))
            made.setCheckable(True)
            _describe(made, text, key, tooltip)
            (self.links if name in _LINKED else self).addWidget(made)
            if name == "erase":
                self.addWidget(self.fill_button)
        self.show_linked(False)
        self._connect()

    def _connect(self) -> None:
        target, training = self._target, self._session.training
        self.correct.taken.connect(self._show_taken)
        self.correct.edited.connect(self._teach)
        self.correct.undone.connect(self._follow_undo)
        for told in (self.correct.told, self.click.told, target.told):
            told.connect(self.text.setText)
        target.painter.brush_taken.connect(self._show_brush)
        training.started.connect(self._say_corrections)
        training.ended.connect(self._end_corrections)
        follow(self, self._viewer.events.help, self._show_help_soon)
        follow(self, self._viewer.layers.events.inserted, self._take_back_refusal)
        own = weakref.ref(self)

        def press(viewer: Any, event: Any) -> None:
            alive = own()
            if alive is not None and isalive(alive):
                alive.begin_stroke(tuple(event.position))

        self._viewer.mouse_drag_callbacks.append(press)

    @property
    def keys(self) -> dict[str, Callable[[], object]]:
        """What single keys do."""
        tools = {**_PAINT, **_CORRECT, **_LINKED}
        keys: dict[str, Callable[[], object]] = {
            key: partial(self.take, name) for name, (_, key, _) in tools.items()
        }
        keys |= {str(n): partial(self._target.painter.pick, n) for n in range(1, 10)}
        keys["F"] = self._target.painter.fill_between
        return {**keys, "[": partial(self.resize_brush, 1 / _BRUSH_STEP), "]": self.enlarge_brush}

    def take(self, name: str) -> None:
        """Take a tool in hand; the first one that paints makes the layer to paint in."""
        self.click.put_down()
        if name in (*_CORRECT, *_LINKED):
            self.correct.take(name)
            return
        self.correct.put_down()
        target = self._target
        first = target.annotation is None
        if first and not target.create():
            self._show_taken("")
            return
        if first:
            self._fit_brush()
        if name == "cell":
            target.paint_next()
        elif name == "background":
            target.painter.paint_background()
        elif name == "erase":
            target.painter.erase()
        else:
            self._show_taken(name)
            self.click.take()

    def begin_stroke(self, position: tuple[float, ...]) -> None:
        """Give a stroke that begins beside the cell painted last a number of its own.

        `position` is in the world. A number that nothing is painted with yet stays, as one that
        was chosen elsewhere does.
        """
        layer = self._target.annotation
        if active_labels(self._viewer) is not layer or layer is None:
            return
        paints = self.buttons["cell"].isChecked() and layer.mode == "paint"
        named, dims = self._target.task.named, self._viewer.dims
        # Of a layer with fewer axes than the viewer another side may show a line alone.
        planes = dims.ndisplay == 2 and min(dims.displayed) >= dims.ndim - layer.ndim
        if not paints or named or not planes or layer.selected_label != self._number:
            return
        start = tuple(round(float(at)) for at in layer.world_to_data(position))
        labels = np.asarray(labels_of(layer))
        if not all(0 <= at < size for at, size in zip(start, labels.shape, strict=True)):
            return
        self._follow_numbers(layer)
        last = self._number
        if any(len(self._last_cell(layer, labels, place)) for place in self._starts):
            self._number = self._cell_at(layer, labels, start) or next_object(
                np.array([self._largest])
            )
            layer.selected_label = self._number
        self._starts = [*(self._starts if self._number == last else ()), start]

    def _follow_numbers(self, layer: Labels) -> None:
        """Look once at all of the paint, and from then on at what is painted."""
        if layer is self._painted:
            return
        while self._leave:
            self._leave.pop()()
        self._painted, self._starts = layer, []
        self._leave.append(follow(self, layer.events.paint, self._note_painted))
        self._leave.append(follow(self, layer.events.data, self._look_anew))
        self._look_anew()

    def _look_anew(self, event: object = None) -> None:
        if self._painted is not None:
            self._largest = int(np.max(labels_of(self._painted), initial=0))

    def _note_painted(self, event: Any) -> None:
        painted = (int(np.max(step[-1], initial=0)) for step in event.value)
        self._largest = max([self._largest, *painted])

    def _last_cell(
        self, layer: Labels, labels: NDArray[Any], start: tuple[int, ...]
    ) -> NDArray[np.intp]:
        """List what is painted of the last cell, in the plane of a pixel, one row each."""
        axes, plane = self._plane_of(layer, labels, start)
        others = set(range(layer.ndim)) - set(axes)
        places = [
            tuple(place[axis] for axis in axes)
            for place in self._starts
            if all(place[axis] == start[axis] for axis in others)
        ]
        return painted_around(plane, places, self._number, max(2, round(layer.brush_size)))

    def _plane_of(
        self, layer: Labels, labels: NDArray[Any], start: tuple[int, ...]
    ) -> tuple[list[int], NDArray[Any]]:
        """Return the axes of the plane on screen, and the one in which a pixel lies."""
        shown = self._viewer.dims.displayed[-2:]
        axes = sorted(axis - self._viewer.dims.ndim + layer.ndim for axis in shown)
        at = tuple(slice(None) if i in axes else at for i, at in enumerate(start))
        return axes, labels[at]

    def _cell_at(self, layer: Labels, labels: NDArray[Any], start: tuple[int, ...]) -> int:
        """Return which painted cell a stroke goes on with, in this plane or a next one; or 0."""
        axes, _ = self._plane_of(layer, labels, start)
        point, size = tuple(start[axis] for axis in axes), self._options.cell_size.value
        if labels[start] > BACKGROUND_VALUE:
            return int(labels[start])
        if stroke_goes_on(self._last_cell(layer, labels, start), point, layer.brush_size, size):
            return self._number
        beside = [labels[next_to] for next_to in _neighbours(start, axes, labels.shape)]
        return max((int(value) for value in beside if value > BACKGROUND_VALUE), default=0)

    def _fit_brush(self) -> None:
        """Make the brush as wide as suits the cells that were found."""
        layer, size = self._target.annotation, self._options.cell_size.value
        if layer is not None and size:
            layer.brush_size = max(1, round(_BRUSH_SHARE * size))

    def enlarge_brush(self) -> None:
        """Make the brush larger by a fifth."""
        self.resize_brush(_BRUSH_STEP)

    def resize_brush(self, factor: float) -> None:
        """Make the brush so many times as wide, and wider or narrower by a pixel at least."""
        layer = self._target.annotation
        if layer is not None:
            size, step = layer.brush_size, 1 if factor > 1 else -1
            changed = round(size * factor)
            layer.brush_size = max(1, changed if changed != size else size + step)

    def take_up(self, name: str) -> None:
        """Take a tool in hand, if it is not there already."""
        if not self.buttons[name].isChecked():
            self.take(name)

    def show_task(self, task: Task) -> None:
        """Name what is painted."""
        _, key, tooltip = _PAINT["cell"]
        text, tooltip = (task.thing, _NEXT_CLASS) if task.named else ("cell", tooltip)
        _describe(self.buttons["cell"], text.capitalize(), key, tooltip)
        for tool in _CORRECT:
            self.buttons[tool].setEnabled(not task.named or tool in ("delete", "copy_object"))
        self.buttons["click"].setEnabled(not task.named)
        self.accept_all.setVisible(not task.named)
        self.fill_button.setVisible(self._target.painter.has_depth)

    def show_linked(self, linked: bool) -> None:
        """Offer what corrects links, where there are some."""
        for name in _LINKED:
            self.buttons[name].setVisible(linked)

    def _teach(self, layer: Labels, tool: str, change: Change) -> None:
        """Let a correction count as paint at once, and show where it was."""
        if change.empty:
            self.text.setText("It is in your paint already, just so.")
            return
        try:
            if tool != "copy_object":
                self.correct.copier.teach(layer, change)
        except NapariUNetError as error:
            self.text.setText(str(error))
            return
        self._flash.flash(layer, change.at)
        self._corrections += 1
        self._say_corrections()

    def _follow_undo(self, by: int) -> None:
        self._corrections = max(0, self._corrections + by)
        if self._corrections:
            self._say_corrections()
        else:
            self.text.setText("Undone, and not learned.")

    def _say_corrections(self) -> None:
        running = self._session.training.running
        if self._corrections:
            self.text.setText(self._so_many(", learning…" if running else ": Train learns them."))

    def _so_many(self, fate: str) -> str:
        return f"{self._corrections} correction{'' if self._corrections == 1 else 's'}{fate}"

    def _end_corrections(self, outcome: Outcome) -> None:
        """Say what became of corrections, where they were last said to be learned."""
        run, said = self._session.run, self.text.text() == self._so_many(", learning…")
        made = not isinstance(outcome, Failed) and outcome.result.state.step
        learned = made and (run is None or not run.outdated)
        if said:
            self.text.setText(self._so_many(" learned." if learned else ": Train learns them."))
        if learned:
            self._corrections = 0

    def _take_back_refusal(self, event: object = None) -> None:
        if self.text.text() == NO_CELLS and result_to_correct(self._viewer) is not None:
            self.text.setText("")

    def _show_help_soon(self, event: object = None) -> None:
        QTimer.singleShot(0, self._show_help)  # napari shows its own just now

    def _show_help(self) -> None:
        """Let the status bar tell our keys where napari tells its own for the same letters."""
        active = active_labels(self._viewer) if isalive(self) else None
        if active is not None and self._dock.isVisible() and self._viewer.help != _HELP:
            self._viewer.help = _HELP

    def _show_brush(self, value: int) -> None:
        self._number, self._starts = value, []
        self._largest = max(self._largest, value)
        self._show_taken({0: "erase", 1: "background"}.get(value, "cell"))

    def _show_taken(self, name: str) -> None:
        for each, made in self.buttons.items():
            made.setChecked(each == name)


def _neighbours(
    start: tuple[int, ...], shown: Sequence[int], shape: tuple[int, ...]
) -> Iterator[tuple[int, ...]]:
    """List the same pixel in the planes before and after."""
    for axis in set(range(len(start))) - set(shown):
        for at in (start[axis] - 1, start[axis] + 1):
            if 0 <= at < shape[axis]:
                yield (*start[:axis], at, *start[axis + 1 :])


def _describe(made: QPushButton, text: str, key: str, tooltip: str) -> None:
    made.setText(f"{text}  {key}")
    made.setAccessibleName(text)
    made.setToolTip(f"{tooltip} Key {key}.")
