"""Cells larger than the network's view: trained binned, predicted at full size."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from device import DEVICE, DEVICE_NAME
from napari_unet.prediction.config import PredictConfig
from napari_unet.prediction.predictor import predict_image
from napari_unet.run import Notice, Run
from napari_unet.training.checkpoint import load_state, save_state
from napari_unet.training.dataset import AnnotatedImage
from napari_unet.training.events import Inbox, View, ViewPredicted
from napari_unet.training.live import LiveView
from napari_unet.training.preparation import prepare_training
from napari_unet.training.trainer import Trainer

from .builders import data_of, of_type, run, tiny_config

if TYPE_CHECKING:
    from napari_unet.training.config import TrainConfig
    from napari_unet.training.dataset import TrainingData

Array = Any


def large_cells(size: int = 241) -> tuple[Array, Array]:
    """Four discs of 100 pixels, finished masks; a size that no binning divides."""
    row, column = np.mgrid[:size, :size]
    inside = np.hypot(row % 120 - 60, column % 120 - 60) < 50
    labels = np.where(inside, 1 + row // 120 * 3 + column // 120, 0).astype(np.uint8)
    noise = np.random.default_rng(0).normal(0, 0.05, (size, size))
    return (inside + noise).astype(np.float32), labels


def config_of(**changes: Any) -> TrainConfig:
    return tiny_config(unpainted="background", **{"binning": 0.0, **changes})


def data(**changes: Any) -> TrainingData:
    return data_of(*large_cells(), config_of(**changes))


def test_the_size_of_the_cells_decides_the_binning() -> None:
    assert data().binning == 2.75


def test_the_size_of_the_cells_is_in_the_data() -> None:
    assert data().cell_size == pytest.approx(100, rel=0.02)


def test_a_setting_overrules_the_size_of_the_cells() -> None:
    assert data(binning=3).binning == 3


def test_an_image_is_not_binned_to_less_than_a_held_back_block() -> None:
    assert data(patch_size=256).binning == 1


@pytest.mark.parametrize(("binning", "size"), [(3, 81), (1.5, 161), (0.5, 482)])
def test_frames_targets_and_weights_are_binned_alike(binning: float, size: int) -> None:
    frame = data(binning=binning).frames[0]
    shapes = {a.shape for a in (frame.target.classes, frame.weights, frame.held_back)}
    assert shapes == {frame.frame.spatial_shape} == {(size, size)}


@pytest.mark.parametrize("binning", [0.5, 1.5, 2])
def test_debris_is_measured_in_pixels_of_the_image(binning: float) -> None:
    expected = data(binning=1).smallest_in_image
    assert data(binning=binning).smallest_in_image == pytest.approx(expected, rel=0.1)


def small_cells(size: int = 96) -> tuple[Array, Array]:
    """Discs of 6 pixels, finished masks."""
    row, column = np.mgrid[:size, :size]
    inside = np.hypot(row % 12 - 6, column % 12 - 6) < 3
    labels = np.where(inside, 1 + row // 12 * 8 + column // 12, 0).astype(np.uint8)
    return inside.astype(np.float32), labels


def test_small_cells_are_enlarged() -> None:
    assert data_of(*small_cells(), config_of()).binning == 0.25


def test_the_user_is_told_of_enlarging() -> None:
    (notice, *_) = data_of(*small_cells(), config_of()).notices
    assert "enlarged 4 times (binning 0.25)" in notice


def test_nothing_is_enlarged_that_would_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_unet.training.preparation._MOST_ENLARGED", 15 * 96**2)
    assert data_of(*small_cells(), config_of()).binning == 1


def test_the_user_is_told() -> None:
    events, _ = run(data(binning=2), config_of())
    assert any("binned 2 x 2" in notice.text for notice in of_type(events, Notice))


def test_predictions_have_the_size_of_the_image() -> None:
    image, labels = large_cells()
    _, result = run(data(binning=2), config_of(steps=60, base_channels=4, learning_rate=1e-2))
    config = PredictConfig(device=DEVICE_NAME, tile_size=32)
    events = predict_image(result.trained, image, config, threading.Event())
    found = Run(events).finish().whole()
    assert found.shape == image.shape
    assert ((found > 0) == (labels > 0)).mean() > 0.9


@pytest.mark.parametrize("binning", [0.5, 1.5, 2])
def test_tiles_do_not_change_the_prediction(binning: float) -> None:
    image, labels = (pixels[:150, :130] for pixels in large_cells())
    prepared = data_of(image, labels, config_of(binning=binning))
    _, result = run(prepared, config_of(steps=2, base_channels=2))
    whole, cut = (
        Run(
            predict_image(
                result.trained,
                image,
                PredictConfig("probabilities", device=DEVICE_NAME, tile_size=size, views=8),
                threading.Event(),
            )
        )
        .finish()
        .whole()
        for size in (256, 16)
    )
    np.testing.assert_allclose(cut, whole, atol=1e-5)


@pytest.mark.parametrize("binning", [0.5, 1.5, 2])
def test_the_live_view_has_the_size_of_what_is_on_screen(
    binning: float, monkeypatch: pytest.MonkeyPatch
) -> None:

    config = config_of(binning=binning)
    prepared = data_of(*large_cells(), config)
    inbox = Inbox()
    inbox.view = View(0, (), (slice(10, 111), slice(0, 61)))
    live = LiveView(Trainer(prepared, config, DEVICE, None), inbox)
    (event,) = live.update(threading.Event())
    assert isinstance(event, ViewPredicted)
    assert event.labels.shape == (101, 61)


def test_the_live_view_of_an_enlarged_image_is_the_smaller(monkeypatch: pytest.MonkeyPatch) -> None:

    monkeypatch.setattr("napari_unet.training.live._LARGEST_VIEW", {2: 128})
    config = config_of(binning=0.25)
    inbox = Inbox()
    inbox.view = View(0, (), (slice(0, 96), slice(0, 96)))
    trainer = Trainer(data_of(*small_cells(), config), config, DEVICE, None)
    (event,) = LiveView(trainer, inbox).update(threading.Event())
    assert isinstance(event, ViewPredicted)
    assert event.region == (slice(32, 64), slice(32, 64))


def test_the_record_says_how_large_the_cells_are() -> None:
    record = run(data(binning=2), config_of(steps=1))[1].trained.record
    assert record.cell_size == pytest.approx(100, rel=0.02)


def test_the_record_says_how_much_was_binned_and_how_to_go_on() -> None:
    record = run(data(binning=2), config_of(steps=1))[1].trained.record
    assert record.binning == 2
    assert record.training["binning"] == 2


def test_new_paint_does_not_change_the_binning_of_a_training() -> None:
    _, labels = large_cells()
    previous = data(binning=2)
    source = replace(previous.sources[0], labels=np.where(labels == 1, 1, 0).astype(np.uint8))
    assert prepare_training([source], config_of(), previous).binning == 2


def test_a_model_is_trained_further_at_its_own_binning() -> None:
    model = run(data(binning=3), config_of(steps=1, binning=3))[1].trained
    images = [AnnotatedImage("an image", *large_cells())]
    assert prepare_training(images, config_of(), model).binning == 3


def test_a_saved_state_keeps_binning_and_threshold(tmp_path: Path) -> None:
    state = replace(run(data(), config_of(steps=1))[1].state, threshold=0.35)
    save_state(state, tmp_path / "state.safetensors")
    back = load_state(tmp_path / "state.safetensors")
    assert (back.binning, back.threshold) == (2.75, 0.35)


def test_a_resumed_training_is_the_uninterrupted_one() -> None:
    config = config_of(steps=6, validate_every=2)
    whole = run(data(), config)[1].state
    half = run(data(), config.changed(steps=3))[1].state
    resumed = run(data(), config.changed(steps=6), resume=half)[1].state
    assert (resumed.binning, resumed.step) == (whole.binning, whole.step)
