"""The simulated person paints ten cells and no other, and leaves slivers where she is to."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from annotator import BACKGROUND, FIRST_CELL
from numpy.typing import NDArray
from painter import Manner, choose_cells, number_to_paint, owners_of, paint_cells
from scipy import ndimage as ndi

from napari_unet.errors import LabelsError

Labels = NDArray[np.integer[Any]]


def touching_cells() -> Labels:
    """Twenty-five pairs of touching squares of 16 pixels, with sparse numbers."""
    truth = np.zeros((140, 200), np.uint16)
    for i in range(25):
        row, column = 6 + 26 * (i // 5), 4 + 36 * (i % 5)
        truth[row : row + 16, column : column + 16] = 3 * i + 5
        truth[row : row + 16, column + 16 : column + 32] = 3 * i + 6
    return truth


def owners_where(paint: Labels, truth: Labels) -> dict[int, set[int]]:
    """Return all that lies under each painted number."""
    return {int(n): set(np.unique(truth[paint == n]).tolist()) for n in np.unique(paint[paint > 0])}


@pytest.mark.parametrize("manner", ["cells", "brush", "strokes"])
@pytest.mark.parametrize("slivers", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_paint_never_lies_on_another_cell(manner: Manner, slivers: bool, seed: int) -> None:
    truth = touching_cells()
    found = owners_where(paint_cells(truth, 10, seed, slivers=slivers, manner=manner), truth)
    assert found.pop(BACKGROUND) == {0}
    assert all(len(under - {0}) == 1 for under in found.values())
    assert len(set.union(*found.values()) - {0}) == len(found) == 10


@pytest.mark.parametrize("slivers", [False, True])
def test_the_ten_are_among_the_twenty(slivers: bool) -> None:
    truth = touching_cells()
    ten = paint_cells(truth, 10, 4, slivers=slivers)
    twenty = paint_cells(truth, 10, 4, slivers=slivers, before=ten)
    assert np.array_equal(twenty[ten > 0], ten[ten > 0])
    assert owners_of(ten, truth).items() <= owners_of(twenty, truth).items()
    assert len(set(owners_of(twenty, truth).values())) == 20


def test_steady_outlines_are_exact() -> None:
    truth = touching_cells()
    paint = paint_cells(truth, 10, 0)
    assert np.array_equal(
        paint >= FIRST_CELL, np.isin(truth, list(owners_of(paint, truth).values()))
    )


def test_touching_cells_are_chosen_together() -> None:
    paint = paint_cells(touching_cells(), 10, 0)
    assert touching_numbers(paint)


@pytest.mark.parametrize("seed", range(5))
def test_slivers_leave_touching_cells_unpainted_between_them(seed: int) -> None:
    truth = touching_cells()
    paint = paint_cells(truth, 50, seed, slivers=True)
    assert len(owners_of(paint, truth)) == 50
    assert not touching_numbers(paint)
    middles = [row for top in range(6, 136, 26) for row in range(top + 4, top + 12)]
    widths = [gap_in_row(paint[row, 4:36]) for row in middles]
    assert set(widths) <= {1, 2}


def touching_numbers(paint: Labels) -> bool:
    """Whether pixels of two cells are neighbours, also across a corner."""
    cells = np.where(paint >= FIRST_CELL, paint.astype(int), 0)
    largest = ndi.maximum_filter(cells, 3)
    smallest = ndi.minimum_filter(np.where(cells == 0, 10**6, cells), 3)
    return bool(((cells > 0) & (largest != smallest)).any())


def gap_in_row(line: NDArray[Any]) -> int:
    """Count the unpainted pixels between the two cells of a row."""
    numbers = np.unique(line[line >= FIRST_CELL])
    (left, right) = sorted((np.flatnonzero(line == n) for n in numbers), key=lambda p: int(p[0]))
    return int(right[0] - left[-1] - 1)


def test_background_rings_cells_and_strokes_are_elsewhere() -> None:
    truth = touching_cells()
    background = paint_cells(truth, 3, 0) == BACKGROUND
    distance = ndi.distance_transform_edt(truth == 0)
    near, _ = ndi.label(background & (distance <= 4))
    assert near.any()
    assert (background & (distance > 5)).any()


def test_nothing_is_painted_where_the_truth_is_not_known() -> None:
    truth = touching_cells()
    known = np.zeros(truth.shape, bool)
    known[40:100, 40:160] = True
    paint = paint_cells(truth, 10, 0, known=known)
    assert not (paint[~known] == BACKGROUND).any()
    assert all(known[truth == cell].any() for cell in owners_of(paint, truth).values())


def test_debris_is_not_chosen() -> None:
    truth = touching_cells()
    truth[1, 1] = 999
    chosen = choose_cells(truth, 60, np.random.default_rng(0))
    assert (len(chosen), 999 in chosen) == (50, False)


@pytest.mark.parametrize(("cells", "number"), [(25, 10), (20, 10), (13, 6), (1, 1)])
def test_ten_are_painted_or_half_of_few(cells: int, number: int) -> None:
    assert number_to_paint(np.arange(cells + 1)[None]) == number


def test_without_cells_nothing_can_be_painted() -> None:
    with pytest.raises(LabelsError, match="no cell"):
        paint_cells(np.zeros((20, 20), np.uint8), 10, 0)


def test_a_brush_covers_the_inside_of_cells_and_paints_no_ring() -> None:
    truth = touching_cells()
    paint = paint_cells(truth, 3, seed=0, manner="brush")
    for number, (cell, *others) in owners_where(np.where(paint > 1, paint, 0), truth).items():
        covered = paint == number
        assert not others
        assert 0.7 < covered.sum() / (truth == cell).sum() < 1
        ring = ndi.binary_dilation(covered, iterations=2) & (truth == 0)
        assert not np.any(paint[ring] == BACKGROUND)
