"""Click a cell: the whole object under the mouse becomes paint."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.utils.notifications import show_warning
from qtpy.QtCore import QObject, Qt, Signal
from qtpy.QtGui import QKeySequence
from qtpy.QtWidgets import QShortcut

from napari_unet.errors import NapariUNetError
from napari_unet.widgets.common.annotation import BACKGROUND_VALUE, next_object
from napari_unet.widgets.common.highlight import Highlight
from napari_unet.widgets.common.layers import labels_of, pixels_of
from napari_unet.widgets.common.session import session_of
from napari_unet.widgets.common.task import Failed, Outcome, task_named
from napari_unet.widgets.predict.runs import scoped

if TYPE_CHECKING:
    import threading
    from collections.abc import Collection, Generator

    from napari.layers import Image, Labels
    from napari.viewer import Viewer
    from numpy.typing import NDArray
    from qtpy.QtWidgets import QWidget

    from napari_unet.data.axes import ArrayLike, Region
    from napari_unet.model.trained import TrainedNetwork
    from napari_unet.objects.clicking import Clickable, Point, Selection
    from napari_unet.prediction.config import PredictConfig
    from napari_unet.widgets.annotate.target import PaintTarget
    from napari_unet.widgets.common.task import Work
    from napari_unet.widgets.predict.options import PredictOptions

_COLOUR = "#ffb000"
_DRAGGED = 4  # pixels of the image: less is a click
HELP = (
    "Click a cell, or draw a box around it. The wheel over it makes it larger or smaller, Shift "
    "adds, Alt takes away; Enter or the next click paints it, Escape does not."
)


@dataclass(frozen=True, eq=False)
class ClickableView:
    """A view of an image whose cells can be clicked."""

    frame: tuple[int, ...]
    """Index on the frame axes."""
    region: Region
    """The box of the view, ``YX``."""
    cells: Clickable

    def point(self, position: tuple[int | float, ...]) -> Point | None:
        """Return where in the view a position in the labels is; None: not in it."""
        lead = len(self.frame)
        if tuple(round(at) for at in position[:lead]) != self.frame:
            return None
        y, x = (at - part.start for at, part in zip(position[lead:], self.region, strict=True))
        height, width = self.cells.foreground.shape
        return (y, x) if 0 <= y < height and 0 <= x < width else None

    def indices(self, inside: tuple[NDArray[np.intp], ...]) -> tuple[NDArray[np.intp], ...]:
        """Return where pixels of the view are in the labels, one array per axis of these."""
        plane = (at + part.start for at, part in zip(inside, self.region, strict=True))
        return (*(np.full(inside[0].size, at) for at in self.frame), *plane)


class ClickTool(QObject):
    """Proposes the whole cell under the mouse, and paints it when it is agreed to."""

    told = Signal(str)

    def __init__(
        self, viewer: Viewer, target: PaintTarget, options: PredictOptions, dock: QWidget
    ) -> None:
        super().__init__(dock)
        self._viewer, self._target, self._options = viewer, target, options
        self._session = session_of(viewer)
        self._task = task_named(self._session, "Getting ready for clicks")
        self._view: ClickableView | None = None
        self._selection: Selection | None = None
        self._clicked: tuple[float, ...] | None = None  # while the view is not ready
        self._in_hand: Labels | None = None
        self._preview = Highlight(viewer, "Proposed cell", _COLOUR, self)
        self._keys = [QShortcut(QKeySequence(key), dock) for key in ("Return", "Enter", "Escape")]
        for shortcut, slot in zip(self._keys, (self.accept, self.accept, self.drop), strict=True):
            shortcut.setContext(Qt.ShortcutContext.WindowShortcut)
            shortcut.setEnabled(False)
            shortcut.activated.connect(slot)
        self._task.ended.connect(self._on_ready)
        self._session.model_changed.connect(self._forget)

    def take(self) -> None:
        """Take it in hand: clicks act on the layer that is painted in."""
        layer = self._target.annotation
        if layer is None or layer is self._in_hand:
            return
        self._in_hand = layer
        layer.mode = "pan_zoom"
        layer.mouse_pan = False
        layer.mouse_drag_callbacks.append(self._drag)
        layer.mouse_wheel_callbacks.append(self._wheel)
        layer.events.mode.connect(self.put_down)
        self._viewer.layers.selection.active = layer
        for shortcut in self._keys:
            shortcut.setEnabled(True)
        self.told.emit(HELP)
        self._prepare()

    def put_down(self, event: object = None) -> None:
        """Put it down; what was proposed last and not agreed to is dropped."""
        layer, self._in_hand = self._in_hand, None
        if layer is None:
            return
        self.drop()
        for shortcut in self._keys:
            shortcut.setEnabled(False)
        layer.events.mode.disconnect(self.put_down)
        layer.mouse_drag_callbacks.remove(self._drag)
        layer.mouse_wheel_callbacks.remove(self._wheel)
        layer.mouse_pan = layer.mode in ("pan_zoom", "transform")

    def accept(self) -> None:
        """Paint what is proposed, as one step of undo; painted cells stay as they are."""
        self._paint()
        self.drop()

    def _paint(self) -> None:
        view, selection, layer = self._view, self._selection, self._in_hand
        self._selection = None
        if view is None or selection is None or layer is None:
            return
        labels = np.asarray(labels_of(layer))
        box: tuple[Any, ...] = (*view.frame, *view.region)
        free = selection.mask & (labels[box] <= BACKGROUND_VALUE)
        found = np.nonzero(free)
        if found[0].size:
            number = next_object(labels)
            layer.data_setitem(view.indices(found), number)
            layer.selected_label = number

    def drop(self) -> None:
        """Propose nothing any more."""
        self._selection = None
        self._preview.hide()

    # --- The mouse --------------------------------------------------------------------------------

    def _drag(self, layer: Labels, event: Any) -> Generator[None, None, None]:
        start = end = tuple(layer.world_to_data(event.position))
        modifiers = set(event.modifiers)
        yield
        while event.type == "mouse_move":
            end = tuple(layer.world_to_data(event.position))
            yield
        moved = np.abs(np.subtract(end, start))[-2:].max() > _DRAGGED
        if moved:
            self.propose_box(start, end)
        else:
            self.propose(start, modifiers)

    def propose(
        self, position: tuple[float, ...], modifiers: Collection[str] = frozenset()
    ) -> None:
        """Propose the cell at a position in the layer, and paint the one proposed before.

        With Shift a cell is added to what is proposed, with Alt a part of it is taken away.
        """
        point = None if self._view is None else self._view.point(position)
        if self._view is None or point is None:
            self._clicked = position
            self._prepare()
        elif "Shift" in modifiers and self._selection is not None:
            self._show(self._selection.add(point))
        elif "Alt" in modifiers and self._selection is not None:
            self._show(self._selection.remove(point))
        else:
            self._paint()
            self._show(self._view.cells.at(point))

    def propose_box(self, start: tuple[float, ...], end: tuple[float, ...]) -> None:
        """Propose the cell inside a box, and paint the one proposed before."""
        if self._view is None:
            return
        one, other = self._view.point(start), self._view.point(end)
        if one is not None and other is not None:
            self._paint()
            self._show(self._view.cells.in_box(one, other))

    def _wheel(self, layer: Labels, event: Any) -> None:
        """Move the threshold where the mouse is over what is proposed; elsewhere napari zooms."""
        selection, view = self._selection, self._view
        if selection is None or view is None:
            return
        point = view.point(tuple(layer.world_to_data(event.position)))
        if point is not None and selection.mask[int(point[0]), int(point[1])]:
            self._show(selection.turned(1 if event.delta[1] > 0 else -1))
            event.handled = True

    def _show(self, selection: Selection) -> None:
        if not selection.mask.any():
            self.drop()
            self.told.emit("There is nothing like a cell under the mouse.")
            return
        self._selection = selection
        self.told.emit(HELP)
        if self._view is not None and self._in_hand is not None:
            self._preview.show(self._in_hand, self._view.indices(np.nonzero(selection.mask)))

    # --- What can be clicked ----------------------------------------------------------------------

    def _forget(self) -> None:
        """Ask the new model, where clicks are under way."""
        self._view = None
        if self._in_hand is not None and not self._session.training.running:
            self._prepare()

    def _prepare(self) -> None:
        image = self._target.image
        if image is None or self._task.running:
            return
        try:
            work = clickable_work(self._viewer, self._options, image)
        except NapariUNetError as error:
            show_warning(str(error))
            return
        self.told.emit("Getting ready for clicks…")
        self._task.start(work)

    def _on_ready(self, outcome: Outcome) -> None:
        if isinstance(outcome, Failed):
            self.told.emit(outcome.text)
            return
        self._view, clicked = outcome.result, self._clicked
        self._clicked = None
        if self._in_hand is None:
            return
        self.told.emit(HELP)
        if clicked is not None and self._view is not None:
            point = self._view.point(clicked)
            if point is not None:
                self._show(self._view.cells.at(point))


def clickable_work(viewer: Viewer, options: PredictOptions, image: Image) -> Work:
    """Return what makes the cells on screen clickable, for a task.

    The model in use finds them, or a starting model where that finds no objects in a plane. Raises
    NapariUNetError where the axes do not fit, or the view is too large.
    """
    keep, model = options.keep(image), session_of(viewer).model
    config = scoped(viewer, image, keep, 2, options.config(image), "view")
    if model is None or model.record.network.ndim != 2 or model.record.classes.task.named:
        model = None
    return partial(clickable_events, model, pixels_of(image), config)


def clickable_events(
    model: TrainedNetwork | None, image: ArrayLike, config: PredictConfig, stop: threading.Event
) -> Generator[object, None, ClickableView]:
    """Find the foreground on screen, with a starting model where there is no other one yet."""
    from napari_unet.model.starting import load_starting_model
    from napari_unet.prediction.proposals import clickable_view, find_cell_size

    trained = load_starting_model("cells") if model is None else model
    if model is None and not config.cell_size:
        size = yield from find_cell_size(trained, image, config, stop)
        config = replace(config, cell_size=size)
    found = yield from clickable_view(trained, image, config, stop)
    return ClickableView(*found)
