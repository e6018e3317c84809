"""What napari's Preferences say is what docks begin with."""

from __future__ import annotations

import threading
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from npe2 import PluginManifest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QDockWidget, QMainWindow, QWidget

from napari_unet.model.devices import yield_to_foreground
from napari_unet.widgets.annotate.dock import AnnotateWidget
from napari_unet.widgets.common.preferences import Preferences, preferences
from napari_unet.widgets.common.recovery import keeper_of
from napari_unet.widgets.common.session import session_of
from napari_unet.widgets.common.task import Finished, outcome_of
from napari_unet.widgets.models.dock import ModelsWidget
from napari_unet.widgets.predict.dock import PredictWidget
from napari_unet.widgets.train.dock import TrainWidget

from .panels import PanelViewer
from .test_dock import place_of

MANIFEST = PluginManifest.from_file(Path(__file__).parents[2] / "napari.yaml")
LEFT = Qt.DockWidgetArea.LeftDockWidgetArea


def test_the_manifest_offers_each_preference_with_its_default() -> None:
    offered = {
        name: each.default
        for group in MANIFEST.contributions.configurations.values()
        for name, each in group.properties.items()
    }
    assert offered == asdict(Preferences())


def test_what_is_not_changed_is_the_default(own_preferences: Any) -> None:
    assert preferences() == Preferences()


def test_an_older_napari_keeps_none(own_preferences: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    own_preferences.computing.device = "cpu"
    monkeypatch.delattr("napari.settings.get_plugin_settings")
    assert preferences() == Preferences()


def test_a_plugin_that_is_switched_off_has_the_defaults(
    own_preferences: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(name: str) -> None:
        raise KeyError(name)

    monkeypatch.setattr("napari.settings.get_plugin_settings", refuse)
    assert preferences() == Preferences()


def test_trainings_begin_with_device_and_precision(own_preferences: Any, make_viewer: Any) -> None:
    own_preferences.computing.device, own_preferences.computing.precision = "cpu", "float32"
    viewer = make_viewer()
    config = TrainWidget(viewer).config()
    shared = session_of(viewer).settings
    assert (config.device, config.precision) == ("cpu", "float32")
    assert (shared.device, shared.precision) == ("cpu", "float32")


def test_another_preset_keeps_the_precision(own_preferences: Any, make_viewer: Any) -> None:
    own_preferences.computing.precision = "float32"
    dock = TrainWidget(make_viewer())
    dock.preset_box.setCurrentIndex(dock.preset_box.findData("accurate"))
    assert dock.config().precision == "float32"


def test_a_preset_keeps_a_precision_of_its_own_where_none_is_preferred(make_viewer: Any) -> None:
    dock = TrainWidget(make_viewer())
    dock.preset_box.setCurrentIndex(dock.preset_box.findData("paper"))
    assert dock.config().precision == "float32"


def test_predictions_begin_with_device_and_precision(
    own_preferences: Any, make_viewer: Any
) -> None:
    own_preferences.computing.device, own_preferences.computing.precision = "mps", "float32"
    config = PredictWidget(make_viewer()).options.config_of_files()
    assert (config.device, config.precision) == ("mps", "float32")


def test_work_uses_as_many_threads_as_are_preferred(own_preferences: Any) -> None:
    own_preferences.computing.threads, before = 3, torch.get_num_threads()

    def used(stop: object) -> Any:
        yield from ()
        return torch.get_num_threads()

    try:
        events = outcome_of(used, threading.Event())
        with pytest.raises(StopIteration) as ended:
            next(events)
        assert ended.value.value == Finished(3)
    finally:
        yield_to_foreground(before)


def test_paint_is_saved_after_the_preferred_time(own_preferences: Any, make_viewer: Any) -> None:
    own_preferences.files.autosave_seconds = 7
    assert keeper_of(make_viewer())._timer.interval() == 7000


def test_models_are_kept_in_the_preferred_folder(
    own_preferences: Any, make_viewer: Any, tmp_path: Path
) -> None:
    own_preferences.files.model_folder = str(tmp_path / "ours")
    assert ModelsWidget(make_viewer()).library.folder == tmp_path / "ours"


def open_dock(viewer: PanelViewer, kind: Any, qtbot: Any) -> Any:
    dock = kind(viewer)
    viewer.window.add_dock_widget(dock, tabify=False)
    qtbot.wait(10)
    return place_of(dock)


def side_of(place: Any) -> Qt.DockWidgetArea:
    window = place.window()
    assert isinstance(window, QMainWindow)
    return window.dockWidgetArea(place)


def test_docks_open_on_the_preferred_side(
    own_preferences: Any, make_viewer: Any, qtbot: Any
) -> None:
    own_preferences.window.side, viewer = "left", make_viewer()
    first = open_dock(viewer, AnnotateWidget, qtbot)
    second = open_dock(viewer, TrainWidget, qtbot)
    assert side_of(first) == LEFT
    assert first.window().tabifiedDockWidgets(first) == [second]


def test_a_dock_that_is_put_elsewhere_takes_the_next_ones_along(
    own_preferences: Any, make_viewer: Any, qtbot: Any
) -> None:
    viewer = make_viewer()
    first = open_dock(viewer, AnnotateWidget, qtbot)
    first.window().addDockWidget(LEFT, first)
    assert own_preferences.window.side == "left"
    second = open_dock(viewer, TrainWidget, qtbot)
    assert first.window().tabifiedDockWidgets(first) == [second]


def test_on_the_left_docks_stand_beside_those_of_napari(
    own_preferences: Any, make_viewer: Any, qtbot: Any
) -> None:
    own_preferences.window.side, viewer = "left", make_viewer()
    napari_has = [QDockWidget("layer controls"), QDockWidget("layer list")]
    for each in napari_has:
        each.setWidget(QWidget())
        viewer.window._window.addDockWidget(LEFT, each)
    place = open_dock(viewer, TrainWidget, qtbot)
    assert place.height() > napari_has[0].height() + napari_has[1].height()
