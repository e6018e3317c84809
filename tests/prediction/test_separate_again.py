"""Another threshold, another smallest object: of what the network has said, to the bit as anew."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

from device import DEVICE_NAME
from napari_unet.model.execution import Runner
from napari_unet.prediction import in_memory
from napari_unet.prediction.config import PredictConfig
from napari_unet.prediction.predictor import predict_image, separate_again
from napari_unet.prediction.results import FrameFinished, Prediction
from napari_unet.run import Run

from .builders import a_model, noise, see_the_image

MODEL = a_model()


def predicted(image: Any, keeps: bool = True, **settings: Any) -> Prediction:
    config = PredictConfig(device=DEVICE_NAME, **settings)
    run = Run(predict_image(MODEL, image, config, threading.Event(), keeps_foreground=keeps))
    for _ in run:
        pass
    return run.result


def again(
    image: Any, before: Prediction, stop: threading.Event | None = None, **settings: Any
) -> tuple[list[object], Prediction]:
    config = PredictConfig(device=DEVICE_NAME, **settings)
    run = Run(separate_again(MODEL, image, config, before, stop or threading.Event()))
    return list(run), run.result


def refuse(*_: object) -> None:
    raise AssertionError("the network was asked")


@pytest.mark.parametrize(
    "settings", [{"threshold": 0.7}, {"smallest": 9}, {"threshold": 0.3, "smallest": 0}], ids=str
)
@pytest.mark.parametrize("shape", [(90, 70), (3, 40, 40), (1500, 300)], ids=str)
def test_it_is_what_a_prediction_gives_and_no_network_is_asked(
    settings: dict[str, Any], shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    see_the_image(monkeypatch)
    image = noise(*shape)
    before = predicted(image)
    anew = predicted(image, keeps=False, **settings)
    monkeypatch.setattr(Runner, "compute", refuse)

    events, result = again(image, before, **settings)

    np.testing.assert_array_equal(result.whole(), anew.whole())
    assert result.objects == anew.objects
    assert result.complete
    finished = [event for event in events if isinstance(event, FrameFinished)]
    assert len(finished) == (shape[0] if len(shape) == 3 else 1)


def test_it_can_be_asked_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    see_the_image(monkeypatch)
    image = noise(60, 60)
    first = predicted(image)
    for threshold in (0.9, 0.1, 0.5):
        _, result = again(image, first, threshold=threshold)
        _, result = again(image, result)  # as trained
        np.testing.assert_array_equal(result.whole(), first.whole())


def test_of_a_part_the_same_part_is_separated(monkeypatch: pytest.MonkeyPatch) -> None:
    see_the_image(monkeypatch)
    image, region = noise(80, 80), (slice(10, 50), slice(20, 70))
    before = predicted(image, region=region)

    _, result = again(image, before, threshold=0.8, region=region)

    np.testing.assert_array_equal(
        result.whole(), predicted(image, threshold=0.8, region=region).whole()
    )


def test_it_stops_between_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    see_the_image(monkeypatch)
    image, stop = noise(3, 40, 40), threading.Event()
    stop.set()

    _, result = again(image, predicted(image), stop, threshold=0.8)

    assert not result.complete


def test_nothing_is_kept_unless_it_is_asked_for_or_where_it_is_too_large(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert predicted(noise(20, 20), keeps=False).foreground is None
    assert predicted(noise(20, 20), result="probabilities").foreground is None
    monkeypatch.setattr(in_memory, "_LARGEST_KEPT", 399)
    assert predicted(noise(20, 20)).foreground is None
