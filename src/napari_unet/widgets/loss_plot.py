"""The loss while it falls, and the score while it rises."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyqtgraph as pg
from qtpy.QtCore import QTimer

if TYPE_CHECKING:
    from qtpy.QtWidgets import QWidget

# Okabe and Ito's palette: told apart by colour-blind people, visible on dark and light.
_LOSS_COLOUR, _SCORE_COLOUR, _BEST_COLOUR = "#56B4E9", "#E69F00", "#009E73"
_REDRAW_MS = 100


class LossPlot(pg.PlotWidget):  # type: ignore[misc]
    """Plots the training loss and the validation score over the steps.

    Drawing is throttled, not the data: steps may come as fast as they like.

    Parameters
    ----------
    text_colour : str
        Colour of axes and texts, for example "#ffffff".
    parent : QWidget, optional
        Owner.
    """

    def __init__(self, text_colour: str, parent: QWidget | None = None) -> None:
        super().__init__(parent=parent, background=None)
        self.setFixedHeight(170)
        self.setMenuEnabled(False)
        self.setMouseEnabled(x=False, y=False)
        self.hideButtons()
        self.setToolTip(
            "Training loss (falls), score on held-back paint (rises, 0 to 1), and the best so far."
        )
        for side in ("bottom", "left"):
            self.getAxis(side).setPen(text_colour)
            self.getAxis(side).setTextPen(text_colour)
        self.setLabel("bottom", "step")
        self.addLegend(offset=(-5, 50), labelTextColor=text_colour, verSpacing=-6)
        self._loss_curve = self.plot(pen=pg.mkPen(_LOSS_COLOUR, width=1.5), name="loss")
        self._score_curve = self.plot(
            pen=pg.mkPen(_SCORE_COLOUR, width=2),
            symbol="o",
            symbolSize=6,
            symbolBrush=_SCORE_COLOUR,
            symbolPen=None,
            name="score",
        )
        self._best_mark = self.plot(
            pen=None,
            symbol="star",
            symbolSize=15,
            symbolBrush=_BEST_COLOUR,
            symbolPen=None,
            name="best",
        )
        self.setYRange(0, 1)
        self.reset()
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_REDRAW_MS)
        self._timer.timeout.connect(self._redraw)

    def reset(self) -> None:
        """Begin anew."""
        self._loss_steps: list[int] = []
        self._losses: list[float] = []
        self._score_steps: list[int] = []
        self._scores: list[float] = []
        self._best: tuple[int, float] | None = None
        self._redraw()

    def add_loss(self, step: int, loss: float) -> None:
        """Add one step; the curve shows a running mean."""
        previous = self._losses[-1] if self._losses else loss
        self._loss_steps.append(step)
        self._losses.append(0.9 * previous + 0.1 * loss)
        self._redraw_soon()

    def add_score(self, step: int, score: float, *, best: bool) -> None:
        """Add one validation score, 0 to 1; the star marks the weights that are kept."""
        self._score_steps.append(step)
        self._scores.append(score)
        if best:
            self._best = (step, score)
        self._redraw_soon()

    def _redraw_soon(self) -> None:
        if not self._timer.isActive():
            self._timer.start()

    def _redraw(self) -> None:
        self._loss_curve.setData(self._loss_steps, self._losses)
        self._score_curve.setData(self._score_steps, self._scores)
        best = ([], []) if self._best is None else ([self._best[0]], [self._best[1]])
        self._best_mark.setData(*best)
