"""Import a model of another program into the library, in the background, and use it."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from napari.utils.notifications import show_info
from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import QFileDialog, QLabel, QPushButton, QWidget

from napari_unet.widgets.common.controls import button
from napari_unet.widgets.common.model_work import store_model
from napari_unet.widgets.common.task import Finished, Outcome

if TYPE_CHECKING:
    import threading
    from collections.abc import Generator

    from napari_unet.project.library import ModelLibrary
    from napari_unet.widgets.common.model_work import Loaded
    from napari_unet.widgets.common.session import Session

_FILTER = "Models of other programs (*.zip *.onnx *.yaml *.yml)"


def importing_events(
    path: Path, library: ModelLibrary, stop: threading.Event
) -> Generator[object, None, Loaded]:
    """Import a model of another program, and save it to the library; its events are texts.

    It has no training to go on with.
    """
    from napari_unet.external.importing import import_model

    trained, name = yield from import_model(path)
    stored = store_model(library, trained, name, None, stop)
    return trained, stored.stem, None


class ModelImport(QObject):
    """The button "Import…" of the Models widget; `text` shows what it does."""

    imported: Final = Signal()

    def __init__(
        self, session: Session, library: ModelLibrary, text: QLabel, parent: QWidget
    ) -> None:
        super().__init__(parent)
        self._session, self._library, self._text = session, library, text
        self._parent = parent
        self._at_work = False
        self.button: QPushButton = button(
            "Import…",
            "Take in a model of another program: a bioimage.io package (zip, or the rdf.yaml of an "
            "unpacked one) or an ONNX file. No program in it is run.",
            self.ask,
        )
        session.loading.happened.connect(self._on_event)
        session.loading.ended.connect(self._on_ended)

    def ask(self) -> None:
        """Ask for a file and import it."""
        name, _ = QFileDialog.getOpenFileName(self._parent, "Import a model", "", _FILTER)
        if name:
            self.start(Path(name))

    def start(self, path: Path) -> None:
        """Import a model in the background."""
        if not self._session.loading.start(partial(importing_events, path, self._library)):
            show_info("A model is still being loaded.")
            return
        self._at_work = True
        self.button.setEnabled(False)

    def _on_event(self, event: object) -> None:
        if self._at_work and isinstance(event, str):
            self._text.setText(event)

    def _on_ended(self, outcome: Outcome) -> None:
        if not self._at_work:
            return
        self._at_work = False
        self.button.setEnabled(True)
        if isinstance(outcome, Finished):
            model, name, _ = outcome.result
            self._text.setText(f"Imported {name}, and in use. {model.record.origin}")
            self.imported.emit()
        else:
            self._text.setText(f"Not imported: {outcome.text}")
