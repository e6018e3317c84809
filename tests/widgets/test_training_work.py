"""What a training tells from its worker thread, without a window."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from napari_unet.model import devices
from napari_unet.run import Notice
from napari_unet.training.config import TrainConfig
from napari_unet.training.dataset import AnnotatedImage
from napari_unet.training.events import Inbox
from napari_unet.widgets.train.work import training_events

from .conftest import TINY, disks, strokes_on


def test_a_gpu_that_stands_idle_is_noticed_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(devices, "_gpu_of_driver", lambda: "NVIDIA RTX 4090")
    monkeypatch.setattr(devices, "problem_with", lambda name: "this torch is for the CPU.")
    monkeypatch.setattr("torch.version.cuda", None)
    image = AnnotatedImage("disks", disks(), strokes_on(disks()))
    settings: dict[str, Any] = {**TINY, "steps": 1, "device": "auto"}
    events = list(training_events([image], TrainConfig(**settings), Inbox(), threading.Event()))

    (told,) = [e.text for e in events if isinstance(e, Notice) and "RTX 4090" in e.text]
    assert told.startswith("NVIDIA RTX 4090 is present")
    assert "pip install" in told
