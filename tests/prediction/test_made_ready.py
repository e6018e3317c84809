"""A network is made ready once, and anew when its weights have changed."""

from __future__ import annotations

import copy
import pickle
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
import zarr

from napari_unet.errors import ConfigError
from napari_unet.model import trained as ready
from napari_unet.model.starting import load_model_or_starting_model
from napari_unet.model.trained import KeptReady, hash_of_weights, save_network
from napari_unet.prediction import cluster
from napari_unet.prediction.cluster import Order, measure_frame, predict_one
from napari_unet.prediction.config import PredictConfig
from napari_unet.prediction.partial import open_partial
from napari_unet.prediction.pipeline import make_runner, settled
from napari_unet.prediction.plan import plan_prediction

from .builders import a_model, noise

if TYPE_CHECKING:
    from pathlib import Path

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


@pytest.fixture
def made_ready(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The networks that were made ready, each of which takes a while."""
    made: list[object] = []
    before = KeptReady._made_ready

    def slowly(*what: Any) -> Any:
        time.sleep(0.05)
        made.append(what[0])
        return before(*what)

    monkeypatch.setattr(KeptReady, "_made_ready", slowly)
    return made


def test_of_many_threads_one_makes_a_network_ready(made_ready: list[object]) -> None:
    model, together = a_model(), threading.Barrier(4)

    def ask(_: int) -> object:
        together.wait()
        return model.ready.on(CPU, torch.float32)

    assert model.ready is model.ready
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(ask, range(4)))
    assert len(made_ready) == 1
    assert all(network is found[0] for network in found)


@pytest.mark.parametrize("used", [False, True])
@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))]
)
def test_a_model_that_was_asked_to_predict_can_be_copied(copied: Any, used: bool) -> None:
    model = a_model()
    assert model.ready is model.ready
    pixels = torch.zeros(1, 1, *(2 * h + 4 for h in model.unet.config.halos))
    if used:
        model.ready.on(CPU, torch.float32)
    of_copy = copied(model).ready.on(CPU, torch.float32).probabilities(pixels)
    of_model = model.ready.on(CPU, torch.float32).probabilities(pixels)
    assert torch.equal(of_copy, of_model)


def test_the_threads_of_a_worker_load_a_model_and_make_it_ready_once(
    made_ready: list[object], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    model, image, loaded, checked = a_model(), noise(60, 60), [], []
    save_network(model, tmp_path / "model.safetensors")
    zarr.save_array(tmp_path / "image.zarr", image)
    config = PredictConfig(device="cpu", tile_size=20)
    plan = settled(plan_prediction(model.record, image, config), CPU)
    partial = open_partial(tmp_path / "out.zarr", plan, "this", {})
    partial.begin_frame(0)
    order = Order(
        str(tmp_path / "model.safetensors"),
        str(tmp_path / "image.zarr"),
        partial,
        "cpu",
        f"of {tmp_path}",
        hash_of_weights(model.network.state_dict()),
    )
    load, checksum = load_model_or_starting_model, ready._checksum

    def slowly(name: str) -> Any:
        time.sleep(0.05)
        loaded.append(name)
        return load(name)

    def counted(tensor: Any) -> int:
        checked.append(tensor)
        return checksum(tensor)

    monkeypatch.setattr(cluster, "load_model_or_starting_model", slowly)
    monkeypatch.setattr(ready, "_checksum", counted)
    with ThreadPoolExecutor(4) as pool:
        intensity = next(iter(pool.map(measure_frame, [order] * 4, [0] * 4)))
        n_tiles = len(plan.tiles)
        assert n_tiles > 4
        list(pool.map(lambda tile: predict_one(order, 0, intensity, tile), range(n_tiles)))
    assert len(loaded) == len(made_ready) == 1
    assert len(checked) == len(model.network.state_dict())


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
