"""The tools of the Paint & Segment widget: what to paint, and what to correct."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from napari_unet.widgets.common.button_grid import ButtonGrid
from napari_unet.widgets.common.controls import Note, button
from napari_unet.widgets.predict.correct import CorrectTools
from napari_unet.widgets.segment.click import ClickTool

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.viewer import Viewer
    from qtpy.QtWidgets import QPushButton, QWidget

    from napari_unet.tasks import Task
    from napari_unet.widgets.annotate.target import PaintTarget
    from napari_unet.widgets.predict.options import PredictOptions

# A brush grows and shrinks by this share, not by one pixel: cells are 10 to 200 pixels wide.
_BRUSH_STEP = 1.2
# Name of a tool: text of its button, its key, its tooltip.
_PAINT = {
    "cell": ("Cell", "N", "Paint the next {thing}, with a number of its own."),
    "background": (
        "Background",
        "B",
        "Paint background: a stroke between and beside cells helps most. Painted cells stay.",
    ),
    "click": (
        "Click a cell",
        "C",
        "Click a cell: the whole of it is proposed, and painted with the next click or Enter.",
    ),
    "erase": ("Erase", "E", "Erase paint: what is erased is ignored again."),
}
_CORRECT = {
    "delete": ("Delete", "D", "Click what is no cell: it goes, and is learned as background."),
    "merge": ("Merge", "M", "Drag from one part of a cell to the other: they become one."),
    "split": ("Split", "S", "Draw a line through a cell that should be two."),
    "copy_object": ("Accept", "A", "Click cells that are right: they are learned as they are."),
}


class ToolBox(ButtonGrid):
    """Buttons, three in a row, of which one is in hand."""

    def __init__(
        self, viewer: Viewer, target: PaintTarget, options: PredictOptions, dock: QWidget
    ) -> None:
        super().__init__(3)
        self._target = target
        self.text = Note()
        self.correct = CorrectTools(viewer, dock)
        self.click = ClickTool(viewer, target, options, dock)
        self.buttons: dict[str, QPushButton] = {}
        for name, (text, key, tooltip) in {**_PAINT, **_CORRECT}.items():
            self.buttons[name] = made = button("", "", partial(self.take, name))
            made.setCheckable(True)
            _describe(made, text, key, tooltip)
            self.addWidget(made)
        self.correct.taken.connect(self._show_taken)
        self.correct.edited.connect(self._teach)
        self.correct.told.connect(self.text.setText)
        self.click.told.connect(self.text.setText)
        target.painter.brush_taken.connect(self._show_brush)

    @property
    def keys(self) -> dict[str, Callable[[], object]]:
        """What single keys do."""
        tools = {**_PAINT, **_CORRECT}
        keys: dict[str, Callable[[], object]] = {
            key: partial(self.take, name) for name, (_, key, _) in tools.items()
        }
        keys |= {str(n): partial(self._target.painter.pick, n) for n in range(1, 10)}
        return {**keys, "[": partial(self.resize_brush, 1 / _BRUSH_STEP), "]": self.enlarge_brush}

    def take(self, name: str) -> None:
        """Take a tool in hand; the first one that paints makes the layer to paint in."""
        self.click.put_down()
        if name in _CORRECT:
            self.correct.take(name)
            return
        self.correct.put_down()
        target = self._target
        if target.annotation is None and not target.create():
            self._show_taken("")
        elif name == "cell":
            target.painter.paint_next(target.table.values)
        elif name == "background":
            target.painter.paint_background()
        elif name == "erase":
            target.painter.erase()
        else:
            self._show_taken(name)
            self.click.take()

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

    def show_task(self, task: Task) -> None:
        """Name what is painted."""
        _, key, tooltip = _PAINT["cell"]
        name = task.thing if task.named else "cell"
        _describe(self.buttons["cell"], name.capitalize(), key, tooltip.format(thing=name))
        for tool in _CORRECT:
            self.buttons[tool].setEnabled(not task.named or tool in ("delete", "copy_object"))
        self.buttons["click"].setEnabled(not task.named)

    def _teach(self) -> None:
        """Let a correction count as paint at once: a running training learns it."""
        taught = self.correct.copier.copy_corrections()
        if taught:
            self.text.setText("Corrected: it is learned as painted.")

    def _show_brush(self, value: int) -> None:
        self._show_taken({0: "erase", 1: "background"}.get(value, "cell"))

    def _show_taken(self, name: str) -> None:
        for each, made in self.buttons.items():
            made.setChecked(each == name)


def _describe(made: QPushButton, text: str, key: str, tooltip: str) -> None:
    made.setText(f"{text} ({key})")
    made.setAccessibleName(text)
    made.setToolTip(f"{tooltip} Key {key}.")
