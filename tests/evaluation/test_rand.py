"""Adapted Rand error of objects."""

from __future__ import annotations

from typing import Any

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from napari_unet.evaluation.classes import rand_error
from napari_unet.evaluation.objects import object_rand_error
from napari_unet.evaluation.overlap import overlap_of
from napari_unet.evaluation.scores import evaluate

Labels = NDArray[np.integer[Any]]
label_images = hnp.arrays(np.int64, (5, 6), elements=st.integers(0, 4))


def error(prediction: Labels, truth: Labels) -> float:
    return object_rand_error(overlap_of(prediction, truth))


def test_the_error_is_that_computed_by_hand() -> None:
    # Ordered pairs of pixels: 2 + 2 in the truth, 12 in the prediction, 4 in both
    assert error(np.array([[3, 3, 3, 3]]), np.array([[1, 1, 2, 2]])) == 1 - 2 * 4 / (4 + 12)


@given(label_images)
def test_the_truth_itself_has_no_error(truth: Labels) -> None:
    assert error(truth, truth) == 0


@given(label_images, label_images)
def test_the_error_lies_between_0_and_1(prediction: Labels, truth: Labels) -> None:
    assert 0 <= error(prediction, truth) <= 1


@given(label_images, label_images)
def test_what_is_predicted_outside_true_objects_does_not_count(
    prediction: Labels, truth: Labels
) -> None:
    inside = np.where(truth > 0, prediction, 0)
    assert error(prediction, truth) == pytest.approx(error(inside, truth))


@pytest.mark.parametrize(
    "truth", [np.array([[0, 0, 0]]), np.array([[1, 0, 2]])], ids=["no object", "single pixels"]
)
def test_without_pairs_to_compare_there_is_no_error(truth: Labels) -> None:
    assert error(np.array([[1, 1, 2]]), truth) == 0


@given(hnp.arrays(bool, (6, 7)), hnp.arrays(bool, (6, 7)))
def test_segments_of_a_boundary_image_are_objects(prediction: Any, truth: Any) -> None:
    from scipy import ndimage

    segments = ndimage.label(prediction)[0], ndimage.label(truth)[0]
    assert error(*segments) == pytest.approx(rand_error(prediction, truth))


def test_images_are_averaged_but_not_those_without_a_true_object() -> None:
    merged, truth = np.array([[3, 3, 3, 3]]), np.array([[1, 1, 2, 2]])
    scores = evaluate([merged, truth, merged], [truth, truth, 0 * truth])
    assert scores["rand_error"] == 0.25
