"""Correct a prediction with the mouse: delete, merge, split, grow; or take it over as annotation.

Each correction is one step of napari's undo, in the layer that it changes.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Labels
from napari.utils.notifications import show_info, show_warning
from qtpy.QtWidgets import QGridLayout, QPushButton, QWidget

from napari_unet.data.corrections import (
    Edit,
    delete_object,
    grow_object,
    merge_objects,
    split_object,
)
from napari_unet.data.teaching import annotation_number_for, copy_region, corrections_as_annotation
from napari_unet.errors import NapariUNetError
from napari_unet.widgets.annotation import annotation_of, annotations_in, new_annotation
from napari_unet.widgets.controls import button, note
from napari_unet.widgets.layers import labels_of, plain_layers
from napari_unet.widgets.result_layers import Predicted, predicted_of
from napari_unet.widgets.session import session_of

if TYPE_CHECKING:
    from collections.abc import Generator

    from napari.viewer import Viewer
    from numpy.typing import NDArray

# Name of a tool: the text of its button, its tooltip, and how it is used.
TOOLS = {
    "copy": (
        "Take &over",
        "Copy the prediction under the brush into the annotation, as painted.",
        "Drag over what is right: it is copied into the annotation.",
    ),
    "copy_object": (
        "Take o&bject",
        "Copy a whole predicted object into the annotation.",
        "Click objects that are right: they are copied into the annotation.",
    ),
    "delete": (
        "De&lete",
        "Delete an object: there is none.",
        "Click objects that are none.",
    ),
    "merge": (
        "Mer&ge",
        "Join objects that are one.",
        "Drag from one part of an object to the other.",
    ),
    "split": (
        "Spl&it",
        "Part an object along a line.",
        "Draw a line through an object that should be two.",
    ),
    "grow": (
        "G&row",
        "Grow an object by one pixel.",
        "Click an object that is too small; click again for more.",
    ),
}


class CorrectPanel(QWidget):
    """Tools that act on the newest prediction, or on the one that is selected.

    Parameters
    ----------
    viewer : Viewer
        Whose layers.
    """

    def __init__(self, viewer: Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self._session = session_of(viewer)
        self._tool = ""
        self._in_hand: Labels | None = None
        self.buttons: dict[str, QPushButton] = {}
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        for number, (tool, (text, tooltip, _)) in enumerate(TOOLS.items()):
            made = button(text, tooltip, partial(self.take_tool, tool))
            made.setCheckable(True)
            self.buttons[tool] = made
            grid.addWidget(made, number // 3, number % 3)
        self.teach_button = button(
            "&Teach the corrections",
            "Copy all corrected objects into the annotation; Continue in the Train widget does "
            "so by itself. Corrected pixels count more.",
            self.teach,
        )
        self.text = note()
        grid.addWidget(self.teach_button, 2, 0, 1, 3)
        grid.addWidget(self.text, 3, 0, 1, 3)
        self._session.before_training.connect(self._teach_quietly)

    @property
    def prediction(self) -> Labels | None:
        """The prediction to correct: the selected one, or else the newest."""
        active = getattr(
            self._viewer.layers.selection.active,
            "__wrapped__",
            self._viewer.layers.selection.active,
        )
        if isinstance(active, Labels) and predicted_of(active) is not None:
            return active
        found = [
            layer
            for layer in plain_layers(self._viewer)
            if isinstance(layer, Labels) and predicted_of(layer) is not None
        ]
        return found[-1] if found else None

    def take_tool(self, tool: str) -> None:
        """Take a tool in hand, or put it down if it is the one in hand.

        Parameters
        ----------
        tool : str
            A key of `TOOLS`.
        """
        again = tool == self._tool
        self.put_down()
        layer = self.prediction
        if again:
            return
        if layer is None:
            self.buttons[tool].setChecked(False)
            show_warning("There is no prediction to correct yet: click Whole or View above.")
            return
        self._tool, self._in_hand = tool, layer
        layer.mode = "pan_zoom"
        layer.mouse_pan = False
        layer.mouse_drag_callbacks.append(self._drag)
        layer.events.mode.connect(self._mode_changed)
        self._viewer.layers.selection.active = layer
        self.buttons[tool].setChecked(True)
        self.text.setText(TOOLS[tool][2])

    def put_down(self) -> None:
        """Put the tool down: the mouse is napari's again."""
        layer, self._in_hand, self._tool = self._in_hand, None, ""
        for each in self.buttons.values():
            each.setChecked(False)
        self.text.clear()
        if layer is not None:
            layer.events.mode.disconnect(self._mode_changed)
            layer.mouse_drag_callbacks.remove(self._drag)
            layer.mouse_pan = layer.mode in ("pan_zoom", "transform")

    def _mode_changed(self, event: object = None) -> None:
        """Another tool of napari was taken: ours goes down."""
        self.put_down()

    def _drag(self, layer: Labels, event: Any) -> Generator[None, None, None]:
        """Collect where the mouse goes, and act at its end, or on the way with the brush."""
        path = [np.asarray(layer.world_to_data(event.position), float)]
        if self._tool == "copy":
            with self._annotation_for(layer).block_history():
                self._copy_under_brush(layer, path[-1])
                yield
                while event.type == "mouse_move":
                    self._copy_under_brush(
                        layer, np.asarray(layer.world_to_data(event.position), float)
                    )
                    yield
            return
        yield
        while event.type == "mouse_move":
            path.append(np.asarray(layer.world_to_data(event.position), float))
            yield
        try:
            self.apply(layer, self._tool, np.array(path))
        except NapariUNetError as error:
            show_warning(str(error))

    def apply(self, layer: Labels, tool: str, path: NDArray[np.floating[Any]]) -> None:
        """Use a tool along a path.

        Parameters
        ----------
        layer : Labels
            A prediction.
        tool : str
            A key of `TOOLS`.
        path : ndarray
            Shape (points, axes of the layer), in pixels.
        """
        frame, labels, inside = self._frame_at(layer, path)
        numbers = _numbers_along(labels, inside)
        if not numbers:
            show_info("There is no object under the mouse.")
            return
        if tool == "copy_object":
            self._copy_object(layer, frame, labels, numbers[0])
            return
        edit = self._edit(tool, labels, numbers, inside)
        if edit.empty:
            show_info(_NOTHING[tool])
            return
        _write(layer, frame, edit)

    def _edit(
        self,
        tool: str,
        labels: NDArray[Any],
        numbers: list[int],
        path: NDArray[np.floating[Any]],
    ) -> Edit:
        if tool == "delete":
            return delete_object(labels, numbers[0])
        if tool == "merge":
            return merge_objects(labels, numbers)
        if tool == "grow":
            return grow_object(labels, numbers[0])
        middle = numbers[0] if len(numbers) == 1 else _longest_under(labels, path, numbers)
        return split_object(labels, middle, path)

    def _frame_at(
        self, layer: Labels, path: NDArray[np.floating[Any]]
    ) -> tuple[tuple[int, ...], NDArray[Any], NDArray[np.floating[Any]]]:
        """Return the frame that was clicked, its labels, and the path inside it."""
        predicted = predicted_of(layer)
        ndim = predicted.ndim if predicted else 2
        lead = layer.ndim - ndim
        frame = tuple(
            int(np.clip(round(float(at)), 0, size - 1))
            for at, size in zip(path[0, :lead], layer.data.shape, strict=False)
        )
        return frame, np.asarray(layer.data)[frame], path[:, lead:]

    def _annotation_for(self, layer: Labels) -> Labels:
        """Return the layer to teach in; made where there is none."""
        shape = layer.data.shape
        chosen = self._session.annotation
        known = [chosen] if chosen is not None else []
        for found in (*known, *annotations_in(self._viewer)):
            if labels_of(found).shape == shape:
                return found
        made = new_annotation(self._viewer, self._image_of(layer))
        self._viewer.layers.selection.active = layer
        return made

    def _image_of(self, layer: Labels) -> Image:
        images = [each for each in plain_layers(self._viewer) if isinstance(each, Image)]
        return next(image for image in images if layer.name.startswith(image.name))

    def _copy_object(
        self, layer: Labels, frame: tuple[int, ...], labels: NDArray[Any], number: int
    ) -> None:
        annotation = self._annotation_for(layer)
        painted = np.asarray(labels_of(annotation))[frame]
        numbers = {number: annotation_number_for(painted, labels, number)}
        edit = copy_region(labels, painted, np.nonzero(labels == number), numbers)
        _write(annotation, frame, edit)
        self._emphasise(annotation, frame, edit)

    def _copy_under_brush(self, layer: Labels, at: NDArray[np.floating[Any]]) -> None:
        annotation = self._annotation_for(layer)
        frame, labels, inside = self._frame_at(layer, at[np.newaxis])
        painted = np.asarray(labels_of(annotation))[frame]
        pixels = _disk(inside[0], annotation.brush_size / 2, labels.shape)
        under = labels[pixels]
        numbers = {
            int(number): annotation_number_for(painted, labels, int(number))
            for number in np.unique(under[under > 0])
        }
        edit = copy_region(labels, painted, pixels, numbers)
        _write(annotation, frame, edit)
        self._emphasise(annotation, frame, edit)

    def teach(self) -> None:
        """Copy every corrected object, and what was deleted, into the annotation."""
        taught = self._teach_quietly()
        show_info(
            f"{taught} corrected pixels are in the annotation now; click Continue to learn them."
            if taught
            else "Nothing was corrected since."
        )

    def _teach_quietly(self) -> int:
        """Teach what was corrected in all predictions since the last time; count the pixels."""
        taught = 0
        for layer in plain_layers(self._viewer):
            predicted = predicted_of(layer) if isinstance(layer, Labels) else None
            if predicted is not None:
                taught += self._teach_layer(layer, predicted)
        return taught

    def _teach_layer(self, layer: Labels, predicted: Predicted) -> int:
        before = predicted.labels if predicted.taken is None else predicted.taken
        after = np.asarray(layer.data)
        if np.array_equal(before, after):
            return 0
        annotation = self._annotation_for(layer)
        taught = 0
        with annotation.block_history():
            for frame in np.ndindex(*after.shape[: after.ndim - predicted.ndim]):
                if np.array_equal(before[frame], after[frame]):
                    continue
                painted = np.asarray(labels_of(annotation))[frame]
                edit = corrections_as_annotation(before[frame], after[frame], painted)
                _write(annotation, frame, edit)
                self._emphasise(annotation, frame, edit)
                taught += int(edit.values.size)
        predicted.taken = after.copy()
        return taught

    def _emphasise(self, annotation: Labels, frame: tuple[int, ...], edit: Edit) -> None:
        """Remember corrected pixels: they count more in the next training."""
        state = annotation_of(annotation)
        shape = labels_of(annotation).shape
        if state.corrected is None or state.corrected.shape != shape:
            state.corrected = np.zeros(shape, bool)
        state.corrected[frame][edit.indices] = True


