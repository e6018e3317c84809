"""A training that fails, docks that are closed on the way, buttons pressed twice, two windows."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Generator
from typing import Any

import pytest
import torch
from napari.layers import Labels
from napari.utils.notifications import notification_manager
from qtpy.QtCore import Qt

from napari_unet.model.trained import load_network
from napari_unet.project.contents import MODEL_FILE
from napari_unet.training.checkpoint import load_state, state_path
from napari_unet.training.events import StepDone, ViewPredicted
from napari_unet.widgets.common.recovery import keeper_of
from napari_unet.widgets.common.session import session_of
from napari_unet.widgets.predict.dock import PredictWidget
from napari_unet.widgets.train import run as train
from napari_unet.widgets.train import work as training_work
from napari_unet.widgets.train.dock import TrainWidget

from .conftest import HAND, TINY, Desk, disks, strokes_on
from .test_layers_changed import gate, predict_until_the_first_tile
from .test_live import stop, train_on, wait_for

__all__ = ["gate"]

Painted = tuple[Desk, Labels]


@pytest.mark.fault(1)
@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("CUDA error: unspecified launch failure"),
        torch.OutOfMemoryError("CUDA out of memory"),
        MemoryError("Unable to allocate"),
        SystemError("returned a result with an exception set"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_training_that_fails_says_so_and_keeps_its_last_checkpoint(
    painted: Painted, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk, _ = painted
    monkeypatch.setattr("napari_unet.training.loop._CHECKPOINT_SECONDS", 0.0)
    real = training_work.training_events

    def failing(*order: Any, **more: Any) -> Generator[object, None, Any]:
        for event in real(*order, **more):
            if isinstance(event, StepDone) and event.step == 8:
                raise error
            yield event

    monkeypatch.setattr(train, "training_events", failing)
    desk.click(desk.train.train_button)
    desk.wait_until_idle()

    assert str(error) in desk.train.shown.status.text()
    assert desk.last_notice.count("Traceback") == 1
    assert desk.train.train_button.isEnabled()
    assert not desk.train.stop_button.isEnabled()
    kept = keeper_of(desk.viewer).folder / MODEL_FILE
    load_network(kept)
    assert load_state(state_path(kept)).step > 0


# --- docks closed and opened again -------------------------------------------------------------


def reopen_train(desk: Desk) -> TrainWidget:
    """Close the Train dock by its button, and open another."""
    desk.viewer.window.remove_dock_widget(desk.train)
    desk.qtbot.wait(200)
    widget = TrainWidget(desk.viewer)
    desk.viewer.window.add_dock_widget(widget, name="Train again")
    return widget


@pytest.mark.canvas
@pytest.mark.fault(4)
def test_a_training_goes_on_while_its_dock_is_closed_and_the_next_one_shows_it(
    painted: Painted,
) -> None:
    desk, _ = painted
    events = train_on(desk)
    wait_for(desk, events, StepDone)
    before = len(notification_manager.records)

    again = reopen_train(desk)
    states = (again.train_button.isEnabled(), again.stop_button.isEnabled())
    desk.qtbot.waitUntil(lambda: again.shown.status.text().startswith("Step"), timeout=60_000)
    desk.click(again.stop_button)
    desk.wait_until_idle()

    assert states == (False, True)
    assert again.shown.status.text().startswith("Stopped after ")
    assert session_of(desk.viewer).model is not None
    assert len(notification_manager.records) == before


@pytest.mark.canvas
@pytest.mark.fault(4)
def test_a_failure_is_told_once_though_the_dock_was_opened_again(
    painted: Painted, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk, _ = painted
    fail = threading.Event()
    real = training_work.training_events

    def failing(*order: Any, **more: Any) -> Generator[object, None, Any]:
        for event in real(*order, **more):
            if fail.is_set():
                raise RuntimeError("no more")
            yield event

    monkeypatch.setattr(train, "training_events", failing)
    events = train_on(desk)
    wait_for(desk, events, StepDone)
    reopen_train(desk)
    before = len(notification_manager.records)

    fail.set()
    desk.wait_until_idle()

    told = [str(each.message) for each in notification_manager.records[before:]]
    assert sum("no more" in text for text in told) == 1


@pytest.mark.canvas
@pytest.mark.fault(4)
def test_a_prediction_goes_on_while_its_dock_is_closed(desk: Desk, gate: threading.Event) -> None:
    predict_until_the_first_tile(desk)
    desk.viewer.window.remove_dock_widget(desk.predict)
    desk.qtbot.wait(200)
    again = PredictWidget(desk.viewer)
    desk.viewer.window.add_dock_widget(again, name="Predict again")
    states = (again.predict_button.isEnabled(), again.cancel_button.isEnabled())
    gc.collect()

    gate.set()
    desk.wait_until_idle()

    assert states == (False, True)
    assert desk.viewer.layers["disks prediction"].data.any()
    assert again.status.text().startswith("Done.")


# --- the same thing twice ----------------------------------------------------------------------


@pytest.mark.fault(8)
def test_a_second_start_is_refused_and_says_how_far_the_first_is(painted: Painted) -> None:
    desk, _ = painted
    events = train_on(desk)
    wait_for(desk, events, StepDone, 2)

    desk.train.start_training()

    assert desk.last_notice.startswith("Training is already running. Step ")
    stop(desk)


@pytest.mark.fault(8)
def test_a_hammered_button_starts_one_training(painted: Painted) -> None:
    desk, _ = painted
    started: list[int] = []
    desk.train.task.started.connect(lambda: started.append(1))
    button = desk.train.train_button
    button.setFocus()

    desk.click(button)
    for _ in range(10):
        desk.click(button)
        HAND.keyClick(button, Qt.Key.Key_Space)
        HAND.keyClick(button, Qt.Key.Key_Return)
    desk.wait_until_idle()

    assert len(started) == 1


@pytest.mark.fault(8)
def test_a_training_may_begin_while_a_prediction_runs(
    painted: Painted, gate: threading.Event
) -> None:
    desk, _ = painted
    predict_until_the_first_tile(desk)

    desk.click(desk.train.train_button)
    desk.qtbot.waitUntil(lambda: not desk.train.task.running, timeout=60_000)
    gate.set()
    desk.wait_until_idle()

    assert desk.train.shown.status.text().startswith("Finished after 30 steps.")
    assert desk.predict.status.text().startswith("Done.")


@pytest.mark.fault(8)
def test_two_windows_train_at_once_each_its_own_model(make_desk: Callable[..., Desk]) -> None:
    desks = [make_desk(), make_desk()]
    for desk in desks:
        desk.viewer.add_labels(strokes_on(disks()), name="paint")
        desk.train.form.set_value(desk.train.config().changed(**TINY))
        desk.train.steps_box.setValue(20)
    for desk in desks:
        desk.click(desk.train.train_button)
    running = [desk.train.task.running for desk in desks]
    for desk in desks:
        desk.wait_until_idle()

    models = [session_of(desk.viewer).model for desk in desks]
    assert running == [True, True]
    assert None not in models
    assert models[0] is not models[1]
    assert keeper_of(desks[0].viewer).folder != keeper_of(desks[1].viewer).folder


@pytest.mark.canvas
@pytest.mark.fault(8)
def test_a_window_that_closes_stops_its_training_and_not_that_of_another(
    make_desk: Callable[..., Desk], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = make_desk(), make_desk()
    every: list[list[object]] = []
    for desk in (first, second):
        desk.viewer.add_labels(strokes_on(disks()), name="paint")
        desk.train.form.set_value(desk.train.config().changed(**TINY))
        every.append(train_on(desk))
        wait_for(desk, every[-1], ViewPredicted)
    ending = session_of(first.viewer).training

    # napari 0.9 deletes the closed window's shader programs in whichever OpenGL context is current:
    # in that of the other window, it would delete that one's programs of the same numbers.
    first.viewer.window._qt_viewer.canvas.native.makeCurrent()
    first.viewer.close()
    second.qtbot.waitUntil(lambda: not ending.running, timeout=20_000)
    every[1].clear()
    wait_for(second, every[1], StepDone, 3)

    stop(second)
    assert session_of(second.viewer).model is not None
