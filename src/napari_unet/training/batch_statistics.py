"""BatchNorm over the batches of all ranks, on CPU and GPU alike.

The patches of all ranks are one large batch, so they are normalised by its mean and variance.
Every rank has as many patches of the same size as any other.
"""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.optim.swa_utils import update_bn

from napari_unet.data.frames import read_mirrored
from napari_unet.model.unet import BatchNorm

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from torch import Tensor

    from napari_unet.data.axes import Region
    from napari_unet.model.unet import UNet
    from napari_unet.training.dataset import TrainingData
    from napari_unet.training.distributed import ProcessGroup


def parallel_network(network: UNet, group: ProcessGroup) -> nn.Module:
    """Return what computes a network with the statistics and the gradients of all ranks.

    The network's parameters and buffers, which begin as those of the first rank, and their names
    stay what they are.
    """
    if group.alone:
        return network
    share_batch_statistics(network, group)
    return nn.parallel.DistributedDataParallel(network)


def share_batch_statistics(network: nn.Module, group: ProcessGroup) -> None:
    """Let the BatchNorm layers of a network compute their statistics over all ranks.

    Parameters and buffers stay the same objects under the same names.
    """
    for parent in network.modules():
        for name, layer in list(parent.named_children()):
            if isinstance(layer, BatchNorm):
                setattr(parent, name, SharedBatchNorm(layer, group))


class SharedBatchNorm(nn.Module):
    """A BatchNorm of any number of axes whose batch is that of all ranks.

    It takes over the parameters and running statistics of a layer.
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, layer: BatchNorm, group: ProcessGroup) -> None:
        super().__init__()
        assert layer.momentum is not None
        self.eps, self.momentum = layer.eps, layer.momentum
        self.weight, self.bias = layer.weight, layer.bias
        for name, buffer in layer.named_buffers():
            self.register_buffer(name, buffer)
        self._group = group

    def forward(self, features: Tensor) -> Tensor:
        """Normalise features (B, C, *) by the statistics of all ranks; alone in evaluation."""
        if not self.training:
            mean, variance = self.running_mean, self.running_var
            return functional.batch_norm(
                features, mean, variance, self.weight, self.bias, eps=self.eps
            )
        mean, variance = self._statistics(features.detach())
        inverse = (variance + self.eps).rsqrt()  # (C,)
        normalised: Tensor = _Normalise.apply(  # type: ignore[no-untyped-call]
            features, self.weight, self.bias, mean, inverse, self._group
        )
        return normalised

    @torch.no_grad()
    def _statistics(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and variance (C,) over all ranks, and follow them with the running ones."""
        own = torch.stack(_mean_and_variance(features.float()))  # (2, C)
        means, variances = self._group.gathered(own).unbind(dim=1)  # (ranks, C) each
        mean = means.mean(dim=0)
        variance = (variances + (means - mean) ** 2).mean(dim=0)
        n = features.numel() // features.shape[1] * self._group.size
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance * (n / max(1, n - 1)), self.momentum)
        self.num_batches_tracked.add_(1)
        return mean, variance


def _mean_and_variance(features: Tensor) -> tuple[Tensor, Tensor]:
    axes = [0, *range(2, features.ndim)]
    variance, mean = torch.var_mean(features, dim=axes, correction=0)
    return mean, variance


class _Normalise(torch.autograd.Function):
    """(features - mean) * inverse * weight + bias, where the mean and inverse are of all ranks."""

    @staticmethod
    def forward(
        ctx: Any,
        features: Tensor,
        weight: Tensor,
        bias: Tensor,
        mean: Tensor,
        inverse: Tensor,
        group: ProcessGroup,
    ) -> Tensor:
        """Normalise; features (B, C, *), all others (C,)."""
        ctx.save_for_backward(features, weight, mean, inverse)
        ctx.group = group
        scale = weight * inverse
        shift = bias - mean * scale
        normalised = torch.addcmul(
            _beside(shift, features), features.float(), _beside(scale, features)
        )
        return normalised.to(features.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Pass gradients on; the statistics depend on the features of every rank."""
        features, weight, mean, inverse = ctx.saved_tensors
        gradient = gradients[0].float()
        axes = [0, *range(2, features.ndim)]
        centred = features.float() - _beside(mean, features)
        own = torch.stack([gradient.sum(dim=axes), (gradient * centred).sum(dim=axes)])  # (2, C)
        total = ctx.group.sum(own)
        n = features.numel() // features.shape[1] * ctx.group.size
        offset, slope = total[0] / n, total[1] / n * inverse**2
        to_features = gradient - _beside(offset, features) - centred * _beside(slope, features)
        to_features = to_features * _beside(weight * inverse, features)
        return to_features.to(features.dtype), own[1] * inverse, own[0], None, None, None


def _beside(values: Tensor, features: Tensor) -> Tensor:
    """Give one value per channel the axes of features (B, C, *)."""
    return values.reshape(1, -1, *[1] * (features.ndim - 2))


# --- BatchNorm statistics of whole images: what patches around the paint do not show -------------

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
    """Return the statistics that a network, which stays as it is, would have of images as a whole.

    Undeformed squares of evenly spaced frames are looked at.
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
