from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from scipy import ndimage as ndi

from napari_unet.data.labels import Kind, Unpainted, check_labels, ridge_between
from napari_unet.errors import ConfigError, LabelsError, NothingToLearnError
from napari_unet.tasks import ClassTable, check_classes_painted, class_table, target_of

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


@pytest.mark.fault(26)
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


def tiles_of_objects(ndim: int, background: float, seed: int) -> NDArray[np.int64]:
    """Boxes of 3 to 5 pixels, side by side; some of them are left out."""
    rng = np.random.default_rng(seed)
    number = np.zeros((1,) * ndim, np.int64)
    for axis in range(ndim):
        widths = rng.integers(3, 6, size=5)
        place = np.repeat(np.arange(5), widths).reshape(
            [-1 if a == axis else 1 for a in range(ndim)]
        )
        number = number * 5 + place
    ids = rng.permutation(5**ndim) + 1
    ids[rng.random(ids.size) < background] = 0
    boxes: NDArray[np.int64] = ids[number]
    return boxes


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("background", [0.0, 0.3], ids=["touching", "scattered"])
@pytest.mark.parametrize("ndim", [2, 3])
def test_components_of_face_neighbours_are_the_objects(
    ndim: int, background: float, seed: int
) -> None:
    labels = tiles_of_objects(ndim, background, seed)

    classes = target_of(labels, ClassTable("objects", "background")).classes

    components, count = ndi.label(classes == 1)
    pairs = np.unique(np.stack([components, labels])[:, classes == 1], axis=1)
    assert pairs.shape[1] == count == len(np.unique(labels[labels > 0]))


def test_a_straight_contact_costs_one_row_of_pixels() -> None:
    labels = np.zeros((9, 12), int)
    labels[:, 1:6] = 4
    labels[:, 6:11] = 8
    ridge = ridge_between(labels)
    assert ridge.sum() == 9
    assert ridge[:, 5].all()


def test_a_flat_contact_in_3d_costs_one_sheet_of_pixels() -> None:
    labels = np.ones((6, 5, 4), int)
    labels[3:] = 2
    assert ridge_between(labels).sum(axis=(1, 2)).tolist() == [0, 0, 20, 0, 0, 0]


def test_the_ridge_belongs_to_its_object_still() -> None:
    target = target_of(np.array([[2, 2, 3, 3]]), ClassTable("objects", "unlabelled"))
    assert target.objects[0, 0] == target.objects[0, 1] != target.objects[0, 2]


@given(
    labels=hnp.arrays(np.uint8, (6, 7), elements=st.integers(0, 4)),
    names=st.permutations([2, 3, 4]),
)
def test_the_names_of_the_objects_do_not_matter(
    labels: NDArray[np.uint8], names: list[int]
) -> None:
    renamed = np.array([0, 1, *names], np.uint8)[labels]
    table = ClassTable("objects", "unlabelled")
    np.testing.assert_array_equal(
        target_of(labels, table).classes, target_of(renamed, table).classes
    )


@given(labels=hnp.arrays(np.uint8, (6, 7), elements=st.integers(0, 4)))
def test_exactly_the_unpainted_pixels_are_unlabelled(labels: NDArray[np.uint8]) -> None:
    target = target_of(labels, ClassTable("objects", "unlabelled"))
    np.testing.assert_array_equal(target.painted, labels > 0)


@pytest.mark.parametrize("unpainted", ["unlabelled", "background"])
@pytest.mark.parametrize("dtype", [np.int8, np.uint8, ">i2", np.uint16, np.int32, np.uint64])
def test_the_integer_type_of_the_labels_does_not_matter(dtype: Any, unpainted: Unpainted) -> None:
    labels = tiles_of_objects(2, 0.3, 0)
    table = ClassTable("objects", unpainted)
    expected = target_of(labels, table)
    found = target_of(labels.astype(dtype), table)
    np.testing.assert_array_equal(found.classes, expected.classes)
    np.testing.assert_array_equal(found.objects > 0, expected.objects > 0)


@pytest.mark.fault(26)
@pytest.mark.parametrize("unpainted", ["unlabelled", "background"])
def test_the_two_largest_ids_of_uint64_stay_apart(unpainted: Unpainted) -> None:
    labels = np.array([[0, 2**64 - 1, 0, 2**64 - 2]], np.uint64)
    objects = target_of(labels, ClassTable("objects", unpainted)).objects
    assert len({0, *objects[0, [1, 3]].tolist()}) == 3


@pytest.mark.fault(26, 29)
@pytest.mark.parametrize("value", [300, 70_000, 2**31 + 5, 2**32 - 1])
def test_a_large_class_value_comes_back_as_painted(value: int) -> None:
    labels = np.array([[0, 1, 2, value]], np.uint32)
    table = class_table([labels], "classes", "unlabelled")
    assert table.results == (0, 2, value)
    assert target_of(labels, table).classes.tolist() == [[-1, 0, 1, 2]]


