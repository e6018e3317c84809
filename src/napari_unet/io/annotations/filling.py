"""Pixels inside outlines: a pixel is inside where its centre is.

A centre that lies exactly on an outline belongs to what is right of it or below: objects that
share an edge share no pixel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.errors import LabelsError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from napari_unet.io.annotations.drawn import Drawn

    Filled = tuple[int, int, NDArray[np.bool_]]

_AT_ONCE = 2**22  # crossings of edges and rows that are computed together


def pixels_of(drawn: Drawn, height: int, width: int) -> Filled | None:
    """Return the pixels of a drawn object in a plane; what lies outside the plane is left out.

    They are the first row and column of a box, and bool ``YX`` which of its pixels are inside; None
    where the plane has none of them. Raises LabelsError if a coordinate is no number, or runs are
    made for a plane of another size.
    """
    if drawn.runs is not None:
        return _of_runs(drawn.runs, drawn.run_height, height, width)
    if len(drawn.parts) == 1:
        return fill(drawn.parts[0], height, width)
    return _united(drawn, height, width)


def _united(drawn: Drawn, height: int, width: int) -> Filled | None:
    """Return the pixels that are in any of the parts; one part after the other is in memory."""
    box = _box_of(drawn.rings, height, width)
    if box is None:
        return None
    top, left, bottom, right = box
    inside = np.zeros((bottom - top, right - left), np.bool_)
    for part in drawn.parts:
        filled = fill(part, height, width)
        if filled is not None:
            y, x, pixels = filled[0] - top, filled[1] - left, filled[2]
            inside[y : y + pixels.shape[0], x : x + pixels.shape[1]] |= pixels
    return (top, left, inside) if inside.any() else None


def fill(rings: Sequence[NDArray[Any]], height: int, width: int) -> Filled | None:
    """Return the pixels that an odd number of rings surrounds; see `pixels_of`."""
    box = _box_of(rings, height, width)
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


def _box_of(
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


def _of_runs(
    runs: NDArray[np.integer[Any]], run_height: int, height: int, width: int
) -> Filled | None:
    if not runs.size:
        return None
    first = runs[:, 0].astype(np.int64)
    last = np.minimum(first + runs[:, 1], run_height * width)
    first, last = first[first < last], last[first < last]
    if not first.size:
        return None
    left, right = int(first[0]) // run_height, -(-int(last[-1]) // run_height)
    toggles = np.zeros((right - left) * run_height + 1, np.bool_)
    toggles[first - left * run_height] = True
    toggles[last - left * run_height] ^= True  # a run may begin where the one before it ends
    columns = np.logical_xor.accumulate(toggles)[:-1].reshape(-1, run_height)[:, :height]
    rows = np.flatnonzero(columns.any(axis=0))
    if not rows.size:
        return None
    top, bottom = int(rows[0]), int(rows[-1]) + 1
    return top, left, columns[:, top:bottom].T
