"""Predictions on GPUs that have too little memory, or fail: told once, and the same result.

There is no GPU here: the pretended one computes on the CPU, and raises what a real one raises.
"""

from __future__ import annotations

import re
import threading
from contextlib import closing
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from napari_unet.io.files import read_image
from napari_unet.model import trained as ready
from napari_unet.model.inference import InferenceNetwork
from napari_unet.prediction import predictor
from napari_unet.prediction.config import PredictConfig
from napari_unet.prediction.predictor import predict_image
from napari_unet.prediction.results import PredictionStarted, TilePredicted
from napari_unet.run import Notice, Run

from .builders import a_model, noise

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

CPU, GPU = torch.device("cpu"), torch.device("cuda")
IMAGE = noise(150, 150)
CONFIG: dict[str, Any] = {"tile_size": 64, "precision": "float32"}
SHORT = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


class PretendedGpu(InferenceNetwork):
    """Computes on the CPU; on the GPU the first tiles succeed, and then larger boxes fail."""

    tiles = 0  # that succeed first
    pixels = 0  # of a box that fits later
    error: Exception = SHORT

    def __init__(
        self, network: Any, device: torch.device, precision: torch.dtype = torch.float32
    ) -> None:
        super().__init__(network, CPU, precision)
        self.pretended, self.done = device, 0

    def probabilities(self, images: Tensor) -> Tensor:
        if self.pretended == GPU and self.done >= self.tiles and images.numel() > self.pixels:
            raise self.error
        self.done += 1
        return super().probabilities(images)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> type[PretendedGpu]:
    kind = type("Gpu", (PretendedGpu,), {})
    monkeypatch.setattr(ready, "InferenceNetwork", kind)
    monkeypatch.setattr(predictor, "choose_device", lambda name: GPU)
    monkeypatch.setattr(predictor, "describe", lambda device: "NVIDIA H200")
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 4_000_000_000)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (2_000_000_000, 8_000_000_000))
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    return kind


def end_of(events: Any) -> tuple[list[Any], Any]:
    run = Run(events)
    return list(run), run.result


def predict(**settings: Any) -> tuple[list[Any], Any]:
    config = PredictConfig(**{**CONFIG, **settings})
    return end_of(predict_image(a_model(), IMAGE, config, threading.Event()))


def texts(events: list[Any]) -> list[str]:
    return [event.text for event in events if isinstance(event, Notice)]


@pytest.mark.fault(10)
def test_tiles_that_do_not_fit_are_halved_to_the_same_bit_and_told_once(
    gpu: type[PretendedGpu],
) -> None:
    expected = predict(result="probabilities")[1].array
    gpu.pixels = 5000
    events, result = predict(result="probabilities")
    np.testing.assert_array_equal(result.array, expected)
    assert texts(events) == ["Memory is short: tiles are computed in parts."]


@pytest.mark.fault(10)
def test_where_no_box_fits_the_cpu_does_the_rest_to_the_same_bit_and_it_is_told_once(
    gpu: type[PretendedGpu],
) -> None:
    gpu.tiles = 10**9
    expected = predict(result="probabilities")[1].array
    gpu.tiles = 2
    events, result = predict(result="probabilities")
    assert result.complete
    np.testing.assert_array_equal(result.array, expected)
    assert len([event for event in events if isinstance(event, TilePredicted)]) == 9
    (told,) = texts(events)
    assert re.fullmatch(
        r"Not enough memory \(needs about 2.1 GB, .* free\): the rest is computed on the CPU.", told
    )


@pytest.mark.fault(11)
@pytest.mark.parametrize("tiles", [0, 3], ids=["at the first tile", "later"])
def test_a_gpu_that_dies_is_told_once_and_finished_tiles_are_kept(
    gpu: type[PretendedGpu], tiles: int
) -> None:
    gpu.tiles = 10**9
    expected = predict()[1].array
    gpu.tiles, gpu.error = tiles, RuntimeError("CUDA error: unspecified launch failure\nSee")
    events, result = predict()
    np.testing.assert_array_equal(result.array, expected)
    assert texts(events) == [
        "The GPU failed (CUDA error: unspecified launch failure): the rest is computed on the CPU."
    ]


