"""The Predict widget: from a trained network to a labels layer, tile by tile."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from napari.layers import Labels
from napari.utils.notifications import show_error, show_info, show_warning
from qtpy.QtWidgets import QFileDialog

from napari_unet.errors import NapariUNetError
from napari_unet.widgets.common.controls import MODEL_FILES, Note, Section, scrolling_column
from napari_unet.widgets.common.copy_script import prediction_to_copy
from napari_unet.widgets.common.dock import Dock
from napari_unet.widgets.common.layers import pixels_of
from napari_unet.widgets.common.model_work import loading_events
from napari_unet.widgets.common.stored_layers import said_of
from napari_unet.widgets.common.task import Failed, Outcome
from napari_unet.widgets.predict.batch import BatchTable
from napari_unet.widgets.predict.compare import ComparePanel
from napari_unet.widgets.predict.correct import CorrectPanel
from napari_unet.widgets.predict.link import LinkPanel
from napari_unet.widgets.predict.measure import MeasurePanel
from napari_unet.widgets.predict.options import PredictOptions
from napari_unet.widgets.predict.runs import predict_into_file, predict_into_layer, scoped
from napari_unet.widgets.predict.spots import SpotsPanel
from napari_unet.widgets.predict.status import PredictButtons, PredictStatus

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.layers import Image
    from napari.viewer import Viewer

    from napari_unet.prediction.config import PredictConfig
    from napari_unet.prediction.results import Prediction
    from napari_unet.widgets.common.copy_script import ScriptBundle


_MEASURED_AT_ONCE = 2**26  # pixels; larger results are measured when asked for


class PredictWidget(Dock):
    """Predicts what is on screen, a slice, a whole stack, into a file, or a folder."""

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__(napari_viewer)
        self.task = self._session.prediction
        self.options = PredictOptions(napari_viewer, self._session)
        self.model_note = Note()
        self.progress = PredictStatus()
        self.status = self.progress.line
        self.batch = BatchTable(napari_viewer, self.task)
        self.spots = SpotsPanel(napari_viewer, self)
        self.correct = CorrectPanel(napari_viewer)
        self.measure = MeasurePanel(napari_viewer)
        self.compare = ComparePanel(napari_viewer)
        self.link = LinkPanel(napari_viewer)
        self.buttons = PredictButtons(self._session, self)
        self.view_button, self.slice_button = self.buttons.view, self.buttons.slice
        self.predict_button, self.file_button = self.buttons.whole, self.buttons.file
        self.folder_button, self.starting_box = self.buttons.folder, self.buttons.starting
        self._lay_out()
        self._connect()
        self._follow_image()
        self._show_state()

    def _lay_out(self) -> None:
        layout = scrolling_column(self)
        layout.addWidget(self.options)
        layout.addWidget(self.model_note)
        layout.addWidget(self.buttons)
        layout.addWidget(self.progress)
        layout.addWidget(self.batch)
        for title, tooltip, panel in (
            ("Where is it unsure?", "Spots to look at, and to paint on, next.", self.spots),
            ("Correct", "Correct the prediction and teach the network.", self.correct),
            ("Measure", "Area, intensity and more of each object.", self.measure),
            ("Compare with", "Scores against a layer that holds the truth.", self.compare),
            ("Link over time or z", "One number for the same object in all frames.", self.link),
        ):
            section = Section(title, tooltip, panel)
            section.open()
            layout.addWidget(section)
        layout.addStretch(1)

    def _connect(self) -> None:
        self._session.model_changed.connect(self._show_state)
        self._session.model_changed.connect(self.options.show_model)
        self._session.annotation_chosen.connect(self._follow_image)
        self.options.cell_size.told.connect(self.status.setText)
        self.task.started.connect(self._show_start)
        self.task.happened.connect(self.progress.show_event)
        self.task.ended.connect(self._on_ended)

    def ask_to_load(self) -> None:
        """Ask for a model file and load it."""
        name, _ = QFileDialog.getOpenFileName(self, "Load model", "", MODEL_FILES)
        if name:
            self.load_model(Path(name))

    def load_model(self, path: Path) -> None:
        """Use a model file; an error is shown and the previous model stays."""
        if not self._session.loading.start(partial(loading_events, path, path.stem)):
            show_info("A model is still being loaded.")

    def start_prediction(self, scope: str = "whole") -> None:
        """Predict the chosen image in the background: its "view", a "slice" or the "whole"."""
        image, model = self.ready_image(), self._session.model
        if image is None or model is None:
            return
        try:
            config = self.config(image, scope)
        except NapariUNetError as error:
            self._refuse(image, str(error))
            return
        self.compare.forget()
        predict_into_layer(self._viewer, self._session, model, image, self.kept_axes(image), config)

    def ask_for_file(self) -> None:
        """Ask for a name, and predict the whole image into that file."""
        image = self.ready_image()
        if image is None:
            return
        name, _ = QFileDialog.getSaveFileName(
            self, "Predict into", f"{image.name} prediction.zarr", "OME-Zarr (*.zarr)"
        )
        if name:
            self.predict_to_file(Path(name))

    def predict_to_file(self, path: Path) -> None:
        """Predict the whole image into an OME-Zarr, or go on with what was cancelled there."""
        image, model = self.ready_image(), self._session.model
        config = None if image is None else self._config_of_whole(image)
        if image is None or model is None or config is None:
            return
        predict_into_file(
            self._viewer, self._session, model, image, self.kept_axes(image), config, path
        )

    def to_copy(self) -> Callable[[], ScriptBundle] | None:
        """Freeze what Whole would do now, for a script; show what is missing where it is."""
        image, model = self.ready_image(), self._session.model
        config = None if image is None else self._config_of_whole(image)
        if image is None or model is None or config is None:
            return None
        return prediction_to_copy(model, image, pixels_of(image), config)

    def _config_of_whole(self, image: Image) -> PredictConfig | None:
        try:
            return self._fitting(image, self.options.config(image))
        except NapariUNetError as error:
            self._refuse(image, str(error))
            return None

    def config(self, image: Image, scope: str) -> PredictConfig:
        """Return what to predict, from what is on screen now: its "view", a "slice" or the "whole".

        Raises NapariUNetError if model and image do not fit, or the result would not fit into
        memory.
        """
        model = self._session.model
        ndim = 2 if model is None else model.record.network.ndim
        config = self._fitting(image, self.options.config(image))
        return scoped(self._viewer, image, self.kept_axes(image), ndim, config, scope)

    def kept_axes(self, image: Image) -> tuple[int, ...]:
        """Return which axes of an image the result has, in its order."""
        return self.options.keep(image)

    def _fitting(self, image: Image, config: PredictConfig) -> PredictConfig:
        """Return settings under which model and image fit; not a pixel is read for it."""
        from napari_unet.prediction.plan import plan_prediction

        self.kept_axes(image)
        if self._session.model is not None:
            plan_prediction(self._session.model.record, pixels_of(image), config)
        return config

    def _refuse(self, image: Image, text: str) -> None:
        """Show in one place what does not fit: model, image, and why."""
        text = f"The model {self._session.model_name!r} cannot predict {image.name!r}: {text}"
        self.progress.fail(text)
        show_error(text)

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
        try:
            config = self.options.config_of_files()
        except NapariUNetError as error:
            show_error(str(error))
            return
        self.batch.start(model, source, target, config)

    def cancel(self) -> None:
        """Stop after the current tile; finished tiles are kept."""
        self.task.stop()
        self.buttons.show_state()

    def ready_image(self) -> Image | None:
        """Return the chosen image if it can be predicted now; else show what is missing."""
        if self.task.running:
            show_warning(f"A prediction is already running. {self.status.text()}")
            return None
        if self._session.model is None:
            show_warning(
                "There is no model yet: train one, load a model file, or choose a starting model."
            )
            return None
        if self.options.image_box.layer is None:
            show_warning("Open an image to predict.")
        return self.options.image_box.layer

    def _follow_image(self) -> None:
        if self._session.image is not None:
            self.options.image_box.layer = self._session.image

    def _show_state(self) -> None:
        self.buttons.show_state()
        model = self._session.model
        if model is None:
            self.model_note.setText(
                "Model: none yet. Train one, load a model file, or choose a starting model."
            )
            return
        network = model.record.network
        self.model_note.setText(
            f"Model: {self._session.model_name} ({network.ndim}D, {network.in_channels} "
            f"channel(s), {model.record.classes.kind}, {model.record.steps} steps)"
            + (f"\n{model.record.origin}" if model.record.origin else "")
        )

    def _show_start(self) -> None:
        self._show_state()
        self.progress.begin()

    def _on_ended(self, outcome: Outcome) -> None:
        self._show_state()
        if isinstance(outcome, Failed):
            self.progress.fail(outcome.text)
        elif isinstance(outcome.result, tuple):
            self.progress.end(self.batch.summary or f"{len(outcome.result)} files written.")
        else:
            self._show_result(outcome.result)

    def _show_result(self, result: Prediction) -> None:
        self.progress.end(said_of(result))
        shown = self._session.result.layer if self._session.result else None
        small = math.prod(result.shape) <= _MEASURED_AT_ONCE
        if result.path is None and result.type.is_separated and small and isinstance(shown, Labels):
            self.measure.measure_layer(shown)
        if result.path is None and not result.complete:
            show_info("The prediction is incomplete: it was cancelled.")
