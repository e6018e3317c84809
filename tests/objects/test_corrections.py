from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage as ndi

from napari_unet.errors import ConfigError, LabelsError
from napari_unet.objects.corrections import (
    Edit,
    annotation_number_for,
    changes_between,
    copy_region,
    corrections_as_annotation,
    delete_object,
    fill_between,
    grow_object,
    keep_corrected_objects,
    merge_objects,
    split_object,
)
from napari_unet.objects.overlaps import keep_numbers

IntArray = NDArray[np.integer[Any]]
DTYPES = [np.uint8, np.int16, np.int32, np.uint32, np.int64, np.uint64]


def applied(edit: Edit, labels: IntArray) -> IntArray:
    edited = labels.copy()
    edited[edit.indices] = edit.values
    return edited


def bar(dtype: type = np.int32) -> IntArray:
    """One object, number 3, of 4 x 12 pixels; another one, number 7, in a corner."""
    labels: IntArray = np.zeros((12, 20), dtype)
    labels[4:8, 4:16] = 3
    labels[0, 0] = 7
    return labels


def row(*values: int) -> IntArray:
    return np.array([values] * 5, np.int32)


def random_labels(seed: int, shape: tuple[int, ...], n: int = 6) -> IntArray:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, n + 1, [size // 3 + 1 for size in shape])
    for axis in range(len(shape)):
        coarse = coarse.repeat(3, axis)
    return coarse[tuple(slice(size) for size in shape)].astype(np.int32)


any_labels = st.builds(
    random_labels, st.integers(0, 10**6), st.sampled_from([(14, 17), (5, 8, 9), (1, 6), (1, 1)])
)


# delete


def test_a_deleted_object_is_background() -> None:
    assert np.unique(applied(delete_object(bar(), 3), bar())).tolist() == [0, 7]


@pytest.mark.parametrize("number", [0, -1, 4, 300])
def test_no_edit_deletes_what_is_not_there(number: int) -> None:
    assert delete_object(bar(np.uint8), number).empty


def test_an_edit_leaves_the_labels_alone() -> None:
    labels = bar()
    labels.setflags(write=False)
    applied(delete_object(labels, 3), labels)
    np.testing.assert_array_equal(labels, bar())


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)
def test_edits_hold_the_dtype_of_the_labels(dtype: type) -> None:
    labels = bar(dtype)
    edits = [
        delete_object(labels, 3),
        merge_objects(labels, [3, 7]),
        grow_object(labels, 3),
        split_object(labels, 3, np.array([[0.0, 9.0], [11.0, 9.0]])),
        delete_object(labels, 5),
    ]
    assert {edit.values.dtype for edit in edits} == {np.dtype(dtype)}


# merge


@pytest.mark.parametrize("gap", [0, 1, 2])
def test_merged_objects_are_one_across_a_narrow_gap(gap: int) -> None:
    labels = np.zeros((9, 20), np.int32)
    labels[2:7, 2:8] = 2
    labels[2:7, 8 + gap : 15] = 5
    merged = applied(merge_objects(labels, [5, 2]), labels)
    assert np.unique(merged).tolist() == [0, 5]
    assert ndi.label(merged)[1] == 1


def test_a_gap_of_three_pixels_stays_open() -> None:
    merged = applied(merge_objects(row(1, 1, 0, 0, 0, 2, 2), [1, 2]), row(1, 1, 0, 0, 0, 2, 2))
    np.testing.assert_array_equal(merged, row(1, 1, 0, 0, 0, 1, 1))


def test_a_gap_closes_up_to_the_border_of_the_image() -> None:
    merged = applied(merge_objects(row(1, 1, 0, 0, 2, 2), [1, 2]), row(1, 1, 0, 0, 2, 2))
    np.testing.assert_array_equal(merged, row(1, 1, 1, 1, 1, 1))


def test_away_from_the_border_a_gap_closes_like_a_binary_closing() -> None:
    labels = np.zeros((15, 20), np.int32)
    labels[4:9, 4:8] = 2
    labels[4:9, 10:15] = 5
    merged = applied(merge_objects(labels, [2, 5]), labels)
    np.testing.assert_array_equal(merged > 0, ndi.binary_closing(labels > 0))


def test_a_third_object_in_the_gap_is_left_alone() -> None:
    merged = applied(merge_objects(row(1, 1, 9, 2, 2), [1, 2]), row(1, 1, 9, 2, 2))
    np.testing.assert_array_equal(merged, row(1, 1, 9, 1, 1))


