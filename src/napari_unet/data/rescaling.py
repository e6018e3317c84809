"""Images seen on a coarser or finer grid, read region by region, and results brought back.

Two reasons to look at an image on another grid: cells are larger or smaller than a network knows
them best (:mod:`napari_unet.data.binning`), and an image taken with another objective than the
training images has its cells at another size. The grid begins at the corner of
the first pixel; *factors* are image pixels per pixel of the grid along ``[Z]YX``, whole or not.
"""

from __future__ import annotations

import math
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from napari_unet.data.axes import Region

    Pixels = NDArray[np.floating[Any]]

Factors = tuple[float, ...]

# Between pixel or cell sizes: a larger one is a wrong unit rather than another objective.
LARGEST_RATIO = 20.0

# A last pixel of the grid that would lie to less than this in the image is left out.
_SLIVER = 1e-6


def size_of_cell(
    diameter: float,
    ndim: int,
    pixel_size: Mapping[str, float] = MappingProxyType({}),
    flat: int = 0,
) -> float:
    """Return how many pixels or voxels a round cell of a diameter in pixels of the plane covers.

    Where the sizes of voxels along Z are not known, `flat`, the levels of the network that do not
    pool along Z, show how thick slices are.
    """
    if ndim == 2:
        return math.pi / 4 * diameter**2
    known = "Z" in pixel_size and "X" in pixel_size
    anisotropy = pixel_size["Z"] / pixel_size["X"] if known else 2.0**flat
    return math.pi / 6 * diameter**3 / anisotropy


def read_scaled(
    read: Callable[[Region], Pixels], shape: Sequence[int], factors: Factors, region: Region
) -> Pixels:
    """Read a region of the grid of an image of size `shape`, of which `read` reads any region.

    Where the grid is coarser its pixels are means of the area that they cover, where it is finer
    they are interpolated linearly.
    """
    wanted = [
        part.indices(scaled_size(size, k))
        for part, size, k in zip(region, shape, factors, strict=True)
    ]
    boxes = [
        _source(start, stop, k, size)
        for (start, stop, _), k, size in zip(wanted, factors, shape, strict=True)
    ]
    pixels = read(tuple(boxes))
    finite = np.isfinite(pixels)
    if not finite.all():  # of infinities there are neither means nor shares
        pixels = np.where(finite, pixels, pixels.dtype.type(np.nan))
    for axis, ((start, stop, _), box, k, size) in enumerate(
        zip(wanted, boxes, factors, shape, strict=True), start=1
    ):
        pixels = _resampled(pixels, axis, range(start, stop), box.start, k, size)
    steps = (slice(None), *(slice(None, None, step) for _, _, step in wanted))
    return np.ascontiguousarray(pixels[steps])


def plane_factors(ndim: int, factor: float) -> Factors:
    """Return the factors along ``[Z]YX`` of a grid that differs in the plane alone."""
    return (1,) * (ndim - 2) + (factor, factor)


def scaled_size(size: int, factor: float) -> int:
    """Return how many pixels of a grid cover an axis of the image."""
    return max(1, int(np.ceil(size / factor - _SLIVER)))


def scaled_region(region: Region, factors: Sequence[float], shape: Sequence[int]) -> Region:
    """Find the box of a grid of size `shape` from which `enlarged` makes a region of the image."""
    box = []
    for part, k, size in zip(region, factors, shape, strict=True):
        margin = 0 if k == 1 else 1
        start = min(max(0, int(np.floor(part.start / k)) - margin), size - 1)
        box.append(slice(start, min(size, int(np.ceil(part.stop / k)) + margin)))
    return tuple(box)


def enlarged(
    coarse: NDArray[np.float32], start: Sequence[int], region: Region, factors: Sequence[float]
) -> NDArray[np.float32]:
    """Bring values of a box of a grid that begins at `start` to the pixels of a region.

    Of a coarser grid they are interpolated linearly, of a finer one a pixel takes the mean of what
    it covers: a gap that is narrower than a pixel still lowers its value. Beyond the outermost
    centres the outermost value holds.
    """
    values: Pixels = coarse
    sides = zip(start, region, factors, strict=True)
    for axis, (first, part, k) in enumerate(sides, start=1):
        if k >= 1:
            at = (np.arange(part.start, part.stop) + 0.5) / k - 0.5 - first
            values = _interpolated(values, axis, at)
        else:
            edges = np.arange(part.start, part.stop + 1) / k - first
            values = _mean_between(values, axis, np.minimum(edges, values.shape[axis]))
    return np.ascontiguousarray(values, dtype=np.float32)


