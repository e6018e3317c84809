"""How far a prediction is: a bar, and a line of text."""

from __future__ import annotations

from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_unet.prediction.progress import PredictionProgress
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
        self._progress = PredictionProgress()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.bar)
        layout.addWidget(self.line)

    def begin(self) -> None:
        """Forget the last prediction."""
        self.bar.setValue(0)
        self._progress = PredictionProgress()
        self.line.setText("Starting…")

    def show_event(self, event: object) -> None:
        """Show an event of a prediction of one image."""
        self._progress = self._progress.after(event)
        self.bar.setValue(round(1000 * self._progress.tile / max(self._progress.tiles, 1)))
        self.end(f"{self._progress.text.capitalize()}.")

    def end(self, text: str) -> None:
        """Say how it ended; what the user should know stays."""
        self.line.setText(f"{text} {self._progress.notices}".strip())

    def fail(self, text: str) -> None:
        """Say why it failed."""
        self.bar.setValue(0)
        self.line.setText(text)
