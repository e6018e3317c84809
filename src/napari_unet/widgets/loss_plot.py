"""The loss while it falls, and the score while it rises."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pyqtgraph as pg
from napari.settings import get_settings
from napari.utils.theme import get_theme
from qtpy.QtCore import Qt, QTimer
from qtpy.QtGui import QFontMetrics

if TYPE_CHECKING:
    from qtpy.QtWidgets import QWidget

_REDRAW_MS = 100
_LINES_OF_TEXT = 14  # the height of the plot
_KEY = (
    '<span style="color: {loss}">━ loss</span> &nbsp; '
    '<span style="color: {score}">● score</span> &nbsp; ★ best'
)


class PlotColours(NamedTuple):
    """Colours that go with a theme of napari.

    Parameters
    ----------
    text : str
        Of axes, of words, and of the star at the best score.
    loss, score : str
        Of the curves: of Okabe and Ito's palette, told apart by colour-blind people, the light
        ones on dark and the dark ones on light. Their shapes differ as well.
    """

    text: str
    loss: str
    score: str


def colours_on(theme: str) -> PlotColours:
    """Return the colours of the plot in a theme of napari."""
    known = get_theme(theme)
    curves = ("#56B4E9", "#E69F00") if known.type == "dark" else ("#0072B2", "#D55E00")
    return PlotColours(known.text.as_hex(), *curves)


class LossPlot(pg.PlotWidget):  # type: ignore[misc]
    """Plots the training loss and the validation score over the steps.

    Drawing is throttled, not the data: steps may come as fast as they like.

    Parameters
    ----------
    theme : str
        The theme of napari that it is shown in.
    parent : QWidget, optional
        Owner.
    """

    def __init__(self, theme: str, parent: QWidget | None = None) -> None:
        super().__init__(parent=parent, background=None)
        self.setMenuEnabled(False)
        self.setMouseEnabled(x=False, y=False)
        self.hideButtons()
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)  # the texts beside it say the same
        self.setToolTip(
            "Training loss (falls), score on held-back paint (rises, 0 to 1), and the best so far."
        )
        self.setAccessibleName("Loss and score")
        self.setLabel("bottom", "step")
        self._loss_curve = self.plot()
        self._score_curve = self.plot(symbol="o", symbolSize=6, symbolPen=None)
        self._best_mark = self.plot(pen=None, symbol="star", symbolSize=15, symbolPen=None)
        self.getPlotItem().layout.setContentsMargins(0, 0, 0, 6)  # else letters are cut below
        self.setYRange(0, 1)
        self.show_theme(theme)
        self.reset()
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_REDRAW_MS)
        self._timer.timeout.connect(self._redraw)

    def show_theme(self, theme: str) -> None:
        """Take the colours, and the size of letters, of a theme of napari."""
        self.colours = text, loss, score = colours_on(theme)
        letters, size = self.font(), get_settings().appearance.font_size
        letters.setPointSize(size)
        for side in ("bottom", "left"):
            axis = self.getAxis(side)
            axis.setPen(text)
            axis.setTextPen(text)
            axis.setTickFont(letters)
        self.setLabel("bottom", "step", color=text, **{"font-size": f"{size}pt"})
        # Above the plot: a legend inside of it would cover curves.
        self.setTitle(_KEY.format(loss=loss, score=score), color=text, size=f"{size}pt")
        self._loss_curve.setPen(pg.mkPen(loss, width=1.5))
        self._score_curve.setPen(pg.mkPen(score, width=2, style=Qt.PenStyle.DashLine))
        self._score_curve.setSymbolBrush(score)
        self._best_mark.setSymbolBrush(text)
        self.setFixedHeight(_LINES_OF_TEXT * QFontMetrics(letters).height())

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
        self.setAccessibleDescription(self._in_words())

    def _in_words(self) -> str:
        """Say what the plot shows, for who cannot see it."""
        if not self._losses:
            return "Nothing yet."
        text = f"Step {self._loss_steps[-1]}: loss {self._losses[-1]:.3f}"
        text += f", score {self._scores[-1]:.2f}" if self._scores else ""
        best = "" if self._best is None else f", best {self._best[1]:.2f} at step {self._best[0]}"
        return f"{text}{best}."
