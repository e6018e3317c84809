"""What the widgets of one viewer share: the model, and the work under way."""

from __future__ import annotations

import weakref
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from napari.utils.notifications import show_error, show_info
from qtpy.compat import isalive
from qtpy.QtCore import QObject, QTimer, Signal
from qtpy.QtWidgets import QApplication

from napari_unet.run import Notice
from napari_unet.training.config import TrainConfig
from napari_unet.widgets.common.importing_torch import keep_triton_apart
from napari_unet.widgets.common.layers import follow, part_from_copies, plain_layers, unwrapped
from napari_unet.widgets.common.model_work import loading_events
from napari_unet.widgets.common.preferences import preferred
from napari_unet.widgets.common.task import BackgroundTask, Cancelled, Failed, Finished, Outcome

if TYPE_CHECKING:
    from pathlib import Path

    from napari.layers import Image, Labels
    from qtpy.QtWidgets import QMainWindow

    from napari_unet.data.frames import Beside
    from napari_unet.model.trained import TrainedNetwork
    from napari_unet.provenance.card import TrainingOrigin
    from napari_unet.training.loop import TrainingResult
    from napari_unet.training.state import TrainingState
    from napari_unet.widgets.predict.runs import ShownPrediction
    from napari_unet.widgets.train.run import TrainingRun


