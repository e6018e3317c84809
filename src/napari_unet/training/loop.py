"""The training loop, as a generator of events: read it top-down, it is the whole story."""

from __future__ import annotations

import math
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from napari_unet.errors import (
    DeviceError,
    NapariUNetError,
    NotEnoughMemoryError,
    UnreadableError,
    first_line,
)
from napari_unet.model.devices import choose_device, describe, memory_used, unused_gpu
from napari_unet.model.memory import is_out_of_memory
from napari_unet.run import Notice
from napari_unet.training.distributed import ALONE, ProcessGroup
from napari_unet.training.events import (
    AnnotationsJoined,
    Checkpoint,
    Inbox,
    StepDone,
    TrainingEvent,
    TrainingStarted,
)
from napari_unet.training.live import LiveView
from napari_unet.training.preparation import prepare_training
from napari_unet.training.state import best_model, final_model_and_state, training_state
from napari_unet.training.trainer import Trainer

if TYPE_CHECKING:
    import threading
    from collections.abc import Generator, Iterator

    from torch import Tensor

    from napari_unet.data.frames import Beside
    from napari_unet.model.trained import TrainedNetwork
    from napari_unet.training.config import TrainConfig
    from napari_unet.training.dataset import TrainingData
    from napari_unet.training.state import TrainingState
    from napari_unet.training.validation import PaintedCell


# Of a time limit this much is kept for writing the model file, but at most a twentieth.
_CLOSING_SECONDS = 1.5
# The first checkpoint comes soon: who is ended again and again advances all the same. Imports and
# preparation count: where they took longer than this the first step is saved at once. What takes
# longer to write is written less often, so that a twentieth of the time goes into it.
_CHECKPOINT_SECONDS = 2.0
_DEAR_CHECKPOINT = _CHECKPOINT_SECONDS / 20
# What must not cost what was learned; CUDA's errors are RuntimeErrors.
_FAILURES = (RuntimeError, MemoryError, UnreadableError, NotEnoughMemoryError)
# The first score comes sooner than after a minute.
_FIRST_SCORES = (10, 25)


@dataclass(frozen=True)
class TrainingResult:
    """What a finished or stopped training leaves."""

    trained: TrainedNetwork
    """The weights of the best validation, or the last ones where none was made."""
    latest: TrainedNetwork
    """The last weights."""
    state: TrainingState
    """From which the training can go on."""
    data: TrainingData
    """What it learned from in the end."""
    stopped: bool
    """Whether it was stopped before its planned end."""
    settled: bool = False
    """Whether it ended before its planned end because its scores rose no more."""
    painted_cells: tuple[PaintedCell, ...] = ()
    """What `trained` makes of the painted cells; empty where they are not judged."""
    start_kept: bool = False
    """Whether `trained` is what the training began with: nothing scored better."""
    beside: Beside | None = None
    """What was shown beside the network while it trained, where that was not it alone. It is in no
    model file.
    """


def train_network(
    data: TrainingData,
    config: TrainConfig,
    stop: threading.Event,
    previous: TrainingState | TrainedNetwork | None = None,
    started: float | None = None,
    inbox: Inbox | None = None,
    group: ProcessGroup = ALONE,
) -> Generator[TrainingEvent, None, TrainingResult]:
    """Train a U-Net, step by step; there is a result also after a stop.

    `stop` may be set from any thread; the training ends after the current step. `previous` is an
    interrupted training to go on with exactly, or a model to train further. ``config.minutes``
    counts from `started`, a `time.monotonic()`, now by default. An inbox brings newly painted
    labels, and what is on screen. Without one, several processes may train together, all of them
    on the same data: the first alone validates and makes checkpoints.

    Raises DeviceError if the device does not work, ModelMismatchError if what is to go on does not
    fit the images or the settings.
    """
    device = choose_device(group.device(config.device))
    notices = unused_gpu(config.device, device)
    started = time.monotonic() if started is None else started
    inbox = Inbox() if inbox is None else inbox
    trainer: Trainer | None = None
    try:
        trainer = Trainer(data, config, device, previous, group)
        return (yield from _train(trainer, notices, stop, started, inbox))
    except RuntimeError as error:
        if device.type == "cpu" or not group.alone:
            raise
        problem = f"The GPU failed: {first_line(error)}"
        learned = trainer is not None and trainer.learned
        if config.device != "auto" or learned or is_out_of_memory(error):
            raise DeviceError(f"{problem} Train on the CPU (device 'cpu').") from error
    cpu = torch.device("cpu")
    notices = (f"{problem} The training begins anew on the CPU.",)
    trainer = Trainer(data, config, cpu, previous, group)
    return (yield from _train(trainer, notices, stop, started, inbox))


