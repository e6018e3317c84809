"""Make the screenshots and the animation of the README from the real application.

Opens napari with the sample image, paints with the mouse, trains while painting goes on, stops,
predicts, looks for uncertain spots, corrects, measures. Writes ``docs/images/annotate.png``,
``train.png``, ``unsure.png``, ``corrected.png`` and ``loop.gif``. Needs a screen; without one::

    xvfb-run -s "-screen 0 1280x800x24" .venv/bin/python scripts/make_screenshots.py
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import napari
import numpy as np
from PIL import Image
from qtpy.QtCore import QPoint, Qt
from qtpy.QtGui import QImage
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QWidget
from skimage.measure import regionprops

HAND: Any = QTest  # PyQt6 types its functions as methods
OUT = Path(__file__).resolve().parents[1] / "docs" / "images"
PLUGIN = "napari-unet-paint"
WINDOW = (1280, 800)
TRAINING_SECONDS = 35
GIF_SIZE = (960, 600)


class Recorder:
    """Takes pictures of the window while it lives, for an animation.

    Parameters
    ----------
    window : QWidget
        What to take.
    """

    def __init__(self, window: QWidget) -> None:
        self._window = window
        self.pause = 0.3  # seconds between two pictures: longer where little happens
        self._next = 0.0
        self.pictures: list[Image.Image] = []

    def look(self) -> None:
        """Take a picture if it is time to."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + self.pause
        grabbed = self._window.grab().toImage().convertToFormat(QImage.Format.Format_RGB888)
        raw: Any = grabbed.constBits()
        raw.setsize(grabbed.sizeInBytes())
        size = (grabbed.width(), grabbed.height())
        picture = Image.frombytes("RGB", size, bytes(raw), "raw", "RGB", grabbed.bytesPerLine())
        self.pictures.append(picture.resize(GIF_SIZE, Image.Resampling.LANCZOS))

    def save(self, path: Path) -> None:
        """Write the animation, each picture with a palette of its own."""
        plain = Image.Dither.NONE
        frames = [picture.quantize(128, dither=plain) for picture in self.pictures]
        durations = [300] * len(frames)
        durations[-1] = 3000
        frames[0].save(
            path, save_all=True, append_images=frames[1:], duration=durations, loop=0, optimize=True
        )
        print(f"wrote {path}: {len(frames)} pictures, {path.stat().st_size / 1e6:.1f} MB")


RECORDERS: list[Recorder] = []


def live(seconds: float) -> None:
    """Let the window live for a while."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        QApplication.processEvents()
        for recorder in RECORDERS:
            recorder.look()
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


def click(button: QWidget) -> None:
    """Click a button with the mouse, and let the window answer."""
    HAND.mouseClick(button, Qt.MouseButton.LeftButton)
    live(0.4)


def look(viewer: napari.Viewer, y: float, x: float, zoom: float) -> None:
    """Move the camera."""
    viewer.scene.camera.center = (y, x)
    viewer.scene.camera.zoom = zoom
    live(0.3)


def paint(viewer: napari.Viewer, annotate: Any) -> None:
    """Paint two more cells, and background beside them."""
    camera = viewer.scene.camera
    zoom, (whole_y, whole_x) = camera.zoom, camera.center[-2:]
    annotate.annotation_box.layer = viewer.layers["nuclei 2D strokes"]
    look(viewer, 120, 180, 4)
    click(annotate.next_button)
    fill_cell(viewer, 97, 178, 20, 20)
    click(annotate.next_button)
    fill_cell(viewer, 142, 167, 18, 15)
    click(annotate.background_button)
    drag(viewer, [(75, 150), (115, 148), (165, 152), (172, 180)])
    live(1)
    shoot(viewer, "annotate")
    look(viewer, whole_y, whole_x, zoom)


def train(viewer: napari.Viewer, widget: Any, recorder: Recorder) -> None:
    """Train, paint on meanwhile, stop."""
    raise_dock(widget)
    click(widget.train_button)
    recorder.pause = 1.5
    while not any("live" in layer.name for layer in viewer.layers):
        live(0.2)
    live(10)
    recorder.pause = 0.3
    drag(viewer, [(330, 300), (334, 320), (330, 345)])
    recorder.pause = 2.5
    live(15)
    shoot(viewer, "train")
    live(TRAINING_SECONDS)
    recorder.pause = 0.3
    click(widget.stop_button)
    while widget.task.running:
        live(0.1)
    print(widget.shown.status.text(), widget.shown.score.text())


def predict(viewer: napari.Viewer, widget: Any) -> None:
    """Predict all, and go to the most uncertain spot."""
    raise_dock(widget)
    click(widget.predict_button)
    _wait(viewer, widget)
    viewer.layers["nuclei 2D prediction"].contour = 2
    live(1)
    click(widget.spots.show_button)
    _wait(viewer, widget)
    widget.spots.list.setFocus()
    HAND.keyClick(widget.spots.list, Qt.Key.Key_Down)
    live(1)
    shoot(viewer, "unsure")
    viewer.layers["nuclei 2D uncertainty"].visible = False


def correct(viewer: napari.Viewer, widget: Any) -> None:
    """Part the least convex object along its short axis, delete a speck, measure."""
    layer = viewer.layers["nuclei 2D prediction"]
    objects = [o for o in regionprops(layer.data) if o.area > 150]
    worst = min(objects, key=lambda o: o.solidity)
    y, x = worst.centroid
    turn, half = worst.orientation + np.pi / 2, worst.axis_minor_length * 0.8
    dy, dx = half * np.cos(turn), half * np.sin(turn)
    look(viewer, y, x, 6)
    scroll_to(widget.correct)
    click(widget.correct.buttons["split"])
    drag(viewer, [(y - dy, x - dx), (y, x), (y + dy, x + dx)])
    live(1)
    click(widget.correct.buttons["grow"])
    drag(viewer, [worst.coords[len(worst.coords) // 4].tolist()])
    click(widget.correct.buttons["grow"])
    click(widget.measure.measure_button)
    live(1.5)
    shoot(viewer, "corrected")
    live(1)


def scroll_to(panel: QWidget) -> None:
    """Bring the end of a panel into sight."""
    area: Any = panel
    while area is not None and not hasattr(area, "ensureWidgetVisible"):
        area = area.parent()
    area.verticalScrollBar().setValue(area.verticalScrollBar().maximum())
    live(0.2)


def _wait(viewer: napari.Viewer, widget: Any) -> None:
    while widget.task.running:
        live(0.1)


def main() -> None:
    """Drive the application once through the loop."""
    OUT.mkdir(parents=True, exist_ok=True)
    viewer = napari.Viewer(title="napari")
    viewer.window.resize(*WINDOW)
    viewer.open_sample(PLUGIN, "nuclei_2d")
    widgets: dict[str, Any] = {}
    for name in ("Annotate", "Train", "Predict"):
        _, widgets[name] = viewer.window.add_plugin_dock_widget(PLUGIN, name, tabify=True)
    live(1)
    recorder = Recorder(viewer.window._qt_window)
    RECORDERS.append(recorder)
    raise_dock(widgets["Annotate"])
    paint(viewer, widgets["Annotate"])
    train(viewer, widgets["Train"], recorder)
    predict(viewer, widgets["Predict"])
    correct(viewer, widgets["Predict"])
    recorder.save(OUT / "loop.gif")
    viewer.close()


if __name__ == "__main__":
    main()
