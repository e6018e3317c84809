"""The shape of a U-Net as a frozen value; no torch is imported here."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, Literal, get_args

from napari_unet.data.labels import Output as Output
from napari_unet.errors import ConfigError

Padding = Literal["valid", "same"]
Normalization = Literal["none", "batch"]
Precision = Literal["auto", "float32", "bfloat16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
# What they are also called.
SHORT_PRECISIONS: dict[str, Precision] = {"fp32": "float32", "bf16": "bfloat16"}

# Poolings, at most.
DEEPEST = 7
# Pixels of the image per pixel of the network, at least and at most.
SMALLEST_BINNING, LARGEST_BINNING = 0.25, 8.0
# Timepoints of a time-lapse seen at once, at most.
LARGEST_WINDOW = 15
# Turned, and mirrored, views of which a prediction may be the average.
VIEWS = (1, 4, 8)
DEVICE_WORDS = {"auto": "automatic", "cpu": "CPU", "cuda": "NVIDIA GPU", "mps": "Apple GPU"}
VIEW_WORDS = {1: "no: fastest", 4: "4x, slower", 8: "8x, slower"}
# In image coordinates outputs start at -2 modulo the pooling factor: inputs start at +2, and the
# halo is 4 less than a multiple of the factor.
OUTPUT_PHASE = -2
CONVOLUTIONS_PER_LEVEL = 2
KERNEL = 3


@dataclass(frozen=True)
class UNetConfig:
    """Describe one member of the U-Net family.

    The defaults give the family of Ronneberger, Fischer and Brox (2015); ``UNetConfig.paper()``
    is the published network itself.

    Raises
    ------
    ConfigError
        A value is out of its range.
    """

    in_channels: int = 1
    """Channels of the input image, at one timepoint."""
    out_channels: int = 2
    """Output maps, one per class."""
    ndim: int = 2
    """Spatial dimensions: 2 (YX) or 3 (ZYX)."""
    base_channels: int = 64
    """Channels of the first level; each deeper level has twice as many."""
    depth: int = 4
    """Number of 2x poolings."""
    padding: Padding = "valid"
    """Unpadded convolutions as published, or zero-padded ones that keep the size."""
    normalization: Normalization = "none"
    """What follows each 3x3 convolution. Only normalisations that do not look at the tile in
    prediction are offered, so that tiled results equal untiled ones."""
    dropout: float = 0.0
    """Dropout rate at the end of the contracting path, between 0 and 1."""
    output: Output = "softmax"
    """Probabilities of classes that exclude each other, or (sigmoid) of classes each by itself, or
    (linear) grey values as they are. Stored in model files."""
    flat_levels: int = 0
    """In 3D: so many of the first levels neither convolve nor pool along Z, until the voxels of a
    stack with thick slices are about as long as wide. At `depth` only the bottom sees neighbouring
    slices."""
    window: int = 1
    """Timepoints of a time-lapse seen at once, an odd number; the middle one is predicted."""

    def __post_init__(self) -> None:
        """Refuse values that no network can have."""
        ranges = {
            "in_channels": (1, 4096),
            "out_channels": (1, 4096),
            "ndim": (2, 3),
            "base_channels": (1, 1024),
            "depth": (1, DEEPEST),
            "window": (1, LARGEST_WINDOW),
            "flat_levels": (0, DEEPEST),
        }
        for name, (lowest, highest) in ranges.items():
            value: Any = getattr(self, name)
            is_whole = isinstance(value, Integral)
            if not is_whole or not lowest <= value <= highest:
                raise ConfigError(f"{name} is {value!r}; choose {lowest} to {highest}.")
        deepest = self.depth if self.ndim == 3 else 0
        if self.flat_levels > deepest:
            raise ConfigError(f"flat_levels is {self.flat_levels}; choose 0 to {deepest}.")
        if self.window % 2 == 0:
            raise ConfigError(f"window is {self.window}; choose an odd number: 1, 3, 5.")
        if not isinstance(self.dropout, Real) or not 0.0 <= self.dropout < 1.0:
            raise ConfigError(f"dropout is {self.dropout}; choose a value from 0 to below 1.")
        choices = {
            "padding": ("valid", "same"),
            "normalization": ("none", "batch"),
            "output": get_args(Output),
        }
        for name, allowed in choices.items():
            value = getattr(self, name)
            if not isinstance(value, str) or value not in allowed:
                raise ConfigError(f"{name} is {value!r}; choose {' or '.join(allowed)}.")

    @classmethod
    def paper(cls, in_channels: int = 1, out_channels: int = 2) -> UNetConfig:
        """Return the network of figure 1 of the paper: 572x572 in, 388x388 out."""
        return cls(in_channels=in_channels, out_channels=out_channels, dropout=0.5)

    @property
    def level_channels(self) -> tuple[int, ...]:
        """Channels of each level, from full resolution to the bottom."""
        return tuple(self.base_channels * 2**level for level in range(self.depth + 1))

    @property
    def input_bands(self) -> int:
        """Bands of the array that the network takes: the channels of all timepoints."""
        return self.in_channels * self.window

    @property
    def pooling_factors(self) -> tuple[int, ...]:
        """Pixels of the image per pixel of the bottom level, along ``[Z]YX``."""
        return tuple(1 << depth for depth in self._depths)

    @property
    def halos(self) -> tuple[int, ...]:
        """Pixels that the unpadded network loses on each side, along ``[Z]YX``."""
        lost_per_level = CONVOLUTIONS_PER_LEVEL * (KERNEL // 2)
        # above the bottom, twice: on the way down and up
        return tuple(
            2 * lost_per_level * (factor - 1) + lost_per_level * factor
            for factor in self.pooling_factors
        )

    @property
    def smallest_inputs(self) -> tuple[int, ...]:
        """Smallest size along ``[Z]YX`` that passes all poolings evenly.

        Larger ones add the pooling factor. Unpadded outputs are 4, 4 + factor, 4 + 2 * factor, ...
        pixels long: 388 = 4 + 24 * 16; any length along an axis that is not pooled.
        """
        if self.padding == "same":
            return self.pooling_factors
        return tuple(
            2 * halo + shortest_output(factor)
            for halo, factor in zip(self.halos, self.pooling_factors, strict=True)
        )

    @property
    def output_phase(self) -> int:
        """Where outputs begin in the image, modulo the pooling factor."""
        return OUTPUT_PHASE

    @property
    def shortest_outputs(self) -> tuple[int, ...]:
        """Shortest outputs of the unpadded network, along ``[Z]YX``."""
        return tuple(shortest_output(factor) for factor in self.pooling_factors)

    @property
    def pooling_factor(self) -> int:
        """Pixels of the image per pixel of the bottom level in the plane: ``2 ** depth``."""
        return self.pooling_factors[-1]

    @property
    def halo(self) -> int:
        """Pixels that the unpadded network loses on each side in the plane: 92 for the paper's."""
        return self.halos[-1]

    def fitting_output(self, wanted: int, factor: int) -> int:
        """Return the smallest output of at least so many pixels, along an axis of a pooling factor.

        Unpadded ones along a pooled axis are 4 pixels longer than a multiple of it.
        """
        offset = 4 if self.padding == "valid" and factor > 1 else 0
        return offset + max(1, -(-(wanted - offset) // factor)) * factor

    @property
    def _depths(self) -> tuple[int, ...]:
        """Poolings along each axis: flat levels have none along Z."""
        return (self.depth - self.flat_levels,) * (self.ndim - 2) + (self.depth,) * 2


def shortest_output(factor: int) -> int:
    """Shortest output of an unpadded network along an axis of so large a pooling factor."""
    return 4 if factor > 1 else 1