def test_a_hole_within_one_of_the_objects_stays() -> None:
    labels = np.zeros((9, 20), np.int32)
    labels[2:7, 2:8] = 2
    labels[2:7, 9:15] = 5
    labels[4, 4] = 0
    assert applied(merge_objects(labels, [2, 5]), labels)[4, 4] == 0


def test_numbers_that_are_not_there_are_ignored() -> None:
    merged = applied(merge_objects(bar(np.uint8), [300, 4, 7, 0, 3]), bar(np.uint8))
    np.testing.assert_array_equal(merged, np.where(bar() > 0, 7, 0))


@pytest.mark.parametrize("numbers", [[], [3], [3, 3], [3, 4], [4, 5], [0, 3]], ids=str)
def test_fewer_than_two_objects_are_not_merged(numbers: list[int]) -> None:
    assert merge_objects(bar(), numbers).empty


# split


def split(labels: IntArray, *line: tuple[float, ...]) -> IntArray:
    return applied(split_object(labels, 3, np.array(line, float)), labels)


def test_a_split_object_keeps_its_number_on_the_larger_side() -> None:
    parts = split(bar(), (0, 7), (11, 7))
    assert (parts[4:8, 8:16] == 3).all()
    assert (parts[4:8, 4:7] == 8).all()


def test_the_pixels_under_the_line_are_not_lost() -> None:
    np.testing.assert_array_equal(split(bar(), (0, 7), (11, 7)) > 0, bar() > 0)


def test_a_line_from_far_outside_the_image_splits() -> None:
    assert split(bar(), (-1e9, 9), (1e9, 9)).max() == 8


def test_a_line_of_many_parts_gives_each_a_number() -> None:
    parts = split(bar(), (2, 7), (10, 7), (10, 12), (2, 12))
    assert np.unique(parts).tolist() == [0, 3, 7, 8, 9]


@pytest.mark.parametrize(
    "line",
    [
        pytest.param([(0, 9), (5, 9)], id="ends inside"),
        pytest.param([(1, 0), (1, 19)], id="passes by"),
        pytest.param([(50, 0), (50, 19)], id="outside the image"),
        pytest.param([(5, 9)], id="one point"),
        pytest.param([(4, 0), (4, 19)], id="along the edge"),
    ],
)
def test_a_line_that_does_not_part_the_object_changes_nothing(
    line: list[tuple[float, float]],
) -> None:
    assert split_object(bar(), 3, np.array(line, float)).empty


def test_the_line_cuts_the_pixels_that_it_is_nearest_to() -> None:
    parts = split(row(3, 3, 3), (-2, 0.6), (9, 0.6))
    assert len(np.unique(parts)) == 2


def test_a_click_parts_a_bridge_of_one_pixel() -> None:
    parts = split(np.array([[3, 3, 3, 3]]), (0, 1))
    assert parts[0, 0] == 4
    assert (parts[0, 2:] == 3).all()


def test_a_line_without_points_changes_nothing() -> None:
    assert split_object(bar(), 3, np.zeros((0, 2))).empty


def test_an_object_that_is_not_there_is_not_split() -> None:
    assert split_object(bar(), 4, np.array([[0.0, 9.0], [11.0, 9.0]])).empty


def test_a_piece_that_was_apart_before_keeps_its_number() -> None:
    labels = bar()
    labels[10, 18] = 3
    parts = split(labels, (0, 7), (11, 7))
    assert parts[10, 18] == 3
    assert np.unique(parts).tolist() == [0, 3, 7, 8]


def test_a_line_beside_an_object_in_two_pieces_changes_nothing() -> None:
    labels = bar()
    labels[10, 18] = 3
    assert split_object(labels, 3, np.array([[9.0, 0.0], [9.0, 19.0]])).empty


def test_in_3d_the_cut_goes_through_all_planes() -> None:
    labels = np.stack([bar()] * 4)
    parts = split(labels, (2, 0, 7), (2, 11, 7))
    np.testing.assert_array_equal(parts, np.stack([split(bar(), (0, 7), (11, 7))] * 4))


def test_a_number_that_the_dtype_does_not_hold_is_refused() -> None:
    labels = bar(np.uint8)
    labels[11, 0] = 255
    with pytest.raises(LabelsError, match=r"256 .* uint8.*convert"):
        split(labels, (0, 9), (11, 9))


