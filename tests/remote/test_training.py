"""A training on another machine: that of this one, whatever becomes of connection and worker."""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from napari_unet.errors import ConfigError, RemoteError
from napari_unet.remote.training import train_on
from napari_unet.run import Notice, Run
from napari_unet.training.events import StepDone, TrainingStarted
from training.builders import cells, run, same_weights, stop_after, tiny_config

from .wire import Wire

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CONFIG = tiny_config(device="cpu", steps=12)
LONG = tiny_config(device="cpu", steps=5000, validate_every=50)

pytestmark = [
    pytest.mark.slow,
    # a worker that is killed leaves its sockets to the collector
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def trained_on(
    address: str,
    config: Any,
    stop: threading.Event | None = None,
    watch: Callable[[Any], object] = lambda event: None,
) -> tuple[list[Any], Any]:
    training = Run(train_on(address, True, cells(config), config, stop or threading.Event()))
    events = []
    for event in training:
        events.append(event)
        watch(event)
    return events, training.result


def told(events: list[Any]) -> str:
    return " ".join(event.text for event in events if isinstance(event, Notice))


def wait_for(condition: Callable[[], object]) -> None:
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)


def same_model(one: Any, other: Any) -> bool:
    pairs = (one.trained, other.trained), (one.latest, other.latest)
    nets = [(a.network.state_dict(), b.network.state_dict()) for a, b in pairs]
    return all(same_weights(a, b) for a, b in [*nets, (one.state.optimiser, other.state.optimiser)])


def test_the_weights_are_those_of_a_training_here(address: str) -> None:
    events, result = trained_on(address, CONFIG)
    here, usual = run(cells(CONFIG), CONFIG)
    assert same_model(result, usual)
    assert result.trained.record.history == usual.trained.record.history
    steps = [(e.step, e.loss) for e in events if isinstance(e, StepDone)]
    assert steps == [(e.step, e.loss) for e in here if isinstance(e, StepDone)]


def test_what_is_there_is_not_sent_again(address: str) -> None:
    trained_on(address, CONFIG)
    events, _ = trained_on(address, CONFIG.changed(seed=3))
    assert "0.0 MB were sent" in told(events)


def test_nothing_of_a_finished_training_stays_but_what_was_sent(address: str, there: Path) -> None:
    trained_on(address, CONFIG)
    assert [each.name for each in there.iterdir()] == ["pieces"]


def test_a_stop_brings_the_model_back(address: str) -> None:
    stop = threading.Event()
    _, result = trained_on(address, LONG, stop, stop_after(stop, 5))
    assert result.stopped
    assert 5 <= result.state.step < 5000


def test_a_previous_training_goes_on_there(address: str) -> None:
    _, half = run(cells(CONFIG), CONFIG.changed(steps=6))
    config = CONFIG.changed(steps=12)
    sent = Run(train_on(address, True, cells(config), config, threading.Event(), half.state))
    result = sent.finish()  # first: a training goes on in the very tensors of its state
    assert same_model(result, run(cells(config), config, resume=half.state)[1])


def test_a_connection_that_is_cut_costs_nothing(address: str) -> None:
    config = CONFIG.changed(steps=300, validate_every=100)
    with Wire(int(address.rpartition(":")[2])) as wire:

        def cut(event: Any) -> None:
            if isinstance(event, StepDone) and event.step in (3, 40):
                wire.cut()
                threading.Timer(0.5, wire.mend).start()

        events, result = trained_on(f"tcp://127.0.0.1:{wire.port}", config, watch=cut)
    assert same_model(result, run(cells(config), config)[1])
    assert "trying again" in told(events)
    steps = [event.step for event in events if isinstance(event, StepDone)]
    assert steps == sorted(set(steps))


def test_who_asks_for_the_same_takes_it_up(address: str) -> None:
    config = CONFIG.changed(steps=200, validate_every=100, seed=7)
    stop = threading.Event()
    with Wire(int(address.rpartition(":")[2])) as wire:

        def leave(event: Any) -> None:
            if isinstance(event, StepDone):
                wire.cut()
                stop.set()

        with pytest.raises(RemoteError, match="the same command takes it up"):
            trained_on(f"tcp://127.0.0.1:{wire.port}", config, stop, leave)
    events, result = trained_on(address, config)
    assert "taken up" in told(events)
    assert not [event for event in events if isinstance(event, TrainingStarted)]
    assert same_model(result, run(cells(config), config)[1])


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="Windows kills in other ways")
def test_a_worker_that_is_killed_goes_on_from_its_checkpoint(address: str, there: Path) -> None:
    config = CONFIG.changed(steps=1500, validate_every=500, seed=9)
    killed: list[int] = []

    def kill(event: Any) -> None:
        if not killed and list(there.glob("*/model.state.safetensors")):
            killed.append(worker_of(address))
            os.kill(killed[0], signal.SIGKILL)

    events, result = trained_on(address, config, watch=kill)
    assert killed
    assert "goes on from step" in told(events)
    assert same_model(result, run(cells(config), config)[1])


def worker_of(address: str) -> int:
    from distributed import Client

    with Client(address, set_as_default=False) as client:  # type: ignore[no-untyped-call]
        (process,) = client.run(os.getpid).values()
        return int(process)


def test_two_trainings_come_one_after_the_other(address: str) -> None:
    stop, second = threading.Event(), list[Any]()
    other = threading.Thread(target=lambda: second.extend(trained_on(address, CONFIG)))

    def begin(event: Any) -> None:
        if isinstance(event, StepDone) and not other.ident:
            other.start()
            threading.Timer(2, stop.set).start()

    trained_on(address, LONG, stop, begin)
    other.join()
    assert "this one begins when it is done" in told(second[0])
    assert same_model(second[1], run(cells(CONFIG), CONFIG)[1])


def test_nobody_answers() -> None:
    with pytest.raises(
        RemoteError, match=r"tcp://127.0.0.1:9 does not answer.*scheduler and worker run"
    ):
        trained_on("tcp://127.0.0.1:9", CONFIG)


def test_a_cluster_is_trusted_only_when_somebody_says_so(address: str) -> None:
    with pytest.raises(ConfigError, match="--trust-cluster"):
        Run(train_on(address, False, cells(CONFIG), CONFIG, threading.Event())).finish()


@pytest.mark.parametrize("on", ["gpu1", "http://gpu1", "tcp://gpu1", ""])
def test_an_address_that_is_none_is_refused(on: str) -> None:
    with pytest.raises(ConfigError, match="is no address of another machine"):
        Run(train_on(on, True, cells(CONFIG), CONFIG, threading.Event())).finish()


def test_an_error_over_there_is_told(address: str) -> None:
    config = CONFIG.changed(device="cuda:77")
    with pytest.raises(RemoteError, match="Device 'cuda:77' cannot be used"):
        trained_on(address, config)
