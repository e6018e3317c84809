"""What a training tells from its worker thread, without a window."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import pytest

from napari_unet.model import devices
from napari_unet.model.starting import load_starting_model
from napari_unet.model.trained import TrainedNetwork
from napari_unet.notice import Notice
from napari_unet.training.config import TrainConfig
from napari_unet.training.dataset import AnnotatedImage
from napari_unet.training.inbox import Inbox
from napari_unet.training.state import TrainingState
from napari_unet.widgets.train.work import TrainingJob, training_events

from .conftest import TINY, disks, strokes_on


def test_a_gpu_that_stands_idle_is_noticed_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(devices, "_gpu_of_driver", lambda: "NVIDIA RTX 4090")
    monkeypatch.setattr(devices, "problem_with", lambda name: "this torch is for the CPU.")
    monkeypatch.setattr("torch.version.cuda", None)
    image = AnnotatedImage("disks", disks(), strokes_on(disks()))
    settings: dict[str, Any] = {**TINY, "steps": 1, "device": "auto"}
    order = TrainingJob((image,), TrainConfig(**settings), Inbox())

    events = list(training_events(order, threading.Event()))

    (told,) = [e.text for e in events if isinstance(e, Notice) and "RTX 4090" in e.text]
    assert told.startswith("NVIDIA RTX 4090 is present")
    assert "pip install" in told


def order_of(previous: Any) -> TrainingJob:
    return TrainingJob((), TrainConfig(), Inbox(), previous)


def test_a_new_training_chooses_its_binning() -> None:
    assert order_of(None).binning is None


def test_a_starting_model_takes_any_binning() -> None:
    assert order_of(load_starting_model("cells")).binning is None


def test_another_model_keeps_its_binning() -> None:
    model = load_starting_model("cells")
    trained = TrainedNetwork(model.network, replace(model.record, binning=3, steps=7))
    assert order_of(trained).binning == 3


def test_a_stopped_training_keeps_its_binning() -> None:
    state = TrainingState(1, 1.0, {}, {}, {}, {}, 0.0, binning=2)
    assert order_of(state).binning == 2


def test_a_model_keeps_its_flat_levels() -> None:
    model = load_starting_model("cells")
    network = replace(model.record.network, ndim=3, flat_levels=2)
    trained = TrainedNetwork(model.network, replace(model.record, network=network))
    order = TrainingJob((), TrainConfig.preset("3d"), Inbox(), trained)
    assert order.flat_levels == 2


def test_a_model_of_planes_says_nothing_of_the_flat_levels_of_volumes() -> None:
    order = TrainingJob((), TrainConfig.preset("3d"), Inbox(), load_starting_model("cells"))
    assert order.flat_levels is None


def test_a_stopped_training_keeps_its_flat_levels() -> None:
    state = TrainingState(1, 1.0, {}, {}, {}, {}, 0.0, flat_levels=1)
    assert order_of(state).flat_levels == 1
