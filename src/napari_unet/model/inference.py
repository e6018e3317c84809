"""The network as it predicts: the same function as the trained U-Net, arranged to be computed fast.

Nothing here is approximate but the number format. Three rearrangements save work:

- Batch normalisation is folded into the convolution before it.
- Between an up-convolution and the 3x3 convolution that follows it stands no nonlinearity, so that
  both are one transposed convolution of 4x4. The convolution of what is concatenated is the sum of
  those of its parts, so that nothing has to be concatenated: level by level this saves 3 of 42
  parts of the arithmetic, and two passes through memory.
- The first levels, where feature maps are large, are computed in bands of some rows that stay in
  the processor's cache: convolution, convolution and pooling of one band, then the next.

On CPUs convolution, addition and ReLU are one call of oneDNN, the one that compiled torch code
makes. So the first tile is as fast as one after compilation. That call is none of torch's public
interface: where it fails, torch's public functions compute the same.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor, nn

from napari_unet.model.convolutions import (
    LAYOUT,
    POOLING,
    Convolution,
    OneDnnError,
    UpConvolution,
    composed,
    give_up_onednn,
    make_convolution,
)
from napari_unet.model.devices import true_float32
from napari_unet.model.unet import doubling, probabilities_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari_unet.model.unet import UNet

    _ChooseRows = Callable[[Tensor, Sequence[int], int], int]

# A feature map of one band is about so large: the few that are alive together fit into a cache.
_BAND_BYTES = 4 << 20
# Smaller feature maps gain nothing from bands.
_SMALLEST_BANDED = 4 * _BAND_BYTES


class InferenceNetwork:
    """A snapshot of a U-Net's weights, ready to predict without padding.

    The network may have any padding, and may go on learning. `precision` is the number format of
    weights and feature maps; inside a convolution sums are of float32, whatever it is.
    """

    @torch.inference_mode()
    def __init__(
        self, network: UNet, device: torch.device, precision: torch.dtype = torch.float32
    ) -> None:
        self.config: Final = network.config
        self.device: torch.device = device
        self.precision: torch.dtype = precision
        network = network.folded()
        self._contracting = [self._double_convolution(level) for level in network.contracting]
        self._expanding = [
            self._expanding_level(up, level, number)
            for number, (up, level) in enumerate(
                zip(network.up_convolutions, network.expanding, strict=True)
            )
        ]
        self._output = self._output_convolution(network.output)

    @torch.inference_mode()
    def probabilities(self, images: Tensor) -> Tensor:
        """Compute class probabilities; as `scores`, between 0 and 1 unless the output is linear."""
        with true_float32(self.device, self.precision):
            scores = self.scores(images)
        return probabilities_of(scores, self.config)

    @torch.inference_mode()
    def scores(self, images: Tensor) -> Tensor:
        """Compute the class scores (logits); of classes that exclude each other their mean is 0.

        From (B, in_channels * window, *), of sizes that an unpadded network takes, to
        (B, out_channels, *'), each size smaller by the halo on both sides; both float32.
        """
        if self.device.type == "cpu" and len(images) > 1:  # bands are of one image
            return torch.cat([self.scores(image[None]) for image in images])
        with suppress(OneDnnError):
            return self._scores(images)
        # All of the image anew: its layers are to be rounded in one way.
        give_up_onednn()
        return self._scores(images)

    def _scores(self, images: Tensor) -> Tensor:
        window = self.config.window
        features, skip = self._up_to_fusion(images[:, : self.config.in_channels])
        if window > 1:  # late fusion: features of all timepoints, pixels of the middle one
            timepoints = [features]
            for timepoint in range(1, window):
                first = timepoint * self.config.in_channels
                features, of_timepoint = self._up_to_fusion(
                    images[:, first : first + self.config.in_channels]
                )
                timepoints.append(features)
                skip = of_timepoint if timepoint == window // 2 else skip
            features = torch.cat(timepoints, dim=1)  # (B, window * base * 2, *)
        return self._expanding[0](features, skip, self._rows, self._output).float()

    def _up_to_fusion(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Run one timepoint up to the last level of the expanding path; keep what skips there."""
        features = images.to(self.device, self.precision).contiguous(
            memory_format=LAYOUT[self.config.ndim]
        )  # (B, in_channels, *)
        skips: list[Tensor] = []
        for level, skip_shape in enumerate(self._skip_shapes(features.shape[2:])):
            features, skip = self._contract(level, features, skip_shape)
            skips.append(skip)  # (B, base * 2^level, *skip_shape)
        for convolve in self._contracting[-1]:
            features = convolve(features)  # (B, base * 2^depth, *)
        for level in reversed(range(1, self.config.depth)):
            features = self._expanding[level](features, skips.pop(), self._rows)
        return features, skips[0]

    def _contract(
        self, level: int, features: Tensor, skip_shape: Sequence[int]
    ) -> tuple[Tensor, Tensor]:
        """Run a level of the contracting path; return what is pooled, and what skips ahead."""
        first, second = self._contracting[level]
        factors, lost = doubling(self.config, level), 2 * (first.kernel[0] - 1)
        sizes = _convolved_twice(features.shape[2:], first)
        pooled = _empty(features, second.channels, _divided(sizes, factors))
        skip = _empty(features, second.channels, skip_shape)
        margins = [(size - kept) // 2 for size, kept in zip(sizes, skip_shape, strict=True)]
        kept = [slice(m, m + size) for m, size in zip(margins, skip_shape, strict=True)]
        rows = self._rows(features, sizes, second.channels)
        for start in range(0, sizes[0], rows):
            stop = min(sizes[0], start + rows)
            band = second(first(features[:, :, start : stop + lost]))
            into = slice(start // factors[0], stop // factors[0])
            pooled[:, :, into] = POOLING[self.config.ndim](band, factors)
            low, high = max(start, kept[0].start), min(stop, kept[0].stop)
            if low < high:
                into = slice(low - margins[0], high - margins[0])
                kept_rows = (slice(None), slice(None), slice(low - start, high - start))
                skip[:, :, into] = band[(*kept_rows, *kept[1:])]
        return pooled, skip

    def _rows(self, features: Tensor, sizes: Sequence[int], channels: int) -> int:
        """Choose how many rows of a feature map of these sizes are computed at a time."""
        whole = features.element_size() * channels * torch.Size(sizes).numel()
        # The rows of several images do not lie together in memory; GPUs want large pieces.
        if len(features) > 1 or features.device.type != "cpu" or whole < _SMALLEST_BANDED:
            return sizes[0]
        return max(2, int(sizes[0] * _BAND_BYTES / whole) // 2 * 2)  # whole poolings

    def _skip_shapes(self, shape: Sequence[int]) -> list[list[int]]:
        """Return the sizes of what each level hands over, of an input of this shape."""
        sizes, shapes = list(shape), []
        for level in range(self.config.depth):
            sizes = _convolved_twice(sizes, self._contracting[level][0])
            sizes = _divided(sizes, doubling(self.config, level))
        sizes = _convolved_twice(sizes, self._contracting[-1][0])
        for level in reversed(range(self.config.depth)):
            factors = doubling(self.config, level)
            shapes.append([size * factor for size, factor in zip(sizes, factors, strict=True)])
            sizes = _convolved_twice(shapes[-1], self._contracting[level][0])
        return shapes[::-1]

    def _double_convolution(self, level: nn.Module) -> tuple[Convolution, Convolution]:
        first, second = _weights(level)
        return self._convolution(*first), self._convolution(*second)

    def _expanding_level(self, up: nn.Module, level: nn.Module, number: int) -> _ExpandingLevel:
        """Take an up-convolution and a double convolution apart, and put them together anew."""
        up_weight, up_bias = up.parameters()
        (weight, bias), second = _weights(level)
        of_skip, *of_timepoints = torch.split(weight, len(up_bias), dim=1)
        weights = torch.cat([composed(up_weight, part) for part in of_timepoints])
        for part in of_timepoints:  # every pixel of the result sees the up-convolution's bias
            bias = bias + part.flatten(2).sum(dim=2) @ up_bias
        weights = weights.to(self.device, self.precision)
        return _ExpandingLevel(
            UpConvolution(
                weights.contiguous(memory_format=LAYOUT[self.config.ndim]),
                doubling(self.config, number),
            ),
            self._convolution(of_skip, bias),
            self._convolution(*second),
        )

    def _output_convolution(self, output: nn.Module) -> Convolution:
        weight, bias = (parameter.detach() for parameter in output.parameters())
        if self.config.output == "softmax":  # only differences count: they then keep their digits
            weight, bias = weight - weight.mean(dim=0), bias - bias.mean()
        return self._convolution(weight, bias, relu=False)

    def _convolution(self, weight: Tensor, bias: Tensor, relu: bool = True) -> Convolution:
        return make_convolution(weight, bias, self.device, self.precision, relu)


class _ExpandingLevel:
    """A level of the expanding path, computed band by band.

    `up` brings the level below to what is added, `of_skip` convolves what skips ahead, and `second`
    their rectified sum.
    """

    def __init__(self, up: UpConvolution, of_skip: Convolution, second: Convolution) -> None:
        self._up, self._of_skip, self._second = up, of_skip, second

    def __call__(
        self,
        features: Tensor,
        skip: Tensor,
        choose_rows: _ChooseRows,
        output: Convolution | None = None,
    ) -> Tensor:
        """Run the level, and at the end of the network its output."""
        lost = self._second.kernel[0] - 1
        sizes = _convolved_twice(skip.shape[2:], self._second)
        rows = choose_rows(skip, sizes, self._second.channels)
        if rows >= sizes[0]:
            band = self._second(self._of_skip.plus(skip, self._up(features)))
            return band if output is None else output(band)
        result = _empty(skip, (output or self._second).channels, sizes)
        for start in range(0, sizes[0], rows):
            stop = min(sizes[0], start + rows)
            enlarged = self._up.rows(features, start, stop + lost)
            band = self._of_skip.plus(skip[:, :, start : stop + 2 * lost], enlarged)
            band = self._second(band)
            result[:, :, start:stop] = band if output is None else output(band)
        return result


def _weights(level: nn.Module) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Return weight and bias of both convolutions of a level, where BatchNorm is folded in."""
    weight, bias, second_weight, second_bias = level.parameters()
    return (weight, bias), (second_weight, second_bias)


def _convolved_twice(sizes: Sequence[int], convolution: Convolution) -> list[int]:
    return [size - 2 * (k - 1) for size, k in zip(sizes, convolution.kernel, strict=True)]


def _divided(sizes: Sequence[int], factors: Sequence[int]) -> list[int]:
    return [size // factor for size, factor in zip(sizes, factors, strict=True)]


def _empty(like: Tensor, channels: int, sizes: Sequence[int]) -> Tensor:
    return torch.empty(
        (len(like), channels, *sizes),
        dtype=like.dtype,
        device=like.device,
        memory_format=LAYOUT[len(sizes)],
    )
