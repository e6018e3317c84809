from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from napari.layers import Image, Labels
from pytestqt.qtbot import QtBot

from napari_unet.data.axes import Region
from napari_unet.data.frames import Frame
from napari_unet.data.intensity import IntensityNormalization
from napari_unet.model.config import UNetConfig
from napari_unet.model.execution import Runner
from napari_unet.model.record import ModelRecord
from napari_unet.model.trained import TrainedNetwork, save_network
from napari_unet.model.unet import UNet
from napari_unet.prediction import predictor
from napari_unet.prediction.pipeline import make_runner
from napari_unet.prediction.plan import PredictionPlan
from napari_unet.prediction.results import (
    FrameFinished,
    PredictionProgress,
    PredictionStarted,
    TilePredicted,
)
from napari_unet.tasks import ClassTable
from napari_unet.widgets.common.annotation import annotation_of
from napari_unet.widgets.common.result_layer import predicted_of
from napari_unet.widgets.predict import start

from .conftest import Desk, disks

Painted = tuple[Desk, Labels]


def untrained(channels: int = 1) -> TrainedNetwork:
    """A network that answers something, at once."""
    config = UNetConfig(in_channels=channels, base_channels=2, depth=2)
    record = ModelRecord(config, ClassTable("objects", "background"), IntensityNormalization())
    return TrainedNetwork(UNet(config).eval(), record)


def predict_with(desk: Desk, model: TrainedNetwork) -> None:
    desk.predict._session.set_model(model, "untrained")
    desk.click(desk.predict.predict_button)
    desk.wait_until_idle()


@pytest.mark.slow
def test_paint_train_predict_finds_the_disks(painted: Painted) -> None:
    desk, _ = painted
    desk.train.steps_box.setValue(120)  # at 60 hardly any probability is far from one half
    desk.click(desk.train.train_button)
    desk.wait_until_idle()

    desk.click(desk.predict.predict_button)
    desk.wait_until_idle()

    found = desk.viewer.layers["disks prediction"].data
    assert 12 <= found.max() <= 20  # there are 16


@pytest.mark.fault(24)
def test_the_result_lies_where_the_image_lies(make_desk: Callable[..., Desk]) -> None:
    desk = make_desk(scale=(0.5, 0.25), translate=(3, 4), rotate=30, units=("um", "um"))

    predict_with(desk, untrained())

    result = desk.viewer.layers["disks prediction"]
    np.testing.assert_array_equal(result.scale, desk.image.scale)
    np.testing.assert_array_equal(result.translate, desk.image.translate)
    np.testing.assert_allclose(result.rotate, desk.image.rotate)
    assert result.units == desk.image.units


def test_a_time_lapse_comes_back_as_a_time_lapse(make_desk: Callable[..., Desk]) -> None:
    desk = make_desk(np.stack([disks()] * 3))

    predict_with(desk, untrained())

    assert desk.viewer.layers["disks prediction"].data.shape == (3, 96, 96)


@pytest.mark.fault(22)
def test_a_colour_image_with_transparency_is_read_as_three_channels(
    make_desk: Callable[..., Desk],
) -> None:
    desk = make_desk(np.stack([disks()] * 4, axis=-1), rgb=True)

    predict_with(desk, untrained(channels=3))

    assert desk.viewer.layers["disks prediction"].data.shape == (96, 96)
    assert "Transparency is left out" in desk.predict.status.text()


@pytest.mark.fault(22)
def test_16_bit_pixels_that_napari_takes_for_colours_are_three_channels(
    make_desk: Callable[..., Desk],
) -> None:
    desk = make_desk(np.stack([disks().astype(np.uint16) * 200] * 3, axis=-1))
    assert desk.image.rgb  # nobody has said so

    predict_with(desk, untrained(channels=3))

    assert desk.viewer.layers["disks prediction"].data.shape == (96, 96)
    assert "Transparency" not in desk.predict.status.text()


@pytest.mark.fault(15)
def test_bad_pixels_are_told_beside_the_result(make_desk: Callable[..., Desk]) -> None:
    image = disks().astype(np.float32)
    image[:2, :4] = np.nan
    desk = make_desk(image)

    predict_with(desk, untrained())

    assert "8 pixels that are not finite were replaced" in desk.predict.status.text()