def mean_of_blocks(pixels: Pixels, factors: Sequence[int]) -> Pixels:
    """Average blocks of `factors` pixels along each axis; the dtype stays.

    Blocks that the edge cuts are means of what there is.
    """
    for axis, k in enumerate(factors):
        if k > 1:
            starts = np.arange(0, pixels.shape[axis], k)
            sizes = np.minimum(starts + k, pixels.shape[axis]) - starts
            shape = [-1 if a == axis else 1 for a in range(pixels.ndim)]
            sums = np.add.reduceat(pixels, starts, axis=axis)
            pixels = np.asarray(sums / sizes.reshape(shape), pixels.dtype)
    return pixels


def _source(start: int, stop: int, factor: float, size: int) -> slice:
    """Find the pixels of an axis of the image from which those of the grid are made."""
    margin = 1 if factor < 1 else 0
    first = min(max(0, int(np.floor(start * factor)) - margin), size - 1)
    last = min(size, int(np.ceil(stop * factor)) + margin)
    return slice(first, max(last, first + 1))


def _resampled(
    pixels: Pixels, axis: int, wanted: range, first: int, factor: float, size: int
) -> Pixels:
    """Bring one axis to the grid; `pixels` begin at `first` of the image's `size`."""
    if factor == 1:
        return pixels
    if factor < 1:
        at = (np.arange(wanted.start, wanted.stop) + 0.5) * factor - 0.5 - first
        return _interpolated(pixels, axis, at)
    if factor == int(factor):  # sums in single precision are exact enough, and fast
        blocks = [1] * pixels.ndim
        blocks[axis] = int(factor)
        return mean_of_blocks(pixels, blocks)
    edges = np.minimum(np.arange(wanted.start, wanted.stop + 1) * factor, size) - first
    return _mean_between(pixels, axis, edges)


def _mean_between(pixels: Pixels, axis: int, edges: NDArray[np.float64]) -> Pixels:
    """Average over the area between neighbouring edges: differences of the running integral.

    Means of pixels of which one is NaN are NaN, and those alone.
    """
    bad = np.isnan(pixels)
    if bad.any():  # one would spread to all that comes after it
        means = _mean_between(np.where(bad, pixels.dtype.type(0), pixels), axis, edges)
        share = _mean_between(bad.astype(np.float32), axis, edges)
        return np.where(share > 0, pixels.dtype.type(np.nan), means)
    shape = [-1 if a == axis else 1 for a in range(pixels.ndim)]
    whole = np.minimum(np.floor(edges).astype(np.intp), pixels.shape[axis])
    part = (edges - whole).reshape(shape)
    integral = np.cumsum(pixels, axis=axis, dtype=np.float64)
    integral = np.concatenate([np.zeros_like(integral.take([0], axis)), integral], axis=axis)
    beyond = pixels.take(np.minimum(whole, pixels.shape[axis] - 1), axis)
    at_edges = integral.take(whole, axis) + part * beyond
    return np.asarray(
        np.diff(at_edges, axis=axis) / np.diff(edges).reshape(shape), dtype=pixels.dtype
    )


def _interpolated(values: Pixels, axis: int, at: NDArray[np.floating[Any]]) -> Pixels:
    """Interpolate linearly along one axis; beyond its ends the outermost value holds."""
    at = at.clip(0, values.shape[axis] - 1)
    low = np.floor(at).astype(np.intp)
    high = np.minimum(low + 1, values.shape[axis] - 1)
    shape = [-1 if a == axis else 1 for a in range(values.ndim)]
    share = (at - low).astype(values.dtype).reshape(shape)
    mixed: Pixels = values.take(low, axis) * (1 - share)
    mixed += values.take(high, axis) * share
    return mixed
