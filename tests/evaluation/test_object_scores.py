"""F1, AP, mAP and SEG."""

from __future__ import annotations

from itertools import combinations, permutations
from typing import TYPE_CHECKING, Any

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_unet.errors import EvaluationError
from napari_unet.evaluation.objects import THRESHOLDS, ObjectCounts, count_objects, seg_ious
from napari_unet.evaluation.overlap import matched_pairs, overlap_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_unet.evaluation.overlap import Overlap

    Labels = NDArray[np.integer[Any]]

# One row per object pair: IoU 4/4, 3/4, 2/4; a lone truth; a lone prediction
TRUTH = np.array([[1, 1, 1, 1], [2, 2, 2, 2], [3, 3, 3, 3], [4, 4, 4, 4], [0, 0, 0, 0]])
PREDICTION = np.array([[7, 7, 7, 7], [6, 6, 6, 0], [5, 5, 0, 0], [0, 0, 0, 0], [4, 4, 4, 4]])

label_images = hnp.arrays(np.int64, (4, 6), elements=st.integers(0, 4))


def partners(prediction: Labels, truth: Labels, iou_threshold: float) -> list[tuple[int, int]]:
    """Return the numbers of matched objects, predicted and true."""
    overlap = overlap_of(prediction, truth)
    pairs = matched_pairs(overlap, iou_threshold)
    predicted = overlap.prediction_ids[overlap.prediction_index[pairs]]
    true = overlap.truth_ids[overlap.truth_index[pairs]]
    return sorted(zip(predicted.tolist(), true.tolist(), strict=True))


@pytest.mark.parametrize(
    ("iou_threshold", "expected"),
    [(0.5, 3), (0.51, 2), (0.75, 2), (0.76, 1), (1.0, 1)],
)
def test_a_match_needs_an_iou_of_at_least_the_threshold(
    iou_threshold: float, expected: int
) -> None:
    assert len(matched_pairs(overlap_of(PREDICTION, TRUTH), iou_threshold)) == expected


def test_a_match_names_the_partners() -> None:
    assert partners(PREDICTION, TRUTH, 0.75) == [(6, 2), (7, 1)]


def test_two_equal_halves_of_one_prediction_make_one_match() -> None:
    overlap = overlap_of(np.array([[1, 1]]), np.array([[1, 2]]))
    assert len(matched_pairs(overlap, 0.5)) == 1


def test_the_pairing_with_most_pairs_wins_over_the_single_best_pair() -> None:
    # Prediction 1 covers truth 1 best, but then prediction 2 would be left alone
    truth = np.array([[1, 1, 1, 1, 1, 2, 2]])
    prediction = np.array([[2, 1, 1, 1, 1, 1, 1]])
    assert partners(prediction, truth, 0.1) == [(1, 2), (2, 1)]


@pytest.mark.parametrize("iou_threshold", [0, -0.1, 1.01, float("nan")])
def test_thresholds_out_of_range_are_refused(iou_threshold: float) -> None:
    with pytest.raises(EvaluationError, match="threshold"):
        matched_pairs(overlap_of(PREDICTION, TRUTH), iou_threshold)


def best_pairing(overlap: Overlap, iou_threshold: float) -> tuple[int, float]:
    """Try every one-to-one pairing; return (number of pairs, sum of IoUs) of the best."""
    table = np.zeros((overlap.n_predicted, overlap.n_truth))
    table[overlap.prediction_index, overlap.truth_index] = overlap.iou
    best = (0, 0.0)
    for n in range(1, min(table.shape) + 1):
        for rows in combinations(range(len(table)), n):
            for columns in permutations(range(table.shape[1]), n):
                ious = table[rows, columns]
                if (ious >= iou_threshold).all():
                    best = max(best, (n, ious.sum()))
    return best


@given(label_images, label_images, st.sampled_from([0.05, 0.1, 0.2, 1 / 3, 0.5, 0.6]))
def test_the_pairing_is_the_best_of_all_that_can_be_tried(
    prediction: Labels, truth: Labels, iou_threshold: float
) -> None:
    overlap = overlap_of(prediction, truth)
    pairs = matched_pairs(overlap, iou_threshold)
    n_pairs, iou_sum = best_pairing(overlap, iou_threshold)
    assert len(pairs) == n_pairs
    assert overlap.iou[pairs].sum() == pytest.approx(iou_sum)


@given(label_images, label_images)
def test_no_object_is_matched_twice(prediction: Labels, truth: Labels) -> None:
    pairs = partners(prediction, truth, 0.05)
    assert len({predicted for predicted, _ in pairs}) == len(pairs)
    assert len({true for _, true in pairs}) == len(pairs)