def test_the_last_number_of_the_dtype_is_used() -> None:
    labels = bar(np.uint8)
    labels[11, 0] = 254
    assert split(labels, (0, 9), (11, 9)).max() == 255


@settings(max_examples=150, deadline=None)
@given(
    through=st.tuples(st.floats(4, 15), st.floats(4, 15)),
    angle=st.one_of(st.floats(0, 3.1416), st.sampled_from([0, np.pi / 4, np.pi / 2])),
)
def test_a_line_at_any_angle_parts_a_square(through: tuple[float, float], angle: float) -> None:
    labels = np.full((20, 20), 3, np.int32)
    along = np.array([np.sin(angle), np.cos(angle)]) * 60
    assert len(np.unique(split(labels, tuple(through - along), tuple(through + along)))) > 1


@settings(max_examples=150, deadline=None)
@given(
    line=st.lists(st.tuples(st.floats(-5, 25), st.floats(-5, 25)), min_size=1, max_size=8),
    labels=st.builds(random_labels, st.integers(0, 10**6), st.just((18, 19)), st.just(2)),
)
def test_any_line_loses_no_pixel_and_touches_no_other_object(
    line: list[tuple[float, float]], labels: IntArray
) -> None:
    parts = applied(split_object(labels, 1, np.array(line)), labels)
    np.testing.assert_array_equal(parts > 0, labels > 0)
    np.testing.assert_array_equal(parts[labels != 1], labels[labels != 1])


@given(
    vertices=st.lists(
        st.tuples(st.floats(1, 18), st.floats(-3, 23) | st.sampled_from([0.5, 7.5, 8.0])),
        min_size=0,
        max_size=6,
    )
)
def test_a_line_from_side_to_side_parts_top_from_bottom_whatever_its_way(
    vertices: list[tuple[float, float]],
) -> None:
    labels = np.full((20, 20), 3, np.int32)
    parts = split(labels, (9.3, -2.0), *vertices, (9.7, 22.0))
    assert parts[0, 0] != parts[19, 19]


# grow


def test_an_object_grows_by_one_pixel_over_its_faces() -> None:
    grown = applied(grow_object(bar(), 3), bar())
    np.testing.assert_array_equal(grown == 3, ndi.binary_dilation(bar() == 3))


@pytest.mark.parametrize("pixels", [0, 1, 2, 5, 100])
def test_an_object_grows_as_far_as_asked(pixels: int) -> None:
    grown = applied(grow_object(bar(), 3, pixels), bar())
    near = ndi.distance_transform_edt(bar() != 3) <= pixels
    np.testing.assert_array_equal(grown, np.where(near & (bar() == 0), 3, bar()))


def test_an_object_does_not_grow_by_less_than_nothing() -> None:
    with pytest.raises(ConfigError, match="-1 pixels"):
        grow_object(bar(), 3, -1)


@given(labels=any_labels, number=st.integers(1, 7), pixels=st.integers(0, 4))
def test_growing_changes_background_only(labels: IntArray, number: int, pixels: int) -> None:
    grown = applied(grow_object(labels, number, pixels), labels)
    np.testing.assert_array_equal(grown[labels > 0], labels[labels > 0])


# the annotation


def test_a_copied_region_says_what_the_prediction_says() -> None:
    prediction = np.array([[0, 4, 4, 9]])
    annotation = np.array([[5, 0, 1, 1]], np.uint8)
    edit = copy_region(prediction, annotation, np.nonzero(np.array([[1, 1, 0, 1]])), {4: 2, 9: 8})
    assert applied(edit, annotation).tolist() == [[1, 2, 1, 8]]
    assert edit.values.dtype == np.uint8


def test_nothing_is_copied_from_an_empty_region() -> None:
    nowhere = np.nonzero(np.zeros((12, 20)))
    assert copy_region(bar(), bar(), nowhere, {}).empty


def test_a_copied_number_must_fit_into_the_annotation() -> None:
    annotation = np.zeros((12, 20), np.uint8)
    with pytest.raises(LabelsError, match="256 does not fit into labels of dtype uint8"):
        copy_region(bar(), annotation, np.nonzero(bar()), {3: 256, 7: 2})


