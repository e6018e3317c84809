"""IoU, Dice, precision, recall and pixel error from confusion counts."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_unet.errors import EvaluationError
from napari_unet.evaluation.classes import (
    classes_in,
    count_classes,
    scores_of_class,
    scores_of_classes,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Labels = NDArray[np.integer[Any]]

PREDICTION = np.array([[0, 0, 2, 2, 2, 5]])
TRUTH = np.array([[0, 0, 0, 2, 2, 2]])

class_images = hnp.arrays(np.int16, (3, 5), elements=st.sampled_from([0, 1, 2, 300]))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, {"iou": 2 / 3, "dice": 4 / 5, "precision": 1, "recall": 2 / 3}),
        (2, {"iou": 2 / 4, "dice": 4 / 6, "precision": 2 / 3, "recall": 2 / 3}),
        (5, {"iou": 0, "dice": 0, "precision": 0, "recall": 0}),
        (9, {"iou": 1, "dice": 1, "precision": 1, "recall": 1}),
    ],
    ids=["background", "partly right", "only predicted", "in neither image"],
)
def test_scores_of_a_class_are_those_computed_by_hand(
    value: int, expected: dict[str, float]
) -> None:
    assert scores_of_class(count_classes(PREDICTION, TRUTH), value) == pytest.approx(expected)


def test_a_class_that_was_missed_altogether_has_precision_0() -> None:
    counts = count_classes(np.array([[0, 0]]), np.array([[0, 3]]))
    assert scores_of_class(counts, 3)["precision"] == 0


def test_classes_are_those_of_both_images() -> None:
    assert classes_in(count_classes(PREDICTION, TRUTH)) == (0, 2, 5)


def test_pixel_error_is_the_share_of_wrong_pixels() -> None:
    assert scores_of_classes(count_classes(PREDICTION, TRUTH))["pixel_error"] == 2 / 6


def test_the_mean_weighs_all_classes_alike() -> None:
    scores = scores_of_classes(count_classes(PREDICTION, TRUTH))
    assert scores["iou"] == pytest.approx((2 / 3 + 2 / 4) / 3)


def test_per_class_scores_are_keyed_by_the_value_as_text() -> None:
    scores = scores_of_classes(count_classes(PREDICTION, TRUTH))
    assert scores["recall_per_class"] == pytest.approx({"0": 2 / 3, "2": 2 / 3, "5": 0})


def test_pixels_that_are_not_counted_change_nothing() -> None:
    counted = np.array([[True, True, False, True, True, False]])
    scores = scores_of_classes(count_classes(PREDICTION, TRUTH, counted))
    assert scores["iou"] == 1


def test_nothing_counted_is_neutral() -> None:
    counts = count_classes(PREDICTION, TRUTH)
    nothing = count_classes(PREDICTION, TRUTH, np.zeros(TRUTH.shape, bool))
    assert counts + nothing == counts


def test_nothing_counted_has_no_pixel_error() -> None:
    assert scores_of_classes(Counter())["pixel_error"] == 0


@pytest.mark.parametrize("counted", [None, np.ones((1, 6), bool)], ids=["all", "limited"])
def test_different_shapes_are_refused_with_both_shapes_named(
    counted: NDArray[np.bool_] | None,
) -> None:
    with pytest.raises(EvaluationError, match=r"\(1, 5\).*\(1, 6\)"):
        count_classes(PREDICTION[:, :5], TRUTH, counted)


@given(class_images, class_images, class_images, class_images)
def test_adding_counts_equals_counting_the_images_side_by_side(
    first: Labels, second: Labels, third: Labels, fourth: Labels
) -> None:
    added = count_classes(first, second) + count_classes(third, fourth)
    assert added == count_classes(np.hstack([first, third]), np.hstack([second, fourth]))


@given(class_images, class_images)
def test_every_score_lies_between_0_and_1(prediction: Labels, truth: Labels) -> None:
    counts = count_classes(prediction, truth)
    for value in classes_in(counts):
        assert all(0 <= score <= 1 for score in scores_of_class(counts, value).values())


@given(class_images, class_images)
def test_dice_follows_from_iou(prediction: Labels, truth: Labels) -> None:
    counts = count_classes(prediction, truth)
    for value in classes_in(counts):
        scores = scores_of_class(counts, value)
        assert scores["dice"] == pytest.approx(2 * scores["iou"] / (1 + scores["iou"]))


@given(class_images, class_images)
def test_precision_of_one_direction_is_recall_of_the_other(
    prediction: Labels, truth: Labels
) -> None:
    there, back = count_classes(prediction, truth), count_classes(truth, prediction)
    for value in classes_in(there):
        assert scores_of_class(there, value)["precision"] == scores_of_class(back, value)["recall"]
