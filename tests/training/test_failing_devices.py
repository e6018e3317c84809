"""A device that fails while training costs nothing that was learned before.

There is no GPU here: the trainings compute on the CPU, under the name of a GPU where it matters.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import torch

from napari_unet.errors import DeviceError
from napari_unet.model.unet import UNet
from napari_unet.run import Notice
from napari_unet.training import loop
from napari_unet.training import state as kept_state
from napari_unet.training.checkpoint import load_state, save_state
from napari_unet.training.events import StepDone, TrainingStarted
from napari_unet.training.trainer import Trainer

from .builders import cells, of_type, run, same_weights
from .builders import tiny_config as config_anywhere

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

tiny_config = partial(config_anywhere, device="cpu")  # which pretends to be another device

DEAD = RuntimeError("CUDA error: unspecified launch failure\nCompile with TORCH_USE_CUDA_DSA")
LACKING = NotImplementedError("The operator 'aten::max_pool3d' is not implemented for MPS.")


def texts(events: list[Any]) -> list[str]:
    return [event.text for event in of_type(events, Notice)]


class Device:
    """The CPU under the name of another device: as far as the loop asks."""

    def __init__(self, kind: str) -> None:
        self.type = kind


def train_on_gpu(
    monkeypatch: pytest.MonkeyPatch, fails_at: int, error: Exception, kind: str = "cuda"
) -> None:
    """Let trainings begin on a pretended GPU, that fails at a step."""
    right = Trainer.train_step
    monkeypatch.setattr(loop, "choose_device", lambda name: Device(kind))
    monkeypatch.setattr(loop, "describe", lambda device: "CPU" if _is_cpu(device) else "A GPU")
    monkeypatch.setattr(loop, "memory_used", lambda device: 1)
    monkeypatch.setattr(loop, "unused_gpu", lambda name, device: ())
    make = Trainer.__init__

    def made(self: Trainer, data: Any, config: Any, device: Any, *others: Any) -> None:
        make(self, data, config, torch.device("cpu"), *others)
        self.pretended = device  # type: ignore[attr-defined]

    def step(self: Trainer, progress: float) -> float:
        if not _is_cpu(self.pretended) and self.step + 1 >= fails_at:  # type: ignore[attr-defined]
            self.step += 1
            raise error
        return right(self, progress)

    monkeypatch.setattr(Trainer, "__init__", made)
    monkeypatch.setattr(Trainer, "train_step", step)


def _is_cpu(device: Any) -> bool:
    return bool(device.type == "cpu")


@pytest.mark.fault(11)
@pytest.mark.fault(12)
@pytest.mark.parametrize(
    ("error", "kind"), [(DEAD, "cuda"), (LACKING, "mps")], ids=["NVIDIA", "Apple"]
)
def test_a_gpu_that_fails_at_once_is_told_and_the_cpu_trains(
    monkeypatch: pytest.MonkeyPatch, error: Exception, kind: str
) -> None:
    config = tiny_config(device="auto")
    data = cells(config)
    expected = run(data, tiny_config())[1].state
    train_on_gpu(monkeypatch, 1, error, kind)
    events, result = run(data, config)
    reason = str(error).splitlines()[0]
    assert texts(events) == [f"The GPU failed: {reason} The training begins anew on the CPU."]
    assert len(of_type(events, StepDone)) == 6
    assert len(of_type(events, TrainingStarted)) == 2
    assert same_weights(result.state.last, expected.last)


@pytest.mark.fault(11)
def test_a_gpu_that_was_asked_for_by_name_is_not_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    config = tiny_config(device="cuda")
    data = cells(config)
    train_on_gpu(monkeypatch, 1, DEAD)
    with pytest.raises(DeviceError) as caught:
        run(data, config)
    assert str(caught.value) == (
        "The GPU failed: CUDA error: unspecified launch failure Train on the CPU (device 'cpu')."
    )


@pytest.mark.fault(1)
@pytest.mark.fault(11)
def test_a_gpu_that_fails_later_costs_nothing_that_was_validated(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """All that lies on such a GPU is lost: nothing can be copied from it any more."""
    config = tiny_config(device="auto", steps=9)
    data = cells(config)
    train_on_gpu(monkeypatch, 5, DEAD)

    def lost(trainer: Trainer) -> None:
        raise DEAD

    monkeypatch.setattr(kept_state, "training_state", lost)
    events, result = run(data, config)
    assert texts(events) == [
        "Training ended early, the best network is kept: CUDA error: unspecified launch failure"
    ]
    best = result.state.best
    assert same_weights(dict(result.trained.network.state_dict()), best)
    assert same_weights(dict(result.latest.network.state_dict()), best)
    save_state(result.state, tmp_path / "x.safetensors")
    monkeypatch.undo()
    state = load_state(tmp_path / "x.safetensors")
    assert state.step == 3
    again, _ = run(data, config, resume=state)
    assert [event.step for event in of_type(again, StepDone)] == [4, 5, 6, 7, 8, 9]


@pytest.mark.fault(1)
@pytest.mark.parametrize("call", [4, 5], ids=["in a step", "in the next"])
def test_an_error_in_the_loop_keeps_the_best_network_and_says_so(
    monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    config = tiny_config(steps=9)
    data = cells(config)
    right, calls = UNet.forward, iter(range(1, 1000))

    def forward(self: UNet, images: Tensor) -> Tensor:
        if self.training and next(calls) == call:
            raise RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED\nmore")
        return right(self, images)

    monkeypatch.setattr(UNet, "forward", forward)
    events, result = run(data, config)
    assert texts(events) == [
        "Training ended early, the best network is kept: cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"
    ]
    assert result.stopped
    assert same_weights(dict(result.trained.network.state_dict()), result.state.best)


@pytest.mark.fault(1)
def test_an_error_before_anything_was_learned_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    config = tiny_config()
    data = cells(config)

    def forward(self: UNet, images: Tensor) -> Tensor:
        raise RuntimeError("a wrong shape")

    monkeypatch.setattr(UNet, "forward", forward)
    with pytest.raises(RuntimeError, match="a wrong shape"):
        run(data, config)


@pytest.mark.fault(11)
def test_a_gpu_that_is_passed_over_is_told_in_the_beginning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(loop, "unused_gpu", lambda name, device: (f"{name}: an old GPU.",))
    config = tiny_config(steps=1)
    events, _ = run(cells(config), config)
    assert isinstance(events[0], TrainingStarted)
    assert texts(events).count("cpu: an old GPU.") == 1
