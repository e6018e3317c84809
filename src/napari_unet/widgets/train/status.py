"""How the training goes: progress, cells found, curves, score in words, weights to use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from napari.settings import get_settings
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_unet.run import WayNotice
from napari_unet.training.events import (
    AnnotationsJoined,
    PaintJudged,
    StepDone,
    TrainingStarted,
    Validated,
)
from napari_unet.widgets.common.controls import Note, choice, duration, progress_bar
from napari_unet.widgets.common.layers import follow
from napari_unet.widgets.common.session import session_of
from napari_unet.widgets.common.task import Failed, Outcome
from napari_unet.widgets.train.painted_cells import PaintedCellsLine, new_cells_in_words

if TYPE_CHECKING:
    from napari.viewer import Viewer

    from napari_unet.training.loop import TrainingResult
    from napari_unet.widgets.train.plot import TrainingPlot

_GIB = 2**30


class TrainingStatus(QWidget):
    """Follows the training of a viewer."""

    def __init__(self, viewer: Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self._session = session_of(viewer)
        self._task = self._session.training
        self._plot: TrainingPlot | None = None
        self._device = ""
        self._score = ""
        self._first_step: int | None = None
        self._before: float | None = None
        self._best_step: int | None = None
        self._found_before = ""
        self.progress: Final = progress_bar("How much of the training is done.")
        self.status: Final = Note()
        self.facts: Final = Note()
        self.cells: Final = PaintedCellsLine(self._session)
        self.joined: Final = Note()
        self.score: Final = Note()
        self.weights_box: Final = choice(
            [("Use the best weights", "best"), ("Use the last weights", "last")],
            "The best scored highest on painted cells and held-back paint; the last have seen the "
            "newest strokes longest. Both are kept.",
        )
        self.weights_box.setAccessibleName("Weights to use")
        self.weights_box.setVisible(False)
        self._layout = QVBoxLayout(self)
        self._layout.setContentsMargins(0, 0, 0, 0)
        for each in (
            self.progress,
            self.status,
            self.facts,
            self.cells,
            self.joined,
            self.score,
            self.weights_box,
        ):
            self._layout.addWidget(each)
        self.weights_box.currentIndexChanged.connect(self._choose_weights)
        self._task.started.connect(self._show_start)
        self._task.happened.connect(self._on_event)
        self._task.ended.connect(self._on_ended)
        if self._task.running:  # this dock was closed and opened again
            self._first_step = 0
            self._show_plot()
            self._show_previous_events()

    def _show_start(self) -> None:
        self._show_plot()
        self._before, self._score, self._first_step = None, "", None
        self._best_step, self._found_before = None, ""
        self.cells.show_cells(())
        self.joined.setText("")
        self.weights_box.setVisible(False)
        self.status.setText("Preparing the images and loading torch…")
        self.facts.clear()
        self.score.clear()
        self.progress.setValue(0)

    def _show_previous_events(self) -> None:
        run = self._session.run
        for event in (run.judged, run.joined) if run is not None else ():
            if event is not None:
                self._on_event(event)

    def _show_plot(self) -> None:
        if self._plot is None:
            from napari_unet.widgets.train.plot import TrainingPlot

            self._plot = TrainingPlot(self._viewer.theme, self)
            for emitter in (self._viewer.events.theme, get_settings().appearance.events.font_size):
                follow(self._plot, emitter, self._show_theme)
            self._layout.addWidget(self._plot)
        self._plot.reset()

    def _show_theme(self, event: object = None) -> None:
        if self._plot is not None:
            self._plot.show_theme(self._viewer.theme)

    def _on_event(self, event: object) -> None:
        if isinstance(event, TrainingStarted):
            self._device = event.device
            self.status.setText(f"Training on {event.device}…")
        elif isinstance(event, WayNotice):
            self.status.setText(event.text)
        elif isinstance(event, StepDone):
            self._show_step(event)
        elif isinstance(event, Validated):
            self._show_score(event)
        elif isinstance(event, PaintJudged):
            self._show_cells(event)
        elif isinstance(event, AnnotationsJoined):
            self._show_joined(event)

    def _show_cells(self, event: PaintJudged) -> None:
        self.cells.show_cells(event.cells)
        if self._is_of_start(event):
            self._found_before = f"{event.found} of {len(event.cells)}"
        elif self._found_before and not self._score:
            self.score.setText(f"Found before the first step: {self._found_before}.")
        if self._plot is not None:
            self._plot.add_found(event.step, event.found / len(event.cells))
        if event.best:
            self._mark_best(event.step, event.found / len(event.cells))

    def _mark_best(self, step: int, score: float) -> None:
        self._best_step = step
        if self._plot is not None:
            self._plot.mark_best(step, score)

    def _show_joined(self, event: AnnotationsJoined) -> None:
        """Show that strokes joined, and how many of the new cells were found before."""
        text, new = f"New strokes joined after step {event.step}", event.new_cells
        self.joined.setText(f"{text}: {new_cells_in_words(new)}." if new else f"{text}.")
        if self._plot is not None and new:
            found = sum(cell.verdict == "found" for cell in new)
            self._plot.add_score(event.step, found / len(new))

    def _is_of_start(self, event: Validated | PaintJudged) -> bool:
        """Return whether what the training began with was scored, which comes after a step."""
        return self._first_step is None or event.step < self._first_step

    def _show_step(self, event: StepDone) -> None:
        self._first_step = event.step if self._first_step is None else self._first_step
        self.progress.setValue(round(1000 * event.progress))
        left = "stopping…" if self._task.stopping else f"{duration(event.seconds_left)} left"
        self.status.setText(f"Step {event.step}, {left}, loss {event.loss:.3f}.")
        self.facts.setText(
            f"{event.seconds:.2f} s per step · {self._device} · {event.memory / _GIB:.1f} GB in use"
        )
        if self._plot is not None:
            self._plot.add_loss(event.step, event.loss)

    def _show_score(self, event: Validated) -> None:
        if self._is_of_start(event):
            self._before = _value(event)
        self._score = score_in_words(event)
        self.score.setText(f"On held-back paint: {self._score}{self._comparison(event)}.")
        if self._plot is not None:
            self._plot.add_score(event.step, _value(event))
        if event.best:
            self._mark_best(event.step, _value(event))

    def _comparison(self, event: Validated) -> str:
        """Return how the score changed, where a model was scored before the first step."""
        if self._is_of_start(event) or self._before is None:
            return ""
        change = _value(event) - self._before
        word = (
            "better than" if change > 0.005 else "worse than" if change < -0.005 else "as good as"
        )
        return f"; {word} before ({self._before:.2f} → {_value(event):.2f})"

    def _on_ended(self, outcome: Outcome) -> None:
        self.progress.setValue(1000)
        if isinstance(outcome, Failed):
            self.progress.setValue(0)
            self.status.setText(outcome.text)
            return
        result = outcome.result
        if result.state.step == 0:
            self.status.setText("Stopped before the first step: the previous model stays.")
            return
        ended = "Stopped" if result.stopped else "Finished"
        why = " It gets no better." if result.settled else ""
        text = f"{ended} after {result.state.step} steps.{why} {self._about_start(result)}"
        self.status.setText(text.strip())
        if result.painted_cells:  # of the weights that are used, which may not be the last
            self.cells.show_cells(result.painted_cells)
        self._offer_weights()

    def _about_start(self, result: TrainingResult) -> str:
        """Return a sentence where nothing scored better than what the training began with."""
        if not result.start_kept:
            return ""
        run = self._session.run
        continued = run is not None and run.continues
        start = "model that it began with" if continued else "starting model"
        if self._scored_later(result):
            return f"Nothing scored better than the {start}; it is kept."
        return f"It was too short to be scored: the {start} is kept."

    def _scored_later(self, result: TrainingResult) -> bool:
        run, history = self._session.run, result.latest.record.history
        steps = [run.judged.step] if run is not None and run.judged is not None else []
        steps += [int(entry["step"] or 0) for entry in history[-1:]]
        return max(steps, default=0) > result.state.cycle_start

    def _offer_weights(self) -> None:
        result = self._session.trained
        if result is None:
            return
        best = "" if self._best_step is None else f" (step {self._best_step})"
        self.weights_box.blockSignals(True)
        self.weights_box.setItemText(0, f"Use the best weights{best}")
        self.weights_box.setItemText(1, f"Use the last weights (step {result.state.step})")
        self.weights_box.setCurrentIndex(0)
        self.weights_box.blockSignals(False)
        self.weights_box.setVisible(True)

    def _choose_weights(self) -> None:
        result = self._session.trained
        if result is not None:
            last = self.weights_box.currentData() == "last"
            self._session.set_model(
                result.latest if last else result.trained, self._session.model_name
            )


def score_in_words(event: Validated) -> str:
    """Return how good a network is: "good (IoU 0.82, object F1 0.91)"."""
    value = _value(event)
    words = ((0.9, "excellent"), (0.75, "good"), (0.5, "fair"))
    word = next((word for least, word in words if value >= least), "poor so far")
    text = f"{word} (IoU {event.iou or 0:.2f}"
    if event.object_f1 is not None:
        text += f", object F1 {event.object_f1:.2f}"
    return text + ")"


def _value(event: Validated) -> float:
    return event.iou or 0.0 if event.object_f1 is None else event.object_f1
