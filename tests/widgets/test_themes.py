"""What we paint ourselves is read on any theme of napari, and follows a change of it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from napari import Viewer
from napari.settings import get_settings
from napari.utils.theme import get_theme
from qtpy.QtGui import QColor, QPalette
from qtpy.QtWidgets import QApplication, QWidget

from napari_unet.evaluation.objects import ERROR_VALUES
from napari_unet.widgets.common.controls import FocusRing
from napari_unet.widgets.predict.compare import _legend_entry
from napari_unet.widgets.train.plot import TrainingPlot, colours_on
from napari_unet.widgets.train.status import TrainingStatus

from .docks import LARGE, content_of, open_docks

THEMES = ("dark", "light")
OF_TEXT, OF_SHAPES = 4.5, 3.0  # WCAG 2.2, levels AA: contrast of texts, and of all else


def luminance(colour: str) -> float:
    """Return the relative luminance of WCAG 2."""
    rgb = np.array(QColor(colour).getRgbF()[:3])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def ground_of(theme: str) -> str:
    return str(get_theme(theme).background.as_hex())


def ink_of(widget: QWidget) -> str:
    return widget.palette().color(QPalette.ColorRole.WindowText).name()


@pytest.mark.parametrize("theme", THEMES)
def test_notes_are_read(qapp: object, theme: str) -> None:
    with open_docks(theme) as docks:
        note = docks.annotate.target.coverage

        assert contrast(ink_of(note), ground_of(theme)) > OF_TEXT


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("ground", ["current", "primary"], ids=["open", "folded"])
def test_titles_of_sections_are_read(qapp: object, theme: str, ground: str) -> None:
    with open_docks(theme) as docks:
        title = docks.train.advanced.toggle_button

        assert contrast(ink_of(title), getattr(get_theme(theme), ground).as_hex()) > OF_TEXT


@pytest.mark.parametrize("theme", THEMES)
def test_the_plot_is_read(theme: str) -> None:
    colours, ground = colours_on(theme), ground_of(theme)

    assert contrast(colours.text, ground) > OF_TEXT
    for colour in (colours.loss, colours.found, colours.score):
        assert contrast(colour, ground) > OF_SHAPES


@pytest.mark.parametrize("error", ERROR_VALUES, ids=lambda error: error.name)
def test_colours_of_the_legend_are_seen_on_their_own_ground(error: object) -> None:
    entry = _legend_entry(error)  # type: ignore[arg-type]

    assert "background:#000" in entry
    assert contrast(error.colour, "#000000") > OF_SHAPES  # type: ignore[attr-defined]


@pytest.mark.parametrize("theme", THEMES)
def test_the_ring_around_the_focus_is_seen(qapp: object, theme: str) -> None:
    with open_docks(theme) as docks:
        ring = content_of(docks.models).findChild(FocusRing)

        assert contrast(ink_of(ring), ground_of(theme)) > OF_SHAPES


def shown_plot(status: TrainingStatus) -> TrainingPlot:
    status._show_plot()
    plot = status._plot
    assert plot is not None
    return plot


def test_the_plot_follows_another_theme(qapp: object) -> None:
    with open_docks("dark") as docks:
        plot = shown_plot(docks.train.shown)

        docks.viewer.theme = "light"

        text = get_theme("light").text.as_hex()
        assert plot.colours == colours_on("light")
        assert plot.chart.getAxis("left").textPen().color() == QColor(text)


def test_the_plot_follows_the_size_of_letters(qapp: object) -> None:
    with open_docks() as docks:
        plot = shown_plot(docks.train.shown)
        before = plot.chart.height()

        get_settings().appearance.font_size = LARGE

        assert plot.chart.height() > before


def test_the_plot_says_in_words_what_it_shows(qapp: object) -> None:
    with open_docks() as docks:
        plot = shown_plot(docks.train.shown)
        plot.add_loss(7, 0.25)
        plot.add_found(7, 0.9)
        plot.add_score(7, 0.8)
        plot.mark_best(7, 0.8)
        plot._redraw()

        said = "90% of the painted cells found, score on unseen paint 0.80, best 0.80 at step 7."
        assert plot.accessibleDescription() == f"Step 7: loss on paint 0.250, {said}"


def test_the_key_of_the_plot_names_only_what_is_drawn(qapp: object) -> None:
    with open_docks() as docks:
        plot = shown_plot(docks.train.shown)
        plot.add_loss(7, 0.25)
        plot._redraw()

        assert "loss" in plot.key.text()
        assert "cells" not in plot.key.text()


@pytest.mark.parametrize("points", [9, LARGE], ids=["default letters", "large letters"])
def test_the_key_of_the_plot_is_not_cut(qapp: object, points: int) -> None:
    with open_docks(points=points) as docks:
        plot = shown_plot(docks.train.shown)
        plot.add_loss(7, 0.25)
        plot.add_found(7, 0.9)
        plot.add_score(7, 0.8)
        plot.mark_best(7, 0.8)
        plot._redraw()
        QApplication.processEvents()

        key = plot.key
        assert key.height() >= key.heightForWidth(key.width())


def test_a_loss_above_one_is_shown_as_it_is(qapp: object) -> None:
    with open_docks() as docks:
        plot = shown_plot(docks.train.shown)
        plot.add_loss(1, 3.0)
        plot._redraw()

        assert plot._loss_curve.getData()[1].tolist() == [3.0]
        assert "loss on paint 3.000" in plot.accessibleDescription()


def test_docks_follow_another_theme_of_napari(make_napari_viewer: Callable[..., Viewer]) -> None:
    from napari_unet.widgets.annotate.dock import AnnotateWidget

    viewer = make_napari_viewer()
    dock = AnnotateWidget(viewer)
    viewer.window.add_dock_widget(dock)
    viewer.theme = "light"
    QApplication.processEvents()

    assert ink_of(dock.target.coverage) == get_theme("light").text.as_hex()