@pytest.mark.fault(18, 26)
@pytest.mark.parametrize("first", [2**53, 2**63 + 1], ids=str)
def test_neighbouring_class_values_of_uint64_stay_apart(first: int) -> None:
    labels = np.array([[0, first, first + 1, first + 2]], np.uint64)
    table = class_table([labels], "classes", "background")
    assert target_of(labels, table).classes.tolist() == [[0, 1, 2, 3]]


def test_classes_carry_no_objects() -> None:
    labels = np.array([[0, 1, 2, 5]])
    table = class_table([labels], "classes", "unlabelled")
    assert not target_of(labels, table).objects.any()


def test_a_background_that_was_never_painted_is_no_result() -> None:
    assert class_table([np.array([0, 3, 5])], "classes", "unlabelled").results == (3, 5)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.complex64, object])
def test_labels_of_another_type_are_refused_wherever_they_come_in(dtype: Any) -> None:
    labels = np.zeros((2, 2), dtype)
    with pytest.raises(LabelsError, match=r"cannot be used; save them as whole numbers"):
        target_of(labels, ClassTable("objects", "unlabelled"))
    with pytest.raises(LabelsError, match=r"cannot be used; save them as whole numbers"):
        class_table([labels], "classes", "unlabelled")


@pytest.mark.parametrize(
    "changes", [{"kind": "cells"}, {"unpainted": "void"}, {"painted": (1, 1)}], ids=str
)
def test_a_table_without_meaning_is_refused(changes: dict[str, Any]) -> None:
    settings_: dict[str, Any] = {"kind": "classes", "unpainted": "unlabelled", "painted": (1, 2)}
    with pytest.raises(ConfigError):
        ClassTable(**{**settings_, **changes})


@pytest.mark.parametrize(
    ("kind", "unpainted", "labels"),
    [
        pytest.param("objects", "unlabelled", [0, 0], id="nothing painted"),
        pytest.param("objects", "unlabelled", [0, 1], id="only background painted"),
        pytest.param("objects", "unlabelled", [2, 2, 3, 3], id="only touching objects painted"),
        pytest.param("objects", "background", [0, 0], id="empty masks"),
        pytest.param("classes", "unlabelled", [0, 2], id="one class painted"),
    ],
)
def test_paint_of_fewer_than_two_classes_is_refused(
    kind: Kind, unpainted: Unpainted, labels: list[int]
) -> None:
    table = ClassTable(kind, unpainted, () if kind == "objects" else (1, 2))
    with pytest.raises(NothingToLearnError):
        check_classes_painted([target_of(np.array([labels]), table)], table)


def test_two_classes_may_be_painted_in_different_images() -> None:
    table = ClassTable("objects", "unlabelled")
    targets = [target_of(np.array([[value]]), table) for value in (1, 2)]
    check_classes_painted(targets, table)


def test_touching_masks_have_background_between_them() -> None:
    table = ClassTable("objects", "background")
    check_classes_painted([target_of(np.array([[1, 1, 2, 2]]), table)], table)


def test_who_has_painted_nothing_is_told_so() -> None:
    with pytest.raises(NothingToLearnError, match=r"Nothing is painted yet\. Paint at least two"):
        class_table([np.zeros((3, 3), int)], "classes", "unlabelled")


@pytest.mark.fault(26)
def test_classes_of_another_image_that_a_narrow_type_cannot_hold_are_not_mistaken() -> None:
    table = ClassTable("classes", "background", (0, 1, 300))
    narrow = np.array([[0, 1, 44]], np.uint8)  # 300 wraps to 44 in uint8
    assert target_of(narrow, table).classes.tolist() == [[0, 1, -1]]
    assert target_of(narrow, ClassTable("classes", "background", (300, 400))).classes.max() == -1


# --- slivers ------------------------------------------------------------------------------------


def two_cells(gap: int) -> NDArray[np.uint8]:
    """Two painted cells side by side, with unpainted columns between them."""
    labels = np.zeros((20, 40), np.uint8)
    labels[5:15, 5:15] = 2
    labels[5:15, 15 + gap : 25 + gap] = 3
    return labels


@pytest.mark.parametrize("gap", [1, 2, 3, 4])
def test_the_middle_of_a_sliver_between_two_painted_cells_is_a_border(gap: int) -> None:
    target = target_of(two_cells(gap), ClassTable("objects", "unlabelled"), sliver=4.0)
    assert (target.classes[8, 15 : 15 + gap] == 0).sum() == 1


def test_a_border_that_is_implied_takes_nothing_from_the_cells() -> None:
    target = target_of(two_cells(2), ClassTable("objects", "unlabelled"), sliver=4.0)
    assert (target.classes == 1).sum() == 200


def test_the_rest_of_a_sliver_stays_unlabelled() -> None:
    target = target_of(two_cells(4), ClassTable("objects", "unlabelled"), sliver=4.0)
    assert (target.classes[8, 15:19] == -1).sum() == 3


def test_where_another_cell_may_lie_between_no_border_is_invented() -> None:
    target = target_of(two_cells(6), ClassTable("objects", "unlabelled"), sliver=4.0)
    assert not (target.classes == 0).any()