def _train(
    trainer: Trainer, notices: tuple[str, ...], stop: threading.Event, started: float, inbox: Inbox
) -> Generator[TrainingEvent, None, TrainingResult]:
    """Train where the trainer lies, from the first event to the result."""
    data, config, group = trainer.data, trainer.config, trainer.group
    clock = _Clock(trainer, started, stop)
    live = LiveView(trainer, inbox)
    device = describe(trainer.device)
    yield TrainingStarted(
        device if group.alone else f"{group.size} x {device}",
        len(data.frames),
        data.painted,
        len(data.blocks),
        0 if config.minutes else trainer.planned_steps,
    )
    yield from map(Notice, (*notices, *data.notices))
    yield from trainer.take_notices()
    finished = clock.finished()
    if finished and trainer.step == 0:
        yield Notice("The time was over before the first step: the network is untrained.")
    # random weights would show noise
    if trainer.step or trainer.knows_something or trainer.classifier:
        yield from live.update(stop)
    start: dict[str, Tensor] = {}
    begin, unscored = trainer.step, trainer.knows_something and not trainer.step_in_cycle
    if unscored and group.first:
        yield from _begin_with_start(trainer)
        start = trainer.best.weights
    elif group.first:
        yield from _look_at_best(trainer)
    with trainer.batches:
        while not finished and not clock.stopped():
            yield from _join_annotations(trainer, inbox)
            try:
                done = _take_step(trainer, clock)
                yield from trainer.take_notices()
                yield done
                if unscored and not clock.stopped():  # what is seen first does not wait for it
                    yield from _look_at_start(trainer, begin) if group.first else ()
                    unscored = False
                finished = clock.finished()
                due = finished or _assessed_after(trainer.step_in_cycle, config)
                if due and clock.can_validate() and not clock.stopped():
                    with clock.timing_validation():  # the others wait for the first rank
                        assessed = trainer.assess() if group.first else []
                    yield from assessed
                    yield from trainer.take_notices()
                    finished = clock.finished()
                    clock.settled = trainer.settled
                if group.first and (clock.checkpoint_due() or inbox.checkpoint_wanted.is_set()):
                    inbox.checkpoint_wanted.clear()
                    with clock.timing_checkpoint():
                        yield Checkpoint(best_model(trainer), training_state(trainer))
            except _FAILURES as error:
                if not (trainer.worth_keeping and group.alone):  # others would wait for ever
                    raise
                kept = "best" if trainer.best.weights else "last"
                yield Notice(
                    f"Training ended early, the {kept} network is kept: {first_line(error)}"
                )
                break
            yield from live.update(stop)
    trainer.seconds = clock.total()
    if group.first:
        trainer.measure_agreement()
    latest, state = final_model_and_state(trainer)
    return TrainingResult(
        best_model(trainer),
        latest,
        state,
        trainer.data,
        stopped=not finished and not clock.settled,
        settled=clock.settled and not finished,
        painted_cells=trainer.best.cells,
        start_kept=bool(start) and trainer.best.weights is start,
        beside=trainer.beside,
    )


def _begin_with_start(trainer: Trainer) -> Iterator[TrainingEvent]:
    """Keep what the training begins with: it is a candidate too, to get worse is no way on."""
    try:
        if not trainer.step:
            trainer.fit_statistics()
    except _FAILURES as error:
        yield Notice(f"The starting model is not fitted to these images: {first_line(error)}")
    trainer.keep_start()


def _look_at_start(trainer: Trainer, step: int) -> Iterator[TrainingEvent]:
    """Score what the training began with after a step; without a score nothing speaks for it."""
    try:
        yield from trainer.score_best_anew(step)
    except _FAILURES as error:
        yield Notice(f"What the training begins with is not scored: {first_line(error)}")
    trainer.best.forget_unscored()


def _look_at_best(trainer: Trainer) -> Iterator[TrainingEvent]:
    """Score the best weights on new paint: what comes then is to be no worse than they are."""
    try:
        yield from trainer.score_best_anew(trainer.step)
    except _FAILURES as error:
        yield Notice(f"The best weights are not scored on the new paint: {first_line(error)}")


