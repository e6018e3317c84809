"""Save objects for other programs: the button with its formats, and the work."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from napari import current_viewer
from napari.layers import Labels
from napari.utils.notifications import show_error, show_info, show_warning
from qtpy.QtWidgets import QFileDialog, QMenu, QPushButton

from napari_unet.io.annotations.formats import SUFFIXES, ConvertConfig, format_of
from napari_unet.io.annotations.writing import write_objects
from napari_unet.io.layers import write_annotations
from napari_unet.settings import declared
from napari_unet.tasks import task_of
from napari_unet.widgets.common.annotation import (
    annotation_in,
    annotation_of,
    class_of_objects,
    image_for,
    was_painted_here,
)
from napari_unet.widgets.common.controls import without_ampersand
from napari_unet.widgets.common.layers import labels_of, pixels_of, plain_layers
from napari_unet.widgets.common.object_classes import classes_to_write, object_classes_in
from napari_unet.widgets.common.placement import named_axes_of, pixel_size_of
from napari_unet.widgets.common.result_layer import predicted_of
from napari_unet.widgets.common.session import session_of
from napari_unet.widgets.common.task import Failed, Outcome, task_named
from napari_unet.widgets.predict.link_work import tracks_beside

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.viewer import Viewer
    from numpy.typing import NDArray

    from napari_unet.io.annotations.formats import ObjectFormat

_FORMAT = declared(ConvertConfig)["to"]
_LEFT_OUT = "This layer is painted in: its number 1 is background, and left out."


class SaveObjectsButton(QPushButton):
    """Saves the objects of a layer in a format that is chosen in its menu.

    `layer` gives the layer to save, or None.
    """

    def __init__(self, viewer: Viewer, layer: Callable[[], Labels | None]) -> None:
        super().__init__(_FORMAT.label)
        self.setAccessibleName(_FORMAT.label)
        self.setAutoDefault(True)  # Return works as the space bar does
        self.setToolTip(
            "Write the objects of the selected layer, or of the newest prediction, for Fiji, "
            "QuPath and others."
        )
        self._viewer, self._layer = viewer, layer
        self._path: Path | None = None
        self._task = task_named(session_of(viewer), "Saving objects")
        self._task.ended.connect(self._on_ended)
        menu = QMenu(self)
        menu.setToolTipsVisible(True)
        for to in _FORMAT.choices:
            menu.addAction(f"{_FORMAT.words[to]}…", partial(self.ask_to_save, to))
        self.setMenu(menu)

    def ask_to_save(self, to: ObjectFormat) -> None:
        """Ask for a file (or folder) and write the objects there."""
        if to == "ctc":
            name = QFileDialog.getExistingDirectory(self, "Folder for the frames")
        else:
            suffix = SUFFIXES[to][0]
            files = f"{without_ampersand(_FORMAT.words[to])} (*{suffix})"
            name, _ = QFileDialog.getSaveFileName(self, "Save objects", f"objects{suffix}", files)
        if name:
            self.save(Path(name), to)

    def save(self, path: Path, to: ObjectFormat) -> None:
        """Write the objects in the background; a path without a suffix gets that of the format."""
        layer = self._layer()
        if layer is None:
            show_warning("There are no objects to save yet: click Everything above.")
            return
        predicted = predicted_of(layer)
        if predicted is not None and predicted.in_progress:
            show_warning(f"{layer.name} is still being predicted: save it when it is done.")
            return
        if to != "ctc" and not path.suffix:
            path = path.with_name(path.name + SUFFIXES[to][0])
        write = writer_of(self._viewer, layer)
        if self._task.start(lambda stop: write(path, to=to)):
            self._path = path
            if _is_paint(self._viewer, layer):
                show_info(_LEFT_OUT)
        else:
            show_info("Something is still being saved.")

    def _on_ended(self, outcome: Outcome) -> None:
        path, self._path = self._path, None
        if path is None:  # asked for by another dock
            return
        if isinstance(outcome, Failed):
            show_error(outcome.text)
        else:
            show_info(f"Wrote {path}.")


def writer_of(viewer: Viewer, layer: Labels) -> Callable[..., None]:
    """Return `write_objects` with all that belongs to a layer: collected on the main thread.

    The labels are a copy: the layer may be painted in meanwhile.
    """
    painted, labels = _is_paint(viewer, layer), np.array(labels_of(layer))
    if painted:
        labels = annotation_of(layer).task.as_result(labels)
    predicted = predicted_of(layer)
    image = predicted.image if predicted else image_for(viewer, layer)
    pixels = pixels_of(image) if image is not None else None
    if pixels is not None and tuple(pixels.shape) != labels.shape:
        pixels = None
    axes = named_axes_of(layer)
    if axes is None and predicted and (predicted.ndim, labels.ndim) == (2, 3):
        axes = "TYX"  # the planes were predicted one by one
    names, colours = _classes_of(viewer, layer, labels)
    sizes = pixel_size_of(layer, axes)
    parents = {} if painted else _parents_of(viewer, layer)
    # Finished paint counts its objects from 2.
    classes = classes_to_write(object_classes_in(layer), above=int(painted))
    return partial(
        write_objects,
        labels=labels,
        axes=axes,
        names=names,
        colours=colours,
        image=pixels,
        pixel_size=sizes,
        parents=parents,
        classes=classes,
    )


def write_layer(path: str, data: Any, attributes: dict[str, Any]) -> list[str]:
    """Write what napari saves: a layer of the window as *Save objects…* does, else as it is."""
    viewer = current_viewer()
    layers = plain_layers(viewer) if viewer is not None else []
    layer = next((each for each in layers if isinstance(each, Labels) and each.data is data), None)
    if layer is None or (annotation_in(layer) or predicted_of(layer)) is None:
        return write_annotations(path, data, attributes)
    file = Path(path)
    writer_of(viewer, layer)(file, to=format_of(file))
    if _is_paint(viewer, layer):
        show_info(_LEFT_OUT)
    return [path]


def _is_paint(viewer: Viewer, layer: Labels) -> bool:
    """Return whether 1 is the background in a layer, and 0 what has not been looked at."""
    return was_painted_here(layer) and session_of(viewer).settings.unpainted == "unlabelled"


def _classes_of(
    viewer: Viewer, layer: Labels, labels: NDArray[Any]
) -> tuple[dict[int, str], dict[int, str]]:
    """Return names and colours of the classes in a layer; nothing for objects of no class."""
    values = [int(value) for value in np.unique(labels) if value]
    if of_all := class_of_all(layer):
        return dict.fromkeys(values, of_all), {}
    predicted, painted = predicted_of(layer), session_of(viewer).annotation
    of = painted if predicted is not None else layer
    task = annotation_of(layer).task if predicted is None else task_of(predicted.kind)
    if not task.named or of is None:
        return {}, {}
    known = annotation_of(of)
    names = {value: known.name_of(value) for value in values}
    return names, {value: known.colour_of(value) for value in values}


def class_of_all(layer: Labels) -> str:
    """Return the class that all objects of a layer are of, painted or predicted; "": of none."""
    predicted = predicted_of(layer)
    if predicted is None:
        return class_of_objects(layer)
    return "" if predicted.task.named else predicted.part


def _parents_of(viewer: Viewer, layer: Labels) -> dict[int, int]:
    """Return who is whose daughter, from the tracks that linking laid beside the layer."""
    tracks = tracks_beside(viewer, layer)
    graph = tracks.graph if tracks is not None else {}
    return {int(child): int(np.atleast_1d(mothers)[0]) for child, mothers in graph.items()}
