"""Objects that were separated block by block become one numbering.

Each block sees some way into its neighbours, so both label the same strip along the face between
them. What one block calls *a* and the other *b* is one object where the two agree about that
strip. Only objects that reach the face from both sides matter: the others lie in one block.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from napari_unet.data.frames import box_within
from napari_unet.errors import LabelsError
from napari_unet.objects.overlaps import joint_objects
from napari_unet.objects.separation import areas_and_sums, means_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from napari_unet.data.axes import Region
    from napari_unet.objects.separation import Foreground

# Pixels on each side of a face that are compared.
STRIP = 4
# Two labels are one object if their shares of the strip overlap by at least this (IoU).
_SAME = 0.5

Labels: TypeAlias = "NDArray[np.int32]"


@dataclass(frozen=True)
class BlockObjects:
    """What is needed of a block to join it to its neighbours."""

    count: int
    """Objects that the block owns pixels of: numbers 1..count."""
    low: Mapping[int, Labels]
    """By axis the labels on both sides of the face at the low end of the block, as this block sees
    them; missing at the edge of the image.
    """
    high: Mapping[int, Labels]
    """Likewise at the high end."""
    areas: NDArray[np.int64]
    """Pixels of each number from 0 to count that the block owns."""
    sums: NDArray[np.int64]
    """Their probabilities in steps of 1/255, summed up."""
    votes: NDArray[np.int64] | None = None
    """Where objects are of several classes: how many of these pixels are of each, (count + 1, n).
    """


def own_labels(
    labels: Labels, foreground: Foreground, seen: Region, own: Region
) -> tuple[Labels, BlockObjects]:
    """Cut the box that a block owns from the one that it sees, and renumber its objects 1..count.

    With these labels come its strips in the same numbers; objects that it owns no pixel of have
    higher ones there.
    """
    inner = box_within(own, seen)
    owned = np.zeros(int(labels.max(initial=0)) + 1, bool)
    owned[labels[inner]] = True
    owned[0] = False
    count = np.count_nonzero(owned)
    # After the owned ones come the others, in their order.
    lookup = np.where(owned, np.cumsum(owned), count + np.cumsum(~owned) - 1).astype(np.int32)
    lookup[0] = 0
    low, high = {}, {}
    for axis, (part, whole) in enumerate(zip(own, seen, strict=True)):
        if part.start > whole.start:
            low[axis] = lookup[_strip(labels, inner, axis, inner[axis].start)]
        if part.stop < whole.stop:
            high[axis] = lookup[_strip(labels, inner, axis, inner[axis].stop)]
    found = lookup[labels[inner]]
    areas, sums = areas_and_sums(found, foreground[inner])
    return found, BlockObjects(int(count), low, high, areas, sums)


def no_objects(seen: Region, own: Region) -> BlockObjects:
    """Return what joins a block without objects to its neighbours."""
    low, high = {}, {}
    for axis, (part, whole) in enumerate(zip(own, seen, strict=True)):
        shape = [each.stop - each.start for each in own]
        shape[axis] = 2 * STRIP
        if part.start > whole.start:
            low[axis] = np.zeros(shape, np.int32)
        if part.stop < whole.stop:
            high[axis] = np.zeros(shape, np.int32)
    nothing = np.zeros(1, np.int64)
    return BlockObjects(0, low, high, nothing, nothing)


def _strip(labels: Labels, inner: Region, axis: int, face: int) -> Labels:
    """Take the pixels on both sides of a face, as wide as the block's own box."""
    box = list(inner)
    box[axis] = slice(face - STRIP, face + STRIP)
    return labels[tuple(box)]


def same_objects(before: Labels, after: Labels, axis: int) -> NDArray[np.int64]:
    """Find the objects that cross the face between two blocks.

    `before` and `after` are the strip along the face in the numbers of the block before it, and of
    the one after. The face lies behind the first `STRIP` pixels of `axis`. Returns the shape (n,
    2): number before, number after.
    """
    reaching_before = np.unique(before.take(STRIP - 1, axis))
    reaching_after = np.unique(after.take(STRIP, axis))
    first, second, pixels = joint_objects(before, after)
    sizes = np.bincount(before.ravel())[first] + np.bincount(after.ravel())[second]
    same = np.isin(first, reaching_before) & np.isin(second, reaching_after)
    same &= pixels / (sizes - pixels) >= _SAME
    return np.stack([first[same], second[same]], axis=1).astype(np.int64)


def final_numbers(
    blocks: Sequence[BlockObjects],
    pairs: Sequence[tuple[int, int, NDArray[np.int64]]],
    kept: Callable[[NDArray[np.int64], NDArray[np.float64]], NDArray[np.bool_]],
    first: int = 0,
) -> tuple[list[NDArray[np.uint32]], int]:
    """Give all objects of all blocks their numbers, which begin above `first`.

    Known are the objects of each block, and of pairs of blocks which of their objects are one: see
    `same_objects`. `kept` says by pixels and mean probability of whole objects which of them count;
    others become background. Returns per block a table from its numbers (0 to count) to the final
    ones, without gaps and in the order of the blocks; and the highest number given. Raises
    LabelsError if there are more than 32 bits can number.
    """
    counts = [block.count for block in blocks]
    if first + sum(counts) > np.iinfo(np.uint32).max:
        raise LabelsError(
            f"There are more than {np.iinfo(np.uint32).max:,} objects; labels of 32 bits cannot "
            "number them. Predict the image in parts."
        )
    from scipy.sparse import coo_array  # on use, as above
    from scipy.sparse.csgraph import connected_components

    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    total = int(offsets[-1])
    links = [
        np.stack([p[:, 0] + offsets[a], p[:, 1] + offsets[b]], axis=1) - 1
        for a, b, p in pairs
        if len(p)
    ]
    number = np.arange(total)
    if links:
        rows, columns = np.concatenate(links).T
        graph = coo_array((np.ones(len(rows), bool), (rows, columns)), shape=(total, total))
        number = connected_components(graph, directed=False)[1]
    _, first_member, component = np.unique(number, return_index=True, return_inverse=True)
    areas, sums = (
        np.bincount(component, np.concatenate([np.zeros(0), *of_blocks])).astype(np.int64)
        for of_blocks in zip(*((block.areas[1:], block.sums[1:]) for block in blocks), strict=True)
    )
    counted = kept(areas, means_of(areas, sums))
    order = np.zeros(len(first_member), np.int64)
    in_order = np.argsort(first_member)
    in_order = in_order[counted[in_order]]
    order[in_order] = np.arange(1, len(in_order) + 1) + first
    final = order[component].astype(np.uint32)
    tables = [np.concatenate([np.zeros(1, np.uint32), final[a:b]]) for a, b in pairwise(offsets)]
    return tables, first + len(in_order)
