"""The line of the Train dock that says how many painted cells are found, and leads to the rest."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from napari.layers import Labels
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication

from napari_unet.training.events import AnnotationsJoined, PaintJudged, StepDone
from napari_unet.training.validation import PaintedCell, Verdict
from napari_unet.widgets.common.pairs import LayerPair, annotated_images
from napari_unet.widgets.common.session import session_of
from napari_unet.widgets.common.visible import camera_of
from napari_unet.widgets.train import run as training_run
from napari_unet.widgets.train.painted_cells import cells_in_words, new_cells_in_words
from napari_unet.widgets.train.run import TrainingRun

from .conftest import HAND, Desk, disks, strokes_on
from .docks import LARGE, Docks, open_docks
from .test_interrupted import reopen_train
from .test_live import stop, train_on, wait_for

Painted = tuple[Desk, Labels]
MANY: tuple[Verdict, ...] = ("found", *("merged",) * 20, *("missed",) * 20)


def cell(
    verdict: Verdict, centre: tuple[int, ...] = (12, 12), frame: tuple[int, ...] = ()
) -> PaintedCell:
    return PaintedCell(0, frame, centre, 0.5, verdict)


def cells(*verdicts: Verdict) -> tuple[PaintedCell, ...]:
    """Some cells in a row, 10 pixels apart."""
    return tuple(cell(verdict, (20, 10 * n)) for n, verdict in enumerate(verdicts, 1))


# --- words -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verdicts", "words"),
    [
        ((), ""),
        (("found",), "The model finds the painted cell."),
        (("found",) * 3, "The model finds all 3 painted cells."),
        (("found", "merged", "merged"), "The model finds 1 of 3 painted cells; 2 are merged."),
        (("found", "found", "missed"), "The model finds 2 of 3 painted cells; 1 is missed."),
        (("merged", "missed"), "The model finds 0 of 2 painted cells; 1 is merged, 1 is missed."),
        (("missed",), "The model finds 0 of 1 painted cell; 1 is missed."),
    ],
)
def test_painted_cells_are_told_in_words(verdicts: tuple[Verdict, ...], words: str) -> None:
    assert cells_in_words(cells(*verdicts)) == words


@pytest.mark.parametrize(
    ("verdicts", "words"),
    [
        ((), ""),
        (("found",), "the new cell was already found"),
        (("missed",), "the new cell was not yet found"),
        (("missed", "merged"), "none of 2 new cells was found yet"),
        (("found", "missed"), "1 of 2 new cells was already found"),
        (("found",) * 3 + ("missed",), "3 of 4 new cells were already found"),
    ],
)
def test_new_cells_are_told_in_words(verdicts: tuple[Verdict, ...], words: str) -> None:
    assert new_cells_in_words(cells(*verdicts)) == words


# --- the line ----------------------------------------------------------------------------------


@pytest.fixture
def docks(qapp: object) -> Iterator[Docks]:
    with open_docks() as opened:
        yield opened


def judge(docks: Docks | Desk, *judged: PaintedCell) -> Any:
    """Let a training, whose layers are those of the window, judge its painted cells."""
    session = session_of(docks.viewer)
    if session.run is None:
        pair = LayerPair(docks.viewer.layers["disks"], docks.viewer.layers["paint"])
        images = annotated_images(docks.viewer, (pair,))
        session.run = TrainingRun(docks.viewer, (pair,), images, 2, session)
    session.training.happened.emit(PaintJudged(5, judged))
    QApplication.processEvents()
    return docks.train.shown.cells


def place(viewer: Any) -> tuple[float, ...]:
    return tuple(camera_of(viewer).center[-2:])


def test_without_painted_cells_there_is_no_line(docks: Docks) -> None:
    assert not docks.train.shown.cells.isVisible()


def test_where_all_cells_are_found_there_is_nothing_to_show(docks: Docks) -> None:
    line = judge(docks, *cells("found", "found"))

    assert line.text.text() == "The model finds all 2 painted cells."
    assert not line.show_button.isVisible()


def test_show_moves_the_camera_to_a_cell_that_is_not_found(docks: Docks) -> None:
    line = judge(docks, *cells("found", "merged"))

    line.show_button.click()

    assert place(docks.viewer) == (20, 20)


def test_each_click_goes_to_the_next_cell_that_is_not_found(docks: Docks) -> None:
    line = judge(docks, *cells("merged", "found", "missed"))
    places = []

    for _ in range(3):
        line.show_button.click()
        places.append(place(docks.viewer))

    assert places == [(20, 10), (20, 30), (20, 10)]


def test_the_walk_goes_on_after_the_cells_were_judged_again(docks: Docks) -> None:
    line = judge(docks, *cells("merged", "missed", "missed"))
    line.show_button.click()
    judge(docks, *cells("found", "missed", "missed"))

    line.show_button.click()

    assert place(docks.viewer) == (20, 20)


def test_the_cell_on_screen_is_told_in_words(docks: Docks) -> None:
    line = judge(docks, *cells("merged", "found"))

    line.show_button.click()

    assert line.text.text().endswith("Shown: one object covers it and another painted cell.")


@pytest.mark.parametrize("key", ["Return", "Space"])
def test_a_key_shows_the_cell(docks: Docks, key: str) -> None:
    line = judge(docks, *cells("found", "merged"))

    HAND.keyClick(line.show_button, getattr(Qt.Key, f"Key_{key}"))

    assert place(docks.viewer) == (20, 20)


def test_cells_of_layers_that_were_closed_are_not_gone_to(docks: Docks) -> None:
    line = judge(docks, *cells("merged"))
    docks.viewer.layers.clear()

    line.show_button.click()

    assert line.text.text().endswith("Their layers are closed.")


@pytest.mark.parametrize("points", [9, LARGE], ids=["default letters", "large letters"])
def test_the_line_is_not_cut_in_a_narrow_dock(qapp: object, points: int) -> None:
    with open_docks(points=points) as docks:
        line = judge(docks, *cells(*MANY))
        line.show_button.click()
        for _ in range(5):  # layouts within layouts settle one after the other
            QApplication.processEvents()

        assert line.text.height() >= line.text.heightForWidth(line.text.width())
        assert line.show_button.width() >= line.show_button.minimumSizeHint().width()


# --- stacks ------------------------------------------------------------------------------------


def stack_of_three(make_desk: Callable[..., Desk]) -> Desk:
    desk = make_desk(np.stack([disks()] * 3))
    labels = np.zeros((3, 96, 96), np.uint16)
    labels[1] = strokes_on(disks())
    desk.viewer.add_labels(labels, name="paint")
    return desk


def test_show_moves_the_slider_to_the_frame_of_the_cell(make_desk: Callable[..., Desk]) -> None:
    desk = stack_of_three(make_desk)
    line = judge(desk, cell("merged", (12, 36), frame=(2,)))

    line.show_next()

    assert desk.viewer.dims.current_step[0] == 2
    assert place(desk.viewer) == (12, 36)


def test_show_moves_the_slider_to_the_plane_of_a_cell_of_a_volume(
    make_desk: Callable[..., Desk],
) -> None:
    desk = stack_of_three(make_desk)
    line = judge(desk, cell("merged", (2, 12, 36)))

    line.show_next()

    assert desk.viewer.dims.current_step[0] == 2


def test_show_moves_the_camera_in_depth_where_a_volume_is_seen_in_3d(
    make_desk: Callable[..., Desk],
) -> None:
    desk = stack_of_three(make_desk)
    desk.viewer.dims.ndisplay = 3
    line = judge(desk, cell("merged", (2, 12, 36)))

    line.show_next()

    assert tuple(camera_of(desk.viewer).center) == (2, 12, 36)


# --- with a training under way -----------------------------------------------------------------


def test_a_training_says_how_many_painted_cells_are_found(painted: Painted) -> None:
    desk, _ = painted
    desk.click(desk.train.train_button)
    desk.wait_until_idle()

    assert "The model finds" in desk.train.shown.cells.text.text()


@pytest.mark.canvas
def test_a_dock_that_is_opened_again_says_it_too(painted: Painted) -> None:
    desk, _ = painted
    events = train_on(desk)
    wait_for(desk, events, PaintJudged)

    again = reopen_train(desk)
    said = again.shown.cells.text.text()
    desk.click(again.stop_button)
    desk.wait_until_idle()

    assert "painted cells" in said


@pytest.mark.canvas
def test_new_strokes_tell_how_many_of_their_cells_were_already_found(
    painted: Painted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training_run, "_JOIN_DELAY_MS", 100)
    desk, labels = painted
    events = train_on(desk)
    wait_for(desk, events, StepDone)
    desk.viewer.layers.selection.active = labels
    labels.selected_label, labels.mode = 40, "paint"

    desk.stroke((60, 10), (60, 14))
    wait_for(desk, events, AnnotationsJoined)
    said = desk.train.shown.joined.text()
    stop(desk)

    assert said.startswith("New strokes joined after step ")
    assert "the new cell was " in said
