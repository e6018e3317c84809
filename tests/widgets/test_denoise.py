"""The Denoise dock: an image layer without noise, in two clicks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image

from napari_unet.model.trained import load_network
from napari_unet.prediction.results import PredictionStarted, TilePredicted
from napari_unet.training.config import TrainConfig
from napari_unet.training.events import StepDone, Validated
from napari_unet.widgets.common.session import session_of
from napari_unet.widgets.denoise.dock import DenoiseWidget

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from pytestqt.qtbot import QtBot

SMALL = {"patch_size": 32, "base_channels": 2, "depth": 1, "batch_size": 1}


def picture(*shape: int) -> NDArray[np.uint16]:
    noise = np.random.default_rng(0).normal(0, 20, shape)
    return (500 + 100 * np.sin(np.arange(shape[-1]) / 5) + noise).astype(np.uint16)


@pytest.fixture
def dock(qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> DenoiseWidget:
    preset = TrainConfig.preset
    monkeypatch.setattr(
        TrainConfig,
        "preset",
        lambda name, **changes: preset(name, **{**SMALL, **changes}),
    )
    widget = DenoiseWidget(ViewerModel())
    widget.steps_box.setValue(1)
    qtbot.addWidget(widget)
    return widget


def denoised(dock: DenoiseWidget, qtbot: QtBot) -> Image:
    with qtbot.waitSignal(dock.task.ended, timeout=60_000):
        dock.start_button.click()
    layer: Any = dock._viewer.layers[-1]
    return layer


def test_one_click_in_the_dock_adds_an_image_over_the_noisy_one(
    dock: DenoiseWidget, qtbot: QtBot
) -> None:
    noisy = dock._viewer.add_image(picture(40, 48), name="cells", scale=(0.5, 0.5))
    layer = denoised(dock, qtbot)
    assert layer.name == "cells denoised"
    assert layer.data.shape == (40, 48)
    assert layer.data.dtype == np.float32
    assert tuple(layer.scale) == (0.5, 0.5)
    assert tuple(layer.contrast_limits) == tuple(noisy.contrast_limits)
    assert session_of(dock._viewer).model is None  # which finds cells


def test_what_was_learned_denoises_the_next_image_and_is_saved(
    dock: DenoiseWidget, qtbot: QtBot, tmp_path: Path
) -> None:
    dock._viewer.add_image(picture(32, 32), name="first")
    denoised(dock, qtbot)
    dock.save(tmp_path / "mine")
    assert load_network(tmp_path / "mine.safetensors").record.classes.kind == "denoise"
    second = dock._viewer.add_image(picture(2, 32, 32), name="second")
    dock.image_box.layer = second
    dock.learn_box.setCurrentIndex(2)
    layer = denoised(dock, qtbot)
    assert (layer.name, layer.data.shape) == ("second denoised", (2, 32, 32))


def test_a_pair_of_layers_is_learned(dock: DenoiseWidget, qtbot: QtBot) -> None:
    noisy = dock._viewer.add_image(picture(32, 32), name="noisy")
    clean = dock._viewer.add_image(picture(32, 32) * 4, name="clean")
    dock.learn_box.setCurrentIndex(1)
    dock.image_box.layer, dock.target_box.layer = noisy, clean
    layer = denoised(dock, qtbot)
    assert layer.name == "noisy made"
    assert 1000 < layer.data.mean() < 4000


def test_stop_denoises_with_what_was_learned(dock: DenoiseWidget, qtbot: QtBot) -> None:
    dock._viewer.add_image(picture(32, 32), name="cells")
    dock.steps_box.setValue(100_000)
    clicks = iter([dock.stop_button.click])

    def stop_once(event: object) -> None:
        if isinstance(event, StepDone):
            next(clicks, lambda: None)()

    dock.task.happened.connect(stop_once)
    assert denoised(dock, qtbot).name == "cells denoised"


def test_tiles_appear_over_the_image_as_they_come(dock: DenoiseWidget, qtbot: QtBot) -> None:
    layers = dock._viewer.layers
    dock._viewer.add_image(picture(3, 32, 32), name="cells")
    made: list[list[bool]] = []

    def look(event: object) -> None:
        if isinstance(event, PredictionStarted | TilePredicted):
            made.append([bool(np.isfinite(plane).all()) for plane in layers[-1].data])

    dock.task.happened.connect(look)
    denoised(dock, qtbot)
    assert [sum(planes) for planes in made] == [0, 1, 2, 3]


def test_stopped_again_the_tiles_that_are_made_stay(dock: DenoiseWidget, qtbot: QtBot) -> None:
    dock._viewer.add_image(picture(50, 32, 32), name="cells")

    def stop(event: object) -> None:
        if isinstance(event, TilePredicted):
            dock.stop_button.click()

    dock.task.happened.connect(stop)
    layer = denoised(dock, qtbot)
    assert np.isfinite(layer.data[0]).all()
    assert np.isnan(layer.data[-1]).all()
    assert "elsewhere the layer is empty" in dock.status.text()


def test_a_closed_dock_loses_neither_image_nor_model(dock: DenoiseWidget, qtbot: QtBot) -> None:
    viewer, task = dock._viewer, dock.task
    viewer.add_image(picture(32, 32), name="cells")
    closed = DenoiseWidget(viewer)
    closed.steps_box.setValue(1)
    with qtbot.waitSignal(task.ended, timeout=60_000):
        closed.start_button.click()
        closed.deleteLater()
        viewer.layers.clear()
    assert [layer.name for layer in viewer.layers] == ["cells denoised"]
    assert dock.further_button.isEnabled()


def test_learning_further_adds_steps(dock: DenoiseWidget, qtbot: QtBot) -> None:
    dock._viewer.add_image(picture(32, 32), name="cells")
    dock.steps_box.setValue(2)
    denoised(dock, qtbot)
    with qtbot.waitSignal(dock.task.ended, timeout=60_000):
        dock.further_button.click()
    assert dock.model is not None
    assert dock.model.record.steps == 4
    assert "after 4 steps" in dock.status.text()


def test_of_colours_the_channel_is_named(dock: DenoiseWidget, qtbot: QtBot) -> None:
    dock._viewer.add_image(picture(3, 32, 32).transpose(1, 2, 0) // 4, name="tissue", rgb=True)
    dock.channel_box.setValue(3)
    dock.start_button.click()
    assert "there is no channel 3" in dock.status.text()
    dock.channel_box.setValue(1)
    assert denoised(dock, qtbot).name == "tissue channel 1 denoised"


def test_whole_volumes_of_a_plane_are_refused_in_words(dock: DenoiseWidget) -> None:
    dock._viewer.add_image(picture(32, 32), name="cells")
    dock.slices_box.setCurrentIndex(1)
    dock.start_button.click()
    assert "Choose single planes" in dock.status.text()


def test_the_score_says_that_noise_is_in_it(dock: DenoiseWidget) -> None:
    dock._show_event(Validated(1, 0.01, None, None, best=True, psnr=20.0))
    assert "lie 10.0 % of the grey range" in dock.about.text()


@pytest.mark.parametrize("shape", [(32, 30), (3, 32, 32)])
def test_a_target_of_another_shape_is_refused_in_words(
    dock: DenoiseWidget, qtbot: QtBot, shape: tuple[int, ...]
) -> None:
    image = dock._viewer.add_image(picture(32, 32), name="noisy")
    target = dock._viewer.add_image(picture(*shape), name="other")
    dock.learn_box.setCurrentIndex(1)
    dock.image_box.layer, dock.target_box.layer = image, target
    denoised(dock, qtbot)
    assert "not of the shape of its image (32, 32)" in dock.status.text()
    assert len(dock._viewer.layers) == 2


def test_without_an_image_it_says_what_is_missing(dock: DenoiseWidget) -> None:
    dock.start_button.click()
    assert "Open an image" in dock.status.text()


@pytest.mark.parametrize("factor", [2, 4])
def test_what_is_made_of_a_finer_target_covers_the_image_with_finer_pixels(
    dock: DenoiseWidget, qtbot: QtBot, factor: int
) -> None:
    placement: dict[str, Any] = {"scale": (0.5, 0.5), "translate": (10, 20), "rotate": 30}
    image = dock._viewer.add_image(picture(32, 40), name="coarse", **placement)
    target = dock._viewer.add_image(picture(32 * factor, 40 * factor), name="fine")
    dock.learn_box.setCurrentIndex(1)
    dock.image_box.layer, dock.target_box.layer = image, target
    layer = denoised(dock, qtbot)
    assert layer.data.shape == (32 * factor, 40 * factor)
    assert np.isfinite(layer.data).all()
    for corner in ((0, 0), (32, 0), (0, 40), (32, 40)):  # outer edges, in pixels from the first
        coarse = image.data_to_world(np.array(corner) - 0.5)
        fine = layer.data_to_world(np.array(corner) * factor - 0.5)
        np.testing.assert_allclose(fine, coarse, atol=1e-9)
