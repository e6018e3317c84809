"""Small paintings and tiny trainings, shared by the tests of this folder."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from device import DEVICE_NAME
from napari_unet.run import Run
from napari_unet.training.config import TrainConfig
from napari_unet.training.dataset import AnnotatedImage, TrainingData
from napari_unet.training.events import StepDone
from napari_unet.training.loop import TrainingResult, train_network
from napari_unet.training.preparation import prepare_training

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from torch import Tensor

    from napari_unet.model.trained import TrainedNetwork
    from napari_unet.training.state import TrainingState

Array = Any

UNDEFORMED: dict[str, Any] = {
    "flip": False,
    "rotate": False,
    "zoom": 0.0,
    "elastic_sigma": 0.0,
    "intensity_jitter": 0.0,
}


def tiny_config(**changes: Any) -> TrainConfig:
    settings: dict[str, Any] = {
        "start": "random",
        "binning": 1.0,
        "base_channels": 2,
        "depth": 2,
        "patch_size": 32,
        "batch_size": 2,
        "steps": 6,
        "validate_every": 3,
        "device": DEVICE_NAME,
        "precision": "float32",
    }
    return TrainConfig(**{**settings, **changes})


def painted_cells(size: int = 96) -> tuple[NDArray[np.float32], NDArray[np.uint16]]:
    """Bright discs on a grid, each painted as an object; every fourth row is left unpainted."""
    row, column = np.mgrid[:size, :size]
    pitch = 16
    disc = (row % pitch - 8) ** 2 + (column % pitch - 8) ** 2 <= 25
    number = 2 + (row // pitch) * (-(-size // pitch)) + column // pitch
    labels = np.where(disc, number, 1)
    labels[3::4] = 0
    noise = np.random.default_rng(0).normal(0, 0.05, (size, size))
    return (disc + noise).astype(np.float32), labels.astype(np.uint16)


def painted_classes(size: int = 96) -> tuple[NDArray[np.float32], NDArray[np.uint16]]:
    """The same picture, painted as background (1) and one class (5)."""
    image, labels = painted_cells(size)
    return image, np.where(labels > 1, 5, labels).astype(np.uint16)


def tissue(size: int = 96, pitch: int = 16, wall: int = 3) -> NDArray[np.uint16]:
    """Square cells (1) on a grid, and walls between them (2)."""
    row, column = np.mgrid[:size, :size]
    walls = (row % pitch >= pitch - wall) | (column % pitch >= pitch - wall)
    return np.where(walls, 2, 1).astype(np.uint16)


def data_of(image: Array, labels: Array, config: TrainConfig) -> TrainingData:
    return prepare_training([AnnotatedImage("an image", image, labels)], config)


def cells(config: TrainConfig, size: int = 96) -> TrainingData:
    return data_of(*painted_cells(size), config)


def run(
    data: TrainingData,
    config: TrainConfig,
    *,
    resume: TrainingState | TrainedNetwork | None = None,
    stop: threading.Event | None = None,
    started: float | None = None,
    watch: Callable[[object], object] | None = None,
) -> tuple[list[Any], TrainingResult]:
    """Train to the end; return all events and the result. `watch` sees each event at once."""
    training = Run(train_network(data, config, stop or threading.Event(), resume, started))
    events: list[Any] = []
    for event in training:
        events.append(event)
        if watch is not None:
            watch(event)
    return events, training.result


def of_type(events: list[Any], kind: type) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


def same_weights(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    """Compare them bit by bit, wherever they lie."""
    return one.keys() == other.keys() and all(
        torch.equal(one[name].cpu(), other[name].cpu()) for name in one
    )


def all_finite(weights: dict[str, Tensor]) -> bool:
    return all(bool(tensor.isfinite().all()) for tensor in weights.values())


def stop_after(stop: threading.Event, step: int) -> Callable[[object], None]:
    def watch(event: object) -> None:
        if isinstance(event, StepDone) and event.step == step:
            stop.set()

    return watch


def stopped_after(step: int, config: TrainConfig) -> TrainingResult:
    stop = threading.Event()
    return run(cells(config), config, stop=stop, watch=stop_after(stop, step))[1]
