"""Hold back a share of the paint for validation, by spatial blocks.

Patches overlap, so that a split by patches would validate on pixels that were trained on. Blocks
of pixels never do: a validation block carries no training weight in any patch.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise, product
from typing import TYPE_CHECKING

import numpy as np

from napari_unet.data.labels import UNLABELLED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_unet.data.axes import Region

# A class keeps at least this share of its paint for training.
_KEPT_FOR_TRAINING = 0.5
# More blocks would make the score no surer, and every validation longer.
_MOST_BLOCKS = 64


@dataclass(frozen=True)
class Block:
    """A box of pixels of one frame."""

    frame: int
    region: Region
    """In ``[Z]YX``."""


@dataclass(frozen=True)
class BlockPlace:
    """Where a block lies, in plain numbers that can be written to a file."""

    image: int
    frame: tuple[int, ...]
    """Index on the frame axes of the image."""
    bounds: tuple[tuple[int, int], ...]
    """Start and stop along ``[Z]YX``."""

    @classmethod
    def of(cls, image: int, frame: tuple[int, ...], region: Region) -> BlockPlace:
        """Describe a box of a frame of an image."""
        return cls(image, frame, tuple((part.start, part.stop) for part in region))

    def as_region(self) -> Region:
        """Return the box as slices."""
        return tuple(slice(start, stop) for start, stop in self.bounds)


def validation_blocks(
    classes: Sequence[NDArray[np.int16]],
    n_classes: int,
    share: float,
    block_shape: Sequence[int],
    rng: np.random.Generator,
    kept: Sequence[Block] = (),
    trained_on: Sequence[NDArray[np.bool_] | None] = (),
) -> tuple[Block, ...]:
    """Choose blocks that together hold about `share` of the painted pixels.

    There is none where the paint is too little, or in too few places, to spare any.

    Parameters
    ----------
    classes : sequence of ndarray
        Per frame the network class of each pixel, -1 where unlabelled (see ``Target``).
    kept : sequence of Block
        Already held back, and to stay so.
    trained_on : sequence of ndarray or None
        Per frame the pixels that a network has already learned from: no block may hold one.
    """
    blocks = [
        Block(frame, region)
        for frame, frame_classes in enumerate(classes)
        for region in _block_regions(frame_classes.shape, block_shape)
    ]
    counts = np.array([_class_counts(classes[b.frame][b.region], n_classes) for b in blocks])
    total = counts.sum(axis=0)
    wanted = share * total.sum()
    held_back = np.zeros_like(total)
    chosen: list[Block] = list(kept)
    for block in kept:
        held_back += _class_counts(classes[block.frame][block.region], n_classes)
    for i in rng.permutation(np.flatnonzero(counts.sum(axis=1))):
        after = held_back + counts[i]
        if blocks[i] in chosen or _was_trained_on(blocks[i], trained_on):
            continue
        if held_back.sum() >= wanted or len(chosen) >= _MOST_BLOCKS:
            break
        if after.sum() > 1.5 * wanted or np.any(after > (1 - _KEPT_FOR_TRAINING) * total):
            continue
        held_back = after
        chosen.append(blocks[i])
    # Scores need both sides of the question: background and something else.
    return tuple(chosen) if np.count_nonzero(held_back) >= 2 else ()


def _was_trained_on(block: Block, trained_on: Sequence[NDArray[np.bool_] | None]) -> bool:
    pixels = trained_on[block.frame] if trained_on else None
    return pixels is not None and bool(pixels[block.region].any())


def _block_regions(shape: tuple[int, ...], block_shape: Sequence[int]) -> list[Region]:
    edges = []
    for size, block_size in zip(shape, block_shape, strict=True):
        n = max(1, round(size / block_size))
        bounds = np.linspace(0, size, n + 1).round().astype(int)
        edges.append([slice(a, b) for a, b in pairwise(bounds.tolist())])
    return [tuple(region) for region in product(*edges)]


def _class_counts(classes: NDArray[np.int16], n_classes: int) -> NDArray[np.int64]:
    return np.bincount(classes[classes != UNLABELLED], minlength=n_classes)
