"""What is painted, on which image, in which layer: the choices, and what they come to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from napari.layers import Image, Labels
from qtpy.QtCore import QObject, Signal

from napari_unet.tasks import PAINTED_TASKS
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
from napari_unet.widgets.annotate.painter import Painter, PaintWatcher
from napari_unet.widgets.common.annotation import (
    FIRST_VALUE,
    annotation_of,
    annotations_in,
    covers,
    image_for,
    images_of_its_shape,
    lay_on,
    new_annotation,
    question_about,
)
from napari_unet.widgets.common.controls import Note, choice
from napari_unet.widgets.common.layers import LayerComboBox, follow
from napari_unet.widgets.common.regions import regions_layer
from napari_unet.widgets.common.session import session_of

if TYPE_CHECKING:
    from napari.viewer import Viewer
    from qtpy.QtWidgets import QWidget

    from napari_unet.tasks import Task
    from napari_unet.widgets.annotate.class_table import ClassRow
    from napari_unet.widgets.annotate.coverage import Coverage

_BRUSH_SIZE = 8


def _is_of(viewer: Viewer, layer: Labels, image: Image) -> bool:
    """Return whether a layer annotates an image; where it may annotate several, that is not yet."""
    known = image_for(viewer, layer)
    if known is None and annotation_of(layer).image is None:
        return covers(layer, image)
    return known is image


class PaintTarget(QObject):
    """Controls that choose what is painted and where, and tell how much is; a dock places them.

    `hint` is what to do while there is no layer to paint in.
    """

    changed: Final = Signal()  # another image, layer or kind
    told: Final = Signal(str)  # why nothing can be painted

    def __init__(self, viewer: Viewer, dock: QWidget, hint: str) -> None:
        super().__init__(dock)
        self._hint = hint
        self._viewer, self._session = viewer, session_of(viewer)
        self.image_box: LayerComboBox[Image] = LayerComboBox(viewer, Image)
        self.annotation_box: LayerComboBox[Labels] = LayerComboBox(viewer, Labels)
        self.kind_box: Final = choice(
            [(task.things, task.kind) for task in PAINTED_TASKS],
            "What a painted number stands for: one cell, or one class. Overlapping classes, and "
            "objects of several, have a layer for each class: New annotation makes the next one. "
            "Train follows this choice.",
        )
        self.painter: Final = Painter(viewer, self.annotation_box, self.kind_box, dock)
        self.table: Final = ClassTableWidget()
        self.coverage: Final = Note()
        self._watcher = PaintWatcher(dock)
        self._connect(dock)
        self.watch()

    def _connect(self, dock: QWidget) -> None:
        self.annotation_box.layer_changed.connect(self._follow_annotation)
        self.image_box.layer_changed.connect(self._follow_image)
        self.image_box.activated.connect(self._answer)
        self.kind_box.currentIndexChanged.connect(self._choose_kind)
        self.table.picked.connect(self.painter.pick)
        self.table.renamed.connect(self.painter.rename)
        self.table.recoloured.connect(self.painter.recolour)
        self.painter.brush_taken.connect(self.table.mark)
        self.painter.changed.connect(self._show_coverage)
        self.painter.told.connect(self.told)
        self._watcher.painted.connect(self._show_coverage)
        self._session.annotation_chosen.connect(self._follow_choice)
        follow(self, self._viewer.dims.events.current_step, self._watcher.tell_soon)
        follow(self, self._viewer.layers.events.inserted, self._watch_regions)
        follow(self, self._viewer.layers.events.removed, self._watch_regions)

    @property
    def image(self) -> Image | None:
        """The image that is painted on."""
        return self.image_box.layer

    @property
    def annotation(self) -> Labels | None:
        """The labels layer that is painted in; None where that is not of the chosen image."""
        layer, image = self.painter.annotation, self.image
        if layer is None or image is None or _is_of(self._viewer, layer, image):
            return layer
        return None

    @property
    def task(self) -> Task:
        """What a painted number stands for."""
        return self.painter.task

    def create(self) -> bool:
        """Add a labels layer that covers the image, and take the brush; tell where there is none.

        Return whether there is one now.
        """
        image = self.image
        if image is None:
            self.told.emit("Open an image first: drop a file on the window, or File > Open Sample.")
            return False
        self.adopt(new_annotation(self._viewer, image, self.task.kind))
        self.painter.take_brush(FIRST_VALUE)
        return True

    def paint_next(self) -> None:
        """Paint the next object, or the next class of the table."""
        self.painter.paint_next(self.table.values)

    def adopt(self, layer: Labels) -> None:
        """Paint in a layer that was just made."""
        layer.brush_size = _BRUSH_SIZE
        self.annotation_box.layer = layer
        self.watch()
        self._viewer.layers.selection.active = layer

    def watch(self) -> None:
        """Follow the paint of the chosen layer."""
        layer = self.annotation
        if layer is not self._watcher.layer:
            self._watcher.watch(layer)
            self._watch_regions()
            if layer is not None:
                self._take_over(layer)
        self._share_choice()
        self._show_kind()

    def _follow_image(self) -> None:
        """Paint in a layer of the image, where there is one."""
        if self.annotation is None and self.image is not None:
            for layer in reversed(annotations_in(self._viewer)):
                if image_for(self._viewer, layer) is self.image:
                    self.annotation_box.layer = layer
                    break
        self.watch()

    def _follow_annotation(self) -> None:
        """Show the image of the layer that is chosen to paint in."""
        layer = self.painter.annotation
        image = None if layer is None else image_for(self._viewer, layer)
        if image is not None:
            self.image_box.layer = image
        self.watch()

    def _answer(self, index: int = 0) -> None:
        """Let the chosen image be that of a layer of which it was not clear."""
        layer, image = self.painter.annotation, self.image
        if layer is not None and image in images_of_its_shape(self._viewer, layer):
            assert image is not None
            if question_about(self._viewer, layer):
                lay_on(self._viewer, layer, image, as_seen=isinstance(layer.data, np.ndarray))
                self.watch()

    def _choose_kind(self) -> None:
        kind = self.task.kind
        if self.annotation is not None:
            annotation_of(self.annotation).kind = kind
            self.painter.show_classes(self.annotation)
        self._session.kind_chosen.emit(kind)
        self._show_kind()

    def _show_kind(self) -> None:
        self.changed.emit()
        self._watcher.tell_soon()

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
        image, layer = self.image, self.annotation
        same = image is self._session.image and layer is self._session.annotation
        if image is not None and layer is not None and not same:
            self._session.choose_annotation(image, layer)

    def _follow_choice(self) -> None:
        """Show what was chosen in another dock."""
        layer = self._session.annotation
        if layer is not None and layer is not self.annotation:
            self.annotation_box.layer = layer
            self._follow_annotation()

    def _show_coverage(self) -> None:
        layer = self.annotation
        if layer is None:
            unclear = self.painter.annotation
            question = "" if unclear is None else question_about(self._viewer, unclear)
            self.coverage.setText(question or self._hint)
            self.table.show_rows(())
            return
        plane, regions = shown_plane(self._viewer, layer), shown_regions(self._viewer, layer)
        coverage = measure_coverage(plane, self.task, regions)
        self.table.show_rows(self._rows(layer, coverage))
        self.table.mark(0 if layer.mode == "erase" else layer.selected_label)
        text = coverage_text(coverage, self.task)
        self.coverage.setText(text if layer.ndim == 2 else f"In this plane. {text}")

    def _rows(self, layer: Labels, coverage: Coverage) -> tuple[ClassRow, ...]:
        annotation = annotation_of(layer)
        if annotation.task.named:
            return rows_of_classes(annotation, coverage, self.painter.class_values(layer))
        return rows_of_objects(annotation, coverage)
