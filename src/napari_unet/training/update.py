"""One update of a network, or none: decided on the device, so that nothing waits for it.

A step whose loss or gradient is no finite number must change nothing. To ask the device before
each update would let a GPU stand still until the answer has come; so the answer stays a tensor
there, and everything that a step changes follows it: optimiser, running average, and what
BatchNorm has already learned from the bad patch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch
from torch.optim.swa_utils import AveragedModel

if TYPE_CHECKING:
    from torch import Tensor, nn

_AVERAGING_DECAY = 0.99


def new_average(network: nn.Module, device: torch.device) -> AveragedModel:
    """Return the running average of a network, which as yet has met nothing."""
    return AveragedModel(network, device=device, use_buffers=True)


def step_where(finite: Tensor, optimiser: torch.optim.Optimizer) -> None:
    """Make a step of an optimiser, if a tensor () on its device is true."""
    if optimiser.defaults["fused"]:
        # What torch's GradScaler tells fused optimisers, which then leave all as it is.
        optimiser.found_inf = (~finite).float()  # type: ignore[attr-defined]
        optimiser.step()
    elif finite:  # waits: a device without fused optimisers
        optimiser.step()


@torch.no_grad()
def average_where(finite: Tensor, averaged: AveragedModel, network: nn.Module) -> None:
    """Average the weights of about the last 100 steps, of fewer in the beginning.

    Single steps on few labels scatter; their average is better than any of them, and a training
    that is stopped early loses little. Nothing is added unless `finite`, () bool, is true.
    """
    met: Tensor = averaged.n_averaged
    decay = ((1 + met) / (10 + met)).clamp(max=_AVERAGING_DECAY)
    weight = torch.where(met == 0, 1.0, 1 - decay) * finite  # 0 changes nothing
    for average, parameter in zip(averaged.module.parameters(), network.parameters(), strict=True):
        average.lerp_(parameter, weight)
    for follower, buffer in zip(averaged.module.buffers(), network.buffers(), strict=True):
        if follower.is_floating_point():
            follower.lerp_(buffer, weight)
        else:  # BatchNorm's count of batches
            follower.copy_(buffer)
    met += finite


class Buffers:
    """The buffers of a network as they are now, to be put back; they stay the same objects."""

    def __init__(self, network: nn.Module) -> None:
        buffers = list(network.buffers())
        kinds = {buffer.dtype for buffer in buffers}
        self._groups = [[b for b in buffers if b.dtype == kind] for kind in kinds]
        self._before = [_flat(group) for group in self._groups]

    def restore_unless(self, finite: Tensor) -> None:
        """Put them back, if a tensor () on their device is false."""
        for group, before in zip(self._groups, self._before, strict=True):
            _fill(group, torch.where(finite, _flat(group), before))

    def finite(self) -> Tensor:
        """Return whether (), bool: all of them are finite now; nothing waits for it."""
        kinds = [group for group in self._groups if group[0].is_floating_point()]
        if not kinds:
            return torch.tensor(True)
        return torch.stack([_flat(group).isfinite().all() for group in kinds]).all()

    def restore(self) -> None:
        """Put them back."""
        for group, before in zip(self._groups, self._before, strict=True):
            _fill(group, before)


def _fill(buffers: list[Tensor], values: Tensor) -> None:
    parts = torch.split(values, [buffer.numel() for buffer in buffers])
    for buffer, part in zip(buffers, parts, strict=True):
        buffer.copy_(part.view_as(buffer))


def _flat(tensors: list[Tensor]) -> Tensor:
    return torch.cat([tensor.detach().reshape(-1) for tensor in tensors])


class LossReader(Protocol):
    """Brings the losses of the steps from the device."""

    def read(self, step: int, loss: Tensor) -> tuple[int, float]:
        """Take the loss () of a step; return a loss that is known, and of which step it is."""
        ...


class ReadAtOnce:
    """Reads each loss at its step: on the CPU there is nothing to wait for."""

    def read(self, step: int, loss: Tensor) -> tuple[int, float]:
        """Return the loss (), and its step."""
        return step, float(loss)


class ReadAStepLater:
    """Reads the loss of the step before, while the GPU computes the present one.

    So the GPU always has work, and the program is never more than one step ahead of it. The
    first loss is waited for, and told twice unless it is no number.
    """

    def __init__(self) -> None:
        self._coming: _Coming | None = None

    def read(self, step: int, loss: Tensor) -> tuple[int, float]:
        """Send for the loss () on a GPU; return that of the step before, and its step."""
        on_host = torch.empty((), pin_memory=True)
        on_host.copy_(loss, non_blocking=True)
        arrival = torch.cuda.Event()  # type: ignore[no-untyped-call]
        arrival.record(torch.cuda.current_stream(loss.device))
        coming = _Coming(step, on_host, arrival)
        previous, self._coming = self._coming or coming, coming
        previous.arrival.synchronize()
        told = float(previous.loss)
        if previous is coming and not math.isfinite(told):  # a failure is told once
            self._coming = None
        return previous.step, told


@dataclass(frozen=True)
class _Coming:
    step: int
    loss: Tensor
    arrival: torch.cuda.Event


def loss_reader(device: torch.device) -> LossReader:
    """Return what reads losses from a device."""
    return ReadAStepLater() if device.type == "cuda" else ReadAtOnce()
