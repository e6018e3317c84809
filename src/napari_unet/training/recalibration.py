"""BatchNorm statistics of whole images: what patches around the paint do not show."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn
from torch.optim.swa_utils import update_bn

from napari_unet.data.frames import read_mirrored

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from torch import Tensor

    from napari_unet.data.axes import Region
    from napari_unet.training.dataset import TrainingData

# Edge length of what is seen at once, and how many pixels are seen of all frames together.
_EDGE = {2: 384, 3: 64}
_PIXELS = {2: 2**20, 3: 2**21}


def statistics_of(network: nn.Module) -> dict[str, Tensor]:
    """Return what BatchNorm normalises by, as a copy; nothing without BatchNorm."""
    return {
        name: tensor.clone()
        for name, tensor in network.named_buffers()
        if tensor.is_floating_point()
    }


def set_statistics(network: nn.Module, statistics: Mapping[str, Tensor]) -> None:
    """Let BatchNorm normalise by other statistics."""
    buffers = dict(network.named_buffers())
    for name, tensor in statistics.items():
        buffers[name].copy_(tensor)


def recomputed_statistics(
    network: nn.Module, data: TrainingData, device: torch.device
) -> dict[str, Tensor]:
    """Return the statistics that a network would have of images as a whole.

    Parameters
    ----------
    network : Module
        It stays as it is.
    data : TrainingData
        Of its frames evenly spaced, undeformed squares are looked at.
    device : torch.device
        Where the network lies.
    """
    copy = deepcopy(network)
    update_bn(_views(data), copy, device)
    return statistics_of(copy)


def mixed_statistics(
    one: Mapping[str, Tensor], other: Mapping[str, Tensor], share: float
) -> dict[str, Tensor]:
    """Return a share of the other statistics, and of the first ones what is left to 1."""
    return {name: torch.lerp(tensor, other[name], share) for name, tensor in one.items()}


def _views(data: TrainingData) -> Iterator[Tensor]:
    """Yield images (1, C, *), normalised."""
    ndim = data.frames[0].frame.ndim
    boxes = [
        (frame, box)
        for frame in data.frames
        for box in _grid(frame.frame.spatial_shape, _EDGE[ndim])
    ]
    wanted = max(1, _PIXELS[ndim] // _EDGE[ndim] ** ndim)
    for i in np.unique(np.linspace(0, len(boxes) - 1, min(wanted, len(boxes))).round().astype(int)):
        frame, box = boxes[i]
        pixels = read_mirrored(frame.frame, [p.start for p in box], [p.stop for p in box])
        yield torch.from_numpy(frame.intensity.normalise(pixels))[None]


def _grid(shape: tuple[int, ...], edge: int) -> list[Region]:
    """Cover a frame with boxes whose sizes suit the poolings, mirrored beyond its far edges."""
    starts = [range(0, size, edge) for size in shape]
    found: list[Region] = [()]
    for size, axis in zip(shape, starts, strict=True):
        sides = [slice(a, a + -(-min(edge, size - a) // 32) * 32) for a in axis]
        found = [(*box, side) for box in found for side in sides]
    return found
