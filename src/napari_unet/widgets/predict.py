"""The Predict widget: from a trained network to a labels layer, tile by tile."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Labels
from napari.utils.notifications import show_error, show_info, show_warning
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QWidget
from superqt import QCollapsible

from napari_unet.data.axes import guess_axes
from napari_unet.errors import ModelMismatchError, NapariUNetError
from napari_unet.prediction.config import PredictConfig, ViewPoint
from napari_unet.widgets.compare import ComparePanel
from napari_unet.widgets.controls import (
    MODEL_FILES,
    add_row,
    button,
    choice,
    form_layout,
    note,
    progress_bar,
    scrolling_column,
)
from napari_unet.widgets.correct import CorrectPanel
from napari_unet.widgets.layers import LayerComboBox, channel_axis_of, labels_shape_of, pixels_of
from napari_unet.widgets.link import LinkPanel
from napari_unet.widgets.measure import MeasurePanel
from napari_unet.widgets.model_work import loading_events
from napari_unet.widgets.prediction_work import folder_events, prediction_events
from napari_unet.widgets.result_layers import ResultLayers
from napari_unet.widgets.session import session_of
from napari_unet.widgets.spots import SpotsPanel
from napari_unet.widgets.starting import starting_model_box
from napari_unet.widgets.task import Failed, Outcome
from napari_unet.widgets.visible import frame_and_region, visible_box

if TYPE_CHECKING:
    from napari.viewer import Viewer

    from napari_unet.data.axes import Region

_MEASURED_AT_ONCE = 2**26  # pixels; larger results are measured when asked for


class PredictWidget(QWidget):
    """Predicts what is on screen, a slice, a whole stack or a folder.

    Parameters
    ----------
    napari_viewer : Viewer
        The viewer that it is docked in.
    """

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__()
        self._viewer = napari_viewer
        self._session = session_of(napari_viewer)
        self.task = self._session.prediction
        self._tiles = 0
        self._file = ""
        self.image_box = LayerComboBox(napari_viewer, Image)
        self.result_box = choice(
            [("what it was trained for", None), ("probabilities", "probabilities")],
            "Labels as painted (objects or classes), or the probability of each class.",
        )
        self.views_box = choice(
            [("as trained", None), ("one view: fastest", 1), ("8 turned views: best", 8)],
            "Average the predictions of the image turned and mirrored: a little better, and 8 "
            "times the work.",
        )
        self.model_note = note()
        self.status = note()
        self.progress = progress_bar("How many tiles are done.")
        self.spots = SpotsPanel(napari_viewer, self)
        self.correct = CorrectPanel(napari_viewer)
        self.measure = MeasurePanel(napari_viewer)
        self.compare = ComparePanel(napari_viewer)
        self.link = LinkPanel(napari_viewer)
        self._lay_out()
        self._connect()
        self._follow_image()
        self._show_state()

    def _lay_out(self) -> None:
        layout = scrolling_column(self)
        form = form_layout()
        add_row(form, "Image", self.image_box, "The image to predict.")
        add_row(form, "Result", self.result_box)
        add_row(form, "Average", self.views_box)
        layout.addLayout(form)
        layout.addWidget(self.model_note)
        self.view_button = button(
            "&View", "Predict what is on screen.", partial(self.start_prediction, "view")
        )
        self.slice_button = button(
            "S&lice", "Predict the plane on screen.", partial(self.start_prediction, "slice")
        )
        self.predict_button = button(
            "&Whole",
            "Predict the whole image or stack, what is on screen first.",
            self.start_prediction,
        )
        self.folder_button = button(
            "&Folder…", "Predict every image of a folder into files.", self.ask_for_folder
        )
        self.cancel_button = button(
            "&Cancel", "Stop after this tile; finished tiles are kept.", self.cancel
        )
        self.load_button = button("Load &model…", "Use a saved model file.", self.ask_to_load)
        self.starting_box = starting_model_box(self._session)
        first, second = QHBoxLayout(), QHBoxLayout()
        for each in (self.view_button, self.slice_button, self.predict_button, self.folder_button):
            first.addWidget(each)
        for each in (self.cancel_button, self.load_button):
            second.addWidget(each)
        second.addWidget(self.starting_box)
        layout.addLayout(first)
        layout.addLayout(second)
        layout.addWidget(self.progress)
        layout.addWidget(self.status)
        for title, tooltip, panel in (
            ("Where is it unsure?", "Spots to look at, and to paint on, next.", self.spots),
            ("Correct", "Mend the prediction and teach the network.", self.correct),
            ("Measure", "Area, intensity and more of each object.", self.measure),
            ("Compare with", "Scores against a layer that holds the truth.", self.compare),
            ("Link over time or z", "One number for the same object in all frames.", self.link),
        ):
            section = QCollapsible(title)
            section.setToolTip(tooltip)
            section.addWidget(panel)
            section.expand(animate=False)
            layout.addWidget(section)
        layout.addStretch()

    def _connect(self) -> None:
        self._session.model_changed.connect(self._show_state)
        self._session.annotation_chosen.connect(self._follow_image)
        self.task.started.connect(self._show_start)
        self.task.happened.connect(self._on_event)
        self.task.ended.connect(self._on_ended)

    def ask_to_load(self) -> None:
        """Ask for a model file and load it."""
        name, _ = QFileDialog.getOpenFileName(self, "Load model", "", MODEL_FILES)
        if name:
            self.load_model(Path(name))

    def load_model(self, path: Path) -> None:
        """Use a model file; an error is shown and the former model stays."""
        if not self._session.loading.start(partial(loading_events, path, path.stem)):
            show_info("A model is still being loaded.")

    def start_prediction(self, scope: str = "whole") -> None:
        """Predict the chosen image in the background.

        Parameters
        ----------
        scope : {"view", "slice", "whole"}
            How much of it.
        """
        image = self.ready_image()
        model = self._session.model
        if image is None or model is None:
            return
        try:
            config = self.config(image, scope)
        except NapariUNetError as error:
            show_error(str(error))
            return
        self.compare.forget()
        result = ResultLayers(
            self._viewer,
            image,
            model.record.network.ndim,
            whole=scope == "whole",
            annotation=self._session.annotation,
        )
        self._session.result = result
        result.follow(self.task)
        self.task.start(partial(prediction_events, model, pixels_of(image), config))

    def config(self, image: Image, scope: str) -> PredictConfig:
        """Return what to predict, from what is on screen now.

        Parameters
        ----------
        image : Image
            What is predicted.
        scope : {"view", "slice", "whole"}
            How much of it.
        """
        model = self._session.model
        ndim = 2 if model is None else model.record.network.ndim
        shape = self.labels_shape(image)
        frame, view = frame_and_region(visible_box(self._viewer, image, shape), ndim)
        centre = tuple((part.start + part.stop) / 2 for part in view)
        near = ViewPoint(frame, centre)
        config = replace(self._chosen(), near=near)
        if scope == "whole":
            return config
        region = view if scope == "view" else _whole_plane(view, shape[len(frame) :])
        return replace(config, frames=(frame,), region=region)

    def _chosen(self) -> PredictConfig:
        return PredictConfig(
            result=self.result_box.currentData(), views=self.views_box.currentData()
        )

    def labels_shape(self, image: Image) -> tuple[int, ...]:
        """Return the shape of what the model makes of an image: all axes but the channels."""
        model = self._session.model
        shape = tuple(pixels_of(image).shape)
        if model is None or channel_axis_of(image) is not None:
            return labels_shape_of(image)
        network = model.record.network
        axes = guess_axes(shape, network.ndim, network.in_channels)
        if len(axes) - ("C" in axes) > image.ndim:
            raise ModelMismatchError(
                f"The model is {network.ndim}D and cannot read the image of shape {shape}; choose "
                "another image or model."
            )
        return tuple(size for axis, size in zip(axes, shape, strict=True) if axis != "C")

    def ask_for_folder(self) -> None:
        """Ask for a folder of images and one for the results, and predict all."""
        source = QFileDialog.getExistingDirectory(self, "Folder of images")
        target = QFileDialog.getExistingDirectory(self, "Folder for the results") if source else ""
        if source and target:
            self.predict_folder(Path(source), Path(target))

    def predict_folder(self, source: Path, target: Path) -> None:
        """Predict every image of a folder into files of the same names in another folder."""
        model = self._session.model
        if self.task.running or model is None:
            show_warning("There is no model yet, or a prediction is still running.")
            return
        config = self._chosen()
        self.task.start(partial(folder_events, model, source, target, config))

    def cancel(self) -> None:
        """Stop after the current tile; finished tiles are kept."""
        self.task.stop()
        self.cancel_button.setEnabled(False)

    def ready_image(self) -> Image | None:
        """Return the chosen image if it can be predicted now; else say what is missing."""
        if self.task.running:
            show_warning(f"A prediction is already running. {self.status.text()}")
            return None
        if self._session.model is None:
            show_warning(
                "There is no model yet: train one, load a model file, or choose a starting model."
            )
            return None
        if self.image_box.layer is None:
            show_warning("Open an image to predict.")
        return self.image_box.layer

    def _follow_image(self) -> None:
        if self._session.image is not None:
            self.image_box.layer = self._session.image

    def _show_state(self) -> None:
        running, model = self.task.running, self._session.model
        for each in (self.view_button, self.slice_button, self.predict_button, self.folder_button):
            each.setEnabled(model is not None and not running)
        self.cancel_button.setEnabled(running and not self.task.stopping)
        if model is None:
            self.model_note.setText(
                "Model: none yet. Train one, load a model file, or choose a starting model."
            )
            return
        network = model.record.network
        self.model_note.setText(
            f"Model: {self._session.model_name} ({network.ndim}D, {network.in_channels} "
            f"channel(s), {model.record.classes.kind}, {model.record.steps} steps)"
        )

    def _show_start(self) -> None:
        self._show_state()
        self.progress.setValue(0)
        self._file = ""
        self.status.setText("Starting…")

    def _on_event(self, event: Any) -> None:
        from napari_unet.prediction.events import PredictionStarted, TilePredicted
        from napari_unet.prediction.files import FileFailed, FileStarted

        if isinstance(event, PredictionStarted):
            self._tiles = event.tiles
        elif isinstance(event, TilePredicted):
            self.progress.setValue(round(1000 * event.number / max(self._tiles, 1)))
            self.status.setText(f"{self._file}Tile {event.number} of {self._tiles}.")
        elif isinstance(event, FileStarted):
            self._file = f"{event.path.name} ({event.number} of {event.total}): "
        elif isinstance(event, FileFailed):
            show_warning(f"{event.path.name}: {event.text}")

    def _on_ended(self, outcome: Outcome) -> None:
        self._show_state()
        if isinstance(outcome, Failed):
            self.progress.setValue(0)
            self.status.setText(outcome.text)
            show_error(f"{outcome.text}\n{outcome.details}".strip())
        elif isinstance(outcome.result, tuple):
            self.status.setText(f"{len(outcome.result)} files written.")
        else:
            self._show_result(outcome.result)

    def _show_result(self, result: Any) -> None:
        text = "Done." if result.complete else "Cancelled; finished tiles are kept."
        if result.kind == "objects" and result.array.size:
            n_objects = np.unique(result.array[result.array > 0]).size
            text += f" {n_objects} objects."
        self.status.setText(text)
        shown = self._session.result.layer if self._session.result else None
        small = result.array.size <= _MEASURED_AT_ONCE
        if result.kind == "objects" and small and isinstance(shown, Labels):
            self.measure.measure_layer(shown)
        if not result.complete:
            show_info("The prediction is incomplete: it was cancelled.")


def _whole_plane(view: Region, shape: tuple[int, ...]) -> Region:
    """Widen a view to its plane: all of the last two axes."""
    return (*view[:-2], *(slice(0, size) for size in shape[-2:]))
