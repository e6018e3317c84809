"""What is decided before the first tile: channels, dimensions, pixel sizes."""

from __future__ import annotations

import pickle
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import ndimage as ndi

from napari_unet.data.labels import ClassTable
from napari_unet.errors import ImageError, ModelMismatchError
from napari_unet.model.trained import TrainedNetwork
from napari_unet.prediction.config import PredictConfig
from napari_unet.prediction.plan import PredictionPlan, plan_prediction

from .builders import a_model, noise, predict, see_the_image

MODEL = a_model()
HALF, ONE = {"Y": 0.5, "X": 0.5}, {"Y": 1.0, "X": 1.0}


def with_record(model: TrainedNetwork, **fields: Any) -> TrainedNetwork:
    return TrainedNetwork(model.network, replace(model.record, **fields))


def plan(model: TrainedNetwork, *shape: int, **config: Any) -> PredictionPlan:
    return plan_prediction(model.record, noise(*shape), PredictConfig(**config))


# --- channels ----------------------------------------------------------------------------------


def test_a_model_takes_the_channels_that_it_learned() -> None:
    model = with_record(a_model(in_channels=2), used_channels=(2, 0))
    image = noise(3, 20, 24)
    found = predict(model, image, axes="CYX", result="probabilities")[1].array
    expected = predict(model, image[[2, 0]], axes="CYX", result="probabilities")[1].array
    np.testing.assert_array_equal(found, expected)


def test_an_image_of_just_the_channels_is_taken_as_it_is() -> None:
    model = with_record(a_model(in_channels=2), used_channels=(2, 0))
    assert plan(model, 2, 20, 24, axes="CYX").used_channels == ()


def test_other_channels_can_be_chosen() -> None:
    image = noise(3, 20, 24)
    found = predict(MODEL, image, axes="CYX", used_channels=(1,), result="probabilities")[1].array
    expected = predict(MODEL, image[1], result="probabilities")[1].array
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("shape", "config", "text"),
    [
        pytest.param((3, 20, 24), {}, r"expects 2 channel\(s\), image has 3", id="too many"),
        pytest.param((20, 24), {"axes": "YX"}, r"expects 2 channel\(s\), image has 1", id="few"),
        pytest.param(
            (3, 20, 24), {"used_channels": (0, 7)}, r"image has 3, of which \[0, 7\]", id="absent"
        ),
        pytest.param((3, 20, 24), {"used_channels": (0,)}, r"expects 2.*\[0\]", id="too few"),
    ],
)
def test_channels_that_do_not_fit_are_named_with_both_numbers(
    shape: tuple[int, ...], config: dict[str, Any], text: str
) -> None:
    with pytest.raises(ModelMismatchError, match=text):
        plan(a_model(in_channels=2), *shape, **{"axes": "CYX", **config})


# --- dimensions --------------------------------------------------------------------------------


def test_a_volume_model_and_a_flat_image_are_both_named() -> None:
    with pytest.raises(ImageError, match=r"3D network .*YX"):
        plan(a_model(ndim=3), 20, 24, axes="YX")


def test_a_model_of_a_time_window_needs_time() -> None:
    with pytest.raises(ModelMismatchError, match=r"3 frames of a time-lapse.*no time.*ZYX"):
        plan(a_model(window=3), 5, 20, 24, axes="ZYX")


def test_a_window_is_read_around_each_frame() -> None:
    film = noise(4, 30, 30)
    found = predict(a_model(window=3), film, result="probabilities")[1].array
    shorter = predict(a_model(window=3), film[1:4], result="probabilities")[1].array
    np.testing.assert_array_equal(found[2], shorter[1])


# --- pixel size --------------------------------------------------------------------------------


def test_an_image_of_the_same_pixel_size_is_seen_as_it_is() -> None:
    assert plan(with_record(MODEL, pixel_size=ONE), 40, 40, pixel_size=ONE).factors == (1, 1)


