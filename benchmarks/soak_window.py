"""A window to wear out: a viewer with our docks, a mouse, and a look at what the process holds."""

from __future__ import annotations

import faulthandler
import gc
import re
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
from gui import Lateness, live, wait

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

DOCKS = ("Paint & Segment", "Annotate", "Train", "Predict", "Models and projects")
TINY = {"base_channels": 4, "depth": 2, "patch_size": 64, "batch_size": 2}
LONGEST_HANG = 0.5  # seconds
_MEGABYTE = 2**20
_LOOK_SECONDS = 0.05
_LATE_SECONDS = 0.25  # from then on it is looked what the window does


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
    viewers : int
        That are not gone, closed ones among them.
    """

    memory: float
    threads: int
    handles: int
    timers: int
    children: int
    objects: int
    layers: int
    viewers: int

    def as_dict(self) -> dict[str, float]:
        """Return the figures by name."""
        return asdict(self)


@dataclass
class Complaints:
    """What went wrong so far (tracebacks, messages of Qt), and what was told, how often."""

    texts: list[str] = field(default_factory=list)
    of_napari: list[str] = field(default_factory=list)  # errors with none of our code on the way
    told: Counter[str] = field(default_factory=Counter)
    doing: str = ""

    def listen(self) -> None:
        """Hear every exception, every message of Qt and everything that napari shows."""
        from napari.utils.notifications import notification_manager
        from qtpy.QtCore import qInstallMessageHandler

        def of_qt(kind: Any, context: Any, text: str | None) -> None:
            if "propagateSizeHints" not in (text or ""):
                self.complain(f"Qt: {text}")

        sys.excepthook = lambda kind, error, trace: self.raised(error)
        sys.unraisablehook = lambda args: self.raised(args.exc_value)
        threading.excepthook = lambda args: self.raised(args.exc_value)
        qInstallMessageHandler(of_qt)
        notification_manager.notification_ready.connect(self._shown)

    def complain(self, text: str) -> None:
        """Note what went wrong, and meanwhile what was being done."""
        self.texts.append(f"{self.doing}: {text}")
        print(self.texts[-1], flush=True)

    def raised(self, error: BaseException | None) -> None:
        """Note an error that nobody has caught."""
        import traceback

        text = "".join(traceback.format_exception(error)) if error else "?"
        if "napari_unet" in text or "soak" in text:
            self.complain(text)
        else:
            self.of_napari.append(f"{self.doing}: {text}")

    def _shown(self, notification: Any) -> None:
        text = str(notification.message)
        if hasattr(notification, "exception") or "Unexpected " in text:
            self.complain(text)
        shape = re.sub(r"\d[\d,.]*", "N", text)[:200]
        self.told[f"{notification.severity}: {shape}"] += 1


class Hangs(Lateness):
    """Sees how long the window stands still, how much of that it computes, and what.

    A machine that is busy with other things makes it late; processor time is its own. `found` holds
    all of more than `LONGEST_HANG` seconds, with what was seen then, and the share of that in which
    our code was at work: napari alone takes long to add and remove layers.
    """

    def __init__(self) -> None:
        super().__init__()
        self.doing = ""
        self.worst: dict[str, tuple[float, float]] = {}  # seconds of the clock and the processor
        self.found: list[dict[str, Any]] = []
        self._seen: list[str] = []
        self._last = self._worked = 0.0
        self._main = f"thread 0x{threading.get_ident():016x} "
        threading.Thread(target=self._look, daemon=True).start()

    def start(self) -> None:
        """Begin anew."""
        super().start()
        self._worked = time.thread_time()

    def _tick(self) -> None:
        begin, worked = self._last, self._worked
        super()._tick()
        self._worked = time.thread_time()
        seconds, own = self._last - begin, self._worked - worked
        before = self.worst.get(self.doing, (0.0, 0.0))
        self.worst[self.doing] = max(seconds, before[0]), max(own, before[1])
        seen, self._seen = self._seen, []
        if own > LONGEST_HANG:
            ours = sum("napari_unet" in each for each in seen) / max(1, len(seen))
            note = {"doing": self.doing, "seconds": round(seconds, 2), "own": round(own, 2)}
            self.found.append(
                {**note, "ours": round(ours, 2), "seen": Counter(seen).most_common(3)}
            )
            print(f"hang: {self.found[-1]}", flush=True)

    def _look(self) -> None:
        with tempfile.TemporaryFile("w+") as file:
            while True:
                time.sleep(_LOOK_SECONDS)
                if self._last and time.perf_counter() - self._last > _LATE_SECONDS:
                    file.seek(0)
                    file.truncate()
                    # Not by frames: these would keep what Qt must delete in its own thread.
                    faulthandler.dump_traceback(file, all_threads=True)
                    file.seek(0)
                    self._seen.append(self._in_words(file.read()))

    def _in_words(self, traceback: str) -> str:
        """Return the innermost calls of the window's thread, and of our code in it."""
        _, _, own = traceback.lower().partition(self._main)
        lines = [line for line in own.split("\n\n")[0].splitlines() if line.startswith("  file")]
        calls = [(Path(line.split('"')[1]), line.rsplit(" in ", 1)[-1]) for line in lines]
        ours = [call for call in calls if "napari_unet" in call[0].parts][:3]
        told = [*calls[:2], *ours]
        root = "napari_unet/" if ours else ""
        return root + " < ".join(f"{path.name}:{name}" for path, name in told)


