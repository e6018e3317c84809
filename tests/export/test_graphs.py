"""The exported network is our prediction: any size, any member of the family, whole and tiled."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
import torch

from napari_unet.data.frames import frames_of
from napari_unet.errors import ModelMismatchError
from napari_unet.export.checks import run_in_tiles
from napari_unet.export.description import Facts
from napari_unet.export.graphs import ExportNetwork, tile_halos, tile_steps
from napari_unet.model.config import UNetConfig
from napari_unet.model.trained import TrainedNetwork
from napari_unet.prediction.config import PredictConfig
from napari_unet.prediction.predictor import predict_image
from napari_unet.run import Run

from .builders import CLASSES, a_model, blobs

Array = Any
FAMILY: dict[str, tuple[dict[str, Any], dict[str, Any], tuple[int, ...], str]] = {
    "2D": ({}, {}, (61, 70), "YX"),
    "one pooling": ({"depth": 1}, {}, (33, 52), "YX"),
    "four poolings": ({"depth": 4}, {}, (50, 133), "YX"),
    "binned by 3": ({}, {"binning": 3}, (61, 170), "YX"),
    "binned by 1.75": ({}, {"binning": 1.75}, (61, 170), "YX"),
    "enlarged by 2": ({}, {"binning": 0.5}, (41, 70), "YX"),
    "enlarged by 3": ({}, {"binning": 0.33}, (31, 80), "YX"),
    "quarter turns": ({}, {"views": 4}, (61, 70), "YX"),
    "eight views": ({}, {"views": 8}, (61, 70), "YX"),
    "binned and eight views": ({}, {"binning": 2, "views": 8}, (61, 171), "YX"),
    "3D, binned": ({"ndim": 3}, {"binning": 2}, (13, 60, 31), "ZYX"),
    "3D, one flat level": ({"ndim": 3, "flat_levels": 1}, {}, (7, 60, 31), "ZYX"),
    "3D, all levels flat": ({"ndim": 3, "flat_levels": 2}, {}, (7, 60, 31), "ZYX"),
    "unpadded, as in the paper": (
        {"padding": "valid", "normalization": "none"},
        {},
        (61, 70),
        "YX",
    ),
    "three channels": ({"in_channels": 3}, {}, (3, 61, 70), "CYX"),
    "a window of three frames": ({"window": 3, "in_channels": 2}, {}, (4, 2, 61, 70), "TCYX"),
    "smaller than a tile": ({}, {}, (1, 3), "YX"),
}
all_family = pytest.mark.parametrize(
    ("network", "record", "shape", "axes"), FAMILY.values(), ids=FAMILY
)


def ours(model: TrainedNetwork, image: Array, axes: str) -> Array:
    """The probabilities of the first frame, by our own prediction."""
    config = PredictConfig("probabilities", axes, device="cpu", precision="float32")
    found = Run(predict_image(model, image, config, threading.Event())).finish().whole()
    return found[0] if "T" in axes else found


def seen(model: TrainedNetwork, image: Array, axes: str) -> Array:
    """The pixels of the first frame with its percentiles at 0 and 1; C[Z]YX."""
    network = model.record.network
    frame = frames_of(image, axes, network.ndim, (), network.window)[0]
    whole = frame.read(tuple(slice(0, size) for size in frame.spatial_shape))
    return model.record.intensity.measure(frame).normalise(whole)


def run_of(model: TrainedNetwork) -> Any:
    network = ExportNetwork(model.unet, model.record.binning, model.record.views)
    return lambda pixels: network(torch.from_numpy(pixels)[None])[0].numpy()


@all_family
def test_the_whole_image_gives_what_our_prediction_gives(
    network: Any, record: Any, shape: Any, axes: str
) -> None:
    model, image = a_model(record=record, **network), blobs(*shape)
    given = run_of(model)(seen(model, image, axes))
    assert np.abs(given - ours(model, image, axes)).max() < 5e-6


@all_family
def test_tiles_with_the_halo_give_what_the_whole_image_gives(
    network: Any, record: Any, shape: Any, axes: str
) -> None:
    model, image = a_model(record=record, **network), blobs(*shape)
    pixels, run = seen(model, image, axes), run_of(model)
    tiled = run_in_tiles(run, pixels, 2, Facts(model.record, model.record.views, "", ""))
    assert np.abs(tiled - run(pixels)).max() < 5e-6


def test_tiles_with_less_than_the_halo_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    model, image = a_model(), blobs(90, 90)
    pixels, run = seen(model, image, "YX"), run_of(model)
    monkeypatch.setattr(Facts, "halos", (8, 8))
    tiled = run_in_tiles(run, pixels, 2, Facts(model.record, 1, "", ""))
    assert np.abs(tiled - run(pixels)).max() > 1e-4


def test_each_class_has_a_channel() -> None:
    model = a_model(CLASSES)
    assert run_of(model)(np.zeros((1, 20, 30), np.float32)).shape == (3, 20, 30)


def test_hot_pixels_are_clipped_inside() -> None:
    model = a_model()
    pixels = np.zeros((1, 40, 40), np.float32)
    pixels[0, 20, 20] = 3
    hot = pixels * 1000
    assert np.array_equal(run_of(model)(pixels), run_of(model)(hot))


@pytest.mark.parametrize(
    ("config", "binning", "steps", "halos"),
    [
        (UNetConfig.paper(), 1, (16, 16), (112, 112)),
        (UNetConfig(depth=3), 2, (16, 16), (112, 112)),
        (UNetConfig(depth=3), 2.25, (18, 18), (126, 126)),
        (UNetConfig(depth=3), 0.5, (4, 4), (28, 28)),
        (UNetConfig(ndim=3, depth=3, flat_levels=1), 1, (4, 8, 8), (24, 56, 56)),
        (UNetConfig(ndim=3, depth=2, flat_levels=2), 1, (1, 4, 4), (2, 24, 24)),
    ],
    ids=["paper", "binned", "by a fraction", "enlarged", "flat level", "all levels flat"],
)
def test_steps_and_halos_are_whole_poolings(
    config: UNetConfig, binning: float, steps: tuple[int, ...], halos: tuple[int, ...]
) -> None:
    assert tile_steps(config, binning) == steps
    assert tile_halos(config, binning) == halos


def test_a_binning_of_many_digits_is_refused() -> None:
    model = a_model(record={"binning": 1.23456})
    with pytest.raises(ModelMismatchError, match=r"a binning of 1\.23456.*two decimals"):
        run_of(model)
