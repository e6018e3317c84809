from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_unet.data.labels import ClassTable, target_of
from napari_unet.data.separation import separate_objects


def two_squares(bridge: float) -> NDArray[np.float32]:
    """Two squares with a ridge of one pixel between them, of the given probability."""
    foreground = np.zeros((20, 31), np.float32)
    foreground[4:16, 4:27] = 1.0
    foreground[4:16, 15] = bridge
    return foreground


def test_objects_parted_by_a_ridge_come_back_apart() -> None:
    assert separate_objects(two_squares(0.0)).max() == 2


def test_they_grow_back_over_the_ridge() -> None:
    assert (separate_objects(two_squares(0.0))[5:15, 4:27] > 0).all()


def test_outer_borders_do_not_grow() -> None:
    labels = separate_objects(two_squares(0.0))
    labels[4:16, 4:27] = 0
    assert not labels.any()


def test_a_weak_ridge_still_splits_at_a_higher_threshold() -> None:
    assert separate_objects(two_squares(0.6)).max() == 2


def test_a_dent_of_little_depth_does_not_split() -> None:
    assert separate_objects(two_squares(0.97)).max() == 1


def test_a_crumb_does_not_split_the_whole() -> None:
    foreground = two_squares(1.0)
    foreground[4:16, 22:27] = 0.7  # leaves a crumb of certainty beyond a doubtful stripe
    foreground[8:10, 25:27] = 1.0
    assert separate_objects(foreground).max() == 1


def test_debris_is_dropped() -> None:
    foreground = two_squares(0.0)
    foreground[0, 0:3] = 1.0
    assert separate_objects(foreground, smallest=4).max() == 2


def test_objects_are_numbered_without_gaps() -> None:
    foreground = two_squares(0.0)
    foreground[0, 0] = 1.0
    numbers = np.unique(separate_objects(foreground, smallest=4))
    assert numbers.tolist() == [0, 1, 2]


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (7, 5), (4, 5, 6)], ids=str)
def test_an_empty_image_has_no_object(shape: tuple[int, ...]) -> None:
    labels = separate_objects(np.zeros(shape, np.float32))
    assert labels.shape == shape
    assert not labels.any()


def test_an_image_full_of_foreground_is_one_object() -> None:
    assert (separate_objects(np.ones((9, 9), np.float32)) == 1).all()


def test_diagonal_neighbours_are_not_joined() -> None:
    foreground = np.zeros((8, 8), np.float32)
    foreground[:4, :4] = foreground[4:, 4:] = 1.0
    assert separate_objects(foreground).max() == 2


@pytest.mark.parametrize("ndim", [2, 3])
def test_a_perfect_answer_gives_back_touching_objects(ndim: int) -> None:
    labels = np.zeros((12,) * ndim, np.uint8)
    labels[2:6] = 2
    labels[6:10] = 3
    target = target_of(labels, ClassTable("objects", "unlabelled"))

    found = separate_objects((target.classes == 1).astype(np.float32))

    assert found.max() == 2
    np.testing.assert_array_equal(found > 0, labels > 0)
