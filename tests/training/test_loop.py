"""The loop: what it tells, and when it ends."""

from __future__ import annotations

import itertools
import threading
import time
from dataclasses import FrozenInstanceError, fields
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from napari_unet.errors import DeviceError
from napari_unet.run import Notice
from napari_unet.tasks import ValidationScore
from napari_unet.training import loop, validation
from napari_unet.training.events import PaintJudged, StepDone, TrainingStarted, Validated
from napari_unet.training.trainer import Trainer

from .builders import (
    all_finite,
    cells,
    data_of,
    of_type,
    painted_cells,
    run,
    stop_after,
    stopped_after,
    tiny_config,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

# --- events ------------------------------------------------------------------------------------


def test_the_first_event_tells_what_is_trained() -> None:
    config = tiny_config()
    data = cells(config)
    started = run(data, config)[0][0]
    assert started == TrainingStarted("CPU", 1, data.painted, len(data.blocks), 6)


def test_each_step_is_told_with_its_number_and_progress() -> None:
    config = tiny_config(steps=4)
    steps = of_type(run(cells(config), config)[0], StepDone)
    assert [(e.step, e.progress) for e in steps] == [(1, 0.25), (2, 0.5), (3, 0.75), (4, 1.0)]
    assert steps[-1].seconds_left == 0


def test_validations_come_when_due_and_at_the_end() -> None:
    config = tiny_config(steps=7, validate_every=3)
    validated = of_type(run(cells(config), config)[0], Validated)
    assert [event.step for event in validated] == [3, 6, 7]


def test_the_first_validation_is_the_best_so_far() -> None:
    config = tiny_config()
    assert of_type(run(cells(config), config)[0], Validated)[0].best


def test_without_paint_to_spare_it_judges_the_paint_and_never_validates() -> None:
    config = tiny_config()
    events, result = run(data_of(*painted_cells(40), config), config)
    assert of_type(events, PaintJudged)
    assert not of_type(events, Validated)
    assert result.trained.record.history == []


@pytest.mark.parametrize(
    "event",
    [
        TrainingStarted("CPU", 1, 2, 3, 4),
        StepDone(1, 0.5, 0.5, 1.0),
        Validated(1, 0.5, 0.5, None, True),
        Notice("a"),
    ],
    ids=lambda event: type(event).__name__,
)
def test_events_are_frozen(event: Any) -> None:
    with pytest.raises(FrozenInstanceError):
        setattr(event, fields(event)[0].name, 1)


# --- stop --------------------------------------------------------------------------------------


def test_a_stop_ends_the_training_after_the_step() -> None:
    config = tiny_config(steps=1000)
    stop = threading.Event()
    events, result = run(cells(config), config, stop=stop, watch=stop_after(stop, 2))
    assert len(of_type(events, StepDone)) == 2
    assert result.stopped


def test_a_stop_does_not_wait_for_a_validation() -> None:
    config = tiny_config(steps=1000, validate_every=2)
    stop = threading.Event()
    events, _ = run(cells(config), config, stop=stop, watch=stop_after(stop, 2))
    assert not of_type(events, Validated)


def test_a_stopped_training_keeps_its_model() -> None:
    config = tiny_config(steps=1000, validate_every=2)
    result = stopped_after(3, config)
    assert result.trained.record.steps == 3
    assert all_finite(dict(result.trained.network.state_dict()))


def test_a_stop_before_the_first_step_still_gives_a_model() -> None:
    config = tiny_config()
    stop = threading.Event()
    stop.set()
    events, result = run(cells(config), config, stop=stop)
    assert not of_type(events, StepDone)
    assert result.stopped
    assert all_finite(dict(result.trained.network.state_dict()))


def test_a_finished_training_is_not_called_stopped() -> None:
    config = tiny_config(steps=1)
    assert not run(cells(config), config)[1].stopped


# --- patience ----------------------------------------------------------------------------------


def scores(monkeypatch: pytest.MonkeyPatch, values: Iterator[float]) -> None:
    """Let validations find these IoUs, one after the other."""
    monkeypatch.setattr(validation, "validate", lambda *_: ValidationScore(1.0, next(values), None))
    monkeypatch.setattr(validation, "judge_painted_cells", lambda *_: ())


def test_without_a_gain_it_ends_when_patience_does(monkeypatch: pytest.MonkeyPatch) -> None:
    scores(monkeypatch, itertools.chain([0.5, 0.7], itertools.repeat(0.7)))
    config = tiny_config(steps=100, validate_every=3, patience=2)
    events, result = run(cells(config), config)
    assert [event.step for event in of_type(events, Validated)] == [3, 6, 9, 10, 12]
    assert (result.state.step, result.settled, result.stopped) == (12, True, False)


def test_while_scores_rise_all_steps_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    scores(monkeypatch, itertools.count(0.1, 0.01))
    config = tiny_config(steps=21, validate_every=3, patience=1)
    result = run(cells(config), config)[1]
    assert (result.state.step, result.settled) == (21, False)


def test_many_small_gains_are_a_gain(monkeypatch: pytest.MonkeyPatch) -> None:
    scores(monkeypatch, itertools.count(0.1, 0.004))
    config = tiny_config(steps=21, validate_every=3, patience=2)
    result = run(cells(config), config)[1]
    assert (result.state.step, result.settled) == (21, False)


def test_without_patience_set_all_steps_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    scores(monkeypatch, itertools.repeat(0.5))
    config = tiny_config(steps=21, validate_every=3)
    assert run(cells(config), config)[1].state.step == 21


# --- minutes -----------------------------------------------------------------------------------


def test_minutes_end_the_training_in_time() -> None:
    config = tiny_config(minutes=1.0 / 60, steps=1_000_000)
    data = cells(config)
    before = time.monotonic()
    events, result = run(data, config)
    assert 0.9 < time.monotonic() - before < 3
    assert of_type(events, StepDone)[-1].seconds_left < 0.5
    assert not result.stopped


def test_minutes_include_the_validations(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a clock of its own: a step takes a second, a validation thirty."""
    now = [0.0]
    right = Trainer.train_step

    def step(self: Trainer, progress: float) -> float:
        now[0] += 1
        return right(self, progress)

    def slowly(runner: object, data: object) -> ValidationScore:
        now[0] += 30
        return ValidationScore(1.0, 0.5, None)

    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(Trainer, "train_step", step)
    monkeypatch.setattr(validation, "validate", slowly)
    config = tiny_config(minutes=1.0, validate_every=10)
    run(cells(config), config)
    assert now[0] <= 61


def test_minutes_count_from_the_given_start() -> None:
    config = tiny_config(minutes=1.0)
    events, _ = run(cells(config), config, started=time.monotonic() - 61)
    assert not of_type(events, StepDone)


def test_where_minutes_decide_no_number_of_steps_is_promised() -> None:
    config = tiny_config(minutes=0.2 / 60)
    assert run(cells(config), config)[0][0].steps == 0


def test_a_device_that_does_not_exist_is_named() -> None:
    config = tiny_config(device="abacus")
    with pytest.raises(DeviceError, match="'abacus'"):
        run(cells(config), config)
