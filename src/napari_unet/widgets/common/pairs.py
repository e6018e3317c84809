"""Pairs of an image and its annotation: the table of them, and copies for a training."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import reduce
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from napari.layers import Image
from napari.utils.notifications import show_warning
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QComboBox, QHeaderView, QTableWidgetItem, QWidget

from napari_unet.data.labels import copy_of_paint, fill_regions, is_painted
from napari_unet.tasks.overlapping_classes import check_class_names
from napari_unet.widgets.common.annotation import (
    annotation_of,
    annotations_in,
    class_of_layer,
    covers,
    image_for,
    images_of_its_shape,
    lay_on,
    question_about,
    was_painted_here,
)
from napari_unet.widgets.common.layers import (
    follow,
    labels_of,
    labels_shape_of,
    layers_of_others,
    pixels_of,
    plain_layers,
    transparency_notices,
)
from napari_unet.widgets.common.placement import (
    anisotropy_of_scale,
    named_axes_of,
    pixel_size_of,
)
from napari_unet.widgets.common.regions import regions_of
from napari_unet.widgets.common.session import session_of
from napari_unet.widgets.common.tables import PlainTable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.layers import Labels
    from napari.viewer import Viewer
    from numpy.typing import NDArray

    from napari_unet.tasks import Task
    from napari_unet.training.dataset import AnnotatedImage

_ANNOTATION, _IMAGE = range(2)
_MOST_ROWS = 5


@dataclass(frozen=True)
class LayerPair:
    """An image and the layer that it is annotated in."""

    image: Image
    annotation: Labels
    others: tuple[Labels, ...] = ()
    """Where the other overlapping classes of the image are painted."""

    @property
    def layers(self) -> tuple[Labels, ...]:
        """All layers that are painted in."""
        return (self.annotation, *self.others)


def every_pair(viewer: Viewer) -> tuple[LayerPair, ...]:
    """List all annotations of a viewer whose image is open, ticked or not."""
    found = [(image_for(viewer, layer), layer) for layer in annotations_in(viewer)]
    return tuple(LayerPair(image, layer) for image, layer in found if image is not None)


def paint_on_none(viewer: Viewer) -> list[Labels]:
    """List the layers with paint whose image is closed or not clear; not those of files."""
    return [
        layer
        for layer in annotations_in(viewer)
        if layer.source.path is None and image_for(viewer, layer) is None
        if is_painted(labels_of(layer))
    ]


def ticked_pairs(viewer: Viewer) -> tuple[LayerPair, ...]:
    """List the annotations to learn from whose image is open.

    Those of the overlapping classes of one image are one pair.
    """
    found: dict[int, LayerPair] = {}
    for pair in every_pair(viewer):
        annotation = annotation_of(pair.annotation)
        if annotation.used:
            key = id(pair.image if annotation.task.in_layers else pair.annotation)
            known = found.get(key)
            others = () if known is None else (*known.others, pair.annotation)
            found[key] = pair if known is None else replace(known, others=others)
    return tuple(found.values())


def questions_about(viewer: Viewer) -> list[str]:
    """Return of each ticked layer with paint why it cannot be learned from, if it is not clear."""
    layers = [each for each in annotations_in(viewer) if annotation_of(each).used]
    asked = [(question, layer) for layer in layers if (question := question_about(viewer, layer))]
    return [question for question, layer in asked if is_painted(labels_of(layer))]


def what_is_missing(viewer: Viewer) -> str:
    """Return why there is nothing to learn from: no layers, or none that fit together."""
    questions, images = questions_about(viewer), layers_of_others(viewer, Image)
    if questions:
        return questions[0]
    for layer in annotations_in(viewer):
        if images and annotation_of(layer).used and image_for(viewer, layer) is None:
            shape, image = tuple(labels_of(layer).shape), images[-1]
            return (
                f"Labels {shape} of {layer.name!r} do not match image {labels_shape_of(image)} of "
                f"{image.name!r}: make labels for it in the Annotate widget."
            )
    return (
        "Training needs an image and paint on it: open an image, and paint a few cells (key N, or "
        "the Annotate widget)."
    )


class PairsTable(PlainTable):
    """Shows every labels layer that can be painted in, with the image it belongs to."""

    changed: Final = Signal()

    def __init__(self, viewer: Viewer) -> None:
        super().__init__(2)
        self._viewer = viewer
        self._rows: list[Labels] = []
        self._shown: object = None
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAsNeeded)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setHorizontalHeaderLabels(["Learn from", "painted on"])
        self.header.setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        self.setAccessibleName("Annotations to learn from")
        self.setToolTip(
            "Every layer you can paint in, and its image. Ticked ones are learned from together."
        )
        events = viewer.layers.events
        for emitter in (events.inserted, events.removed, events.reordered, events.renamed):
            follow(self, emitter, self.reset_choices)
        self.itemChanged.connect(self._tick)
        self.reset_choices()

    def pairs(self) -> tuple[LayerPair, ...]:
        """Return the ticked pairs whose image is open."""
        return ticked_pairs(self._viewer)

    def reset_choices(self, event: object = None) -> None:
        """Update the rows; ticks and choices are kept with the layers."""
        state = self._state()
        if state == self._shown:
            return
        self._shown = state
        self._rows = annotations_in(self._viewer)
        self.blockSignals(True)
        self.setRowCount(0)  # with it go the boxes of the previous rows
        self.setRowCount(len(self._rows))
        for row, layer in enumerate(self._rows):
            item = QTableWidgetItem(layer.name)
            item.setFlags(
                Qt.ItemFlag.ItemIsEnabled
                | Qt.ItemFlag.ItemIsUserCheckable
                | Qt.ItemFlag.ItemIsSelectable
            )
            used = annotation_of(layer).used
            item.setCheckState(Qt.CheckState.Checked if used else Qt.CheckState.Unchecked)
            item.setToolTip(f"Tick {layer.name} to learn from it.")
            self.setItem(row, _ANNOTATION, item)
            self.setCellWidget(row, _IMAGE, self._image_box(layer))
        self._follow_one_another()
        self.blockSignals(False)
        self.show_lines(min(max(len(self._rows), 1), _MOST_ROWS))
        self.changed.emit()

    def _follow_one_another(self) -> None:
        """Let the Tab key go from the table to its boxes: new ones would come last of all."""
        previous: QWidget = self
        for row in range(self.rowCount()):
            box = self.cellWidget(row, _IMAGE)
            if box is not None:
                QWidget.setTabOrder(previous, box)
                previous = box

    def _state(self) -> object:
        """Return all that the table depends on: napari has more events than changes."""
        layers = plain_layers(self._viewer)
        rows = [
            (id(layer), layer.name, annotation_of(layer).used, id(image_for(self._viewer, layer)))
            for layer in annotations_in(self._viewer)
        ]
        images = [(id(layer), layer.name) for layer in layers if isinstance(layer, Image)]
        return rows, images

    def tick(self, layer: Labels, used: bool) -> None:
        """Tick or untick the row of a layer."""
        if layer in self._rows:
            item: Any = self.item(self._rows.index(layer), _ANNOTATION)
            item.setCheckState(Qt.CheckState.Checked if used else Qt.CheckState.Unchecked)

    def _image_box(self, layer: Labels) -> QComboBox:
        box = QComboBox()
        box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        choices = _choices_of(self._viewer, layer)
        box.addItems([text for text, _, _ in choices] or ["no image of its shape"])
        box.setEnabled(bool(choices))
        question, chosen = question_about(self._viewer, layer), image_for(self._viewer, layer)
        box.setToolTip(question or f"The image that {layer.name} was painted on.")
        box.setAccessibleName(f"Image of {layer.name}")
        if choices:
            box.setPlaceholderText("choose its image…")
            known = (number for number, each in enumerate(choices) if each[1] is chosen)
            box.setCurrentIndex(next(known, -1))

        def choose(index: int) -> None:
            if index >= 0:
                lay_on(self._viewer, layer, *choices[index][1:])
                self.changed.emit()

        box.currentIndexChanged.connect(choose)
        return box

    def _tick(self, item: QTableWidgetItem) -> None:
        if item.column() == _ANNOTATION:
            used = item.checkState() == Qt.CheckState.Checked
            annotation_of(self._rows[item.row()]).used = used
            self.changed.emit()


def _choices_of(viewer: Viewer, layer: Labels) -> list[tuple[str, Image, bool]]:
    """Return the images that a layer may be painted on, in words, and how it lies on them.

    Where it lies elsewhere, what is seen there may be meant, or the same pixels.
    """
    choices = []
    for image in images_of_its_shape(viewer, layer):
        if covers(layer, image):
            choices.append((image.name, image, False))
            continue
        if isinstance(layer.data, np.ndarray):
            choices.append((f"{image.name}, where it is seen", image, True))
        choices.append((f"{image.name}, pixel by pixel", image, False))
    return choices


def annotated_image(viewer: Viewer, pair: LayerPair) -> AnnotatedImage:
    """Copy what is painted, so that painting can go on while a worker reads it."""
    from napari_unet.training.dataset import AnnotatedImage

    states = [annotation_of(layer) for layer in pair.layers]
    corrected = [each.corrected for each in states if each.corrected is not None]
    in_layers = states[0].task.in_layers
    names = tuple(map(class_of_layer, pair.layers)) if in_layers else ()
    return AnnotatedImage(
        pair.image.name,
        pixels_of(pair.image),
        _packed(viewer, pair, names) if names else copy_of_paint(labels_of(pair.annotation)),
        () if names else regions_of(viewer, pair.annotation),
        copy_of_paint(reduce(np.logical_or, corrected)) if corrected else None,
        named_axes_of(pair.image),
        pixel_size_of(pair.image),
        transparency_notices(pair.image),
        names,
        anisotropy_of_scale(pair.image),
    )


def paint_on(viewer: Viewer, image: Image, task: Task) -> NDArray[Any] | None:
    """Copy what is painted on an image for a task and ticked, so that results can show it.

    None where nothing is, or all of it counts as painted.
    """
    if session_of(viewer).settings.unpainted == "background":
        return None
    for layer in reversed(annotations_in(viewer)):
        state = annotation_of(layer)
        ours = state.used and state.task is task and was_painted_here(layer)
        if ours and image_for(viewer, layer) is image and is_painted(labels_of(layer)):
            return fill_regions(copy_of_paint(labels_of(layer)), regions_of(viewer, layer))
    return None


def _packed(viewer: Viewer, pair: LayerPair, names: tuple[str, ...]) -> NDArray[Any]:
    """Put the paint of all overlapping classes together, and what is fully annotated of each."""
    check_class_names(names)  # two of one name would be one
    unpainted = session_of(viewer).settings.unpainted
    paint = {
        name: fill_regions(
            np.asarray(labels_of(layer)),
            regions_of(viewer, layer) if unpainted == "unlabelled" else (),
        )
        for name, layer in zip(names, pair.layers, strict=True)
    }
    return annotation_of(pair.annotation).task.packed(paint, unpainted)


def annotated_images(viewer: Viewer, pairs: Sequence[LayerPair]) -> tuple[AnnotatedImage, ...]:
    """Copy what is painted on several images; tell what is left out, and why."""
    for question in questions_about(viewer):
        show_warning(f"Not learned yet: {question}")
    return tuple(annotated_image(viewer, pair) for pair in pairs)
