"""Small models and a way to run a prediction, shared by the tests of this folder."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from device import DEVICE_NAME
from napari_unet.model.config import UNetConfig
from napari_unet.model.execution import Runner
from napari_unet.model.record import ModelRecord
from napari_unet.model.trained import TrainedNetwork
from napari_unet.model.unet import UNet
from napari_unet.prediction.config import PredictConfig
from napari_unet.prediction.predictor import predict_image
from napari_unet.run import Run
from napari_unet.tasks import ClassTable

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

    from napari_unet.data.axes import ArrayLike, Region
    from napari_unet.data.frames import Frame
    from napari_unet.data.intensity import IntensityRange

OBJECTS = ClassTable("objects", "background")


def a_model(
    classes: ClassTable = OBJECTS, *, seed: int = 0, smallest_object: int = 0, **network: Any
) -> TrainedNetwork:
    """A tiny network with random weights and random running statistics."""
    settings: dict[str, Any] = {
        "base_channels": 2,
        "depth": 2,
        "padding": "same",
        "normalization": "batch",
        "out_channels": classes.n_classes,
    }
    config = UNetConfig(**{**settings, **network})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        unet = UNet(config)
        for name, tensor in unet.state_dict().items():
            if name.endswith("running_mean"):
                tensor.normal_(0, 0.2)
            elif name.endswith("running_var"):
                tensor.uniform_(0.5, 2)
    record = ModelRecord(config, classes, smallest_object=smallest_object)
    return TrainedNetwork(unet.eval(), record)


def predict(
    model: TrainedNetwork,
    image: ArrayLike,
    *,
    stop: threading.Event | None = None,
    watch: Callable[[object], object] | None = None,
    **config: Any,
) -> tuple[list[Any], Any]:
    """Predict on the CPU; return all events and the result. `watch` sees each event at once."""
    events = predict_image(
        model, image, PredictConfig(device=DEVICE_NAME, **config), stop or threading.Event()
    )
    run, seen = Run(events), list[Any]()
    for event in run:
        seen.append(event)
        if watch is not None:
            watch(event)
    return seen, run.result


def see_the_image(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every two-class model answer with the grey values themselves as probabilities."""

    def read(self: Runner, frame: Frame, intensity: IntensityRange, region: Region) -> Any:
        return frame.read(region)

    def compute(self: Runner, pixels: Any, frame: Frame, region: Region) -> Any:
        return np.stack([1 - pixels[0], pixels[0]])

    monkeypatch.setattr(Runner, "read", read)
    monkeypatch.setattr(Runner, "compute", compute)


def noise(*shape: int) -> Any:
    return np.random.default_rng(0).random(shape, dtype=np.float32)
