"""Pixels inside outlines, and the outlines of pixels.

A pixel is inside where its centre is. A centre that lies exactly on an outline belongs to what is
right of it or below: objects that share an edge share no pixel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

from napari_unet.errors import LabelsError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    Corners = NDArray[np.int64]
    Filled = tuple[int, int, NDArray[np.bool_]]

_AT_ONCE = 2**22  # crossings of edges and rows that are computed together


def fill(rings: Sequence[NDArray[Any]], height: int, width: int) -> Filled | None:
    """Return the pixels of a plane that an odd number of rings surrounds.

    They are the first row and column of a box, and bool ``YX`` which of its pixels are inside; None
    where the plane has none of them. Raises LabelsError if a coordinate is no number.
    """
    box = surrounded_box(rings, height, width)
    if box is None:
        return None
    top, left, bottom, right = box
    toggles = np.zeros((bottom - top, right - left + 1), np.bool_)
    for row, x in _crossings(rings, top, bottom):
        column = np.clip(np.ceil(x - 0.5), left, right).astype(np.int64) - left
        flat = (row - top) * toggles.shape[1] + column
        times = np.bincount(flat, minlength=toggles.size).reshape(toggles.shape)
        toggles ^= times % 2 == 1
    inside: NDArray[np.bool_] = np.logical_xor.accumulate(toggles, axis=1)[:, :-1]
    return (top, left, inside) if inside.any() else None


def surrounded_box(
    rings: Sequence[NDArray[Any]], height: int, width: int
) -> tuple[int, int, int, int] | None:
    """Return first row and column, and those behind the last, of what rings may surround."""
    if not rings:
        return None
    corners = np.concatenate(rings).astype(np.float64)
    if not np.isfinite(corners).all():
        raise LabelsError(
            "An outline has a coordinate that is no finite number; save it again, or delete it."
        )
    low, high = corners.min(axis=0), corners.max(axis=0)
    left, top = _first_centre(low, (width, height))
    right, bottom = _first_centre(high, (width, height))
    return None if right <= left or bottom <= top else (top, left, bottom, right)


def _first_centre(corner: NDArray[np.float64], size: tuple[int, int]) -> tuple[int, int]:
    """Return the first pixels, along x and y, whose centres do not lie before a corner."""
    x, y = np.clip(np.ceil(corner - 0.5), 0, size).astype(np.int64).tolist()
    return x, y


def _crossings(
    rings: Sequence[NDArray[Any]], top: int, bottom: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float64]]]:
    """Yield where rings cross the middle lines of rows: the rows, and x. All rings at once."""
    x, y = np.concatenate(rings).astype(np.float64).T
    behind = np.cumsum([len(ring) for ring in rings])
    following = np.arange(1, x.size + 1)
    following[behind - 1] = np.append(0, behind[:-1])  # the last corner leads to the first
    x_next, y_next = x[following], y[following]
    first = np.clip(np.ceil(np.minimum(y, y_next) - 0.5), top, bottom).astype(np.int64)
    last = np.clip(np.ceil(np.maximum(y, y_next) - 0.5), top, bottom).astype(np.int64)
    count = last - first
    edges = np.flatnonzero(count)
    if not edges.size:
        return
    ends = np.cumsum(count[edges])
    for part in np.split(edges, np.flatnonzero(np.diff(ends // _AT_ONCE)) + 1):
        edge = np.repeat(part, count[part])
        start = np.repeat(np.cumsum(count[part]) - count[part], count[part])
        row = first[edge] + np.arange(edge.size) - start
        share = (row + 0.5 - y[edge]) / (y_next[edge] - y[edge])
        yield row, x[edge] + share * (x_next[edge] - x[edge])


# --- Outlines along the edges of pixels ----------------------------------------------------------
# All objects of a plane are traced at once: the edges between different labels are found with
# NumPy, and each is followed by the next one of the same object. So the time depends on how long
# the outlines are, not on how many objects there are.

# A ring that goes round objects clockwise as seen on the screen, where y points down: edges run
# right (0), down (1), left (2), up (3), with the object at their right-hand side.
_STEP_X, _STEP_Y = (1, 0, -1, 0), (0, 1, 0, -1)


def trace(labels: NDArray[np.integer[Any]]) -> dict[int, list[Corners]]:
    """Return the outlines of each object of a plane ``YX``, in which 0 is background.

    By the object's number, ascending: rings of shape (corners, 2), x and y in whole pixels from the
    outer corner of the first one. Only where a ring turns it has a corner, and no corner twice.
    Outer rings go clockwise as seen on the screen, holes the other way; parts that touch in a
    corner have rings of their own.
    """
    of, x, y, direction = _edges(labels)
    if not of.size:
        return {}
    following = _following(of, x, y, direction, labels.shape[1] + 1)
    found: dict[int, list[Corners]] = {}
    corner = (y * (labels.shape[1] + 1) + x).tolist()
    for owner, ring in _rings(of.tolist(), corner, following.tolist()):
        at = np.array(ring)
        turns = direction[at] != np.roll(direction[at], 1)
        found.setdefault(owner, []).append(np.stack([x[at], y[at]], axis=1)[turns])
    return dict(sorted(found.items()))


def signed_area(ring: NDArray[Any]) -> float:
    """Return the area of a ring in pixels: positive clockwise as seen on the screen.

    Examples
    --------
    >>> signed_area(np.array([(0, 0), (3, 0), (3, 2), (0, 2)]))
    6.0
    """
    x, y = ring[:, 0].astype(float), ring[:, 1].astype(float)
    return float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y) / 2)


def parts_of(rings: list[Corners]) -> list[list[Corners]]:
    """Sort the rings of an object into its parts: each its outer ring, then its holes."""
    outer = [ring for ring in rings if signed_area(ring) > 0]
    holes = [ring for ring in rings if signed_area(ring) <= 0]
    if len(outer) == 1:
        return [[*outer, *holes]]
    if not holes:
        return [[ring] for ring in outer]
    width, height = np.concatenate(rings).max(axis=0).tolist()
    filled = fill(rings, height, width)
    assert filled is not None  # rings follow the edges of pixels
    top, left, inside = filled
    numbers, _ = ndimage.label(inside)  # pixels of a part are connected by edges
    parts: dict[int, list[Corners]] = {}
    for ring in (*outer, *holes):
        x, y = _pixel_beside(ring)
        parts.setdefault(int(numbers[y - top, x - left]), []).append(ring)
    return list(parts.values())


def _pixel_beside(ring: Corners) -> tuple[int, int]:
    """Return x and y of the pixel of the object at the first edge of a ring: to its right."""
    (x, y), (x_next, y_next) = ring[0].tolist(), ring[1].tolist()
    if y == y_next:
        return (x, y) if x_next > x else (x - 1, y - 1)
    return (x - 1, y) if y_next > y else (x, y - 1)


def _edges(
    labels: NDArray[np.integer[Any]],
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]:
    """List all edges: whose they are, where they begin, and their direction."""
    padded = np.pad(labels, 1)
    above, below = padded[:-1, 1:-1], padded[1:, 1:-1]
    left, right = padded[1:-1, :-1], padded[1:-1, 1:]
    across, along = above != below, left != right
    found: list[tuple[NDArray[Any], ...]] = []
    for owner, differs, direction, shift in (
        (below, across, 0, (0, 0)),
        (left, along, 1, (0, 0)),
        (above, across, 2, (1, 0)),
        (right, along, 3, (0, 1)),
    ):
        y, x = np.nonzero(differs & (owner > 0))
        found.append((owner[y, x], x + shift[0], y + shift[1], np.full(y.size, direction, np.int8)))
    of, x, y, directions = (np.concatenate(column) for column in zip(*found, strict=True))
    return of, x, y, directions


def _following(
    of: NDArray[Any], x: NDArray[Any], y: NDArray[Any], direction: NDArray[Any], width: int
) -> NDArray[np.int64]:
    """Return which edge follows each one: that of the same object which begins where it ends.

    Where two begin there, in a corner in which two parts touch, it is the one to the right: the
    way stays with its own part.
    """
    _, owner = np.unique(of, return_inverse=True)
    size = int(y.max() + 2) * width
    begin = owner * size + y * width + x
    step_x, step_y = np.array(_STEP_X)[direction], np.array(_STEP_Y)[direction]
    end = owner * size + (y + step_y) * width + x + step_x
    order = np.lexsort((direction, begin))
    ordered = begin[order]
    first = np.searchsorted(ordered, end)
    candidate = order[first]
    second = order[np.minimum(first + 1, order.size - 1)]
    has_two = (begin[second] == end) & (second != candidate)
    wanted = (direction + 1) % 4
    swap = has_two & (direction[second] == wanted)
    following: NDArray[np.int64] = np.where(swap, second, candidate)
    return following


def _rings(of: list[int], corner: list[int], following: list[int]) -> list[tuple[int, list[int]]]:
    """Follow the edges; a way that comes back to a corner leaves a ring there."""
    seen = bytearray(len(of))
    rings = []
    for start in range(len(of)):
        if seen[start]:
            continue
        way: list[int] = []
        place: dict[int, int] = {}  # where on the way a corner is
        edge = start
        while not seen[edge]:
            seen[edge] = 1
            at = corner[edge]
            if at in place:
                first = place[at]
                ring = way[first:]
                del way[first:]
                for passed in ring:
                    del place[corner[passed]]
                rings.append((of[start], ring))
            place[at] = len(way)
            way.append(edge)
            edge = following[edge]
        rings.append((of[start], way))
    return rings
