from __future__ import annotations

import gc
import threading
import time
import warnings
import weakref
from collections.abc import Callable, Generator
from functools import partial
from itertools import count
from typing import Any

import numpy as np
import pytest
import torch
from napari.qt.threading import GeneratorWorker, create_worker
from napari.utils.notifications import notification_manager
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QObject, QThreadPool
from qtpy.QtWidgets import QLabel, QVBoxLayout, QWidget

from napari_unet.errors import ImageError
from napari_unet.widgets.common import task as task_module
from napari_unet.widgets.common.task import BackgroundTask, Failed, Finished

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


def test_the_result_of_a_plain_function_is_that_of_the_work(qtbot: QtBot, owner: QObject) -> None:
    task = BackgroundTask("adding", owner)
    assert outcome_of(task, qtbot, lambda stop: 1 + 1) == Finished(2)


@pytest.mark.fault(1)
def test_an_error_of_a_plain_function_arrives_too(qtbot: QtBot, owner: QObject) -> None:
    task = BackgroundTask("dividing", owner)
    outcome = outcome_of(task, qtbot, lambda stop: 1 / 0)

    assert "ZeroDivisionError" in outcome.text


def test_a_plain_function_is_told_to_stop(qtbot: QtBot, owner: QObject) -> None:
    task = BackgroundTask("waiting", owner)
    with qtbot.waitSignal(task.ended, timeout=10_000) as ended:
        task.start(lambda stop: stop.wait(5))
        task.stop()

    assert ended.args[0] == Finished(True)


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(RuntimeError("CUDA error"), id="runtime error"),
        pytest.param(torch.OutOfMemoryError("no memory"), id="out of memory"),
        pytest.param(ValueError("odd"), id="value error"),
        pytest.param(MemoryError("none left"), id="memory error"),
        pytest.param(SystemError("odd return"), id="system error"),
    ],
)
@pytest.mark.fault(1)
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


@pytest.mark.fault(1)
def test_a_request_to_end_the_program_is_not_taken_for_a_failure() -> None:
    def interrupted(stop: threading.Event) -> Events:
        yield 1
        raise KeyboardInterrupt

    events = task_module.outcome_of(interrupted, threading.Event())
    next(events)
    with pytest.raises(KeyboardInterrupt):
        next(events)


@pytest.mark.fault(8)
def test_many_kinds_of_work_run_at_once_whatever_the_number_of_cores(
    qtbot: QtBot, owner: QObject
) -> None:
    tasks = [BackgroundTask(f"work {number}", owner) for number in range(8)]
    running: set[int] = set()
    for number, task in enumerate(tasks):
        task.happened.connect(lambda _, number=number: running.add(number))
        task.start(endless)

    qtbot.waitUntil(lambda: len(running) == len(tasks), timeout=20_000)
    for task in tasks:
        task.stop()
    qtbot.waitUntil(lambda: not any(task.running for task in tasks), timeout=20_000)


@pytest.mark.fault(52)
def test_work_waits_for_a_window_that_does_not_take_its_events(
    qtbot: QtBot, owner: QObject
) -> None:
    made = count()

    def prolific(stop: threading.Event) -> Events:
        while not stop.is_set():
            yield next(made)
        return "stopped"

    task = BackgroundTask("prolific", owner)
    task.start(prolific)
    time.sleep(0.5)  # no event is taken meanwhile
    n_made = next(made)
    with qtbot.waitSignal(task.ended, timeout=10_000):
        task.stop()

    assert 100 < n_made < 500


