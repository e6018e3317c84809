"""A U-Net as other programs run it: normalised image in, probabilities of the same size out.

All that our own prediction does around the network is part of the graph, so that nothing has to be
programmed anew elsewhere: clipping of hot pixels, binning, mirrored borders, the unpadded network
on its pooling grid (see :mod:`napari_unet.model.execution`), turned and mirrored views, softmax.

Any image size is taken. A tile of an image gives what the whole image gives where it begins at a
multiple of `tile_steps`, except in the outer `tile_halos` of it where the image goes on.

The module is written so that `torch.jit.script` and `torch.export` understand it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from napari_unet.data.intensity import HIGHEST, LOWEST
from napari_unet.model.config import OUTPUT_PHASE, shortest_output
from napari_unet.model.convolutions import folded
from napari_unet.model.unet import doubling

if TYPE_CHECKING:
    from napari_unet.model.config import UNetConfig
    from napari_unet.model.unet import UNet

_CONVOLUTION: dict[int, Any] = {2: nn.Conv2d, 3: nn.Conv3d}
_UP_CONVOLUTION: dict[int, Any] = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
_POOLING: dict[int, Any] = {2: nn.MaxPool2d, 3: nn.MaxPool3d}


class ExportNetwork(nn.Module):
    """A trained U-Net with all that a prediction does around it.

    Parameters
    ----------
    network : UNet
        Its weights are copied, batch normalisation folded into the convolutions.
    binning : int
        Pixels of the image per pixel of the network, along Y and X.
    views : int
        1, or 8: the average over all quarter turns in the plane and their mirror images.
    """

    def __init__(self, network: UNet, binning: int = 1, views: int = 1) -> None:
        super().__init__()
        config = network.config
        self.ndim, self.window, self.views = config.ndim, config.window, views
        self.sigmoid = config.output == "sigmoid"
        self.lowest, self.highest = LOWEST, HIGHEST
        self.bins = [1] * (config.ndim - 2) + [binning] * 2
        self.factors = list(config.pooling_factors)
        self.halos = list(config.halos)
        self.rims = [-OUTPUT_PHASE % factor for factor in self.factors]
        self.shortest = [shortest_output(factor) for factor in self.factors]
        self.crops = _crops(config)  # the deepest level first, as they are run
        *contracting, bottom = [_double_convolution(level) for level in network.contracting]
        self.contracting, self.bottom = nn.ModuleList(contracting), bottom
        self.pooling = nn.ModuleList(
            _POOLING[config.ndim](kernel_size=doubling(config, level))
            for level in range(config.depth)
        )
        self.up_convolutions = nn.ModuleList(
            _up_convolution(each) for each in list(network.up_convolutions)[::-1]
        )
        self.expanding = nn.ModuleList(
            _double_convolution(level) for level in list(network.expanding)[::-1]
        )
        self.output = _output_convolution(network.output, config)
        self.eval().requires_grad_(False)

    def forward(self, image: Tensor) -> Tensor:
        """Compute the class probabilities of each pixel.

        Parameters
        ----------
        image : Tensor
            (B, in_channels * window, *), float32, of any sizes; percentiles at 0 and 1.

        Returns
        -------
        Tensor
            (B, out_channels, *), float32, of the same sizes.
        """
        coarse = image.clamp(self.lowest, self.highest)
        for axis, k in enumerate(self.bins):
            if k > 1:
                coarse = _binned(coarse, axis + 2, k)
        seen = coarse
        for axis in range(self.ndim):
            size, factor = coarse.shape[axis + 2], self.factors[axis]
            rim, shortest = self.rims[axis], self.shortest[axis]
            # of a factor of 2 the shortest output may be longer than the image
            steps = (size + rim - shortest + factor - 1) // factor + (1 if factor == 2 else 0)
            length = 2 * self.halos[axis] + shortest + steps * factor
            seen = _mirrored(seen, axis + 2, rim + self.halos[axis], length)
        probabilities = self._average_of_views(seen)  # (B, C, *), with a rim, and more at the end
        for axis, (rim, k) in enumerate(zip(self.rims, self.bins)):
            probabilities = probabilities.narrow(axis + 2, rim, coarse.shape[axis + 2])
            if k > 1:
                probabilities = _enlarged(probabilities, axis + 2, k, image.shape[axis + 2])
        return probabilities

    def _average_of_views(self, image: Tensor) -> Tensor:
        """Average the probabilities over views of an image; (B, C_in, *) to (B, C, *')."""
        total = self._probabilities(image)
        for view in range(1, self.views):
            turns, mirror = view % 4, view >= 4
            turned = torch.rot90(image, turns, [-2, -1])
            seen = self._probabilities(turned.flip([-1]) if mirror else turned)
            seen = seen.flip([-1]) if mirror else seen
            total = total + torch.rot90(seen, -turns, [-2, -1])
        return total / self.views

    def _probabilities(self, images: Tensor) -> Tensor:
        """Run the unpadded network; (B, window * in_channels, *) to (B, C, *')."""
        n_images, window = images.shape[0], self.window
        features = images.reshape([n_images * window, -1] + list(images.shape[2:]))
        skips: list[Tensor] = []
        for convolve, pool in zip(self.contracting, self.pooling):
            features = convolve(features)
            skips.append(features)
            features = pool(features)
        features = self.bottom(features)
        for level, (up, convolve) in enumerate(zip(self.up_convolutions, self.expanding)):
            features = up(features)
            skip = skips.pop()
            if len(skips) == 0 and window > 1:  # moments meet at full resolution
                features = features.reshape([n_images, -1] + list(features.shape[2:]))
                skip = skip.reshape([n_images, window, -1] + list(skip.shape[2:]))[:, window // 2]
            for axis in range(self.ndim):
                skip = skip.narrow(axis + 2, self.crops[level][axis], features.shape[axis + 2])
            features = convolve(torch.cat([skip, features], dim=1))
        scores: Tensor = self.output(features)
        return scores.sigmoid() if self.sigmoid else scores.softmax(dim=1)


def tile_steps(config: UNetConfig, binning: int) -> tuple[int, ...]:
    """Return where tiles may begin: multiples of so many image pixels, along ``[Z]YX``."""
    return tuple(
        factor * k for factor, k in zip(config.pooling_factors, _bins(config, binning), strict=True)
    )


def tile_halos(config: UNetConfig, binning: int) -> tuple[int, ...]:
    """Return how many image pixels at a tile's edge are not the whole image's, along ``[Z]YX``.

    A pixel sees `halo` pixels to one side and up to a pooling factor less one more to the other,
    as it lies on the pooling grid. A last tile may hold any of them: it sees the image's border
    mirrored so far.
    """
    return tuple(
        -(-(halo + factor - 1) // factor) * factor * k
        for halo, factor, k in zip(
            config.halos, config.pooling_factors, _bins(config, binning), strict=True
        )
    )


def _bins(config: UNetConfig, binning: int) -> tuple[int, ...]:
    return (1,) * (config.ndim - 2) + (binning, binning)


def _mirrored(image: Tensor, axis: int, before: int, length: int) -> Tensor:
    """Let an axis begin `before` pixels earlier and be so long, mirrored beyond its ends."""
    # a tensor: ONNX divides no tensor by the size of another
    period = torch.full([1], 2 * (image.shape[axis] - 1), device=image.device).clamp(min=1)
    positions = torch.arange(length, device=image.device) - before
    positions = torch.remainder(positions.abs(), period)
    positions = torch.minimum(positions, period - positions).clamp(max=image.shape[axis] - 1)
    return image.index_select(axis, positions)


def _binned(image: Tensor, axis: int, k: int) -> Tensor:
    """Average blocks of `k` along an axis; one that the edge cuts is the mean of what there is."""
    size = image.shape[axis]
    starts = torch.arange((size + k - 1) // k, device=image.device) * k
    total = image.index_select(axis, starts)
    for further in range(1, k):
        at = starts + further
        shape = [1] * image.dim()
        shape[axis] = -1
        there = (at < size).to(image.dtype).reshape(shape)
        total = total + there * image.index_select(axis, at.clamp(max=size - 1))
    counts = (size - starts).clamp(max=k).to(image.dtype)
    shape = [1] * image.dim()
    shape[axis] = -1
    return total / counts.reshape(shape)


def _enlarged(coarse: Tensor, axis: int, k: int, size: int) -> Tensor:
    """Interpolate linearly between blocks of `k` at the pixels of an axis of the image."""
    last = coarse.shape[axis] - 1
    # whole numbers: of large images positions would have too few digits in float32
    at = (2 * torch.arange(size, device=coarse.device) + 1 - k).clamp(min=0)
    low = at // (2 * k)
    shape = [1] * coarse.dim()
    shape[axis] = -1
    share = ((at - low * (2 * k)).to(coarse.dtype) / (2 * k)).reshape(shape)
    below = coarse.index_select(axis, low)
    above = coarse.index_select(axis, (low + 1).clamp(max=last))
    return below * (1 - share) + above * share


def _crops(config: UNetConfig) -> list[list[int]]:
    """Return what the skip connections lose on each side, the deepest level first."""
    lost = [4] * config.ndim  # by the two convolutions of the bottom
    crops = []
    for level in reversed(range(config.depth)):
        lost = [n * factor for n, factor in zip(lost, doubling(config, level), strict=True)]
        crops.append([n // 2 for n in lost])
        flat = level < config.flat_levels
        lost = [n + (0 if flat and config.ndim - axis == 3 else 8) for axis, n in enumerate(lost)]
    return crops


def _double_convolution(level: nn.Module) -> nn.Sequential:
    """Copy a double convolution as it predicts: unpadded, batch normalisation folded in."""
    assert isinstance(level, nn.Sequential)
    layers: list[nn.Module] = []
    for weight, bias in folded(level):
        layers += [_convolution(weight, bias), nn.ReLU()]
    return nn.Sequential(*layers)


def _convolution(weight: Tensor, bias: Tensor) -> nn.Module:
    ndim = weight.dim() - 2
    copy: nn.Module = _CONVOLUTION[ndim](
        weight.shape[1], weight.shape[0], kernel_size=tuple(weight.shape[2:])
    )
    return _with(copy, weight, bias)


def _up_convolution(up: nn.Module) -> nn.Module:
    weight, bias = up.weight, up.bias
    assert isinstance(weight, Tensor)
    assert isinstance(bias, Tensor)
    kernel = tuple(weight.shape[2:])
    copy: nn.Module = _UP_CONVOLUTION[len(kernel)](
        weight.shape[0], weight.shape[1], kernel_size=kernel, stride=kernel
    )
    return _with(copy, weight, bias)


def _output_convolution(output: nn.Module, config: UNetConfig) -> nn.Module:
    weight, bias = output.weight, output.bias
    assert isinstance(weight, Tensor)
    assert isinstance(bias, Tensor)
    if config.output == "softmax":  # only differences count: they then keep their digits
        weight, bias = weight - weight.mean(dim=0), bias - bias.mean()
    return _convolution(weight, bias)


def _with(copy: nn.Module, weight: Tensor, bias: Tensor) -> nn.Module:
    tensors = {"weight": weight.detach().cpu().clone(), "bias": bias.detach().cpu().clone()}
    copy.load_state_dict(tensors)
    return copy
