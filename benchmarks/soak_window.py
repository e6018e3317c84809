"""A window to wear out: a viewer with our docks, a mouse, and a look at what the process holds."""

from __future__ import annotations

import gc
import sys
import threading
import time
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import psutil
from gui import Lateness, live, wait

DOCKS = ("Annotate", "Train", "Predict")
TINY = {"base_channels": 4, "depth": 2, "patch_size": 64, "batch_size": 2}
_MEGABYTE = 2**20
# What a hand that clicks at random is told, and what is no fault.
EXPECTED = (
    "Training needs an image and a labels layer",
    "Paint at least two classes",
    "Nothing is painted on",
    "There is no object under the mouse",
    "There is no background beside this object",
    "Drag from one object to another one",
    "The line must cross the object",
    "There is no prediction to correct yet",
    "This is still being predicted",
    "The prediction is incomplete",
    "corrected pixels are in the annotation now",
    "Nothing was corrected since",
    "There is no room in the annotation",
    "Open an image",
    "The training begins with random weights",
)


@dataclass(frozen=True)
class Held:
    """What the process holds while no work is under way.

    Parameters
    ----------
    memory : float
        Resident memory in MB, after a garbage collection.
    threads, handles : int
        Threads of the process, open files and sockets.
    timers, children, objects : int
        Timers of Qt, objects that the session owns, objects that Python tracks.
    layers : int
        In the viewer.
    """

    memory: float
    threads: int
    handles: int
    timers: int
    children: int
    objects: int
    layers: int

    def as_dict(self) -> dict[str, float]:
        """Return the figures by name."""
        return asdict(self)


@dataclass
class Complaints:
    """Everything that went wrong so far: tracebacks, messages of Qt, errors shown."""

    texts: list[str] = field(default_factory=list)
    told: int = 0

    def listen(self) -> None:
        """Hear every exception, every message of Qt and everything that napari shows."""
        from napari.utils.notifications import notification_manager
        from qtpy.QtCore import qInstallMessageHandler

        def of_qt(kind: Any, context: Any, text: str | None) -> None:
            if "propagateSizeHints" not in (text or ""):
                self.texts.append(f"Qt: {text}")

        sys.excepthook = lambda kind, error, trace: self._raised(error)
        threading.excepthook = lambda args: self._raised(args.exc_value)
        qInstallMessageHandler(of_qt)
        notification_manager.notification_ready.connect(self._shown)

    def _raised(self, error: BaseException | None) -> None:
        import traceback

        self.texts.append("".join(traceback.format_exception(error)) if error else "?")

    def _shown(self, notification: Any) -> None:
        text = str(notification.message)
        self.told += 1
        if str(notification.severity) == "error" or not any(each in text for each in EXPECTED):
            self.texts.append(f"{notification.severity}: {text}")


