"""Take annotations of other programs from files, and masks from layers: menus, and what they do."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Labels
from napari.utils.notifications import show_error, show_info, show_warning
from qtpy.QtWidgets import QFileDialog, QMenu, QPushButton, QWidget

from napari_unet.data.labels import annotation_from_mask
from napari_unet.io.annotations.formats import LABEL_AXES, ConvertConfig
from napari_unet.io.annotations.reading import ANNOTATION_SUFFIXES, read_annotations
from napari_unet.settings import declared
from napari_unet.widgets.common.annotation import PALETTE, annotation_of, image_for
from napari_unet.widgets.common.layers import (
    METADATA_KEY,
    as_labels,
    channel_axis_of,
    labels_of,
    labels_shape_of,
    pixels_of,
    placement_from_labels,
    placement_of,
    plain_layers,
)
from napari_unet.widgets.common.placement import named_axes_of
from napari_unet.widgets.common.session import session_of
from napari_unet.widgets.common.task import Failed, Outcome, task_named

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from napari.viewer import Viewer
    from numpy.typing import NDArray

    from napari_unet.data.labels import Kind, Unpainted
    from napari_unet.io.annotations.drawn import Annotations

_FILES = f"Annotations ({' '.join(f'*{suffix}' for suffix in ANNOTATION_SUFFIXES)});;All files (*)"
_ZERO = declared(ConvertConfig)["unpainted"]


class ImportButton(QPushButton):
    """Offers files and folders of other programs, each with what 0 may mean in it.

    `image` gives the image that is annotated, or None, `kind` what a painted number stands for;
    `adopt` is called with the layer that was made.
    """

    def __init__(
        self,
        viewer: Viewer,
        image: Callable[[], Image | None],
        kind: Callable[[], Kind],
        adopt: Callable[[Labels], object],
    ) -> None:
        super().__init__(_ZERO.label)
        self.setAccessibleName(_ZERO.label)
        self.setAutoDefault(True)  # Return works as the space bar does
        self.setToolTip(
            "Take annotations of Cellpose, StarDist, Fiji, QuPath and others from a file; you "
            "choose what 0 means."
        )
        self._viewer, self._image, self._kind, self._adopt = viewer, image, kind, adopt
        self._target: tuple[Image, str, Kind] | None = None
        self._task = task_named(session_of(viewer), "Importing annotations")
        self._task.ended.connect(self._on_ended)
        choices = QMenu(self)
        for text, ask in (
            ("&File (Cellpose, Fiji, QuPath, StarDist, COCO, masks)", self.ask_for_file),
            ("F&older (Cell Tracking Challenge)", self.ask_for_folder),
        ):
            menu = choices.addMenu(text)
            assert menu is not None
            for zero in _ZERO.choices:
                menu.addAction(f"{_ZERO.words[zero]}…", partial(ask, zero))
        self.setMenu(choices)

    def ask_for_file(self, zero: Unpainted) -> None:
        """Ask for a file and import it."""
        name, _ = QFileDialog.getOpenFileName(self, "Import", "", _FILES)
        if name:
            self.take(Path(name), zero)

    def ask_for_folder(self, zero: Unpainted) -> None:
        """Ask for a folder and import it."""
        name = QFileDialog.getExistingDirectory(self, "Folder of frames")
        if name:
            self.take(Path(name), zero)

    def take(self, path: Path, zero: Unpainted) -> None:
        """Read a file or folder in the background, and make an annotation of it.

        `zero` is what 0 means in it.
        """
        image = self._image()
        if image is None:
            show_warning("Open the image first: the annotations are fitted to it.")
            return
        kind, shape, axes = self._kind(), labels_shape_of(image), _labels_axes_of(image)
        read = partial(read_annotations, path, shape, axes, kind, image.name)
        if self._task.start(partial(_as_paint, read, zero)):
            self._target = image, f"{path.stem} as annotation", kind
        else:
            show_info("Something is still being imported.")

    def _on_ended(self, outcome: Outcome) -> None:
        target, self._target = self._target, None
        if target is None:  # asked for by another dock
            return
        if isinstance(outcome, Failed):
            show_error(outcome.text)
            return
        labels, found = outcome.result
        if target[0] not in plain_layers(self._viewer):
            show_warning("The image was closed in the meantime; nothing was imported.")
            return
        self._adopt(_add_layer(self._viewer, *target, labels, found))
        if found.notices:
            show_info("\n".join(found.notices))


def _as_paint(
    read: Callable[[], Annotations], zero: Unpainted, stop: threading.Event
) -> tuple[NDArray[Any], Annotations]:
    """Read annotations and turn them into paint, in a worker thread."""
    found = read()
    painted = annotation_from_mask(found.labels, zero)
    for index in found.unlabelled:
        painted[index] = 0
    return painted, found


def _add_layer(
    viewer: Viewer,
    image: Image,
    name: str,
    kind: Kind,
    labels: NDArray[Any],
    found: Annotations,
) -> Labels:
    """Add an annotation that covers its image; classes keep their names and colours."""
    placement = placement_of(image, channel_axis_of(image))
    layer = Labels(labels, name=name, **placement)
    annotation = annotation_of(layer)
    annotation.kind, annotation.image = kind, image
    if annotation.task.named:  # in paint every number is one higher
        annotation.names |= {value + 1: name for value, name in found.names.items()}
        colours = {value: PALETTE[value % len(PALETTE)] for value in found.names} | found.colours
        annotation.colours |= {value + 1: colour for value, colour in colours.items()}
    viewer.add_layer(layer)
    return layer


def _labels_axes_of(image: Image) -> str | None:
    """Return the axes of labels of an image, where its layer names them."""
    axes = (named_axes_of(image) or "").replace("C", "")
    return axes if axes in LABEL_AXES else None


# --- An existing mask or prediction in the window: the menu, and the layer that is made -----------


class MaskMenu(QMenu):
    """Offers the labels layers of a viewer, each with what 0 may mean in it.

    Images that hold labels, as napari opens a mask that is dropped on it, are offered too: what is
    chosen becomes a labels layer. `take` is called with it and what 0 means in it.
    """

    def __init__(
        self,
        viewer: Viewer,
        take: Callable[[Labels, Unpainted], None],
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._viewer, self._take = viewer, take
        self.aboutToShow.connect(self.fill)

    def fill(self) -> None:
        """Read the layers anew."""
        self.clear()
        for layer in plain_layers(self._viewer):
            if isinstance(layer, Labels) or (isinstance(layer, Image) and looks_like_labels(layer)):
                menu = self.addMenu(layer.name)
                assert menu is not None
                as_finished = partial(self._take_layer, layer, "background")
                as_partial = partial(self._take_layer, layer, "unlabelled")
                menu.addAction("0 is background: everything is labelled", as_finished)
                menu.addAction("0 is ignored", as_partial)
        if self.isEmpty():
            self.addSection("There is no layer that holds labels yet")

    def _take_layer(self, layer: Image | Labels, zero: Unpainted) -> None:
        self._take(as_labels(self._viewer, layer) if isinstance(layer, Image) else layer, zero)


_ROWS = 64  # of an image that are looked at
_ALIKE = 0.8  # share of neighbours within objects that are equal; in pictures far less are


def looks_like_labels(image: Image) -> bool:
    """Return whether the pixels of an image are labels: whole numbers, in patches of one value."""
    pixels = pixels_of(image)
    if image.rgb or METADATA_KEY in image.metadata or np.dtype(pixels.dtype).kind not in "biu":
        return False
    lead, height = pixels.shape[:-2], pixels.shape[-2]
    rows = slice(None, None, max(1, height // _ROWS))
    plane = np.asarray(pixels[(*(size // 2 for size in lead), rows, slice(None))])
    before, after = plane[:, :-1], plane[:, 1:]
    inside = (before > 0) & (after > 0)
    return bool(inside.any()) and float(np.mean(before[inside] == after[inside])) >= _ALIKE


def add_annotation_from(viewer: Viewer, mask: Labels, zero: Unpainted, kind: Kind) -> Labels:
    """Add an annotation with what an existing mask holds; the mask stays as it is.

    `zero` is what 0 means in the mask. LabelsError if it cannot be an annotation: the text says
    why.
    """
    labels = annotation_from_mask(np.asarray(labels_of(mask)), zero)
    layer = Labels(labels, name=f"{mask.name} as annotation", **placement_from_labels(mask))
    annotation_of(layer).kind = kind
    viewer.add_layer(layer)
    image = image_for(viewer, layer)
    if image is not None:
        annotation_of(layer).image = image
    return layer