def test_scores_of_the_example_are_those_computed_by_hand() -> None:
    scores = count_objects(PREDICTION, TRUTH).scores()
    # TP of 4 + 4 objects: 3 at 0.50, 2 at 0.55 .. 0.75, 1 at 0.80 .. 0.95
    assert scores == pytest.approx(
        {
            "precision_50": 3 / 4,
            "precision_75": 2 / 4,
            "recall_50": 3 / 4,
            "recall_75": 2 / 4,
            "f1_50": 6 / 8,
            "f1_75": 4 / 8,
            "ap_50": 3 / 5,
            "ap_75": 2 / 6,
            "mean_precision": (3 + 5 * 2 + 4 * 1) / 40,
            "mean_recall": (3 + 5 * 2 + 4 * 1) / 40,
            "mean_f1": (3 + 5 * 2 + 4 * 1) / 40,
            "map": (3 / 5 + 5 * 2 / 6 + 4 * 1 / 7) / 10,
            "seg": (1 + 0.75 + 0 + 0) / 4,
            "n_truth": 4,
            "n_predicted": 4,
            "rand_error": scores["rand_error"],
            "n_missed": 1,
            "n_false": 1,
            "n_merged": 0,
            "n_split": 0,
        }
    )


def test_seg_needs_more_than_half_of_the_true_object() -> None:
    truth = np.array([[1, 1, 2, 2, 2]])
    prediction = np.array([[1, 0, 1, 1, 0]])
    assert seg_ious(overlap_of(prediction, truth)).tolist() == [0, 0.5]


def test_seg_lets_one_prediction_serve_two_merged_objects() -> None:
    merged = np.array([[1, 1, 1, 1]])
    assert seg_ious(overlap_of(merged, np.array([[1, 1, 1, 2]]))).tolist() == [0.75, 0.25]


def test_thresholds_are_the_literal_hundredths() -> None:
    assert THRESHOLDS == (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)


def test_counts_are_pooled_by_adding() -> None:
    pooled = count_objects(PREDICTION, TRUTH) + count_objects(TRUTH, TRUTH)
    assert pooled.scores()["ap_50"] == (3 + 4) / (5 + 4)
    assert pooled.scores()["seg"] == pytest.approx((1.75 + 4) / 8)


def test_an_image_without_objects_is_neutral() -> None:
    nothing = np.zeros((3, 3), int)
    counts = count_objects(PREDICTION, TRUTH)
    assert counts + count_objects(nothing, nothing) == counts


@pytest.mark.parametrize(
    ("counts", "expected"),
    [(ObjectCounts(), 1.0), (ObjectCounts(n_predicted=2), 0.0), (ObjectCounts(n_truth=2), 0.0)],
    ids=["neither", "only predicted", "only true"],
)
@pytest.mark.parametrize("score", ["precision_50", "recall_50", "f1_50", "ap_50", "map", "seg"])
def test_scores_are_defined_without_objects(
    counts: ObjectCounts, expected: float, score: str
) -> None:
    assert counts.scores()[score] == expected


def test_predictions_on_unpainted_ground_are_no_false_positives() -> None:
    counted = np.ones(TRUTH.shape, bool)
    counted[4] = False
    assert count_objects(PREDICTION, TRUTH, counted).n_predicted == 3


@given(label_images, label_images, st.permutations(range(1, 5)), st.integers(1, 10**15))
def test_new_numbers_of_the_objects_do_not_change_the_scores(
    prediction: Labels, truth: Labels, order: list[int], factor: int
) -> None:
    renumbered = np.array([0, *order])[prediction] * factor
    scores = count_objects(prediction, truth).scores()
    assert count_objects(renumbered, truth).scores() == pytest.approx(scores)


@given(label_images, label_images)
def test_every_score_lies_between_0_and_1(prediction: Labels, truth: Labels) -> None:
    scores = count_objects(prediction, truth).scores()
    assert all(0 <= score <= 1 for name, score in scores.items() if name[:2] != "n_")


@given(label_images)
def test_a_perfect_prediction_scores_1(truth: Labels) -> None:
    scores = count_objects(truth, truth).scores()
    assert scores["n_truth"] == scores["n_predicted"]
    best = {score for name, score in scores.items() if name[:2] != "n_" and name != "rand_error"}
    assert best == {1.0}


@given(label_images, label_images)
def test_counts_at_each_threshold_equal_a_match_at_that_threshold(
    prediction: Labels, truth: Labels
) -> None:
    overlap = overlap_of(prediction, truth)
    assert count_objects(prediction, truth).matched == tuple(
        len(matched_pairs(overlap, threshold)) for threshold in THRESHOLDS
    )
