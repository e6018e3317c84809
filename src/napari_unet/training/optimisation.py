"""The update rule, its learning rate over time, and the running average of the weights."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

    from napari_unet.model.unet import UNet
    from napari_unet.training.config import TrainConfig

_WARM_UP = 0.05  # share of the training in which the learning rate rises
_FINAL_RATE = 0.01  # share of the peak learning rate at the end
_AVERAGING_DECAY = 0.99


def rate_schedule(progress: float) -> float:
    """Return the learning rate, relative to its peak: a short linear rise, then half a cosine."""
    if progress < _WARM_UP:
        return max(progress, 0.002) / _WARM_UP
    fall = (progress - _WARM_UP) / (1 - _WARM_UP)
    return _FINAL_RATE + (1 - _FINAL_RATE) * (1 + math.cos(math.pi * min(fall, 1.0))) / 2


def running_average(averaged: Tensor, current: Tensor, updates: Tensor | int) -> Tensor:
    """Average the weights of about the last 100 steps, of fewer in the beginning.

    Single steps on few labels scatter; their average is better than any of them, and a training
    that is stopped early loses little.
    """
    if not averaged.is_floating_point():  # BatchNorm's count of batches
        return current
    decay = min(_AVERAGING_DECAY, (1 + int(updates)) / (10 + int(updates)))
    return averaged + (1 - decay) * (current - averaged)


def new_optimiser(network: UNet, config: TrainConfig) -> torch.optim.Optimizer:
    """Return the update rule of a training, with its settings."""
    if config.optimiser == "sgd":
        return torch.optim.SGD(
            network.parameters(),
            lr=config.learning_rate,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
        )
    return torch.optim.AdamW(
        network.parameters(),
        lr=config.learning_rate,
        betas=(config.momentum, 0.999),
        weight_decay=config.weight_decay,
    )


def optimiser_tensors(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Copy the state of an update rule, under "parameter number.name"."""
    tensors = {}
    for number, entries in optimiser.state_dict()["state"].items():
        for name, value in entries.items():
            if value is not None:  # SGD has no buffer before its first step
                tensors[f"{number}.{name}"] = torch.as_tensor(value).detach().to("cpu", copy=True)
    return tensors


def restore_optimiser(optimiser: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Put back what :func:`optimiser_tensors` copied."""
    content = optimiser.state_dict()
    entries: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        number, _, name = key.partition(".")
        entries.setdefault(int(number), {})[name] = tensor.clone()
    content["state"] = entries
    optimiser.load_state_dict(content)
