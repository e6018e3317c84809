"""A simulated person who paints ten cells with an unsteady hand, and ten more when asked again.

`annotator` paints where a prediction is wrong, `paint` a share of an image without any error of
the hand. This person chooses some cells, often neighbours, and paints each of them: filled, with a
ring of background around it, and some open strokes of background elsewhere. Her outlines are
exact, or wobble and leave slivers between touching cells, as people do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from annotator import BACKGROUND, FIRST_CELL
from paint import LENGTHS, draw_stroke
from scipy import ndimage as ndi

from napari_unet.errors import LabelsError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Labels = NDArray[np.integer[Any]]
    Paint = NDArray[np.uint16]
    Pixels = NDArray[np.bool_]
    Box = tuple[slice, slice]

Manner = Literal["cells", "brush", "strokes"]

MOST_CELLS = 10
BACKGROUND_STROKES = 3
# Nobody paints debris: cells of less than this share of the median area.
_SMALLEST_SHARE = 0.25
_NEIGHBOUR_CHANCE = 0.5
# Pixels by which an unsteady outline is off at most; of small cells less, for people zoom in.
_MOST_OFF = 2.0
_OFF_PER_DIAMETER = 0.1
# Beside another cell the outline lies inside by so much: one to two pixels stay unpainted.
_INSET = (0.2, 1.4)
# A wobble is smooth over about this share of the diameter.
_WOBBLE_PER_DIAMETER = 0.25
_RING = (3.0, 4.0)
# Strokes are three pixels wide; those of background keep so far from cells.
_STROKE_RADIUS = 1.0
_STROKE_CLEARANCE = 3.0
# A brush is so many times as wide as a cell, and covers what it fits into.
_BRUSH_PER_DIAMETER = 1 / 3
_MARGIN = 8


def number_to_paint(truth: Labels) -> int:
    """Return how many cells a person paints first: ten, or half of fewer than twenty."""
    return min(MOST_CELLS, max(1, len(np.unique(truth[truth > 0])) // 2))


def paint_cells(
    truth: Labels,
    count: int,
    seed: int,
    *,
    slivers: bool = False,
    manner: Manner = "cells",
    known: Pixels | None = None,
    before: Paint | None = None,
) -> Paint:
    """Paint some whole cells, background around them, and three strokes of background elsewhere.

    Parameters
    ----------
    truth : ndarray
        ``YX``, all cells, 0 background.
    count : int
        Cells to paint; fewer where there are not as many.
    seed : int
        Of the choice and of the hand.
    slivers : bool
        Whether the outlines wobble by up to two pixels and leave one or two pixels unpainted
        between touching cells; else they are exact.
    manner : {"cells", "brush", "strokes"}
        Filled cells with a ring; what a round brush covers inside each; or a stroke inside each.
    known : ndarray, optional
        ``YX`` bool: where the truth is complete. Only cells that reach into it are painted, and
        background only there.
    before : ndarray, optional
        What was painted before: it stays, and as many *further* cells are painted.

    Returns
    -------
    ndarray
        ``YX`` uint16: 0 unlabelled, 1 background, 2 and up one number a cell.

    Raises
    ------
    LabelsError
        There is no cell to paint.

    Notes
    -----
    Twenty cells that contain the ten::

        ten = paint_cells(truth, 10, seed)
        twenty = paint_cells(truth, 10, seed, before=ten)
    """
    known = np.ones(truth.shape, bool) if known is None else known
    paint = np.zeros(truth.shape, np.uint16) if before is None else before.copy()
    first = max(FIRST_CELL, int(paint.max()) + 1)
    rng = np.random.default_rng((seed, first))
    hand = _Hand(truth, paint, known, slivers, rng)
    done = set(owners_of(paint, truth).values())
    for number, cell in enumerate(choose_cells(truth, count, rng, known, done), first):
        {"cells": hand.fill, "brush": hand.brush, "strokes": hand.stroke_inside}[manner](
            cell, number
        )
    for _ in range(BACKGROUND_STROKES):
        hand.stroke_background()
    return paint


def owners_of(paint: Labels, truth: Labels) -> dict[int, int]:
    """Return which cell of the truth each painted number stands for."""
    numbers = np.unique(paint[paint >= FIRST_CELL])
    cells = np.atleast_1d(ndi.maximum(truth, paint, numbers)) if len(numbers) else ()
    return {int(number): int(cell) for number, cell in zip(numbers, cells, strict=True)}


def choose_cells(
    truth: Labels,
    count: int,
    rng: np.random.Generator,
    known: Pixels | None = None,
    done: set[int] | None = None,
) -> list[int]:
    """Choose cells of a visible size; half of the times the neighbour of the one before.

    Parameters
    ----------
    truth : ndarray
        ``YX``, 0 background.
    count : int
        How many, as far as there are.
    rng : Generator
        Of the choice.
    known : ndarray, optional
        ``YX`` bool: cells that do not reach into it are left alone.
    done : set of int, optional
        Cells that are painted already.

    Raises
    ------
    LabelsError
        There is no cell.
    """
    areas = np.bincount(truth.ravel())
    areas[0] = 0
    if not areas.any():
        raise LabelsError("The labels hold no cell (all are 0); choose a labelled image.")
    visible = areas >= max(1.0, _SMALLEST_SHARE * float(np.median(areas[areas > 0])))
    reached = np.unique(truth if known is None else truth[known])
    left = [int(cell) for cell in reached if visible[cell] and cell not in (done or ())]
    chosen: list[int] = []
    while left and len(chosen) < count:
        if chosen and rng.random() < _NEIGHBOUR_CHANCE:
            distance = ndi.distance_transform_edt(truth != chosen[-1])
            cell = left[int(np.argmin(ndi.minimum(distance, truth, left)))]
        else:
            cell = left[int(rng.integers(len(left)))]
        left.remove(cell)
        chosen.append(cell)
    return chosen


@dataclass
class _Hand:
    """Paints into `paint`; only where nothing is painted, and on no other cell."""

    truth: Labels
    paint: Paint
    known: Pixels
    slivers: bool
    rng: np.random.Generator

    def __post_init__(self) -> None:
        self._boxes = ndi.find_objects(self.truth)
        self._can_be_background = (self.truth == 0) & self.known
        clearance = ndi.distance_transform_edt(self.truth == 0)
        self._open = self._can_be_background & (clearance >= _STROKE_CLEARANCE)

    def fill(self, cell: int, number: int) -> None:
        """Fill a cell, and paint a ring of background around it."""
        box = self._box(cell)
        inside = self.truth[box] == cell
        shape = self._unsteady(inside, box) if self.slivers else inside
        shape &= self.paint[box] == 0
        self.paint[box][shape] = number
        near = ndi.distance_transform_edt(~(inside | shape)) <= self.rng.uniform(*_RING)
        self._add_background(box, near)

    def brush(self, cell: int, number: int) -> None:
        """Brush over the inside of a cell, without a ring: the quickest that one can do."""
        box = self._box(cell)
        inside = self.truth[box] == cell
        radius = max(1.0, _BRUSH_PER_DIAMETER * _diameter(inside) / 2)
        middle = ndi.distance_transform_edt(np.pad(inside, 1))[1:-1, 1:-1] > radius
        covered = _distance_to(middle) <= radius if middle.any() else inside
        self.paint[box][covered & inside & (self.paint[box] == 0)] = number

    def stroke_inside(self, cell: int, number: int) -> None:
        """Draw a stroke through the middle of a cell, about as long as the cell is wide."""
        box = self._box(cell)
        inside = self.truth[box] == cell
        depth = ndi.distance_transform_edt(np.pad(inside, 1))[1:-1, 1:-1]
        middle = depth >= 0.5 * depth.max()
        length = _diameter(inside) * self.rng.uniform(0.4, 0.9)
        drawn = draw_stroke(inside, middle, _STROKE_RADIUS, max(2.0, length), self.rng)
        self.paint[box][drawn] = number

    def stroke_background(self) -> None:
        """Draw an open stroke where there is room for one at a distance from all cells."""
        allowed = self._open & (self.paint == 0)
        start = ndi.binary_erosion(allowed, np.ones((3, 3)))
        length = float(self.rng.uniform(*LENGTHS))
        centres = draw_stroke(start, start, 0.0, length, self.rng)
        stroke = ndi.binary_dilation(centres, np.ones((3, 3)))
        self.paint[stroke & allowed] = BACKGROUND

    def _box(self, cell: int) -> Box:
        rows, columns = self._boxes[cell - 1]
        return (
            slice(max(0, rows.start - _MARGIN), rows.stop + _MARGIN),
            slice(max(0, columns.start - _MARGIN), columns.stop + _MARGIN),
        )

    def _add_background(self, box: Box, near: Pixels) -> None:
        free = self._can_be_background[box] & (self.paint[box] == 0)
        self.paint[box][near & free] = BACKGROUND

    def _unsteady(self, inside: Pixels, box: Box) -> Pixels:
        """Move the outline by a smooth wobble, and inwards where another cell is near."""
        diameter = _diameter(inside)
        most = min(_MOST_OFF, _OFF_PER_DIAMETER * diameter)
        wobble = _smooth(inside.shape, _WOBBLE_PER_DIAMETER * diameter, self.rng)
        lean = self.rng.uniform(-1.0, 1.0)
        outwards = np.clip(lean + wobble, -1.0, 1.0) * most
        others = (self.truth[box] > 0) & ~inside
        beside = _distance_to(others) <= _MOST_OFF + 1.0
        low, high = _INSET
        outwards[beside] = -(low + (high - low) * (wobble[beside] + 1) / 2)
        # A pixel's centre lies half a pixel from its edge.
        depth = _distance_to(~inside) - _distance_to(inside)
        depth -= np.sign(depth) * 0.5
        shape: Pixels = (depth > -outwards) & ~others
        painted = self.paint[box] >= FIRST_CELL
        shape &= ~ndi.binary_dilation(painted, np.ones((3, 3)))
        return shape if (shape & inside).any() else inside & (depth >= depth.max())


def _distance_to(pixels: Pixels) -> NDArray[np.float64]:
    """Return how far each pixel is from the nearest of some; far where there are none."""
    if not pixels.any():
        return np.full(pixels.shape, 1e6)
    distance: NDArray[np.float64] = ndi.distance_transform_edt(~pixels)
    return distance


def _diameter(inside: Pixels) -> float:
    """Return the diameter of a disc of the same area."""
    return 2.0 * float(np.sqrt(np.count_nonzero(inside) / np.pi))


def _smooth(shape: tuple[int, ...], scale: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return smooth noise between -1 and 1."""
    noise = ndi.gaussian_filter(rng.normal(size=shape), max(1.0, scale))
    found: NDArray[np.float64] = np.clip(noise / (2 * noise.std()), -1.0, 1.0)
    return found
