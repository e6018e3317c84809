"""What is held back from the paint to score a training: blocks that nothing is learned from.

Patches overlap, so that a split by patches would validate on pixels that were trained on. Blocks
of pixels never do: a validation block carries no training weight in any patch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise, product
from typing import TYPE_CHECKING

import numpy as np

from napari_unet.data.frames import moved
from napari_unet.data.labels import pixels_per_number
from napari_unet.tasks import count_answers
from napari_unet.training.dataset import same_array

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_unet.data.axes import Region
    from napari_unet.tasks import ClassTable
    from napari_unet.training.config import TrainConfig
    from napari_unet.training.dataset import TrainingData, TrainingFrame

    Place = tuple[int, Region]

# A class keeps at least this share of its paint for training.
_KEPT_FOR_TRAINING = 0.5
# More blocks, or more pixels that a network looks at for them and around them, would make the score
# no surer, and every validation longer.
_MOST_BLOCKS, _MOST_PIXELS = 64, 2**22
# From so many painted cells on some are held back.
CELLS_TO_SPARE_SOME = 20
# Blocks of membranes are so many times as long, while there are at least so many of them.
_LARGER_BLOCKS, _SOME_BLOCKS = (4, 3, 2, 1), 4


@dataclass(frozen=True)
class Block:
    """A box of pixels that is held back, in plain numbers that can be written to a file."""

    image: int
    """Number of the annotated image."""
    frame: tuple[int, ...]
    """Index on the frame axes of the image."""
    bounds: tuple[tuple[int, int], ...]
    """Start and stop along ``[Z]YX`` of the frame, as the network sees it."""

    @property
    def region(self) -> Region:
        """The box as slices."""
        return tuple(slice(start, stop) for start, stop in self.bounds)


def choose_blocks(
    frames: Sequence[TrainingFrame],
    table: ClassTable,
    config: TrainConfig,
    previous: TrainingData | None,
    known: Sequence[Block],
    binning: float,
    membrane: int | None,
) -> tuple[Block, ...]:
    """Hold back blocks; those that are `known` stay, and none is taken that taught `previous`.

    Where there are membranes they are larger: a gap joins the more cells, the more one sees of
    them, so that on small blocks too thin membranes score best (docs/accuracy.md).
    """
    position = {(frame.image, frame.frame.index): i for i, frame in enumerate(frames)}
    kept = [
        (i, moved(block.region, (0,) * config.ndim, frames[i].frame.origin))
        for block in known
        if (i := position.get((block.image, block.frame))) is not None
    ]
    share = config.validation_share if is_plenty(frames, table) else 0.0
    *slices, height, width = config.validation_block_shape(binning)
    halos = config.network(1, 2).halos
    for larger in (1,) if membrane is None else _LARGER_BLOCKS:
        shape = (*slices, larger * height, larger * width)
        seen = math.prod(size + 2 * halo for size, halo in zip(shape, halos, strict=True))
        places = validation_blocks(
            [frame.target.classes for frame in frames],
            table,
            share,
            shape,
            np.random.default_rng([config.seed, 1]),
            kept,
            [_trained_on(frame, previous) for frame in frames],
            max(_SOME_BLOCKS, min(_MOST_BLOCKS, _MOST_PIXELS // seen)),
        )
        if len(places) >= _SOME_BLOCKS:
            break
    return tuple(_block_at(region, frames[i]) for i, region in places)


def _block_at(region: Region, frame: TrainingFrame) -> Block:
    whole = moved(region, frame.frame.origin, (0,) * len(region))
    bounds = tuple((part.start, part.stop) for part in whole)
    return Block(frame.image, frame.frame.index, bounds)


def is_plenty(frames: Sequence[TrainingFrame], table: ClassTable) -> bool:
    """Return whether so much is painted that some of it can be spared.

    Of ten painted cells each one is needed to learn from: they are judged all the same, and what
    is painted later is judged before it is learned.
    """
    if not table.judged_singly:
        return True
    cells = [np.count_nonzero(pixels_per_number(f.target.objects)[1:]) for f in frames]
    return int(sum(cells)) >= CELLS_TO_SPARE_SOME


def _trained_on(frame: TrainingFrame, previous: TrainingData | None) -> NDArray[np.bool_] | None:
    """Return where a previous training learned from a frame, which may have been a smaller box."""
    before = previous.frame_of(frame.image, frame.frame) if previous else None
    if before is None:
        return None
    origin = frame.frame.origin
    trained_on = np.zeros(frame.target.classes.shape, bool)
    trained_on[moved(before.frame.bounds, (0,) * len(origin), origin)] = before.trained_on
    return trained_on


def held_back_of(
    frame: TrainingFrame, frames: Sequence[TrainingFrame], blocks: Sequence[Block]
) -> NDArray[np.bool_]:
    """Return which pixels of a frame are held back, ``[Z]YX`` bool.

    Several annotations may be of the same pixels: what one holds back, no other may teach.
    """
    held_back = np.zeros(frame.target.classes.shape, bool)
    arrays = {other.image: other.frame.array for other in frames}
    for block in blocks:
        same = same_array(arrays[block.image], frame.frame.array)
        if same and block.frame == frame.frame.index:
            region = moved(block.region, (0,) * held_back.ndim, frame.frame.origin)
            held_back[tuple(slice(max(0, p.start), max(0, p.stop)) for p in region)] = True
    return held_back


def validation_blocks(
    classes: Sequence[NDArray[np.int16]],
    table: ClassTable,
    share: float,
    block_shape: Sequence[int],
    rng: np.random.Generator,
    kept: Sequence[Place] = (),
    trained_on: Sequence[NDArray[np.bool_] | None] = (),
    most: int = _MOST_BLOCKS,
) -> list[Place]:
    """Choose at most so many blocks that together hold about `share` of the painted pixels.

    `classes` are those of targets, per frame, -1 where unlabelled. The places `kept` are held
    back already, and stay so. `trained_on` are the pixels of each frame that a network has learned
    from: no block may hold one. Returned are the number of its frame, and the box in it, of each;
    none where the paint is too little, or in too few places, to spare any.
    """
    places = [
        (frame, region)
        for frame, frame_classes in enumerate(classes)
        for region in _block_regions(frame_classes.shape, block_shape)
    ]

    counts = np.array([_counts_in(place, classes, table) for place in places])
    total = counts.sum(axis=0)
    wanted = share * total.sum()
    chosen = list(kept)
    held_back = np.zeros_like(total)
    for place in kept:
        held_back += _counts_in(place, classes, table)
    for i in rng.permutation(np.flatnonzero(counts.sum(axis=1))):
        after = held_back + counts[i]
        if places[i] in chosen or _was_trained_on(places[i], trained_on):
            continue
        if held_back.sum() >= wanted or len(chosen) >= most:
            break
        if after.sum() > 1.5 * wanted or np.any(after > (1 - _KEPT_FOR_TRAINING) * total):
            continue
        held_back = after
        chosen.append(places[i])
    # Scores need both sides of the question: background and something else.
    return chosen if np.count_nonzero(held_back) >= min(2, len(held_back)) else []


def _counts_in(
    place: Place, classes: Sequence[NDArray[np.int16]], table: ClassTable
) -> NDArray[np.int64]:
    return count_answers(classes[place[0]][place[1]], table)


def _was_trained_on(place: Place, trained_on: Sequence[NDArray[np.bool_] | None]) -> bool:
    pixels = trained_on[place[0]] if trained_on else None
    return pixels is not None and bool(pixels[place[1]].any())


def _block_regions(shape: tuple[int, ...], block_shape: Sequence[int]) -> list[Region]:
    edges = []
    for size, block_size in zip(shape, block_shape, strict=True):
        n = max(1, round(size / block_size))
        bounds = np.linspace(0, size, n + 1).round().astype(int)
        edges.append([slice(a, b) for a, b in pairwise(bounds.tolist())])
    return [tuple(region) for region in product(*edges)]
