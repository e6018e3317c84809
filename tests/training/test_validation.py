"""Scores of the held-back blocks: right predictions score 1, and only the blocks count."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from napari_unet.model.execution import Runner
from napari_unet.model.inference import InferenceNetwork
from napari_unet.model.unet import UNet
from napari_unet.tasks import ValidationScore
from napari_unet.training.validation import validate

from .builders import cells, data_of, painted_cells, painted_classes, tiny_config, tissue

if TYPE_CHECKING:
    from napari_unet.data.axes import Region
    from napari_unet.data.frames import Frame
    from napari_unet.data.intensity import Scaling
    from napari_unet.training.dataset import TrainingData

Array = Any


class Oracle(Runner):
    """Predicts given probabilities, whatever the network."""

    answer: Array

    def probabilities(self, frame: Frame, intensity: Scaling, region: Region) -> Array:
        return self.answer[(slice(None), *region)]


def oracle(probabilities: Array, data: TrainingData) -> Oracle:
    network = UNet(tiny_config().network(data.channels, data.classes.n_classes))
    runner = Oracle(InferenceNetwork(network, torch.device("cpu")))
    object.__setattr__(runner, "answer", np.asarray(probabilities, np.float32))
    return runner


def certain(classes: Array, n_classes: int = 2) -> Array:
    """Probabilities that are sure of the given classes; unlabelled ones of class 0."""
    return np.stack([classes.clip(min=0) == number for number in range(n_classes)]).astype(float)


def test_a_right_prediction_scores_one() -> None:
    data = cells(tiny_config(validation_share=0.3))
    score = validate(oracle(certain(data.frames[0].target.classes), data), data)
    assert (score.iou, score.loss) == (1, 0)


def test_a_right_prediction_finds_every_object() -> None:
    data = cells(tiny_config(validation_share=0.3))
    whole_cells = (painted_cells()[0] > 0.5).astype(int)
    score = validate(oracle(certain(whole_cells), data), data)
    assert score.object_f1 is not None
    assert score.object_f1 > 0.8  # objects that the edge of a block cuts may fall apart


def test_a_wrong_prediction_scores_zero() -> None:
    data = cells(tiny_config(validation_share=0.3))
    score = validate(oracle(certain(1 - data.frames[0].target.classes.clip(min=0)), data), data)
    assert score.iou == 0
    assert score.loss > 5


def test_the_loss_is_the_weighted_entropy_per_painted_pixel() -> None:
    data = cells(tiny_config(validation_share=0.3))
    frame = data.frames[0]
    chance = np.random.default_rng(0).uniform(0.1, 0.9, frame.weights.shape)
    score = validate(oracle(np.stack([1 - chance, chance]), data), data)
    inside = frame.held_back & frame.target.painted
    wanted = np.where(frame.target.classes == 1, chance, 1 - chance)[inside]
    expected = (frame.weights[inside] * -np.log(wanted)).sum() / inside.sum()
    assert score.loss == pytest.approx(expected, rel=1e-4)


def test_pixels_that_were_trained_on_do_not_count() -> None:
    data = cells(tiny_config(validation_share=0.3))
    frame = data.frames[0]
    wrong = 1 - frame.target.classes.clip(min=0)
    answer = np.where(frame.held_back, frame.target.classes, wrong)
    assert validate(oracle(certain(answer), data), data).iou == 1


def test_unlabelled_pixels_do_not_count() -> None:
    data = cells(tiny_config(validation_share=0.3))
    classes = data.frames[0].target.classes
    for guess in (0, 1):
        answer = np.where(classes < 0, guess, classes)
        assert validate(oracle(certain(answer), data), data).iou == 1


def test_classes_have_no_object_score() -> None:
    data = data_of(*painted_classes(), tiny_config(kind="classes", validation_share=0.3))
    score = validate(oracle(certain(data.frames[0].target.classes), data), data)
    assert (score.object_f1, score.value) == (None, 1)


def test_the_deciding_value_is_the_mean_of_pixels_and_objects() -> None:
    assert ValidationScore(loss=1, iou=0.5, object_f1=0.7).value == pytest.approx(0.6)


def test_without_objects_the_pixels_decide() -> None:
    assert ValidationScore(loss=1, iou=0.5, object_f1=None).value == 0.5


def dim_cells(height: float) -> tuple[Array, TrainingData]:
    """Truth of many cells, and probabilities that only reach `height` inside them."""
    labels = np.zeros((192, 192), np.uint16)
    for number, (row, column) in enumerate(np.ndindex(12, 12), start=1):
        labels[row * 16 + 3 : row * 16 + 13, column * 16 + 3 : column * 16 + 13] = number
    config = tiny_config(unpainted="background", validation_share=0.5)
    data = data_of(np.zeros((192, 192), np.float32), labels, config)
    foreground = np.where(labels > 0, height, 0.1)
    return np.stack([1 - foreground, foreground]), data


def test_the_threshold_is_that_of_the_best_objects() -> None:
    probabilities, data = dim_cells(0.42)
    score = validate(oracle(probabilities, data), data)
    assert score.threshold < 0.42
    assert score.object_f1 == 1.0


def test_sparse_paint_leaves_the_threshold_alone() -> None:
    probabilities, data = dim_cells(0.42)
    classes = data.frames[0].target.classes.copy()
    classes[:, np.arange(192) % 16 >= 7] = -1  # the left part of each cell is painted
    target = replace(data.frames[0].target, classes=classes)
    sparse = replace(data, frames=(replace(data.frames[0], target=target),))
    assert validate(oracle(probabilities, sparse), sparse).threshold == 0.5


def test_few_objects_leave_the_threshold_alone() -> None:
    probabilities, data = dim_cells(0.42)
    one_block = replace(data, blocks=data.blocks[:1])
    score = validate(oracle(probabilities, one_block), one_block)
    assert score.object_f1 == 0.0
    assert score.threshold == 0.5


def weak_membranes(gap: float, swapped: bool = False) -> tuple[Array, TrainingData]:
    """Truth of cells between membranes, and probabilities of membranes that are weak in places.

    Where they cross the middle of a cell's side they reach `gap`; dirt in the cells reaches 0.3.
    """
    labels = tissue(192)
    row, column = np.mgrid[:192, :192] % 16
    weak = (row == 6) | (column == 6)
    membranes = np.where(labels == 2, np.where(weak, gap, 0.9), 0.1)
    membranes[(row == 8) & (labels == 1)] = 0.3
    config = tiny_config(kind="classes", validation_share=0.5)
    data = data_of(np.zeros((192, 192), np.float32), 3 - labels if swapped else labels, config)
    both = [membranes, 1 - membranes] if swapped else [1 - membranes, membranes]
    return np.stack(both), data


def test_the_threshold_of_membranes_closes_their_gaps() -> None:
    probabilities, data = weak_membranes(0.42)
    assert 0.3 < validate(oracle(probabilities, data), data).threshold < 0.42


def test_it_is_that_of_the_second_class_even_if_membranes_are_the_first() -> None:
    probabilities, data = weak_membranes(0.42, swapped=True)
    assert 0.58 < validate(oracle(probabilities, data), data).threshold < 0.7


def test_membranes_without_gaps_leave_the_threshold_at_one_half() -> None:
    probabilities, data = weak_membranes(0.9)
    assert validate(oracle(probabilities, data), data).threshold == 0.5


def test_few_cells_between_membranes_leave_the_threshold_alone() -> None:
    probabilities, data = weak_membranes(0.42)
    one_block = replace(data, blocks=(replace(data.blocks[0], bounds=((0, 32), (0, 32))),))
    assert validate(oracle(probabilities, one_block), one_block).threshold == 0.5


def test_other_classes_leave_the_threshold_alone() -> None:
    probabilities, data = weak_membranes(0.42)
    others = replace(data, membrane=None)
    assert validate(oracle(probabilities, others), others).threshold == 0.5


def test_what_is_unpainted_joins_no_cells() -> None:
    _, data = weak_membranes(0.9)
    classes = data.frames[0].target.classes.copy()
    probabilities = certain(classes)
    classes[80:112] = -1
    probabilities[0, 80:112], probabilities[1, 80:112] = 0.7, 0.3  # from side to side
    target = replace(data.frames[0].target, classes=classes)
    gap = replace(data, frames=(replace(data.frames[0], target=target),))
    assert validate(oracle(probabilities, gap), gap).threshold == 0.5
