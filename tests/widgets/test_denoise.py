"""The Denoise dock: an image layer without noise, in two clicks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image

from napari_unet.model.trained import load_network
from napari_unet.training.config import TrainConfig
from napari_unet.training.events import StepDone
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
