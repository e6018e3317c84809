"""What was painted comes out as it was painted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from napari_unet.errors import LabelsError
from napari_unet.objects.painted import keep_painted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

BACKGROUND = 1


def disc(shape: tuple[int, ...], centre: Sequence[int], radius: int) -> NDArray[np.bool_]:
    middle = np.reshape(centre, (-1,) + (1,) * len(shape))
    return np.asarray(((np.indices(shape) - middle) ** 2).sum(axis=0) <= radius**2)


def two_discs(values: tuple[int, int] = (2, 3), gap: int = 0) -> NDArray[np.int32]:
    """Two discs of 8 pixels radius beside each other."""
    labels = np.zeros((32, 48), np.int32)
    labels[disc(labels.shape, (16, 14 - gap), 8)] = values[0]
    labels[disc(labels.shape, (16, 32 + gap), 8)] = values[1]
    return labels


def objects_in(labels: NDArray[Any]) -> list[int]:
    return [int(value) for value in np.unique(labels[labels > 0])]


def test_two_painted_cells_that_were_found_as_one_come_apart() -> None:
    painted = two_discs()
    found = np.zeros_like(painted)
    found[6:27, 4:43] = 1
    kept, last = keep_painted(found, painted)
    assert last == 2
    assert len(set(kept[painted == 2])) == len(set(kept[painted == 3])) == 1
    assert kept[16, 14] != kept[16, 32]


def test_what_was_found_around_a_painted_cell_is_part_of_the_nearest_one() -> None:
    painted = two_discs()
    found = np.zeros_like(painted)
    found[6:27, 4:43] = 1
    kept, _ = keep_painted(found, painted)
    assert kept[6, 8] == kept[16, 14]
    assert kept[6, 40] == kept[16, 32]
    assert np.array_equal(kept > 0, found > 0)


def test_pieces_of_a_painted_cell_are_joined() -> None:
    painted = np.zeros((32, 32), np.int32)
    painted[disc(painted.shape, (16, 16), 9)] = 2
    found = np.where(painted > 0, 1, 0)
    found[:, 16:] *= 2
    kept, last = keep_painted(found, painted)
    assert last == 1
    assert np.array_equal(kept > 0, painted == 2)


def test_a_painted_cell_that_was_missed_is_there() -> None:
    painted = two_discs()
    found = np.where(painted == 3, 1, 0)
    kept, last = keep_painted(found, painted)
    assert last == 2
    assert np.array_equal(kept > 0, painted > 0)


def test_a_stroke_in_a_large_object_leaves_it_whole() -> None:
    found = np.zeros((48, 48), np.int32)
    found[disc(found.shape, (24, 24), 18)] = 1
    painted = np.zeros_like(found)
    painted[24, 16:32] = 2
    kept, last = keep_painted(found, painted)
    assert last == 1
    assert np.array_equal(kept, found)


def test_a_stroke_where_nothing_was_found_makes_no_object_beside_strokes_in_objects() -> None:
    found = np.zeros((48, 96), np.int32)
    found[disc(found.shape, (24, 24), 18)] = 1
    painted = np.zeros_like(found)
    painted[24, 16:32] = 2
    painted[24, 64:80] = 3
    kept, last = keep_painted(found, painted)
    assert last == 1
    assert np.array_equal(kept, found)


def test_painted_background_is_background() -> None:
    painted = np.zeros((32, 48), np.int32)
    painted[:, 20:24] = BACKGROUND
    found = np.zeros_like(painted)
    found[8:24, 4:40] = 1
    kept, last = keep_painted(found, painted)
    assert not kept[:, 20:24].any()
    assert last == 2


def test_splinters_that_painted_background_cuts_off_go() -> None:
    painted = np.zeros((32, 48), np.int32)
    painted[disc(painted.shape, (16, 14), 8)] = 2
    painted[disc(painted.shape, (16, 14), 11) & (painted == 0)] = BACKGROUND
    found = np.where(disc(painted.shape, (16, 14), 12), 1, 0)
    kept, last = keep_painted(found, painted)
    assert last == 1
    assert np.array_equal(kept > 0, painted == 2)


def test_a_neighbour_that_was_merged_with_a_whole_painted_cell_is_an_object_of_its_own() -> None:
    cells = two_discs()
    painted = np.where(cells == 2, cells, 0)
    third = disc(cells.shape, (26, 4), 4)
    painted[third] = 4
    found = np.where(cells > 0, 1, 0)
    found[14:19, 14:32] = 1
    found[third] = 2
    kept, last = keep_painted(found, painted)
    assert last == 3
    assert kept[16, 14] != kept[16, 32]


def test_a_neighbour_into_which_paint_runs_keeps_the_rest() -> None:
    cells = two_discs(gap=-1)
    painted = np.where(cells == 2, 2, 0)
    painted[12:20, 22:27] = 2  # the hand slipped
    found = np.where(cells > 0, cells - 1, 0)
    kept, last = keep_painted(found, painted)
    assert last == 2
    assert kept[16, 36] != kept[16, 14]
    assert len(set(kept[painted == 2])) == 1


def test_what_lies_far_from_paint_stays_as_it_was_found() -> None:
    painted = two_discs((2, 0))
    found = two_discs((0, 1))
    kept, _ = keep_painted(found, painted)
    assert np.array_equal(kept == kept[16, 32], found == 1)


def test_nothing_painted_changes_nothing() -> None:
    found = two_discs((1, 2))
    kept, last = keep_painted(found, np.zeros_like(found))
    assert np.array_equal(kept, found)
    assert last == 2


def test_numbers_go_on_after_those_of_the_frames_before() -> None:
    found = two_discs((4, 9))
    kept, last = keep_painted(found, np.zeros_like(found), before=10)
    assert objects_in(kept) == [11, 12]
    assert last == 12


def test_objects_in_a_volume_are_kept_as_well() -> None:
    painted = np.zeros((12, 24, 40), np.uint16)
    painted[disc(painted.shape, (6, 12, 11), 5)] = 2
    painted[disc(painted.shape, (6, 12, 27), 5)] = 3
    found = np.ones(painted.shape, np.uint8)
    kept, last = keep_painted(found, painted)
    assert last == 2
    assert kept[6, 12, 11] != kept[6, 12, 27]


def test_paint_of_another_shape_is_refused() -> None:
    with pytest.raises(LabelsError, match="do not fit"):
        keep_painted(np.zeros((4, 4), np.int32), np.zeros((4, 5), np.int32))
