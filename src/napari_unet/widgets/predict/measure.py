"""Measure predicted objects: napari's features table, and a CSV file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from napari.utils.notifications import show_error, show_info, show_warning
from qtpy.QtWidgets import QFileDialog, QWidget

from napari_unet.errors import NapariUNetError
from napari_unet.io.disk import write_csv
from napari_unet.objects.measurements import measure_objects
from napari_unet.widgets.common.annotation import annotation_of, image_for, question_about
from napari_unet.widgets.common.button_grid import ButtonGrid
from napari_unet.widgets.common.controls import Note, button, stack
from napari_unet.widgets.common.layers import channels_beside, labels_of
from napari_unet.widgets.common.object_classes import features_with_classes, object_classes_in
from napari_unet.widgets.common.placement import named_axes_of
from napari_unet.widgets.common.result_layer import active_labels, newest_prediction, predicted_of
from napari_unet.widgets.common.session import session_of
from napari_unet.widgets.common.task import Failed, Outcome
from napari_unet.widgets.predict.link_work import tracks_beside
from napari_unet.widgets.predict.save_objects import SaveObjectsButton, class_of_all

if TYPE_CHECKING:
    from napari.layers import Labels, Tracks
    from napari.viewer import Viewer
    from numpy.typing import NDArray

    Columns = dict[str, NDArray[Any]]


class MeasurePanel(QWidget):
    """Measures the objects of the selected labels layer, or of the newest prediction."""

    def __init__(self, viewer: Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self._session = session_of(viewer)
        self._layer: Labels | None = None  # that is being measured: another dock may measure, too
        self.measure_button: Final = button(
            "Measure",
            "Area, centroid, intensity and more of each object; in physical units where the "
            "layer has a scale.",
            self.measure,
        )
        self.table_button: Final = button(
            "Open table", "Show the measurements in napari's own features table.", self.open_table
        )
        self.csv_button: Final = button(
            "E&xport CSV…", "Write the measurements to a file.", self.ask_to_export
        )
        self.text: Final = Note()
        row = ButtonGrid(3, (self.measure_button, self.table_button, self.csv_button))
        self.save_button: Final = SaveObjectsButton(viewer, self._target)
        stack(self, row, self.save_button, self.text)
        self._session.measuring.ended.connect(self._show)

    def measure(self) -> None:
        """Measure the selected layer, or the newest prediction, in the background."""
        layer = self._target()
        if layer is None:
            show_warning("There is no prediction to measure yet: click Everything above.")
            return
        self.measure_layer(layer)

    def measure_layer(self, layer: Labels) -> None:
        """Measure a layer in the background."""
        predicted = predicted_of(layer)
        image = predicted.image if predicted else image_for(self._viewer, layer)
        if image is None and (question := question_about(self._viewer, layer)):
            show_warning(f"Measured without intensities: {question}")
        labels = np.array(labels_of(layer))
        has_slices = "Z" in (named_axes_of(layer) or "")
        ndim = predicted.ndim if predicted else 2 + has_slices
        arguments: dict[str, Any] = {
            "scale": tuple(float(s) for s in layer.scale),
            "units": tuple(str(unit) for unit in layer.units),
            "spatial_ndim": ndim,
        }
        pixels, channel_axis = channels_beside(image, labels.shape) if image else (None, None)
        if self._session.measuring.start(
            lambda stop: measure_objects(labels, pixels, channel_axis, **arguments)
        ):
            self._layer = layer
            self.text.setText("Measuring…")

    def open_table(self) -> None:
        """Open napari's features table on the measured layer."""
        layer = self._target()
        if layer is not None:
            self._viewer.layers.selection.active = layer
        self._viewer.window.add_plugin_dock_widget("napari", "Features table widget")

    def ask_to_export(self) -> None:
        """Ask for a file name and write the measurements there."""
        name, _ = QFileDialog.getSaveFileName(self, "Export", "objects.csv", "Tables (*.csv)")
        if name:
            self.export(Path(name))

    def export(self, path: Path, layer: Labels | None = None) -> bool:
        """Write the measurements of a layer, or of that which is selected, to a CSV file.

        Errors are shown; returns whether it was written.
        """
        layer = self._target() if layer is None else layer
        if layer is None or layer.features.empty:
            show_warning("Nothing is measured yet: click Measure first.")
            return False
        columns = {name: layer.features[name].to_numpy() for name in layer.features.columns}
        try:
            write_csv(columns, path)
        except NapariUNetError as error:
            show_error(str(error))
            return False
        show_info(f"Wrote {path}.")
        return True

    def _target(self) -> Labels | None:
        return active_labels(self._viewer) or newest_prediction(self._viewer)

    def _show(self, outcome: Outcome) -> None:
        layer, self._layer = self._layer, None
        if layer is None:
            return
        if isinstance(outcome, Failed):
            self.text.setText(outcome.text)
            return
        import pandas as pd

        columns = dict(outcome.result)
        features = features_with_classes(columns, object_classes_in(layer))
        annotation, of_all = self._session.annotation, class_of_all(layer)
        if of_all:
            features["class"] = of_all
        elif annotation is not None and annotation_of(annotation).task.named:
            known = annotation_of(annotation)
            features["class"] = [known.name_of(int(value)) for value in features["index"]]
        layer.features = features
        tracks = tracks_beside(self._viewer, layer)
        if tracks is not None and _are_rows_of(tracks, columns):
            tracks.features = pd.DataFrame(columns)
        self.text.setText(
            f"{len(columns['index'])} objects measured, {len(features.columns)} columns."
        )


def _are_rows_of(tracks: Tracks, columns: Columns) -> bool:
    """Return whether what was measured are the points of tracks, one by one."""
    points = np.asarray(tracks.data)[:, :2]
    frames = columns.get("frame", np.zeros(0))
    return bool(np.array_equal(points.T, [columns["index"], frames])) if len(frames) else False
