"""Nothing painted is lost: autosave to a recovery folder, and an offer to restore after a crash."""

from __future__ import annotations

import threading
import weakref
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from napari.layers import Labels
from napari.utils.notifications import show_error, show_warning
from qtpy.QtCore import QEvent, QObject
from qtpy.QtWidgets import QMainWindow, QWidget

from napari_unet.data.labels import is_painted, same_paint
from napari_unet.errors import NapariUNetError
from napari_unet.project.contents import MODEL_FILE, STATE_FILE, read_stored
from napari_unet.project.folder import save_project
from napari_unet.project.recovery import abandoned, claim, discard, new_recovery_folder, sweep
from napari_unet.widgets.common.button_grid import ButtonGrid
from napari_unet.widgets.common.controls import Note, button, single_shot, stack
from napari_unet.widgets.common.layers import follow, paint_events, plain_layers, unwrapped
from napari_unet.widgets.common.preferences import preferences
from napari_unet.widgets.common.regions import REGIONS_KEY
from napari_unet.widgets.common.result_layer import image_of_result
from napari_unet.widgets.common.session import session_of
from napari_unet.widgets.common.task import Cancelled, Failed, Outcome
from napari_unet.widgets.models.projects import open_folder, project_to_recover

if TYPE_CHECKING:
    from pathlib import Path

    from napari.layers import Layer
    from napari.viewer import Viewer
    from numpy.typing import NDArray

    from napari_unet.project.contents import Project, ProjectResult

_LONGEST_WAIT = 3.0  # seconds for a step and for writing its checkpoint


class Keeper(QObject):
    """Saves the annotations of a viewer to a recovery folder, a while after they change."""

    def __init__(self, viewer: Viewer, parent: QObject) -> None:
        super().__init__(parent)
        # Weakly: the session lives as long as the viewer, and must not hold it.
        self._viewer = weakref.ref(unwrapped(viewer))
        self._session = session_of(viewer)
        self._folder: Path | None = None
        self._watched: weakref.WeakSet[Layer] = weakref.WeakSet()
        self._saved: Project | None = None
        self._under_way: _Save | None = None
        self._warned = False  # that saving fails, until it works again
        self._timer = single_shot(self, 1000 * preferences().autosave_seconds, self.save_now)
        follow(self, viewer.layers.events.inserted, self._watch_layers)
        self._session.saving.ended.connect(self._on_saved)
        self._watch_layers()

    @property
    def folder(self) -> Path:
        """The recovery folder; made on first use."""
        if self._folder is None:
            self._folder = new_recovery_folder()
        claim(self._folder)  # the folder of the user's data may have been cleared
        return self._folder

    @property
    def model_path(self) -> Path | None:
        """Where a training writes its checkpoints; None where no folder can be made."""
        try:
            return self.folder / MODEL_FILE
        except NapariUNetError as error:
            show_warning(str(error))
            return None

    def save_now(self) -> None:
        """Save what is painted, in the background."""
        project = self._unsaved()
        if project is None:
            return
        try:
            folder = self.folder
        except NapariUNetError as error:
            self._try_again_later(str(error))
            return
        save = _Save(project)
        if self._session.saving.start(partial(save.to, folder)):
            self._saved, self._under_way = project, save
        else:
            self._timer.start()

    def _unsaved(self) -> Project | None:
        """Return what is painted now, unless that is nothing or saved already.

        `Viewer.close` removes the layers first: no layers must not replace what was saved.
        """
        viewer = self._viewer()
        if viewer is None:
            return None
        project = project_to_recover(viewer)
        painted = bool(project.results) or any(
            entry.labels is not None and is_painted(entry.labels) for entry in project.images
        )
        return project if painted and not _same_work(project, self._saved) else None

    def guard(self, window: QWidget | None) -> None:
        """Save what is unsaved when a main window is about to close."""
        if isinstance(window, QMainWindow) and window.findChild(WindowGuard) is None:
            window.installEventFilter(WindowGuard(window, self))
            window.destroyed.connect(self._session.end)  # the program may have other windows

    def save_before_closing(self) -> None:
        """Save unsaved strokes and the training under way, at once."""
        self._timer.stop()
        if self._under_way is not None and not self._under_way.is_good(_LONGEST_WAIT):
            self._saved = None
        project = self._unsaved()
        try:
            if project is not None:
                save_project(project, self.folder)
                self._saved = project
        except NapariUNetError as error:
            show_warning(str(error))
            self._timer.start()  # the window may stay, and napari with it
        run = self._session.run
        if run is not None and self._session.training.running:
            run.inbox.checkpoint_saved.clear()
            run.inbox.checkpoint_wanted.set()
            run.inbox.checkpoint_saved.wait(_LONGEST_WAIT)

    def _watch_layers(self, event: object = None) -> None:
        from napari_unet.widgets.common.annotation import annotations_in

        viewer = self._viewer()
        if viewer is None:
            return
        results = [e for e in plain_layers(viewer) if image_of_result(e) is not None]
        for layer in (*annotations_in(viewer), *results):
            if isinstance(layer, Labels) and layer not in self._watched:
                self._watched.add(layer)
                for emitter in paint_events(layer):
                    follow(self, emitter, self._save_soon)
        for shapes in plain_layers(viewer):
            if REGIONS_KEY in shapes.metadata and shapes not in self._watched:
                self._watched.add(shapes)
                follow(self, shapes.events.data, self._save_soon)
        self._save_soon()

    def _save_soon(self, event: Any = None) -> None:
        if not self._timer.isActive():
            self._timer.start()

    def _on_saved(self, outcome: Outcome) -> None:
        if isinstance(outcome, Cancelled):  # napari asked whether to close, and may stay
            self._saved = None
            self._timer.start()
        elif isinstance(outcome, Failed):
            self._saved = None
            self._try_again_later(f"The annotations were not saved for recovery: {outcome.text}")
        else:
            self._warned = False

    def _try_again_later(self, reason: str) -> None:
        self._timer.start()
        if not self._warned:
            show_warning(f"{reason} napari-unet-paint goes on trying.")
        self._warned = True


