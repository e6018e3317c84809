"""What a training tells from its worker thread, without a window."""

from __future__ import annotations

import threading

import pytest

from napari_unet.model import gpu_advice
from napari_unet.training.config import TrainConfig
from napari_unet.training.dataset import AnnotatedImage
from napari_unet.training.events import Notice
from napari_unet.training.inbox import Inbox
from napari_unet.widgets.training_work import TrainingOrder, training_events

from .conftest import TINY, disks, strokes_on


def test_a_gpu_that_stands_idle_is_noticed_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gpu_advice, "nvidia_gpu", lambda: "NVIDIA RTX 4090")
    monkeypatch.setattr("torch.version.cuda", None)
    image = AnnotatedImage("disks", disks(), strokes_on(disks()))
    order = TrainingOrder((image,), TrainConfig(**TINY, steps=1), Inbox())  # type: ignore[arg-type]

    first = next(training_events(order, threading.Event()))

    assert isinstance(first, Notice)
    assert "NVIDIA RTX 4090 is present" in first.text
    assert "pip install" in first.text
