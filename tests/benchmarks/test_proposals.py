"""The simulated clicks of the table of proposals."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from proposals import clicks_into


def two_cells() -> NDArray[np.int32]:
    truth = np.zeros((60, 60), np.int32)
    truth[5:36, 5:36], truth[40:44, 50:52] = 3, 7
    return truth


def test_each_cell_is_clicked_once_inside() -> None:
    truth = two_cells()
    clicks = list(clicks_into(truth))
    assert sorted(cell for cell, _ in clicks) == [3, 7]
    assert all(truth[int(y), int(x)] == cell for cell, (y, x) in clicks)


def test_clicks_are_the_same_each_time() -> None:
    assert list(clicks_into(two_cells())) == list(clicks_into(two_cells()))


def test_of_many_cells_sixty_are_clicked() -> None:
    truth = np.kron(np.arange(1, 101).reshape(10, 10), np.ones((3, 3), int)).astype(np.int32)
    assert len(list(clicks_into(truth))) == 60
