"""Paint a given share of an image as a person would: with strokes, or whole cells one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from annotator import BACKGROUND, FIRST_CELL, walk
from scipy import ndimage as ndi

from napari_unet.errors import LabelsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Labels = NDArray[np.integer[Any]]
    Pixels = NDArray[np.bool_]

# Half widths of the brush in pixels: strokes are 3 to 7 pixels wide.
_RADII = (1.0, 3.0)
LENGTHS = (20.0, 70.0)
# Background this near to a cell is "beside" it; half of the background strokes begin there.
_BESIDE = 8.0
# The ring of background that is painted around a whole cell.
_RING = 4.0
# A wandering hand: some pixels cost more than others, and the cheapest way is a curve.
_WANDER = 3.0
_MOST_FAILURES = 200


def paint_strokes(truth: Labels, share: float, seed: int) -> NDArray[np.uint16]:
    """Paint curved strokes through cells and through background, in turn.

    Parameters
    ----------
    truth : ndarray
        ``YX``, all cells, 0 background.
    share : float
        Of the pixels to paint, 0 to 1; it is met within a stroke, and not where no room is left.
    seed : int
        Of the hand.

    Returns
    -------
    ndarray
        ``YX`` uint16: 0 unlabelled, 1 background, 2 and up one number a cell.

    Raises
    ------
    LabelsError
        There is no cell, or no background, to paint.
    """
    _check(truth, share)
    rng = np.random.default_rng(seed)
    paint = np.zeros(truth.shape, np.uint16)
    ids = np.unique(truth[truth > 0])
    numbers = {int(cell): FIRST_CELL + i for i, cell in enumerate(ids)}
    boxes = dict(enumerate(ndi.find_objects(truth), 1))
    everywhere = (slice(None), slice(None))
    clearance = ndi.distance_transform_edt(truth == 0)
    beside = (clearance > 0) & (clearance <= _BESIDE)
    wanted, failures, turn = share * truth.size, 0, 0
    while (left := wanted - np.count_nonzero(paint)) > 0 and failures < _MOST_FAILURES:
        if turn % 2 == 0:
            cell = int(rng.choice(ids))
            box, number, value = boxes[cell], numbers[cell], cell
            start = truth[box] == value
        else:
            box, number, value = everywhere, BACKGROUND, 0
            start = beside if rng.random() < 0.5 and beside.any() else truth == 0
        drawn = _stroke(truth[box] == value, start & (paint[box] == 0), left, rng)
        fresh = drawn & (paint[box] == 0)
        paint[box][fresh] = number
        turn += 1
        failures = 0 if fresh.any() else failures + 1
    return paint


def paint_whole_cells(
    truths: Sequence[Labels], share: float, seed: int
) -> list[NDArray[np.uint16]]:
    """Paint whole cells and a ring of background around each, in as many images as that takes.

    Parameters
    ----------
    truths : sequence of ndarray
        ``YX`` each, all cells, 0 background.
    share : float
        Of the pixels of all images together; at least one cell is painted.
    seed : int
        Of the choice.

    Returns
    -------
    list of ndarray
        ``YX`` uint16 each: 0 unlabelled, 1 background, 2 and up one number a cell. Images of
        which nothing is painted hold only 0.

    Raises
    ------
    LabelsError
        There is no cell, or no background, to paint.
    """
    for truth in truths:
        _check(truth, share)
    rng = np.random.default_rng(seed)
    paints = [np.zeros(truth.shape, np.uint16) for truth in truths]
    cells = [(i, int(cell)) for i, truth in enumerate(truths) for cell in np.unique(truth) if cell]
    left = share * sum(truth.size for truth in truths)
    painted_any = False
    for i, cell in (cells[j] for j in rng.permutation(len(cells))):
        inside, ring = _cell_and_ring(truths[i], cell)
        ring &= paints[i] == 0
        cost = int(inside.sum()) + int(ring.sum())
        if cost > left and painted_any:
            continue
        paints[i][ring] = BACKGROUND
        paints[i][inside] = max(FIRST_CELL, int(paints[i].max()) + 1)
        left -= cost
        painted_any = True
    return paints


def _check(truth: Labels, share: float) -> None:
    if not 0 < share <= 1:
        raise LabelsError(f"The share to paint is {share}; choose more than 0 and at most 1.")
    if not truth.any() or truth.all():
        raise LabelsError("The labels hold no cell or no background; choose another image.")


def _cell_and_ring(truth: Labels, cell: int) -> tuple[Pixels, Pixels]:
    inside = truth == cell
    ring = (ndi.distance_transform_edt(~inside) <= _RING) & (truth == 0)
    return inside, ring


def _stroke(allowed: Pixels, start: Pixels, most: float, rng: np.random.Generator) -> Pixels:
    """Draw one stroke of at most about `most` pixels that stays where it is allowed."""
    if not start.any():
        return np.zeros(allowed.shape, bool)
    radius = float(rng.uniform(*_RADII))
    length = min(float(rng.uniform(*LENGTHS)), max(1.0, most / (2 * radius + 1)))
    return draw_stroke(allowed, start, radius, length, rng)


def draw_stroke(
    allowed: Pixels, start: Pixels, radius: float, length: float, rng: np.random.Generator
) -> Pixels:
    """Draw one curved stroke that stays where it is allowed.

    Parameters
    ----------
    allowed, start : ndarray
        ``YX`` bool: where to paint, and where to begin; nothing is drawn where there is no start.
    radius : float
        Half the width of the brush in pixels: 1 draws three pixels wide.
    length : float
        In pixels, about.
    rng : Generator
        Of the hand.
    """
    drawn = np.zeros(allowed.shape, bool)
    starts = np.argwhere(start)
    if not len(starts):
        return drawn
    row, column = starts[rng.integers(len(starts))].tolist()
    reach = int(length) + 5
    top, left = max(0, row - reach), max(0, column - reach)
    window = (slice(top, row + reach + 1), slice(left, column + reach + 1))
    costs = (
        1.0 + _WANDER * np.abs(ndi.gaussian_filter(rng.normal(size=allowed[window].shape), 4)) * 4
    )
    costs[~allowed[window]] = -1.0  # no way through
    centres = walk(costs, (row - top, column - left), length * costs[costs > 0].mean(), rng)
    thick = ndi.distance_transform_edt(~centres) <= radius
    drawn[window] = thick & allowed[window]
    return drawn
