"""A program of its own: napari with our docks, work under way, and its window closed on the way.

``python -m tests.widgets.window_program WORK WAY FOLDER`` prints "closing" and how many seconds
napari.run() took from there; what is printed else, and how the process ends, is for the tests.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import napari
import numpy as np
from napari.layers import Labels
from qtpy.QtCore import Qt, QTimer
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QDialog

from napari_unet.widgets.common.recovery import keeper_of
from napari_unet.widgets.common.session import session_of
from napari_unet.widgets.models.dock import ModelsWidget
from napari_unet.widgets.predict.dock import PredictWidget
from napari_unet.widgets.train.dock import TrainWidget

from .scenes import TINY, disks, strokes_on

HAND: Any = QTest
_MOST_SECONDS = 60


class Program:
    """A viewer, and what is done in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.viewer: Any = napari.Viewer()
        self.image = self.viewer.add_image(disks(480), name="disks")
        self.labels = self.viewer.add_labels(strokes_on(disks(480)), name="paint")
        self.session: Any = session_of(self.viewer)
        self.train, self.predict = TrainWidget(self.viewer), PredictWidget(self.viewer)
        self.models = ModelsWidget(self.viewer)
        for widget, name in ((self.train, "T"), (self.predict, "P"), (self.models, "M")):
            self.viewer.window.add_dock_widget(widget, name=name, tabify=True)
        self.train.form.set_value(self.train.config().changed(**TINY))
        self.train.steps_box.setValue(1_000_000)
        print("recovery", keeper_of(self.viewer).folder, flush=True)

    def click(self, button: Any) -> None:
        """Click a button."""
        HAND.mouseClick(button, Qt.MouseButton.LeftButton)

    def model(self) -> Any:
        """Return a network that takes everything for a cell."""
        from .test_scopes import eager

        return eager()


def wait(until: Callable[[], object]) -> None:
    """Let the window live until something is true."""
    end = time.monotonic() + _MOST_SECONDS
    while not until():
        if time.monotonic() > end:
            raise TimeoutError("It did not happen.")
        QApplication.processEvents()
        time.sleep(0.005)


# --- work that is under way when the window closes ----------------------------------------------


def train_at_once(program: Program) -> None:
    """The training is still importing torch."""
    program.click(program.train.train_button)


def train_for_a_while(program: Program) -> None:
    """Steps are made."""
    program.click(program.train.train_button)
    wait(lambda: program.train.shown.status.text().startswith("Step"))


def write_a_checkpoint(program: Program) -> None:
    """A checkpoint is half written: its file is there under the name of an unfinished one."""
    from napari_unet.training import loop

    writing: list[object] = []
    replace = os.replace

    def slowly(source: Any, target: Any) -> None:
        if str(target).endswith(".safetensors"):
            writing.append(target)
            time.sleep(1.5)
        replace(source, target)

    loop._CHECKPOINT_SECONDS = 0.0
    vars(os)["replace"] = slowly
    program.click(program.train.train_button)
    wait(lambda: len(writing) > 2)  # the first checkpoint, model and state, is whole
    unfinished = list(keeper_of(program.viewer).folder.glob(".*.tmp"))
    print("unfinished", len(unfinished), flush=True)


def predict_a_layer(program: Program) -> None:
    """Some of many tiles are predicted."""
    _predict(program, lambda: program.click(program.predict.predict_button))


def predict_a_file(program: Program) -> None:
    """Some of many tiles are written."""
    _predict(program, lambda: program.predict.starter.start_into(program.folder / "result.zarr"))


def _predict(program: Program, start: Callable[[], object]) -> None:
    from napari_unet.prediction.results import PredictionProgress, TilePredicted

    tiles: list[object] = []
    program.image.data = np.stack([disks(480)] * 400)
    program.session.set_model(program.model(), "eager")
    program.session.prediction.happened.connect(
        lambda e: tiles.append(e) if isinstance(e, (TilePredicted, PredictionProgress)) else None
    )
    start()
    wait(lambda: len(tiles) > 2)


def link_objects(program: Program) -> None:
    """Some of many planes are linked."""
    from napari_unet.run import PartsDone

    planes: list[object] = []
    frames = np.stack([strokes_on(disks(480))] * 600)
    layer = program.viewer.add_labels(frames, name="frames")
    program.viewer.layers.selection.active = layer
    link = program.predict.link
    link.task.happened.connect(lambda e: planes.append(e) if isinstance(e, PartsDone) else None)
    program.click(link.link_button)
    wait(lambda: len(planes) > 1)


def measure_objects(program: Program) -> None:
    """Thousands of objects are being measured."""
    cells = np.arange(64 * 64).reshape(64, 64) + 1
    layer = program.viewer.add_labels(np.kron(cells, np.ones((12, 12), int)), name="cells")
    assert isinstance(layer, Labels)
    program.viewer.layers.selection.active = layer
    program.click(program.predict.measure.measure_button)
    wait(lambda: program.session.measuring.running)


def load_a_model(program: Program) -> None:
    """A model file is being read."""
    program.models.list.setCurrentRow(program.models.list.count() - 1)
    program.click(program.models.load_button)
    wait(lambda: program.session.loading.running)


# --- ways to close ------------------------------------------------------------------------------


def close_viewer(program: Program) -> None:
    """As a script does."""
    program.viewer.close()


def click_the_cross(program: Program) -> None:
    """The window system asks the window to close: napari asks back, for work is under way."""
    QTimer.singleShot(0, _agree)
    program.viewer.window._qt_window.windowHandle().close()


def press_ctrl_w(program: Program) -> None:
    """What napari calls for the key; it asks back."""
    QTimer.singleShot(0, _agree)
    program.viewer.window._qt_window.close(quit_app=False, confirm_need=True)


def _agree(tries: int = 400) -> None:
    """Accept napari's questions as soon as they are there."""
    for widget in QApplication.topLevelWidgets():
        if isinstance(widget, QDialog) and widget.isVisible() and widget.isModal():
            print("agreed", flush=True)
            widget.accept()
    if tries:
        QTimer.singleShot(10, lambda: _agree(tries - 1))


def main() -> None:
    """Do the work, and close the window while it is under way."""
    work, way, folder = sys.argv[1:]
    program = Program(Path(folder))
    moment: list[float] = []

    def close() -> None:
        globals()[work](program)
        print("closing", flush=True)
        moment.append(time.monotonic())
        globals()[way](program)

    QTimer.singleShot(100, close)
    napari.run()
    print("seconds", time.monotonic() - moment[0], flush=True)


if __name__ == "__main__":
    main()