@pytest.mark.fault(52)
def test_work_goes_on_slowly_while_the_window_stands_still(
    qtbot: QtBot, owner: QObject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(task_module, "_LARGEST_BACKLOG", 1)
    monkeypatch.setattr(task_module, "_LONGEST_WAIT", 0.01)
    finished = threading.Event()

    def ten(stop: threading.Event) -> Events:
        yield from range(10)
        finished.set()
        return "finished"

    task = BackgroundTask("ten", owner)
    with qtbot.waitSignal(task.ended, timeout=10_000):
        task.start(ten)
        assert finished.wait(5)


def test_nothing_is_kept_of_work_that_has_ended(qtbot: QtBot, owner: QObject) -> None:
    class Order:
        pass

    def work(order: Order, stop: threading.Event) -> Events:
        yield from range(3)
        return "result"

    order = Order()
    kept = weakref.ref(order)
    task = BackgroundTask("counting", owner)
    events = partial(work, order)
    del order

    outcome_of(task, qtbot, events)
    del events
    gc.collect()

    assert kept() is None


@pytest.mark.parametrize("superqt", ["as it is", "without its private signal"])
def test_a_worker_that_has_ended_says_so(
    superqt: str, qtbot: QtBot, owner: QObject, monkeypatch: pytest.MonkeyPatch
) -> None:
    workers: list[Any] = []
    pool: Any = QThreadPool.globalInstance()

    def watched(*arguments: Any, **keywords: Any) -> Any:
        worker = create_worker(*arguments, **keywords)
        if superqt != "as it is":
            worker._finished = None
            monkeypatch.setattr(worker, "start", lambda: pool.start(worker))
        workers.append(worker)
        return worker

    monkeypatch.setattr(task_module, "create_worker", watched)
    assert outcome_of(BackgroundTask("counting", owner), qtbot, counting).result == "result"
    qtbot.waitUntil(lambda: not workers[0].is_running)
    if superqt == "as it is":
        qtbot.waitUntil(lambda: workers[0] not in GeneratorWorker._worker_set)


# --- warnings in a worker ----------------------------------------------------------------------


def warning_events(stop: threading.Event) -> Events:
    for number in range(3):
        np.log(np.zeros(2))  # divides by zero
        warnings.warn("torch says so", UserWarning, stacklevel=1)
        yield number
    return "result"


@pytest.mark.fault(46)
@pytest.mark.filterwarnings("default")
def test_a_warning_in_a_worker_is_told_once_and_the_work_goes_on(
    qtbot: QtBot, owner: QObject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(warnings, "showwarning", notification_manager.receive_warning)
    before = len(notification_manager.records)
    outcome = outcome_of(BackgroundTask("warning", owner), qtbot, warning_events)

    told = [str(each.message) for each in notification_manager.records[before:]]
    assert outcome == Finished("result")
    assert sum("torch says so" in text for text in told) == 1
    assert sum("divide by zero" in text for text in told) == 1


@pytest.mark.fault(46)
def test_workers_that_overlap_leave_the_hook_for_warnings_as_it_was(
    qtbot: QtBot, owner: QObject
) -> None:
    hook, filters = warnings.showwarning, list(warnings.filters)
    first, second = (BackgroundTask(name, owner) for name in ("first", "second"))
    during: list[Any] = []
    second.happened.connect(lambda _: during.append(warnings.showwarning))
    for task in (first, second):
        task.start(endless)
        qtbot.wait(100)
    for task in (first, second):
        task.stop()
    qtbot.waitUntil(lambda: not (first.running or second.running), timeout=10_000)

    assert all(each == hook for each in during)
    assert warnings.showwarning == hook
    assert warnings.filters == filters


class Part(QLabel):
    """A part of a dock that listens to work, in whose slot the garbage is collected."""

    def __init__(self, task: BackgroundTask, texts: list[str]) -> None:
        super().__init__()
        self.texts = texts
        task.ended.connect(self.show_end)

    def show_end(self, outcome: object) -> None:
        gc.collect()
        self.setText("ended")
        self.texts.append(self.text())


@pytest.mark.fault(4)
def test_a_closed_dock_is_not_collected_in_the_middle_of_a_slot(
    qtbot: QtBot, owner: QObject
) -> None:
    task, texts = BackgroundTask("counting", owner), list[str]()
    dock: Any = QWidget()
    QVBoxLayout(dock).addWidget(Part(task, texts))
    dock.myself = dock  # a cycle, as every dock has some
    del dock

    outcome_of(task, qtbot, counting)

    assert texts == ["ended"]
