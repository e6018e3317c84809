"""A training measures whether its model may predict in bfloat16, and the model remembers."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from napari_unet.model.execution import Runner
from napari_unet.model.starting import STARTING_MODELS, load_starting_model
from napari_unet.model.trained import load_network, save_network
from napari_unet.model.unet import UNet
from napari_unet.prediction.config import PredictConfig
from napari_unet.prediction.plan import plan_prediction
from napari_unet.training import validation
from napari_unet.training.config import TrainConfig
from napari_unet.training.dataset import AnnotatedImage
from napari_unet.training.preparation import prepare_training
from napari_unet.training.validation import bfloat16_agreement

if TYPE_CHECKING:
    from pathlib import Path

    from napari_unet.model.config import Precision
    from napari_unet.training.dataset import TrainingData

CPU = torch.device("cpu")


def painted_data(kind: str = "objects") -> TrainingData:
    """Two bright squares on a dark ground, fully painted."""
    image = np.random.default_rng(0).normal(0, 0.05, (96, 96)).astype(np.float32)
    labels = np.ones((96, 96), np.uint8)
    for number, start in enumerate((10, 50)):
        image[start : start + 30, start : start + 30] += 1
        labels[start : start + 30, start : start + 30] = 2 + number
    config = TrainConfig.preset("fast", kind=kind)
    return prepare_training([AnnotatedImage("squares", image, labels)], config)


@pytest.fixture
def fast_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    """A processor on which bfloat16 is fast."""
    monkeypatch.setattr(validation, "fastest_precision", lambda device: torch.bfloat16)


@pytest.mark.usefixtures("fast_bfloat16")
def test_a_starting_model_labels_nearly_all_pixels_alike() -> None:
    network = load_starting_model("cells").unet
    found = bfloat16_agreement(network, painted_data(), 0.5, CPU)
    assert found is not None
    assert 0.99 < found <= 1


@pytest.mark.usefixtures("fast_bfloat16")
def test_a_network_that_cannot_decide_agrees_less() -> None:
    torch.manual_seed(0)
    data = painted_data()
    network = UNet(TrainConfig.preset("fast").network(1, 2))
    runner, frame = Runner.of(network, CPU), data.frames[0]
    whole = tuple(slice(0, size) for size in frame.target.classes.shape)
    foreground = runner.probabilities(frame.frame, frame.intensity, whole)[1]
    found = bfloat16_agreement(network, data, float(np.median(foreground)), CPU)
    assert found is not None
    assert found < 0.999


def test_where_bfloat16_is_slow_nothing_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validation, "fastest_precision", lambda device: torch.float32)
    network = load_starting_model("cells").unet
    assert bfloat16_agreement(network, painted_data(), 0.5, CPU) is None


@pytest.mark.parametrize(
    ("measured", "asked", "taken"),
    [
        pytest.param(0.9995, "auto", "auto", id="good: the device decides"),
        pytest.param(0.998, "auto", "float32", id="bad: exact"),
        pytest.param(None, "auto", "float32", id="not measured: exact"),
        pytest.param(0.5, "bfloat16", "bfloat16", id="asked for"),
        pytest.param(1.0, "float32", "float32", id="exact is asked for"),
    ],
)
def test_a_prediction_is_rounded_only_where_the_model_bears_it(
    measured: float | None, asked: Precision, taken: Precision
) -> None:
    record = replace(load_starting_model("cells").record, bfloat16_agreement=measured)
    plan = plan_prediction(record, np.zeros((64, 64)), PredictConfig(precision=asked))
    assert plan.precision == taken


def test_a_model_file_remembers_it(tmp_path: Path) -> None:
    model = load_starting_model("cells")
    model = replace(model, record=replace(model.record, bfloat16_agreement=0.9876))
    save_network(model, tmp_path / "model.safetensors")
    assert load_network(tmp_path / "model.safetensors").record.bfloat16_agreement == 0.9876


@pytest.mark.parametrize("name", STARTING_MODELS)
def test_the_starting_models_may_predict_in_bfloat16(name: str) -> None:
    found = load_starting_model(name).record.bfloat16_agreement
    assert found is not None
    assert found >= 0.999
