"""From foreground probabilities to separate objects.

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

from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
from scipy import ndimage as ndi

from napari_unet.data.labels import DEFAULT_THRESHOLD
from napari_unet.data.rescaling import plane_factors

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

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
            return np.zeros(inside.shape, np.int32)
        cores = _components(_above(foreground, threshold + level * (1 - threshold)))
        objects = _split(objects, cores, share, max(smallest, part), typical)
    seeds = objects.numbers[objects.labels]
    return _grown(seeds, foreground, _closed(inside, plane_factors(inside.ndim, binning)))


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
    areas, sums = areas_and_sums(labels, foreground)
    kept = is_sure(areas, means_of(areas, sums), threshold, limits)
    kept[0] = False
    found: NDArray[np.int32] = _ranks(kept)[labels]
    return found


def confidences(foreground: Foreground, labels: NDArray[Any]) -> NDArray[np.float64]:
    """Return the mean probability of each object, by its number; 0 for the background."""
    means = means_of(*areas_and_sums(labels, foreground))
    means[0] = 0
    return means


def areas_and_sums(
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


def means_of(areas: NDArray[np.int64], sums: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the mean probability of each object by its pixels and their sum in steps."""
    return np.asarray(sums / np.maximum(areas, 1) / _STEPS)


class _Components(NamedTuple):
    """Labels 0..N, where they lie row by row, and how many pixels each has."""

    labels: NDArray[np.int32]
    starts: NDArray[np.int64]
    """The first pixel of each run of marked pixels along the last axis, in the flat image."""
    lengths: NDArray[np.int64]
    """The pixels of each run."""
    of_runs: NDArray[np.int32]
    """The label of each run."""
    sizes: NDArray[np.int64]


class _Objects(NamedTuple):
    """Objects 1..N. What a label counts as is looked up: so no pass renumbers the whole image."""

    labels: NDArray[np.int32]
    numbers: NDArray[np.int32]
    """The number of the object that each label belongs to; 0: none any more."""
    sizes: NDArray[np.int64]
    """Pixels of each object; of 0, the background, none."""


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


def _components(mask: NDArray[np.bool_]) -> _Components:
    labels, count = ndi.label(mask)  # face neighbours only
    first, last = mask.copy(), mask.copy()
    first[..., 1:] &= ~mask[..., :-1]
    last[..., :-1] &= ~mask[..., 1:]
    starts = np.flatnonzero(first)
    lengths = np.flatnonzero(last) - starts + 1
    of_runs = labels.reshape(-1)[starts]
    sizes = np.bincount(of_runs, lengths, count + 1).astype(np.int64)  # exact in float64
    return _Components(labels, starts, lengths, of_runs, sizes)


def _grown(
    seeds: NDArray[np.int32], foreground: Foreground, mask: NDArray[np.bool_]
) -> NDArray[np.int32]:
    """Let seeds grow into what no seed holds; only their rims take part, which is much faster."""
    from skimage.segmentation import watershed  # on use: it takes half a second

    held = seeds > 0
    free = mask & ~held
    rim = _dilated(free, range(free.ndim)) & held
    # uint8 priorities make the watershed several times faster than float ones.
    priority = _STEPS - _in_steps(foreground)
    grown = watershed(priority, np.where(rim, seeds, 0), mask=free | rim)
    return np.where(free, grown, seeds).astype(np.int32, copy=False)


def _parts(labels: NDArray[Any]) -> Iterator[slice]:
    """Cut the flat array so that what NumPy makes of a part, in 64 bits, stays small."""
    for start in range(0, labels.size, _PART):
        yield slice(start, start + _PART)


def _without_small(components: _Components, smallest: int) -> _Objects:
    """Drop small components; the others are objects 1..N."""
    kept = components.sizes >= max(smallest, 1)
    kept[0] = False
    sizes = _background_and(components.sizes[kept])
    return _Objects(components.labels, _ranks(kept), sizes)


def _ranks(kept: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Return 1, 2, 3 ... for those that are kept, 0 for the others."""
    return np.where(kept, np.cumsum(kept), 0).astype(np.int32)


def _background_and(sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate([np.zeros(1, np.int64), sizes])


def _split(
    objects: _Objects, cores: _Components, share: float, smallest: int, typical: float
) -> _Objects:
    """Replace each object that holds two or more cores of such a share of it by these cores.

    The labels of the cores are written into the image of the labels.
    """
    image = objects.labels.reshape(-1)
    parent = np.zeros(len(cores.sizes), np.int32)
    # a core lies within one object, or in what was dropped
    parent[cores.of_runs] = objects.numbers[image[cores.starts]]
    whole_sizes = np.minimum(objects.sizes, _MOST_OBJECTS * typical or np.inf)
    considerable = cores.sizes >= np.maximum(share * whole_sizes[parent], smallest)
    considerable &= parent > 0
    splits = np.bincount(parent[considerable], minlength=len(objects.sizes)) >= 2
    if not splits.any():
        return objects
    whole = ~splits
    whole[0] = False
    parts = splits[parent] & considerable
    labels_of_parts = _ranks(parts) + np.int32(len(objects.numbers) - 1)
    runs = parts[cores.of_runs]
    lengths = cores.lengths[runs]
    before = np.cumsum(lengths) - lengths
    pixels = np.repeat(cores.starts[runs] - before, lengths) + np.arange(lengths.sum())
    image[pixels] = np.repeat(labels_of_parts[cores.of_runs[runs]], lengths)
    numbers_of_parts = np.arange(np.count_nonzero(parts)) + np.count_nonzero(whole) + 1
    numbers = np.concatenate([_ranks(whole)[objects.numbers], numbers_of_parts], dtype=np.int32)
    sizes = np.concatenate([objects.sizes[whole], cores.sizes[parts]])
    return _Objects(objects.labels, numbers, _background_and(sizes))


def _closed(inside: NDArray[np.bool_], factors: Factors) -> NDArray[np.bool_]:
    """Fill the ridges, which are narrow, without growing outer borders."""
    margin = int(np.ceil(_RIDGE_RADIUS * max(1, *factors)))
    radius = max(1, round(_RIDGE_RADIUS * min(1, *factors)))  # enlarged for the network: narrower
    wider = round(_RIDGE_RADIUS * (max(factors) - 1))
    every, binned = range(inside.ndim), [axis for axis, k in enumerate(factors) if k > 1]
    # ridges are wider along the axes that are binned
    ways = [*[every] * radius, *[binned] * wider]
    changed = np.pad(inside, margin, mode="edge")  # the image continues beyond its border
    for axes in ways:
        changed = _dilated(changed, axes)
    np.logical_not(changed, out=changed)
    for axes in reversed(ways):  # what is outside grows back
        changed = _dilated(changed, axes)
    inner = tuple(slice(margin, -margin) for _ in range(inside.ndim))
    result: NDArray[np.bool_] = ~changed[inner] | inside
    return result


def _dilated(mask: NDArray[np.bool_], axes: Iterable[int]) -> NDArray[np.bool_]:
    """Mark the neighbours along some axes as well: shifted arrays, ten times as fast as SciPy."""
    wider = mask.copy()
    for axis in axes:
        into, of = np.moveaxis(wider, axis, 0), np.moveaxis(mask, axis, 0)
        into[1:] |= of[:-1]
        into[:-1] |= of[1:]
    return wider
