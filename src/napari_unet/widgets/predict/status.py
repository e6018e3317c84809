"""How far a prediction is: a bar, and a line of text."""

from __future__ import annotations

import time
from typing import Final

from qtpy.QtWidgets import QWidget

from napari_unet.prediction.results import PredictionProgress
from napari_unet.widgets.common.controls import Note, duration, progress_bar, stack

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
