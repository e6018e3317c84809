"""One place of a session's project: asked for once, saved to without asking from then on."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from napari.layers import Image
from napari.utils.notifications import show_error, show_info, show_warning
from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import QFileDialog, QMessageBox

from napari_unet.project.arrays import as_file_name
from napari_unet.project.contents import PROJECT_FILE, is_project
from napari_unet.widgets.common.controls import as_plain
from napari_unet.widgets.common.layers import layers_of_others
from napari_unet.widgets.common.model_work import save_project_with_model
from napari_unet.widgets.common.session import session_of
from napari_unet.widgets.common.task import Failed, Outcome, task_named
from napari_unet.widgets.models.projects import open_folder, whole_project_of

if TYPE_CHECKING:
    from napari.viewer import Viewer
    from qtpy.QtWidgets import QWidget

    from napari_unet.project.contents import Project

_TASK = "Saving the project"


class ProjectPlace(QObject):
    """Saves a session to its project folder, and opens others."""

    told: Final = Signal(str)  # what was saved or opened

    def __init__(self, viewer: Viewer, parent: QObject) -> None:
        super().__init__(parent)
        self._session = session_of(viewer)
        self.folder: Path | None = None
        self.task: Final = task_named(self._session, _TASK)
        self._under_way: tuple[Path, str] | None = None
        self.task.ended.connect(self._on_saved)

    def save(self, window: QWidget) -> None:
        """Save all of the session; ask where if that is not known yet."""
        if self.folder is None:
            self.ask_to_save(window)
        else:
            self.save_to(self.folder)

    def ask_to_save(self, window: QWidget) -> None:
        """Ask for the place and the name of a folder, which need not exist, and save there."""
        name, _ = QFileDialog.getSaveFileName(
            window,
            "Save the project in a new folder",
            str(self._suggested()),
            "Folder of a project (*)",
            options=QFileDialog.Option.DontConfirmOverwrite,
        )
        if name:
            chosen = Path(name)
            folder = chosen.parent if chosen.name == PROJECT_FILE else chosen
            if folder == self.folder or not is_project(folder) or _may_replace(folder, window):
                self.save_to(folder)

    def _suggested(self) -> Path:
        """Return a folder beside the image, called like it."""
        if self.folder is not None:
            return self.folder
        images = layers_of_others(self._session.viewer, Image)
        name = f"{as_file_name(images[-1].name)} project" if images else "project"
        paths = [Path(each.source.path) for each in images if each.source.path]
        above = next((path.parent for path in paths if path.parent.is_dir()), Path.home())
        return above / name

    def save_to(self, folder: Path) -> None:
        """Save all of the session to a folder, which becomes its place."""
        session = self._session
        project = whole_project_of(session.viewer)
        if not project.images:
            show_warning("There is nothing to save yet: open an image.")
            return
        state = session.trained.state if session.trained else session.interrupted
        work = partial(save_project_with_model, project, folder, session.model, state)
        if self.task.start(work):
            self._under_way = folder, _in_words(project, session.model is not None)
            self.told.emit(f"Saving {folder}…")
        else:
            show_info("The project is still being saved.")

    def ask_to_open(self, window: QWidget) -> None:
        """Ask for a project folder and open it."""
        name = QFileDialog.getExistingDirectory(window, "Project folder")
        if name:
            self.open(Path(name))

    def open(self, folder: Path) -> None:
        """Open a project: layers and settings at once, its model in the background."""
        if open_folder(self._session.viewer, folder):
            self.folder = folder
            self.told.emit(f"Opened {folder}. Save saves there.")

    def _on_saved(self, outcome: Outcome) -> None:
        under_way, self._under_way = self._under_way, None
        if isinstance(outcome, Failed):
            self.told.emit(outcome.text)
            show_error(outcome.text)
        elif under_way is not None:
            self.folder, words = under_way
            self.told.emit(f"Saved {words} in {self.folder}.")


def place_of(viewer: Viewer) -> ProjectPlace:
    """Return the place of a viewer's project; the same for all widgets."""
    session = session_of(viewer)
    found: ProjectPlace | None = session.findChild(ProjectPlace)
    return ProjectPlace(viewer, session) if found is None else found


def _may_replace(folder: Path, window: QWidget) -> bool:
    question = as_plain(f"There is a project in {folder}. Replace it?")
    answer = QMessageBox.question(window, "Save the project", question)
    return answer == QMessageBox.StandardButton.Yes


def _in_words(project: Project, with_model: bool) -> str:
    images = len({(each.name, each.image_path) for each in project.images})
    results = len(project.results)
    corrected = any(result.predicted is not None for result in project.results)
    parts = [
        f"{images} image{'s' * (images > 1)}",
        "paint" if any(image.labels is not None for image in project.images) else "",
        f"{results} result{'s' * (results > 1)}" if results else "",
        "corrections" if corrected else "",
        "tracks" if project.tracks else "",
        "the model" if with_model else "",
        "settings",
    ]
    named = [part for part in parts if part]
    return f"{', '.join(named[:-1])} and {named[-1]}"
