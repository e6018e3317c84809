"""Turn weights of others into a U-Net of this program, where that is exactly the same function."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from napari_unet.errors import ConfigError
from napari_unet.model.config import UNetConfig
from napari_unet.model.plain_layers import depth_of
from napari_unet.model.unet import UNet

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from napari_unet.model.external_config import ExternalConfig


def as_unet(config: ExternalConfig, weights: Mapping[str, Tensor]) -> UNet | None:
    """Return the same network as a U-Net of ours, or None where it is another function.

    One map of a sigmoid becomes two of a softmax: 0 for the background, the same for the objects.
    The weights of the engine "layers" are as :mod:`napari_unet.model.plain_layers` has them.
    """
    layers = config.layers
    alone = config.meaning == "foreground" and config.activation == "sigmoid"
    exclusive = config.meaning == "exclusive" and config.activation == "softmax"
    if layers is None or not (alone or exclusive) or not layers.skip_first:
        return None
    if layers.normalization not in ("none", "batch") or layers.enlarging != "transposed":
        return None
    if layers.normalized_first:
        return None
    tensors = _state_dict(weights, layers.normalization == "batch")
    if alone:
        for name in ("output.weight", "output.bias"):
            tensors[name] = torch.cat([torch.zeros_like(tensors[name]), tensors[name]])
    first = weights["contracting.0.0.conv.weight"]
    try:
        shape = UNetConfig(
            in_channels=first.shape[1],
            out_channels=len(tensors["output.bias"]),
            ndim=first.ndim - 2,
            base_channels=first.shape[0],
            depth=depth_of(weights),
            padding="same",
            normalization=layers.normalization,
        )
    except ConfigError:
        return None
    with torch.device("meta"):
        network = UNet(shape)
    expected = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    if expected != {name: tuple(tensor.shape) for name, tensor in tensors.items()}:
        return None
    network.load_state_dict(tensors, assign=True)
    return network.eval()


def _state_dict(weights: Mapping[str, Tensor], with_norms: bool) -> dict[str, Tensor]:
    """Rename weights once more, with all that ours have and others may leave out."""
    found: dict[str, Tensor] = {}
    for name, tensor in weights.items():
        path, _, of = name.rpartition(".")
        parts = path.split(".")
        if parts[0] == "output":
            found[f"output.{of}"] = tensor
        elif parts[0] == "up":
            found[f"up_convolutions.{parts[1]}.{of}"] = tensor
        else:
            place = int(parts[2]) * (3 if with_norms else 2) + (parts[3] == "norm")
            if with_norms and parts[3] == "conv" and of == "bias":
                continue  # goes into the mean
            found[f"{parts[0]}.{parts[1]}.{place}.{of}"] = tensor
            if of == "running_mean":
                bias = weights.get(f"{'.'.join(parts[:3])}.conv.bias")
                if bias is not None:
                    found[f"{parts[0]}.{parts[1]}.{place}.{of}"] = tensor - bias
                counter = f"{parts[0]}.{parts[1]}.{place}.num_batches_tracked"
                found[counter] = torch.zeros((), dtype=torch.int64)
    for name in [name for name in found if name.endswith(".weight")]:
        missing = name.removesuffix("weight") + "bias"
        of_up, of_norm = name.startswith("up_"), found[name].ndim == 1
        needed = not with_norms or of_up or of_norm or name.startswith("output")
        if missing not in found and needed:
            found[missing] = torch.zeros(found[name].shape[1 if of_up else 0])
    return {name: tensor.contiguous() for name, tensor in found.items()}