def test_an_implied_border_goes_on_between_cells_in_all_slices() -> None:
    volume = np.repeat(two_cells(2)[np.newaxis], 3, axis=0)
    target = target_of(volume, ClassTable("objects", "unlabelled"), sliver=4.0, anisotropy=3.0)
    assert (target.classes[:, 8, 15:17] == 0).sum(axis=1).tolist() == [1, 1, 1]


def one_plane(axis: int, *values: int) -> NDArray[np.uint16]:
    """Two cells side by side in the one plane of a volume that is painted: values across both."""
    volume = np.zeros((9, 9, 9), np.uint16)
    plane = np.zeros((9, 9), np.uint16)
    plane[2:7, 1 : 1 + len(values)] = values
    np.moveaxis(volume, axis, 0)[4] = plane
    return volume


@pytest.mark.parametrize("anisotropy", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("values", [(2, 2, 2, 3, 3, 3), (2, 2, 2, 0, 3, 3, 3), (2, 0, 0, 0, 0, 3)])
def test_beyond_the_one_plane_that_is_painted_nothing_is_background(
    axis: int, values: tuple[int, ...], anisotropy: float
) -> None:
    volume = one_plane(axis, *values)
    table = ClassTable("objects", "unlabelled")
    classes = target_of(volume, table, sliver=4.0, anisotropy=anisotropy).classes
    planes = np.moveaxis(classes, axis, 0)
    assert set(np.delete(planes, 4, axis=0).ravel().tolist()) == {-1}


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_between_the_cells_of_the_one_plane_that_is_painted_is_a_border(axis: int) -> None:
    volume = one_plane(axis, 2, 2, 2, 0, 3, 3, 3)
    classes = target_of(volume, ClassTable("objects", "unlabelled"), sliver=4.0).classes
    plane = np.moveaxis(classes, axis, 0)[4]
    assert set(plane[2:7, 4].tolist()) == {0}
    assert np.count_nonzero(plane == 0) == 5


def test_a_slice_between_two_painted_ones_is_a_border_where_two_cells_lie_over_each_other() -> None:
    volume = np.zeros((7, 9, 9), np.uint16)
    volume[2, 2:7, 1:6], volume[4, 2:7, 3:8] = 2, 3
    classes = target_of(volume, ClassTable("objects", "unlabelled"), sliver=4.0).classes
    assert set(classes[3, 2:7, 3:6].ravel().tolist()) == {0}
    assert set(classes[[0, 1, 5, 6]].ravel().tolist()) == {-1}


def test_a_slice_between_two_painted_ones_of_the_same_cell_stays_unlabelled() -> None:
    volume = np.zeros((7, 9, 9), np.uint16)
    volume[[2, 4], 2:7, 2:7] = 2
    classes = target_of(volume, ClassTable("objects", "unlabelled"), sliver=4.0).classes
    assert set(classes[3].ravel().tolist()) == {-1}


def test_a_thick_slice_between_two_painted_ones_may_be_of_either_cell() -> None:
    volume = np.zeros((7, 9, 9), np.uint16)
    volume[2, 2:7, 2:7], volume[4, 2:7, 2:7] = 2, 3
    table = ClassTable("objects", "unlabelled")
    assert set(target_of(volume, table, 4.0, 3.0).classes[3].ravel().tolist()) == {-1}


def test_finished_masks_have_no_slivers() -> None:
    labels = two_cells(2)
    table = ClassTable("objects", "background")
    assert np.array_equal(
        target_of(labels, table, sliver=4.0).classes, target_of(labels, table).classes
    )


CLASSES = ClassTable("classes", "unlabelled", (1, 2))
# What the second of two classes may be, and one that rounding lets add up to less than 1
PAIRS = np.array([[0.7, 0.5, np.float32(0.49999997), 0.4], [0.3, 0.5, 0.5, 0.6]], np.float32)


def test_at_one_half_two_classes_are_the_most_probable_ones() -> None:
    np.testing.assert_array_equal(CLASSES.decide(PAIRS, 0.5), PAIRS.argmax(axis=0))


@pytest.mark.parametrize(("threshold", "expected"), [(0.25, [1, 1, 1, 1]), (0.55, [0, 0, 0, 1])])
def test_another_threshold_is_that_of_the_second_class(
    threshold: float, expected: list[int]
) -> None:
    assert CLASSES.decide(PAIRS, threshold).tolist() == expected


def test_of_three_classes_the_most_probable_one_wins_at_any_threshold() -> None:
    table = ClassTable("classes", "unlabelled", (1, 2, 3))
    probabilities = np.array([[0.4], [0.35], [0.25]], np.float32)
    assert table.decide(probabilities, 0.3).tolist() == [0]


def test_objects_are_above_the_threshold() -> None:
    table = ClassTable("objects", "unlabelled")
    assert table.decide(PAIRS, 0.5).tolist() == [0, 0, 0, 1]
