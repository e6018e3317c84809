"""Our scores against those of others: stardist, py-ctcmetrics and scikit-image."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
import tifffile
from ctc_metrics.metrics.technical.seg import seg
from ctc_metrics.utils.representations import match
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from skimage.metrics import adapted_rand_error
from skimage.segmentation import expand_labels

from napari_unet.evaluation.objects import THRESHOLDS, count_objects
from napari_unet.evaluation.scores import evaluate

if TYPE_CHECKING:
    from pathlib import Path

Labels = NDArray[np.integer[Any]]
label_images = hnp.arrays(np.uint16, (6, 8), elements=st.integers(0, 5))
SEEDS = range(6)


@pytest.fixture(scope="module")
def stardist() -> Any:
    """Its scores, where it is installed: of Python 3.14 there is no wheel."""
    wording = warnings.formatwarning
    found = pytest.importorskip("stardist.matching")
    warnings.formatwarning = wording  # which it changes
    return found


def cells(seed: int) -> tuple[Labels, Labels]:
    """A prediction and a truth with mergers, splits, lost, added and badly outlined objects."""
    random = np.random.default_rng(seed)
    truth = np.zeros((96, 96), np.uint16)
    truth[tuple(random.integers(0, 96, (2, 40)))] = np.arange(1, 41)
    truth = expand_labels(truth, 7)
    prediction = np.roll(truth, random.integers(-2, 3, 2), (0, 1))
    for number in random.permutation(np.arange(1, 41))[:20]:
        where = prediction == number
        change = random.integers(4)
        if change == 0:
            prediction[where] = 0
        elif change == 1:
            prediction[where] = random.integers(1, 41)
        elif change == 2:
            columns = np.nonzero(where)[1]
            prediction[where & (np.indices(where.shape)[1] > columns.mean())] = number + 100
        else:
            prediction[where & (random.random(where.shape) < 0.4)] = 0
    prediction[:3, :3], truth[:3, -3:] = 0, 0  # py-ctcmetrics takes background for granted
    return prediction, truth


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("iou_threshold", THRESHOLDS)
def test_matches_are_those_of_stardist(seed: int, iou_threshold: float, stardist: Any) -> None:
    prediction, truth = cells(seed)
    scores = count_objects(prediction, truth).scores_at(iou_threshold)
    theirs = stardist.matching(truth, prediction, iou_threshold)
    expected = [theirs.precision, theirs.recall, theirs.f1, theirs.accuracy]
    assert [scores[name] for name in ("precision", "recall", "f1", "ap")] == pytest.approx(expected)


@given(prediction=label_images, truth=label_images, iou_threshold=st.sampled_from(THRESHOLDS))
def test_any_images_match_as_in_stardist(
    prediction: Labels, truth: Labels, iou_threshold: float, stardist: Any
) -> None:
    theirs = stardist.matching(truth, prediction, iou_threshold)
    counts = count_objects(prediction, truth)
    matched = counts.matched[THRESHOLDS.index(iou_threshold)]
    assert (counts.n_truth, counts.n_predicted, matched) == (
        theirs.n_true,
        theirs.n_pred,
        theirs.tp,
    )


def test_pooled_scores_are_those_of_a_data_set_in_stardist(stardist: Any) -> None:
    predictions, truths = zip(*(cells(seed) for seed in SEEDS), strict=True)
    scores = evaluate(predictions, truths)
    theirs = stardist.matching_dataset(truths, predictions, THRESHOLDS, show_progress=False)
    assert scores["map"] == pytest.approx(np.mean([each.accuracy for each in theirs]))
    assert scores["mean_f1"] == pytest.approx(np.mean([each.f1 for each in theirs]))
    assert scores["f1_75"] == pytest.approx(theirs[5].f1)


@pytest.mark.parametrize("seed", SEEDS)
def test_seg_is_that_of_py_ctcmetrics(seed: int, tmp_path: Path) -> None:
    prediction, truth = cells(seed)
    tifffile.imwrite(tmp_path / "truth.tif", truth)
    tifffile.imwrite(tmp_path / "prediction.tif", prediction)
    true_ids, _, _, _, ious = match(str(tmp_path / "truth.tif"), str(tmp_path / "prediction.tif"))
    assert evaluate(prediction, truth)["seg"] == pytest.approx(seg([true_ids], [ious]))


@pytest.mark.parametrize("seed", SEEDS)
def test_the_rand_error_is_that_of_scikit_image(seed: int) -> None:
    prediction, truth = cells(seed)
    theirs = adapted_rand_error(truth, prediction)[0]
    assert evaluate(prediction, truth)["rand_error"] == pytest.approx(theirs)


@given(label_images, label_images)
def test_any_images_have_the_rand_error_of_scikit_image(prediction: Labels, truth: Labels) -> None:
    with np.errstate(invalid="ignore", divide="ignore"):
        theirs = adapted_rand_error(truth, prediction)[0] if truth.any() else 0.0
    ours = evaluate(prediction, truth)["rand_error"]
    assert ours == pytest.approx(0.0 if np.isnan(theirs) else theirs)
