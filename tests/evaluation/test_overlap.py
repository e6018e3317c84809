"""Which objects touch, and by how many pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_unet.errors import EvaluationError
from napari_unet.evaluation.overlap import overlap_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_unet.evaluation.overlap import Overlap

    Labels = NDArray[np.integer[Any]]

PREDICTION = np.array(
    [
        [1, 1, 1, 0],
        [0, 0, 9, 9],
    ]
)
TRUTH = np.array(
    [
        [5, 5, 0, 0],
        [0, 7, 7, 7],
    ]
)


def pairs_of(overlap: Overlap) -> dict[tuple[int, int], int]:
    """Return {(predicted id, true id): common pixels}."""
    return {
        (int(overlap.prediction_ids[p]), int(overlap.truth_ids[t])): int(n)
        for p, t, n in zip(
            overlap.prediction_index, overlap.truth_index, overlap.intersections, strict=True
        )
    }


def test_areas_are_those_of_the_objects_in_ascending_order_of_ids() -> None:
    overlap = overlap_of(PREDICTION, TRUTH)
    assert overlap.prediction_areas.tolist() == [3, 2]
    assert overlap.truth_areas.tolist() == [2, 3]


def test_only_touching_objects_form_pairs() -> None:
    assert pairs_of(overlap_of(PREDICTION, TRUTH)) == {(1, 5): 2, (9, 7): 2}


def test_iou_is_intersection_over_union() -> None:
    assert overlap_of(PREDICTION, TRUTH).iou.tolist() == [2 / 3, 2 / 3]


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int64", "uint64", ">u2"])
def test_every_integer_dtype_gives_the_same_pairs(dtype: str) -> None:
    overlap = overlap_of(PREDICTION.astype(dtype), TRUTH)
    assert pairs_of(overlap) == {(1, 5): 2, (9, 7): 2}


def test_ids_may_be_as_large_as_the_dtype_allows() -> None:
    largest = np.iinfo(np.uint64).max
    labels = np.array([[0, largest, largest - 1]], np.uint64)
    assert pairs_of(overlap_of(labels, labels)) == {
        (largest - 1, largest - 1): 1,
        (largest, largest): 1,
    }


def test_images_without_background_lose_no_object() -> None:
    full = np.array([[3, 3, 4]])
    assert pairs_of(overlap_of(full, full)) == {(3, 3): 2, (4, 4): 1}


@pytest.mark.parametrize("shape", [(0, 5), (2, 3)], ids=["empty image", "background only"])
def test_an_image_without_objects_has_an_empty_overlap(shape: tuple[int, int]) -> None:
    nothing = np.zeros(shape, int)
    overlap = overlap_of(nothing, nothing)
    assert (overlap.n_predicted, overlap.n_truth, len(overlap.iou)) == (0, 0, 0)


def test_different_shapes_are_refused_with_both_shapes_named() -> None:
    with pytest.raises(EvaluationError, match=r"\(2, 4\).*\(3, 3\)"):
        overlap_of(PREDICTION, np.zeros((3, 3), int))


def test_keeping_leaves_the_other_predicted_objects_out() -> None:
    overlap = overlap_of(PREDICTION, TRUTH).keeping(np.array([False, True]))
    assert pairs_of(overlap) == {(9, 7): 2}
    assert overlap.n_truth == 2


def test_pixels_outside_the_counted_ones_belong_to_no_object() -> None:
    counted = np.array([[True, True, True, True], [False, False, True, True]])
    overlap = overlap_of(PREDICTION, TRUTH, counted)
    assert overlap.truth_areas.tolist() == [2, 2]


@pytest.mark.parametrize(
    ("n_inside", "n_kept"), [(1, 0), (2, 1), (4, 1)], ids=["less", "half", "whole"]
)
def test_predicted_objects_count_if_at_least_half_of_them_is_inside(
    n_inside: int, n_kept: int
) -> None:
    prediction = np.array([[8, 8, 8, 8]])
    counted = np.arange(4)[None] < n_inside
    assert overlap_of(prediction, np.zeros((1, 4), int), counted).n_predicted == n_kept


label_images = hnp.arrays(np.int64, (2, 4, 5), elements=st.sampled_from([0, 1, 2, 40, 10**12]))


@given(label_images, label_images)
def test_intersections_equal_those_counted_pixel_by_pixel(
    prediction: Labels, truth: Labels
) -> None:
    expected: dict[tuple[int, int], int] = {}
    for pair in zip(prediction.ravel().tolist(), truth.ravel().tolist(), strict=True):
        if all(pair):
            expected[pair] = expected.get(pair, 0) + 1
    assert pairs_of(overlap_of(prediction, truth)) == expected


@given(label_images, label_images)
def test_counting_everywhere_is_counting_without_a_limit(prediction: Labels, truth: Labels) -> None:
    everywhere = np.ones(truth.shape, bool)
    limited = overlap_of(prediction, truth, everywhere)
    assert pairs_of(limited) == pairs_of(overlap_of(prediction, truth))
