"""From foreground probabilities to separate objects, of a whole or block by block.

The network learned a one-pixel ridge of background between touching objects. So the foreground
splits into 4-connected components (8 neighbours would join 44 % of them again). Where the ridge is
weak, a component still separates at a higher threshold: it is then split, if at least two of the
parts are considerable, the more so the higher the threshold, where single cells split as well.
Where dozens of cells have become one component no part is a considerable share of it: there the
size of a typical cell is the measure. The parts grow back over the ridge.

A network that learned from a few painted cells is often above the threshold where nothing is, but
seldom far above it. Of such a network objects count only whose mean probability is high enough, the
more so if they are smaller than any painted cell: `is_sure`.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
from scipy import ndimage as ndi

from napari_unet.data.frames import box_within
from napari_unet.data.labels import DEFAULT_THRESHOLD
from napari_unet.data.rescaling import plane_factors
from napari_unet.errors import LabelsError
from napari_unet.objects.overlaps import joint_objects

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from napari_unet.data.axes import Region
    from napari_unet.data.rescaling import Factors
    from napari_unet.objects.limits import Limits

Foreground: TypeAlias = "NDArray[np.float32] | NDArray[np.uint8]"

# Ridges are one pixel wide in the labels; a network draws them up to about three wide.
_RIDGE_RADIUS = 2
# At these shares of the way from the threshold to certainty a component may split, if its
# parts have at least such a share of its area. Compared on three sets (docs/accuracy.md).
_SPLITTING_LEVELS = ((0.4, 0.1), (0.7, 0.2), (0.9, 0.3))
# A component counts for no more than so many typical objects, however many have merged.
_MOST_OBJECTS = 1.75
# Probabilities in uint8 count steps of one over so many.
_STEPS = 255
_PART = 2**18
# An object of fewer pixels than a cell should have is one if its mean probability reaches this
# share of the way from the threshold to certainty.
_SURE_WHERE_SMALL = 0.7


def separate_objects(
    foreground: Foreground,
    smallest: int = 0,
    threshold: float = DEFAULT_THRESHOLD,
    binning: float = 1,
    typical: float = 0,
    part: int = 0,
) -> NDArray[np.int32]:
    """Label the single objects in a foreground probability map: 1..N without gaps, int32.

    The map is ``[Z]YX``, floats from 0 to 1, or uint8 in steps of 1/255, which is a fourth of the
    memory. Components of fewer pixels than `smallest` are dropped, and none is split into parts of
    fewer, or of fewer than `part`. Ridges are as much wider as the
    network's pixels are (`binning`). `typical` are the pixels of a typical object; 0: unknown, and
    parts are only compared with their component.
    """
    inside = _above(foreground, threshold)
    objects = _without_small(_components(inside), smallest)
    for level, share in _SPLITTING_LEVELS:
        if len(objects.sizes) == 1:
            return objects.labels
        cores = _components(_above(foreground, threshold + level * (1 - threshold)))
        objects = _split(objects, cores, share, max(smallest, part), typical)
    return _grown(objects.labels, foreground, _closed(inside, plane_factors(inside.ndim, binning)))


def is_sure(
    areas: NDArray[np.int64], means: NDArray[np.float64], threshold: float, limits: Limits
) -> NDArray[np.bool_]:
    """Return which objects, by their pixels and mean probabilities, are sure enough to count."""
    needed = np.where(areas < limits.doubtful, max(limits.sure, _SURE_WHERE_SMALL), limits.sure)
    enough: NDArray[np.bool_] = (means >= threshold + needed * (1 - threshold)) | (needed == 0)
    return enough


def without_unsure(
    labels: NDArray[np.int32], foreground: Foreground, threshold: float, limits: Limits
) -> NDArray[np.int32]:
    """Drop the objects that are not sure enough, and number the others 1..N."""
    if not (limits.sure or limits.doubtful):
        return labels
    areas, sums = _areas_and_sums(labels, foreground)
    kept = is_sure(areas, _means(areas, sums), threshold, limits)
    kept[0] = False
    found: NDArray[np.int32] = _ranks(kept)[labels]
    return found


def confidences(foreground: Foreground, labels: NDArray[Any]) -> NDArray[np.float64]:
    """Return the mean probability of each object, by its number; 0 for the background."""
    means = _means(*_areas_and_sums(labels, foreground))
    means[0] = 0
    return means


def _areas_and_sums(
    labels: NDArray[Any], foreground: Foreground
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Count the pixels of each number, and sum up their probabilities in steps of 1/255."""
    count = int(labels.max(initial=0)) + 1
    areas, sums = np.zeros(count, np.int64), np.zeros(count, np.int64)
    flat, probabilities = labels.ravel(), foreground.ravel()
    for part in _parts(labels):
        numbers = flat[part]
        areas += np.bincount(numbers, minlength=count)
        steps = _in_steps(probabilities[part])
        sums += np.bincount(numbers, steps, minlength=count).astype(np.int64)  # exact in float64
    return areas, sums


