"""The curves of a training: all of them in sight."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_unet.widgets.train.plot import TrainingPlot

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot


def plot_of(qtbot: QtBot, *losses: float) -> TrainingPlot:
    """Make a plot of some losses, drawn at once."""
    plot = TrainingPlot("dark")
    qtbot.addWidget(plot)
    for step, loss in enumerate(losses):
        plot._losses.add(step, loss)
    plot._redraw()
    return plot


def top_of(plot: TrainingPlot) -> float:
    """Return where the axis ends."""
    return float(plot.chart.getViewBox().viewRange()[1][1])


def test_a_loss_above_1_is_in_sight(qtbot: QtBot) -> None:
    plot = plot_of(qtbot, 1.4, 1.3, 1.2, 1.07)
    assert top_of(plot) > 1.2
    assert plot._loss_curve.getData()[1][-1] == 1.07


def test_the_axis_goes_to_1_where_the_loss_does_not_need_more(qtbot: QtBot) -> None:
    plot = plot_of(qtbot, 3.0, 0.9, 0.6, 0.4)
    assert 1 <= top_of(plot) < 1.2
    assert max(plot._loss_curve.getData()[1]) == 1
