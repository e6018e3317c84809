"""A part of an image, predicted with memory for that part alone."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from napari_unet.prediction.results import FrameFinished, TilePredicted

from .builders import a_model, noise, predict, see_the_image

REGION = (slice(30, 95), slice(11, 80))


@pytest.mark.parametrize("result", ["classes", "probabilities", "uncertainty"])
def test_it_is_the_same_as_in_a_prediction_of_the_whole(result: str) -> None:
    model, image = a_model(), noise(120, 100)
    _, part = predict(model, image, region=REGION, result=result, tile_size=64)
    _, whole = predict(model, image, result=result, tile_size=64)
    np.testing.assert_array_equal(part.array, whole.array[(..., *REGION)])


def test_objects_are_told_apart_in_the_region(monkeypatch: pytest.MonkeyPatch) -> None:
    see_the_image(monkeypatch)
    image = np.zeros((3, 120, 100), np.float32)
    image[1, 40:60, 20:40] = image[1, 70:80, 50:70] = 1

    events, part = predict(a_model(), image, frames=((1,),), region=REGION)

    assert part.array.max() == part.objects == 2
    assert next(e for e in events if isinstance(e, FrameFinished)).region == REGION


def test_no_more_is_held_than_the_box_of_the_frames_and_the_region() -> None:
    _, part = predict(a_model(), noise(6, 120, 100), frames=((4,), (2,)), region=REGION)
    assert part.array.shape == (3, 65, 69)
    assert part.box == (slice(2, 5), *REGION)


@pytest.mark.parametrize("result", ["objects", "probabilities"])
def test_of_the_whole_image_the_rest_is_0(result: str) -> None:
    _, part = predict(a_model(), noise(3, 120, 100), frames=((1,),), region=REGION, result=result)
    whole = part.whole()
    assert whole.shape[-2:] == (120, 100)
    np.testing.assert_array_equal(whole[1:2][(..., *REGION)], part.array)
    assert np.count_nonzero(whole) == np.count_nonzero(part.array)


def test_what_was_predicted_as_a_whole_is_not_copied() -> None:
    _, found = predict(a_model(), noise(60, 50))
    assert found.whole() is found.array


def test_a_stopped_one_keeps_its_tiles() -> None:
    stop = threading.Event()
    stop.set()

    events, part = predict(a_model(), noise(120, 100), stop=stop, region=REGION)

    assert not part.complete
    assert not any(isinstance(event, TilePredicted) for event in events)