@pytest.mark.parametrize(
    ("painted", "number"),
    [
        pytest.param([0, 0, 0, 0], 2, id="nothing painted"),
        pytest.param([1, 1, 1, 1], 2, id="only background painted"),
        pytest.param([0, 0, 0, 6], 6, id="one pixel painted"),
        pytest.param([1, 1, 1, 6], 6, id="background does not count"),
        pytest.param([5, 5, 6, 6], 5, id="half and half"),
        pytest.param([5, 6, 7, 7], 7, id="just half"),
        pytest.param([4, 5, 6, 7], 8, id="less than half"),
    ],
)
def test_a_predicted_object_gets_the_number_painted_under_it(
    painted: list[int], number: int
) -> None:
    prediction = np.array([[3, 3, 3, 3]])
    assert annotation_number_for(np.array([painted]), prediction, 3) == number


def test_a_new_number_is_above_all_painted_ones() -> None:
    assert annotation_number_for(np.array([[0, 9]]), np.array([[3, 0]]), 3) == 10


@pytest.mark.parametrize("number", [0, 4, 300])
def test_an_object_that_is_not_there_gets_a_new_number(number: int) -> None:
    assert annotation_number_for(np.array([[9, 9]]), np.array([[3, 0]], np.uint8), number) == 10


# what was changed


def objects_changed(before: IntArray, after: IntArray) -> tuple[int, ...]:
    return changes_between(before, after)[1]


def test_no_change_changes_no_object() -> None:
    changed, objects = changes_between(bar(), bar())
    assert not changed.any()
    assert objects == ()


def test_painted_pixels_change_their_object() -> None:
    after = bar()
    after[8, 4] = 3
    changed, objects = changes_between(bar(), after)
    assert np.argwhere(changed).tolist() == [[8, 4]]
    assert objects == (3,)


@pytest.mark.parametrize("pixel", [(4, 4), (4, 10)], ids=["corner", "side"])
def test_erased_pixels_change_the_object_beside_them(pixel: tuple[int, int]) -> None:
    after = bar()
    after[pixel] = 0
    assert objects_changed(bar(), after) == (3,)


def test_a_deleted_object_changes_its_neighbours_only() -> None:
    before = row(1, 1, 2, 2, 0, 4)
    assert objects_changed(before, row(1, 1, 0, 0, 0, 4)) == (1,)


def test_an_object_that_was_painted_beside_another_one_leaves_that_alone() -> None:
    assert objects_changed(row(1, 1, 0, 0), row(1, 1, 5, 0)) == (5,)


def test_a_corner_is_a_neighbour() -> None:
    before, after = np.diag([1, 2, 0]), np.diag([1, 0, 0])
    assert objects_changed(before, after) == (1,)


def test_an_object_that_lost_pixels_to_another_one_is_changed_too() -> None:
    assert objects_changed(row(3, 3, 3, 0, 4), row(3, 3, 8, 0, 4)) == (3, 8)


def test_an_object_that_went_up_in_another_one_is_no_object_any_more() -> None:
    assert objects_changed(row(3, 3, 5), row(5, 5, 5)) == (5,)


def test_predictions_of_different_shapes_are_refused() -> None:
    with pytest.raises(LabelsError, match=r"\(12, 20\).*\(12, 19\)"):
        changes_between(bar(), bar()[:, :-1])


# teaching


def teach(before: IntArray, after: IntArray, annotation: IntArray) -> IntArray:
    return applied(corrections_as_annotation(before, after, annotation), annotation)


def test_a_deleted_object_is_taught_as_background() -> None:
    after = applied(delete_object(bar(), 3), bar())
    np.testing.assert_array_equal(teach(bar(), after, bar() * 0), bar() == 3)


def test_a_corrected_object_is_taught_as_a_whole() -> None:
    after = applied(grow_object(bar(), 3), bar())
    np.testing.assert_array_equal(teach(bar(), after, bar() * 0), np.where(after == 3, 2, 0))


def test_without_corrections_nothing_is_taught() -> None:
    assert corrections_as_annotation(bar(), bar(), bar()).empty


def test_of_two_parts_the_larger_overlap_keeps_the_painted_number() -> None:
    before, after = row(1, 1, 1, 1, 1), row(1, 1, 1, 2, 2)
    taught = teach(before, after, row(0, 5, 5, 5, 0))
    np.testing.assert_array_equal(taught, row(5, 5, 5, 6, 6))


def test_parts_are_taught_apart_where_nothing_was_painted() -> None:
    taught = teach(row(1, 1, 1, 1, 1), row(1, 1, 1, 2, 2), row(0, 0, 0, 0, 0))
    np.testing.assert_array_equal(taught, row(2, 2, 2, 3, 3))


