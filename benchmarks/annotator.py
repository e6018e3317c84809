"""A simulated person who paints strokes where a prediction is visibly wrong.

She knows the cells as somebody does who looks at the image: she sees which are missed, merged,
split or badly outlined, and where background is taken for cells. Large mistakes catch her eye
more often than small ones. What she paints lies wholly within one cell, or within background at
a distance from all cells, and is of limited length.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage as ndi
from skimage.graph import MCP_Geometric

from napari_unet.errors import LabelsError
from napari_unet.evaluation.overlap import overlap_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Labels = NDArray[np.integer[Any]]
    Pixels = NDArray[np.bool_]

BACKGROUND = 1
FIRST_CELL = 2

# Nobody notices, or cares for, less than this.
_VISIBLE_PIXELS = 12
_VISIBLE_SHARE = 0.25
# A stroke of three pixels, all of them off the cells, has its centre at least this far from them.
_STROKE_CLEARANCE = 2.0
# "Beside a cell" ends here, and drawing elsewhere is this many times less attractive.
_BESIDE_CELLS = 6.0
_DETOUR_COST = 3.0


@dataclass(frozen=True)
class Habits:
    """How much the person paints, and how.

    Parameters
    ----------
    first_cells, first_strokes : tuple of int
        Fewest and most cells and background strokes before any prediction.
    cells, strokes : int
        Most cells and background strokes per correction.
    part_fills : float
        Share of the cells of which only a part is painted at first.
    largest_fill : float
        Pixels of a cell painted at once; of larger cells only a part is painted each time.
    brush_radius, stroke_length : float
        Of the brush that fills cells; largest length of a background stroke; in pixels.
    """

    first_cells: tuple[int, int] = (3, 4)
    first_strokes: tuple[int, int] = (2, 3)
    cells: int = 3
    strokes: int = 2
    part_fills: float = 0.3
    largest_fill: float = 2000.0
    brush_radius: float = 2.5
    stroke_length: float = 60.0


def wrong_cells(predicted: Labels, truth: Labels) -> dict[int, int]:
    """Find cells that are missed, badly outlined, merged or split.

    Parameters
    ----------
    predicted, truth : ndarray
        ``YX`` label images, 0 background.

    Returns
    -------
    dict
        From the number of each such cell in `truth` to the pixels that are wrong: those not
        covered, the whole of a merged cell, or the second largest part of a split one.
    """
    overlap = overlap_of(predicted, truth)
    common = np.zeros((overlap.n_predicted, len(overlap.truth_ids)), np.int64)
    common[overlap.prediction_index, overlap.truth_index] = overlap.intersections
    areas = overlap.truth_areas
    uncovered = areas - common.sum(axis=0)
    wrong = np.where(uncovered >= _VISIBLE_SHARE * areas, uncovered, 0)
    holds = common > areas / 2
    merged = (holds & (holds.sum(axis=1, keepdims=True) >= 2)).any(axis=0)
    wrong = np.where(merged, areas, wrong)
    if overlap.n_predicted >= 2:
        second = np.partition(common, -2, axis=0)[-2]
        wrong = np.maximum(wrong, np.where(second >= _VISIBLE_SHARE * areas, second, 0))
    return {
        int(cell): int(pixels)
        for cell, pixels in zip(overlap.truth_ids, wrong, strict=True)
        if pixels >= _VISIBLE_PIXELS
    }


class Annotator:
    """The person, and what she has painted so far.

    Parameters
    ----------
    image : ndarray
        ``YX``, or ``YXC``.
    truth : ndarray
        ``YX`` label image of all cells, 0 background.
    seed : int
        Of her choices and of her hand.
    habits : Habits
        How much she paints, and how.

    Attributes
    ----------
    labels : ndarray
        The paint, ``YX`` uint16: 0 unlabelled, 1 background, 2 and up one number a cell.
    n_strokes : int
        How often she set the brush down.

    Raises
    ------
    LabelsError
        There is no cell, or the truth is not of the image's size.
    """

    def __init__(
        self, image: NDArray[Any], truth: Labels, seed: int, habits: Habits | None = None
    ) -> None:
        if truth.ndim != 2 or image.shape[:2] != truth.shape:
            raise LabelsError(
                f"The image has shape {image.shape}, its labels {truth.shape}; give a 2D image "
                "and labels of the same size."
            )
        if not truth.any():
            raise LabelsError("The labels hold no cell (all are 0); choose a labelled image.")
        self.labels = np.zeros(truth.shape, np.uint16)
        self.n_strokes = 0
        ids, numbers = np.unique(truth, return_inverse=True)  # ids may be sparse and large
        self._truth = numbers.reshape(truth.shape) + (ids[0] != 0)
        self._habits = Habits() if habits is None else habits
        self._rng = np.random.default_rng(seed)
        self._grey = image.reshape(*truth.shape, -1).mean(axis=2, dtype=np.float64)
        self._clearance = ndi.distance_transform_edt(truth == 0)
        self._can_be_background = self._clearance >= _STROKE_CLEARANCE
        self._numbers: dict[int, int] = {}  # painted number of each cell
        self._filled: set[int] = set()
        self._boxes = ndi.find_objects(self._truth)

    def begin(self) -> int:
        """Paint a few well visible cells and background beside them; return the strokes."""
        before = self.n_strokes
        low, high = self._habits.first_cells
        for cell in self._choose(self._well_visible(), int(self._rng.integers(low, high + 1))):
            self._paint_cell(cell)
        near_paint = ndi.distance_transform_edt(self.labels == 0) <= 2 * _BESIDE_CELLS
        beside = self._clearance <= _BESIDE_CELLS
        low, high = self._habits.first_strokes
        for _ in range(int(self._rng.integers(low, high + 1))):
            self._paint_background(near_paint & beside, beside)
        if not (self.labels == BACKGROUND).any():  # cells painted so far lie in a dense cluster
            self._paint_background(np.ones_like(beside), beside)
        return self.n_strokes - before

    def correct(self, predicted: Labels) -> int:
        """Paint where a prediction is visibly wrong; return the strokes, 0 where it is not.

        Parameters
        ----------
        predicted : ndarray
            ``YX`` label image, 0 background.
        """
        before = self.n_strokes
        cells = wrong_cells(predicted, self._truth)
        unfinished = {cell: size for cell, size in cells.items() if cell not in self._filled}
        for cell in self._choose(unfinished, self._habits.cells):
            self._paint_cell(cell)
        patches, _ = ndi.label((predicted > 0) & self._can_be_background & (self.labels == 0))
        sizes = dict(enumerate(np.bincount(patches.ravel()).tolist()))
        visible = {patch: n for patch, n in sizes.items() if patch and n >= _VISIBLE_PIXELS}
        for patch in self._choose(visible, self._habits.strokes):
            self._paint_background(patches == patch, patches == patch)
        return self.n_strokes - before

    def _choose(self, sizes: dict[int, int], count: int) -> list[int]:
        """Choose without repetition; what is larger is chosen more often."""
        keys, weights = np.array(list(sizes), np.int64), np.array(list(sizes.values()), float)
        if not keys.size:
            return []
        chosen = self._rng.choice(
            keys, min(count, len(keys)), replace=False, p=weights / weights.sum()
        )
        return [int(key) for key in chosen]

    def _well_visible(self) -> dict[int, int]:
        """Return the better half of the cells by contrast and size, all equally attractive."""
        cells = np.unique(self._truth[self._truth > 0])
        background = np.median(self._grey[self._truth == 0]) if (self._truth == 0).any() else 0.0
        contrast = np.abs(ndi.mean(self._grey, self._truth, cells) - background)
        areas = np.bincount(self._truth.ravel())[cells]
        visibility = contrast * np.sqrt(areas)
        chosen = cells[visibility >= np.median(visibility)]
        return dict.fromkeys(chosen.tolist(), 1)

    def _paint_cell(self, cell: int) -> None:
        """Fill a cell, or at first a part of it, with its number."""
        box = tuple(slice(max(0, part.start - 1), part.stop + 1) for part in self._boxes[cell - 1])
        inside = self._truth[box] == cell
        painted = fill_inside(inside, self._habits.brush_radius, self._rng)
        area = min(float(painted.sum()), self._habits.largest_fill)
        if cell not in self._numbers and self._rng.random() < self._habits.part_fills:
            area *= self._rng.uniform(0.4, 0.9)
        if area < painted.sum():
            painted = part_of(painted, area, self._rng)
        else:
            self._filled.add(cell)
        number = self._numbers.setdefault(cell, FIRST_CELL + len(self._numbers))
        self.labels[box][painted] = number
        self.n_strokes += 1

    def _paint_background(self, start: Pixels, attractive: Pixels) -> None:
        """Draw a background stroke that begins in `start`, where there is room for one."""
        starts = np.argwhere(start & self._can_be_background & (self.labels == 0))
        if not len(starts):
            return
        row, column = starts[self._rng.integers(len(starts))].tolist()
        reach = int(self._habits.stroke_length)
        corner = (max(0, row - reach), max(0, column - reach))
        window = (slice(corner[0], row + reach + 1), slice(corner[1], column + reach + 1))
        costs = np.where(attractive[window], 1.0, _DETOUR_COST)
        costs[~self._can_be_background[window]] = -1.0  # no way through
        begin = (row - corner[0], column - corner[1])
        centres = walk(costs, begin, self._habits.stroke_length, self._rng)
        stroke = ndi.binary_dilation(centres, np.ones((3, 3), bool))
        self.labels[window][stroke] = BACKGROUND
        self.n_strokes += 1


def fill_inside(inside: Pixels, brush_radius: float, rng: np.random.Generator) -> Pixels:
    """Fill a shape with a round brush, staying inside of its border by an unsteady hand.

    Parameters
    ----------
    inside : ndarray
        The shape, ``YX`` bool, at least one pixel.
    brush_radius : float
        In pixels; a smaller brush is taken where it does not fit, and so something is painted.
    rng : Generator
        Of the hand.
    """
    # Beyond the array a cell goes on: one that the image cuts is painted to the image's edge.
    depth = ndi.distance_transform_edt(inside) if not inside.all() else np.full(inside.shape, 1e9)
    for radius in (brush_radius, 1.0):
        centres = depth > radius + rng.uniform(0.3, 1.0)
        if centres.any():
            painted: Pixels = ndi.distance_transform_edt(~centres) <= radius
            return painted & inside
    return inside.copy()


def part_of(painted: Pixels, area: float, rng: np.random.Generator) -> Pixels:
    """Keep one connected part of a fill: what lies in a circle of `area` about one pixel of it."""
    pixels = np.argwhere(painted)
    centre = pixels[rng.integers(len(pixels))]
    rows, columns = np.indices(painted.shape)
    near = (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 <= area / np.pi
    pieces, _ = ndi.label(painted & near, np.ones((3, 3)))
    part: Pixels = pieces == pieces[tuple(centre)]
    return part


def walk(
    costs: NDArray[np.float64], start: tuple[int, int], budget: float, rng: np.random.Generator
) -> Pixels:
    """Return the pixels on the cheapest way to a random pixel within the budget's reach.

    Parameters
    ----------
    costs : ndarray
        Of a step of one pixel, ``YX``, at least 1; negative where there is no way.
    start : tuple of int
        Where to begin; not where there is no way.
    budget : float
        What the walk may cost; so it is no longer than this many pixels.
    rng : Generator
        Of the destination.
    """
    graph = MCP_Geometric(costs)
    spent, _ = graph.find_costs([start])
    spent = np.where(spent <= budget, spent, -1.0)  # out of reach is infinite
    destinations = np.argwhere(spent >= 0.6 * spent.max())
    end = destinations[rng.integers(len(destinations))].tolist()
    passed = np.zeros(costs.shape, bool)
    passed[tuple(np.transpose(graph.traceback(end)))] = True
    return passed
