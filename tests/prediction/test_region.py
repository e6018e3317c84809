"""A region predicted with memory for the region alone."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

from napari_unet.prediction.config import PredictConfig
from napari_unet.prediction.events import FrameFinished, TilePredicted
from napari_unet.prediction.region import predict_region
from napari_unet.run import Run

from .builders import a_model, noise, predict, see_the_image

REGION = (slice(30, 95), slice(11, 80))


def predict_part(
    model: Any, image: Any, stop: threading.Event | None = None, **config: Any
) -> tuple[list[Any], Any]:
    events = predict_region(
        model, image, PredictConfig(device="cpu", **config), stop or threading.Event()
    )
    run = Run(events)
    return list(run), run.result


@pytest.mark.parametrize("result", [None, "probabilities", "uncertainty"])
def test_it_is_the_same_as_in_a_prediction_that_holds_the_whole(result: str | None) -> None:
    model, image = a_model(), noise(120, 100)
    how: dict[str, Any] = {"region": REGION, "result": result, "tile_size": 64}

    _, part = predict_part(model, image, frames=((),), **how)
    _, whole = predict(model, image, **how)

    np.testing.assert_array_equal(part.array, whole.array[(..., *REGION)])


def test_objects_are_told_apart_in_the_region(monkeypatch: pytest.MonkeyPatch) -> None:
    see_the_image(monkeypatch)
    image = np.zeros((3, 120, 100), np.float32)
    image[1, 40:60, 20:40] = image[1, 70:80, 50:70] = 1

    events, part = predict_part(a_model(), image, frames=((1,),), region=REGION)

    assert part.array.max() == 2
    assert part.frame == (1,)
    assert part.array.shape == (65, 69)
    assert next(e for e in events if isinstance(e, FrameFinished)).region == REGION


def test_a_stopped_one_keeps_its_tiles() -> None:
    stop = threading.Event()
    stop.set()

    events, part = predict_part(a_model(), noise(120, 100), stop, frames=((),), region=REGION)

    assert not part.complete
    assert not any(isinstance(event, TilePredicted) for event in events)
