"""Missed, false, merged and split objects, counted and coloured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_unet.errors import EvaluationError
from napari_unet.evaluation.objects import (
    ERROR_VALUES,
    class_error_map,
    count_objects,
    error_map,
)
from napari_unet.evaluation.overlap import matched_pairs, overlap_of
from napari_unet.evaluation.scores import errors_of, evaluate

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_unet.evaluation.overlap import Overlap

    Labels = NDArray[np.integer[Any]]

label_images = hnp.arrays(np.int64, (4, 6), elements=st.integers(0, 4))

# Rows of the truth and of the prediction, and (missed, false, merged, split)
CASES = {
    "perfect": ("1122", "5566", (0, 0, 0, 0)),
    "nothing predicted": ("1102", "0000", (2, 0, 0, 0)),
    "nothing true": ("0000", "1102", (0, 2, 0, 0)),
    "beside each other": ("1100", "0022", (1, 1, 0, 0)),
    "too small to match": ("1111", "5000", (1, 1, 0, 0)),
    "half is a match": ("1111", "5500", (0, 0, 0, 0)),
    "two in one": ("1122", "5555", (0, 0, 2, 0)),
    "two in one, a third missed": ("11223", "55550", (1, 0, 2, 0)),
    "half of a neighbour is no merger": ("111122", "555550", (1, 0, 0, 0)),
    "a swallowed crumb is a merger": ("11111112", "55555555", (0, 0, 2, 0)),
    "one in two": ("1111", "5566", (0, 0, 0, 1)),
    "one in four": ("11111111", "55667788", (0, 0, 0, 1)),
    "parts that cover half of it": ("11111111", "55660000", (1, 2, 0, 0)),
    "parts that cover more than half": ("11111111", "55660770", (0, 0, 0, 1)),
    "a part that lies half outside": ("11110", "55566", (0, 1, 0, 0)),
    "a crumb beside the match": ("11111", "55556", (0, 0, 0, 1)),
    "merged and split": ("11111112", "55555655", (0, 0, 2, 1)),
}


def row(text: str) -> Labels:
    return np.array([[int(digit) for digit in text]])


def mistakes_in(prediction: Labels, truth: Labels) -> Overlap:
    return overlap_of(prediction, truth)


@pytest.mark.parametrize(("truth", "prediction", "expected"), CASES.values(), ids=CASES)
def test_mistakes_are_those_of_the_definition(
    truth: str, prediction: str, expected: tuple[int, int, int, int]
) -> None:
    counts = count_objects(row(prediction), row(truth))
    assert (counts.n_missed, counts.n_false, counts.n_merged, counts.n_split) == expected


@given(label_images, label_images)
def test_every_true_object_is_matched_or_missed_or_merged_or_split(
    prediction: Labels, truth: Labels
) -> None:
    overlap = overlap_of(prediction, truth)
    right = np.isin(np.arange(overlap.n_truth), overlap.truth_index[matched_pairs(overlap)])
    np.testing.assert_array_equal(overlap.missed, ~(right | overlap.merged | overlap.split))


@given(label_images, label_images)
def test_definitions_hold_when_written_with_masks(prediction: Labels, truth: Labels) -> None:
    found = mistakes_in(prediction, truth)
    numbers = [n for n in np.unique(prediction).tolist() if n]
    true_numbers = [n for n in np.unique(truth).tolist() if n]
    masks = {n: truth == n for n in true_numbers}
    held = {
        p: {t for t, mask in masks.items() if (mask & (prediction == p)).sum() > mask.sum() / 2}
        for p in numbers
    }
    merged = {t for several in held.values() if len(several) > 1 for t in several}
    split = set()
    for t, mask in masks.items():
        parts = [
            (mask & (prediction == p)).sum()
            for p in numbers
            if (mask & (prediction == p)).sum() > (prediction == p).sum() / 2
        ]
        if len(parts) > 1 and sum(parts) > mask.sum() / 2:
            split.add(t)
    assert {t for t, flag in zip(true_numbers, found.merged, strict=True) if flag} == merged
    assert {t for t, flag in zip(true_numbers, found.split, strict=True) if flag} == split


@given(label_images)
def test_a_perfect_prediction_has_no_mistakes(truth: Labels) -> None:
    counts = count_objects(truth, truth)
    assert (counts.n_missed, counts.n_false, counts.n_merged, counts.n_split) == (0, 0, 0, 0)


def test_counts_of_images_are_added() -> None:
    one, other = row("1122"), row("5555")
    scores = evaluate([other, one], [one, 0 * one])
    assert (scores["n_merged"], scores["n_false"]) == (2, 2)


@pytest.mark.parametrize(
    ("truth", "prediction", "expected"),
    [
        ("0110", "0550", "0110"),
        ("1100", "0000", "2200"),
        ("0000", "0110", "0330"),
        ("11022", "55555", "44444"),
        ("1111", "5566", "5555"),
        ("1111", "0500", "2322"),
        ("1110", "5555", "1111"),
        ("11111112", "55555655", "44444444"),
        ("11110", "55566", "11113"),
    ],
    ids=[
        "correct",
        "missed",
        "false",
        "merged, with what lies between",
        "split",
        "too small",
        "the margin of a match",
        "merged goes before split",
        "false ends where a matched object begins",
    ],
)
def test_the_map_colours(truth: str, prediction: str, expected: str) -> None:
    np.testing.assert_array_equal(error_map(row(prediction), row(truth)), row(expected))


@given(label_images, label_images)
def test_the_map_covers_all_objects_and_nothing_else(prediction: Labels, truth: Labels) -> None:
    covered = error_map(prediction, truth) > 0
    np.testing.assert_array_equal(covered, (prediction > 0) | (truth > 0))


@given(label_images, label_images)
def test_a_colour_is_on_the_map_where_its_count_is_not_0(prediction: Labels, truth: Labels) -> None:
    counts = count_objects(prediction, truth)
    values = set(np.unique(error_map(prediction, truth)).tolist())
    assert (4 in values) == (counts.n_merged > 0)
    assert counts.n_split == 0 or values & {4, 5}
    assert counts.n_missed or 2 not in values
    assert counts.n_false or 3 not in values


def test_the_map_is_empty_where_the_truth_is_unknown() -> None:
    counted = row("0011").astype(bool)
    found = error_map(row("5560"), row("1111"), counted)
    np.testing.assert_array_equal(found, row("0011"))


def test_numbers_may_be_sparse_and_large() -> None:
    largest = np.iinfo(np.uint64).max
    labels = np.array([[0, largest, 7]], np.uint64)
    assert error_map(labels, labels).tolist() == [[0, 1, 1]]


def test_volumes_have_maps() -> None:
    volume = np.ones((2, 3, 4), int)
    assert (error_map(volume, volume) == 1).all()


def test_a_map_is_of_small_numbers() -> None:
    assert error_map(row("11"), row("11")).dtype == np.uint8


@pytest.mark.parametrize("paint", [error_map, class_error_map])
def test_shapes_that_differ_are_refused(paint: Any) -> None:
    with pytest.raises(EvaluationError, match=r"\(1, 2\).*\(1, 3\)"):
        paint(row("11"), row("111"))


@pytest.mark.parametrize("paint", [error_map, class_error_map])
def test_what_is_no_label_image_is_refused(paint: Any) -> None:
    with pytest.raises(EvaluationError, match="dtype float64"):
        paint(np.zeros((2, 2)), np.zeros((2, 2), int))


@pytest.mark.parametrize("paint", [error_map, class_error_map])
@pytest.mark.parametrize(
    "counted", [np.ones((1, 3), bool), np.ones((1, 2), int)], ids=["shape", "dtype"]
)
def test_what_does_not_tell_where_the_truth_is_known_is_refused(paint: Any, counted: Any) -> None:
    with pytest.raises(EvaluationError, match="one bool per pixel"):
        paint(row("11"), row("11"), counted)


def test_classes_are_right_missed_false_or_confused() -> None:
    found = class_error_map(row("02032"), row("02203"))
    np.testing.assert_array_equal(found, row("01236"))


@pytest.mark.parametrize(("kind", "prediction"), [("objects", "9078"), ("classes", "2022")])
def test_painted_truth_is_read_as_painted(kind: Any, prediction: str) -> None:
    # unlabelled, background, an object or class, background
    found = errors_of(row(prediction), row("0121"), kind, "unlabelled")
    np.testing.assert_array_equal(found, row("0013"))


def test_finished_masks_hold_background_as_0() -> None:
    np.testing.assert_array_equal(
        errors_of(row("0110"), row("0110"), "objects", "background"), row("0110")
    )


def test_every_value_has_a_name_and_a_colour_of_its_own() -> None:
    for of_all in zip(*ERROR_VALUES, strict=True):
        assert len(set(of_all)) == len(ERROR_VALUES) == 6


def test_a_cell_around_a_painted_stroke_is_right() -> None:
    prediction = np.zeros((40, 40), np.uint8)
    prediction[5:35, 5:35] = 1
    truth = np.zeros((40, 40), np.uint8)
    truth[20:24, 8:32] = 2  # 1 would be background, 0 is not labelled
    truth[0:3] = 1
    scores = evaluate(prediction, truth, unpainted="unlabelled")
    assert (scores["f1_50"], scores["n_missed"]) == (1.0, 0)