@pytest.mark.fault(30)
@pytest.mark.parametrize("rgb", [False, True], ids=["grey", "colour"])
def test_of_a_multiscale_layer_the_full_resolution_is_predicted(
    make_desk: Callable[..., Desk], rgb: bool
) -> None:
    pixels = np.stack([disks()] * 4, axis=-1) if rgb else disks()
    desk = make_desk([pixels, pixels[::2, ::2], pixels[::4, ::4]], multiscale=True, rgb=rgb)

    predict_with(desk, untrained(channels=3 if rgb else 1))

    assert desk.viewer.layers["disks prediction"].data.shape == (96, 96)


@pytest.mark.fault(29)
def test_of_300_objects_each_can_be_painted_on(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def see_the_image(self: Runner, pixels: object, frame: Frame, region: Region) -> object:
        squares = np.zeros((96, 96), np.float32)
        for row, column in np.ndindex(3, 3):
            squares[row::4, column::4] = 1
        inside = squares[region]
        return np.stack([1 - inside, inside])

    monkeypatch.setattr(Runner, "compute", see_the_image)
    predict_with(desk, untrained())
    result = desk.viewer.layers["disks prediction"]
    assert result.data.max() == 24 * 24

    result.selected_label = 24 * 24 + 1  # napari refuses what the layer's type cannot hold
    result.paint((3, 3), result.selected_label)
    result.selected_label = 70_000
    result.paint((93, 93), 70_000)

    assert {result.data[3, 3], result.data[93, 93]} == {24 * 24 + 1, 70_000}


def test_a_channel_axis_of_the_viewer_is_dropped_from_the_result(
    make_desk: Callable[..., Desk],
) -> None:
    desk = make_desk(np.stack([disks()] * 2), scale=(1, 0.5, 0.25))

    predict_with(desk, untrained(channels=2))

    result = desk.viewer.layers["disks prediction"]
    assert result.data.shape == (96, 96)
    np.testing.assert_array_equal(result.scale, (0.5, 0.25))


def test_a_second_prediction_takes_the_untouched_layer_of_the_first(desk: Desk) -> None:
    predict_with(desk, untrained())
    predict_with(desk, untrained())

    assert sum(isinstance(layer, Labels) for layer in desk.viewer.layers) == 1


def test_what_was_corrected_stays_in_a_second_prediction(desk: Desk) -> None:
    predict_with(desk, untrained())
    layer = desk.viewer.layers["disks prediction"]
    layer.data[:5] = 77

    predict_with(desk, untrained())

    assert (layer.data[:5] == 77).all()
    assert layer.data[5:].any()
    assert sum(isinstance(layer, Labels) for layer in desk.viewer.layers) == 1


def test_a_frame_corrected_while_later_ones_are_predicted_stays_corrected(
    make_desk: Callable[..., Desk],
) -> None:
    desk = make_desk(np.stack([disks()] * 40))  # frame 20 is on screen, and comes first
    corrected: list[int] = []

    def correct(event: object) -> None:
        if isinstance(event, FrameFinished) and event.frame == (1,):
            desk.viewer.layers["disks prediction"].data[20, :3] = 777
            corrected.append(1)

    desk.predict.task.happened.connect(correct)
    predict_with(desk, untrained())

    assert corrected
    assert (desk.viewer.layers["disks prediction"].data[20, :3] == 777).all()


def painted_pair(desk: Desk) -> Labels:
    """Two halves of a square of 40 pixels, painted as two cells."""
    desk.click(desk.annotate.new_button)
    layer = desk.viewer.layers.selection.active
    assert isinstance(layer, Labels)
    layer.data[30:70, 20:50], layer.data[30:70, 50:80] = 2, 3
    return layer


def merges_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a network find one object, which is everything."""

    def compute(self: Runner, pixels: Any, frame: Frame, region: Region) -> Any:
        cells = np.ones([part.stop - part.start for part in region], np.float32)
        return np.stack([1 - cells, cells])

    monkeypatch.setattr(Runner, "compute", compute)


def test_painted_cells_come_out_as_they_were_painted(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    merges_all(monkeypatch)
    painted_pair(desk)

    predict_with(desk, untrained())

    found = desk.viewer.layers["disks prediction"].data
    assert found[50, 30] != found[50, 70]
    assert len(np.unique(found[30:70, 20:50])) == len(np.unique(found[30:70, 50:80])) == 1


def test_an_annotation_that_is_not_ticked_leaves_the_network_alone(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    merges_all(monkeypatch)
    annotation_of(painted_pair(desk)).used = False

    predict_with(desk, untrained())

    assert np.unique(desk.viewer.layers["disks prediction"].data).tolist() == [1]


def test_probabilities_come_as_image_layers(desk: Desk) -> None:
    desk.predict.options.form.editors["result"].show("probabilities")

    predict_with(desk, untrained())

    images = [layer for layer in desk.viewer.layers if isinstance(layer, Image)]
    assert len(images) == 3
    assert images[1].data.shape == (96, 96)


def test_exact_numbers_can_be_chosen(desk: Desk) -> None:
    box = desk.predict.options.form.editors["precision"].widget
    assert desk.predict.options.config_of_files().precision == "auto"
    box.setCurrentIndex(box.findData("float32"))
    assert desk.predict.options.config_of_files().precision == "float32"


def test_the_views_to_average_can_be_chosen(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def watched(
        trained: TrainedNetwork, plan: PredictionPlan, device: torch.device, *more: Any
    ) -> Runner:
        asked.append(plan.views)
        return make_runner(trained, plan, device, *more)

    monkeypatch.setattr(predictor, "make_runner", watched)
    desk.predict.options.form.editors["views"].show(8)

    predict_with(desk, untrained())

    assert asked == [8]


def test_a_prediction_knows_what_it_covers(desk: Desk) -> None:
    predict_with(desk, untrained())
    predicted = predicted_of(desk.viewer.layers["disks prediction"])
    assert predicted is not None
    assert predicted.places == (((), (slice(0, 96), slice(0, 96))),)


def test_a_new_prediction_takes_old_scores_away(desk: Desk) -> None:
    desk.predict.compare.text.setText("disks prediction, compared with truth:")
    predict_with(desk, untrained())
    assert desk.predict.compare.text.text() == ""


@pytest.mark.fault(23)
def test_a_mismatch_of_channels_is_shown_with_both_numbers(desk: Desk) -> None:
    predict_with(desk, untrained(channels=2))

    assert "Model expects 2 channel(s), image has" in desk.predict.status.text()
    assert desk.predict.predict_button.isEnabled()


def test_a_model_file_is_loaded_and_named(desk: Desk, tmp_path: Path) -> None:
    save_network(untrained(), tmp_path / "good.safetensors")

    desk.predict.load_model(tmp_path / "good.safetensors")
    desk.wait_until_idle()

    assert "good" in desk.predict.model_note.text()


def test_a_broken_model_file_is_refused_and_the_previous_model_stays(
    desk: Desk, tmp_path: Path
) -> None:
    desk.predict._session.set_model(untrained(), "previous")
    (tmp_path / "bad.safetensors").write_bytes(b"not a model")

    desk.predict.load_model(tmp_path / "bad.safetensors")
    desk.wait_until_idle()

    assert "not a complete model file" in desk.last_notice
    assert "previous" in desk.predict.model_note.text()


def test_without_a_model_a_warning_says_what_to_do(desk: Desk) -> None:
    desk.predict.starter.start()

    assert "There is no model yet" in desk.last_notice


def test_a_starting_model_predicts_where_nothing_was_painted(desk: Desk) -> None:
    box = desk.predict.starting_box
    box.setCurrentIndex(box.findData("cells"))
    box.activated.emit(box.currentIndex())
    desk.wait_until_idle()

    desk.click(desk.predict.predict_button)
    desk.wait_until_idle()

    assert 12 <= desk.viewer.layers["disks prediction"].data.max() <= 20  # there are 16


def test_how_long_it_takes_is_told_once_tiles_tell(
    qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = iter(range(0, 1000, 5))
    monkeypatch.setattr(start, "time", SimpleNamespace(monotonic=lambda: next(seconds)))
    shown = start.PredictStatus()
    qtbot.addWidget(shown)
    shown.begin()
    shown.show_event(PredictionStarted("CPU", 10, (9, 9), "objects"))
    texts = []
    for number in range(1, 6):
        shown.show_event(TilePredicted(number, (), (slice(0, 9), slice(0, 9)), np.zeros((9, 9))))
        texts.append(shown.line.text())
    assert texts[0] == "Tile 1 of 10."
    assert texts[-1] == "Tile 5 of 10, about 25 s left."


def test_cancelling_is_told_at_once_and_stays(qtbot: QtBot) -> None:
    shown = start.PredictStatus()
    qtbot.addWidget(shown)
    shown.begin()
    shown.cancel()
    shown.show_event(PredictionProgress(3, 10))
    assert shown.line.text().startswith("Cancelling")
