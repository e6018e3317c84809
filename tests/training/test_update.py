"""The update of a step: made or not made on the device, and nobody waits for the answer."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode

from device import DEVICE
from napari_unet.training.config import Optimiser, TrainConfig
from napari_unet.training.networks import (
    ReducedNetwork,
    copy_weights,
    pieces,
    random_network,
)
from napari_unet.training.trainer import Trainer
from napari_unet.training.update import (
    Buffers,
    LossReader,
    average_where,
    new_average,
    new_optimiser,
    optimiser_tensors,
    restore_optimiser,
    step_where,
)

from .builders import cells, same_weights, tiny_config

CPU = torch.device("cpu")
TRUE, FALSE = torch.tensor(True), torch.tensor(False)
OPTIMISERS: list[Optimiser] = ["adamw", "sgd"]
# What tensors ask the device when Python wants a number, a truth or a size from them.
_WAITING = {
    "_local_scalar_dense",
    "nonzero",
    "masked_select",
    "is_nonzero",
    "equal",
    "item",
    "_unique2",
}


class Waits(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Collects the operations for whose result the program waits."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if name in _WAITING:
            self.found.append(name)
        return func(*args, **(kwargs or {}))


class NeverRead(LossReader):
    """Reads no loss, as where it is read a step later."""

    def read(self, step: int, loss: torch.Tensor) -> tuple[int, float]:
        return step, 1.0


@pytest.mark.parametrize(
    "changes",
    [{}, {"optimiser": "sgd"}, {"precision": "bfloat16"}, {"kind": "classes"}],
    ids=["fast", "sgd", "bfloat16", "classes"],
)
def test_no_step_waits_for_the_device(changes: dict[str, Any]) -> None:
    config = tiny_config(**changes)
    trainer = Trainer(cells(config), config, DEVICE, None)
    trainer._losses = NeverRead(DEVICE)
    trainer.train_step(0.5)
    with Waits() as waits:
        trainer.train_step(0.5)
    assert waits.found == []


def test_a_step_with_a_teacher_waits_for_nothing_either() -> None:
    config = tiny_config(start="cells", base_channels=16, depth=3)
    trainer = Trainer(cells(config), config, DEVICE, None)
    trainer.teachers.starting_model = _any_teacher(trainer)
    trainer._losses = NeverRead(DEVICE)
    with Waits() as waits:
        trainer.train_step(0.5)
    assert waits.found == []


def _any_teacher(trainer: Trainer) -> Any:
    from napari_unet.training.distillation import Teacher

    return Teacher(trainer.network.folded(), 1.0)


def test_a_wait_would_be_found() -> None:
    with Waits() as waits:
        bool(torch.ones(()) > 0)
        float(torch.ones(()))
    assert len(waits.found) == 2


def test_on_the_cpu_the_loss_is_that_of_the_step() -> None:
    assert LossReader(CPU).read(3, torch.tensor(0.5)) == (3, 0.5)


# --- only where finite -------------------------------------------------------------------------


def with_gradients(optimiser: Optimiser) -> Any:
    config = tiny_config(optimiser=optimiser)
    network = random_network(config.network(1, 2), 0).to(  # type: ignore[call-overload]
        memory_format=torch.channels_last
    )
    network(torch.ones(1, 1, 16, 16)).square().mean().backward()
    return network, new_optimiser(network, config), config


@pytest.mark.parametrize("optimiser", OPTIMISERS)
@pytest.mark.parametrize("before", [0, 2], ids=["at first", "later"])
def test_an_optimiser_that_is_not_to_step_changes_nothing(
    optimiser: Optimiser, before: int
) -> None:
    network, rule, _ = with_gradients(optimiser)
    for _ in range(before):
        step_where(TRUE, rule)
    weights, state = copy_weights(network), optimiser_tensors(rule, network)
    for parameter in network.parameters():
        parameter.grad.fill_(torch.nan)
    step_where(FALSE, rule)
    assert same_weights(copy_weights(network), weights)
    for name, value in optimiser_tensors(rule, network).items():
        assert torch.equal(value, state.get(name, torch.zeros_like(value)))


@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_one_pass_over_all_weights_is_the_rule_as_published(optimiser: Optimiser) -> None:
    network, rule, config = with_gradients(optimiser)
    twin, _, _ = with_gradients(optimiser)
    kinds: dict[str, Any] = {
        "adamw": lambda p: torch.optim.AdamW(
            p, config.learning_rate, (config.momentum, 0.999), weight_decay=config.weight_decay
        ),
        "sgd": lambda p: torch.optim.SGD(
            p, config.learning_rate, config.momentum, weight_decay=config.weight_decay
        ),
    }
    plain = kinds[optimiser](twin.parameters())
    for _ in range(4):
        step_where(TRUE, rule)
        plain.step()
    for one, other in zip(network.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_a_restored_optimiser_goes_on_alike(optimiser: Optimiser) -> None:
    network, rule, config = with_gradients(optimiser)
    step_where(TRUE, rule)
    twin, _, _ = with_gradients(optimiser)
    twin.load_state_dict(network.state_dict())
    other = new_optimiser(twin, config)
    restore_optimiser(other, twin, optimiser_tensors(rule, network))
    for each in (rule, other):
        step_where(TRUE, each)
    assert same_weights(copy_weights(network), copy_weights(twin))


def test_buffers_come_back_after_a_bad_step_and_stay_after_a_good_one() -> None:
    network = random_network(tiny_config().network(1, 2), 0).train()
    before = copy_weights(network)
    buffers = Buffers(network)
    network(torch.full((1, 1, 16, 16), torch.nan))
    buffers.restore_unless(FALSE)
    assert same_weights(copy_weights(network), before)
    buffers = Buffers(network)
    network(torch.rand(1, 1, 16, 16))
    after = copy_weights(network)
    buffers.restore_unless(TRUE)
    assert same_weights(copy_weights(network), after)
    assert not same_weights(before, after)


def test_a_network_without_buffers_has_none_to_restore() -> None:
    Buffers(torch.nn.Conv2d(1, 1, 1)).restore_unless(FALSE)


def test_weights_are_in_one_piece_of_memory_and_stay_what_they_are() -> None:
    network = random_network(tiny_config().network(1, 2), 0).to(  # type: ignore[call-overload]
        memory_format=torch.channels_last
    )
    before, strides = copy_weights(network), [p.stride() for p in network.parameters()]
    (piece,) = pieces(network.parameters())
    assert same_weights(copy_weights(network), before)
    assert [p.stride() for p in network.parameters()] == strides
    piece.mul_(2)
    assert all(torch.equal(p, 2 * before[name]) for name, p in network.named_parameters())
    assert pieces(network.parameters())[0].data_ptr() == piece.data_ptr()


def test_a_step_calls_torch_at_most_1100_times_with_inner_calls() -> None:
    config = TrainConfig(start="cells", device="cpu")
    trainer = Trainer(cells(config), config, CPU, None)
    with trainer.batches:  # drawn in a thread of their own
        trainer.train_step(0.5)
        with profile(activities=[ProfilerActivity.CPU]) as profiled:
            trainer.train_step(0.5)
    calls = [e for e in profiled.events() if e.name.startswith("aten::")]  # and inner ones
    assert 200 < len(calls) <= 1100


def test_the_average_begins_with_the_first_weights_and_follows_slowly() -> None:
    layer = torch.nn.Conv2d(1, 1, 1)
    averaged = new_average(layer, CPU)
    expected = None
    for met in range(300):
        with torch.no_grad():
            layer.weight.fill_(float(met % 7))
        average_where(TRUE, averaged, layer)
        decay = min(0.99, (1 + met) / (10 + met)) if met else 0.0
        previous = 0.0 if expected is None else expected
        expected = previous + (1 - decay) * (met % 7 - previous)
    weight = averaged.module.weight
    assert isinstance(weight, torch.Tensor)
    assert weight.item() == pytest.approx(expected, rel=1e-4)
    assert int(averaged.n_averaged) == 300


def test_a_bad_step_leaves_the_average_alone() -> None:
    network = random_network(tiny_config().network(1, 2), 0)
    averaged = new_average(network, CPU)
    average_where(TRUE, averaged, network)
    before = copy_weights(averaged)
    with torch.no_grad():
        next(network.parameters()).add_(1)
    average_where(FALSE, averaged, network)
    assert same_weights(copy_weights(averaged), before)


# --- a GPU -------------------------------------------------------------------------------------


@pytest.fixture
def waited_for(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """On the CPU, with stand-ins for what torch has of a GPU: the events that were waited for."""
    found: list[Any] = []

    class Event:
        def record(self, stream: object) -> None:
            pass

        def synchronize(self) -> None:
            found.append(self)

    right = torch.empty
    monkeypatch.setattr(torch, "empty", lambda shape, pin_memory: right(shape))
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: None)
    return found


def test_a_loss_on_a_gpu_is_read_a_step_later(waited_for: list[Any]) -> None:
    reader = LossReader(torch.device("cuda"))
    told = [reader.read(step, torch.tensor(step / 2)) for step in (1, 2, 3)]
    assert told == [(1, 0.5), (1, 0.5), (2, 1.0)]
    assert waited_for[0] is waited_for[1]
    assert len(set(waited_for)) == 2


@pytest.mark.fault(13)
def test_a_first_loss_on_a_gpu_that_is_no_number_is_told_once(waited_for: list[Any]) -> None:
    reader = LossReader(torch.device("cuda"))
    losses = (torch.nan, torch.nan, 1.0, 2.0, 3.0)
    told = [reader.read(step, torch.tensor(loss)) for step, loss in enumerate(losses, 1)]
    assert [step for step, loss in told if loss != loss] == [1, 2]
    assert [loss for _, loss in told[2:]] == [1.0, 1.0, 2.0]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_on_a_gpu_no_step_synchronises(optimiser: Optimiser) -> None:
    config = tiny_config(device="cuda", precision="bfloat16", optimiser=optimiser)
    trainer = Trainer(cells(config), config, torch.device("cuda"), None)
    with trainer.batches:
        for _ in range(3):
            trainer.train_step(0.5)
        torch.cuda.set_sync_debug_mode("error")
        try:
            losses = [trainer.train_step(0.5) for _ in range(3)]
        finally:
            torch.cuda.set_sync_debug_mode("default")
    assert all(0 < loss < 100 for loss in losses)


def test_weights_converted_in_one_pass_learn_what_autocast_learns() -> None:
    config = tiny_config(precision="bfloat16")
    networks = [random_network(config.network(1, 2), 0) for _ in range(2)]
    for network in networks:
        new_optimiser(network, config)
    images = torch.rand(2, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", torch.bfloat16):
        networks[0](images).float().square().mean().backward()
    reduced = ReducedNetwork(networks[1], torch.bfloat16)
    reduced(images).float().square().mean().backward()
    reduced.hand_over()
    for one, other in zip(*(network.parameters() for network in networks), strict=True):
        assert torch.equal(one.grad, other.grad)
