"""Networks to train: random ones, ones that know something, and copies of their weights."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from napari_unet.errors import ModelMismatchError
from napari_unet.model.starting import starting_weights
from napari_unet.model.unet import UNet

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from torch import Tensor, nn

    from napari_unet.model.config import UNetConfig
    from napari_unet.tasks import ClassTable


@contextmanager
def chance_of(seed: int, device: torch.device) -> Iterator[None]:
    """Let torch's chance on the CPU and on `device` follow a seed, and put it back at the end."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.default_generator.manual_seed(seed)
        if device.type == "cuda":
            torch.cuda.manual_seed(seed)
        yield


def random_network(config: UNetConfig, seed: int) -> UNet:
    """Return a network with random weights, the same for the same seed."""
    with chance_of(seed, torch.device("cpu")):
        return UNet(config)


def begin_with(network: UNet, name: str) -> bool:
    """Begin with the weights of a starting model; return whether they are of such a network."""
    weights = starting_weights(name, network.config, dict(network.state_dict()))
    if weights is None:
        return False
    network.load_state_dict(weights)
    return True


def all_finite(weights: Mapping[str, Tensor]) -> bool:
    """Return whether weights on the CPU hold nothing but numbers."""
    return all(bool(tensor.isfinite().all()) for tensor in weights.values())


def copy_weights(network: nn.Module) -> dict[str, Tensor]:
    """Return the weights on the CPU, as a copy that further training leaves alone."""
    return {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in network.state_dict().items()
    }


# --- Carry weights over to a network with other classes: painting may add some at any time -------

_HEAD = ("output.weight", "output.bias")


def carried_over(
    weights: dict[str, Tensor], previous: ClassTable, classes: ClassTable, fresh: dict[str, Tensor]
) -> dict[str, Tensor]:
    """Give weights of one class table to a network of another.

    New classes begin with the weights `fresh` of a new network. Raises ModelMismatchError if one of
    the two is of objects, or takes other channels, or is another network.
    """
    if previous.kind != classes.kind:
        raise ModelMismatchError(
            f"The model was trained on {previous.kind}, the labels are {classes.kind}. "
            "Train a new network instead of continuing."
        )
    for name, tensor in fresh.items():
        known = weights.get(name)
        if known is None or (known.shape != tensor.shape and not name.endswith(_HEAD)):
            raise ModelMismatchError(
                "The model is another network than these settings and images ask for (first "
                f"difference: {name}). Train a new network, or use the model's own settings."
            )
    if previous.painted == classes.painted:  # or the channels are those of objects
        return weights
    result = dict(weights)
    for name in [name for name in fresh if name.endswith(_HEAD)]:
        head = fresh[name].clone()
        for channel, value in enumerate(classes.painted):
            if value in previous.painted:
                head[channel] = weights[name][previous.painted.index(value)]
        result[name] = head
    return result
