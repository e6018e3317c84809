"""The U-Net of Ronneberger, Fischer and Brox, 2015 (arXiv 1505.04597), and its family.

Shape letters: B batch, C channels, and ``*`` for the spatial axes, YX in 2D and ZYX in 3D.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from napari_unet.errors import ModelMismatchError

if TYPE_CHECKING:
    from napari_unet.model.config import UNetConfig

# Any: mypy joins the two classes to one that takes no kernel of a size per axis.
_CONVOLUTION: dict[int, Any] = {2: nn.Conv2d, 3: nn.Conv3d}
_UP_CONVOLUTION: dict[int, Any] = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
_POOLING = {2: nn.MaxPool2d, 3: nn.MaxPool3d}
BatchNorm: TypeAlias = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d  # their base is private
_BATCH_NORM = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}


def probabilities_of(scores: Tensor, config: UNetConfig) -> Tensor:
    """Turn the scores of a network into probabilities, (B, C, *) both; grey values stay."""
    if config.output == "softmax":
        return scores.softmax(dim=1)
    return scores.sigmoid() if config.output == "sigmoid" else scores


class UNet(nn.Module):
    """The U-shaped network: a contracting path, a bottom, and an expanding path.

    With ``config.flat_levels``, the first levels of a 3D network have kernels of 1x3x3 and
    poolings of 1x2x2. With ``config.window`` above 1, every timepoint passes the same weights by
    itself up to the last level of the expanding path. There, at full resolution, the features
    of all timepoints are concatenated with the skip connection of the middle one (late fusion). So
    what moves between timepoints is compared by the last double convolution alone, after each
    timepoint has been understood by itself; the cost is nearly `window` times that of one.

    Parameters
    ----------
    config : UNetConfig
        Its channels, depth, dimensions, padding and normalisation.
    """

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        self.config = config
        channels = config.level_channels
        self.contracting: Final = nn.ModuleList(
            _double_convolution(c_in, c_out, config, level)
            for level, (c_in, c_out) in enumerate(pairwise((config.in_channels, *channels)))
        )
        self.pooling: Final = nn.ModuleList(
            _POOLING[config.ndim](kernel_size=doubling(config, level))
            for level in range(config.depth)
        )
        self.dropout: Final = nn.Dropout(config.dropout)
        self.up_convolutions: Final = nn.ModuleList(
            _UP_CONVOLUTION[config.ndim](
                deep, shallow, kernel_size=doubling(config, level), stride=doubling(config, level)
            )
            for level, (shallow, deep) in enumerate(pairwise(channels))
        )
        self.expanding: Final = nn.ModuleList(
            _double_convolution(
                (2 if level > 0 else 1 + config.window) * shallow, shallow, config, level
            )
            for level, shallow in enumerate(channels[:-1])
        )
        self.output: Final = _CONVOLUTION[config.ndim](
            channels[0], config.out_channels, kernel_size=1
        )
        self.apply(_initialise)
        if config.output == "linear" and not self.output.weight.is_meta:
            # Grey values begin at 0: noise of random weights takes long to unlearn.
            nn.init.zeros_(self.output.weight)

    def forward(self, images: Tensor) -> Tensor:
        """Compute the class scores (logits) of each pixel.

        Parameters
        ----------
        images : Tensor
            Shape (B, in_channels * window, *), floating point; timepoint by timepoint.

        Returns
        -------
        Tensor
            Shape (B, out_channels, *'). With padding "valid" each spatial size is
            ``2 * halo`` smaller than the input's; with "same" it is equal.

        Raises
        ------
        ModelMismatchError
            The spatial sizes do not fit the poolings, or the channels are not the network's.
        """
        self._check_input(images)
        window = self.config.window
        skips: list[Tensor] = []
        features = _each_timepoint_alone(images, window)  # (B * window, in_channels, *)
        for level, convolutions in enumerate(self.contracting):
            if level > 0:
                features = self.pooling[level - 1](features)  # (B * window, C, */2)
            features = convolutions(features)  # (B * window, base * 2^level, *)
            if level >= self.config.depth - 1:  # the end of the contracting path
                features = self.dropout(features)
            # at full resolution the middle timepoint alone is needed again
            alone = level > 0 or window == 1
            skips.append(features if alone else features[window // 2 :: window])
        for level in reversed(range(self.config.depth)):
            features = self.up_convolutions[level](features)  # (B * window, base * 2^level, *2)
            if level == 0 and window > 1:
                features = _all_timepoints_together(features, window)  # (B, window * base, *)
            skip = _crop_centre(skips[level], features)
            features = torch.cat([skip, features], dim=1)  # (B', 2 * base * 2^level, *)
            features = self.expanding[level](features)  # (B', base * 2^level, *)
        logits: Tensor = self.output(features)  # (B, out_channels, *)
        return logits

    def probabilities(self, images: Tensor) -> Tensor:
        """Compute class probabilities, of the same shape as :meth:`forward` returns."""
        return probabilities_of(self(images), self.config)

    def unpadded(self) -> UNet:
        """Return a network that shares these weights and runs them without padding.

        Executed on the same pooling grid, its result does not depend on where a tile ends
        (see :mod:`napari_unet.prediction.tiles`).
        """
        with torch.device("meta"):
            twin = UNet(replace(self.config, padding="valid"))
        twin.load_state_dict(self.state_dict(), assign=True)
        return twin.train(self.training)

    def folded(self) -> UNet:
        """Return a copy for evaluation whose convolutions do what BatchNorm did after them."""
        copy = deepcopy(self).eval().requires_grad_(False)
        copy.config = replace(self.config, normalization="none")
        if self.config.normalization == "batch":
            for level in (*copy.contracting, *copy.expanding):
                _fold(level)
        return copy

    def _check_input(self, images: Tensor) -> None:
        config = self.config
        if images.ndim != config.ndim + 2 or images.shape[1] != config.input_bands:
            timepoints = f" at each of {config.window} timepoints" if config.window > 1 else ""
            raise ModelMismatchError(
                f"The network takes {config.ndim}D images of {config.in_channels} channel(s)"
                f"{timepoints}, not an array of shape {tuple(images.shape)}."
            )
        for size, smallest, factor in zip(
            images.shape[2:], config.smallest_inputs, config.pooling_factors, strict=True
        ):
            if (size - smallest) % factor or size < smallest:
                raise ModelMismatchError(
                    f"A network of depth {config.depth} with {config.padding!r} padding cannot "
                    f"take {size} pixels; sizes must be {smallest} plus a multiple of {factor}."
                )


def doubling(config: UNetConfig, level: int) -> tuple[int, ...]:
    """Return how much the pooling after a level shrinks each of ``[Z]YX``."""
    return (1 if level < config.flat_levels else 2,) * (config.ndim - 2) + (2, 2)


def _each_timepoint_alone(images: Tensor, window: int) -> Tensor:
    """Make timepoints images of their own; (B, window * C, *) to (B * window, C, *)."""
    return images.reshape(images.shape[0] * window, -1, *images.shape[2:])


def _all_timepoints_together(features: Tensor, window: int) -> Tensor:
    """Undo `_each_timepoint_alone`; (B * window, C, *) to (B, window * C, *)."""
    return features.reshape(features.shape[0] // window, -1, *features.shape[2:])


def _double_convolution(c_in: int, c_out: int, config: UNetConfig, level: int) -> nn.Sequential:
    kernel = (1 if level < config.flat_levels else 3,) * (config.ndim - 2) + (3, 3)
    padding = (0,) * config.ndim if config.padding == "valid" else tuple(k // 2 for k in kernel)
    layers: list[nn.Module] = []
    for channels in (c_in, c_out):
        layers.append(
            _CONVOLUTION[config.ndim](
                channels,
                c_out,
                kernel_size=kernel,
                padding=padding,
                bias=config.normalization == "none",  # BatchNorm brings its own
            )
        )
        if config.normalization == "batch":
            layers.append(_BATCH_NORM[config.ndim](c_out))
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)


def _fold(level: nn.Module) -> None:
    """Let the convolutions of a level do what the BatchNorm after each does in evaluation."""
    assert isinstance(level, nn.Sequential)
    layers: list[Any] = list(level)
    del level[:]
    for convolution, norm, relu in zip(layers[::3], layers[1::3], layers[2::3], strict=True):
        level.extend([fuse_conv_bn_eval(convolution, norm), relu])


def _crop_centre(skip: Tensor, like: Tensor) -> Tensor:
    """Crop the spatial axes of `skip`, evenly on both sides, to those of `like`."""
    for axis in range(2, skip.ndim):
        size = like.shape[axis]
        if size < skip.shape[axis]:  # else the gradient would be copied for nothing
            skip = skip.narrow(axis, (skip.shape[axis] - size) // 2, size)
    return skip


def _initialise(module: nn.Module) -> None:
    """Draw weights from a Gaussian of variance 2 / N (He et al. 2015; section 3 of the paper)."""
    convolutions = (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d)
    if isinstance(module, convolutions) and not module.weight.is_meta:
        # Each output of a 2x2 up-convolution sees exactly one input pixel: N = in_channels.
        incoming = (
            module.in_channels
            if isinstance(module, (nn.ConvTranspose2d, nn.ConvTranspose3d))
            else module.weight[0].numel()
        )
        nn.init.normal_(module.weight, std=(2.0 / incoming) ** 0.5)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