class Window:
    """A real viewer with an image of disks, an annotation and the three docks.

    Parameters
    ----------
    size : int
        Pixels along each side of the image.
    """

    def __init__(self, size: int = 256) -> None:
        import napari

        from napari_unet.widgets.common.session import session_of

        self.complaints = Complaints()
        self.viewer: Any = napari.Viewer()
        self.complaints.listen()
        image, labels = scene(size)
        self.image = self.viewer.add_image(image, name="cells")
        self.viewer.add_labels(labels, name="paint")
        self.session: Any = session_of(self.viewer)
        self.docks: dict[str, tuple[Any, Any]] = {}
        self.lateness = Lateness()
        self.events = self.trainings = self.predictions = 0
        self.session.training.happened.connect(self._count_step)
        self.session.training.started.connect(self._count_training)
        self.session.prediction.started.connect(self._count_prediction)
        for name in DOCKS:
            self.open_dock(name)
        live(1.0)

    @property
    def train(self) -> Any:
        """The Train widget that is open now."""
        return self.docks["Train"][1]

    @property
    def predict(self) -> Any:
        """The Predict widget that is open now."""
        return self.docks["Predict"][1]

    @property
    def annotate(self) -> Any:
        """The Annotate widget that is open now."""
        return self.docks["Annotate"][1]

    def open_dock(self, name: str) -> None:
        """Open one of our docks, as the menu does."""
        self.docks[name] = self.viewer.window.add_plugin_dock_widget("napari-unet-paint", name)
        if name == "Train":
            self.choose_tiny()

    def reopen_dock(self, name: str) -> None:
        """Close a dock by its title's button, and open it again."""
        self.docks[name][0].title.close_button.click()
        live(0.2)
        self.open_dock(name)

    def choose_tiny(self) -> None:
        """Choose a tiny network, so that a step takes little."""
        self.train.form.set_value(self.train.config().changed(**TINY))
        # napari keeps every notification that it ever showed; this one is not to be counted
        self.train.start_box.setCurrentIndex(self.train.start_box.findData("random"))
        self.train.steps_box.setValue(1_000_000)

    def click(self, button: Any, times: int = 1) -> None:
        """Click a button as a mouse does; a disabled one ignores it."""
        from qtpy.QtCore import Qt
        from qtpy.QtTest import QTest

        hand: Any = QTest
        for _ in range(times):
            hand.mouseClick(button, Qt.MouseButton.LeftButton)

    def drag(self, rng: np.random.Generator, moves: int = 8) -> None:
        """Drag the mouse over the middle of the canvas, along a random way."""
        from qtpy.QtCore import QPoint, Qt
        from qtpy.QtTest import QTest

        hand: Any = QTest
        canvas = self.viewer.window._qt_viewer.canvas.native
        size = np.array([canvas.width(), canvas.height()])
        at = rng.uniform(size * 0.3, size * 0.7)
        button = Qt.MouseButton.LeftButton
        hand.mousePress(canvas, button, pos=QPoint(*at.astype(int).tolist()))
        for _ in range(moves):
            at = at + rng.uniform(-12, 12, 2)
            hand.mouseMove(canvas, QPoint(*at.astype(int).tolist()))
            live(0.016)
        hand.mouseRelease(canvas, button, pos=QPoint(*at.astype(int).tolist()))
        live(0.05)

    def idle(self) -> bool:
        """Return whether no work is under way."""
        from napari_unet.widgets.common.task import BackgroundTask

        return not any(task.running for task in self.session.findChildren(BackgroundTask))

    def held(self) -> Held:
        """Wait until no work is under way, and count what is held then."""
        from qtpy.QtCore import QObject, QThreadPool, QTimer

        wait(self.idle, 120)
        live(0.5)
        pool = QThreadPool.globalInstance()
        if pool is not None:
            pool.waitForDone(10_000)  # and end its idle threads
        gc.collect()
        gc.collect()
        known = gc.get_objects()
        timers = [each for each in known if issubclass(type(each), QTimer)]
        return Held(
            memory=round(memory(), 1),
            threads=psutil.Process().num_threads(),
            handles=handles(),
            timers=len(timers),
            children=len(self.session.findChildren(QObject)),
            objects=len(known),
            layers=len(self.viewer.layers),
        )

    def close(self) -> None:
        """End what runs, and close the window."""
        for task in (self.session.training, self.session.prediction):
            task.stop()
        wait(self.idle, 120)
        self.viewer.close()
        live(0.5)

    def _count_step(self, event: object) -> None:
        self.events += type(event).__name__ == "StepDone"

    def _count_training(self) -> None:
        self.trainings += 1

    def _count_prediction(self) -> None:
        self.predictions += 1


def memory() -> float:
    """Return the resident memory of this process, in MB."""
    return float(psutil.Process().memory_info().rss / _MEGABYTE)


def handles() -> int:
    """Return how many files, pipes and sockets this process has open."""
    process = psutil.Process()
    count = getattr(process, "num_fds", None) or process.num_handles
    return int(count())


def scene(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw noisy disks, some of them painted, and stripes of background."""
    rng = np.random.default_rng(0)
    grid = np.indices((size, size)) % 32 - 16
    disks = (grid**2).sum(axis=0) < 100
    image = (disks * 800 + rng.normal(200, 60, disks.shape)).clip(0).astype(np.uint16)
    labels = np.zeros(disks.shape, np.uint16)
    for number in range(12):
        row, column = 32 * rng.integers(0, size // 32, 2)
        cell = (slice(row, row + 32), slice(column, column + 32))
        labels[cell] = np.where(disks[cell], number + 2, labels[cell])
    for row in range(0, size, 64):
        labels[row : row + 2] = 1
    return image, labels


def since(begin: float) -> float:
    """Return the seconds since a moment of the performance counter."""
    return time.perf_counter() - begin