def test_merged_objects_are_taught_as_one() -> None:
    taught = teach(row(1, 1, 2, 2, 2), row(1, 1, 1, 1, 1), row(4, 4, 5, 5, 5))
    np.testing.assert_array_equal(taught, row(5, 5, 5, 5, 5))


def test_a_number_that_the_annotation_does_not_hold_is_refused() -> None:
    annotation = np.full((5, 3), 255, np.uint8)
    with pytest.raises(LabelsError, match="256"):
        corrections_as_annotation(row(1, 1, 1), row(1, 1, 2), annotation)


@settings(max_examples=80, deadline=None)
@given(before=any_labels, seed=st.integers(0, 10**6))
def test_what_is_taught_agrees_with_the_corrected_prediction(before: IntArray, seed: int) -> None:
    after = random_labels(seed, before.shape)
    annotation = random_labels(seed + 1, before.shape)
    edit = corrections_as_annotation(before, after, annotation)
    taught = applied(edit, annotation)
    changed, objects = changes_between(before, after)
    written = np.zeros(before.shape, bool)
    written[edit.indices] = True

    np.testing.assert_array_equal(taught[written] == 1, after[written] == 0)
    assert written[changed].all()
    pairs = {(int(p), int(t)) for p, t in zip(after[written], taught[written], strict=True)}
    assert len({p for p, _ in pairs}) == len({t for _, t in pairs}) == len(pairs)
    assert {p for p, _ in pairs} - {0} == set(objects)


def test_an_annotation_of_another_shape_is_refused() -> None:
    with pytest.raises(LabelsError, match=r"\(12, 20\).*\(12, 19\)"):
        corrections_as_annotation(bar(), bar(), bar()[:, :-1])


def test_neither_prediction_nor_annotation_is_written_to() -> None:
    arrays = [row(1, 1, 1), row(1, 0, 2), row(0, 5, 5)]
    for array in arrays:
        array.setflags(write=False)
    corrections_as_annotation(*arrays)


# corrections outlive a new prediction


def test_a_corrected_object_stays_whole_in_a_new_prediction() -> None:
    kept, stays = keep_corrected_objects(
        row(1, 0, 0, 0, 2), row(5, 5, 0, 0, 0), row(5, 5, 5, 0, 0), 6
    )
    np.testing.assert_array_equal(kept, row(5, 5, 5, 0, 2))
    np.testing.assert_array_equal(stays, row(1, 1, 1, 0, 0))


def test_both_halves_of_a_split_stay() -> None:
    kept, _ = keep_corrected_objects(row(1, 1, 1, 1, 1), row(5, 5, 5, 5, 0), row(5, 5, 6, 6, 0), 7)
    np.testing.assert_array_equal(kept, row(5, 5, 6, 6, 0))


def test_a_deleted_object_that_is_found_again_stays_away() -> None:
    kept, _ = keep_corrected_objects(row(1, 1, 1, 0, 2), row(5, 5, 0, 0, 0), row(0, 0, 0, 0, 0), 6)
    np.testing.assert_array_equal(kept, row(0, 0, 0, 0, 2))


def test_a_new_object_never_shares_the_number_of_a_corrected_one() -> None:
    kept, _ = keep_corrected_objects(row(0, 0, 0, 5, 5), row(5, 5, 0, 0, 0), row(6, 6, 0, 0, 0), 7)
    assert not set(kept[:, 3:].ravel()) & {5, 6}


def test_without_corrections_the_new_prediction_comes_as_it_is() -> None:
    kept, stays = keep_corrected_objects(row(3, 0, 1), row(1, 1, 2), row(1, 1, 2), 4)
    np.testing.assert_array_equal(kept, row(3, 0, 1))
    assert not stays.any()


# colours that do not flicker


def test_objects_keep_the_numbers_of_the_previous_prediction() -> None:
    kept = keep_numbers(row(1, 1, 0, 2, 2, 0, 3), row(9, 9, 0, 0, 4, 4, 0))
    np.testing.assert_array_equal(kept, row(9, 9, 0, 4, 4, 0, 10))


def test_of_two_parts_the_larger_one_keeps_the_previous_number() -> None:
    np.testing.assert_array_equal(keep_numbers(row(1, 2, 2), row(5, 5, 5)), row(6, 5, 5))


def test_a_merged_object_keeps_the_number_of_the_larger_part() -> None:
    np.testing.assert_array_equal(keep_numbers(row(1, 1, 1), row(5, 8, 8)), row(8, 8, 8))


