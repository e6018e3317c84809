"""The simulated person sees what a person sees, and paints as one does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from annotator import (
    BACKGROUND,
    FIRST_CELL,
    Annotator,
    Habits,
    fill_inside,
    part_of,
    walk,
    wrong_cells,
)
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage as ndi

from napari_unet.errors import LabelsError

Labels = NDArray[np.integer[Any]]


def eight_cells() -> Labels:
    """Eight squares of 14 pixels with gaps of 10, two of them touching."""
    truth = np.zeros((60, 110), np.uint16)
    for i in range(4):
        truth[6:20, 6 + 24 * i : 20 + 24 * i] = 10 + i
    truth[32:46, 6:20], truth[32:46, 20:34] = 20, 21
    truth[32:46, 54:68], truth[32:46, 78:92] = 22, 23
    return truth


def image_of(truth: Labels) -> NDArray[np.float64]:
    return (truth > 0) * 100.0 + np.random.default_rng(0).normal(size=truth.shape)


def person(truth: Labels, seed: int = 0, habits: Habits | None = None) -> Annotator:
    return Annotator(image_of(truth), truth, seed, habits)


def random_truth(seed: int, threshold: float) -> Labels:
    noise = ndi.gaussian_filter(np.random.default_rng(seed).normal(size=(64, 70)), 3)
    truth, number = ndi.label(noise > threshold * noise.std())
    if not number:
        truth[20:30, 20:30] = 1
    labels: Labels = truth
    return labels


def test_a_right_answer_has_no_wrong_cell() -> None:
    assert wrong_cells(eight_cells(), eight_cells()) == {}


def test_a_missed_cell_is_wrong_in_all_its_pixels() -> None:
    predicted = eight_cells()
    predicted[predicted == 12] = 0
    assert wrong_cells(predicted, eight_cells()) == {12: 14 * 14}


def test_an_answer_without_objects_misses_every_cell() -> None:
    truth = eight_cells()
    assert set(wrong_cells(np.zeros_like(truth), truth)) == set(np.unique(truth[truth > 0]))


def test_merged_cells_are_both_wrong() -> None:
    predicted = eight_cells()
    predicted[predicted == 21] = 20
    assert wrong_cells(predicted, eight_cells()) == {20: 14 * 14, 21: 14 * 14}


def test_a_split_cell_is_wrong_by_its_smaller_part() -> None:
    predicted = eight_cells()
    predicted[32:46, 54:60] = 99
    assert wrong_cells(predicted, eight_cells()) == {22: 14 * 6}


def test_an_outline_that_is_off_by_a_pixel_is_not_noticed() -> None:
    truth = eight_cells()
    predicted = np.where(ndi.binary_erosion(truth > 0, np.ones((2, 2))), truth, 0)
    assert wrong_cells(predicted, truth) == {}


def test_at_first_a_few_cells_are_painted_with_numbers_of_their_own() -> None:
    truth = eight_cells()
    annotator = person(truth)
    annotator.begin()
    numbers = np.unique(annotator.labels[annotator.labels >= FIRST_CELL])
    assert numbers.tolist() in ([2, 3, 4], [2, 3, 4, 5])
    for number in numbers:
        assert len(np.unique(truth[annotator.labels == number])) == 1


def test_the_strokes_are_counted() -> None:
    annotator = person(eight_cells())
    assert annotator.begin() == annotator.n_strokes
    assert 5 <= annotator.n_strokes <= 7


def test_nothing_is_painted_where_nothing_is_wrong() -> None:
    truth = eight_cells()
    annotator = person(truth)
    annotator.begin()
    before = annotator.labels.copy()
    assert annotator.correct(truth) == 0
    np.testing.assert_array_equal(annotator.labels, before)


def test_a_missed_cell_is_painted() -> None:
    truth = eight_cells()
    annotator = person(truth)
    predicted = np.where(truth == 23, 0, truth)
    assert annotator.correct(predicted) == 1
    assert set(np.unique(truth[annotator.labels > 0])) == {23}


def test_merged_cells_are_painted_with_different_numbers() -> None:
    truth = eight_cells()
    annotator = person(truth)
    annotator.correct(np.where(truth == 21, 20, truth))
    left, right = annotator.labels[truth == 20].max(), annotator.labels[truth == 21].max()
    assert {int(left), int(right)} == {2, 3}


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param((slice(50, 57), slice(90, 100)), id="false cell"),
        pytest.param((slice(6, 20), slice(44, 51)), id="leak beside a cell"),
    ],
)
def test_a_background_stroke_crosses_what_is_wrongly_foreground(
    wrong: tuple[slice, slice],
) -> None:
    truth = eight_cells()
    annotator = person(truth)
    predicted = truth.copy()
    predicted[wrong] = 99
    annotator.correct(predicted)
    assert (annotator.labels[wrong] == BACKGROUND).any()


def test_a_gap_too_narrow_for_the_brush_is_left_alone() -> None:
    truth = np.zeros((30, 40), np.uint8)
    truth[5:25, 2:19], truth[5:25, 21:38] = 1, 2
    annotator = person(truth, habits=Habits(cells=0))
    predicted = truth.copy()
    predicted[5:25, 19:21] = 1
    assert annotator.correct(predicted) == 0


def test_a_cell_keeps_its_number_when_it_is_painted_again() -> None:
    truth = eight_cells()
    annotator = person(truth, habits=Habits(part_fills=1.0))
    predicted = np.where(truth == 13, 0, truth)
    annotator.correct(predicted)
    part = int((annotator.labels == FIRST_CELL).sum())
    annotator.correct(predicted)
    assert np.unique(annotator.labels).tolist() == [0, FIRST_CELL]
    assert int((annotator.labels == FIRST_CELL).sum()) > part


def test_a_filled_cell_is_not_painted_again() -> None:
    truth = eight_cells()
    annotator = person(truth, habits=Habits(part_fills=0.0))
    predicted = np.where(truth == 13, 0, truth)
    annotator.correct(predicted)
    assert annotator.correct(predicted) == 0


def test_of_a_very_large_cell_only_a_part_is_painted() -> None:
    truth = np.zeros((120, 120), np.uint8)
    truth[10:110, 10:110] = 1
    annotator = person(truth, habits=Habits(largest_fill=900.0))
    annotator.correct(np.zeros_like(truth))
    assert 0 < (annotator.labels >= FIRST_CELL).sum() < 1000


def test_the_same_seed_paints_the_same() -> None:
    one, other = person(eight_cells(), seed=3), person(eight_cells(), seed=3)
    one.begin()
    other.begin()
    np.testing.assert_array_equal(one.labels, other.labels)


def test_another_seed_paints_something_else() -> None:
    one, other = person(eight_cells(), seed=3), person(eight_cells(), seed=4)
    one.begin()
    other.begin()
    assert (one.labels != other.labels).any()


def test_a_fill_keeps_off_the_border() -> None:
    inside = np.zeros((30, 30), bool)
    inside[5:25, 5:25] = True
    painted = fill_inside(inside, 2.5, np.random.default_rng(0))
    assert painted.sum() > 0.5 * inside.sum()
    assert not painted[5, :].any()


def test_a_cell_that_the_image_cuts_is_painted_to_the_edge_of_the_image() -> None:
    truth = np.zeros((40, 40), np.uint8)
    truth[:20, 10:30] = 7
    annotator = person(truth, habits=Habits(part_fills=0.0))
    annotator.correct(np.zeros_like(truth))
    assert annotator.labels[0, 20] == FIRST_CELL


def test_a_part_is_one_piece() -> None:
    painted = np.zeros((20, 40), bool)
    painted[5:15, 2:12] = painted[5:15, 14:38] = True
    part = part_of(painted, 200.0, np.random.default_rng(1))
    assert ndi.label(part)[1] == 1
    assert not (part & ~painted).any()


def test_a_walk_never_passes_where_there_is_no_way() -> None:
    costs = np.ones((20, 20))
    costs[:, 10] = -1.0
    for seed in range(20):
        assert not walk(costs, (5, 5), 50.0, np.random.default_rng(seed))[:, 10:].any()


def test_a_walk_without_room_stays_where_it_is() -> None:
    costs = np.full((5, 5), -1.0)
    costs[2, 2] = 1.0
    assert np.argwhere(walk(costs, (2, 2), 9.0, np.random.default_rng(0))).tolist() == [[2, 2]]


def test_labels_without_cells_are_refused() -> None:
    with pytest.raises(LabelsError, match="no cell"):
        Annotator(np.zeros((9, 9)), np.zeros((9, 9), np.uint8), 0)


def test_labels_of_another_size_are_refused() -> None:
    with pytest.raises(LabelsError, match=r"\(9, 9\).*\(9, 8\)"):
        Annotator(np.zeros((9, 9)), np.ones((9, 8), np.uint8), 0)


@given(seed=st.integers(0, 10**6), threshold=st.floats(0.3, 1.5), predicted_seed=st.integers(0, 99))
def test_no_paint_ever_contradicts_the_truth(
    seed: int, threshold: float, predicted_seed: int
) -> None:
    truth = random_truth(seed, threshold)
    annotator = person(truth, seed)
    annotator.begin()
    for _ in range(2):
        annotator.correct(random_truth(predicted_seed, threshold))
    assert not truth[annotator.labels == BACKGROUND].any()
    for number in range(FIRST_CELL, int(annotator.labels.max()) + 1):
        met = np.unique(truth[annotator.labels == number])
        assert len(met) == 1
        assert met[0] > 0


@given(seed=st.integers(0, 10**6), budget=st.floats(1, 60))
def test_a_walk_is_connected_and_no_longer_than_its_budget(seed: int, budget: float) -> None:
    passed = walk(np.ones((50, 50)), (25, 25), budget, np.random.default_rng(seed))
    assert passed[25, 25]
    assert ndi.label(passed, np.ones((3, 3)))[1] == 1
    assert passed.sum() <= budget + 1
