"""Measure how the window feels while it trains: lateness, first live prediction, stop, close.

Run from the checkout on a screen, or ``xvfb-run -s "-screen 0 1280x800x24" python
benchmarks/gui.py``. The image is 1024x1024; the mouse paints all the time. Prints one line per
figure, with the bound that it is to hold; exits 1 if one does not. ``--size 6000`` takes another
image.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

os.environ["NAPARI_CONFIG"] = ""  # nobody's own settings of napari, such as the window's size

_SIZE = 1024
_OPENING_LIMIT = 0.3
_CLOSING_LIMIT = 5.0
_BEFORE_CANCEL, _PATIENCE = 3.0, 300.0  # seconds; other programs may run beside this one


@dataclass(frozen=True)
class Figure:
    """One measured figure.

    Parameters
    ----------
    what : str
        In words.
    value, limit : float
        Measured, and the most it may be.
    unit : str
        Of both.
    """

    what: str
    value: float
    limit: float
    unit: str

    @property
    def holds(self) -> bool:
        """Whether the limit is kept."""
        return self.value <= self.limit

    def __str__(self) -> str:
        mark = "ok " if self.holds else "NOT"
        return f"{mark} {self.what:58} {self.value:7.2f} {self.unit} (at most {self.limit:g})"


class Lateness:
    """How late a 10 ms timer of the main thread comes."""

    def __init__(self) -> None:
        from qtpy.QtCore import Qt, QTimer

        self.milliseconds: list[float] = []
        self._timer = QTimer()
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.setInterval(10)
        self._timer.timeout.connect(self._tick)

    def start(self) -> None:
        """Begin anew."""
        self.milliseconds.clear()
        self._last = time.perf_counter()
        self._timer.start()

    def stop(self) -> np.ndarray:
        """End, and return the lateness of each tick."""
        self._timer.stop()
        return np.array(self.milliseconds)

    def _tick(self) -> None:
        now = time.perf_counter()
        self.milliseconds.append(max(0.0, (now - self._last) * 1000 - 10))
        self._last = now


def main() -> int:
    """Measure all and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30, help="of painting while it trains")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--size", type=int, default=_SIZE, help="of the image, in pixels")
    options = parser.parse_args()
    if options.child:
        return _close_while_training()
    figures = [*measure(options.seconds, options.size), *measure_closing()]
    for figure in figures:
        print(figure)
    return 0 if all(figure.holds for figure in figures) else 1


def measure(seconds: float, size: int = _SIZE) -> list[Figure]:
    """Paint on an image while a network trains on it, and watch the clock."""
    import napari

    viewer = napari.Viewer()
    try:
        return _measure(viewer, seconds, size)
    finally:  # a training that goes on would keep the process from ending
        viewer.close()


def _measure(viewer: Any, seconds: float, size: int) -> list[Figure]:
    image, labels = _scene(size)
    viewer.add_image(image, name="cells")
    annotation = viewer.add_labels(labels, name="paint")
    live(1.0)
    opening = [_seconds_to_open(viewer, name) for name in ("Annotate", "Train", "Predict")]
    widgets = {name: widget for name, widget, _ in opening}
    torch_at_opening = "torch" in sys.modules
    figures = [
        Figure(f"{name} widget opens", took, _OPENING_LIMIT, "s ") for name, _, took in opening
    ]
    figures.append(Figure("torch imported by opening them", float(torch_at_opening), 0, "  "))
    lateness = Lateness()
    _paint(viewer, annotation, 3.0)
    lateness.start()
    _paint(viewer, annotation, 5.0)
    idle = lateness.stop()
    train: Any = widgets["Train"]
    train.steps_box.setValue(1_000_000)
    lateness.start()
    begin = time.perf_counter()
    train.train_button.click()
    wait(lambda: any("prediction" in layer.name for layer in viewer.layers), _PATIENCE)
    figures.append(Figure("from Train to the first live prediction", _since(begin), 10, "s "))
    wait(lambda: " s per step" in train.shown.facts.text(), _PATIENCE)
    figures.append(Figure("from Train to the first step", _since(begin), 10, "s "))
    late = lateness.stop()  # torch is imported meanwhile
    figures.append(Figure("lateness while the first training begins, p95", _p95(late), 30, "ms"))
    figures.append(Figure("lateness while the first training begins, worst", late.max(), 150, "ms"))
    before = annotation.data.copy()
    lateness.start()
    _paint(viewer, annotation, seconds)
    late = lateness.stop()
    print(f"    {np.count_nonzero(before != annotation.data)} pixels were painted meanwhile")
    print(
        f"    painting without training: p95 {np.percentile(idle, 95):.0f} ms, "
        f"worst {idle.max():.0f} ms"
    )
    figures.append(Figure("lateness while painting and training, p95", _p95(late), 50, "ms"))
    figures.append(Figure("lateness while painting and training, worst", late.max(), 250, "ms"))
    print(f"    {train.shown.status.text()} {train.shown.facts.text()}")
    step = float(train.shown.facts.text().split(" s per step")[0])
    begin = time.perf_counter()
    train.stop_button.click()
    wait(lambda: not train.task.running, _PATIENCE)
    figures.append(Figure("Stop answers", _since(begin), step + 1, "s "))
    figures += _measure_cancel(widgets["Predict"])
    return figures


