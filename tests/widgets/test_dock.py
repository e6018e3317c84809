"""Our docks share one area as tabs, however the user opens them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QDockWidget, QMainWindow, QWidget

from napari_unet.widgets.annotate.dock import AnnotateWidget
from napari_unet.widgets.predict.dock import PredictWidget
from napari_unet.widgets.train.dock import TrainWidget

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytestqt.qtbot import QtBot


def place_of(dock: QWidget) -> QDockWidget:
    parent = dock.parentWidget()
    while not isinstance(parent, QDockWidget):
        assert parent is not None
        parent = parent.parentWidget()
    return parent


@pytest.fixture
def opened(make_viewer: Callable[[], Any], qtbot: QtBot) -> list[QDockWidget]:
    """Three docks, opened one after the other as napari opens them: each below the last one."""
    viewer = make_viewer()
    docks = [AnnotateWidget(viewer), TrainWidget(viewer), PredictWidget(viewer)]
    for dock, name in zip(docks, ("Annotate", "Train", "Predict"), strict=True):
        viewer.window.add_dock_widget(dock, name=f"{name} (U-Net Paint)", tabify=False)
        qtbot.wait(10)
    return [place_of(dock) for dock in docks]


def test_docks_become_tabs_of_one_area_with_the_newest_in_front(opened: list[QDockWidget]) -> None:
    window = opened[0].window()
    assert isinstance(window, QMainWindow)
    assert set(window.tabifiedDockWidgets(opened[0])) == set(opened[1:])
    assert not opened[-1].visibleRegion().isEmpty()
    assert opened[0].visibleRegion().isEmpty()


def test_a_tab_is_called_as_its_dock_without_the_plugin(opened: list[QDockWidget]) -> None:
    assert [place.windowTitle() for place in opened] == ["Annotate", "Train", "Predict"]


def test_a_dock_that_the_user_puts_elsewhere_stays_there(
    opened: list[QDockWidget], qtbot: QtBot
) -> None:
    window, moved = opened[0].window(), opened[1]
    assert isinstance(window, QMainWindow)
    window.addDockWidget(Qt.DockWidgetArea.LeftDockWidgetArea, moved)
    moved.hide()
    moved.show()
    qtbot.wait(10)
    assert window.dockWidgetArea(moved) == Qt.DockWidgetArea.LeftDockWidgetArea
    assert window.tabifiedDockWidgets(moved) == []
