"""The Train widget: from the painted layer to a trained network."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.layers import Image, Labels
from napari.utils.notifications import show_error, show_info, show_warning
from napari.utils.theme import get_theme
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QScrollArea, QSpinBox, QVBoxLayout, QWidget
from superqt import QCollapsible

from napari_unet.errors import NapariUNetError
from napari_unet.training.config import PRESET_HELP, TrainConfig
from napari_unet.training.events import Notice, StepDone, TrainingStarted, Validated
from napari_unet.widgets.config_form import ConfigForm
from napari_unet.widgets.controls import (
    add_row,
    button,
    choice,
    duration,
    form_layout,
    note,
    progress_bar,
)
from napari_unet.widgets.layers import LayerComboBox, pixels_of, snapshot_of
from napari_unet.widgets.session import session_of
from napari_unet.widgets.task import Failed, Outcome

if TYPE_CHECKING:
    import threading
    from collections.abc import Generator

    from napari.viewer import Viewer

    from napari_unet.data.axes import ArrayLike
    from napari_unet.widgets.loss_plot import LossPlot

# These have controls of their own.
_MAIN_SETTINGS = ("kind", "unpainted", "steps", "minutes")


class TrainWidget(QWidget):
    """Trains a U-Net on what is painted.

    Parameters
    ----------
    napari_viewer : Viewer
        The viewer that it is docked in.
    """

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__()
        self._viewer = napari_viewer
        self._session = session_of(napari_viewer)
        self.task = self._session.training
        self._plot: LossPlot | None = None
        self._score = ""
        self.image_box = LayerComboBox(napari_viewer, Image)
        self.labels_box = LayerComboBox(napari_viewer, Labels)
        self.kind_box = choice(
            [("objects", "objects"), ("classes", "classes")],
            "Objects: each painted number is one cell; touching cells are told apart. "
            "Classes: each painted number is one class.",
        )
        self.unpainted_box = choice(
            [("not labelled yet", "unlabelled"), ("background", "background")],
            "What unpainted pixels (0) mean. While painting: not labelled yet, and 1 is "
            "background. For finished masks, for example of Cellpose: background.",
        )
        self.preset_box = choice([(name, name) for name in PRESET_HELP], "Which network, and how.")
        self.preset_note = note()
        self.steps_box = QSpinBox()
        self.steps_box.setRange(1, 10_000_000)
        self.form = ConfigForm(TrainConfig(), left_out=_MAIN_SETTINGS)
        self.status = note()
        self.progress = progress_bar("How much of the training is done.")
        self._lay_out()
        self.preset_box.currentIndexChanged.connect(self._show_preset)
        self._show_preset()
        self.task.started.connect(self._show_start)
        self.task.happened.connect(self._on_event)
        self.task.ended.connect(self._on_ended)
        self._session.annotation_chosen.connect(self._follow_annotation)
        self._session.kind_chosen.connect(self._follow_kind)
        self._session.model_changed.connect(self._show_running)
        self._follow_annotation()
        self._show_running()
        if self.task.running:  # this dock was closed and opened again
            self._show_plot()

    def _lay_out(self) -> None:
        content = QWidget()
        layout = QVBoxLayout(content)
        layout.setSpacing(8)
        form = form_layout()
        add_row(form, "Image", self.image_box, "The image to learn from.")
        add_row(form, "Labels", self.labels_box, "What you painted on it.")
        add_row(form, "Kind", self.kind_box)
        add_row(form, "Unpainted", self.unpainted_box)
        add_row(form, "Preset", self.preset_box)
        add_row(form, "Steps", self.steps_box, "Training steps. Stop early whenever you like.")
        layout.addLayout(form)
        layout.addWidget(self.preset_note)
        self.train_button = button(
            "&Train", "Train a new network on what is painted.", self.start_training
        )
        self.stop_button = button(
            "Sto&p", "Stop after this step, and keep the best network so far.", self.stop_training
        )
        self.save_button = button("&Save model…", "Save the network to a file.", self.ask_to_save)
        row = QHBoxLayout()
        for each in (self.train_button, self.stop_button, self.save_button):
            row.addWidget(each)
        layout.addLayout(row)
        layout.addWidget(self.progress)
        layout.addWidget(self.status)
        self._plot_place = QVBoxLayout()
        layout.addLayout(self._plot_place)
        advanced = QCollapsible("Advanced settings")
        advanced.setToolTip("All settings of the training; the preset chooses good ones.")
        advanced.addWidget(self.form.native)
        layout.addWidget(advanced)
        layout.addStretch()
        scroll = QScrollArea()
        scroll.setWidgetResizable(True)
        scroll.setFrameShape(QScrollArea.Shape.NoFrame)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        scroll.setWidget(content)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(scroll)

    def config(self) -> TrainConfig:
        """Return the settings that the widget shows.

        Raises
        ------
        ConfigError
            They do not fit together.
        """
        return self.form.value().changed(
            kind=self.kind_box.currentData(),
            unpainted=self.unpainted_box.currentData(),
            steps=self.steps_box.value(),
        )

    def start_training(self) -> None:
        """Take a snapshot of image and paint, and train on it in the background."""
        if self.task.running:
            show_warning(f"Training is already running. {self.status.text()}")
            return
        image, labels = self.image_box.layer, self.labels_box.layer
        if image is None or labels is None:
            show_warning(
                "Training needs an image and a labels layer with paint: open an image, then "
                "use the Annotate widget."
            )
            return
        try:
            config = self.config()
        except NapariUNetError as error:
            show_error(str(error))
            return
        make_events = partial(
            training_events, image.name, pixels_of(image), snapshot_of(labels), config
        )
        self._show_plot()
        self._session.trained_image = image.name
        self.task.start(make_events)

    def stop_training(self) -> None:
        """Stop after the current step; the best network so far is kept."""
        self.task.stop()
        self._show_running()

    def ask_to_save(self) -> None:
        """Ask for a file name and save the model there."""
        name, _ = QFileDialog.getSaveFileName(
            self, "Save model", f"{self._session.model_name or 'model'}.safetensors", _MODEL_FILES
        )
        if name:
            self.save_model(Path(name))

    def save_model(self, path: Path) -> None:
        """Save the session's model."""
        if self._session.model is None:
            show_warning("There is no model yet: train one first.")
            return
        from napari_unet.model.trained import save_network

        if path.suffix != ".safetensors":
            path = path.with_name(path.name + ".safetensors")
        try:
            save_network(self._session.model, path)
        except NapariUNetError as error:
            show_error(str(error))
        else:
            show_info(f"Saved {path}.")

    def _show_plot(self) -> None:
        if self._plot is None:
            from napari_unet.widgets.loss_plot import LossPlot

            text_colour = get_theme(self._viewer.theme).text.as_hex()
            self._plot = LossPlot(text_colour, self)
            self._plot_place.addWidget(self._plot)
        self._plot.reset()

    def _show_preset(self) -> None:
        name = self.preset_box.currentData()
        config = TrainConfig.preset(name)
        self.preset_note.setText(PRESET_HELP[name])
        self.steps_box.setValue(config.steps)
        self.form.set_value(config)

    def _follow_annotation(self) -> None:
        if self._session.image is not None:
            self.image_box.layer = self._session.image
        if self._session.annotation is not None:
            self.labels_box.layer = self._session.annotation

    def _follow_kind(self, kind: str) -> None:
        self.kind_box.setCurrentIndex(self.kind_box.findData(kind))

    def _show_running(self) -> None:
        running = self.task.running
        self.train_button.setEnabled(not running)
        self.stop_button.setEnabled(running and not self.task.stopping)
        self.save_button.setEnabled(self._session.model is not None)

    def _show_start(self) -> None:
        self._show_running()
        self.status.setText("Preparing the images and loading torch…")
        self.progress.setValue(0)

    def _on_event(self, event: object) -> None:
        if isinstance(event, TrainingStarted):
            self._score = ""
            self.status.setText(f"Training on {event.device}…")
        elif isinstance(event, StepDone):
            self._show_step(event)
        elif isinstance(event, Validated):
            self._show_score(event)
        elif isinstance(event, Notice):
            show_info(event.text)

    def _show_step(self, event: StepDone) -> None:
        self.progress.setValue(round(1000 * event.progress))
        left = "stopping…" if self.task.stopping else f"{duration(event.seconds_left)} left"
        self.status.setText(f"Step {event.step}, {left}, loss {event.loss:.3f}. {self._score}")
        if self._plot is not None:
            self._plot.add_loss(event.step, event.loss)

    def _show_score(self, event: Validated) -> None:
        self._score = f"On held-back paint: IoU {event.iou:.2f}"
        if event.object_f1 is not None:
            self._score += f", object F1 {event.object_f1:.2f}"
        self._score += "."
        if self._plot is not None:
            self._plot.add_score(event.step, event.iou)

    def _on_ended(self, outcome: Outcome) -> None:
        self._show_running()
        self.progress.setValue(1000)
        if isinstance(outcome, Failed):
            self.progress.setValue(0)
            self.status.setText(outcome.text)
            show_error(f"{outcome.text}\n{outcome.details}".strip())
            return
        result = outcome.result
        if result.state.step == 0:
            self.status.setText("Stopped before the first step: the former model stays.")
            return
        ended = "Stopped" if result.stopped else "Finished"
        self.status.setText(f"{ended} after {result.state.step} steps. {self._score}")


_MODEL_FILES = "Models (*.safetensors)"


def training_events(
    name: str, image: ArrayLike, labels: Any, config: TrainConfig, stop: threading.Event
) -> Generator[object, None, Any]:
    """Prepare and train; torch is imported here, in the worker thread.

    Yields
    ------
    TrainingEvent
        See :func:`napari_unet.training.loop.train_network`.

    Returns
    -------
    TrainingResult
        The trained network and its state.
    """
    from napari_unet.training.dataset import AnnotatedImage
    from napari_unet.training.loop import train_network
    from napari_unet.training.preparation import prepare_training

    data = prepare_training([AnnotatedImage(name, image, labels)], config)
    return (yield from train_network(data, config, stop))