_NOTHING = {
    "delete": "There is no object under the mouse.",
    "merge": "Drag from one object to another one to join them.",
    "split": "The line must cross the object from one side to the other.",
    "grow": "There is no background beside this object to grow into.",
}


def _write(layer: Labels, frame: tuple[int, ...], edit: Edit) -> None:
    """Make an edit as one step of napari's undo."""
    if edit.empty:
        return
    size = edit.values.size
    leading = tuple(np.full(size, at) for at in frame)
    layer.data_setitem((*leading, *edit.indices), edit.values)


def _numbers_along(labels: NDArray[Any], path: NDArray[np.floating[Any]]) -> list[int]:
    """Return the objects under a path, in the order in which it meets them."""
    found: dict[int, None] = {}
    for a, b in zip(path, [*path[1:], path[-1]], strict=True):
        steps = max(1, int(np.ceil(np.abs(b - a).max())))
        for point in np.linspace(a, b, steps + 1):
            pixel = tuple(np.round(point).astype(int))
            inside = all(0 <= p < size for p, size in zip(pixel, labels.shape, strict=True))
            if inside and labels[pixel] > 0:
                found[int(labels[pixel])] = None
    return list(found)


def _longest_under(
    labels: NDArray[Any], path: NDArray[np.floating[Any]], numbers: list[int]
) -> int:
    """Return the object that a path crosses longest."""
    a, b = path[0], path[-1]
    points = np.linspace(a, b, max(2, int(np.ceil(np.abs(b - a).max())) + 1))
    pixels = np.round(points).astype(int).clip(0, np.array(labels.shape) - 1)
    under = labels[tuple(pixels.T)]
    return max(numbers, key=lambda number: int(np.count_nonzero(under == number)))


def _disk(
    centre: NDArray[np.floating[Any]], radius: float, shape: tuple[int, ...]
) -> tuple[NDArray[np.intp], ...]:
    """Return the pixels within a radius, in the plane of the centre."""
    y, x = centre[-2:]
    rows = np.arange(max(0, int(y - radius)), min(shape[-2], int(y + radius) + 2))
    columns = np.arange(max(0, int(x - radius)), min(shape[-1], int(x + radius) + 2))
    grid = np.meshgrid(rows, columns, indexing="ij")
    near = (grid[0] - y) ** 2 + (grid[1] - x) ** 2 <= radius**2
    plane = (grid[0][near], grid[1][near])
    if len(shape) == 2:
        return plane
    z = int(np.clip(round(float(centre[0])), 0, shape[0] - 1))
    return (np.full(plane[0].size, z), *plane)
