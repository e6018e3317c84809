"""The Models widget: a small library of saved models, and the project of the session."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from napari.utils.notifications import show_error, show_info, show_warning
from qtpy.QtCore import QSize, Qt, QUrl
from qtpy.QtGui import QDesktopServices, QIcon
from qtpy.QtWidgets import QInputDialog, QListWidget, QListWidgetItem, QMessageBox

from napari_unet.errors import NapariUNetError
from napari_unet.project.library import ModelLibrary, starting_entries
from napari_unet.widgets.common.button_grid import ButtonGrid
from napari_unet.widgets.common.controls import Note, as_plain, button, scrolling_column
from napari_unet.widgets.common.dock import Dock
from napari_unet.widgets.common.model_work import (
    store_model,
)
from napari_unet.widgets.common.preferences import preferences
from napari_unet.widgets.common.task import Failed, Outcome
from napari_unet.widgets.models.export import ExportDialog
from napari_unet.widgets.models.import_model import ModelImport
from napari_unet.widgets.models.save_project import place_of

if TYPE_CHECKING:
    from pathlib import Path

    from napari.viewer import Viewer
    from numpy.typing import NDArray
    from qtpy.QtWidgets import QPushButton

    from napari_unet.project.library import ModelEntry

_THUMBNAIL = 48


class ModelsWidget(Dock):
    """Keeps models to use again, in the user's data folder by default; opens and saves projects."""

    def __init__(self, napari_viewer: Viewer, library: ModelLibrary | None = None) -> None:
        super().__init__(napari_viewer)
        if not isinstance(library, ModelLibrary):
            library = ModelLibrary(preferences().models)
        self.library = library
        self.list: Final = QListWidget()
        self.list.setIconSize(QSize(_THUMBNAIL, _THUMBNAIL))
        self.list.setWordWrap(True)
        self.list.setSpacing(3)
        self.list.setAccessibleName("Models")
        self.list.setToolTip(
            "Saved models, the newest first, then the bundled ones. "
            "Double-click or Return loads one."
        )
        self.text: Final = Note()
        self.place: Final = place_of(napari_viewer)
        self.place.told.connect(self.text.setText)
        self.card_note: Final = Note()
        self.damaged_note: Final = Note()
        self.model_import: Final = ModelImport(self._session, self.library, self.text, self)
        self._lay_out()
        self.list.itemActivated.connect(self.load)
        self.list.currentItemChanged.connect(self._show_state)
        self._session.model_changed.connect(self._show_state)
        self._session.storing.ended.connect(self._on_stored)
        self.model_import.imported.connect(self.refresh)
        self.refresh()

    def _lay_out(self) -> None:
        layout = scrolling_column(self)
        self.add_button: QPushButton = button(
            "Add the model in use", "Save the model in use to the library.", self.add
        )
        self.load_button: QPushButton = button("Load", "Use the chosen model.", self.load)
        self.rename_button: QPushButton = button(
            "Rename…", "Rename the chosen model.", self.ask_to_rename
        )
        self.delete_button: QPushButton = button(
            "Delete…", "Delete the chosen model.", self.ask_to_delete
        )
        self.folder_button: QPushButton = button(
            "Open folder", "Show the model files in the file manager.", self.open_library_folder
        )
        self.save_project_button: QPushButton = button(
            "Save project…",
            "Save images, paint, results, tracks, model and settings of this session to a new "
            "folder.",
            partial(self.place.ask_to_save, self),
        )
        self.open_project_button: QPushButton = button(
            "Open project…",
            "Open a saved project: all of it comes back.",
            partial(self.place.ask_to_open, self),
        )
        self.export_button: QPushButton = button(
            "Export…", "Write the model in use for other programs.", self.open_export
        )
        layout.addWidget(self.add_button)
        layout.addWidget(self.model_import.button)
        layout.addWidget(self.list)
        layout.addWidget(self.card_note)
        layout.addWidget(self.damaged_note)
        layout.addLayout(
            ButtonGrid(
                2,
                (
                    self.load_button,
                    self.rename_button,
                    self.delete_button,
                    self.folder_button,
                    self.save_project_button,
                    self.open_project_button,
                    self.export_button,
                ),
            )
        )
        layout.addWidget(self.text)
        layout.addStretch()

    @property
    def chosen(self) -> ModelEntry | None:
        """The entry that is selected in the list."""
        item = self.list.currentItem()
        entry: ModelEntry | None = item.data(Qt.ItemDataRole.UserRole) if item else None
        return entry

    def refresh(self) -> None:
        """Show the library as it is now."""
        self.list.clear()
        for entry in (*self.library.entries(), *starting_entries()):
            item = QListWidgetItem(_in_words(entry))
            item.setData(Qt.ItemDataRole.UserRole, entry)
            item.setToolTip(as_plain(str(entry.card or entry.path)))
            if entry.thumbnail is not None:
                item.setIcon(QIcon(str(entry.thumbnail)))
            self.list.addItem(item)
        self.damaged_note.setText(_in_words_of_damaged(self.library.unreadable()))
        self._show_state()

    def add(self) -> None:
        """Save the model in use to the library, with a picture of what it was trained on."""
        model = self._session.model
        if model is None:
            show_warning("There is no model yet: train one first.")
            return
        picture = thumbnail_of(self._session.image)
        name = self._session.model_name or "model"
        work = partial(store_model, self.library, model, name, picture)
        if not self._session.storing.start(work):
            show_info("A model is still being saved.")

    def open_export(self) -> None:
        """Open the dialog that exports the model in use."""
        self.export_dialog: ExportDialog = ExportDialog(
            self._viewer, self.library.folder.parent, self
        )
        self.export_dialog.show()

    def load(self, _item: object = None) -> None:
        """Use the chosen model."""
        entry = self.chosen
        if entry is None:
            show_warning("Choose a model in the list first.")
            return
        self._session.begin_loading(entry.path, entry.name)

    def ask_to_rename(self) -> None:
        """Ask for another name of the chosen model."""
        entry = self.chosen
        if entry is not None:
            name, agreed = QInputDialog.getText(self, "Rename", "New name:", text=entry.name)
            if agreed:
                self.rename(entry, name)

    def rename(self, entry: ModelEntry, name: str) -> None:
        """Rename a model."""
        try:
            self.library.rename(entry, name)
        except NapariUNetError as error:
            show_error(str(error))
        self.refresh()

    def ask_to_delete(self) -> None:
        """Ask whether the chosen model is to be deleted."""
        entry = self.chosen
        if entry is None:
            return
        answer = QMessageBox.question(self, "Delete", as_plain(f"Delete {entry.name} for good?"))
        if answer == QMessageBox.StandardButton.Yes:
            self.delete(entry)

    def delete(self, entry: ModelEntry) -> None:
        """Delete a model."""
        try:
            self.library.delete(entry)
        except NapariUNetError as error:
            show_error(str(error))
        self.refresh()

    def open_library_folder(self) -> None:
        """Show the model files in the file manager."""
        QDesktopServices.openUrl(QUrl.fromLocalFile(str(self.library.folder)))

    def _on_stored(self, outcome: Outcome) -> None:
        if isinstance(outcome, Failed):
            show_error(outcome.text)
        else:
            self.text.setText(f"Saved {outcome.result}.")
        self.refresh()

    def _show_state(self, *_: Any) -> None:
        entry = self.chosen
        self.load_button.setEnabled(entry is not None)
        for each in (self.rename_button, self.delete_button):
            each.setEnabled(entry is not None and entry.card is None)
        self.card_note.setText(str(entry.card) if entry is not None and entry.card else "")
        self.folder_button.setEnabled(self.library.folder.exists())
        for each in (self.add_button, self.export_button):
            each.setEnabled(self._session.model is not None)


def thumbnail_of(image: Any) -> NDArray[np.uint8] | None:
    """Return a small grey or colour picture of an image layer, from its thumbnail in napari."""
    if image is None:
        return None
    return np.asarray(image.thumbnail)[..., :3].astype(np.uint8)


def _in_words_of_damaged(paths: tuple[Path, ...]) -> str:
    if not paths:
        return ""
    names = ", ".join(path.name for path in paths[:3]) + (" …" if len(paths) > 3 else "")
    return f"Not readable as models: {names}. Restore them from a copy, or delete them."


def _in_words(entry: ModelEntry) -> str:
    when = entry.created.replace("T", " ")[:16]
    of = f"{entry.kind}, {entry.ndim}D, {entry.steps} steps"
    images = ", ".join(entry.images[:2]) + (" …" if len(entry.images) > 2 else "")
    score = f"{entry.score_text} · " if entry.score_text else ""
    if entry.card is not None:
        return f"{entry.name}\nbundled · {entry.card.suits}"
    return f"{entry.name}\n{score}{of}\n{when} · {images}"