class Window:
    """A real viewer with an image of disks, an annotation and some of our docks.

    Parameters
    ----------
    docks : sequence of str
        Which are open at first.
    size : int
        Pixels along each side of the image.
    """

    def __init__(self, docks: Sequence[str], size: int = 256) -> None:
        self.complaints, self.lateness = Complaints(), Hangs()
        self.events = self.trainings = self.predictions = 0
        self.open(docks, *scene(size))
        self.complaints.listen()

    def open(self, docks: Sequence[str], image: NDArray[Any], labels: Any = None) -> None:
        """Open a viewer, and call it the window from then on."""
        import napari

        from napari_unet.widgets.common.session import session_of

        self.viewer: Any = napari.Viewer()
        self.viewer.window.resize(900, 600)
        self.image = self.viewer.add_image(image, name="cells")
        if labels is not None:
            self.viewer.add_labels(labels, name="paint")
        self.session: Any = session_of(self.viewer)
        self.docks: dict[str, tuple[Any, Any]] = {}
        self.session.training.happened.connect(self._count_step)
        self.session.training.started.connect(self._count_training)
        self.session.prediction.started.connect(self._count_prediction)
        for name in docks:
            self.dock(name)
        live(1.0)

    @property
    def train(self) -> Any:
        """The Train widget; opened where it is not."""
        return self.dock("Train")

    @property
    def predict(self) -> Any:
        """The Predict widget; opened where it is not."""
        return self.dock("Predict")

    @property
    def segment(self) -> Any:
        """The Paint & Segment widget; opened where it is not."""
        return self.dock("Paint & Segment")

    def dock(self, name: str) -> Any:
        """Return the widget of one of our docks; open it, as the menu does, where it is not."""
        if name not in self.docks:
            self.docks[name] = self.viewer.window.add_plugin_dock_widget("napari-unet-paint", name)
            if name == "Train":
                self.choose_tiny()
        return self.docks[name][1]

    def close_dock(self, name: str) -> None:
        """Close a dock by its title's button, if it is open."""
        if name in self.docks:
            self.docks.pop(name)[0].title.close_button.click()
            live(0.2)

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
            viewers=sum(type(each).__name__ == "Viewer" for each in known),
        )

    def close(self) -> None:
        """End what runs, and close the window."""
        self.session.stop()
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
