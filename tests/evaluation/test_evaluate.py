"""All scores at once: what a truth's values mean, pooling, and what is refused."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_unet.errors import ConfigError, EvaluationError
from napari_unet.evaluation.classes import rand_error, warping_error
from napari_unet.evaluation.scores import evaluate

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_unet.data.labels import Kind

    Labels = NDArray[np.integer[Any]]

OBJECT_KEYS = {
    *("iou", "dice", "precision", "recall"),
    *("precision_50", "recall_50", "f1_50", "ap_50"),
    *("precision_75", "recall_75", "f1_75", "ap_75"),
    *("mean_precision", "mean_recall", "mean_f1", "map", "seg", "rand_error"),
    *("n_truth", "n_predicted", "n_missed", "n_false", "n_merged", "n_split"),
}
CLASS_KEYS = {
    *("iou", "dice", "precision", "recall", "pixel_error"),
    *("iou_per_class", "dice_per_class", "precision_per_class", "recall_per_class"),
}
BOUNDARY_KEYS = {"rand_error", "warping_error"}

OBJECT_TRUTH = np.array([[1, 1, 0, 2, 2], [0, 0, 0, 2, 2]])
OBJECT_PREDICTION = np.array([[4, 4, 0, 0, 0], [0, 0, 0, 8, 8]])
# Cells (0) and membranes (2) as predicted; painted, the inside is 1
MEMBRANE_PREDICTION = np.array([[0, 0, 0, 0, 0], [0, 0, 2, 0, 0]])
MEMBRANE_PAINTED = np.array([[1, 1, 2, 1, 1], [1, 1, 2, 1, 1]])

label_images = hnp.arrays(np.uint16, (4, 6), elements=st.integers(0, 4))
kinds = st.sampled_from(["objects", "classes"])


def test_objects_have_exactly_the_documented_keys() -> None:
    assert set(evaluate(OBJECT_PREDICTION, OBJECT_TRUTH, "objects")) == OBJECT_KEYS


def test_classes_have_exactly_the_documented_keys() -> None:
    assert set(evaluate(OBJECT_PREDICTION, OBJECT_TRUTH, "classes")) == CLASS_KEYS


def test_two_classes_add_the_boundary_scores() -> None:
    scores = evaluate(OBJECT_TRUTH > 0, OBJECT_TRUTH > 0, "classes")
    assert set(scores) == CLASS_KEYS | BOUNDARY_KEYS


def test_foreground_scores_of_objects_count_pixels() -> None:
    scores = evaluate(OBJECT_PREDICTION, OBJECT_TRUTH)
    assert [scores[key] for key in ("iou", "dice", "precision", "recall")] == pytest.approx(
        [4 / 6, 8 / 10, 1, 4 / 6]
    )


def test_object_scores_count_objects() -> None:
    scores = evaluate(OBJECT_PREDICTION, OBJECT_TRUTH)
    assert (scores["ap_50"], scores["ap_75"], scores["seg"]) == pytest.approx((1, 1 / 3, 0.5))


def test_painted_background_is_compared_with_predicted_0() -> None:
    prediction = np.array([[0, 0, 2, 0]])
    painted = np.array([[1, 1, 2, 2]])
    scores = evaluate(prediction, painted, "classes", unpainted="unlabelled")
    assert scores["iou_per_class"] == pytest.approx({"0": 2 / 3, "2": 1 / 2})


def test_a_class_prediction_may_hold_the_painted_background_value() -> None:
    scores = evaluate(MEMBRANE_PAINTED, MEMBRANE_PAINTED, kind="classes", unpainted="unlabelled")
    assert scores["pixel_error"] == 0


def test_unlabelled_pixels_are_not_counted_with_classes() -> None:
    prediction = np.array([[0, 3, 2, 2]])
    painted = np.array([[1, 0, 2, 0]])
    scores = evaluate(prediction, painted, "classes", unpainted="unlabelled")
    assert scores["pixel_error"] == 0


def test_painted_background_is_no_object() -> None:
    painted = np.array([[1, 1, 2, 2]])
    assert evaluate(painted, painted, unpainted="unlabelled")["n_truth"] == 1


def test_a_predicted_object_numbered_1_is_an_object() -> None:
    scores = evaluate(np.array([[0, 0, 1, 1]]), np.array([[1, 1, 7, 7]]), unpainted="unlabelled")
    assert scores["ap_50"] == scores["iou"] == 1


def test_predicted_objects_on_unpainted_ground_are_left_out() -> None:
    prediction = np.array([[1, 1, 0, 2, 2, 2]])
    painted = np.array([[2, 2, 1, 1, 0, 0]])
    scores = evaluate(prediction, painted, unpainted="unlabelled")
    assert (scores["n_predicted"], scores["ap_50"]) == (1, 1)


def test_with_finished_truth_1_is_an_object() -> None:
    assert evaluate(OBJECT_TRUTH, OBJECT_TRUTH)["n_truth"] == 2


def test_the_lower_class_is_the_inside_of_cells() -> None:
    scores = evaluate(MEMBRANE_PREDICTION, MEMBRANE_PAINTED, "classes", unpainted="unlabelled")
    inside = MEMBRANE_PREDICTION == 0, MEMBRANE_PAINTED == 1
    assert scores["rand_error"] == rand_error(*inside) > 0
    assert scores["warping_error"] == warping_error(*inside) == 1 / 10


def test_boundary_scores_need_a_truth_without_unlabelled_pixels() -> None:
    painted = MEMBRANE_PAINTED.copy()
    painted[0, 0] = 0
    scores = evaluate(MEMBRANE_PREDICTION, painted, "classes", unpainted="unlabelled")
    assert not BOUNDARY_KEYS & set(scores)


def test_boundary_scores_come_from_the_fully_painted_images() -> None:
    half_painted = MEMBRANE_PAINTED.copy()
    half_painted[0, 0] = 0
    scores = evaluate(
        [MEMBRANE_PREDICTION, MEMBRANE_PREDICTION],
        [half_painted, MEMBRANE_PAINTED],
        "classes",
        unpainted="unlabelled",
        per_image=True,
    )
    assert scores["rand_error"] == scores["images"][1]["rand_error"]
    assert "rand_error" not in scores["images"][0]


def test_two_classes_predicted_as_one_have_boundary_scores() -> None:
    scores = evaluate(np.zeros((2, 5), int), MEMBRANE_PAINTED, "classes", unpainted="unlabelled")
    assert scores["warping_error"] > 0


def test_counts_are_summed_before_scores_are_computed() -> None:
    scores = evaluate(
        [np.array([[1, 0]]), np.array([[1, 0, 2, 0, 3]])],
        [np.array([[1, 0]]), np.array([[1, 0, 0, 4, 0]])],
    )
    assert scores["ap_50"] == 2 / 5


def test_rows_of_single_images_come_in_order_and_only_on_request() -> None:
    images = [OBJECT_TRUTH, OBJECT_PREDICTION]
    scores = evaluate(images, [OBJECT_TRUTH, OBJECT_TRUTH], per_image=True)
    assert [row["ap_75"] for row in scores["images"]] == pytest.approx([1, 1 / 3])


@pytest.mark.parametrize("kind", ["objects", "classes"])
def test_a_volume_is_one_image(kind: Kind) -> None:
    volume = np.stack([OBJECT_TRUTH, OBJECT_TRUTH])
    assert len(evaluate(volume, volume, kind, per_image=True)["images"]) == 1


def test_an_unpainted_image_is_neutral_beside_painted_ones() -> None:
    nothing = np.zeros((2, 5), int)
    alone = evaluate(MEMBRANE_PREDICTION, MEMBRANE_PAINTED, "classes", unpainted="unlabelled")
    assert alone == evaluate(
        [MEMBRANE_PREDICTION, MEMBRANE_PREDICTION],
        [MEMBRANE_PAINTED, nothing],
        "classes",
        unpainted="unlabelled",
    )


FINE = np.array([[1, 2]])


@pytest.mark.parametrize(
    ("predictions", "truth", "text"),
    [
        (np.zeros((2, 3), int), np.zeros((3, 2), int), r"\(2, 3\).*\(3, 2\)"),
        ([FINE, np.zeros((9, 9), int)], [FINE, FINE], r"Prediction 1 .*\(9, 9\)"),
        ([FINE, FINE], [FINE], "2 predictions and 1 truth"),
        ([], [], "0 predictions"),
        (FINE / 2, FINE, "Prediction 0 has dtype float64.*integers"),
        (FINE, FINE.astype("float32"), "Truth 0 has dtype float32"),
        (FINE, np.array([[1, -7]]), "Truth 0 .*-7"),
        (np.array([1, 2]), np.array([1, 2]), "1 axes"),
        (np.zeros((0, 4), int), np.zeros((0, 4), int), "empty"),
    ],
    ids=[
        "shapes",
        "shape of the second",
        "numbers of images",
        "no image",
        "float prediction",
        "float truth",
        "negative",
        "one axis",
        "no pixel",
    ],
)
def test_what_cannot_be_compared_is_refused_by_name(
    predictions: Any, truth: Any, text: str
) -> None:
    with pytest.raises(EvaluationError, match=text):
        evaluate(predictions, truth)


@pytest.mark.parametrize("kind", ["objects", "classes"])
def test_a_truth_without_a_painted_pixel_is_refused(kind: Kind) -> None:
    with pytest.raises(EvaluationError, match="nothing is painted"):
        evaluate(FINE, np.zeros((1, 2), int), kind, unpainted="unlabelled")


@pytest.mark.parametrize("option", [{"kind": "cells"}, {"unpainted": "ignore"}], ids=str)
def test_unknown_choices_are_refused_with_the_known_ones(option: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="choose"):
        evaluate(FINE, FINE, **option)


@given(label_images, label_images, kinds)
def test_pooled_scores_of_one_image_are_those_of_the_image(
    prediction: Labels, truth: Labels, kind: Kind
) -> None:
    pooled = evaluate([prediction], [truth], kind, per_image=True)
    [single] = pooled.pop("images")
    assert pooled == single


@given(label_images, label_images, kinds)
def test_scores_lie_between_0_and_1_and_fit_into_json(
    prediction: Labels, truth: Labels, kind: Kind
) -> None:
    scores = json.loads(json.dumps(evaluate(prediction, truth, kind), allow_nan=False))
    assert all(
        0 <= score <= 1
        for key, score in scores.items()
        if not key.startswith("n_") and not key.endswith("_per_class")
    )


@given(label_images, kinds)
def test_a_perfect_prediction_has_scores_1_and_errors_0(truth: Labels, kind: Kind) -> None:
    for key, score in evaluate(truth, truth, kind).items():
        if key.endswith("_error"):
            assert score == 0
        elif not key.startswith("n_") and not key.endswith("_per_class"):
            assert score == 1


@given(label_images, label_images, st.permutations(range(1, 5)))
def test_new_object_numbers_in_the_truth_change_nothing(
    prediction: Labels, truth: Labels, order: list[int]
) -> None:
    renumbered = np.array([0, *order], np.uint32)[truth] * 1000
    assert evaluate(prediction, renumbered) == pytest.approx(evaluate(prediction, truth))


@given(label_images, label_images)
def test_the_order_of_the_images_does_not_matter(first: Labels, second: Labels) -> None:
    forward = evaluate([first, second], [second, second])
    backward = evaluate([second, first], [second, second])
    assert forward == pytest.approx(backward)
