"""The update rule, and its learning rate over time."""

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
# Where torch updates all weights in one pass; elsewhere it does not, or is not trusted to.
_FUSED_DEVICES = ("cpu", "cuda")


def rate_schedule(progress: float) -> float:
    """Return the learning rate, relative to its peak: a short linear rise, then half a cosine."""
    if progress < _WARM_UP:
        return max(progress, 0.002) / _WARM_UP
    fall = (progress - _WARM_UP) / (1 - _WARM_UP)
    return _FINAL_RATE + (1 - _FINAL_RATE) * (1 + math.cos(math.pi * min(fall, 1.0))) / 2


def new_optimiser(network: UNet, config: TrainConfig) -> torch.optim.Optimizer:
    """Return the update rule of a training, with its settings."""
    fused = next(network.parameters()).device.type in _FUSED_DEVICES
    if config.optimiser == "adamw":
        return torch.optim.AdamW(
            network.parameters(),
            lr=config.learning_rate,
            betas=(config.momentum, 0.999),
            weight_decay=config.weight_decay,
            fused=fused,
        )
    optimiser = torch.optim.SGD(
        network.parameters(),
        lr=config.learning_rate,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
        fused=fused,
    )
    if config.momentum:
        for weights in network.parameters():
            # A first step that is skipped would leave whatever was in the memory.
            optimiser.state[weights]["momentum_buffer"] = torch.zeros_like(weights)
    return optimiser


def optimiser_tensors(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Copy the state of an update rule, under "parameter number.name"."""
    tensors = {}
    for number, entries in optimiser.state_dict()["state"].items():
        for name, value in entries.items():
            if value is not None:  # SGD without momentum has no buffer
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
    for group in optimiser.param_groups:
        for weights in group["params"]:
            _lay_out_like(weights, optimiser.state[weights])


def _lay_out_like(weights: Tensor, state: dict[str, Tensor]) -> None:
    """Give a state the memory layout of its weights: fused updates go through both alike."""
    for name, value in state.items():
        if value.shape == weights.shape:
            state[name] = torch.empty_like(weights, dtype=value.dtype).copy_(value)
