"""A network is made ready once, and anew when its weights have changed."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_unet.errors import ConfigError
from napari_unet.prediction.config import PredictConfig
from napari_unet.prediction.plan import plan_prediction
from napari_unet.prediction.work import make_runner, settled

from .builders import a_model, noise

CPU = torch.device("cpu")


def test_for_the_images_of_a_folder_a_network_is_made_ready_once() -> None:
    model = a_model()
    plans = [plan_prediction(model.record, noise(n, n), PredictConfig()) for n in (30, 40)]
    one, other = (make_runner(model, plan, CPU) for plan in plans)
    assert one.network is other.network


def test_changed_weights_are_made_ready_anew() -> None:
    model = a_model()
    plan = plan_prediction(model.record, noise(30, 30), PredictConfig())
    before = make_runner(model, plan, CPU)
    with torch.no_grad():
        model.unet.get_parameter("output.bias")[0] += 1
    after = make_runner(model, plan, CPU)
    assert after.network is not before.network
    pixels = torch.zeros(1, 1, *(2 * h + 4 for h in model.network.config.halos))
    assert not torch.equal(
        before.network.probabilities(pixels), after.network.probabilities(pixels)
    )


def test_weights_that_autograd_does_not_watch_are_made_ready_anew() -> None:
    with torch.inference_mode():  # tensors made here count no changes
        model = a_model()
    plan = plan_prediction(model.record, noise(30, 30), PredictConfig())
    before = make_runner(model, plan, CPU).network
    assert make_runner(model, plan, CPU).network is before
    with torch.inference_mode():
        model.unet.get_parameter("output.weight").neg_()
    assert make_runner(model, plan, CPU).network is not before


def test_another_number_format_is_made_ready_anew() -> None:
    model = a_model()
    runners = [
        make_runner(
            model,
            plan_prediction(model.record, noise(30, 30), PredictConfig(precision=precision)),
            CPU,
        )
        for precision in ("float32", "bfloat16")
    ]
    assert [runner.network.precision for runner in runners] == [torch.float32, torch.bfloat16]


@pytest.mark.parametrize("precision", ["auto", "float32", "bfloat16"])
def test_a_settled_plan_leaves_no_number_format_open(precision: str) -> None:
    model = a_model()
    config = PredictConfig(precision=precision)  # type: ignore[arg-type]
    plan = settled(plan_prediction(model.record, np.zeros((30, 30)), config), CPU)
    assert plan.precision in ("float32", "bfloat16")
    assert settled(plan, CPU) == plan


@pytest.mark.parametrize(("short", "full"), [("fp32", "float32"), ("bf16", "bfloat16")])
def test_short_names_of_number_formats_are_understood(short: str, full: str) -> None:
    assert PredictConfig(precision=short).precision == full  # type: ignore[arg-type]


def test_other_number_formats_are_refused() -> None:
    with pytest.raises(ConfigError, match="precision is 'float8'; choose auto, float32"):
        PredictConfig(precision="float8")  # type: ignore[arg-type]
