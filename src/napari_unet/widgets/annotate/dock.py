"""The Annotate widget: make a layer to paint in, choose what to paint, see how much is painted."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from napari.layers import Image
from napari.utils.notifications import show_error, show_info, show_warning
from qtpy.QtCore import Qt

from napari_unet.data.axes import axes_in_doubt, guess_axes
from napari_unet.errors import LabelsError, NapariUNetError
from napari_unet.widgets.annotate.import_annotations import (
    ImportButton,
    MaskMenu,
    add_annotation_from,
)
from napari_unet.widgets.annotate.join_channels import JoinButton
from napari_unet.widgets.annotate.object_class import change_class
from napari_unet.widgets.annotate.painter import FILL_TEXT
from napari_unet.widgets.annotate.target import PaintTarget
from napari_unet.widgets.common.annotation import annotation_of, image_for, question_about
from napari_unet.widgets.common.axes_row import AxesRow
from napari_unet.widgets.common.button_grid import ButtonGrid
from napari_unet.widgets.common.controls import Note, add_row, button, form_layout, scrolling_column
from napari_unet.widgets.common.dock import Dock
from napari_unet.widgets.common.file_axes import FileAxes
from napari_unet.widgets.common.layers import METADATA_KEY, labels_of, pixels_of, plain_layers
from napari_unet.widgets.common.pairs import LayerPair, annotated_images, ticked_pairs
from napari_unet.widgets.common.placement import placement_along
from napari_unet.widgets.common.recovery import RecoveryBar
from napari_unet.widgets.common.session import session_of
from napari_unet.widgets.common.task import Failed, Outcome
from napari_unet.widgets.common.visible import frame_and_region, visible_box

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Sequence

    from napari.layers import Labels
    from napari.viewer import Viewer
    from numpy.typing import NDArray
    from qtpy.QtWidgets import QPushButton

    from napari_unet.data.labels import Unpainted
    from napari_unet.tasks import Task
    from napari_unet.training.config import TrainConfig
    from napari_unet.training.dataset import AnnotatedImage

_NO_LAYER = "Click New annotation, then paint a few cells and background."
_KEYS_TEXT = (
    "Keys: <b>1</b>…<b>9</b> class, <b>N</b> next object, <b>B</b> background, <b>E</b> eraser, "
    "<b>F</b> fill between slices, <b>Ctrl+Z</b> undo."
)
_CLASS_KEY_TEXT = (
    " <b>C</b> gives the object under the mouse the next class: it goes to the layer of that."
)


class AnnotateWidget(Dock):
    """Prepares painting: 0 is unlabelled, 1 is background, 2 and up are objects or classes."""

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__(napari_viewer)
        self.target = PaintTarget(napari_viewer, self, _NO_LAYER)
        self.axes_row, self.axes_note = AxesRow(_guess), Note()
        self._file_axes = FileAxes(napari_viewer, self._session, self)
        self.join_button = JoinButton(napari_viewer)
        self.keys = Note()
        self.keys.setTextFormat(Qt.TextFormat.RichText)
        self.keys.setText(_KEYS_TEXT)
        self.recovery: Final = RecoveryBar(napari_viewer)
        self._lay_out()
        self._connect()
        self._show_task()
        self._show_image()

    def _show_task(self) -> None:
        """Show the buttons that make sense for what is painted, in a volume or not."""
        task = self.target.task
        self.fill_button.setVisible(self.target.painter.has_depth)
        self.next_button.setText(f"Next {task.thing}")
        self.next_button.setAccessibleName(f"Next {task.thing}")
        self.next_button.setToolTip(f"Paint the next {task.thing} (key N).")
        for each in (self.add_button, self.remove_button):
            each.setVisible(task.named)
        self.same_button.setVisible(not task.named)
        self.keys.setText(_KEYS_TEXT + _CLASS_KEY_TEXT * _has_classes(task))

    def _lay_out(self) -> None:
        layout, target = scrolling_column(self), self.target
        layout.addWidget(self.recovery)
        form = form_layout()
        add_row(form, "Image", target.image_box, "The image to paint on.")
        add_row(form, "Axes", self.axes_row)
        form.addRow("", self.join_button)
        add_row(form, "Paint in", target.annotation_box, "The labels layer to paint in.")
        add_row(form, "Paint", target.kind_box)
        layout.addLayout(form)
        layout.addWidget(self.axes_note)
        self.new_button = button(
            "&New annotation",
            "Add an empty labels layer that covers the image, and take the brush.",
            self.new_annotation,
        )
        mask_menu = MaskMenu(self._viewer, self.take_mask, self)
        self.mask_button: QPushButton = button(
            "From &mask…",
            "Take an existing mask or prediction as annotation; you choose what 0 means.",
            mask_menu.fill,
        )
        self.mask_button.setMenu(mask_menu)
        self.import_button: ImportButton = ImportButton(
            self._viewer, lambda: target.image, lambda: target.task.kind, target.adopt
        )
        layout.addLayout(ButtonGrid(3, (self.new_button, self.mask_button, self.import_button)))
        layout.addWidget(target.table)
        layout.addLayout(self._make_tools())
        layout.addWidget(self.region_button)
        layout.addWidget(target.coverage)
        layout.addWidget(self.keys)
        layout.addStretch(1)

    def _make_tools(self) -> ButtonGrid:
        """Return the buttons that choose what to paint, but for the region, which needs a row."""
        painter = self.target.painter
        self.background_button: QPushButton = button(
            "Background",
            "Paint background (1, key B): a stroke between and beside cells helps most.",
            painter.paint_background,
        )
        self.next_button: QPushButton = button("", "", self.target.paint_next)
        self.erase_button: QPushButton = button(
            "Erase", "Erase paint (key E): what is erased is ignored again.", painter.erase
        )
        self.same_button: QPushButton = button(
            "More of the last",
            "Go on painting with the number of the newest object.",
            painter.paint_latest,
        )
        text, key, tooltip = FILL_TEXT
        self.fill_button: QPushButton = button(text, f"{tooltip} Key {key}.", painter.fill_between)
        self.add_button: QPushButton = button(
            "Add class", "Add a class to the table.", painter.add_class
        )
        self.remove_button: QPushButton = button(
            "Remove class",
            "Remove the chosen class from the table, and its paint; Ctrl+Z brings the paint back.",
            lambda: painter.remove_class(self.target.table.chosen_value),
        )
        self.weights_button: QPushButton = button(
            "Show weight map",
            "Show what each painted pixel counts in a training with the settings of Train: gaps "
            "between touching cells count most.",
            self.show_weight_map,
        )
        self.region_button: QPushButton = button(
            "Ever&ything in this box is painted",
            "Draw a rectangle in which everything is painted: what is unpainted inside it is "
            "background.",
            painter.draw_region,
        )
        first = (self.background_button, self.next_button, self.erase_button, self.same_button)
        classes = (self.add_button, self.remove_button)
        return ButtonGrid(2, (*first, self.fill_button, *classes, self.weights_button))

    def _connect(self) -> None:
        self.join_button.joined.connect(self._take_joined)
        self.axes_row.axes_changed.connect(self._show_doubt)
        self.target.changed.connect(self._show_image)
        self.target.changed.connect(self._show_task)
        self.target.told.connect(self.target.coverage.setText)
        self._session.weight_map.ended.connect(self._show_weights)
        painter = self.target.painter
        keys: dict[str, Any] = {str(n): partial(painter.pick, n) for n in range(1, 10)}
        keys |= {"N": self.target.paint_next, "B": painter.paint_background, "E": painter.erase}
        self.add_keys(keys | {"F": painter.fill_between, "C": self.change_class})

    def _take_joined(self, image: Image) -> None:
        self.target.image_box.layer = image

    def new_annotation(self) -> bool:
        """Add a layer to paint in, with the planes that the axes of the image give it."""
        image = self.target.image
        if image is not None and image.ndim > 2:
            self._file_axes.answer_now(image)
        return self.target.create()

    def _show_image(self) -> None:
        image = self.target.image
        self._file_axes.look(image)
        self.axes_row.show_image(image)

    def _show_doubt(self) -> None:
        image, axes = self.target.image, self.axes_row.axes
        doubt = ""
        if image is not None and axes is not None and self.target.annotation is None:
            doubt = axes_in_doubt(axes, tuple(pixels_of(image).shape), self.axes_row.known)
        self.axes_note.setText(doubt)

    def take_mask(self, mask: Labels, zero: Unpainted) -> None:
        """Add an annotation with what an existing mask holds; the mask stays as it is.

        `zero` is what 0 means in it.
        """
        try:
            layer = add_annotation_from(self._viewer, mask, zero, self.target.painter.task.kind)
        except NapariUNetError as error:
            show_error(str(error))
        else:
            self.target.adopt(layer)

    def change_class(self) -> None:
        """Give the object under the mouse the next class, where objects have classes."""
        layer = self.target.annotation
        if layer is not None and _has_classes(self.target.task):
            show_info(change_class(self._viewer, layer))

    def show_weight_map(self) -> None:
        """Show what each pixel on screen counts in a training with the settings of *Train*."""
        layer = self.target.painter.layer_to_paint()
        if layer is None:
            return
        try:
            work = weighing(self._viewer, layer)
        except NapariUNetError as error:
            show_warning(str(error))
            return
        if not self._session.weight_map.start(work):
            show_info("The weight map is still being computed.")

    def _show_weights(self, outcome: Outcome) -> None:
        if isinstance(outcome, Failed):
            show_warning(outcome.text)
        elif self.target.annotation is not None:
            show_weights(self._viewer, self.target.annotation, outcome.result)
            self._viewer.layers.selection.active = self.target.annotation


def _has_classes(task: Task) -> bool:
    return task.in_layers and not task.named


def _guess(image: Image) -> str:
    shape = tuple(pixels_of(image).shape[: image.ndim])
    return guess_axes(shape, 2, 1) + ("C" if image.rgb else "")


# --- What each painted pixel counts in a training, as an image layer ------------------------------


def weighing(viewer: Viewer, layer: Labels) -> Callable[[threading.Event], NDArray[Any]]:
    """Return what computes the weights of the frame on screen, as *Train* would learn from it.

    LabelsError if it is not clear which image the layer is of.
    """
    pairs, image = ticked_pairs(viewer), image_for(viewer, layer)
    if all(pair.annotation is not layer for pair in pairs):
        if image is None:
            raise LabelsError(question_about(viewer, layer) or f"{layer.name} is of no image.")
        pairs = (LayerPair(image, layer),)
    number = [pair.annotation for pair in pairs].index(layer)
    config = session_of(viewer).settings.changed(kind=annotation_of(layer).kind)
    shape = labels_of(layer).shape
    index, _ = frame_and_region(visible_box(viewer, pairs[number].image, shape), config.ndim)
    return partial(_weights, annotated_images(viewer, pairs), number, index, config)


def _weights(
    images: Sequence[AnnotatedImage],
    number: int,
    index: tuple[int, ...],
    config: TrainConfig,
    stop: threading.Event,
) -> NDArray[Any]:
    """Compute, in a worker thread, what each pixel of a frame counts: ``[Z]YX`` float32."""
    from napari_unet.training.preparation import prepare_training
    from napari_unet.training.targets import weights_in_image

    data = prepare_training(images, config)
    shape = images[number].labels.shape[-config.ndim :]
    return weights_in_image(data, number, index, shape)


def show_weights(viewer: Viewer, annotation: Labels, weights: NDArray[Any]) -> Image:
    """Show weights in the layer of an earlier map, or in a new one."""
    name = f"{annotation.name}: weights"
    axes = list(range(annotation.ndim - weights.ndim, annotation.ndim))
    for layer in plain_layers(viewer):
        same = isinstance(layer, Image) and layer.name == name and METADATA_KEY in layer.metadata
        if same and layer.data.shape == weights.shape:
            layer.data = weights
            layer.reset_contrast_limits()
            shown: Image = layer
            return shown
    layer = Image(
        weights,
        name=name,
        colormap="inferno",
        blending="additive",
        opacity=0.7,
        metadata={METADATA_KEY: None},
        **placement_along(annotation, axes),
    )
    viewer.add_layer(layer)
    return layer
