"""Commands of the palette and of menus, called as napari calls them, and functions of arrays."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import napari
import numpy as np
import pytest
from app_model import Application
from magicgui import magicgui
from napari.layers import Image, Labels
from napari.utils.notifications import notification_manager
from npe2 import PluginManager, PluginManifest
from qtpy.QtWidgets import QFileDialog

import napari_unet as nu
from napari_unet.widgets import commands, open_and_save
from napari_unet.widgets.annotate.dock import AnnotateWidget
from napari_unet.widgets.common import dock
from napari_unet.widgets.common.annotation import annotation_of
from napari_unet.widgets.common.session import session_of
from napari_unet.widgets.denoise.work import maker_of
from napari_unet.widgets.predict.dock import PredictWidget
from napari_unet.widgets.segment import suggest
from napari_unet.widgets.segment.dock import SegmentWidget
from napari_unet.widgets.train.dock import TrainWidget

from .conftest import HAND
from .scenes import disks, strokes_on

MANIFEST = PluginManifest.from_file(Path(__file__).parents[2] / "napari.yaml")
OPENS = {each.command for each in MANIFEST.contributions.widgets or ()} | {
    each.command for each in MANIFEST.contributions.sample_data or ()
}
CALLED = [each.id for each in MANIFEST.contributions.commands or () if each.id not in OPENS]


@pytest.fixture(autouse=True)
def nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """All dialogs are cancelled, and nothing is looked for unasked."""
    monkeypatch.setattr(suggest, "_DELAY_MS", 10_000_000)
    for name, answer in (
        ("getOpenFileNames", ([], "")), ("getOpenFileName", ("", "")), ("getSaveFileName", ("", ""))
    ):  # fmt: skip
        monkeypatch.setattr(QFileDialog, name, lambda *args, answer=answer: answer)


@pytest.fixture
def viewer(make_viewer: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> Any:
    """A viewer with docks alone, for which the commands are meant."""
    made = make_viewer()
    for module in (napari, commands):
        monkeypatch.setattr(module, "current_viewer", lambda: made)
    return made


def docked(viewer: Any, kind: Any) -> Any:
    made = kind(viewer)
    viewer.window.add_dock_widget(made)
    HAND.qWait(10)  # Qt lays the window out
    return made


def names_in(application: Any, menu: str) -> list[str]:
    items = application.menus.get_menu(f"napari/{menu}")
    return [getattr(item, "submenu", "") or item.command.id for item in items]


def told() -> str:
    return str(notification_manager.records[-1].message)


# --- As napari calls them ---------------------------------------------------------------------


@pytest.mark.canvas
def test_every_command_can_be_called_from_the_palette(make_viewer: Callable[[], Any]) -> None:
    viewer, application = make_viewer(), Application.get_app("test_app")
    assert application is not None
    assert set(CALLED) <= set(application.registered_actions)
    for command in CALLED:
        application.commands.execute_command(command)
    viewer.add_image(disks(), name="disks")
    for command in CALLED:
        application.commands.execute_command(command)
    docks = viewer.window._qt_window.findChildren(SegmentWidget)
    assert len(docks) == 1  # the first command opened it, the others found it


def test_every_command_can_be_called_by_npe2_without_a_window() -> None:
    for command in CALLED:
        PluginManager.instance().commands.execute(command)
    commands.start_training()
    assert told() == "Open a window of napari first."


@pytest.mark.canvas
def test_napari_s_menus_hold_them(make_viewer: Callable[[], Any]) -> None:
    make_viewer()
    application = Application.get_app("test_app")
    assert application is not None

    def held(menu: str) -> set[str]:
        return set(names_in(application, menu))

    assert f"{MANIFEST.name}.measure_layer" in held("layers/measure")
    assert f"{MANIFEST.name}.link_layer" in held("layers/track")
    assert f"{MANIFEST.name}.paint_classes" in held("layers/classify")
    assert f"{MANIFEST.name}.write_labels" in held("file/io_utilities")
    assert f"{MANIFEST.name}/predict_with" in held("layers/segment")


@pytest.mark.canvas
def test_the_context_menu_of_layers_holds_them_once(
    make_viewer: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dock, "_APPLICATION", "test_app")
    viewer = make_viewer()
    viewer.window.add_plugin_dock_widget(MANIFEST.name, "Train")
    dock.offer_in_layer_menu()  # as for a second window
    application = Application.get_app("test_app")
    assert application is not None
    names = names_in(application, "layers/context")
    ours = [name.removeprefix(MANIFEST.name) for name in names if name.startswith(MANIFEST.name)]
    assert sorted(ours) == [".measure_layer", ".use_as_annotation", "/predict_with"]


# --- Which dock does it ---------------------------------------------------------------------------


def test_training_starts_in_the_dock_in_front(viewer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    docked(viewer, SegmentWidget)
    train = docked(viewer, TrainWidget)
    monkeypatch.setattr(train, "start_training", lambda: done.append("Train"))
    monkeypatch.setattr(train, "continue_training", lambda: done.append("Continue"))
    commands.start_training()
    commands.continue_training()
    assert done == ["Train", "Continue"]


@pytest.mark.parametrize("kind", [SegmentWidget, PredictWidget])
@pytest.mark.parametrize("scope", ["view", "slice", "whole"])
def test_a_prediction_is_of_what_the_command_says(
    viewer: Any, monkeypatch: pytest.MonkeyPatch, kind: Any, scope: str
) -> None:
    done: list[str] = []
    monkeypatch.setattr(docked(viewer, kind).starter, "start", done.append)
    getattr(commands, f"predict_{scope}")()
    assert done == [scope]


def test_stop_says_where_nothing_is_under_way(viewer: Any) -> None:
    commands.stop()
    assert told() == "Nothing is being trained or predicted."


@pytest.mark.parametrize("which", ["prediction", "denoising"])
def test_stop_ends_what_is_under_way(which: str, viewer: Any, qtbot: Any) -> None:
    session = session_of(viewer)
    task = maker_of(session).task if which == "denoising" else session.prediction

    def work(stop: Any) -> Any:
        while not stop.wait(0.01):
            yield None

    task.start(work)
    commands.stop()
    qtbot.waitUntil(lambda: not task.running, timeout=60_000)


@pytest.mark.parametrize("kind", [SegmentWidget, AnnotateWidget])
def test_the_brush_paints_cells_and_background(viewer: Any, kind: Any) -> None:
    viewer.add_image(disks(), name="disks")
    layer = viewer.add_labels(strokes_on(disks()), name="paint")
    docked(viewer, kind)
    commands.paint_background()
    assert (layer.mode, layer.selected_label) == ("paint", 1)
    commands.take_next_object()
    assert (layer.mode, layer.selected_label) == ("paint", int(layer.data.max()) + 1)


def test_classes_are_painted(viewer: Any) -> None:
    opened = docked(viewer, SegmentWidget)
    commands.paint_classes()
    assert opened.target.task.kind == "classes"


def test_the_selected_image_is_predicted(viewer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    first = viewer.add_image(disks(), name="first")
    viewer.add_image(disks(), name="second")
    opened = docked(viewer, PredictWidget)
    started: list[str] = []
    monkeypatch.setattr(opened.starter, "start", lambda: started.append("whole"))
    viewer.layers.selection.active = first
    commands.predict_layer()
    assert (opened.image_box.layer, started) == (first, ["whole"])


def test_the_starting_model_predicts_once_it_is_loaded(viewer: Any, qtbot: Any) -> None:
    viewer.add_image(disks(), name="disks")
    docked(viewer, PredictWidget)
    commands.predict_layer_with_cells()
    qtbot.waitUntil(lambda: "disks prediction" in viewer.layers, timeout=60_000)
    qtbot.waitUntil(lambda: not session_of(viewer).prediction.running, timeout=60_000)
    assert viewer.layers["disks prediction"].data.max() > 3


def test_what_needs_an_image_asks_for_one(viewer: Any) -> None:
    viewer.add_labels(strokes_on(disks()))
    commands.predict_layer()
    assert told() == "Select the image layer first, in napari's list of layers."


def test_labels_become_an_annotation_with_their_background(viewer: Any) -> None:
    viewer.add_image(disks(), name="disks")
    mask = viewer.add_labels(np.uint8(disks() > 100), name="mask")
    opened = docked(viewer, AnnotateWidget)
    commands.use_as_annotation()
    made = opened.target.annotation
    assert made is not None
    assert made is not mask
    assert isinstance(made, Labels)
    assert set(np.unique(made.data)) == {1, 2}
    assert isinstance(annotation_of(made).image, Image)


# --- Enablement -----------------------------------------------------------------------------------


@pytest.mark.parametrize("command", MANIFEST.contributions.commands, ids=lambda each: each.id)
def test_each_is_enabled_by_what_napari_knows(command: Any) -> None:
    from app_model.expressions import parse_expression

    if command.enablement is not None:
        expression = parse_expression(command.enablement)
        wanted = {"num_layers": 2, "active_layer_type": command.enablement.split("'")[-2:][0]}
        assert expression.eval(wanted)
        assert not expression.eval({"num_layers": 0, "active_layer_type": None})


# --- Files ----------------------------------------------------------------------------------------


def test_a_file_that_is_asked_for_is_opened(
    viewer: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "cells.ome.tif"
    nu.write_image(path, disks(), "YX")
    monkeypatch.setattr(QFileDialog, "getOpenFileNames", lambda *args: ([str(path)], ""))
    assert open_and_save.open_images() is None
    assert [layer.name for layer in viewer.layers] == ["cells"]


@pytest.mark.parametrize(
    ("write", "kind", "written"),
    [
        (open_and_save.save_objects_as, "GeoJSON for QuPath (*.geojson)", "cells.geojson"),
        (open_and_save.save_labels_as_tiff, "OME-TIFF (*.ome.tif)", "cells.ome.tif"),
        (open_and_save.save_labels_as_zarr, "OME-Zarr (*.ome.zarr)", "cells.ome.zarr"),
    ],
    ids=["objects", "TIFF", "Zarr"],
)
def test_the_selected_labels_are_saved_where_one_says(
    viewer: Any,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    write: Callable[[], list[str]],
    kind: str,
    written: str,
) -> None:
    viewer.add_labels(np.uint8(disks() > 100), name="cells")
    monkeypatch.setattr(
        QFileDialog, "getSaveFileName", lambda *args: (str(tmp_path / "cells"), kind)
    )
    assert write() == [str(tmp_path / written)]
    assert (tmp_path / written).exists()


def test_an_image_is_not_saved_as_objects(viewer: Any) -> None:
    viewer.add_image(disks())
    assert open_and_save.save_objects_as() == []
    assert told() == "Select the labels layer to save first, in napari's list of layers."


# --- Functions of arrays --------------------------------------------------------------------------


def test_magicgui_offers_layers_for_a_prediction() -> None:
    form = magicgui(commands.predict_pixels)
    assert type(form.image).__name__ == "ComboBox"
    assert form.cell_size.value == 0


def test_an_array_is_predicted_by_the_starting_model() -> None:
    assert commands.predict_pixels(disks()).max() > 3


@pytest.mark.slow
def test_a_model_is_trained_saved_and_used(tmp_path: Path) -> None:
    path = commands.train_model(disks(), strokes_on(disks()), tmp_path / "m.safetensors", steps=2)
    assert commands.predict_pixels(disks(), path).shape == disks().shape
