"""The Predict widget: from a trained network to a labels layer, tile by tile."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from napari.layers import Image, Labels
from napari.utils.notifications import show_error, show_info, show_warning
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFileDialog

from napari_unet.errors import NapariUNetError
from napari_unet.widgets.common.button_grid import ButtonGrid
from napari_unet.widgets.common.controls import (
    MODEL_FILES,
    Note,
    Section,
    add_row,
    button,
    form_layout,
    scrolling_column,
)
from napari_unet.widgets.common.copy_script import CopyScriptButton
from napari_unet.widgets.common.dock import Dock
from napari_unet.widgets.common.layers import LayerComboBox
from napari_unet.widgets.common.result_layer import predicted_of
from napari_unet.widgets.common.starting import starting_model_box
from napari_unet.widgets.common.task import Failed, Outcome
from napari_unet.widgets.predict.batch import BatchTable
from napari_unet.widgets.predict.compare import ComparePanel
from napari_unet.widgets.predict.correct import CorrectPanel
from napari_unet.widgets.predict.link import LinkPanel
from napari_unet.widgets.predict.measure import MeasurePanel
from napari_unet.widgets.predict.options import PredictOptions
from napari_unet.widgets.predict.runs import said_of
from napari_unet.widgets.predict.spots import SpotsPanel
from napari_unet.widgets.predict.start import PredictionStarter, PredictStatus

if TYPE_CHECKING:
    from napari.viewer import Viewer
    from qtpy.QtWidgets import QComboBox, QPushButton

    from napari_unet.prediction.results import Prediction


_KEYS_TEXT = (
    "Keys: <b>H</b> outlines, filled, hidden; <b>,</b> and <b>.</b> earlier and later result."
)
_MEASURED_AT_ONCE = 2**26  # pixels; larger results are measured when asked for


class PredictWidget(Dock):
    """Predicts what is on screen, a slice, a whole stack, into a file, or a folder."""

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__(napari_viewer)
        self.task: Final = self._session.prediction
        self.image_box: LayerComboBox[Image] = LayerComboBox(napari_viewer, Image)
        rows = form_layout()
        add_row(rows, "Image", self.image_box, "The image to predict.")
        self.options: Final = PredictOptions(napari_viewer, self._session, self.image_box, rows)
        self.model_note: Final = Note()
        self.progress: Final = PredictStatus()
        self.status: Final = self.progress.line
        self.batch: Final = BatchTable(napari_viewer, self.task)
        self.starter: Final = PredictionStarter(napari_viewer, self.options, self.progress)
        self.spots: Final = SpotsPanel(napari_viewer, self.starter)
        self.correct: Final = CorrectPanel(napari_viewer)
        self.measure: Final = MeasurePanel(napari_viewer)
        self.compare: Final = ComparePanel(napari_viewer)
        self.link: Final = LinkPanel(napari_viewer)
        self._make_buttons()
        self._lay_out()
        self._connect()
        self._follow_image()
        self._show_state()

    def _make_buttons(self) -> None:
        start = self.starter.start
        self.view_button: QPushButton = button(
            "Segment this v&iew", "Segment what is on screen.", partial(start, "view")
        )
        self.slice_button: QPushButton = button(
            "This slice", "Segment the plane on screen.", partial(start, "slice")
        )
        self.predict_button: QPushButton = button(
            "&Everything", "Segment the whole image or stack, what is on screen first.", start
        )
        self.file_button: QPushButton = button(
            "To file…",
            "Predict the whole image, however large it is, into an OME-Zarr, and show it from "
            "there. Cancelled, it goes on where it was when the same name is chosen again.",
            self.ask_for_file,
        )
        self.folder_button: QPushButton = button(
            "Fol&der…", "Predict every image of a folder into files.", self.ask_for_folder
        )
        self.cancel_button: QPushButton = button(
            "&Cancel", "Stop; what is finished is kept.", self.cancel
        )
        self.load_button: QPushButton = button(
            "Load model…", "Use a saved model file.", self.ask_to_load
        )
        self.starting_box: QComboBox = starting_model_box(self._session)
        self.copy_button: CopyScriptButton = CopyScriptButton(
            self._session, self.starter.to_copy, "the prediction of the whole image"
        )
        self._starters = (self.view_button, self.slice_button, self.predict_button)
        self._ask_first = (self.file_button, self.folder_button, self.copy_button)

    def _lay_out(self) -> None:
        layout, keys = scrolling_column(self), Note()
        keys.setTextFormat(Qt.TextFormat.RichText)
        keys.setText(_KEYS_TEXT)
        layout.addWidget(self.options)
        layout.addWidget(self.model_note)
        starters = (*self._starters, self.file_button, self.folder_button, self.cancel_button)
        layout.addLayout(ButtonGrid(3, starters))
        layout.addLayout(ButtonGrid(2, (self.load_button, self.starting_box)))
        layout.addWidget(self.copy_button)
        layout.addWidget(self.progress)
        layout.addWidget(keys)
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
        self._session.loading.started.connect(self._show_state)
        self._session.loading.ended.connect(self._show_state)
        self._session.model_changed.connect(self.options.show_model)
        self._session.annotation_chosen.connect(self._follow_image)
        self._session.told_of_result.connect(self.progress.end)
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
        self._session.begin_loading(path, path.stem)

    def ask_for_file(self) -> None:
        """Ask for a name, and predict the whole image into that file."""
        image = self.starter.ready_image()
        if image is None:
            return
        name, _ = QFileDialog.getSaveFileName(
            self, "Predict into", f"{image.name} prediction.zarr", "OME-Zarr (*.zarr)"
        )
        if name:
            self.starter.start_into(Path(name))

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
        """Stop; what is finished is kept."""
        self.task.stop()
        self.progress.cancel()
        self._show_buttons()

    def _follow_image(self) -> None:
        if self._session.image is not None:
            self.image_box.layer = self._session.image

    def _show_buttons(self) -> None:
        """Enable what can be clicked now."""
        free, known = not self.task.running, self._session.model is not None
        for each in self._starters:
            each.setEnabled(free and (known or self._session.loading.running))
        for each in self._ask_first:
            each.setEnabled(free and known)
        self.cancel_button.setEnabled(self.task.running and not self.task.stopping)

    def _show_state(self) -> None:
        self._show_buttons()
        model = self._session.model
        if self._session.loading.running:
            self.model_note.setText(self._session.model_in_words)
            return
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
        self.compare.forget()
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
        covers = isinstance(shown, Labels) and predicted_of(shown) is not None
        small = math.prod(result.shape) <= _MEASURED_AT_ONCE
        if result.path is None and result.type.is_separated and small and covers:
            self.measure.measure_layer(shown)
        if result.path is None and not result.complete:
            show_info("The prediction is incomplete: it was cancelled.")
