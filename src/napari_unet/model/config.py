"""The shape of a U-Net as a frozen value; no torch is imported here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from napari_unet.errors import ConfigError

Padding = Literal["valid", "same"]
Normalization = Literal["none", "batch"]
Exclusivity = Literal["softmax", "sigmoid"]

# Pixels of the image per pixel of the network, at most.
LARGEST_BINNING = 8
# Turned and mirrored views of which a prediction may be the average.
VIEWS = (1, 8)
CONVOLUTIONS_PER_LEVEL = 2
KERNEL = 3


@dataclass(frozen=True)
class UNetConfig:
    """Describe one member of the U-Net family.

    The defaults give the family of Ronneberger, Fischer and Brox (2015); ``UNetConfig.paper()``
    is the published network itself.

    Parameters
    ----------
    in_channels : int
        Bands of the input image.
    out_channels : int
        Output maps, one per class.
    ndim : int
        Spatial dimensions: 2 (YX) or 3 (ZYX).
    base_channels : int
        Channels of the first level; each deeper level has twice as many.
    depth : int
        Number of 2x poolings.
    padding : {"valid", "same"}
        Unpadded convolutions as published, or zero-padded ones that keep the size.
    normalization : {"none", "batch"}
        What follows each 3x3 convolution. Only normalisations that do not look at the tile
        in prediction are offered, so that tiled results equal untiled ones.
    dropout : float
        Dropout rate at the end of the contracting path, between 0 and 1.
    output : {"softmax", "sigmoid"}
        Probabilities of exclusive classes, or of independent ones.

    Raises
    ------
    ConfigError
        A value is out of its range.
    """

    in_channels: int = 1
    out_channels: int = 2
    ndim: int = 2
    base_channels: int = 64
    depth: int = 4
    padding: Padding = "valid"
    normalization: Normalization = "none"
    dropout: float = 0.0
    output: Exclusivity = "softmax"

    def __post_init__(self) -> None:
        """Refuse values that no network can have."""
        ranges = {
            "in_channels": (1, 4096),
            "out_channels": (1, 4096),
            "ndim": (2, 3),
            "base_channels": (1, 1024),
            "depth": (1, 7),
        }
        for name, (lowest, highest) in ranges.items():
            value = getattr(self, name)
            if not lowest <= value <= highest:
                raise ConfigError(f"{name} is {value}; choose {lowest} to {highest}.")
        if not 0.0 <= self.dropout < 1.0:
            raise ConfigError(f"dropout is {self.dropout}; choose a value from 0 to below 1.")
        choices = {
            "padding": ("valid", "same"),
            "normalization": ("none", "batch"),
            "output": ("softmax", "sigmoid"),
        }
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise ConfigError(
                    f"{name} is {getattr(self, name)!r}; choose {' or '.join(allowed)}."
                )

    @classmethod
    def paper(cls, in_channels: int = 1, out_channels: int = 2) -> UNetConfig:
        """Return the network of figure 1 of the paper: 572x572 in, 388x388 out."""
        return cls(in_channels=in_channels, out_channels=out_channels, dropout=0.5)

    @property
    def level_channels(self) -> tuple[int, ...]:
        """Channels of each level, from full resolution to the bottom."""
        return tuple(self.base_channels * 2**level for level in range(self.depth + 1))

    @property
    def pooling_factor(self) -> int:
        """Pixels of the image per pixel of the bottom level: ``2 ** depth``."""
        return 1 << self.depth

    @property
    def halo(self) -> int:
        """Pixels that the unpadded network loses on each side: 92 for the paper's."""
        lost_per_level = CONVOLUTIONS_PER_LEVEL * (KERNEL // 2)
        above_bottom = 2 * lost_per_level * (self.pooling_factor - 1)
        return above_bottom + lost_per_level * self.pooling_factor

    @property
    def smallest_input(self) -> int:
        """Smallest spatial size that passes all poolings evenly; larger ones add the factor.

        Unpadded outputs are 4, 4 + factor, 4 + 2 * factor, ... pixels long: 388 = 4 + 24 * 16.
        """
        if self.padding == "same":
            return self.pooling_factor
        return 2 * self.halo + 4
