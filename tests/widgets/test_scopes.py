"""Predict a view, a slice, a stack or a folder; spots of uncertainty; measurements."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from napari.layers import Image, Labels

from napari_unet.model.config import UNetConfig
from napari_unet.model.record import ModelRecord
from napari_unet.model.trained import TrainedNetwork
from napari_unet.model.unet import UNet
from napari_unet.prediction.config import PredictConfig
from napari_unet.prediction.results import TilePredicted
from napari_unet.tasks import ClassTable
from napari_unet.widgets.common.session import session_of
from napari_unet.widgets.common.visible import camera_of
from napari_unet.widgets.predict.runs import scoped

from .conftest import Desk, disks
from .test_correct import predicted
from .test_predict import untrained


def eager() -> TrainedNetwork:
    """A network that takes everything for a cell."""
    model = untrained()
    bias: Any = model.unet.output.bias
    with torch.no_grad():
        bias += torch.tensor([0.0, 50.0])
    return model


@pytest.fixture
def stack(make_desk: Callable[..., Desk]) -> Desk:
    """Five planes, an untrained model, the third plane on screen."""
    desk = make_desk(np.stack([disks()] * 5))
    session_of(desk.viewer).set_model(eager(), "eager")
    desk.viewer.dims.set_current_step(0, 2)
    return desk


def planes_of(layer: Labels) -> list[int]:
    return [z for z in range(len(layer.data)) if layer.data[z].any()]


def test_slice_predicts_the_plane_on_screen(stack: Desk) -> None:
    stack.click(stack.predict.slice_button)
    stack.wait_until_idle()

    assert planes_of(stack.viewer.layers["disks prediction"]) == [2]


@pytest.mark.canvas
def test_view_predicts_what_is_on_screen_alone(stack: Desk) -> None:
    camera = camera_of(stack.viewer)
    camera.zoom *= 4
    camera.center = (0, 20, 20)
    stack.qtbot.wait(200)

    stack.click(stack.predict.view_button)
    stack.wait_until_idle()

    found = stack.viewer.layers["disks prediction"].data
    assert found[2, :40, :40].any()
    assert not found[2, 70:].any()
    assert not found[[0, 1, 3, 4]].any()


def test_a_second_slice_leaves_the_first_one(stack: Desk) -> None:
    stack.click(stack.predict.slice_button)
    stack.wait_until_idle()
    stack.viewer.dims.set_current_step(0, 4)

    stack.click(stack.predict.slice_button)
    stack.wait_until_idle()

    layer = stack.viewer.layers["disks prediction"]
    assert planes_of(layer) == [2, 4]
    first, second = (set(np.unique(layer.data[z])) - {0} for z in (2, 4))
    assert not first & second


def test_whole_begins_with_what_is_on_screen(stack: Desk) -> None:
    tiles: list[TilePredicted] = []
    stack.predict.task.happened.connect(
        lambda event: tiles.append(event) if isinstance(event, TilePredicted) else None
    )

    stack.click(stack.predict.predict_button)
    stack.wait_until_idle()

    assert next(tile.frame[0] for tile in tiles) == 2
    assert {tile.frame[0] for tile in tiles} == {0, 1, 2, 3, 4}


def test_a_cancelled_prediction_keeps_what_is_finished(make_desk: Callable[..., Desk]) -> None:
    desk = make_desk(np.stack([disks()] * 200))
    session_of(desk.viewer).set_model(eager(), "eager")
    desk.predict.task.happened.connect(
        lambda event: desk.predict.cancel() if isinstance(event, TilePredicted) else None
    )

    desk.click(desk.predict.predict_button)
    desk.wait_until_idle()

    assert 1 <= len(planes_of(desk.viewer.layers["disks prediction"])) < 200
    assert "Cancelled" in desk.predict.status.text()


def test_a_folder_is_predicted_into_another(stack: Desk, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in ("a.tif", "b.tif"):
        tifffile.imwrite(tmp_path / "in" / name, disks())

    stack.predict.predict_folder(tmp_path / "in", tmp_path / "out")
    stack.wait_until_idle()

    assert sorted(path.name for path in (tmp_path / "out").glob("*.tif")) == ["a.tif", "b.tif"]
    assert "2 files written" in stack.predict.status.text()


def test_a_broken_file_does_not_stop_the_folder(stack: Desk, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    tifffile.imwrite(tmp_path / "in" / "b.tif", disks())
    (tmp_path / "in" / "a.tif").write_bytes(b"nothing")

    stack.predict.predict_folder(tmp_path / "in", tmp_path / "out")
    stack.wait_until_idle()

    assert "1 file written, 1 failed: choose it in the table" in stack.predict.status.text()


# --- what is on screen, from another side ------------------------------------------------------


@pytest.mark.parametrize("scope", ["view", "slice"])
def test_a_plane_that_the_model_does_not_see_is_not_taken_for_another(
    stack: Desk, scope: str
) -> None:
    stack.viewer.dims.order = (1, 0, 2)
    stack.predict.starter.start(scope)
    stack.wait_until_idle()
    assert "disks prediction" not in stack.viewer.layers
    assert "from another side" in stack.last_notice
    assert "roll the axes (Ctrl+E)" in stack.last_notice


def test_a_plane_that_is_seen_transposed_is_predicted(stack: Desk) -> None:
    stack.viewer.dims.order = (0, 2, 1)
    stack.predict.starter.start("slice")
    stack.wait_until_idle()
    assert planes_of(stack.viewer.layers["disks prediction"]) == [2]


def test_of_a_volume_in_3d_no_plane_is_chosen(stack: Desk) -> None:
    stack.viewer.dims.ndisplay = 3
    stack.predict.starter.start("slice")
    assert "switch 3D off (Ctrl+Y)" in stack.last_notice


def test_the_whole_is_predicted_from_whatever_side_it_is_seen(stack: Desk) -> None:
    stack.viewer.dims.order = (1, 0, 2)
    stack.click(stack.predict.predict_button)
    stack.wait_until_idle()
    assert planes_of(stack.viewer.layers["disks prediction"]) == [0, 1, 2, 3, 4]


def test_of_a_volume_the_slice_is_the_one_that_is_shown(stack: Desk) -> None:
    viewer = stack.viewer
    viewer.dims.order = (1, 0, 2)
    viewer.dims.set_current_step(1, 40)
    image = viewer.layers["disks"]
    config = scoped(viewer, image, (0, 1, 2), 3, PredictConfig(), "slice")
    assert config.region == (slice(0, 5), slice(40, 41), slice(0, 96))


@pytest.mark.parametrize("tool", ["delete", "merge", "split", "grow", "copy_object"])
def test_cells_of_planes_that_are_not_seen_are_not_corrected(stack: Desk, tool: str) -> None:
    stack.click(stack.predict.slice_button)
    stack.wait_until_idle()
    layer = stack.viewer.layers["disks prediction"]
    before = np.array(layer.data)
    stack.viewer.dims.order = (1, 0, 2)
    tools = stack.predict.correct.tools
    tools.apply_once(layer, tool, np.array([[2.0, 40, 10], [2.0, 40, 80]]))
    np.testing.assert_array_equal(layer.data, before)
    assert "from another side" in stack.predict.correct.text.text()


# --- uncertainty -------------------------------------------------------------------------------


def test_uncertainty_appears_as_a_layer_with_a_list(stack: Desk) -> None:
    session_of(stack.viewer).set_model(untrained(), "unsure")
    stack.click(stack.predict.spots.show_button)
    stack.wait_until_idle()

    layer = stack.viewer.layers["disks uncertainty"]
    assert isinstance(layer, Image)
    assert layer.data[2].max() > 0
    assert not layer.data[0].any()
    assert stack.predict.spots.list.count() > 0


def test_choosing_a_spot_takes_the_camera_there(stack: Desk) -> None:
    session_of(stack.viewer).set_model(untrained(), "unsure")
    stack.click(stack.predict.spots.show_button)
    stack.wait_until_idle()
    stack.viewer.dims.set_current_step(0, 0)

    stack.predict.spots.list.setCurrentRow(1)

    assert stack.viewer.dims.current_step[0] == 2
    item: Any = stack.predict.spots.list.item(1)
    y, x = (int(part.split()[-1]) for part in item.toolTip().split(","))
    assert camera_of(stack.viewer).center[-2:] == pytest.approx((y, x))


def test_without_a_model_there_is_nothing_to_ask(desk: Desk) -> None:
    assert not desk.predict.spots.show_button.isEnabled()


# --- measurements ------------------------------------------------------------------------------


def test_measurements_come_as_features_of_the_layer(desk: Desk) -> None:
    layer = predicted(desk)

    desk.click(desk.predict.measure.measure_button)
    desk.wait_until_idle()

    assert list(layer.features["index"]) == [1, 2, 3]
    assert list(layer.features["area"]) == [400, 400, 700]
    assert "mean intensity" in layer.features


def test_a_scaled_layer_is_measured_in_its_units(desk: Desk) -> None:
    layer = predicted(desk)
    layer.scale, layer.units = (0.5, 0.5), ("micrometer", "micrometer")

    desk.click(desk.predict.measure.measure_button)
    desk.wait_until_idle()

    assert list(layer.features["area (µm²)"]) == [100, 100, 175]


def test_measurements_are_exported(desk: Desk, tmp_path: Path) -> None:
    predicted(desk)
    desk.click(desk.predict.measure.measure_button)
    desk.wait_until_idle()

    desk.predict.measure.export(tmp_path / "objects.csv")

    with (tmp_path / "objects.csv").open(encoding="utf-8") as file:
        assert [row["area"] for row in csv.DictReader(file)] == ["400", "400", "700"]


def test_nothing_to_export_says_what_to_click(desk: Desk, tmp_path: Path) -> None:
    predicted(desk)

    desk.predict.measure.export(tmp_path / "objects.csv")

    assert "click Measure first" in desk.last_notice


@pytest.mark.canvas
def test_the_table_of_napari_opens(desk: Desk) -> None:
    predicted(desk)
    desk.click(desk.predict.measure.measure_button)
    desk.wait_until_idle()

    desk.click(desk.predict.measure.table_button)

    assert "Features table widget (napari)" in desk.viewer.window.dock_widgets


def test_a_model_that_cannot_read_the_image_says_so(make_desk: Callable[..., Desk]) -> None:
    desk = make_desk(np.stack([disks()] * 3, axis=-1), rgb=True)
    config = UNetConfig(in_channels=1, ndim=3, base_channels=2, depth=1)
    record = ModelRecord(config, ClassTable("objects", "background"))
    session_of(desk.viewer).set_model(TrainedNetwork(UNet(config).eval(), record), "3D")

    desk.click(desk.predict.predict_button)

    assert "The model is 3D and cannot read" in desk.last_notice
