"""Train and Pause: one button, in words what came of it, and on by itself where paint joins."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from napari.utils.notifications import show_error
from qtpy.QtCore import QTimer, Signal
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_unet.data.binning import enlarging_for
from napari_unet.data.labels import painted_bands
from napari_unet.errors import NapariUNetError
from napari_unet.run import WayNotice
from napari_unet.tasks import task_of
from napari_unet.training.events import (
    AnnotationsJoined,
    PaintJudged,
    StepDone,
    TrainingStarted,
    Validated,
    ViewPredicted,
)
from napari_unet.widgets.annotate.painter import PaintWatcher
from napari_unet.widgets.common.annotation import BACKGROUND_VALUE
from napari_unet.widgets.common.controls import Note, button, progress_bar
from napari_unet.widgets.common.layers import channel_axis_of, follow, labels_of, pixels_of
from napari_unet.widgets.common.regions import regions_of
from napari_unet.widgets.common.session import session_of
from napari_unet.widgets.common.task import Failed, Outcome
from napari_unet.widgets.predict.cell_size import painted_diameter
from napari_unet.widgets.train.painted_cells import PaintedCellsLine, new_cells_in_words
from napari_unet.widgets.train.run import begin_training, painted_pairs, what_to_continue

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari.layers import Image
    from napari.viewer import Viewer

    from napari_unet.data.labels import Kind
    from napari_unet.model.trained import TrainedNetwork
    from napari_unet.training.config import TrainConfig
    from napari_unet.training.loop import TrainingResult
    from napari_unet.training.state import TrainingState
    from napari_unet.widgets.common.pairs import LayerPair

# It pauses by itself after so many scores without a gain.
_PATIENCE = 3
# After the last stroke, before it goes on by itself: several strokes are one thought.
_PAUSE_MS = 1500
# Painted cells that are so many times as large as those that were found are of another kind.
_OTHER_SIZE = 1.6
_MOST_ENLARGED = 2**24  # pixels
_TRAIN, _PAUSE = "&Train  (T)", "Pause  (T)"
_NO_BACKGROUND = (
    "Paint background too, what is no cell: one stroke, best between cells. The brush for it is in "
    "hand; then train again (T)."
)
# Of classes, until the network is clearly better.
_BY_CLASSIFIER = "Shown is a quick guess from single pixels, until the network has learned more."
_BY_BOTH = "Shown is what the network and the quick guess from single pixels say together."
_LOST = (
    "The layers that it learns from were closed. To learn what you paint now, pause and train "
    "again (T, twice)."
)
_STILL_BOTH = "The quick guess from single pixels goes on helping in this window."
_HELP = (
    "Learn from what is painted, with the model in use, until it gets no better; you can go on "
    "painting meanwhile. What comes out right is never given up for something worse."
)


class LearnPanel(QWidget):
    """Trains what `kind` says on all that is painted, until it gets no better or is paused.

    `cell_size` tells at which diameter of cells, in pixels, a result is wanted; 0: not known.
    """

    learned: Final = Signal()  # a training has ended, and its model is in use
    background_wanted: Final = Signal()  # only cells are painted

    def __init__(
        self, viewer: Viewer, kind: Callable[[], Kind], cell_size: Callable[[], float]
    ) -> None:
        super().__init__()
        self._viewer, self._kind, self._cell_size = viewer, kind, cell_size
        self._session = session_of(viewer)
        self._task = self._session.training
        self._at_start, self._kept, self._share = "", False, 1.0
        self.button: Final = button(_TRAIN, _HELP, self.toggle)
        self.progress: Final = progress_bar("How much of the training is done, at most.")
        self.cells: Final = PaintedCellsLine(self._session)
        self.text: Final = Note()
        self._lay_out()
        # It goes on by itself where it has paused by itself and something new is painted.
        self._watcher = PaintWatcher(self)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_PAUSE_MS)
        self._timer.timeout.connect(self._go_on)
        self._watcher.painted.connect(self._timer.start)
        self._task.started.connect(self._show_start)
        self._task.happened.connect(self._show_event)
        self._task.ended.connect(self._show_end)
        follow(self, viewer.layers.events.removed, self._note_removed)
        self._show_running()
        run = self._session.run
        if self._task.running and run is not None and run.judged is not None:
            self._show_cells(run.judged)  # the dock was closed and is opened again

    def _lay_out(self) -> None:
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for each in (self.progress, self.cells, self.text):  # the dock has a place for the button
            layout.addWidget(each)

    def toggle(self) -> None:
        """Train, or pause where it trains."""
        if self._task.running:
            self._task.stop()
            self._show_running()
        else:
            self.start()

    def start(self) -> None:
        """Train with the model in use, or a starting model, on what is painted."""
        self._watch_paint(False)
        try:
            pairs = painted_pairs(self._viewer)  # what was deleted is background
            if self._has_only_cells(pairs):
                self.background_wanted.emit()
                self.text.setText(_NO_BACKGROUND)
            elif pairs:
                begin_training(self._viewer, pairs, *self._plan(pairs))
        except NapariUNetError as error:
            show_error(str(error))

    def _has_only_cells(self, pairs: Sequence[LayerPair]) -> bool:
        if task_of(self._kind()).named or any(
            regions_of(self._viewer, pair.annotation) for pair in pairs
        ):
            return False
        bands = (band for pair in pairs for _, band in painted_bands(labels_of(pair.annotation)))
        found = [bool(np.any(band == BACKGROUND_VALUE)) for band in bands]
        return bool(found) and not any(found)

    def _plan(
        self, pairs: Sequence[LayerPair]
    ) -> tuple[TrainConfig, TrainingState | TrainedNetwork | None]:
        """Return the settings, and what the training goes on with, if anything."""
        config = self._session.settings.changed(kind=self._kind(), patience=_PATIENCE, minutes=0.0)
        model = self._session.model
        if model is None or not self._fits(config, pairs):
            return config, None
        from napari_unet.model.starting import starting_name

        name = starting_name(model.record)
        if name:
            return config.changed(start=name, binning=self._enlarging(config, pairs)), None
        return what_to_continue(self._session, config)

    def _enlarging(self, config: TrainConfig, pairs: Sequence[LayerPair]) -> float:
        """Return how small cells that were found are to be enlarged; 0: as the paint tells.

        Else the training would begin with less than what the starting model has found.
        """
        size = self._cell_size()
        if not size or config.ndim != 2 or config.binning:
            return config.binning
        painted = [
            painted_diameter(np.asarray(labels_of(pair.annotation)), config.unpainted)
            for pair in pairs
        ]
        pixels = [labels_of(pair.annotation).size for pair in pairs]
        factor = enlarging_for(size)
        contradicted = max(painted, default=0.0) > _OTHER_SIZE * size
        if contradicted or factor == 1 or sum(pixels) > _MOST_ENLARGED * factor**2:
            return 0.0
        return factor

    def _fits(self, config: TrainConfig, pairs: Sequence[LayerPair]) -> bool:
        """Return whether the model in use can learn further from the images that are painted."""
        model = self._session.model
        assert model is not None
        record = model.record
        same = (record.network.ndim, record.classes.kind) == (config.ndim, config.kind)
        channels = {_channels(pair.image) for pair in pairs}
        return same and channels == {record.network.in_channels}

    def _watch_paint(self, watched: bool) -> None:
        self._timer.stop()
        self._watcher.watch(self._session.annotation if watched else None)

    def _go_on(self) -> None:
        run = self._session.run
        if not self._task.running and run is not None and run.outdated:
            self.start()

    def _show_start(self) -> None:
        self._at_start, self._kept, self._share = "", False, 1.0
        self.cells.show_cells(())
        self.progress.setValue(0)
        self.text.setText("Looking at what is painted…")
        self._show_running()

    def _show_event(self, event: object) -> None:
        if isinstance(event, TrainingStarted):
            self.text.setText(f"Learning on {event.device}.")
        elif isinstance(event, WayNotice):
            self.text.setText(event.text)
        elif isinstance(event, StepDone):
            self.progress.setValue(round(1000 * event.progress))
        elif isinstance(event, PaintJudged):
            self._show_cells(event)
        elif isinstance(event, Validated):
            self._say_whose(not event.best, self._share)
        elif isinstance(event, ViewPredicted):
            self._say_whose(event.by_best, event.share_of_network)
        elif isinstance(event, AnnotationsJoined):
            new = new_cells_in_words(event.new_cells)
            self.text.setText(f"New paint, learning it{f': {new}' if new else ''}.")

    def _show_cells(self, event: PaintJudged) -> None:
        if not self._at_start:
            self._at_start = f"At the start {event.found} of {len(event.cells)}."
        if event.best or self.cells.isHidden():  # others are neither kept nor shown
            self.cells.show_cells(event.cells)
        self._kept = not event.best
        self._show_words()

    def _say_whose(self, kept: bool, share: float) -> None:
        """Say whose result is shown, where that changes."""
        if (kept, share) != (self._kept, self._share):
            self._kept, self._share = kept, share
            self._show_words()

    def _show_words(self) -> None:
        earlier = "The newest version is no better: an earlier one is shown." if self._kept else ""
        whose = _BY_CLASSIFIER if self._share == 0 else _BY_BOTH if self._share < 1 else earlier
        run = self._session.run
        lost = "" if run is None or run.has_its_layers else _LOST
        self.text.setText(f"{self._at_start} {lost or whose}".strip())

    def _note_removed(self, event: object = None) -> None:
        run = self._session.run
        if self._task.running and run is not None and not run.has_its_layers:
            self._show_words()

    def _show_end(self, outcome: Outcome) -> None:
        self._show_running()
        if isinstance(outcome, Failed):
            self.text.setText(outcome.text)
            return
        result: TrainingResult = outcome.result
        self.cells.show_cells(result.painted_cells)
        both = _STILL_BOTH if result.beside is not None and result.state.step else ""
        self.text.setText(f"{self._at_start} {_end_in_words(result)} {both}".strip())
        if not result.stopped:
            self._watch_paint(True)
        if result.state.step:
            self.learned.emit()

    def _show_running(self) -> None:
        running = self._task.running
        self.button.setText(_PAUSE if running else _TRAIN)
        self.button.setEnabled(not self._task.stopping)
        self.progress.setVisible(running)


def _end_in_words(result: TrainingResult) -> str:
    if result.state.step == 0:
        return "Paused before the first step: the model in use stays."
    if result.start_kept:
        ended = "Nothing was better than the model that it began with; that one is kept."
    else:
        ended = "" if result.stopped else "It gets no better by itself."
    more = "" if result.stopped else " Paint where it is wrong, and it goes on."
    return f"{'Paused. ' if result.stopped else ''}{ended}{more}".strip()


def _channels(image: Image) -> int:
    axis, shape = channel_axis_of(image), pixels_of(image).shape
    if image.rgb:
        return int(shape[-1])
    return 1 if axis is None else int(shape[axis])
