"""The dialog that exports the model in use for other programs."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from napari.layers import Image
from qtpy.QtWidgets import (
    QComboBox,
    QDialog,
    QFileDialog,
    QHBoxLayout,
    QLineEdit,
    QMessageBox,
    QTextEdit,
    QVBoxLayout,
)

from napari_unet.errors import ImageError, ModelMismatchError, NapariUNetError
from napari_unet.export.config import (
    COMMON_LICENCES,
    EXTENSIONS,
    ExportCheck,
    ExportConfig,
    read_author,
    with_extension,
)
from napari_unet.io.disk import replace_file
from napari_unet.settings import declared
from napari_unet.widgets.common.controls import Note, add_row, as_plain, button, form_layout
from napari_unet.widgets.common.layers import pixels_of, plain_layers
from napari_unet.widgets.common.placement import named_axes_of
from napari_unet.widgets.common.session import session_of
from napari_unet.widgets.common.settings_form import SettingsForm
from napari_unet.widgets.common.task import Failed, Outcome, task_named

if TYPE_CHECKING:
    import threading
    from collections.abc import Generator

    from napari.viewer import Viewer
    from qtpy.QtWidgets import QPushButton, QWidget

    from napari_unet.export.config import Exported
    from napari_unet.model.trained import TrainedNetwork

TASK = "Exporting a model"  # of the session: closing the dialog does not end it
_AUTHORS_FILE = "export authors.txt"  # of the last export, beside the library of models
_MOST_LETTERS = 2000  # of it; more was not written by us
_SETTINGS = declared(ExportConfig)


class ExportDialog(QDialog):
    """Asks what to export, does it in the background, and shows how well it agrees.

    The model is that of the viewer's session; it is checked on the selected image. Authors are
    remembered in `folder`.
    """

    def __init__(self, viewer: Viewer, folder: Path, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._viewer, self._folder = viewer, folder
        self._session = session_of(viewer)
        self._proposed = self._session.model_name
        self._agreed: Path | None = None
        self._task = task_named(self._session, TASK)
        self._lay_out()
        self.authors_box.setPlainText(remembered_authors(folder))
        self._task.started.connect(self._show_state)
        self._task.happened.connect(self._on_event)
        self._task.ended.connect(self._on_ended)
        self._session.model_changed.connect(self._name_anew)
        self.format_box.currentIndexChanged.connect(self._show_state)
        self._show_state()

    def _lay_out(self) -> None:
        layout, form = QVBoxLayout(self), form_layout()
        self.form: SettingsForm = SettingsForm(ExportConfig(), ("format", "views", "name"))
        editors = self.form.editors
        self.format_box: QComboBox = editors["format"].widget
        self.views_box: QComboBox = editors["views"].widget
        self.name_box: QLineEdit = editors["name"].widget
        self.format_box.setCurrentIndex(self.format_box.findData("bioimageio"))
        self.name_box.setText(self._session.model_name)
        self.authors_box: QTextEdit = _lines(56)
        self.description_box: QTextEdit = _lines(72)
        self.licence_box: QComboBox = QComboBox()
        self.licence_box.setEditable(True)
        self.licence_box.addItems(COMMON_LICENCES)
        self.path_box: QLineEdit = QLineEdit()
        self.form.add_rows(form, ("format", "views", "name"))
        for name, field, more in (
            ("authors", self.authors_box, " One a line. Remembered."),
            ("licence", self.licence_box, ""),
            ("description", self.description_box, " May be empty."),
        ):
            add_row(form, _SETTINGS[name].label, field, _SETTINGS[name].help + more)
        add_row(form, "File", self.path_box, "Where to write; the extension may be left out.")
        layout.addLayout(form)
        self.browse_button: QPushButton = button(
            "&Browse…", "Choose where to write.", self.ask_for_path
        )
        self.export_button: QPushButton = button(
            "&Export", "Write the file, and run it again to check it.", self.export
        )
        self.close_button: QPushButton = button(
            "&Close", "An export under way goes on.", self.close
        )
        row = QHBoxLayout()
        for each in (self.browse_button, self.export_button, self.close_button):
            row.addWidget(each)
        layout.addLayout(row)
        self.text: Note = Note()
        layout.addWidget(self.text)
        self.resize(420, self.sizeHint().height())

    def config(self) -> ExportConfig:
        """Return what is asked for; ConfigError if it cannot be exported like this."""
        lines = self.authors_box.toPlainText().splitlines()
        authors = tuple(read_author(line) for line in lines if line.strip())
        image = self.checked_on
        return ExportConfig(
            format=self.format_box.currentData(),
            views=self.views_box.currentData(),
            image=None if image is None else pixels_of(image),
            axes=None if image is None else named_axes_of(image),
            name=self.name_box.text().strip(),
            description=self.description_box.toPlainText().strip(),
            authors=authors,
            licence=self.licence_box.currentText().strip(),
        )

    @property
    def checked_on(self) -> Image | None:
        """The selected image, or the one that is being painted."""
        active = self._viewer.layers.selection.active
        chosen = [layer for layer in plain_layers(self._viewer) if layer is active]
        if chosen and isinstance(chosen[0], Image):
            return chosen[0]
        return self._session.image

    def ask_for_path(self) -> None:
        """Ask where to write."""
        extension = EXTENSIONS[self.format_box.currentData()]
        name, _ = QFileDialog.getSaveFileName(self, "Export", "", f"Exports (*{extension})")
        if name:
            self.path_box.setText(name)
            self._agreed = Path(name)

    def export(self) -> None:
        """Export in the background."""
        model, where = self._session.model, self.path_box.text().strip()
        if model is None:
            self.text.setText("There is no model yet: train or load one first.")
            return
        if not Path(where).expanduser().is_absolute():
            self.text.setText("Say where to write: choose a file by Browse…, or type a whole path.")
            return
        try:
            config = self.config()
        except NapariUNetError as error:
            self.text.setText(str(error))
            return
        path = with_extension(Path(where).expanduser(), config.format)
        if not self._may_write(path):
            return
        remember_authors(self._folder, self.authors_box.toPlainText())
        work = partial(export_events, model, path, config)
        if self._task.start(work):
            self.text.setText("Writing the file…")

    def _may_write(self, path: Path) -> bool:
        """Ask before a file is replaced, unless it was just agreed to in the file dialog."""
        if not path.exists() or path == self._agreed:
            return True
        question = as_plain(f"{path} exists. Replace it?")
        answer = QMessageBox.question(self, "Export", question)
        return bool(answer == QMessageBox.StandardButton.Yes)

    def _on_event(self, event: object) -> None:
        if isinstance(event, ExportCheck):
            self.text.setText(f"Checked: {event}.")

    def _on_ended(self, outcome: Outcome) -> None:
        if isinstance(outcome, Failed):
            self.text.setText(outcome.text)
        else:
            self.text.setText("Cancelled." if outcome.result is None else str(outcome.result))
        self._show_state()

    def _name_anew(self) -> None:
        """Propose the name of another model, unless somebody has typed one."""
        if self.name_box.text() == self._proposed:
            self.name_box.setText(self._session.model_name)
        self._proposed = self._session.model_name
        self._show_state()

    def _show_state(self, _: object = None) -> None:
        packed = self.format_box.currentData() == "bioimageio"  # which alone needs them
        self.authors_box.setEnabled(packed)
        self.licence_box.setEnabled(packed)
        self.setWindowTitle(as_plain(f"Export {self._session.model_name or 'the model in use'}"))
        self.export_button.setEnabled(self._session.model is not None and not self._task.running)


def _lines(height: int) -> QTextEdit:
    """Return a field of several lines; a QTextEdit, since napari's themes colour its background."""
    made = QTextEdit()
    made.setAcceptRichText(False)
    made.setTabChangesFocus(True)
    made.setMaximumHeight(height)
    return made


def remembered_authors(folder: Path) -> str:
    """Return the authors' lines of the last export; empty without one."""
    with (
        contextlib.suppress(OSError, UnicodeDecodeError),
        (folder / _AUTHORS_FILE).open(encoding="utf-8") as file,
    ):
        return file.read(_MOST_LETTERS)
    return ""


def remember_authors(folder: Path, lines: str) -> None:
    """Keep the lines; an export does not fail where that cannot be done."""
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        replace_file(folder / _AUTHORS_FILE, lines[:_MOST_LETTERS].encode())


def export_events(
    model: TrainedNetwork, path: Path, config: ExportConfig, stop: threading.Event
) -> Generator[object, None, Exported | None]:
    """Export a model, checked on a texture where the selected image does not fit this model."""
    from napari_unet.export.writing import export_network
    from napari_unet.prediction.config import PredictConfig
    from napari_unet.prediction.plan import plan_prediction

    if config.image is not None:
        try:
            plan_prediction(model.record, config.image, PredictConfig(axes=config.axes))
        except (ImageError, ModelMismatchError):
            config = replace(config, image=None, axes=None)
    return (yield from export_network(model, path, config, stop))
