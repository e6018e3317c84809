"""The weights that a training may begin with: learned from synthetic cells, no real image."""

from __future__ import annotations

from functools import cache
from importlib.resources import as_file, files
from typing import TYPE_CHECKING

import torch

from napari_unet.model.tensor_file import read_tensors

if TYPE_CHECKING:
    from torch import Tensor

    from napari_unet.model.config import UNetConfig

_FILE = "synthetic_2d.safetensors"
_FIRST = "contracting.0.0.weight"
_HEAD = ("output.weight", "output.bias")


def pretrained_weights(config: UNetConfig, fresh: dict[str, Tensor]) -> dict[str, Tensor] | None:
    """Return weights for a network that has the shape of the pretrained one.

    Parameters
    ----------
    config : UNetConfig
        The network.
    fresh : dict of Tensor
        Its random weights: outputs that mean other than background and cell keep them.

    Returns
    -------
    dict of Tensor or None
        None where the network has another shape. Images of several channels begin with the
        mean of their channels.
    """
    found = _load()
    if found is None or set(found) != set(fresh):
        return None
    weights = {}
    for name, random in fresh.items():
        known = found[name]
        if name == _FIRST and known.ndim == random.ndim and known.shape[1] == 1:
            known = known.expand(-1, config.in_channels, *known.shape[2:]) / config.in_channels
        if name in _HEAD and known.shape != random.shape:
            known = random
        if known.shape != random.shape:
            return None
        weights[name] = known.to(random.dtype).to(random.device)
    return weights


@cache
def _load() -> dict[str, Tensor] | None:
    resource = files("napari_unet.model").joinpath("weights", _FILE)
    if not resource.is_file():
        return None
    with as_file(resource) as path:
        tensors, _ = read_tensors(path)
    return {
        name: tensor.to(torch.float32) if tensor.is_floating_point() else tensor
        for name, tensor in tensors.items()
    }