class Session(QObject):
    """The state of one viewer: the work that may be under way, and what came of it.

    The application owns it, until its window is gone and its work has ended.
    """

    model_changed: Final = Signal()
    annotation_chosen: Final = Signal()
    kind_chosen: Final = Signal(str)  # "objects" or "classes"
    told_of_result: Final = Signal(str)  # what became of what is shown
    settings_loaded: Final = Signal(str, object)  # name of a preset, TrainConfig
    machine_chosen: Final = Signal()

    def __init__(self, viewer: Any) -> None:
        super().__init__(QApplication.instance())
        self._viewer: weakref.ref[Any] | None = weakref.ref(viewer)
        follow(self, viewer.layers.events.inserted, self._part_from_copies)
        keep_triton_apart()  # before torch is imported, and after the window was drawn
        self.training: Final = BackgroundTask("U-Net training", self)
        self.prediction: Final = BackgroundTask("U-Net prediction", self)
        self.weight_map: Final = BackgroundTask("Border weight map", self)
        self.measuring: Final = BackgroundTask("Measuring objects", self)
        self.saving: Final = BackgroundTask("Saving annotations", self)
        self.storing: Final = BackgroundTask("Saving a model", self)
        self.loading: Final = BackgroundTask("Loading a model", self)
        self.copying: Final = BackgroundTask("Copying as a script", self)
        # The session, not a widget, takes the result: a closed dock must not lose it.
        self.training.happened.connect(self._note_origin)
        self.training.ended.connect(self._take_trained)
        self.loading.ended.connect(self._take_loaded)
        # It shows messages too: a closed dock shows none, and two docks would show each twice.
        for task in (self.training, self.loading):
            task.happened.connect(_tell_notice)
        for task in (self.training, self.prediction):
            task.ended.connect(_tell_failure)
        self.model: TrainedNetwork | None = None  # the one in use: trained here, or loaded
        self.model_name: str = ""
        self.coming_name: str = ""  # of the model that is being loaded
        self.trained: TrainingResult | None = None  # of the last training here
        self.origin: TrainingOrigin | None = None  # of that training, for its run card
        self.interrupted: TrainingState | None = None  # not finished, here or in a project
        self.run: TrainingRun | None = None  # ties the training under way to the layers
        # Where the newest prediction appears: it lives on when the dock is closed.
        self.result: ShownPrediction | None = None
        self.on: str | None = None  # address of another machine that trains; "": not said yet
        self.trusted: bool = False  # whether everybody is who reaches a port there
        self.preset: str = "fast"  # and `settings`: what the Train widget shows
        self.settings: TrainConfig = preferred(TrainConfig())
        self._window: weakref.ref[QMainWindow] | None = None
        self._image: weakref.ref[Image] | None = None
        self._annotation: weakref.ref[Labels] | None = None

    def stop(self) -> None:
        """Ask all work to end after its current step."""
        for task in self.findChildren(BackgroundTask):
            task.stop()

    def end(self) -> None:
        """Stop all work, and let go of the viewer and its layers: the window is gone.

        What another machine trains goes on there.
        """
        if self.run is not None:
            self.run.inbox.left.set()
        self.stop()
        for task in self.findChildren(BackgroundTask):
            task.ended.connect(self._let_go)
        QTimer.singleShot(0, self._let_go)  # Qt takes the window apart just now

    def _let_go(self, outcome: object = None) -> None:
        if not isalive(self):  # PySide6 calls it where it was asked for twice
            return
        self._viewer = None
        self.run = self.result = None
        if not any(task.running for task in self.findChildren(BackgroundTask)):
            self.deleteLater()

    @property
    def viewer(self) -> Any:
        """The viewer whose session this is, while it exists and has its window."""
        return self._viewer() if self._viewer else None

    @property
    def window(self) -> QMainWindow | None:
        """Where its docks are shown, once one was."""
        window = self._window() if self._window else None
        return window if window is not None and isalive(window) else None

    @window.setter
    def window(self, window: QMainWindow) -> None:
        self._window = weakref.ref(window)

    def _part_from_copies(self, event: Any) -> None:
        if self.viewer is not None:
            part_from_copies(plain_layers(self.viewer), unwrapped(event.value))

    def _note_origin(self, event: object) -> None:
        from napari_unet.provenance.card import TrainingOrigin  # with pydantic: not at the start

        if isinstance(event, TrainingOrigin):
            self.origin = event

    def _take_trained(self, outcome: Outcome) -> None:
        if isinstance(outcome, Finished) and outcome.result.state.step > 0:
            self.trained = outcome.result
            self.interrupted = outcome.result.state if outcome.result.stopped else None
            name = self.run.pairs[0].image.name if self.run else "new"
            self.set_model(outcome.result.trained, f"{name} model")

    def _take_loaded(self, outcome: Outcome) -> None:
        self.coming_name = ""
        if isinstance(outcome, Finished) and not outcome.result[0].record.classes.task.paints:
            show_error(
                "This model makes images, and finds nothing: `napari-unet predict` and Python use "
                "it. The Denoise dock makes one of its own."
            )
        elif isinstance(outcome, Finished):
            self.load_model(*outcome.result)
        else:
            show_error(outcome.text)

    def set_model(self, model: TrainedNetwork, name: str) -> None:
        """Make a model the one that all widgets use."""
        self.model, self.model_name = model, name
        self.model_changed.emit()

    def beside(self, model: TrainedNetwork) -> Beside | None:
        """Return what was shown beside a model while it was trained here, and still is."""
        last = self.trained
        ours = last is not None and (model is last.trained or model is last.latest)
        return last.beside if last is not None and ours else None

    def forget_model(self) -> None:
        """Use no model: the next training begins with a starting model or random weights."""
        self.model, self.model_name = None, ""
        self.trained = self.interrupted = None
        self.model_changed.emit()

    def begin_loading(self, path: Path, name: str) -> bool:
        """Load a model file in the background, and say so, unless another one is coming already.

        Where it cannot be read an error is shown, and the previous model stays.
        """
        if self.loading.running:
            show_info(f"{self.coming_name or 'A model'} is still being loaded.")
            return False
        self.coming_name = name
        return self.loading.start(partial(loading_events, path, name))

    @property
    def model_in_words(self) -> str:
        """Which model is in use, or is coming; nothing where there is none."""
        if self.loading.running:
            return f"Loading {self.coming_name or 'a model'}…"
        return f"Model in use: {self.model_name}." if self.model is not None else ""

    def load_model(
        self, model: TrainedNetwork, name: str, interrupted: TrainingState | None = None
    ) -> None:
        """Use a model from elsewhere: the last training here is no longer its origin."""
        self.trained, self.interrupted = None, interrupted
        self.set_model(model, name)

    def choose_machine(self, on: str | None, trusted: bool = False) -> None:
        """Train on the machine of an address from now on; None: on this one."""
        if (on, trusted) != (self.on, self.trusted):
            self.on, self.trusted = on, trusted
            self.machine_chosen.emit()

    def choose_annotation(self, image: Image, annotation: Labels) -> None:
        """Remember which image is being painted in which layer, and tell the other widgets."""
        self._image, self._annotation = weakref.ref(image), weakref.ref(annotation)
        self.annotation_chosen.emit()

    @property
    def image(self) -> Image | None:
        """The image that is being painted, while it exists."""
        return self._image() if self._image else None

    @property
    def annotation(self) -> Labels | None:
        """The layer that is being painted, while it exists."""
        return self._annotation() if self._annotation else None


def _tell_notice(event: object) -> None:
    if isinstance(event, Notice):
        show_info(event.text)


def _tell_failure(outcome: Outcome) -> None:
    if isinstance(outcome, Failed) and not isinstance(outcome, Cancelled):
        show_error(f"{outcome.text}\n{outcome.details}".strip())


def session_of(viewer: Any) -> Session:
    """Return the session of a viewer; the same for all widgets, whatever proxy they were given."""
    # napari makes each widget with nothing but the viewer, which takes no attributes of others.
    viewer, application = unwrapped(viewer), QApplication.instance()
    sessions = application.findChildren(Session) if application is not None else []
    for session in sessions:
        if session.viewer is viewer:
            return session
        if session.viewer is None:  # it had no window that could tell of its end
            session.end()
    return Session(viewer)
