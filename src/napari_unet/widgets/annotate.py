"""The Annotate widget: make a layer to paint in, choose what to paint, see how much is painted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Labels
from napari.utils.notifications import show_warning
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QGridLayout, QWidget

from napari_unet.widgets.controls import add_row, button, choice, column, form_layout, note
from napari_unet.widgets.layers import LayerComboBox, follow, labels_of, new_annotation
from napari_unet.widgets.session import session_of

if TYPE_CHECKING:
    from napari.viewer import Viewer
    from numpy.typing import NDArray

UNLABELLED_VALUE, BACKGROUND_VALUE, FIRST_VALUE = 0, 1, 2
_COUNT_DELAY_MS = 250
_COUNTED_PIXELS = 2**21  # counting more would be felt while painting
_BRUSH_SIZE = 8


class AnnotateWidget(QWidget):
    """Prepares painting: 0 is unlabelled, 1 is background, 2 and up are objects or classes.

    Parameters
    ----------
    napari_viewer : Viewer
        The viewer that it is docked in.
    """

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__()
        self._viewer = napari_viewer
        self._session = session_of(napari_viewer)
        self._watched: Labels | None = None
        self.image_box = LayerComboBox(napari_viewer, Image)
        self.annotation_box = LayerComboBox(napari_viewer, Labels)
        self.kind_box = choice(
            [("objects", "objects"), ("classes", "classes")],
            "What a painted number stands for: one cell, or one class. Train follows this choice.",
        )
        self.coverage = note()
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_COUNT_DELAY_MS)
        self._timer.timeout.connect(self._show_coverage)
        self._lay_out()
        self.annotation_box.layer_changed.connect(self._watch)
        self.image_box.layer_changed.connect(self._share_choice)
        self.kind_box.currentIndexChanged.connect(self._choose_kind)
        self._show_kind()
        self._watch()

    def _lay_out(self) -> None:
        layout = column(self)
        form = form_layout()
        add_row(form, "Image", self.image_box, "The image to paint on.")
        add_row(form, "Paint in", self.annotation_box, "The labels layer to paint in.")
        add_row(form, "Paint", self.kind_box)
        layout.addLayout(form)
        self.new_button = button(
            "&New annotation",
            "Add an empty labels layer that covers the image, and take the brush.",
            self.create_annotation,
        )
        layout.addWidget(self.new_button)
        self.background_button = button(
            "&Background",
            "Paint background (1): a stroke between and beside cells helps most.",
            self.paint_background,
        )
        self.next_button = button("", "", self.paint_next)
        self.same_button = button(
            "&Same again",
            "Go on painting with the number under the last stroke of an object.",
            self.paint_latest,
        )
        self.erase_button = button(
            "&Erase", "Erase paint: what is erased is unlabelled again.", self.erase
        )
        grid = QGridLayout()
        grid.addWidget(self.background_button, 0, 0)
        grid.addWidget(self.next_button, 0, 1)
        grid.addWidget(self.same_button, 1, 0)
        grid.addWidget(self.erase_button, 1, 1)
        layout.addLayout(grid)
        layout.addWidget(self.coverage)
        layout.addStretch()

    @property
    def annotation(self) -> Labels | None:
        """The labels layer that is painted in."""
        return self.annotation_box.layer

    def create_annotation(self) -> None:
        """Add a labels layer that covers the chosen image, and take the brush."""
        image = self.image_box.layer
        if image is None:
            show_warning("Open an image first: drop a file on the window, or File > Open Sample.")
            return
        layer = new_annotation(self._viewer, image)
        self.annotation_box.layer = layer
        self._watch()
        layer.brush_size = _BRUSH_SIZE
        self._take_brush(FIRST_VALUE)

    def paint_background(self) -> None:
        """Paint with the background's number."""
        self._take_brush(BACKGROUND_VALUE)

    def paint_next(self) -> None:
        """Paint the next object, or the next class, with a number of its own."""
        self._take_brush(max(FIRST_VALUE, self._largest() + 1))

    def paint_latest(self) -> None:
        """Go on with the newest object or class."""
        self._take_brush(max(FIRST_VALUE, self._largest()))

    def erase(self) -> None:
        """Take the eraser."""
        layer = self._layer_to_paint()
        if layer is not None:
            layer.mode = "erase"

    def _take_brush(self, value: int) -> None:
        layer = self._layer_to_paint()
        if layer is None:
            return
        dtype = labels_of(layer).dtype
        if value > np.iinfo(dtype).max:
            show_warning(
                f"A layer of {dtype} holds no number {value}; convert its data type "
                "(right click on the layer)."
            )
            return
        layer.selected_label = value
        layer.mode = "paint"

    def _layer_to_paint(self) -> Labels | None:
        layer = self.annotation
        if layer is None:
            show_warning("There is no layer to paint in yet: click New annotation.")
            return None
        self._viewer.layers.selection.active = layer
        return layer

    def _largest(self) -> int:
        layer = self.annotation
        return 0 if layer is None else int(np.max(labels_of(layer), initial=0))

    def _choose_kind(self) -> None:
        self._session.kind_chosen.emit(self.kind_box.currentData())
        self._show_kind()

    def _show_kind(self) -> None:
        thing = "object" if self.kind_box.currentData() == "objects" else "class"
        self.next_button.setText(f"Ne&xt {thing}")
        self.next_button.setToolTip(f"Paint the next {thing}, with a new number.")
        self._timer.start()

    def _watch(self) -> None:
        """Follow the paint of the chosen layer; undo and redo fire only `set_data`."""
        layer = self.annotation
        if layer is not self._watched:
            if self._watched is not None:
                for emitter in _paint_events(self._watched):
                    emitter.disconnect(self._count_soon)
            self._watched = layer
            if layer is not None:
                for emitter in _paint_events(layer):
                    follow(self, emitter, self._count_soon)
        self._share_choice()
        self._timer.start()

    def _share_choice(self) -> None:
        image, annotation = self.image_box.layer, self.annotation
        if image is not None and annotation is not None:
            self._session.choose_annotation(image, annotation)

    def _count_soon(self, event: object = None) -> None:
        self._timer.start()

    def _show_coverage(self) -> None:
        layer = self.annotation
        if layer is None:
            self.coverage.setText("Click New annotation, then paint a few cells and background.")
            return
        of_objects = self.kind_box.currentData() == "objects"
        steps = self._viewer.dims.current_step[-layer.ndim :]
        labels = labels_of(layer)
        shown = [min(step, size - 1) for step, size in zip(steps, labels.shape, strict=False)]
        plane = labels[tuple(shown[: layer.ndim - 2])]
        step = _sampling_step(plane.size)
        text = coverage_text(np.asarray(plane[::step, ::step]), of_objects=of_objects)
        self.coverage.setText(text if layer.ndim == 2 else f"In this plane. {text}")


