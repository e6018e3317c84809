"""The training loop, as a generator of events: read it top-down, it is the whole story."""

from __future__ import annotations

import math
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_unet.model.devices import choose_device, describe
from napari_unet.training.events import Notice, StepDone, TrainingEvent, TrainingStarted
from napari_unet.training.trainer import Trainer

if TYPE_CHECKING:
    import threading
    from collections.abc import Generator, Iterator

    from napari_unet.model.trained import TrainedNetwork
    from napari_unet.training.checkpoint import TrainingState
    from napari_unet.training.config import TrainConfig
    from napari_unet.training.dataset import TrainingData


# Of a time limit this much is kept for writing the model file, but at most a twentieth.
_CLOSING_SECONDS = 1.5


@dataclass(frozen=True)
class TrainingResult:
    """What a finished or stopped training leaves.

    Parameters
    ----------
    trained : TrainedNetwork
        The weights of the best validation, or the last ones where none was made.
    state : TrainingState
        From which the training can go on.
    stopped : bool
        Whether it was stopped before its planned end.
    """

    trained: TrainedNetwork
    state: TrainingState
    stopped: bool


def train_network(
    data: TrainingData,
    config: TrainConfig,
    stop: threading.Event,
    resume: TrainingState | None = None,
    started: float | None = None,
) -> Generator[TrainingEvent, None, TrainingResult]:
    """Train a U-Net, step by step.

    Parameters
    ----------
    data : TrainingData
        What to learn from.
    config : TrainConfig
        How.
    stop : threading.Event
        Set it from any thread to end the training after the current step.
    resume : TrainingState, optional
        Where to go on.
    started : float, optional
        `time.monotonic()` from which ``config.minutes`` counts; now by default.

    Yields
    ------
    TrainingEvent
        One `StepDone` per step, `Validated` now and then, `Notice` where something is unusual.

    Returns
    -------
    TrainingResult
        Also after a stop.

    Raises
    ------
    DeviceError
        The device does not work.
    """
    device = choose_device(config.device)
    trainer = Trainer(data, config, device, resume)
    clock = _Clock(config, trainer.seconds, started)
    yield TrainingStarted(
        describe(device),
        len(data.frames),
        data.painted,
        len(data.blocks),
        0 if config.minutes else config.steps,
    )
    for text in data.notices:
        yield Notice(text)
    finished = clock.finished(trainer.step)
    if finished and trainer.step == 0:
        yield Notice("The time was over before the first step: the network is untrained.")
    while not finished and not stop.is_set():
        try:
            with clock.timing_step():
                loss = trainer.train_step(clock.progress(trainer.step))
        except (RuntimeError, MemoryError) as error:  # out of memory, CUDA and the like
            if not trainer.best:
                raise
            yield Notice(f"Training ended early, the best network is kept: {_first_line(error)}")
            break
        if not math.isfinite(loss):
            yield trainer.recover()
        else:
            progress = clock.progress(trainer.step)
            yield StepDone(trainer.step, loss, progress, clock.seconds_left(trainer.step))
        finished = clock.finished(trainer.step)
        due = finished or trainer.step % config.validate_every == 0
        if data.blocks and due and clock.can_validate() and not stop.is_set():
            with clock.timing_validation():
                validated = trainer.validate()
            yield validated
            finished = clock.finished(trainer.step)
    trainer.seconds = clock.total()
    return TrainingResult(trainer.trained(), trainer.state(), stopped=not finished)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


class _Clock:
    """Tell how far a training is: by steps, or by time, which keeps some for a last validation."""

    def __init__(self, config: TrainConfig, seconds_before: float, started: float | None) -> None:
        now = time.monotonic()
        self._limit = config.minutes * 60 - min(_CLOSING_SECONDS, config.minutes * 3)
        self._steps = config.steps
        self._origin = now if started is None else started
        self._seconds_before = seconds_before
        self._loop_start = now
        self._first_step: int | None = None
        self._step_seconds = 0.0
        self._validation_seconds = 0.0

    @contextmanager
    def timing_step(self) -> Iterator[None]:
        begin = time.monotonic()
        yield
        self._step_seconds = time.monotonic() - begin

    @contextmanager
    def timing_validation(self) -> Iterator[None]:
        begin = time.monotonic()
        yield
        self._validation_seconds = time.monotonic() - begin

    def elapsed(self) -> float:
        return time.monotonic() - self._origin

    def total(self) -> float:
        return self._seconds_before + self.elapsed()

    def progress(self, step: int) -> float:
        if not self._limit:
            return min(step / self._steps, 1.0)
        reserve = self._step_seconds + self._validation_seconds
        return min((self.elapsed() + reserve) / self._limit, 1.0)

    def finished(self, step: int) -> bool:
        return self.progress(step) >= 1.0

    def can_validate(self) -> bool:
        return not self._limit or self.elapsed() + self._validation_seconds <= self._limit

    def seconds_left(self, step: int) -> float:
        if self._limit:
            return max(0.0, self._limit - self.elapsed())
        if self._first_step is None:
            self._first_step = step - 1
        per_step = (time.monotonic() - self._loop_start) / (step - self._first_step)
        return per_step * (self._steps - step)
