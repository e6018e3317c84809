"""A viewer with an easy image, our widgets docked in it, and hands to use them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from napari.settings import get_plugin_settings
from napari.utils.notifications import notification_manager
from npe2 import PluginManifest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QCheckBox

from napari_unet.widgets.annotate.dock import AnnotateWidget
from napari_unet.widgets.common.preferences import PLUGIN
from napari_unet.widgets.common.session import session_of
from napari_unet.widgets.common.task import BackgroundTask
from napari_unet.widgets.common.visible import camera_of
from napari_unet.widgets.predict.dock import PredictWidget
from napari_unet.widgets.train.dock import TrainWidget

from .leftovers import sweep_up
from .panels import PanelViewer
from .scenes import TINY, disks, strokes_on

__all__ = ["TINY", "disks", "strokes_on"]

if TYPE_CHECKING:
    from napari import Viewer
    from napari.layers import Image, Labels
    from numpy.typing import NDArray
    from pytestqt.qtbot import QtBot

HAND: Any = QTest  # PyQt6 types its functions as methods


@dataclass(frozen=True)
class Desk:
    """A viewer with an image, and the three widgets docked beside it."""

    viewer: Viewer
    image: Image
    annotate: AnnotateWidget
    train: TrainWidget
    predict: PredictWidget
    qtbot: QtBot

    def click(self, button: Any) -> None:
        """Click a button as a mouse does; a disabled one ignores it."""
        place = QPoint()  # the middle
        if isinstance(button, QCheckBox):  # which may be wider than what can be clicked of it
            place = QPoint(button.height() // 2, button.height() // 2)
        HAND.mouseClick(button, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, place)

    def wait_until_idle(self, timeout: int = 60_000) -> None:
        """Let the window live until no work is under way."""
        tasks = session_of(self.viewer).findChildren(BackgroundTask)
        self.qtbot.waitUntil(lambda: not any(t.running for t in tasks), timeout=timeout)

    @property
    def last_notice(self) -> str:
        """What napari told the user last."""
        return str(notification_manager.records[-1].message)

    def train_tiny(self, steps: int = 30) -> None:
        """Choose a tiny network, so that a training takes a second."""
        self.train.form.set_value(self.train.config().changed(**TINY))
        self.train.steps_box.setValue(steps)

    def stroke(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Drag the mouse over the canvas, from one image position (YX) to another."""
        canvas = self.viewer.window._qt_viewer.canvas
        native = canvas.native
        positions = [
            tuple(a + (b - a) * t for a, b in zip(start, end, strict=True))
            for t in np.linspace(0, 1, 9)
        ]
        points = [self._canvas_point(position) for position in positions]
        left = Qt.MouseButton.LeftButton
        HAND.mouseMove(native, points[0])
        HAND.mousePress(native, left, Qt.KeyboardModifier.NoModifier, points[0])
        for point in points[1:]:
            HAND.mouseMove(native, point)
            self.qtbot.wait(5)
        HAND.mouseRelease(native, left, Qt.KeyboardModifier.NoModifier, points[-1])
        self.qtbot.wait(20)

    def _canvas_point(self, position: tuple[float, ...]) -> QPoint:
        camera = camera_of(self.viewer)
        native = self.viewer.window._qt_viewer.canvas.native
        centre_y, centre_x = camera.center[-2:]
        scale_y, scale_x = self.image.scale[-2:]
        x = (position[1] * scale_x - centre_x) * camera.zoom + native.width() / 2
        y = (position[0] * scale_y - centre_y) * camera.zoom + native.height() / 2
        return QPoint(round(x), round(y))


@pytest.fixture(autouse=True, scope="session")
def plugins_found_once() -> Iterator[None]:
    """Each viewer of the tests would read all manifests of the environment again."""
    found = list(PluginManifest.discover())
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(PluginManifest, "discover", lambda paths=(): iter(found))
        yield


@pytest.fixture(autouse=True)
def own_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep models and recovery folders of the tests out of the user's."""
    folder = tmp_path / "user data"
    for module in ("library", "recovery"):
        name = f"napari_unet.project.{module}.user_data_path"
        monkeypatch.setattr(name, lambda *args, **options: folder)
    return folder


@pytest.fixture(autouse=True)
def own_preferences() -> Iterator[Any]:
    """What napari keeps for the plugin, as new again after each test."""
    kept = get_plugin_settings(PLUGIN)
    yield kept
    for group in (kept.computing, kept.files, kept.window):
        group.reset()


@pytest.fixture(autouse=True)
def swept() -> Iterator[None]:
    """Keep what napari leaves of closed viewers from adding up."""
    yield
    sweep_up()


@pytest.fixture
def make_viewer(request: pytest.FixtureRequest, qtbot: QtBot) -> Iterator[Callable[[], Any]]:
    """Give a function that opens napari in tests marked `canvas`, and its docks alone in others."""
    if request.node.get_closest_marker("canvas"):
        make_napari_viewer = request.getfixturevalue("make_napari_viewer")
        yield lambda: make_napari_viewer(show=True)
        return
    viewers: list[PanelViewer] = []

    def make() -> PanelViewer:
        viewers.append(PanelViewer())
        return viewers[-1]

    yield make
    for viewer in viewers:
        viewer.close()


@pytest.fixture
def make_desk(make_viewer: Callable[[], Any], qtbot: QtBot) -> Callable[..., Desk]:
    """Give a function that opens a viewer with an image and docks the widgets."""

    def make(image: NDArray[Any] | None = None, **placement: Any) -> Desk:
        viewer = make_viewer()
        layer = viewer.add_image(disks() if image is None else image, name="disks", **placement)
        annotate = AnnotateWidget(viewer)
        train, predict = TrainWidget(viewer), PredictWidget(viewer)
        for widget, name in ((annotate, "Annotate"), (train, "Train"), (predict, "Predict")):
            viewer.window.add_dock_widget(widget, name=name, tabify=True)
        return Desk(viewer, layer, annotate, train, predict, qtbot)

    return make


@pytest.fixture
def desk(make_desk: Callable[..., Desk]) -> Desk:
    """A viewer with an easy image and the widgets."""
    return make_desk()


@pytest.fixture
def painted(desk: Desk) -> tuple[Desk, Labels]:
    """The same, with paint."""
    labels = desk.viewer.add_labels(strokes_on(disks()), name="paint")
    desk.train_tiny()
    return desk, labels
