"""How far a prediction is: a bar, and a line of text."""

from __future__ import annotations

from typing import Any

from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_unet.notice import Notice
from napari_unet.widgets.controls import note, progress_bar


class PredictStatus(QWidget):
    """Shows what a running prediction tells.

    Attributes
    ----------
    bar : QProgressBar
        In per mille.
    line : Note
        What is being done, and what the user should know.
    """

    def __init__(self) -> None:
        super().__init__()
        self.bar = progress_bar("How much is done.")
        self.line = note()
        self._tiles = 0
        self._notices = ""
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.bar)
        layout.addWidget(self.line)

    def begin(self) -> None:
        """Forget the last prediction."""
        self.bar.setValue(0)
        self._tiles, self._notices = 0, ""
        self.line.setText("Starting…")

    def show_event(self, event: Any) -> None:
        """Show an event of a prediction of one image."""
        from napari_unet.prediction import events

        if isinstance(event, events.PredictionStarted):
            self._tiles = event.tiles
            self._notices = " ".join(event.notices)
            self._say("Starting…")
        elif isinstance(event, (events.TilePredicted, events.TileWritten)):
            self.bar.setValue(round(1000 * event.number / max(self._tiles, 1)))
            self._say(f"Tile {event.number} of {self._tiles}.")
        elif isinstance(event, events.BlockSeparated):
            self._say(f"Telling objects apart: block {event.number} of {event.total}.")
        elif isinstance(event, Notice):
            self._notices = f"{self._notices} {event.text}".strip()
            self._say("")

    def end(self, text: str) -> None:
        """Say how it ended; what the user should know stays."""
        self._say(text)

    def fail(self, text: str) -> None:
        """Say why it failed."""
        self.bar.setValue(0)
        self.line.setText(text)

    def _say(self, text: str) -> None:
        self.line.setText(f"{text} {self._notices}".strip())