def _sampling_step(pixels: int) -> int:
    """Count every pixel of ordinary images, every second or third of huge ones."""
    return int(np.ceil(np.sqrt(max(pixels / _COUNTED_PIXELS, 1))))


def _paint_events(layer: Labels) -> tuple[Any, ...]:
    return layer.events.paint, layer.events.set_data, layer.events.data


def coverage_text(labels: NDArray[np.integer], *, of_objects: bool) -> str:
    """Say in words what is painted and what would help most.

    Parameters
    ----------
    labels : ndarray
        0 unlabelled, 1 background, 2 and up objects or classes.
    of_objects : bool
        Whether the numbers are objects.
    """
    values, counts = np.unique(labels, return_counts=True)
    painted = {int(v): int(n) for v, n in zip(values, counts, strict=True) if v > 0}
    background = painted.pop(BACKGROUND_VALUE, 0)
    things = "objects" if of_objects else "classes"
    foreground = sum(painted.values())
    pixels = max(labels.size, 1)
    text = (
        f"Painted: {(background + foreground) / pixels:.1%} of the pixels; {len(painted)} {things} "
        f"({foreground / pixels:.1%}) and background ({background / pixels:.1%})."
    )
    if not painted:
        return text + f" Paint a few {things}: each with its own number."
    if not background:
        return text + " Background: nothing painted yet. A stroke between cells helps most."
    if of_objects and len(painted) < 3:
        return text + " A few more objects, some of them touching, would help."
    return text + " Enough to train; more where the result is wrong helps most."