def test_previous_numbers_beyond_int32_are_refused() -> None:
    with pytest.raises(LabelsError, match="int32"):
        keep_numbers(np.array([[1]]), np.array([[2**40]]))


@settings(max_examples=80, deadline=None)
@given(labels=any_labels)
def test_the_same_prediction_keeps_all_its_numbers(labels: IntArray) -> None:
    np.testing.assert_array_equal(keep_numbers(labels, labels), labels)


@settings(max_examples=80, deadline=None)
@given(labels=any_labels, seed=st.integers(0, 10**6))
def test_renumbering_changes_no_object(labels: IntArray, seed: int) -> None:
    previous = random_labels(seed, labels.shape) * 7
    kept = keep_numbers(labels, previous)
    assert kept.dtype == np.int32
    pairs = {*zip(labels.ravel().tolist(), kept.ravel().tolist(), strict=True)}
    assert len({a for a, _ in pairs}) == len({b for _, b in pairs}) == len(pairs)
    np.testing.assert_array_equal(kept == 0, labels == 0)


def test_renumbering_a_live_prediction_takes_no_noticeable_time() -> None:
    labels = np.kron(np.arange(1, 530).reshape(23, 23), np.ones((44, 44), int)).astype(np.int32)
    labels = np.pad(labels, 6)
    previous = np.roll(labels, 3, axis=1)
    times = []
    for _ in range(5):
        begin = time.perf_counter()
        keep_numbers(labels, previous)
        times.append(time.perf_counter() - begin)
    assert min(times) < 0.3  # usually 0.02; a loop over pixels would take seconds


# --- Planes between two painted ones --------------------------------------------------------------


def disk(radius: float, centre: tuple[float, float] = (16, 16)) -> NDArray[np.bool_]:
    y, x = np.mgrid[:32, :32]
    inside: NDArray[np.bool_] = np.hypot(y - centre[0], x - centre[1]) < radius
    return inside


def two_slices(*, upper: int = 2, centre: tuple[float, float] = (16, 16)) -> IntArray:
    """A disk in slice 1 with number 2, and a smaller one in slice 5."""
    labels: IntArray = np.zeros((8, 32, 32), np.uint16)
    labels[1][disk(10)] = 2
    labels[5][disk(6, centre)] = upper
    return labels


def test_slices_between_two_painted_ones_get_outlines_between_theirs() -> None:
    filled = applied(fill_between(two_slices(), 2, 0), two_slices())
    assert [int(np.count_nonzero(plane)) for plane in filled[[0, 6, 7]]] == [0, 0, 0]
    assert filled[3][disk(7.5)].all()
    assert not filled[3][~disk(8.5)].any()


def test_a_cell_that_leans_goes_over_along_its_own_axis() -> None:
    labels = two_slices(centre=(16, 24))
    filled = applied(fill_between(labels, 2, 0), labels)
    assert ndi.center_of_mass(filled[3] == 2) == pytest.approx((16, 20), abs=0.6)


def test_what_is_painted_between_stays() -> None:
    labels = two_slices()
    labels[3, 16, 10:14], labels[2, 16, 18] = 7, 1
    filled = applied(fill_between(labels, 2, 0), labels)
    np.testing.assert_array_equal(filled[labels > 0], labels[labels > 0])
    assert filled[3, 16, 16] == 2


def test_a_cell_just_painted_goes_on_with_the_one_that_it_lies_over() -> None:
    labels = two_slices(upper=3)
    filled = applied(fill_between(labels, 3, 0), labels)
    np.testing.assert_array_equal(filled, applied(fill_between(two_slices(), 2, 0), two_slices()))


def test_another_cell_in_between_ends_the_search_for_one() -> None:
    labels = two_slices(upper=3)
    labels[4, 10:22, 20:30] = 9
    assert fill_between(labels, 3, 0).empty


def test_a_cell_that_lies_over_nothing_is_left_alone() -> None:
    assert fill_between(two_slices(upper=3, centre=(5, 27)), 3, 0).empty


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_it_fills_along_any_axis(axis: int) -> None:
    moved = np.moveaxis(two_slices(), 0, axis).copy()
    filled = applied(fill_between(moved, 2, axis), moved)
    expected = applied(fill_between(two_slices(), 2, 0), two_slices())
    np.testing.assert_array_equal(np.moveaxis(filled, axis, 0), expected)


@pytest.mark.parametrize("number", [0, 5])
def test_between_no_paint_nothing_is_filled(number: int) -> None:
    assert fill_between(two_slices(), number, 0).empty
