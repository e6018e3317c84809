"""Copy what a widget would do as a command line, or as Python lines."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.utils.notifications import show_error, show_info, show_warning
from qtpy.QtWidgets import QApplication, QFileDialog, QMenu, QPushButton

from napari_unet.errors import NapariUNetError
from napari_unet.widgets.common.annotation import annotation_of
from napari_unet.widgets.common.copy_to_annotation import AnnotationCopier
from napari_unet.widgets.common.pairs import annotated_images, what_is_missing
from napari_unet.widgets.common.task import Failed, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.layers import Image
    from napari.viewer import Viewer

    from napari_unet.model.trained import TrainedNetwork
    from napari_unet.prediction.config import PredictConfig
    from napari_unet.provenance.script import PredictionScript, TrainingScript
    from napari_unet.widgets.common.session import Session
    from napari_unet.widgets.train.dock import TrainWidget

    Script = TrainingScript | PredictionScript
    ScriptBundle = Callable[[Path], Script]

_COMMAND, _PYTHON = "command line", "Python"


class CopyScriptButton(QPushButton):
    """Asks where, writes a folder with what no file holds, and copies a text that uses it.

    `prepare` returns None, after it has shown what is missing. `what` is for the tooltip: "this
    training".
    """

    def __init__(
        self, session: Session, prepare: Callable[[], ScriptBundle | None], what: str
    ) -> None:
        super().__init__("Copy as script")
        self.setAccessibleName("Copy as script")
        self.setAutoDefault(True)  # Return works as the space bar does
        self._session, self._prepare, self._form = session, prepare, _COMMAND
        self.setToolTip(
            f"Copy {what} as a command line or as Python lines, to do it again without the "
            "window. Layers that lie in no file are written to a new folder inside the one that "
            "you choose: nothing there is replaced."
        )
        menu = QMenu(self)
        menu.setToolTipsVisible(True)
        for form, tip in (
            (_COMMAND, "For a terminal, a cluster, a batch file."),
            (_PYTHON, "For a Python script or a notebook."),
        ):
            action = menu.addAction(f"Copy as {form}", partial(self.ask, form))
            assert action is not None
            action.setToolTip(tip)
        self.setMenu(menu)

    def ask(self, form: str) -> None:
        """Ask for the folder, and copy as "command line" or as "Python"."""
        make = self._prepare()
        if make is None:
            return
        name = QFileDialog.getExistingDirectory(self, "Make the folder of the script in")
        if name:
            self.copy_to(make, Path(name), form)

    def copy_to(self, make: ScriptBundle, folder: Path, form: str) -> None:
        """Write the files to a new folder in this one in the background, then copy the text."""
        task = self._session.copying
        if task.running:
            show_info("A script is still being copied.")
            return
        self._form = form
        task.ended.connect(self._on_ended)
        task.start(lambda stop: make(folder))

    def _on_ended(self, outcome: Outcome) -> None:
        self._session.copying.ended.disconnect(self._on_ended)
        if isinstance(outcome, Failed):
            show_error(f"{outcome.text}\n{outcome.details}".strip())
            return
        script: Script = outcome.result
        text = script.command() if self._form == _COMMAND else script.python()
        clipboard = QApplication.clipboard()
        assert clipboard is not None
        clipboard.setText(text)
        show_info(f"Copied as {self._form}. Results go to {script.output}.")


def training_to_copy(viewer: Viewer, train: TrainWidget) -> ScriptBundle | None:
    """Freeze what Train would do now, for a worker; where something is missing, show what."""
    try:
        config = train.config()
        AnnotationCopier(viewer).copy_corrections()
    except NapariUNetError as error:
        show_error(str(error))
        return None
    pairs = train.pairs.pairs()
    if not pairs:
        show_warning(what_is_missing(viewer))
        return None
    if any(annotation_of(pair.annotation).task.in_layers for pair in pairs):
        show_warning(
            "Overlapping classes cannot be copied as a script: save the layer of each class, and "
            "train with napari-unet train --labels NAME=PATH for each."
        )
        return None
    images, preset = annotated_images(viewer, pairs), train.preset_box.currentData()
    paths = [pair.image.source.path for pair in pairs]

    def make(folder: Path) -> Script:
        from napari_unet.provenance.script_bundle import bundle_training, files_of

        return bundle_training(folder, images, files_of(paths), config, preset)

    return make


def prediction_to_copy(
    model: TrainedNetwork, image: Image, pixels: Any, config: PredictConfig, note: str
) -> ScriptBundle:
    """Freeze a prediction of a whole image; what is returned is called in a worker.

    The note, if any, says what the lines leave out.
    """
    name, path = image.name, image.source.path

    def make(folder: Path) -> Script:
        from napari_unet.provenance.script_bundle import bundle_prediction, files_of

        made = bundle_prediction(folder, model, name, pixels, files_of([path])[0], config)
        return replace(made, notes=(*made.notes, note)) if note else made

    return make