def test_an_image_of_smaller_pixels_is_binned() -> None:
    found = plan(with_record(MODEL, pixel_size=ONE), 40, 40, pixel_size=HALF)
    assert found.factors == (2, 2)
    assert "0.5 x 0.5 µm" in found.notices[0]


def test_binning_of_the_model_adds_to_it() -> None:
    model = with_record(MODEL, pixel_size=ONE, binning=3)
    assert plan(model, 40, 40, pixel_size=HALF).factors == (6, 6)


def test_an_image_of_larger_pixels_is_seen_finer() -> None:
    assert plan(with_record(MODEL, pixel_size=HALF), 40, 40, pixel_size=ONE).factors == (0.5, 0.5)


@pytest.mark.parametrize(
    ("of_model", "of_image", "rescale"),
    [
        pytest.param({}, ONE, True, id="model unknown"),
        pytest.param(ONE, {}, True, id="image unknown"),
        pytest.param(ONE, {"Y": 0.5}, True, id="one axis unknown"),
        pytest.param(ONE, HALF, False, id="switched off"),
        pytest.param(ONE, {"Y": 1.01, "X": 0.99}, True, id="nearly equal"),
    ],
)
def test_otherwise_pixels_are_taken_as_they_are(of_model: Any, of_image: Any, rescale: Any) -> None:
    model = with_record(MODEL, pixel_size=of_model)
    assert plan(model, 40, 40, pixel_size=of_image, rescale=rescale).factors == (1, 1)


def test_a_wrong_unit_is_found() -> None:
    model = with_record(MODEL, pixel_size=ONE)
    with pytest.raises(ModelMismatchError, match="differ too much"):
        plan(model, 40, 40, pixel_size={"Y": 0.001, "X": 0.001})


def test_debris_is_as_large_as_it_was() -> None:
    model = with_record(a_model(smallest_object=10), pixel_size=ONE)
    assert plan(model, 40, 40, pixel_size=HALF).smallest == 40


@pytest.mark.parametrize("zoom", [2.0, 1.6, 0.5], ids=str)
def test_a_magnified_image_gives_the_magnified_result_on_its_own_grid(
    zoom: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = with_record(a_model(seed=3), pixel_size=ONE)
    image = ndi.gaussian_filter(noise(120, 120), 3)
    magnified = ndi.zoom(image, zoom, order=1, grid_mode=True, mode="nearest")
    size = {"Y": 1 / zoom, "X": 1 / zoom}
    expected = predict(model, image, result="probabilities")[1].array[1]
    found = predict(model, magnified, result="probabilities", pixel_size=size)[1].array[1]
    assert found.shape == magnified.shape
    back = ndi.zoom(found, 120 / found.shape[0], order=1, grid_mode=True, mode="nearest")
    assert np.abs(back - expected)[20:-20, 20:-20].mean() < 0.1 * expected.std() + 0.01


def test_objects_of_a_rescaled_image_lie_on_its_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    see_the_image(monkeypatch)
    image = np.zeros((60, 60), np.float32)
    image[10:30, 10:30] = 1
    model = with_record(MODEL, pixel_size=ONE)
    labels = predict(model, image, pixel_size=HALF)[1].array
    np.testing.assert_array_equal(labels > 0, image > 0)


# --- what a worker is sent ---------------------------------------------------------------------


def test_a_plan_of_a_huge_image_is_small() -> None:
    class Huge:
        shape = (10_000_000, 10_000_000)
        dtype = np.dtype(np.uint16)

        def __getitem__(self, key: Any, /) -> Any:
            raise AssertionError("read")

    found = plan_prediction(MODEL.record, Huge(), PredictConfig())
    assert len(found.tiles) > 10**8
    assert len(pickle.dumps(found)) < 5000


def test_a_plan_knows_its_result() -> None:
    found = plan(a_model(ClassTable("classes", "unlabelled", (1, 2, 3))), 4, 40, 50)
    assert (found.result_axes, found.result_shape) == ("TYX", (4, 40, 50))
