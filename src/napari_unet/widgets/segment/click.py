"""Click a cell, or draw a line through it: the whole object under the mouse becomes paint."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from napari.utils.notifications import show_warning
from qtpy.QtCore import QObject, Qt, Signal
from qtpy.QtGui import QKeySequence
from qtpy.QtWidgets import QShortcut

from napari_unet.errors import NapariUNetError
from napari_unet.widgets.common.annotation import BACKGROUND_VALUE, next_object
from napari_unet.widgets.common.highlight import Highlight
from napari_unet.widgets.common.layers import follow, labels_of, pixels_of, write_pixels
from napari_unet.widgets.common.session import session_of
from napari_unet.widgets.common.task import Failed, Outcome, task_named
from napari_unet.widgets.predict.runs import scoped

if TYPE_CHECKING:
    import threading
    from collections.abc import Collection, Generator, Sequence
    from importlib.metadata import EntryPoint
    from typing import TypeAlias

    from napari.layers import Image, Labels
    from napari.viewer import Viewer
    from numpy.typing import NDArray
    from qtpy.QtWidgets import QWidget

    from napari_unet.data.axes import ArrayLike, Region
    from napari_unet.model.trained import TrainedNetwork
    from napari_unet.objects.clicking import Point, PromptedView, Selection
    from napari_unet.prediction.config import PredictConfig
    from napari_unet.widgets.annotate.target import PaintTarget
    from napari_unet.widgets.common.task import Work
    from napari_unet.widgets.predict.options import PredictOptions

    Path: TypeAlias = Sequence[tuple[float, ...]]

_COLOUR = "#ffb000"
_DRAGGED = 4  # pixels of the image: less is a click
HELP = (
    "Click a cell, or draw a line through all of its parts. The wheel over it makes it larger or "
    "smaller; Shift adds, or draws a box around it; Alt takes away. Enter or the next click paints "
    "it, Escape does not."
)


@dataclass(frozen=True, eq=False)
class ClickableView:
    """A view of an image whose cells can be clicked."""

    frame: tuple[int, ...]
    """Index on the frame axes."""
    region: Region
    """The box of the view, ``YX``."""
    cells: PromptedView

    def points(self, path: Sequence[tuple[int | float, ...]]) -> list[Point] | None:
        """Return where in the view a path in the labels goes; None: it does not begin there."""
        points = [self.point(position) for position in path]
        return None if points[0] is None else [point for point in points if point is not None]

    def point(self, position: tuple[int | float, ...]) -> Point | None:
        """Return where in the view a position in the labels is; None: not in it."""
        lead = len(self.frame)
        if tuple(round(at) for at in position[:lead]) != self.frame:
            return None
        y, x = (at - part.start for at, part in zip(position[lead:], self.region, strict=True))
        height, width = self.cells.shape
        return (y, x) if 0 <= y < height and 0 <= x < width else None

    def indices(self, inside: tuple[NDArray[np.intp], ...]) -> tuple[NDArray[np.intp], ...]:
        """Return where pixels of the view are in the labels, one array per axis of these."""
        plane = (at + part.start for at, part in zip(inside, self.region, strict=True))
        return (*(np.full(inside[0].size, at) for at in self.frame), *plane)


class ClickTool(QObject):
    """Proposes the whole cell under the mouse, and paints it when it is agreed to."""

    told: Final = Signal(str)

    def __init__(
        self, viewer: Viewer, target: PaintTarget, options: PredictOptions, dock: QWidget
    ) -> None:
        super().__init__(dock)
        self._viewer, self._target, self._options = viewer, target, options
        self._session = session_of(viewer)
        self._task = task_named(self._session, "Getting ready for clicks")
        self._view: ClickableView | None = None
        self._outdated = False  # whether the view that is coming is of another model, or planes
        self._selection: Selection | None = None
        self._wanted: Path | None = None  # while the view is not ready
        self._asked: Selection | None = None  # of a prompt model, which takes its time
        self.prompt_model: EntryPoint | None = None
        self._in_hand: Labels | None = None
        self._preview = Highlight(viewer, _COLOUR, self)
        self._keys = [QShortcut(QKeySequence(key), dock) for key in ("Return", "Enter", "Escape")]
        for shortcut, slot in zip(self._keys, (self.accept, self.accept, self.drop), strict=True):
            shortcut.setContext(Qt.ShortcutContext.WindowShortcut)
            shortcut.setEnabled(False)
            shortcut.activated.connect(slot)
        self._asking = task_named(self._session, "Asking the prompt model")
        self._asking.ended.connect(self._on_answered)
        self._task.ended.connect(self._on_ready)
        self._session.model_changed.connect(self._forget)
        for emitter in (viewer.dims.events.order, viewer.dims.events.ndisplay):
            follow(self, emitter, self._leave)

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
            write_pixels(layer, view.indices(found), number)
            layer.selected_label = number

    def drop(self) -> None:
        """Propose nothing any more."""
        self._selection = self._asked = None
        self._preview.hide()

    def choose(self, prompt_model: EntryPoint | None) -> None:
        """Let a prompt model of others propose; None: the model in use."""
        self.prompt_model = prompt_model
        self.drop()
        self._forget()

    # --- The mouse --------------------------------------------------------------------------------

    def _drag(self, layer: Labels, event: Any) -> Generator[None, None, None]:
        path = [tuple(layer.world_to_data(event.position))]
        modifiers = set(event.modifiers)
        yield
        while event.type == "mouse_move":
            path.append(tuple(layer.world_to_data(event.position)))
            yield
        moved = np.abs(np.subtract(path, path[0])).max() > _DRAGGED
        if moved and "Shift" in modifiers:
            self.propose_box(path[0], path[-1])
        else:
            self.propose(path if moved else path[:1], modifiers)

    def propose(self, path: Path, modifiers: Collection[str] = frozenset()) -> None:
        """Propose the cell under a click or a line in the layer, and paint the one before.

        With Shift what is under it is added to what is proposed, with Alt it is taken away.
        """
        points = None if self._view is None else self._view.points(path)
        if self._view is None or points is None:
            self._wanted = path
            self._prepare()
        elif "Shift" in modifiers and self._selection is not None:
            self._show(self._selection.add(*points))
        elif "Alt" in modifiers and self._selection is not None:
            self._show(self._selection.remove(*points))
        else:
            self._paint()
            self._show(_selected(self._view, points))

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
        if selection is None or view is None or not view.cells.adjustable:
            return
        point = view.point(tuple(layer.world_to_data(event.position)))
        if point is not None and selection.mask[int(point[0]), int(point[1])]:
            self._show(selection.turned(1 if event.delta[1] > 0 else -1))
            event.handled = True

    def _show(self, selection: Selection) -> None:
        if self.prompt_model is None:
            self._show_mask(selection)
            return
        self._asked = selection  # the newest wish counts
        if not self._asking.running:
            self.told.emit(f"Asking {self.prompt_model.name}…")
            self._asking.start(lambda stop: (selection, selection.mask.any()))

    def _on_answered(self, outcome: Outcome) -> None:
        wanted, self._asked = self._asked, None
        if isinstance(outcome, Failed):
            self.drop()
            self.told.emit(outcome.text)
        elif wanted is outcome.result[0]:
            self._show_mask(wanted)
        elif wanted is not None:
            self._show(wanted)

    def _show_mask(self, selection: Selection) -> None:
        if not selection.mask.any():
            self.drop()
            self.told.emit("There is nothing like a cell under the mouse.")
            return
        self._selection = selection
        self.told.emit(HELP)
        if self._view is not None and self._in_hand is not None:
            self._preview.show(self._in_hand, self._view.indices(np.nonzero(selection.mask)))

    # --- What can be clicked ----------------------------------------------------------------------

    def _leave(self, event: object = None) -> None:
        """Propose nothing of planes that are not on screen any more."""
        self._view, self._outdated = None, self._task.running
        self.drop()

    def _forget(self) -> None:
        """Ask the new model, where clicks are under way."""
        self._view, self._outdated = None, self._task.running
        if self._in_hand is not None and not self._session.training.running:
            self._prepare()

    def _prepare(self) -> None:
        image = self._target.image
        if image is None or self._task.running:
            return
        try:
            work = self._work(image)
        except NapariUNetError as error:
            self.told.emit(str(error))
            show_warning(str(error))
            return
        self.told.emit("Getting ready for clicks…")
        self._task.start(work)

    def _work(self, image: Image) -> Work:
        if self.prompt_model is None:
            return clickable_work(self._viewer, self._options, image)
        config = _config_of_view(self._viewer, self._options, image)
        return partial(prompted_view, self.prompt_model, pixels_of(image), config)

    def _on_ready(self, outcome: Outcome) -> None:
        wanted, self._wanted = self._wanted, None
        outdated, self._outdated = self._outdated, False
        if isinstance(outcome, Failed):
            self.told.emit(outcome.text)
            return
        if outdated:
            self._wanted = wanted
            self._forget()
            return
        view: ClickableView = outcome.result
        self._view = view
        if self._in_hand is None:
            return
        self.told.emit(HELP)
        points = None if wanted is None else view.points(wanted)
        if points is not None:
            self._show(_selected(view, points))


def _selected(view: ClickableView, points: list[Point]) -> Selection:
    return view.cells.at(points[0]) if len(points) == 1 else view.cells.along(points)


def _config_of_view(viewer: Viewer, options: PredictOptions, image: Image) -> PredictConfig:
    return scoped(viewer, image, options.keep(image), 2, options.config(image), "view")


def clickable_work(viewer: Viewer, options: PredictOptions, image: Image) -> Work:
    """Return what makes the cells on screen clickable, for a task.

    The model in use finds them, or a starting model where that finds no objects in a plane. Raises
    NapariUNetError where the axes do not fit, or the view is too large.
    """
    config, model = _config_of_view(viewer, options, image), session_of(viewer).model
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


def prompted_view(
    prompt_model: EntryPoint, image: ArrayLike, config: PredictConfig, stop: threading.Event
) -> ClickableView:
    """Read what is on screen for a prompt model of others."""
    from napari_unet.data.frames import Frame
    from napari_unet.external.prompt_models import PromptedImage, load_prompt_model

    assert config.axes is not None
    assert config.frames is not None
    assert config.region is not None
    model, (frame, *_) = load_prompt_model(prompt_model), config.frames
    pixels = Frame(image, config.axes, 2, frame).read(config.region).astype(np.float32)
    plane = pixels[0] if len(pixels) == 1 else np.moveaxis(pixels, 0, -1)
    return ClickableView(frame, config.region, PromptedImage(prompt_model.name, model, plane))
