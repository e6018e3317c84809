"""The Annotate widget: make a layer to paint in, choose what to paint, see how much is painted."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Labels
from napari.utils.notifications import show_error, show_info, show_warning
from qtpy.QtCore import Qt

from napari_unet.errors import NapariUNetError
from napari_unet.tasks import TASKS
from napari_unet.training.config import TrainConfig
from napari_unet.widgets.annotate.class_table import (
    ClassTableWidget,
    rows_of_classes,
    rows_of_objects,
)
from napari_unet.widgets.annotate.coverage import (
    coverage_text,
    measure_coverage,
    shown_plane,
    shown_regions,
)
from napari_unet.widgets.annotate.import_annotations import ImportButton
from napari_unet.widgets.annotate.join_channels import JoinButton
from napari_unet.widgets.annotate.mask_menu import MaskMenu, add_annotation_from
from napari_unet.widgets.annotate.paint_tools import PaintTools, add_shortcuts
from napari_unet.widgets.annotate.painter import Painter, PaintWatcher
from napari_unet.widgets.annotate.weight_map import compute_weights, show_weights
from napari_unet.widgets.common.annotation import (
    FIRST_VALUE,
    annotation_of,
    image_for,
    new_annotation,
)
from napari_unet.widgets.common.button_grid import ButtonGrid
from napari_unet.widgets.common.controls import (
    Note,
    add_row,
    button,
    choice,
    form_layout,
    scrolling_column,
)
from napari_unet.widgets.common.dock import Dock
from napari_unet.widgets.common.layers import LayerComboBox, follow
from napari_unet.widgets.common.recovery import RecoveryBar
from napari_unet.widgets.common.regions import regions_layer
from napari_unet.widgets.common.task import Failed, Outcome

if TYPE_CHECKING:
    from napari.viewer import Viewer
    from qtpy.QtWidgets import QVBoxLayout

    from napari_unet.data.labels import Unpainted
    from napari_unet.widgets.annotate.class_table import ClassRow
    from napari_unet.widgets.annotate.coverage import Coverage

_BRUSH_SIZE = 8
_KEYS_TEXT = (
    "Keys: <b>1</b>…<b>9</b> class, <b>N</b> next object, <b>B</b> background, <b>E</b> eraser, "
    "<b>Ctrl+Z</b> undo."
)


class AnnotateWidget(Dock):
    """Prepares painting: 0 is unlabelled, 1 is background, 2 and up are objects or classes."""

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__(napari_viewer)
        self.image_box = LayerComboBox(napari_viewer, Image)
        self.join_button = JoinButton(napari_viewer)
        self.annotation_box = LayerComboBox(napari_viewer, Labels)
        self.kind_box = choice(
            [(task.things, task.kind) for task in TASKS.values()],
            "What a painted number stands for: one cell, or one class. Train follows this choice.",
        )
        self.painter = Painter(napari_viewer, self.annotation_box, self.kind_box, self)
        self.table = ClassTableWidget()
        self.coverage = Note()
        self.keys = Note()
        self.keys.setTextFormat(Qt.TextFormat.RichText)
        self.keys.setText(_KEYS_TEXT)
        self.recovery = RecoveryBar(napari_viewer)
        self._watcher = PaintWatcher(self)
        self._watcher.painted.connect(self._show_coverage)
        self._lay_out()
        self._connect()
        self._watch()

    def _lay_out(self) -> None:
        layout = scrolling_column(self)
        layout.addWidget(self.recovery)
        form = form_layout()
        add_row(form, "Image", self.image_box, "The image to paint on.")
        form.addRow("", self.join_button)
        add_row(form, "Paint in", self.annotation_box, "The labels layer to paint in.")
        add_row(form, "Paint", self.kind_box)
        layout.addLayout(form)
        self.new_button = button(
            "&New annotation",
            "Add an empty labels layer that covers the image, and take the brush.",
            self.create_annotation,
        )
        mask_menu = MaskMenu(self._viewer, self.take_mask, self)
        self.mask_button = button(
            "From &mask…",
            "Take an existing mask or prediction as annotation; you choose what 0 means.",
            mask_menu.fill,
        )
        self.mask_button.setMenu(mask_menu)
        self.import_button = ImportButton(
            self._viewer, lambda: self.image_box.layer, lambda: self.painter.task.kind, self._adopt
        )
        layout.addLayout(ButtonGrid(3, (self.new_button, self.mask_button, self.import_button)))
        layout.addWidget(self.table)
        self._add_tools(layout)
        layout.addWidget(self.coverage)
        layout.addWidget(self.keys)
        layout.addStretch(1)

    def _add_tools(self, layout: QVBoxLayout) -> None:
        self._tools = tools = PaintTools(self)
        self.background_button, self.next_button = tools.background_button, tools.next_button
        self.erase_button, self.same_button = tools.erase_button, tools.same_button
        self.add_button, self.remove_button = tools.add_button, tools.remove_button
        self.region_button, self.weights_button = tools.region_button, tools.weights_button
        layout.addLayout(tools)

    def _connect(self) -> None:
        self.annotation_box.layer_changed.connect(self._watch)
        self.image_box.layer_changed.connect(self._share_choice)
        self.join_button.joined.connect(self._take_joined)
        self.kind_box.currentIndexChanged.connect(self._choose_kind)
        self.table.picked.connect(self.pick)
        self.table.renamed.connect(self.painter.rename)
        self.table.recoloured.connect(self.painter.recolour)
        self.painter.brush_taken.connect(self.table.mark)
        self.painter.changed.connect(self._show_coverage)
        self._session.weight_map.ended.connect(self._show_weights)
        follow(self, self._viewer.dims.events.current_step, self._watcher.tell_soon)
        follow(self, self._viewer.layers.events.inserted, self._watch_regions)
        follow(self, self._viewer.layers.events.removed, self._watch_regions)
        keys: dict[str, Any] = {str(n): partial(self.pick, n) for n in range(1, 10)}
        keys |= {"N": self.paint_next, "B": self.paint_background, "E": self.erase}
        add_shortcuts(self, keys)

    @property
    def annotation(self) -> Labels | None:
        """The labels layer that is painted in."""
        return self.painter.annotation

    def create_annotation(self) -> None:
        """Add a labels layer that covers the chosen image, and take the brush."""
        image = self.image_box.layer
        if image is None:
            show_warning("Open an image first: drop a file on the window, or File > Open Sample.")
            return
        self._adopt(new_annotation(self._viewer, image, self.painter.task.kind))
        self.painter.take_brush(FIRST_VALUE)

    def _take_joined(self, image: Image) -> None:
        self.image_box.layer = image

    def take_mask(self, mask: Labels, zero: Unpainted) -> None:
        """Add an annotation with what an existing mask holds; the mask stays as it is.

        `zero` is what 0 means in it.
        """
        try:
            layer = add_annotation_from(self._viewer, mask, zero, self.painter.task.kind)
        except NapariUNetError as error:
            show_error(str(error))
        else:
            self._adopt(layer)

    def _adopt(self, layer: Labels) -> None:
        layer.brush_size = _BRUSH_SIZE
        self.annotation_box.layer = layer
        self._watch()
        self._viewer.layers.selection.active = layer

    def pick(self, value: int) -> None:
        """Paint with a class; with objects, everything above the background is the newest one."""
        self.painter.pick(value)

    def paint_background(self) -> None:
        """Paint with the background's number."""
        self.painter.paint_background()

    def paint_next(self) -> None:
        """Paint the next object, or the next class of the table."""
        self.painter.paint_next(self.table.values)

    def paint_latest(self) -> None:
        """Go on with the newest object or class."""
        self.painter.paint_latest()

    def erase(self) -> None:
        """Take the eraser."""
        self.painter.erase()

    def add_class(self) -> None:
        """Add a class with the next number, and paint with it."""
        self.painter.add_class()

    def remove_class(self) -> None:
        """Remove the chosen class and its paint."""
        self.painter.remove_class(self.table.chosen_value)

    def draw_region(self) -> None:
        """Take the rectangle tool of the layer that holds the fully annotated regions."""
        self.painter.draw_region()

    def show_weight_map(self) -> None:
        """Compute the weights of the plane on screen and show them as an image layer."""
        layer = self.painter.layer_to_paint()
        if layer is None:
            return
        labels = np.array(shown_plane(self._viewer, layer))
        config = TrainConfig(kind=self.painter.task.kind)
        if not self._session.weight_map.start(partial(compute_weights, labels, config)):
            show_info("The weight map is still being computed.")

    def _show_weights(self, outcome: Outcome) -> None:
        if isinstance(outcome, Failed):
            show_warning(outcome.text)
        elif self.annotation is not None:
            show_weights(self._viewer, self.annotation, outcome.result)
            self._viewer.layers.selection.active = self.annotation

    def _choose_kind(self) -> None:
        kind = self.painter.task.kind
        if self.annotation is not None:
            annotation_of(self.annotation).kind = kind
            self.painter.show_classes(self.annotation)
        self._session.kind_chosen.emit(kind)
        self._show_kind()

    def _show_kind(self) -> None:
        self._tools.show_task(self.painter.task)
        self._watcher.tell_soon()

    def _watch(self) -> None:
        """Follow the paint of the chosen layer."""
        layer = self.annotation
        if layer is not self._watcher.layer:
            self._watcher.watch(layer)
            self._watch_regions()
            if layer is not None:
                self._take_over(layer)
        self._share_choice()
        self._show_kind()

    def _watch_regions(self, event: object = None) -> None:
        layer = self.annotation
        self._watcher.watch_regions(None if layer is None else regions_layer(self._viewer, layer))

    def _take_over(self, layer: Labels) -> None:
        annotation = annotation_of(layer)
        known = image_for(self._viewer, layer)
        if known is not None:
            annotation.image = known
            self.image_box.layer = known
        self.kind_box.setCurrentIndex(self.kind_box.findData(annotation.kind))
        self.painter.show_classes(layer)

    def _share_choice(self) -> None:
        image, layer = self.image_box.layer, self.annotation
        if image is not None and layer is not None:
            self._session.choose_annotation(image, layer)

    def _show_coverage(self) -> None:
        layer = self.annotation
        if layer is None:
            self.coverage.setText("Click New annotation, then paint a few cells and background.")
            self.table.show_rows(())
            return
        task = self.painter.task
        plane, regions = shown_plane(self._viewer, layer), shown_regions(self._viewer, layer)
        coverage = measure_coverage(plane, task, regions)
        self.table.show_rows(self._rows(layer, coverage))
        self.table.mark(0 if layer.mode == "erase" else layer.selected_label)
        text = coverage_text(coverage, task)
        self.coverage.setText(text if layer.ndim == 2 else f"In this plane. {text}")

    def _rows(self, layer: Labels, coverage: Coverage) -> tuple[ClassRow, ...]:
        annotation = annotation_of(layer)
        if annotation.task.named:
            return rows_of_classes(annotation, coverage, self.painter.class_values(layer))
        return rows_of_objects(annotation, coverage)
