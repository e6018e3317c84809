"""The Predict widget: from a trained network to a labels layer, tile by tile."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.layers import Image
from napari.utils.notifications import show_error, show_info, show_warning
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QWidget

from napari_unet.errors import NapariUNetError
from napari_unet.widgets.controls import (
    add_row,
    button,
    choice,
    column,
    form_layout,
    note,
    progress_bar,
)
from napari_unet.widgets.layers import LayerComboBox, pixels_of
from napari_unet.widgets.result_layers import ResultLayers
from napari_unet.widgets.session import session_of
from napari_unet.widgets.task import Failed, Outcome

if TYPE_CHECKING:
    import threading
    from collections.abc import Generator

    from napari.viewer import Viewer

    from napari_unet.data.axes import ArrayLike
    from napari_unet.model.trained import TrainedNetwork

_MODEL_FILES = "Models (*.safetensors)"


class PredictWidget(QWidget):
    """Predicts a whole image into a labels layer of its own.

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
        self.image_box = LayerComboBox(napari_viewer, Image)
        self.result_box = choice(
            [("what it was trained for", None), ("probabilities", "probabilities")],
            "Labels as painted (objects or classes), or the probability of each class.",
        )
        self.model_note = note()
        self.status = note()
        self.progress = progress_bar("How many tiles are done.")
        self._lay_out()
        self._session.model_changed.connect(self._show_state)
        self._session.annotation_chosen.connect(self._follow_image)
        self.task.started.connect(self._show_start)
        self.task.happened.connect(self._on_event)
        self.task.ended.connect(self._on_ended)
        self._follow_image()
        self._show_state()

    def _lay_out(self) -> None:
        layout = column(self)
        form = form_layout()
        add_row(form, "Image", self.image_box, "The image to predict.")
        add_row(form, "Result", self.result_box)
        layout.addLayout(form)
        layout.addWidget(self.model_note)
        self.load_button = button("&Load model…", "Use a saved model file.", self.ask_to_load)
        self.predict_button = button(
            "Pre&dict", "Predict the whole image into a new labels layer.", self.start_prediction
        )
        self.cancel_button = button(
            "&Cancel", "Stop after this tile; finished tiles are kept.", self.cancel
        )
        row = QHBoxLayout()
        for each in (self.load_button, self.predict_button, self.cancel_button):
            row.addWidget(each)
        layout.addLayout(row)
        layout.addWidget(self.progress)
        layout.addWidget(self.status)
        layout.addStretch()

    def ask_to_load(self) -> None:
        """Ask for a model file and load it."""
        name, _ = QFileDialog.getOpenFileName(self, "Load model", "", _MODEL_FILES)
        if name:
            self.load_model(Path(name))

    def load_model(self, path: Path) -> None:
        """Use a model file; an error is shown and the former model stays."""
        from napari_unet.model.trained import load_network

        try:
            model = load_network(path)
        except NapariUNetError as error:
            show_error(str(error))
            return
        self._session.set_model(model, path.stem)

    def start_prediction(self) -> None:
        """Predict the chosen image in the background."""
        if self.task.running:
            show_warning(f"A prediction is already running. {self.status.text()}")
            return
        image, model = self.image_box.layer, self._session.model
        if model is None:
            show_warning("There is no model yet: train one, or load a model file.")
            return
        if image is None:
            show_warning("Open an image to predict.")
            return
        kind = self.result_box.currentData()
        self._session.result = ResultLayers(self._viewer, image)
        self._session.result.follow(self.task)
        self.task.start(partial(prediction_events, model, pixels_of(image), kind))

    def cancel(self) -> None:
        """Stop after the current tile; finished tiles are kept."""
        self.task.stop()
        self.cancel_button.setEnabled(False)

    def _follow_image(self) -> None:
        if self._session.image is not None:
            self.image_box.layer = self._session.image

    def _show_state(self) -> None:
        running, model = self.task.running, self._session.model
        self.predict_button.setEnabled(model is not None and not running)
        self.cancel_button.setEnabled(running and not self.task.stopping)
        if model is None:
            self.model_note.setText("Model: none yet. Train one, or load a model file.")
            return
        network = model.record.network
        self.model_note.setText(
            f"Model: {self._session.model_name} ({network.ndim}D, {network.in_channels} "
            f"channel(s), {model.record.classes.kind}, {model.record.steps} steps)"
        )

    def _show_start(self) -> None:
        self._show_state()
        self.progress.setValue(0)
        self.status.setText("Starting…")

    def _on_event(self, event: Any) -> None:
        from napari_unet.prediction.events import PredictionStarted, TilePredicted

        if isinstance(event, PredictionStarted):
            self._tiles = event.tiles
        elif isinstance(event, TilePredicted):
            self.progress.setValue(round(1000 * event.number / max(self._tiles, 1)))
            self.status.setText(f"Tile {event.number} of {self._tiles}.")

    def _on_ended(self, outcome: Outcome) -> None:
        self._show_state()
        if isinstance(outcome, Failed):
            self.progress.setValue(0)
            self.status.setText(outcome.text)
            show_error(f"{outcome.text}\n{outcome.details}".strip())
            return
        result = outcome.result
        text = "Done." if result.complete else "Cancelled; finished tiles are kept."
        if result.kind == "objects" and result.array.size:
            text += f" {int(result.array.max())} objects."
        self.status.setText(text)
        if not result.complete:
            show_info("The prediction is incomplete: it was cancelled.")


def prediction_events(
    model: TrainedNetwork, image: ArrayLike, kind: Any, stop: threading.Event
) -> Generator[object, None, Any]:
    """Predict; torch is imported here, in the worker thread.

    Yields
    ------
    PredictionEvent
        See :func:`napari_unet.prediction.predictor.predict_image`.

    Returns
    -------
    PredictionResult
        The labels or probabilities.
    """
    from napari_unet.prediction.predictor import PredictConfig, predict_image

    return (yield from predict_image(model, image, PredictConfig(result=kind), stop))