def _measure_cancel(predict: Any) -> list[Figure]:
    """Cancel a prediction of the whole image in the middle of a tile."""
    predict.predict_button.click()
    wait(lambda: predict.task.running, _PATIENCE)
    live(_BEFORE_CANCEL)
    begin, worked = time.perf_counter(), time.process_time()
    predict.cancel()
    wait(lambda: not predict.task.running, _PATIENCE)
    print(f"    after Cancel {time.process_time() - worked:.2f} s of processor time")
    return [Figure("Cancel of the whole image answers", _since(begin), 1.0, "s ")]


def measure_closing() -> list[Figure]:
    """Close the window of another process while it trains; its exit is timed from the close."""
    process = subprocess.Popen(
        [sys.executable, __file__, "--child"], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("closing"):
            break
    begin = time.perf_counter()
    code = process.wait(timeout=_PATIENCE)
    return [
        Figure("closing during training ends the process", _since(begin), _CLOSING_LIMIT, "s "),
        Figure("its exit code", float(code), 0, "  "),
    ]


def _close_while_training() -> int:
    import napari
    from qtpy.QtCore import QTimer

    viewer = napari.Viewer()
    image, labels = _scene()
    viewer.add_image(image, name="cells")
    viewer.add_labels(labels, name="paint")
    _, train, _ = _seconds_to_open(viewer, "Train")
    train.steps_box.setValue(1_000_000)
    train.train_button.click()
    wait(lambda: train.shown.status.text().startswith("Step"), _PATIENCE)

    def close() -> None:
        print("closing", flush=True)
        viewer.close()

    QTimer.singleShot(2000, close)
    napari.run()
    return 0


def _scene(size: int = _SIZE) -> tuple[np.ndarray, np.ndarray]:
    """Draw noisy disks, 60 of them painted, and stripes of background."""
    rng = np.random.default_rng(0)
    grid = np.abs(np.arange(size) % 32 - 16)
    disks = grid[:, np.newaxis] ** 2 + grid**2 < 100
    image = (disks * 800 + rng.normal(200, 60, disks.shape)).clip(0).astype(np.uint16)
    labels = np.zeros(disks.shape, np.uint16)
    for number in range(60):
        row, column = 32 * rng.integers(0, _SIZE // 32, 2)
        cell = (slice(row, row + 32), slice(column, column + 32))
        labels[cell] = np.where(disks[cell], number + 2, labels[cell])
    for row in range(0, size, 128):
        labels[row : row + 2] = 1
    return image, labels


def _seconds_to_open(viewer: Any, name: str) -> tuple[str, Any, float]:
    begin = time.perf_counter()
    _, widget = viewer.window.add_plugin_dock_widget("napari-unet-paint", name)
    live(0)
    return name, widget, _since(begin)


def _paint(viewer: Any, annotation: Any, seconds: float) -> None:
    """Draw strokes with the mouse, one after the other."""
    from qtpy.QtCore import QPoint, Qt
    from qtpy.QtTest import QTest

    hand: Any = QTest
    canvas = viewer.window._qt_viewer.canvas.native
    viewer.layers.selection.active = annotation
    annotation.mode, annotation.brush_size = "paint", 8
    rng = np.random.default_rng(1)
    end = time.perf_counter() + seconds
    left = Qt.MouseButton.LeftButton
    while time.perf_counter() < end:
        annotation.selected_label = int(rng.integers(2, 60))
        low = np.array([canvas.width(), canvas.height()]) * 0.3
        start = rng.uniform(low, low * 2)
        hand.mousePress(canvas, left, pos=QPoint(*start.astype(int).tolist()))
        for _ in range(10):
            start = start + rng.uniform(-6, 6, 2)
            hand.mouseMove(canvas, QPoint(*start.astype(int).tolist()))
            live(0.016)
        hand.mouseRelease(canvas, left, pos=QPoint(*start.astype(int).tolist()))
        live(0.1)


def live(seconds: float) -> None:
    """Let the window live for a while."""
    from qtpy.QtCore import QEventLoop
    from qtpy.QtWidgets import QApplication

    end = time.perf_counter() + seconds
    while True:
        QApplication.processEvents(QEventLoop.ProcessEventsFlag.AllEvents, 5)
        left = end - time.perf_counter()
        if left <= 0:
            return
        time.sleep(min(0.001, left))


def wait(until: Any, seconds: float) -> None:
    """Let the window live until something is true; TimeoutError if it does not become so."""
    end = time.perf_counter() + seconds
    while not until():
        if time.perf_counter() > end:
            raise TimeoutError("It did not happen.")
        live(0.01)


def _since(begin: float) -> float:
    return time.perf_counter() - begin


def _p95(values: np.ndarray) -> float:
    return float(np.percentile(values, 95))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        import os

        os.environ["XDG_DATA_HOME"] = folder
        sys.exit(main())
