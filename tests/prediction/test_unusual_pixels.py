"""Pixels that show nothing, NaN or one value everywhere: said once, with their number."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from device import DEVICE_NAME
from napari_unet.prediction.config import PredictConfig
from napari_unet.prediction.predictor import predict_image
from napari_unet.prediction.results import TilePredicted
from napari_unet.run import Notice

from .builders import a_model, noise, predict

if TYPE_CHECKING:
    from pathlib import Path

Array = Any

MODEL = a_model()
CONSTANT = "1 image(s) have the same value everywhere: nothing can be seen."


def replaced(count: int) -> str:
    return f"{count} pixels that are not finite were replaced by the median."


def damaged(*shape: int, bad: int = 37) -> Array:
    """Noise with so many pixels that are not finite, all over it."""
    image = noise(*shape)
    places = np.random.default_rng(1).choice(image.size, bad, replace=False)
    image.flat[places] = np.resize([np.nan, np.inf, -np.inf], bad)
    return image


def notices_in(events: Any) -> list[str]:
    return [event.text for event in events if isinstance(event, Notice)]


def notices_into_a_file(image: Array, path: Path, **config: Any) -> list[str]:
    settings = PredictConfig(device=DEVICE_NAME, **config)
    return notices_in(predict_image(MODEL, image, settings, threading.Event(), path))


@pytest.mark.fault(15)
@pytest.mark.parametrize("tile", [4, 16, 64])
@pytest.mark.parametrize("dtype", ["float16", "float32", ">f8"])
def test_each_pixel_that_is_not_finite_is_counted_once_whatever_the_tiles(
    tile: int, dtype: str
) -> None:
    image = damaged(50, 61).astype(dtype)
    events, result = predict(MODEL, image, tile_size=tile)
    assert notices_in(events) == [replaced(37)]
    assert result.complete


@pytest.mark.fault(15)
def test_a_prediction_into_a_file_counts_them_too(tmp_path: Path) -> None:
    told = notices_into_a_file(damaged(50, 61), tmp_path / "out.zarr", tile_size=16)
    assert told == [replaced(37)]


@pytest.mark.fault(15)
def test_a_time_lapse_is_told_of_once_with_the_total() -> None:
    film = np.stack([damaged(20, 30, bad=5), noise(20, 30), damaged(20, 30, bad=6)])
    assert notices_in(predict(MODEL, film)[0]) == [replaced(11)]


@pytest.mark.fault(15)
def test_moments_seen_beside_their_own_are_not_counted_again() -> None:
    model = a_model(in_channels=1, window=3)
    film = np.stack([damaged(20, 30, bad=5), noise(20, 30), damaged(20, 30, bad=6)])
    assert notices_in(predict(model, film, axes="TYX")[0]) == [replaced(11)]


@pytest.mark.fault(15)
def test_only_channels_that_are_used_are_counted() -> None:
    image = np.stack([damaged(20, 30, bad=5), noise(20, 30), damaged(20, 30, bad=6)])
    told = notices_in(predict(MODEL, image, axes="CYX", used_channels=(2,))[0])
    assert told == [replaced(6)]


@pytest.mark.fault(15)
@pytest.mark.parametrize("size", [0.5, 0.8, 1.7], ids=str)
def test_on_another_grid_the_pixels_of_the_image_are_counted(size: float) -> None:
    record = replace(MODEL.record, pixel_size={"Y": size, "X": size})
    model = replace(MODEL, record=record)
    told = notices_in(predict(model, damaged(50, 61), pixel_size={"Y": 1, "X": 1}, tile_size=8)[0])
    assert replaced(37) in told


@pytest.mark.fault(15)
def test_of_a_region_its_own_are_counted_alone() -> None:
    image = noise(40, 40)
    image[:20, :20] = np.nan
    config = PredictConfig(device=DEVICE_NAME, region=(slice(10, 30), slice(0, 40)))
    told = notices_in(predict_image(MODEL, image, config, threading.Event()))
    assert told == [replaced(200)]


@pytest.mark.fault(15)
def test_after_a_stop_it_tells_what_was_found_so_far() -> None:
    image = np.full((40, 40), np.nan, np.float32)
    image[0, :2] = 1, 2
    stop = threading.Event()
    events, _ = predict(
        MODEL,
        image,
        tile_size=16,
        stop=stop,
        watch=lambda event: stop.set() if isinstance(event, TilePredicted) else None,
    )
    (told,) = notices_in(events)
    assert 200 < int(told.split()[0]) < 1598


@pytest.mark.fault(15)
def test_counting_reads_nothing_twice() -> None:
    class Counting:
        def __init__(self, pixels: Array) -> None:
            self.pixels, self.read = pixels, 0
            self.shape, self.dtype = pixels.shape, pixels.dtype

        def __getitem__(self, key: Any, /) -> Any:
            part = self.pixels[key]
            self.read += part.size
            return part

    real, whole = Counting(damaged(60, 60)), Counting(np.zeros((60, 60), np.uint16))
    for image in (real, whole):
        predict(MODEL, image, tile_size=16)
    assert real.read == whole.read


@pytest.mark.fault(15)
def test_of_an_image_whose_pixels_are_all_fine_nothing_is_said() -> None:
    assert notices_in(predict(MODEL, noise(30, 30))[0]) == []


@pytest.mark.fault(16)
@pytest.mark.parametrize("value", [0, 7, 65535])
def test_an_image_of_one_value_is_predicted_and_told_of(value: int, tmp_path: Path) -> None:
    image = np.full((30, 40), value, np.uint16)
    events, result = predict(MODEL, image, result="probabilities")
    assert np.isfinite(result.array).all()
    assert notices_in(events) == [CONSTANT]
    assert notices_into_a_file(image, tmp_path / "out.zarr") == [CONSTANT]


@pytest.mark.fault(15, 16)
def test_an_image_of_nothing_but_nan_is_predicted_and_told_of() -> None:
    events, result = predict(MODEL, np.full((9, 9), np.nan), result="probabilities")
    assert np.isfinite(result.array).all()
    assert notices_in(events) == [replaced(81), CONSTANT]


@pytest.mark.fault(16)
def test_empty_frames_of_a_time_lapse_are_counted() -> None:
    film = np.stack([np.zeros((20, 20)), noise(20, 20), np.ones((20, 20))])
    (told,) = notices_in(predict(MODEL, film)[0])
    assert told.startswith("2 image(s) have the same value everywhere")


@pytest.mark.fault(17)
def test_two_saturated_pixels_change_no_probability_by_a_thousandth() -> None:
    image = np.random.default_rng(0).integers(100, 4000, (120, 120)).astype(np.uint16)
    hot = image.copy()
    hot[3, 3] = hot[60, 70] = 65535
    cold, seen = (predict(MODEL, i, result="probabilities")[1].array for i in (image, hot))
    halo = MODEL.record.network.halo
    far = np.ones((120, 120), bool)
    for y, x in ((3, 3), (60, 70)):  # what the network sees of the pixel itself may change
        far[max(0, y - halo) : y + halo + 1, max(0, x - halo) : x + halo + 1] = False
    assert far.mean() > 0.5
    assert np.abs(seen - cold)[:, far].max() < 1e-3