@pytest.mark.fault(10)
def test_a_network_that_does_not_fit_is_computed_on_the_cpu(
    gpu: type[PretendedGpu], monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu.tiles = 10**9
    expected = predict()[1].array
    right = gpu.__init__

    def fail(self: Any, network: Any, device: torch.device, precision: Any = None) -> None:
        if device == GPU:
            raise SHORT
        right(self, network, device)

    monkeypatch.setattr(gpu, "__init__", fail)
    events, result = predict()
    np.testing.assert_array_equal(result.array, expected)
    assert texts(events) == [
        "Not enough GPU memory (needs about 6.1 GB, 2.0 free): all is computed on the CPU."
    ]


@pytest.mark.fault(10)
def test_a_region_is_predicted_too(gpu: type[PretendedGpu]) -> None:
    box = (slice(20, 120), slice(30, 140))
    config = PredictConfig(region=box, frames=((),), result="probabilities", **CONFIG)
    events, result = end_of(predict_image(a_model(), IMAGE, config, threading.Event()))
    assert result.complete
    assert texts(events)[-1].endswith("the rest is computed on the CPU.")


@pytest.mark.fault(10)
def test_a_file_is_the_same_and_the_device_is_chosen_once(
    gpu: type[PretendedGpu], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    chosen: list[str] = []

    def choose(name: str) -> torch.device:
        chosen.append(name)
        return GPU

    monkeypatch.setattr(predictor, "choose_device", choose)
    config = PredictConfig(**CONFIG)
    arrays = []
    for name, gpu.tiles in (("right", 10**9), ("short", 2)):
        target = tmp_path / f"{name}.zarr"
        prediction = predict_image(a_model(), IMAGE, config, threading.Event(), target)
        events, result = end_of(prediction)
        assert result.complete
        arrays.append(np.asarray(read_image(target).array[...]))
    np.testing.assert_array_equal(arrays[0], arrays[1])
    assert len(texts(events)) == 1
    assert chosen == ["auto", "auto"]


@pytest.mark.fault(11)
@pytest.mark.parametrize("way", ["memory", "file"])
def test_a_gpu_that_is_passed_over_is_told_at_the_beginning(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, way: str
) -> None:
    monkeypatch.setattr(predictor, "choose_device", lambda name: CPU)
    monkeypatch.setattr(predictor, "unused_gpu", lambda name, device: (f"{name}: an old GPU.",))
    config, stop = PredictConfig(**CONFIG), threading.Event()
    target = tmp_path / "x.zarr" if way == "file" else None
    with closing(predict_image(a_model(), IMAGE, config, stop, target)) as events:
        first, second = next(events), next(events)
    assert isinstance(first, PredictionStarted)
    assert second == Notice("auto: an old GPU.")


@pytest.mark.fault(13)
@pytest.mark.parametrize("result", ["objects", "probabilities", "uncertainty"])
def test_a_network_that_gives_no_numbers_is_told_once(result: Any) -> None:
    model = a_model()
    with torch.no_grad():
        next(model.unet.parameters()).fill_(float("inf"))
    config = PredictConfig(result=result, device="cpu", **CONFIG)
    events, found = end_of(predict_image(model, IMAGE, config, threading.Event()))
    (told,) = texts(events)
    assert told.startswith("The network gives no numbers for some pixels: ")
    assert np.isfinite(found.array).all()


@pytest.mark.fault(13)
def test_where_the_network_gives_numbers_they_are_left_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = a_model()
    config = PredictConfig(result="probabilities", device="cpu", precision="float32")
    expected = end_of(predict_image(model, IMAGE, config, threading.Event()))[1].array
    right = InferenceNetwork.probabilities

    def partly(self: InferenceNetwork, images: Tensor) -> Tensor:
        found = right(self, images)
        found[0, 1, 40, 40] = float("nan")
        return found

    monkeypatch.setattr(InferenceNetwork, "probabilities", partly)
    events, result = end_of(predict_image(model, IMAGE, config, threading.Event()))
    differing = np.argwhere((result.array != expected).any(axis=0))
    assert len(texts(events)) == 1
    assert len(differing) == 1
    np.testing.assert_array_equal(result.array[:, *differing[0]], [1, 0])
