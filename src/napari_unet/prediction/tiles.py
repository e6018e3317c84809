"""Where the tiles of a prediction lie: pure geometry, no pixels.

One axis of an image of 20 pixels, a network of pooling factor 8 and tiles of stride 16::

    image            |01234567890123456789|
    tile 0   .. halo --<------ 20 ------>-- halo      output from -2, written 0..13
    tile 1                   .. halo --<------ 20 ------>-- halo   output from 14, written 14..19

Outputs start at -2 modulo the factor and strides are multiples of it, so that each tile meets the
same pooling grid; unpadded outputs are 4 pixels longer than a multiple of the factor, and those
4 pixels are thrown away. So every pixel is written once and is the same in any plan.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

from napari_unet.data.binning import plane_factors
from napari_unet.errors import ConfigError
from napari_unet.model.execution import OUTPUT_PHASE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from napari_unet.data.axes import Region
    from napari_unet.model.config import UNetConfig
    from napari_unet.prediction.config import ViewPoint

# Pixels of a tile's output along each axis: 768 with a halo of 92 is the sweet spot in 2D.
DEFAULT_TILE_SIZE = {2: 768, 3: 96}

# Of the image: results and events of a tile stay small, however much the network sees at once.
LARGEST_TILE_SIDE = 1536


@dataclass(frozen=True)
class TilePlan:
    """The tiles of one frame; together they hold each pixel exactly once.

    Parameters
    ----------
    regions : tuple of Region
        Boxes of the frame, in ``[Z]YX``, row-major.
    """

    regions: tuple[Region, ...]

    def __len__(self) -> int:
        return len(self.regions)

    def __iter__(self) -> Iterator[Region]:
        return iter(self.regions)

    def within(self, region: Region, near: ViewPoint | None = None) -> TilePlan:
        """Return the parts of the tiles that lie in a box, those near a view point first."""
        parts = [_overlap(tile, region) for tile in self.regions]
        tiles = [part for part in parts if all(p.start < p.stop for p in part)]
        if near is not None:
            centre = near.centre
            tiles.sort(key=lambda tile: _distance(tile, centre))
        return TilePlan(tuple(tiles))


def _overlap(tile: Region, region: Region) -> Region:
    return tuple(
        slice(max(t.start, r.start), min(t.stop, r.stop)) for t, r in zip(tile, region, strict=True)
    )


def _distance(tile: Region, point: Sequence[float]) -> float:
    """Squared distance of a point to a box; 0 inside."""
    gaps = [max(t.start - p, 0.0, p - t.stop) for t, p in zip(tile, point, strict=True)]
    return float(sum(gap * gap for gap in gaps))


def plan_tiles(
    shape: Sequence[int], config: UNetConfig, tile_size: int | None = None, binning: int = 1
) -> TilePlan:
    """Cut a frame into tiles of about equal size.

    Parameters
    ----------
    shape : sequence of int
        ``[Z]YX`` shape of the frame.
    config : UNetConfig
        The network: its pooling factor decides where tiles may start.
    tile_size : int, optional
        Largest edge length of a tile in pixels of the network, without its halo.
    binning : int
        Pixels of the image per pixel of the network, along Y and X.

    Raises
    ------
    ConfigError
        The tile size is smaller than the pooling factor.
    """
    factor = config.pooling_factor
    largest = tile_size
    if largest is None:
        largest = min(DEFAULT_TILE_SIZE[config.ndim], max(factor, LARGEST_TILE_SIDE // binning))
    if largest < factor:
        raise ConfigError(
            f"Tiles of {largest} pixels are too small for a network of depth {config.depth}; "
            f"choose at least {factor}."
        )
    per_axis = [
        _cut_axis(size, factor, largest, k)
        for size, k in zip(shape, plane_factors(config.ndim, binning), strict=True)
    ]
    return TilePlan(tuple(product(*per_axis)))


def _cut_axis(size: int, factor: int, largest: int, binning: int) -> list[slice]:
    """Cut one axis into equal strides: ragged last tiles would waste up to half the work."""
    binned = -(-size // binning)
    first = -(-OUTPUT_PHASE % factor)  # 0 for a factor of 2: an empty tile would come first
    to_cover = binned - first
    n_tiles = -(-to_cover // (largest // factor * factor))
    stride = -(-to_cover // (n_tiles * factor)) * factor
    starts = range(first, binned, stride)
    return [
        slice(max(0, start) * binning, min(size, (start + stride) * binning)) for start in starts
    ]
