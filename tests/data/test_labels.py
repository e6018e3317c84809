from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from scipy import ndimage as ndi

from napari_unet.data.labels import (
    ClassTable,
    Kind,
    Unpainted,
    check_labels,
    class_table,
    ridge_between,
    target_of,
)
from napari_unet.errors import ConfigError, LabelsError, NothingToLearnError

VALUES = np.array([[0, 1, 5, 9]])


@pytest.mark.parametrize(
    ("kind", "unpainted", "classes", "results"),
    [
        pytest.param("objects", "unlabelled", [-1, 0, 1, 1], (0, 1), id="painted objects"),
        pytest.param("objects", "background", [0, 1, 1, 1], (0, 1), id="masks of objects"),
        pytest.param("classes", "unlabelled", [-1, 0, 1, 2], (0, 5, 9), id="painted classes"),
        pytest.param("classes", "background", [0, 1, 2, 3], (0, 1, 5, 9), id="masks of classes"),
    ],
)
def test_values_mean_what_the_table_says(
    kind: Kind, unpainted: Unpainted, classes: list[int], results: tuple[int, ...]
) -> None:
    spread = np.repeat(VALUES, 3, axis=1)  # three pixels each: a ridge takes one of them
    table = class_table([spread], kind, unpainted)
    assert target_of(spread, table).classes[0, 1::3].tolist() == classes
    assert table.results == results


def test_classes_of_several_images_share_one_table() -> None:
    table = class_table([np.array([1, 2]), np.array([1, 7])], "classes", "unlabelled")
    assert table.painted == (1, 2, 7)


def test_a_ridge_of_one_pixel_parts_touching_objects() -> None:
    labels = np.array([[2, 2, 3, 3]])
    assert target_of(labels, ClassTable("objects", "unlabelled")).classes.tolist() == [[1, 0, 1, 1]]


def test_no_ridge_is_drawn_where_objects_do_not_touch() -> None:
    assert not ridge_between(np.array([[2, 0, 3]])).any()


@settings(max_examples=80, deadline=None)
@given(
    labels=hnp.arrays(
        np.uint8,
        hnp.array_shapes(min_dims=2, max_dims=3, max_side=8),
        elements=st.integers(0, 3),
    )
)
def test_after_the_ridge_no_face_neighbours_belong_to_different_objects(
    labels: NDArray[np.uint8],
) -> None:
    parted = np.where(ridge_between(labels), 0, labels)
    components, count = ndi.label(parted)
    for number in range(1, count + 1):
        assert len(np.unique(parted[components == number])) == 1


@pytest.mark.parametrize("dtype", [np.uint32, np.int64, np.uint64])
def test_ids_beyond_16_bits_stay_apart(dtype: Any) -> None:
    labels = np.array([[70_000, 70_000, 0, 2**31 + 5 if dtype != np.uint32 else 4_000_000_000]])
    objects = target_of(labels.astype(dtype), ClassTable("objects", "unlabelled")).objects
    assert len(np.unique(objects)) == 3
    assert objects[0, 2] == 0


def test_labels_that_are_no_whole_numbers_are_refused() -> None:
    with pytest.raises(LabelsError, match=r"float64.*uint16"):
        check_labels(np.zeros((2, 2)))


def test_negative_labels_are_refused_with_the_smallest() -> None:
    with pytest.raises(LabelsError, match="-3"):
        check_labels(np.array([[0, -3]]))


def test_a_mask_of_booleans_is_taken() -> None:
    assert check_labels(np.array([[True, False]])).tolist() == [[1, 0]]


@pytest.mark.parametrize("unpainted", ["unlabelled", "background"])
def test_a_single_class_is_refused(unpainted: Unpainted) -> None:
    value = 1 if unpainted == "unlabelled" else 0
    with pytest.raises(NothingToLearnError, match=r"single class|at least two classes"):
        class_table([np.full((3, 3), value)], "classes", unpainted)


def test_a_table_that_is_not_ascending_is_refused() -> None:
    with pytest.raises(ConfigError, match="ascending"):
        ClassTable("classes", "unlabelled", (2, 1))


def test_values_that_no_table_knows_are_unlabelled() -> None:
    table = ClassTable("classes", "unlabelled", (1, 2))
    assert target_of(np.array([[3, 200]]), table).classes.tolist() == [[-1, -1]]
