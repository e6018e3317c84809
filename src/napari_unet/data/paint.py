"""Where labels are painted, of images so large that most of their labels are 0.

An empty layer of an image of a terabyte costs nothing: the system gives memory to the pages that
are written alone. What is here keeps it so. Labels are looked at band by band along their first
axis, and bands without paint are left alone.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from napari_unet.data.axes import ArrayLike, Region

_BAND_PIXELS = 2**20


# Boxes around what is marked begin and end on multiples of so many pixels.
BOX_GRID = 32


def bands_of(labels: ArrayLike) -> Iterator[tuple[slice, NDArray[Any]]]:
    """Yield slices of the first axis, some million pixels each, and the labels there.

    Lazy labels are read once.
    """
    rows = max(1, _BAND_PIXELS // max(1, math.prod(labels.shape[1:])))
    for start in range(0, labels.shape[0], rows):
        band = slice(start, min(start + rows, labels.shape[0]))
        yield band, np.asarray(labels[band])


def painted_bands(labels: ArrayLike) -> Iterator[tuple[slice, NDArray[Any]]]:
    """Go through those bands of labels that hold any number but 0; see :func:`bands_of`."""
    return ((band, painted) for band, painted in bands_of(labels) if is_painted(painted))


def is_painted(labels: NDArray[Any]) -> bool:
    """Return whether labels hold any number but 0."""
    # Of numbers the largest is found several times as fast as whether there is one
    return bool(labels.any() if labels.dtype.kind != "u" else labels.max(initial=0))


def copy_of_paint(labels: ArrayLike) -> NDArray[Any]:
    """Copy labels into an array of their own, of which only painted bands take memory."""
    copied = np.zeros(labels.shape, labels.dtype)
    for band, painted in painted_bands(labels):
        copied[band] = painted
    return copied


def same_paint(one: NDArray[Any], other: NDArray[Any]) -> bool:
    """Return whether two label arrays are equal, without temporary arrays of their size."""
    if one.shape != other.shape:
        return False
    return all(np.array_equal(painted, other[band]) for band, painted in bands_of(one))


def marked_boxes(marked: NDArray[np.bool_]) -> list[Region]:
    """Find boxes that hold all marked pixels; what lies near together shares one.

    They lie on a grid of 32 pixels, clipped to the array; no two of them touch.
    """
    from scipy.ndimage import find_objects, label

    coarse = marked
    for axis, size in enumerate(marked.shape):
        coarse = np.logical_or.reduceat(coarse, np.arange(0, size, BOX_GRID), axis=axis)
    groups, _ = label(coarse, np.ones((3,) * coarse.ndim))
    return [
        tuple(
            slice(BOX_GRID * part.start, min(BOX_GRID * part.stop, size))
            for part, size in zip(box, marked.shape, strict=True)
        )
        for box in find_objects(groups)
    ]


def paint_box(labels: NDArray[Any]) -> Region | None:
    """Return the smallest box that holds all labels but 0; None where nothing is painted."""
    low = np.array(labels.shape)
    high = np.zeros(labels.ndim, int)
    for band, painted in painted_bands(labels):
        for axis in range(labels.ndim):
            others = tuple(other for other in range(labels.ndim) if other != axis)
            at = np.flatnonzero(painted.any(axis=others)) + (band.start if axis == 0 else 0)
            low[axis], high[axis] = min(low[axis], at[0]), max(high[axis], at[-1] + 1)
    if not high.any():
        return None
    return tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))


def values_in(labels: NDArray[Any]) -> set[int]:
    """Return the numbers that labels hold, 0 included."""
    values: set[int] = set()
    for _, band in bands_of(labels):
        values.update(map(int, np.unique(band)) if is_painted(band) else (0,))
    return values
