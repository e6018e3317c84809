"""Batches drawn ahead: the same ones, and nothing is left behind."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from device import DEVICE
from napari_unet.errors import UnreadableError
from napari_unet.training import trainer as trainer_module
from napari_unet.training.events import StepDone
from napari_unet.training.loop import train_network
from napari_unet.training.patches import BatchPrefetcher, PatchSampler

from .builders import cells, of_type, run, same_weights, tiny_config


def threads() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("napari-unet-patches")]


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    yield
    assert threads() == []


def drawn(step: int) -> Any:
    return step, threading.current_thread().name


def other(step: int) -> Any:
    return -step, threading.current_thread().name


def failing(step: int) -> Any:
    if step == 2:
        raise UnreadableError("The image cannot be read.")
    return step


def test_each_step_gets_its_batch_drawn_in_another_thread() -> None:
    with BatchPrefetcher() as batches:
        taken: list[Any] = [batches.take(step, drawn) for step in (1, 2, 3, 7)]
    assert [step for step, _ in taken] == [1, 2, 3, 7]
    assert all(name.startswith("napari-unet-patches") for _, name in taken)


def test_batches_are_drawn_before_they_are_asked_for() -> None:
    begun = [threading.Event() for _ in range(6)]

    def draw(step: int) -> Any:
        begun[step].set()
        return step

    with BatchPrefetcher() as batches:
        batches.take(1, draw)
        assert begun[2].wait(5)
        assert begun[3].wait(5)
        assert not begun[4].is_set()


def test_what_another_sampler_drew_is_forgotten() -> None:
    with BatchPrefetcher() as batches:
        batches.take(1, drawn)
        taken: Any = batches.take(2, other)
    assert taken[0] == -2


def test_an_error_comes_at_the_step_that_needs_the_batch() -> None:
    with BatchPrefetcher() as batches:
        assert batches.take(1, failing) == 1  # type: ignore[comparison-overlap]
        with pytest.raises(UnreadableError, match="cannot be read"):
            batches.take(2, failing)


def test_an_error_nobody_asked_for_is_no_error() -> None:
    with BatchPrefetcher() as batches:
        batches.take(1, failing)


@pytest.fixture
def _two_cores() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("_two_cores")
def test_the_thread_computes_on_one_core_and_the_others_keep_theirs() -> None:
    def cores(step: int) -> Any:
        return torch.get_num_threads()

    seen: list[int] = []
    with BatchPrefetcher() as batches:
        thread = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
        thread.start()
        thread.join()
        drawn_on: Any = batches.take(1, cores)
    assert drawn_on == 1
    assert seen == [2]
    assert torch.get_num_threads() == 2


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere threads have no niceness")
def test_the_thread_is_as_polite_as_the_one_that_trains() -> None:
    def niceness(step: int) -> Any:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    seen: list[Any] = []

    def train() -> None:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 15)
        with BatchPrefetcher() as batches:
            seen.append(batches.take(1, niceness))

    thread = threading.Thread(target=train)
    thread.start()
    thread.join()
    assert seen == [15]


# --- in a training -----------------------------------------------------------------------------


def test_prefetching_changes_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    config = tiny_config(dropout=0.5)
    ahead = run(cells(config), config)[1].state
    monkeypatch.setattr(trainer_module, "BatchPrefetcher", _Plain)
    assert same_weights(ahead.last, run(cells(config), config)[1].state.last)


class _Plain(BatchPrefetcher):
    def __enter__(self) -> _Plain:
        return self

    def __exit__(self, *error: object) -> None:
        pass


def test_an_abandoned_training_leaves_no_thread() -> None:
    config = tiny_config(steps=100)
    training = train_network(cells(config), config, threading.Event())
    while not isinstance(next(training), StepDone):
        pass
    assert len(threads()) == 1
    training.close()
    assert threads() == []


def test_a_training_that_fails_leaves_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    config = tiny_config(validation_share=0.0)
    data = cells(config)
    right = PatchSampler.draw

    def draw(self: PatchSampler, seed: Any) -> Any:
        if seed[-1] == 1:
            raise UnreadableError("The image cannot be read.")
        return right(self, seed)

    monkeypatch.setattr(PatchSampler, "draw", draw)
    events: list[Any] = []
    with pytest.raises(UnreadableError):
        run(data, config, watch=events.append)
    assert of_type(events, StepDone) == []


def test_adopted_data_are_drawn_from_at_once() -> None:
    config = tiny_config()
    trainer = trainer_module.Trainer(cells(config), config, DEVICE, None)
    with trainer.batches:
        trainer.train_step(0.5)
        trainer.adopt(cells(config, size=64))
        ours = trainer.batches.take(2, trainer.sampler.of_step)
    assert np.array_equal(ours.images, trainer.sampler.of_step(2).images)