def _means(areas: NDArray[np.int64], sums: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.asarray(sums / np.maximum(areas, 1) / _STEPS)


class _Objects(NamedTuple):
    """Labels 0..N, and how many pixels each has."""

    labels: NDArray[np.int32]
    sizes: NDArray[np.int64]


def _above(foreground: Foreground, probability: float) -> NDArray[np.bool_]:
    if foreground.dtype != np.uint8:
        return np.asarray(foreground > probability)
    steps = np.arange(_STEPS + 1, dtype=np.float32) / np.float32(_STEPS)
    below = np.count_nonzero(steps <= probability)  # pixels of so many values are not above
    return np.asarray(foreground >= below)


def _in_steps(foreground: Foreground) -> NDArray[np.uint8]:
    if foreground.dtype == np.uint8:
        return foreground.astype(np.uint8, copy=False)
    return _STEPS - np.round((1.0 - foreground.clip(0, 1)) * _STEPS).astype(np.uint8)


def _components(mask: NDArray[np.bool_]) -> _Objects:
    labels, count = ndi.label(mask)  # face neighbours only
    sizes = np.zeros(count + 1, np.int64)
    for part in _parts(labels):
        sizes += np.bincount(labels.reshape(-1)[part], minlength=count + 1)
    return _Objects(labels, sizes)


def _grown(
    seeds: NDArray[np.int32], foreground: Foreground, mask: NDArray[np.bool_]
) -> NDArray[np.int32]:
    """Let seeds grow into what no seed holds; only their rims take part, which is much faster."""
    from skimage.segmentation import watershed  # on use: it takes half a second

    free = mask & (seeds == 0)
    rim = ndi.binary_dilation(free, ndi.generate_binary_structure(free.ndim, 1)) & (seeds > 0)
    # uint8 priorities make the watershed several times faster than float ones.
    priority = _STEPS - _in_steps(foreground)
    grown = watershed(priority, np.where(rim, seeds, 0), mask=free | rim)
    return np.where(free, grown, seeds).astype(np.int32, copy=False)


def _parts(labels: NDArray[Any]) -> Iterator[slice]:
    """Cut the flat array so that what NumPy makes of a part, in 64 bits, stays small."""
    for start in range(0, labels.size, _PART):
        yield slice(start, start + _PART)


def _without_small(objects: _Objects, smallest: int) -> _Objects:
    """Drop small components and renumber the others 1..N."""
    kept = objects.sizes >= max(smallest, 1)
    kept[0] = False
    return _Objects(_ranks(kept)[objects.labels], _background_and(objects.sizes[kept]))


def _ranks(kept: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Return 1, 2, 3 ... for those that are kept, 0 for the others."""
    return np.where(kept, np.cumsum(kept), 0).astype(np.int32)


def _background_and(sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate([np.zeros(1, np.int64), sizes])


def _split(
    objects: _Objects, cores: _Objects, share: float, smallest: int, typical: float
) -> _Objects:
    """Replace each object that holds two or more cores of such a share of it by these cores."""
    parent = np.zeros(len(cores.sizes), np.int32)
    for part in _parts(cores.labels):  # a core lies within one object, or in what was dropped
        parent[cores.labels.reshape(-1)[part]] = objects.labels.reshape(-1)[part]
    parent[0] = 0
    whole_sizes = np.minimum(objects.sizes, _MOST_OBJECTS * typical or np.inf)
    considerable = cores.sizes >= np.maximum(share * whole_sizes[parent], smallest)
    considerable &= parent > 0
    splits = np.bincount(parent[considerable], minlength=len(objects.sizes)) >= 2
    if not splits.any():
        return objects
    whole = ~splits
    whole[0] = False
    parts = splits[parent] & considerable
    labels = _ranks(whole)[objects.labels]
    labels += np.where(parts, _ranks(parts) + np.count_nonzero(whole), 0).astype(np.int32)[
        cores.labels
    ]
    sizes = np.concatenate([objects.sizes[whole], cores.sizes[parts]])
    return _Objects(labels, _background_and(sizes))


def _closed(inside: NDArray[np.bool_], factors: Factors) -> NDArray[np.bool_]:
    """Fill the ridges, which are narrow, without growing outer borders."""
    margin = int(np.ceil(_RIDGE_RADIUS * max(1, *factors)))
    ball = ndi.generate_binary_structure(inside.ndim, 1)
    radius = max(1, round(_RIDGE_RADIUS * min(1, *factors)))  # enlarged for the network: narrower
    padded = np.pad(inside, margin, mode="edge")  # the image continues beyond its border
    closed = ndi.binary_dilation(padded, ball, iterations=radius)
    wider = round(_RIDGE_RADIUS * (max(factors) - 1))
    if wider > 0:  # ridges are wider along the axes that are binned
        flat = ball & _binned_axes(factors)
        closed = ndi.binary_dilation(closed, flat, iterations=wider)
        closed = ndi.binary_erosion(closed, flat, iterations=wider, border_value=1)
    closed = ndi.binary_erosion(closed, ball, iterations=radius, border_value=1)
    inner = tuple(slice(margin, -margin) for _ in range(inside.ndim))
    result: NDArray[np.bool_] = closed[inner] | inside
    return result


def _binned_axes(factors: Factors) -> NDArray[np.bool_]:
    """Mark the part of a structure of 3 pixels that reaches out along binned axes only."""
    within = np.zeros((3,) * len(factors), bool)
    within[tuple(slice(None) if k > 1 else slice(1, 2) for k in factors)] = True
    return within


# --- Objects that were separated block by block become one numbering -----------------------------
#
# Each block sees some way into its neighbours, so both label the same strip along the face between
# them. What one block calls *a* and the other *b* is one object where the two agree about that
# strip. Only objects that reach the face from both sides matter: the others lie in one block.

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
    areas, sums = _areas_and_sums(found, foreground[inner])
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
    counted = kept(areas, _means(areas, sums))
    order = np.zeros(len(first_member), np.int64)
    in_order = np.argsort(first_member)
    in_order = in_order[counted[in_order]]
    order[in_order] = np.arange(1, len(in_order) + 1) + first
    final = order[component].astype(np.uint32)
    tables = [np.concatenate([np.zeros(1, np.uint32), final[a:b]]) for a, b in pairwise(offsets)]
    return tables, first + len(in_order)
