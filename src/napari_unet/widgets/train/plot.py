"""Curves of a training: loss, painted cells found, scores on unseen paint."""

from __future__ import annotations

from typing import Final, NamedTuple

import pyqtgraph as pg
from napari.settings import get_settings
from napari.utils.theme import get_theme
from qtpy.QtCore import Qt, QTimer
from qtpy.QtGui import QFontMetrics
from qtpy.QtWidgets import QLabel, QVBoxLayout, QWidget

_REDRAW_MS = 100
_ROOM_ABOVE = 1.05  # of the largest loss that is seen
_LINES_OF_TEXT = 13  # the height of the curves
_SPACE = "\N{NO-BREAK SPACE}"  # an entry of the key stays in one line


class PlotColours(NamedTuple):
    """Colours that go with a theme of napari."""

    text: str
    """Of axes, of words, and of the star at the best weights."""
    loss: str
    found: str
    score: str
    """All three of Okabe and Ito's palette (on light, Tol's wine), safe for colour-blind people."""


def colours_on(theme: str) -> PlotColours:
    """Return the colours of the plot in a theme of napari."""
    known = get_theme(theme)
    on_dark = known.type == "dark"
    curves = ("#56B4E9", "#F0E442", "#D55E00") if on_dark else ("#0072B2", "#882255", "#D55E00")
    return PlotColours(known.text.as_hex(), *curves)


class TrainingPlot(QWidget):
    """Plots loss, painted cells that are found, and scores on unseen paint over the steps.

    The axis goes from 0 to 1, as scores do, and as far as the loss of the newer half of the steps;
    a larger one before runs along the upper edge. Drawing is throttled, not the data.
    """

    def __init__(self, theme: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.key: Final = QLabel()
        self.key.setTextFormat(Qt.TextFormat.RichText)
        self.key.setWordWrap(True)
        self.chart: Final = _empty_chart()
        self._loss_curve = self.chart.plot()
        self._found_curve = self.chart.plot(symbol="s", symbolSize=7, symbolPen=None)
        self._score_marks = self.chart.plot(pen=None, symbol="o", symbolSize=8, symbolPen=None)
        self._best_mark = self.chart.plot(pen=None, symbol="star", symbolSize=15, symbolPen=None)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2)
        column.addWidget(self.key)  # above: a legend among the curves would cover them
        column.addWidget(self.chart)
        self.setToolTip(
            "Loss on paint: how far the network is from what you painted; it falls. Painted cells "
            "found: the share of them that come out right; it rises to 1. Unseen paint: the score "
            "on paint that it has not learned, held back or just painted. Star: the best "
            "weights so far."
        )
        self.setAccessibleName("Loss, painted cells found, and score on unseen paint")
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_REDRAW_MS)
        self._timer.timeout.connect(self._redraw)
        self.colours: PlotColours = colours_on(theme)
        self.reset()
        self.show_theme(theme)

    def show_theme(self, theme: str) -> None:
        """Take the colours of a theme, and napari's font size."""
        self.colours = text, loss, found, score = colours_on(theme)
        font, size = self.font(), get_settings().appearance.font_size
        font.setPointSize(size)
        for side in ("bottom", "left"):
            axis = self.chart.getAxis(side)
            axis.setPen(text)
            axis.setTextPen(text)
            axis.setTickFont(font)
        self.chart.setLabel("bottom", "step", color=text, **{"font-size": f"{size}pt"})
        self._loss_curve.setPen(pg.mkPen(loss, width=1.5))
        self._found_curve.setPen(pg.mkPen(found, width=2, style=Qt.PenStyle.DashLine))
        self._found_curve.setSymbolBrush(found)
        self._score_marks.setSymbolBrush(score)
        self._best_mark.setSymbolBrush(text)
        self.chart.setFixedHeight(_LINES_OF_TEXT * QFontMetrics(font).height())
        self._show_key()

    def reset(self) -> None:
        """Remove all points."""
        self._losses = _Curve([], [])
        self._found = _Curve([], [])
        self._scores = _Curve([], [])
        self._best: tuple[int, float] | None = None
        self._redraw()

    def add_loss(self, step: int, loss: float) -> None:
        """Add the loss on paint of one step; the curve shows a running mean."""
        previous = self._losses.values[-1] if self._losses.values else loss
        self._losses.add(step, 0.9 * previous + 0.1 * loss)
        self._redraw_soon()

    def add_found(self, step: int, share: float) -> None:
        """Add the share of the painted cells that are found."""
        self._found.add(step, share)
        self._redraw_soon()

    def add_score(self, step: int, score: float) -> None:
        """Add a score on paint that was not learned, 0 to 1."""
        self._scores.add(step, score)
        self._redraw_soon()

    def mark_best(self, step: int, score: float) -> None:
        """Move the star to the score of the best weights."""
        self._best = (step, score)
        self._redraw_soon()

    def _redraw_soon(self) -> None:
        if not self._timer.isActive():
            self._timer.start()

    def _redraw(self) -> None:
        losses = self._losses.values
        top = max(1.0, _ROOM_ABOVE * max(losses[len(losses) // 2 :], default=0.0))
        self.chart.setYRange(0, top)
        drawn = [min(loss, top) for loss in losses]
        self._loss_curve.setData(self._losses.steps, drawn)
        self._found_curve.setData(*self._found)
        self._score_marks.setData(*self._scores)
        best = ([], []) if self._best is None else ([self._best[0]], [self._best[1]])
        self._best_mark.setData(*best)
        self.setAccessibleDescription(self._in_words())
        self._show_key()

    def _show_key(self) -> None:
        """Explain the marks that are drawn: trainings of classes have no cells."""
        text, loss, found, score = self.colours
        entries = [(loss, "━", "loss on paint")]
        if self._found.steps:
            entries.append((found, "■", "painted cells found"))
        if self._scores.steps:
            entries.append((score, "●", "unseen paint"))
        if self._best is not None:
            entries.append((text, "★", "best"))
        self.key.setText(" &nbsp; ".join(_key_entry(*entry) for entry in entries))

    def _in_words(self) -> str:
        """Return what the plot shows, for screen readers."""
        parts = []
        if self._losses.steps:
            parts.append(f"loss on paint {self._losses.values[-1]:.3f}")
        if self._found.steps:
            parts.append(f"{self._found.values[-1]:.0%} of the painted cells found")
        if self._scores.steps:
            parts.append(f"score on unseen paint {self._scores.values[-1]:.2f}")
        if self._best is not None:
            parts.append(f"best {self._best[1]:.2f} at step {self._best[0]}")
        if not parts:
            return "Nothing yet."
        curves = (self._losses, self._found, self._scores)
        last = max(curve.steps[-1] for curve in curves if curve.steps)
        return f"Step {last}: {', '.join(parts)}."


class _Curve(NamedTuple):
    steps: list[int]
    values: list[float]

    def add(self, step: int, value: float) -> None:
        self.steps.append(step)
        self.values.append(value)


def _empty_chart() -> pg.PlotWidget:
    chart = pg.PlotWidget(background=None)
    chart.setMenuEnabled(False)
    chart.setMouseEnabled(x=False, y=False)
    chart.hideButtons()
    chart.setFocusPolicy(Qt.FocusPolicy.NoFocus)  # the texts beside it say the same
    chart.getPlotItem().layout.setContentsMargins(0, 4, 4, 6)  # else text and marks are cut
    chart.setYRange(0, 1)
    return chart


def _key_entry(colour: str, mark: str, words: str) -> str:
    kept_together = words.replace(" ", _SPACE)
    return f'<span style="color: {colour}">{mark}</span>{_SPACE}{kept_together}'
