"""A U-Net as other programs run it: normalised image in, probabilities of the same size out.

All that our own prediction does around the network is part of the graph, so that nothing has to be
programmed anew elsewhere: clipping of hot pixels, binning, mirrored borders, the unpadded network
on its pooling grid (see :mod:`napari_unet.model.execution`), turned and mirrored views, softmax.

Any image size is taken. A tile of an image gives what the whole image gives where it begins at a
multiple of `tile_steps`, except in the outer `tile_halos` of it where the image goes on.

The module is written so that `torch.jit.script` and `torch.export` understand it.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from napari_unet.data.intensity import HIGHEST, LOWEST
from napari_unet.errors import ModelMismatchError
from napari_unet.model.config import OUTPUT_PHASE, shortest_output
from napari_unet.model.convolutions import folded
from napari_unet.model.unet import doubling

if TYPE_CHECKING:
    from napari_unet.model.config import UNetConfig
    from napari_unet.model.unet import UNet

# The binning is a fraction of whole numbers, the lower one up to this.
_FINEST = 100
_CONVOLUTION: dict[int, Any] = {2: nn.Conv2d, 3: nn.Conv3d}
_UP_CONVOLUTION: dict[int, Any] = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
_POOLING: dict[int, Any] = {2: nn.MaxPool2d, 3: nn.MaxPool3d}


class ExportNetwork(nn.Module):
    """A trained U-Net with all that a prediction does around it.

    Parameters
    ----------
    network : UNet
        Its weights are copied, batch normalisation folded into the convolutions.
    binning : float
        Pixels of the image per pixel of the network, along Y and X.
    views : int
        1; 4: the average over all quarter turns in the plane; 8: and their mirror images.
    """

    def __init__(self, network: UNet, binning: float = 1, views: int = 1) -> None:
        super().__init__()
        config = network.config
        self.ndim, self.window, self.views = config.ndim, config.window, views
        self.lowest, self.highest = LOWEST, HIGHEST
        ratios = _ratios(config, binning)  # as whole numbers: of large images positions would
        self.image_pixels = [ratio.numerator for ratio in ratios]  # have too few digits in
        self.own_pixels = [ratio.denominator for ratio in ratios]  # float32
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
        self.output = _output_convolution(network.output)
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
        for axis, (k, d) in enumerate(zip(self.image_pixels, self.own_pixels)):
            if k != d:
                length = (coarse.shape[axis + 2] * d + k - 1) // k
                coarse = _resampled(coarse, axis + 2, k, d, length)
        seen = coarse
        for axis in range(self.ndim):
            size, factor = coarse.shape[axis + 2], self.factors[axis]
            rim, shortest = self.rims[axis], self.shortest[axis]
            # of a factor of 2 the shortest output may be longer than the image
            steps = (size + rim - shortest + factor - 1) // factor + (1 if factor == 2 else 0)
            length = 2 * self.halos[axis] + shortest + steps * factor
            seen = _mirrored(seen, axis + 2, rim + self.halos[axis], length)
        probabilities = self._average_of_views(seen)  # (B, C, *), with a rim, and more at the end
        for axis, (rim, k, d) in enumerate(zip(self.rims, self.image_pixels, self.own_pixels)):
            probabilities = probabilities.narrow(axis + 2, rim, coarse.shape[axis + 2])
            if k != d:
                length = image.shape[axis + 2]
                probabilities = _resampled(probabilities, axis + 2, d, k, length)
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
            if len(skips) == 0 and window > 1:  # timepoints meet at full resolution
                features = features.reshape([n_images, -1] + list(features.shape[2:]))
                skip = skip.reshape([n_images, window, -1] + list(skip.shape[2:]))[:, window // 2]
            for axis in range(self.ndim):
                skip = skip.narrow(axis + 2, self.crops[level][axis], features.shape[axis + 2])
            features = convolve(torch.cat([skip, features], dim=1))
        scores: Tensor = self.output(features)
        return scores.softmax(dim=1)


def tile_steps(config: UNetConfig, binning: float) -> tuple[int, ...]:
    """Return where tiles may begin: multiples of so many image pixels, along ``[Z]YX``."""
    return tuple(
        (factor * ratio).numerator
        for factor, ratio in zip(config.pooling_factors, _ratios(config, binning), strict=True)
    )


def tile_halos(config: UNetConfig, binning: float) -> tuple[int, ...]:
    """Return how many image pixels at a tile's edge are not the whole image's, along ``[Z]YX``.

    A pixel sees `halo` pixels to one side and up to a pooling factor less one more to the other,
    as it lies on the pooling grid. A last tile may hold any of them: it sees the image's border
    mirrored so far.
    """
    found = []
    steps = tile_steps(config, binning)
    for halo, factor, ratio, step in zip(
        config.halos, config.pooling_factors, _ratios(config, binning), steps, strict=True
    ):
        between = 1 if ratio.denominator > 1 else 0  # pixels lie across those of the network
        found.append(math.ceil((halo + factor - 1 + between) * ratio / step) * step)
    return tuple(found)


def _ratios(config: UNetConfig, binning: float) -> tuple[Fraction, ...]:
    """Return the pixels of the image per pixel of the network along ``[Z]YX``, exactly.

    Raises
    ------
    ModelMismatchError
        The binning has so many digits that hardly a tile would begin where a whole pixel does.
    """
    ratio = Fraction(binning).limit_denominator(_FINEST)
    if float(ratio) != binning:
        raise ModelMismatchError(
            f"The model has a binning of {binning:g}, and files for other programs take no more "
            "than two decimals. Train with a rounded one, as in 1.25."
        )
    return (Fraction(1),) * (config.ndim - 2) + (ratio, ratio)


def _mirrored(image: Tensor, axis: int, before: int, length: int) -> Tensor:
    """Let an axis begin `before` pixels earlier and be so long, mirrored beyond its ends."""
    # a tensor: ONNX divides no tensor by the size of another
    period = torch.full([1], 2 * (image.shape[axis] - 1), device=image.device).clamp(min=1)
    positions = torch.arange(length, device=image.device) - before
    positions = torch.remainder(positions.abs(), period)
    positions = torch.minimum(positions, period - positions).clamp(max=image.shape[axis] - 1)
    return image.index_select(axis, positions)


def _resampled(image: Tensor, axis: int, k: int, d: int, length: int) -> Tensor:
    """Bring an axis to pixels that are each k / d of the previous ones long."""
    return _averaged(image, axis, k, d, length) if k > d else _between(image, axis, k, d, length)


def _averaged(image: Tensor, axis: int, k: int, d: int, length: int) -> Tensor:
    """Average what each new pixel covers; one that the edge cuts is the mean of what there is."""
    size = image.shape[axis]
    start = torch.arange(length, device=image.device) * k  # in parts of which a pixel has d
    stop = (start + k).clamp(max=size * d)
    first = start // d
    shape = [1] * image.dim()
    shape[axis] = -1
    covered = (torch.minimum(stop, (first + 1) * d) - start).to(image.dtype).reshape(shape)
    total = covered * image.index_select(axis, first.clamp(max=size - 1))
    for further in range(1, (k + d - 1) // d + (1 if d > 1 else 0)):
        at = first + further
        parts = (torch.minimum(stop, (at + 1) * d) - at * d).clamp(min=0)
        covered = parts.to(image.dtype).reshape(shape)
        total = total + covered * image.index_select(axis, at.clamp(max=size - 1))
    return total / (stop - start).to(image.dtype).reshape(shape)


def _between(image: Tensor, axis: int, k: int, d: int, length: int) -> Tensor:
    """Interpolate linearly at the centres of the new pixels; beyond the ends the outermost hold."""
    last = image.shape[axis] - 1
    at = ((2 * torch.arange(length, device=image.device) + 1) * k - d).clamp(min=0)
    low = at // (2 * d)
    shape = [1] * image.dim()
    shape[axis] = -1
    share = ((at - low * (2 * d)).to(image.dtype) / (2 * d)).reshape(shape)
    below = image.index_select(axis, low.clamp(max=last))
    above = image.index_select(axis, (low + 1).clamp(max=last))
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


def _output_convolution(output: nn.Module) -> nn.Module:
    weight, bias = output.weight, output.bias
    assert isinstance(weight, Tensor)
    assert isinstance(bias, Tensor)
    # only differences count: they then keep their digits
    weight, bias = weight - weight.mean(dim=0), bias - bias.mean()
    return _convolution(weight, bias)


def _with(copy: nn.Module, weight: Tensor, bias: Tensor) -> nn.Module:
    tensors = {"weight": weight.detach().cpu().clone(), "bias": bias.detach().cpu().clone()}
    copy.load_state_dict(tensors)
    return copy
