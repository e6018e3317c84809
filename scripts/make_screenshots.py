"""Make the screenshots of the README from the real application.

Opens napari with the sample image, paints with the mouse, trains, stops, predicts, and writes
``docs/images/annotate.png``, ``train.png`` and ``predict.png``. Needs a screen; without one::

    xvfb-run -s "-screen 0 1280x800x24" .venv/bin/python scripts/make_screenshots.py
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import napari
import numpy as np
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QWidget

HAND: Any = QTest  # PyQt6 types its functions as methods
OUT = Path(__file__).resolve().parents[1] / "docs" / "images"
PLUGIN = "napari-unet-paint"
WINDOW = (1280, 800)
TRAINING_SECONDS = 75


def live(seconds: float) -> None:
    """Let the window live for a while."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        QApplication.processEvents()
        time.sleep(0.005)


def drag(viewer: napari.Viewer, points: list[tuple[float, float]]) -> None:
    """Drag the mouse with the left button through image positions (YX)."""
    canvas = viewer.window._qt_viewer.canvas.native
    on_canvas = [_canvas_point(viewer, canvas, *point) for point in points]
    button, none = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    HAND.mouseMove(canvas, on_canvas[0])
    HAND.mousePress(canvas, button, none, on_canvas[0])
    for point in on_canvas:
        HAND.mouseMove(canvas, point)
        live(0.02)
    HAND.mouseRelease(canvas, button, none, on_canvas[-1])
    live(0.05)


def _canvas_point(viewer: napari.Viewer, canvas: QWidget, y: float, x: float) -> QPoint:
    camera = viewer.scene.camera
    centre_y, centre_x = camera.center[-2:]
    return QPoint(
        round((x - centre_x) * camera.zoom + canvas.width() / 2),
        round((y - centre_y) * camera.zoom + canvas.height() / 2),
    )


def fill_cell(viewer: napari.Viewer, y: float, x: float, height: float, width: float) -> None:
    """Brush over a cell in a zigzag."""
    rows = np.linspace(y - height / 2, y + height / 2, 6)
    points = []
    for i, row in enumerate(rows):
        half = width / 2 * float(np.sqrt(max(0.0, 1 - ((row - y) / (height / 2 + 2)) ** 2)))
        ends = [(float(row), x - half), (float(row), x + half)]
        points += ends if i % 2 else ends[::-1]
    drag(viewer, points)


def raise_dock(widget: QWidget) -> None:
    """Bring a tab to the front."""
    dock: Any = widget
    while dock is not None and not hasattr(dock, "setFloating"):
        dock = dock.parent()
    if dock is not None:
        dock.show()
        dock.raise_()
    live(0.3)


def shoot(viewer: napari.Viewer, name: str) -> None:
    """Write a picture of the whole window."""
    live(0.5)
    viewer.screenshot(str(OUT / f"{name}.png"), canvas_only=False, flash=False)
    print(f"wrote {OUT / name}.png")


def paint_some(viewer: napari.Viewer, annotate: Any) -> None:
    """Paint three cells and some background by hand, in a new annotation."""
    viewer.layers["nuclei 2D strokes"].visible = False
    annotate.image_box.layer = viewer.layers["nuclei 2D"]
    HAND.mouseClick(annotate.new_button, Qt.MouseButton.LeftButton)
    fill_cell(viewer, 97, 178, 22, 22)
    HAND.mouseClick(annotate.next_button, Qt.MouseButton.LeftButton)
    fill_cell(viewer, 142, 167, 20, 16)
    HAND.mouseClick(annotate.next_button, Qt.MouseButton.LeftButton)
    fill_cell(viewer, 151, 199, 20, 12)
    HAND.mouseClick(annotate.background_button, Qt.MouseButton.LeftButton)
    drag(viewer, [(75, 150), (115, 148), (165, 152), (172, 180), (170, 215)])
    drag(viewer, [(76, 205), (110, 203), (122, 185), (128, 215)])


def main() -> None:
    """Drive the application from the sample image to its prediction."""
    OUT.mkdir(parents=True, exist_ok=True)
    viewer = napari.Viewer(title="napari")
    viewer.window.resize(*WINDOW)
    viewer.open_sample(PLUGIN, "nuclei_2d")
    widgets = {}
    for name in ("Annotate", "Train", "Predict"):
        _, widgets[name] = viewer.window.add_plugin_dock_widget(PLUGIN, name, tabify=True)
    live(1)

    raise_dock(widgets["Annotate"])
    paint_some(viewer, widgets["Annotate"])
    live(1)
    shoot(viewer, "annotate")

    viewer.layers.remove("nuclei 2D annotation")
    viewer.layers["nuclei 2D strokes"].visible = True
    train = widgets["Train"]
    raise_dock(train)
    HAND.mouseClick(train.train_button, Qt.MouseButton.LeftButton)
    live(TRAINING_SECONDS)
    shoot(viewer, "train")
    HAND.mouseClick(train.stop_button, Qt.MouseButton.LeftButton)
    while train.task.running:
        live(0.1)
    print(train.status.text())

    predict = widgets["Predict"]
    raise_dock(predict)
    HAND.mouseClick(predict.predict_button, Qt.MouseButton.LeftButton)
    while predict.task.running:
        live(0.1)
    viewer.layers["nuclei 2D strokes"].visible = False
    viewer.layers["nuclei 2D prediction"].contour = 2
    shoot(viewer, "predict")
    viewer.close()


if __name__ == "__main__":
    main()
