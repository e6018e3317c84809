"""How far a prediction is: a bar, and a line of text."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

from qtpy.QtWidgets import QWidget

from napari_unet.prediction.results import PredictionProgress
from napari_unet.widgets.common.button_grid import ButtonGrid
from napari_unet.widgets.common.controls import Note, button, duration, progress_bar, stack
from napari_unet.widgets.common.copy_script import CopyScriptButton
from napari_unet.widgets.common.starting import starting_model_box

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_unet.widgets.common.copy_script import ScriptBundle
    from napari_unet.widgets.common.session import Session

_TILES_THAT_TELL = 3  # before it is foretold how long it takes
_SOON = 3  # seconds, which need not be foretold


class PredictStatus(QWidget):
    """Shows what a running prediction reports: a bar, and a line of words."""

    def __init__(self) -> None:
        super().__init__()
        self.bar: Final = progress_bar("How much is done.")
        self.line: Final = Note()
        self._progress = PredictionProgress()
        self._began: tuple[float, int] | None = None  # when the first tile was there, its number
        self._cancelled = False
        stack(self, self.bar, self.line)

    def begin(self) -> None:
        """Forget the last prediction."""
        self.bar.setValue(0)
        self._progress = PredictionProgress()
        self._began, self._cancelled = None, False
        self.line.setText("Starting…")

    def clear(self) -> None:
        """Forget the last prediction: what was said of it is true no longer."""
        self.begin()
        self.line.setText("")

    def show_event(self, event: object) -> None:
        """Show an event of a prediction of one image."""
        self._progress = self._progress.after(event)
        self.bar.setValue(round(1000 * self._progress.tile / max(self._progress.tiles, 1)))
        if not self._cancelled:
            self.end(f"{self._progress.text.capitalize()}{self._left()}.")

    def cancel(self) -> None:
        """Say at once that it was heard."""
        self._cancelled = True
        self.line.setText("Cancelling: what is finished is kept…")

    def _left(self) -> str:
        """Return in words how long it takes, as soon as a few tiles tell; nothing if it is soon."""
        tile, now = self._progress.tile, time.monotonic()
        if self._began is None and tile:
            self._began = now, tile
        done = tile - (self._began[1] if self._began else tile)
        if self._began is None or done < _TILES_THAT_TELL:
            return ""
        seconds = (now - self._began[0]) / done * (self._progress.tiles - tile)
        return f", about {duration(seconds)} left" if seconds >= _SOON else ""

    def end(self, text: str) -> None:
        """Show how it ended; what the user should know stays."""
        self.line.setText(f"{text} {self._progress.notices}".strip())

    def fail(self, text: str) -> None:
        """Show why it failed."""
        self.bar.setValue(0)
        self.line.setText(text)


# --- The buttons of the Predict widget -----------------------------------------------------------


class Starts(Protocol):
    """What the buttons ask of the Predict widget."""

    def start_prediction(self, scope: str = "whole") -> None:
        """Predict a view, a slice, or all of the image."""

    def ask_for_file(self) -> None:
        """Predict into a file."""

    def ask_for_folder(self) -> None:
        """Predict a folder."""

    def ask_to_load(self) -> None:
        """Load a model."""

    def cancel(self) -> None:
        """Stop."""


class PredictButtons(QWidget):
    """Start, stop, and choose a model."""

    def __init__(
        self,
        session: Session,
        predict: Starts,
        to_copy: Callable[[], ScriptBundle | None],
    ) -> None:
        super().__init__()
        self._session = session
        start = predict.start_prediction
        self.view: Final = button(
            "Segment this v&iew", "Segment what is on screen.", partial(start, "view")
        )
        self.slice: Final = button(
            "This slice", "Segment the plane on screen.", partial(start, "slice")
        )
        self.whole: Final = button(
            "&Everything", "Segment the whole image or stack, what is on screen first.", start
        )
        self.file: Final = button(
            "To file…",
            "Predict the whole image, however large it is, into an OME-Zarr, and show it from "
            "there. Cancelled, it goes on where it was when the same name is chosen again.",
            predict.ask_for_file,
        )
        self.folder: Final = button(
            "Fol&der…", "Predict every image of a folder into files.", predict.ask_for_folder
        )
        self.cancel: Final = button("&Cancel", "Stop; what is finished is kept.", predict.cancel)
        self.load: Final = button("Load model…", "Use a saved model file.", predict.ask_to_load)
        self.starting: Final = starting_model_box(session)
        self.copy: Final = CopyScriptButton(session, to_copy, "the prediction of the whole image")
        self._starters = (self.view, self.slice, self.whole, self.file, self.folder)
        starters = ButtonGrid(3, (*self._starters, self.cancel))
        stack(self, starters, ButtonGrid(2, (self.load, self.starting)), self.copy)

    def show_state(self) -> None:
        """Enable what can be clicked now."""
        task, session = self._session.prediction, self._session
        coming = session.model is not None or session.loading.running
        for each in (*self._starters, self.copy):
            each.setEnabled(coming and not task.running)
        for each in (self.file, self.folder, self.copy):  # which ask for names first
            each.setEnabled(session.model is not None and not task.running)
        self.cancel.setEnabled(task.running and not task.stopping)
