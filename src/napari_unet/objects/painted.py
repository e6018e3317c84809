"""Objects of a painted image, in which what was painted comes out as it was painted.

A network that has learned a few cells still merges one of them with its neighbour, or misses one.
Whoever painted that cell has said where it is, so its result is not left to the network.
"""

from __future__ import annotations

from collections import defaultdict
from itertools import count
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy import ndimage as ndi

from napari_unet.data.frames import grown
from napari_unet.objects.overlaps import check_same_shape, joint_objects

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from napari_unet.data.axes import Region
    from napari_unet.data.labels import IntArray

_BACKGROUND = 1
# An object is of a painted cell where they share so much of the smaller one: a stroke lies in it,
# or it is a piece of the cell. What shares less is a neighbour that a wobbling outline runs into.
_SHARED = 0.5
# Painted are whole cells, and not strokes in them, where the paint typically covers so much of the
# object that is found there. What lies beyond it, thick as a cell, is then a cell of its own.
_WHOLE = 0.6
# In diameters of a typical painted cell: how near to its paint is still the same cell, and how
# thick a further one is at least.
_NEAR, _THICK = 0.15, 0.5
_NEAR_PIXELS = 2.0  # at least: so much a hand wobbles


def keep_painted(
    labels: IntArray, painted: IntArray, smallest: int = 0, before: int = 0
) -> tuple[NDArray[np.int32], int]:
    """Return the objects of a frame with painted cells and background as they were painted.

    Each painted cell is one object, which has all of its paint and what was found around it. So
    two painted cells that were found as one come apart, pieces of one cell are joined, and a cell
    that was missed is there, unless only strokes were painted. Painted background is background;
    pieces that it cuts off an object are objects where they are as thick as a cell, and have at
    least `smallest` pixels.

    Parameters
    ----------
    labels : ndarray
        ``[Z]YX``, integers: what was found, background 0.
    painted : ndarray
        Of the same shape: 0 unlabelled, 1 background, cells from 2 up.
    smallest : int
        Pixels of an object.
    before : int
        The objects get the numbers from this one + 1 on, without a gap.

    Returns
    -------
    tuple of ndarray and int
        The objects, int32, and the last number given.

    Raises
    ------
    LabelsError
        The shapes differ.
    """
    check_same_shape(labels, painted)
    kept = np.array(labels, np.int32)
    if painted.any():
        paint = _in_sequence(painted)
        found = _Found.of(kept, paint)
        above = int(kept.max(initial=0))
        kept[paint == _BACKGROUND] = 0
        np.add(paint, above, out=kept, where=found.shown[paint])
        unused = count(above + len(found.shown))
        for number in found.met:
            box = grown(found.boxes[number - 1], (1,) * kept.ndim, kept.shape)
            _share(number, kept[box], paint[box], found, smallest, unused)
    return _numbered(kept, before)


def _in_sequence(painted: IntArray) -> NDArray[np.int32]:
    """Return the paint with cells 2, 3, 4 ...: a layer may hold any numbers."""
    paint = np.minimum(painted, _BACKGROUND).astype(np.int32)
    cells = painted > _BACKGROUND
    paint[cells] = _BACKGROUND + 1 + np.unique(painted[cells], return_inverse=True)[1]
    return paint


class _Found(NamedTuple):
    """What paint says of the objects that were found."""

    met: list[int]
    """Objects with paint in them, ascending."""
    cells: Mapping[int, list[int]]
    """The painted cells that an object is of."""
    sizes: NDArray[np.intp]
    """Pixels of each object."""
    boxes: Sequence[Region]
    """Of each object."""
    diameter: float
    """Of a typical painted cell, in pixels."""
    whole: bool
    """Whether whole cells were painted."""
    shown: NDArray[np.bool_]
    """By painted value, whether it is a cell that comes out: a stroke where nothing was found says
    that there is a cell, but not where it ends.
    """

    @classmethod
    def of(cls, labels: IntArray, paint: IntArray) -> _Found:
        """Compare the two."""
        objects, cells, shared = joint_objects(labels, paint)
        sizes, of_paint = np.bincount(labels.ravel()), np.bincount(paint.ravel())
        same = shared >= _SHARED * np.minimum(sizes[objects], of_paint[cells])
        same &= cells > _BACKGROUND
        pairs: dict[int, list[int]] = defaultdict(list)
        for number, cell in zip(objects[same].tolist(), cells[same].tolist(), strict=True):
            pairs[number].append(cell)
        typical = float(np.median(of_paint[_BACKGROUND + 1 :])) if of_paint.size > 2 else 0.0
        covered = shared[same] / sizes[objects[same]]
        whole = not covered.size or bool(np.median(covered) >= _WHOLE)
        shown = np.full(of_paint.size, whole)
        shown[cells[same]] = True
        shown[: _BACKGROUND + 1] = False
        boxes = ndi.find_objects(labels)
        diameter = _diameter(typical, labels.ndim)
        return cls(np.unique(objects).tolist(), pairs, sizes, boxes, diameter, whole, shown)


def _diameter(pixels: float, ndim: int) -> float:
    """Return that of the circle or ball that has so many pixels."""
    return float(2 * (pixels / (np.pi if ndim == 2 else 4 / 3 * np.pi)) ** (1 / ndim))


def _share(
    number: int,
    kept: NDArray[np.int32],
    paint: NDArray[np.int32],
    found: _Found,
    smallest: int,
    unused: Iterator[int],
) -> None:
    """Give what is left of an object outside of the paint to the cells that it is of, in a box."""
    own = np.isin(paint, found.cells.get(number, ()))
    distance, at = ndi.distance_transform_edt(~own, return_indices=True)
    nearest = kept[tuple(at)] if own.any() else np.zeros_like(kept)
    near = max(_NEAR_PIXELS, _NEAR * found.diameter)
    pieces, n_pieces = ndi.label(kept == number)
    for piece in (pieces == each for each in range(1, n_pieces + 1)):
        if own.any() and distance[piece].min() <= 1:  # it touches the paint
            further = piece & (distance > near)
            is_object = found.whole and _is_thick(further, found)
            kept[piece] = nearest[piece]
        else:
            further = piece
            is_rest = not own.any() and 2 * np.count_nonzero(piece) >= found.sizes[number]
            is_object = is_rest or _is_thick(piece, found)
            kept[piece] = 0
        if is_object and np.count_nonzero(further) >= smallest:
            kept[further] = next(unused)


def _is_thick(piece: NDArray[np.bool_], found: _Found) -> bool:
    """Return whether a piece is as thick as a cell."""
    radius = ndi.distance_transform_edt(np.pad(piece, 1)).max()
    return bool(2 * radius >= _THICK * found.diameter)


def _numbered(kept: NDArray[np.int32], before: int) -> tuple[NDArray[np.int32], int]:
    """Return the objects as `before` + 1, + 2 ..., in the order of their numbers, and the last."""
    there = np.bincount(kept.ravel()) > 0
    there[0] = False
    table = np.where(there, before + np.cumsum(there), 0).astype(np.int32)
    return table[kept], before + int(np.count_nonzero(there))
