"""The Annotate widget: make a layer to paint in, choose what to paint, see how much is painted."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Labels
from napari.utils.notifications import show_error, show_info, show_warning
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QGridLayout, QHBoxLayout, QMenu, QWidget

from napari_unet.data.labels import annotation_from_mask
from napari_unet.errors import NapariUNetError
from napari_unet.training.config import TrainConfig
from napari_unet.widgets.annotation import (
    BACKGROUND_VALUE,
    FIRST_VALUE,
    annotation_of,
    colour_layer,
    image_for,
    new_annotation,
    next_object,
)
from napari_unet.widgets.class_table import ClassRow, ClassTable
from napari_unet.widgets.controls import (
    add_row,
    button,
    choice,
    form_layout,
    note,
    scrolling_column,
)
from napari_unet.widgets.coverage import Coverage, coverage_text, measure_coverage, shown_plane
from napari_unet.widgets.layers import (
    LayerComboBox,
    follow,
    labels_of,
    placement_from_labels,
    plain_layers,
)
from napari_unet.widgets.recovery import RecoveryBar
from napari_unet.widgets.regions import new_regions_layer, regions_layer
from napari_unet.widgets.session import session_of
from napari_unet.widgets.shortcuts import add_shortcuts
from napari_unet.widgets.task import Failed, Outcome
from napari_unet.widgets.weight_map import show_weights, weight_events

if TYPE_CHECKING:
    from napari.viewer import Viewer

    from napari_unet.data.labels import Unpainted

_COUNT_DELAY_MS = 250
_BRUSH_SIZE = 8
_KEYS_TEXT = (
    "Keys: <b>1</b>…<b>9</b> class, <b>N</b> next object, <b>B</b> background, <b>E</b> eraser, "
    "<b>Ctrl+Z</b> undo."
)


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
        self.table = ClassTable()
        self.coverage = note()
        self.keys = note()
        self.keys.setText(_KEYS_TEXT)
        self.recovery = RecoveryBar(napari_viewer)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_COUNT_DELAY_MS)
        self._timer.timeout.connect(self._show_coverage)
        self._lay_out()
        self._connect()
        self._watch()

    def _lay_out(self) -> None:
        layout = scrolling_column(self)
        layout.addWidget(self.recovery)
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
        self.mask_button = button(
            "From &mask…",
            "Take an existing mask or prediction as annotation; you choose what 0 means.",
            self._fill_mask_menu,
        )
        self._mask_menu = QMenu(self.mask_button)
        self._mask_menu.aboutToShow.connect(self._fill_mask_menu)
        self.mask_button.setMenu(self._mask_menu)
        row = QHBoxLayout()
        row.addWidget(self.new_button)
        row.addWidget(self.mask_button)
        layout.addLayout(row)
        layout.addWidget(self.table)
        layout.addLayout(self._tools())
        layout.addWidget(self.coverage)
        layout.addWidget(self.keys)
        layout.addStretch()

    def _tools(self) -> QGridLayout:
        self.background_button = button(
            "&Background",
            "Paint background (1, key B): a stroke between and beside cells helps most.",
            self.paint_background,
        )
        self.next_button = button("", "", self.paint_next)
        self.same_button = button(
            "&Same again",
            "Go on painting with the number of the newest object.",
            self.paint_latest,
        )
        self.erase_button = button(
            "&Erase", "Erase paint (key E): what is erased is unlabelled again.", self.erase
        )
        self.add_button = button("&Add class", "Add a class to the table.", self.add_class)
        self.remove_button = button(
            "&Remove class",
            "Remove the chosen class from the table, and its paint; Ctrl+Z brings the paint back.",
            self.remove_class,
        )
        self.region_button = button(
            "&Fully annotated",
            "Draw a rectangle in which everything is painted: what is unpainted inside it is "
            "background.",
            self.draw_region,
        )
        self.weights_button = button(
            "Show &weight map",
            "Show what each painted pixel counts: gaps between touching cells count most.",
            self.show_weight_map,
        )
        grid = QGridLayout()
        buttons = (
            (self.background_button, self.next_button),
            (self.erase_button, self.same_button),
            (self.add_button, self.remove_button),
            (self.region_button, self.weights_button),
        )
        for row, pair in enumerate(buttons):
            for column, each in enumerate(pair):
                grid.addWidget(each, row, column)
        return grid

    def _connect(self) -> None:
        self.annotation_box.layer_changed.connect(self._watch)
        self.image_box.layer_changed.connect(self._share_choice)
        self.kind_box.currentIndexChanged.connect(self._choose_kind)
        self.table.picked.connect(self.pick)
        self.table.renamed.connect(self._rename)
        self.table.recoloured.connect(self._recolour)
        self._session.weight_map.ended.connect(self._show_weights)
        follow(self, self._viewer.dims.events.current_step, self._count_soon)
        keys: dict[str, Any] = {str(n): partial(self.pick, n) for n in range(1, 10)}
        keys |= {"N": self.paint_next, "B": self.paint_background, "E": self.erase}
        add_shortcuts(self, keys)

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
        self._adopt(new_annotation(self._viewer, image, self.kind_box.currentData()))
        self._take_brush(FIRST_VALUE)

    def take_mask(self, mask: Labels, zero: Unpainted) -> None:
        """Add an annotation that says what an existing mask says.

        Parameters
        ----------
        mask : Labels
            Stays as it is.
        zero : {"unlabelled", "background"}
            What 0 means in it.
        """
        try:
            labels = annotation_from_mask(np.asarray(labels_of(mask)), zero)
        except NapariUNetError as error:
            show_error(str(error))
            return
        layer = Labels(labels, name=f"{mask.name} as annotation", **placement_from_labels(mask))
        annotation_of(layer).kind = self.kind_box.currentData()
        self._viewer.add_layer(layer)
        image = image_for(self._viewer, layer)
        if image is not None:
            annotation_of(layer).image = image
        self._adopt(layer)

    def _adopt(self, layer: Labels) -> None:
        layer.brush_size = _BRUSH_SIZE
        self.annotation_box.layer = layer
        self._watch()
        self._viewer.layers.selection.active = layer

    def _fill_mask_menu(self) -> None:
        self._mask_menu.clear()
        for layer in plain_layers(self._viewer):
            if isinstance(layer, Labels):
                menu = self._mask_menu.addMenu(layer.name)
                as_finished = partial(self.take_mask, layer, "background")
                as_partial = partial(self.take_mask, layer, "unlabelled")
                menu.addAction("0 is background: everything is labelled", as_finished)
                menu.addAction("0 is not labelled yet", as_partial)
        if self._mask_menu.isEmpty():
            self._mask_menu.addSection("There is no labels layer yet")

    def pick(self, value: int) -> None:
        """Paint with a class; with objects, everything above the background is the newest one."""
        if value > BACKGROUND_VALUE and self.kind_box.currentData() == "objects":
            self.paint_latest()
        else:
            self._take_brush(value)

    def paint_background(self) -> None:
        """Paint with the background's number."""
        self._take_brush(BACKGROUND_VALUE)

    def paint_next(self) -> None:
        """Paint the next object, or the next class of the table."""
        layer = self.annotation
        if layer is None or self.kind_box.currentData() == "objects":
            self._take_brush(FIRST_VALUE if layer is None else next_object(labels_of(layer)))
            return
        values = [value for value in self.table.values if value > BACKGROUND_VALUE]
        later = [value for value in values if value > layer.selected_label]
        self._take_brush((later or values or [FIRST_VALUE])[0])

    def paint_latest(self) -> None:
        """Go on with the newest object or class."""
        layer = self.annotation
        largest = 0 if layer is None else int(np.max(labels_of(layer), initial=0))
        self._take_brush(max(FIRST_VALUE, largest))

    def erase(self) -> None:
        """Take the eraser."""
        layer = self._layer_to_paint()
        if layer is not None:
            layer.mode = "erase"
            self.table.mark(0)

    def add_class(self) -> None:
        """Add a class with the next number, and paint with it."""
        layer = self._layer_to_paint()
        if layer is None:
            return
        value = max([BACKGROUND_VALUE, *self._class_values(layer)]) + 1
        annotation = annotation_of(layer)
        annotation.names[value] = annotation.name_of(value)
        self._after_classes_changed(layer)
        self._take_brush(value)

    def remove_class(self) -> None:
        """Remove the chosen class and its paint."""
        layer, value = self._layer_to_paint(), self.table.chosen_value
        if layer is None or value is None or value <= BACKGROUND_VALUE:
            show_warning("Choose a class in the table first; the background stays.")
            return
        painted = np.nonzero(labels_of(layer) == value)
        if painted[0].size:
            layer.data_setitem(painted, 0)
        annotation = annotation_of(layer)
        annotation.names.pop(value, None)
        annotation.colours.pop(value, None)
        self._after_classes_changed(layer)

    def draw_region(self) -> None:
        """Take the rectangle tool of the layer that holds the fully annotated regions."""
        layer = self._layer_to_paint()
        if layer is None:
            return
        shapes = regions_layer(self._viewer, layer) or new_regions_layer(self._viewer, layer)
        self._viewer.layers.selection.active = shapes
        shapes.mode = "add_rectangle"

    def show_weight_map(self) -> None:
        """Compute the weights of the plane on screen and show them as an image layer."""
        layer = self._layer_to_paint()
        if layer is None:
            return
        labels = np.array(shown_plane(self._viewer, layer))
        config = TrainConfig(kind=self.kind_box.currentData())
        if not self._session.weight_map.start(partial(weight_events, labels, config)):
            show_info("The weight map is still being computed.")

    def _show_weights(self, outcome: Outcome) -> None:
        if isinstance(outcome, Failed):
            show_warning(outcome.text)
        elif self.annotation is not None:
            show_weights(self._viewer, self.annotation, outcome.result)
            self._viewer.layers.selection.active = self.annotation

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
        self.table.mark(value)

    def _layer_to_paint(self) -> Labels | None:
        layer = self.annotation
        if layer is None:
            show_warning("There is no layer to paint in yet: click New annotation.")
            return None
        self._viewer.layers.selection.active = layer
        return layer

    def _choose_kind(self) -> None:
        kind = self.kind_box.currentData()
        if self.annotation is not None:
            annotation_of(self.annotation).kind = kind
            self._after_classes_changed(self.annotation)
        self._session.kind_chosen.emit(kind)
        self._show_kind()

    def _show_kind(self) -> None:
        of_objects = self.kind_box.currentData() == "objects"
        thing = "object" if of_objects else "class"
        self.next_button.setText(f"Ne&xt {thing}")
        self.next_button.setToolTip(f"Paint the next {thing} (key N).")
        for each in (self.add_button, self.remove_button):
            each.setVisible(not of_objects)
        self.same_button.setVisible(of_objects)
        self._timer.start()

    def _rename(self, value: int, name: str) -> None:
        if self.annotation is not None and name:
            annotation_of(self.annotation).names[value] = name
        self._show_coverage()

    def _recolour(self, value: int, colour: str) -> None:
        if self.annotation is not None:
            annotation_of(self.annotation).colours[value] = colour
            self._after_classes_changed(self.annotation)

    def _after_classes_changed(self, layer: Labels) -> None:
        colour_layer(layer, self._class_values(layer))
        self._show_coverage()

    def _class_values(self, layer: Labels) -> list[int]:
        known = set(annotation_of(layer).names) | {BACKGROUND_VALUE, FIRST_VALUE}
        known |= {int(v) for v in np.unique(shown_plane(self._viewer, layer)) if v > 0}
        return sorted(known)

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
                self._take_over(layer)
        self._share_choice()
        self._show_kind()

    def _take_over(self, layer: Labels) -> None:
        annotation = annotation_of(layer)
        known = image_for(self._viewer, layer)
        if known is not None:
            annotation.image = known
            self.image_box.layer = known
        self.kind_box.setCurrentIndex(self.kind_box.findData(annotation.kind))
        self._after_classes_changed(layer)

    def _share_choice(self) -> None:
        image, layer = self.image_box.layer, self.annotation
        if image is not None and layer is not None:
            self._session.choose_annotation(image, layer)

    def _count_soon(self, event: object = None) -> None:
        self._timer.start()

    def _show_coverage(self) -> None:
        layer = self.annotation
        if layer is None:
            self.coverage.setText("Click New annotation, then paint a few cells and background.")
            self.table.show_rows(())
            return
        kind = self.kind_box.currentData()
        coverage = measure_coverage(shown_plane(self._viewer, layer), kind)
        self.table.show_rows(self._rows(layer, coverage))
        self.table.mark(0 if layer.mode == "erase" else layer.selected_label)
        text = coverage_text(coverage, kind)
        self.coverage.setText(text if layer.ndim == 2 else f"In this plane. {text}")

    def _rows(self, layer: Labels, coverage: Coverage) -> tuple[ClassRow, ...]:
        annotation = annotation_of(layer)
        if annotation.kind == "objects":
            name, colour = annotation.name_of(1), annotation.colour_of(1)
            pixels = coverage.pixels_of(*coverage.objects)
            objects_name = annotation.names.get(FIRST_VALUE, "objects")
            return (
                ClassRow(1, name, colour, coverage.pixels_of(1), 0),
                ClassRow(FIRST_VALUE, objects_name, "", pixels, len(coverage.objects)),
            )
        return tuple(
            ClassRow(
                value,
                annotation.name_of(value),
                annotation.colour_of(value),
                coverage.pixels_of(value),
                coverage.components.get(value, 0),
            )
            for value in self._class_values(layer)
        )


def _paint_events(layer: Labels) -> tuple[Any, ...]:
    return layer.events.paint, layer.events.set_data, layer.events.data