def _look_at_new_cells(
    trainer: Trainer, data: TrainingData
) -> Generator[Notice, None, tuple[PaintedCell, ...]]:
    try:
        return trainer.judge_new_cells(data)
    except _FAILURES as error:
        yield Notice(f"The new cells are learned without being judged: {first_line(error)}")
    return ()


def _assessed_after(steps: int, config: TrainConfig) -> bool:
    """Return whether scores are due: soon after the start, then every so many steps."""
    return steps % config.validate_every == 0 or steps in _FIRST_SCORES


def _take_step(trainer: Trainer, clock: _Clock) -> StepDone | Notice:
    with clock.timing_step():
        loss = trainer.train_step(clock.progress())
    if not math.isfinite(loss):
        return trainer.recover()
    return StepDone(
        trainer.step,
        loss,
        clock.progress(),
        clock.seconds_left(),
        clock.step_seconds,
        memory_used(trainer.device),
    )


def _join_annotations(trainer: Trainer, inbox: Inbox) -> Iterator[TrainingEvent]:
    """Learn from what was painted since; what cannot be learned from changes nothing."""
    images = inbox.take_annotations()
    if images is None:
        return
    try:
        data = prepare_training(images, trainer.config, trainer.data)
    except NapariUNetError as error:
        yield Notice(f"The training goes on with the previous labels. {error}")
        return
    new_cells = yield from _look_at_new_cells(trainer, data)
    trainer.adopt(data)
    yield AnnotationsJoined(trainer.step, data.painted, len(data.blocks), new_cells)
    yield from _look_at_best(trainer)


class _Clock:
    """How far a training is: by steps, or by time, which keeps some for a last validation.

    Several ranks go by the time of the first one, and stop where any of them is to stop: they
    must ask alike.
    """

    def __init__(self, trainer: Trainer, started: float | None, stop: threading.Event) -> None:
        minutes = trainer.config.minutes
        self._trainer = trainer
        self._limit = minutes * 60 - min(_CLOSING_SECONDS, minutes * 3)
        self._origin = time.monotonic() if started is None else started
        self._stop, self._stop_agreed = stop, False
        self.settled = False  # the first rank alone scores, and knows it
        self._seconds_before = trainer.seconds
        self._loop_start, self._first_step = self.elapsed(), trainer.step
        self._last_checkpoint, self._checkpoint_pause = 0.0, _CHECKPOINT_SECONDS
        self._validation_seconds = 0.0
        self.step_seconds = 0.0

    @contextmanager
    def timing_step(self) -> Iterator[None]:
        begin = self.elapsed()
        yield
        self.step_seconds = self.elapsed() - begin

    @contextmanager
    def timing_validation(self) -> Iterator[None]:
        begin = self._elapsed
        yield
        self._validation_seconds = self.elapsed() - begin

    @contextmanager
    def timing_checkpoint(self) -> Iterator[None]:
        """See how long it takes to make and write one; the first rank alone does."""
        begin = time.monotonic()
        yield
        seconds = time.monotonic() - begin
        self._last_checkpoint = self._elapsed + seconds
        self._checkpoint_pause = _CHECKPOINT_SECONDS * max(1.0, seconds / _DEAR_CHECKPOINT)

    def elapsed(self) -> float:
        """Read the seconds since the start of the first rank, and whether any is to stop."""
        own = time.monotonic() - self._origin
        group = self._trainer.group
        self._elapsed, self._stop_agreed = group.agree(own, self._stop.is_set() or self.settled)
        return self._elapsed

    def stopped(self) -> bool:
        self.elapsed()
        return self._stop_agreed

    def total(self) -> float:
        return self._seconds_before + self.elapsed()

    def progress(self) -> float:
        if not self._limit:
            return min(self._trainer.step_in_cycle / self._trainer.planned_steps, 1.0)
        reserve = self.step_seconds + self._validation_seconds
        return min((self._elapsed + reserve) / self._limit, 1.0)

    def finished(self) -> bool:
        return self.progress() >= 1.0

    def can_validate(self) -> bool:
        return not self._limit or self._elapsed + self._validation_seconds <= self._limit

    def checkpoint_due(self) -> bool:
        """Every now and then: writing is not free, and seldom needed."""
        return self._elapsed - self._last_checkpoint >= self._checkpoint_pause

    def seconds_left(self) -> float:
        if self._limit:
            return max(0.0, self._limit - self._elapsed)
        done = max(1, self._trainer.step - self._first_step)
        per_step = (self._elapsed - self._loop_start) / done
        return per_step * max(0, self._trainer.planned_steps - self._trainer.step_in_cycle)
