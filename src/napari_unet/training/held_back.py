"""What is held back from the paint to score a training: blocks that nothing is learned from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_unet.data.validation_blocks import Block, BlockPlace, validation_blocks
from napari_unet.training.dataset import moved, same_array

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_unet.tasks import ClassTable
    from napari_unet.training.config import TrainConfig
    from napari_unet.training.dataset import TrainingData, TrainingFrame

# From so many painted cells on some are held back.
CELLS_TO_SPARE_SOME = 20
# Blocks of membranes are so many times as long, while there are at least so many of them.
_LARGER_BLOCKS, _SOME_BLOCKS = (4, 3, 2, 1), 4


def choose_blocks(
    frames: Sequence[TrainingFrame],
    table: ClassTable,
    config: TrainConfig,
    previous: TrainingData | None,
    places: Sequence[BlockPlace],
    binning: float,
    membrane: int | None,
) -> tuple[Block, ...]:
    """Hold back blocks; those at `places` stay, and none is taken that taught `previous`.

    Where there are membranes they are larger: a gap joins the more cells, the more one sees of
    them, so that on small blocks too thin membranes score best (docs/accuracy.md).
    """
    position = {(frame.image, frame.frame.index): i for i, frame in enumerate(frames)}
    kept = []
    for place in places:
        i = position.get((place.image, place.frame))
        if i is not None:
            origin = frames[i].frame.origin
            kept.append(Block(i, moved(place.as_region(), (0,) * len(origin), origin)))
    share = config.validation_share if is_plenty(frames, table) else 0.0
    *slices, height, width = config.validation_block_shape(binning)
    for larger in (1,) if membrane is None else _LARGER_BLOCKS:
        blocks = validation_blocks(
            [frame.target.classes for frame in frames],
            table.n_classes,
            share,
            (*slices, larger * height, larger * width),
            np.random.default_rng([config.seed, 1]),
            kept,
            [_trained_on(frame, previous) for frame in frames],
        )
        if len(blocks) >= _SOME_BLOCKS:
            break
    return blocks


def is_plenty(frames: Sequence[TrainingFrame], table: ClassTable) -> bool:
    """Return whether so much is painted that some of it can be spared.

    Of ten painted cells each one is needed to learn from: they are judged all the same, and what
    is painted later is judged before it is learned.
    """
    if not table.judged_singly:
        return True
    cells = sum(len(np.unique(frame.target.objects)) - 1 for frame in frames)
    return cells >= CELLS_TO_SPARE_SOME


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
    origin = frame.frame.origin
    held_back = np.zeros(frame.target.classes.shape, bool)
    for block in blocks:
        other = frames[block.frame].frame
        if other.index == frame.frame.index and same_array(other.array, frame.frame.array):
            region = moved(block.region, other.origin, origin)
            held_back[tuple(slice(max(0, p.start), max(0, p.stop)) for p in region)] = True
    return held_back
