from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from typing import Any

import pytest
import torch
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QObject

from napari_unet.errors import ImageError
from napari_unet.widgets.task import BackgroundTask, Failed, Finished

Events = Generator[int, None, str]


def counting(stop: threading.Event) -> Events:
    yield from range(3)
    return "result"


def endless(stop: threading.Event) -> Events:
    while not stop.is_set():
        yield 0
    return "stopped"


def failing_with(error: Exception) -> Callable[[threading.Event], Events]:
    def events(stop: threading.Event) -> Events:
        yield 1
        raise error

    return events


@pytest.fixture
def owner(qtbot: QtBot) -> QObject:
    return QObject()


def outcome_of(task: BackgroundTask, qtbot: QtBot, events: Any) -> Any:
    with qtbot.waitSignal(task.ended, timeout=10_000) as ended:
        task.start(events)
    return ended.args[0]


def test_the_result_arrives_as_an_outcome(qtbot: QtBot, owner: QObject) -> None:
    task = BackgroundTask("counting", owner)
    assert outcome_of(task, qtbot, counting) == Finished("result")


def test_each_event_arrives_in_order(qtbot: QtBot, owner: QObject) -> None:
    task = BackgroundTask("counting", owner)
    seen: list[int] = []
    task.happened.connect(seen.append)

    outcome_of(task, qtbot, counting)

    assert seen == [0, 1, 2]


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(RuntimeError("CUDA error"), id="runtime error"),
        pytest.param(torch.OutOfMemoryError("no memory"), id="out of memory"),
        pytest.param(ValueError("odd"), id="value error"),
    ],
)
def test_an_unexpected_error_arrives_with_its_traceback(
    error: Exception, qtbot: QtBot, owner: QObject
) -> None:
    task = BackgroundTask("counting", owner)
    outcome = outcome_of(task, qtbot, failing_with(error))

    assert isinstance(outcome, Failed)
    assert str(error) in outcome.text
    assert "Traceback" in outcome.details


def test_an_error_of_the_user_arrives_as_its_text_alone(qtbot: QtBot, owner: QObject) -> None:
    task = BackgroundTask("counting", owner)
    outcome = outcome_of(task, qtbot, failing_with(ImageError("The image is empty.")))

    assert outcome == Failed("The image is empty.")


def test_stop_lets_the_work_return_its_result(qtbot: QtBot, owner: QObject) -> None:
    task = BackgroundTask("endless", owner)
    with qtbot.waitSignal(task.ended, timeout=10_000) as ended:
        task.start(endless)
        qtbot.wait(50)
        task.stop()

    assert ended.args[0] == Finished("stopped")


def test_a_second_start_is_refused_while_the_first_runs(qtbot: QtBot, owner: QObject) -> None:
    task = BackgroundTask("endless", owner)
    with qtbot.waitSignal(task.ended, timeout=10_000):
        task.start(endless)
        started_again = task.start(counting)
        task.stop()

    assert not started_again
