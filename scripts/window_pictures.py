"""A hand and a camera for the real application: what the scripts that make pictures share.

Pictures are taken in processes of their own, one per scene, so that a scene neither meets layers
nor settings of another one, nor annotations of an earlier session. The screen has room for a window
at twice the size::

    xvfb-run -a -s "-screen 0 2560x1600x24" python scripts/make_screenshots.py themes
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import napari
    from qtpy.QtCore import QPoint
    from qtpy.QtWidgets import QWidget

    Scene: TypeAlias = Callable[[], None]

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "docs" / "images"
PLUGIN = "napari-unet-paint"
WINDOW = (1280, 800)
LARGEST = 250_000  # bytes of a picture
_COLOURS = (256, 192, 128)
_PYTHON = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
WATCHERS: list[Callable[[], None]] = []  # called while the window lives


def run_scenes(scenes: Mapping[str, Scene], environments: Mapping[str, dict[str, str]]) -> None:
    """Run the scenes named on the command line, or all; each in a process of its own.

    Parameters
    ----------
    scenes : mapping
        From name to what takes the pictures.
    environments : mapping
        From name to variables that its process has besides.
    """
    parser = argparse.ArgumentParser(description="Take pictures of the real application.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(scenes)}")
    parser.add_argument("--here", choices=tuple(scenes), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        scenes[options.here]()
        return
    unknown = sorted(set(options.names) - set(scenes))
    if unknown:
        parser.error(f"there is no scene {unknown[0]!r}; choose {', '.join(scenes)}")
    OUT.mkdir(parents=True, exist_ok=True)
    for name in options.names or scenes:
        print(f"{name}:", flush=True)
        with tempfile.TemporaryDirectory() as home:
            own = {"XDG_DATA_HOME": home, "XDG_CONFIG_HOME": home, "QT_SCALE_FACTOR": "1"}
            subprocess.run(
                [sys.executable, sys.argv[0], "--here", name],
                check=True,
                env={**os.environ, **own, **environments.get(name, {})},
            )


def open_viewer(theme: str = "dark") -> napari.Viewer:
    """Open a window in a theme, at the size of the pictures."""
    import napari

    viewer = napari.Viewer(title="napari")
    viewer.theme = theme
    viewer.window.resize(*WINDOW)
    return viewer


def open_docks(viewer: napari.Viewer) -> tuple[Any, Any, Any]:
    """Open Annotate, Train and Predict as tabs."""
    docks = tuple(
        viewer.window.add_plugin_dock_widget(PLUGIN, name, tabify=True)[1]
        for name in ("Annotate", "Train", "Predict")
    )
    live(1)
    annotate, training, predict = docks
    return annotate, training, predict


def live(seconds: float) -> None:
    """Let the window live for a while."""
    from qtpy.QtWidgets import QApplication

    end = time.monotonic() + seconds
    while time.monotonic() < end:
        QApplication.processEvents()
        for watch in WATCHERS:
            watch()
        time.sleep(0.005)


def wait_for(task: Any) -> None:
    """Let the window live until background work has ended, and a moment longer."""
    live(0.2)
    while task.running:
        live(0.1)
    live(0.3)


def drag(viewer: napari.Viewer, points: list[tuple[float, float]]) -> None:
    """Drag the mouse with the left button through positions in the plane on screen (YX)."""
    from qtpy.QtCore import Qt
    from qtpy.QtTest import QTest

    hand: Any = QTest  # PyQt6 types its functions as methods
    canvas = viewer.window._qt_viewer.canvas.native
    on_canvas = [_canvas_point(viewer, canvas, *point) for point in points]
    button, none = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    hand.mouseMove(canvas, on_canvas[0])
    hand.mousePress(canvas, button, none, on_canvas[0])
    for point in on_canvas:
        hand.mouseMove(canvas, point)
        live(0.02)
    hand.mouseRelease(canvas, button, none, on_canvas[-1])
    live(0.05)


def outline_of(mask: Any) -> list[tuple[float, float]]:
    """Return pixels along the edge of a mask, in order."""
    from skimage.measure import find_contours

    edge = max(find_contours(np.pad(mask, 1).astype(float), 0.5), key=len) - 1
    edge = edge.clip(1, np.array(mask.shape) - 2)
    return [(float(y), float(x)) for y, x in edge[::5]]


def go_round(viewer: napari.Viewer, points: list[tuple[float, float]], back: bool = True) -> None:
    """Right-click, and go round a cell without a button: back at its begin, napari 0.9 fills it."""
    from qtpy.QtCore import Qt
    from qtpy.QtTest import QTest

    hand: Any = QTest
    canvas = viewer.window._qt_viewer.canvas.native
    on_canvas = [_canvas_point(viewer, canvas, *point) for point in points]
    on_canvas += on_canvas[:1] if back else []
    hand.mouseMove(canvas, on_canvas[0])
    hand.mouseClick(
        canvas, Qt.MouseButton.RightButton, Qt.KeyboardModifier.NoModifier, on_canvas[0]
    )
    for point in on_canvas:
        hand.mouseMove(canvas, point)
        live(0.02)
    live(0.3)


def seen(viewer: napari.Viewer, box: tuple[int, int, int, int]) -> bool:
    """Return whether a box (top, left, bottom, right) lies on the canvas as a whole."""
    canvas = viewer.window._qt_viewer.canvas.native
    corners = [_canvas_point(viewer, canvas, y, x) for y, x in (box[:2], box[2:])]
    return all(canvas.rect().adjusted(8, 8, -8, -8).contains(corner) for corner in corners)


def _canvas_point(viewer: napari.Viewer, canvas: QWidget, y: float, x: float) -> QPoint:
    from qtpy.QtCore import QPoint

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


def click(button: QWidget) -> None:
    """Click a button with the mouse, and let the window answer."""
    from qtpy.QtCore import Qt
    from qtpy.QtTest import QTest

    hand: Any = QTest
    hand.mouseClick(button, Qt.MouseButton.LeftButton)
    live(0.4)


def look_at(viewer: napari.Viewer, y: float, x: float, zoom: float) -> None:
    """Move the camera."""
    viewer.scene.camera.center = (y, x)
    viewer.scene.camera.zoom = zoom
    live(0.3)


def raise_dock(widget: QWidget) -> None:
    """Bring a tab to the front."""
    dock: Any = widget
    while dock is not None and not hasattr(dock, "setFloating"):
        dock = dock.parent()
    if dock is not None:
        dock.show()
        dock.raise_()
    live(0.3)


def scroll_to(panel: QWidget) -> None:
    """Bring a panel of a dock into sight, with its title at the top where there is room."""
    from qtpy.QtCore import QPoint

    area: Any = panel
    while area is not None and not hasattr(area, "ensureWidgetVisible"):
        area = area.parent()
    live(0.2)
    top = panel.mapTo(area.widget(), QPoint(0, 0)).y()
    area.verticalScrollBar().setValue(max(0, top - 50))
    live(0.2)


def shoot(viewer: napari.Viewer, name: str) -> None:
    """Write a picture of the whole window."""
    live(0.6)
    write_picture(viewer.screenshot(canvas_only=False, flash=False), name)


def shoot_canvas(viewer: napari.Viewer, name: str) -> None:
    """Write a picture of the canvas."""
    live(0.6)
    write_picture(viewer.screenshot(canvas_only=True, flash=False), name)


def picture_of(widget: QWidget) -> Any:
    """Return what a widget shows, ``YXC`` uint8, at the screen's own resolution."""
    from qtpy.QtGui import QImage

    image = widget.grab().toImage().convertToFormat(QImage.Format.Format_RGB888)
    raw: Any = image.constBits()
    raw.setsize(image.sizeInBytes())
    lines = np.frombuffer(bytes(raw), np.uint8).reshape(image.height(), image.bytesPerLine())
    return lines[:, : 3 * image.width()].reshape(image.height(), image.width(), 3)


def write_picture(pixels: Any, name: str) -> None:
    """Write a picture in as many colours as keep it small."""
    path = OUT / f"{name}.png"
    taken = Image.fromarray(np.ascontiguousarray(pixels[..., :3]))
    for colours in _COLOURS:
        plain = taken.quantize(colours, dither=Image.Dither.NONE)
        plain.save(path, optimize=True)
        if path.stat().st_size <= LARGEST:
            break
    print(f"wrote {path.relative_to(ROOT)}: {path.stat().st_size / 1e3:.0f} kB", flush=True)


def run_page(page: str, blocks: int, folder: Path) -> dict[str, Any]:
    """Run the first Python blocks of a page in a folder, as its reader does.

    Parameters
    ----------
    page : str
        Path below ``docs/``.
    blocks : int
        How many.
    folder : Path
        Where its files are written.

    Returns
    -------
    dict
        The names that the blocks have made.
    """
    found = _PYTHON.findall((ROOT / "docs" / page).read_text(encoding="utf-8"))[:blocks]
    names: dict[str, Any] = {}
    before = Path.cwd()
    os.chdir(folder)
    try:
        for block in found:
            exec(compile(block, page, "exec"), names)
    finally:
        os.chdir(before)
    return names