class _Save:
    """A save in another thread that closing can wait for: events reach the window only later."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._ended = threading.Event()
        self._failed = False

    def to(self, folder: Path, stop: threading.Event) -> None:
        """Save; see `save_project`."""
        try:
            save_project(self._project, folder)
        except BaseException:
            self._failed = True
            raise
        finally:
            self._ended.set()

    def is_good(self, seconds: float) -> bool:
        """Wait so long at most for its end; a save that goes on is taken to succeed."""
        self._ended.wait(seconds)
        return not self._failed


class WindowGuard(QObject):
    """Tells a keeper that a window is about to close; lives as long as the window."""

    def __init__(self, window: QMainWindow, keeper: Keeper) -> None:
        super().__init__(window)
        self._keeper = weakref.ref(keeper)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """See the window close; whether it does is up to napari."""
        keeper = self._keeper()
        if keeper is not None and event is not None and event.type() == QEvent.Type.Close:
            keeper.save_before_closing()
        return False


def _same_work(project: Project, saved: Project | None) -> bool:
    """Return whether paint and corrections are the same, whatever was found beside them."""
    if saved is None or len(project.images) != len(saved.images):
        return False
    if len(project.results) != len(saved.results):
        return False
    results = zip(project.results, saved.results, strict=True)
    return all(_same_corrections(*pair) for pair in results) and all(
        one.name == other.name
        and one.regions == other.regions
        and one.class_names == other.class_names
        and _same_labels(one.labels, other.labels)
        for one, other in zip(project.images, saved.images, strict=True)
    )


def _same_corrections(one: ProjectResult, other: ProjectResult) -> bool:
    (at, numbers), (there, others) = _corrections(one), _corrections(other)
    same = one.name == other.name
    return same and np.array_equal(at, there) and np.array_equal(numbers, others)


def _corrections(result: ProjectResult) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the pixels of a result that were corrected, and what stands there now."""
    shown, predicted = (np.asarray(each).ravel() for each in (result.shown, result.predicted))
    at = np.flatnonzero(shown != predicted)
    return at, shown[at]


def _same_labels(one: NDArray[Any] | None, other: NDArray[Any] | None) -> bool:
    return one is other if one is None or other is None else same_paint(one, other)


def keeper_of(viewer: Viewer) -> Keeper:
    """Return the keeper of a viewer; the same for all widgets."""
    session = session_of(viewer)
    found: Keeper | None = session.findChild(Keeper)
    return Keeper(viewer, session) if found is None else found


class RecoveryBar(QWidget):
    """Offers what a crashed session left; hidden where there is nothing."""

    def __init__(self, viewer: Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self._session = session_of(viewer)
        keeper_of(viewer)
        self.text: Final = Note()
        self.restore_button: Final = button(
            "Restore", "Open these annotations, and the training that was under way.", self.restore
        )
        self.discard_button: Final = button(
            "Discard", "Delete these annotations for good.", self.discard
        )
        stack(self, self.text, ButtonGrid(2, (self.restore_button, self.discard_button)))
        self.refresh()

    def refresh(self) -> None:
        """Look for recovery folders whose session has ended without being closed."""
        sweep()
        found = abandoned()
        self.folder = found[0] if found else None
        self.setVisible(self.folder is not None)
        if self.folder is not None:
            self.text.setText(self._describe(self.folder))

    def restore(self) -> None:
        """Open what was saved; the folder stays until it is discarded or swept."""
        folder = self.folder
        if folder is None or not open_folder(self._viewer, folder):
            return
        self.folder = None
        self.setVisible(False)
        self._take_up(folder)

    def _take_up(self, folder: Path) -> None:
        """Listen again to what another machine has trained meanwhile, if one does."""
        from napari_unet.project.elsewhere import forget_note, noted_in  # with pydantic
        from napari_unet.widgets.train.run import take_up_training  # which imports this module

        note = noted_in(folder)
        if note is None:
            return
        try:
            take_up_training(self._viewer, note)
        except NapariUNetError as error:
            show_error(str(error))
        else:
            forget_note(folder)  # this session notes it now

    def discard(self) -> None:
        """Delete what was saved."""
        if self.folder is not None:
            try:
                discard(self.folder)
            except NapariUNetError as error:
                show_error(str(error))
        self.refresh()

    def _describe(self, folder: Path) -> str:
        try:
            project = read_stored(folder)  # no array of it: those of large images take long
        except NapariUNetError as error:
            return f"Annotations of an earlier session cannot be read: {error}"
        names = ", ".join(each.name or each.labels_name for each in project.images) or "no image"
        names += ", corrected results" if project.results else ""
        when = project.saved.replace("T", " ")[:16]
        from napari_unet.project.elsewhere import noted_in  # with pydantic

        training = " and the training under way" if (folder / STATE_FILE).is_file() else ""
        if (note := noted_in(folder)) is not None:
            training = f" and the training that goes on on {note.on}"
        return f"Annotations of {names}{training} were saved on {when}, before napari ended."
