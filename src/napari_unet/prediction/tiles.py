"""Where the tiles of a prediction lie: pure geometry, no pixels.

One axis of an image of 20 pixels, a network of pooling factor 8 and tiles of stride 16::

    image            |01234567890123456789|
    tile 0   .. halo --<------ 20 ------>-- halo      output from -2, kept: 0..15
    tile 1                   .. halo --<------ 20 ------>-- halo   output from 14, kept: 16..19

Unpadded outputs begin at -2 modulo the factor and are 4 pixels longer than a multiple of it. Two
are thrown away on each side; what is kept begins at multiples of the stride, and strides are
multiples of the factor, so that each tile meets the same pooling grid. So every pixel is written
once, is the same in any plan, and a tile can be a chunk of a file.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_unet.data.rescaling import scaled_size
from napari_unet.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from napari_unet.data.axes import Region
    from napari_unet.data.rescaling import Factors
    from napari_unet.model.record import Geometry

# Pixels of a tile's output along each axis: 768 with a halo of 92 is the sweet spot in 2D.
DEFAULT_TILE_SIZE = {2: 768, 3: 96}

# Of the image: results and events of a tile stay small, however much the network sees at once.
LARGEST_TILE_SIDE = 1536

# Objects are separated in blocks of about this many network pixels along each axis, which see so
# many more on each side: an object that is not larger is the same in any block.
BLOCK_SIZE = {2: 1536, 3: 192}
BLOCK_MARGIN = {2: 128, 3: 32}


@dataclass(frozen=True)
class TilePlan:
    """The tiles of a box of a frame, or its blocks: together they hold each pixel exactly once.

    A few numbers, however many tiles there are: they are counted row by row.
    """

    region: Region
    """The box that they cover, ``[Z]YX``."""
    stride: tuple[int, ...]
    """Pixels from one tile to the next along each axis."""
    origin: tuple[int, ...]
    """Where a tile begins; 0 where tiles are to be the same in any box."""
    margin: tuple[int, ...]
    """Pixels that a block sees on each side beside its own."""

    @property
    def _starts(self) -> list[range]:
        """Where tiles begin along each axis, the first perhaps before the box."""
        return [
            range(origin + (part.start - origin) // stride * stride, part.stop, stride)
            for origin, part, stride in zip(self.origin, self.region, self.stride, strict=True)
        ]

    def __len__(self) -> int:
        return math.prod(map(len, self._starts))

    def __iter__(self) -> Iterator[Region]:
        return (self[number] for number in range(len(self)))

    def __getitem__(self, number: int, /) -> Region:
        starts = self._starts
        position = np.unravel_index(number, [len(along) for along in starts])
        return tuple(
            slice(max(part.start, along[i]), min(part.stop, along[i] + stride))
            for along, i, part, stride in zip(
                starts, position, self.region, self.stride, strict=True
            )
        )

    def seen(self, number: int) -> Region:
        """Return the box that a block sees: its own with the margin, as far as there is any."""
        return tuple(
            slice(max(part.start, own.start - m), min(part.stop, own.stop + m))
            for own, part, m in zip(self[number], self.region, self.margin, strict=True)
        )

    def next_along(self, number: int, axis: int) -> int:
        """Return the number of the block that follows along an axis; there must be one."""
        return number + math.prod(map(len, self._starts[axis + 1 :]))

    def nearest_first(self, near: Sequence[float] | None) -> Sequence[int]:
        """List the numbers of the tiles, those near a point first; of it space comes last."""
        numbers = range(len(self))
        if near is None:
            return numbers
        point = near[-len(self.stride) :]
        return sorted(numbers, key=lambda number: _distance(self[number], point))


def plan_tiles(
    shape: Sequence[int],
    config: Geometry,
    tile_size: int | None = None,
    factors: Factors = (),
) -> TilePlan:
    """Cut a frame, ``[Z]YX``, into tiles of about equal size, at multiples of the pooling factors.

    The tile size is the largest edge length in pixels of the network, without its halo; ConfigError
    if it is smaller than the pooling factor. The factors are pixels of the image per pixel of the
    network; 1 where empty.
    """
    if tile_size is not None and tile_size < config.pooling_factor:
        raise ConfigError(
            f"Tiles of {tile_size} pixels are too small for this network; "
            f"choose at least {config.pooling_factor}."
        )
    strides = []
    for size, k, factor in zip(
        shape, factors or (1.0,) * len(shape), config.pooling_factors, strict=True
    ):
        largest = tile_size or min(DEFAULT_TILE_SIZE[config.ndim], int(LARGEST_TILE_SIDE / k))
        strides.append(_stride(size, factor, max(factor, largest), k))
    nowhere = (0,) * len(strides)
    return TilePlan(tuple(slice(0, size) for size in shape), tuple(strides), nowhere, nowhere)


def plan_blocks(
    region: Region, tile: tuple[int, ...], ndim: int, factors: Factors = ()
) -> TilePlan:
    """Divide a box of a frame, ``[Z]YX``, into the blocks in which its objects are separated.

    They depend neither on the size of the tiles nor on who computes them: nor do the objects. They
    are made of whole default tiles, of the stride `tile`. The factors are pixels of the image per
    pixel of the network, along ``[Z]YX``; 1 where empty.
    """
    strides, margins = [], []
    for part, k, of_tile in zip(region, factors or (1.0,) * ndim, tile, strict=True):
        size = part.stop - part.start
        n_blocks = max(1, round(size / (BLOCK_SIZE[ndim] * k)))
        n_tiles = -(-size // of_tile)
        strides.append(of_tile * -(-n_tiles // n_blocks))
        margins.append(int(np.ceil(BLOCK_MARGIN[ndim] * k)))
    corner = tuple(part.start for part in region)
    return TilePlan(region, tuple(strides), corner, tuple(margins))


def _stride(size: int, factor: int, largest: int, scale: float) -> int:
    """Return equal strides in image pixels: ragged last tiles would waste up to half the work."""
    pixels = scaled_size(size, scale)
    n_tiles = -(-pixels // (largest // factor * factor))
    stride = -(-pixels // (n_tiles * factor)) * factor
    return max(1, int(stride * scale))


def _distance(tile: Region, point: Sequence[float]) -> float:
    """Squared distance of a point to a box; 0 inside."""
    gaps = [max(t.start - p, 0.0, p - t.stop) for t, p in zip(tile, point, strict=True)]
    return float(sum(gap * gap for gap in gaps))
