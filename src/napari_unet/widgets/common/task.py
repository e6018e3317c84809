"""Long work beside the window: a function or generator in a napari worker, its outcome in a value.

Generator workers of superqt swallow every RuntimeError, and with it torch's out-of-memory and
CUDA errors: the panel would never know that its work has ended. So the generator that runs in the
worker catches everything itself and returns what happened.
"""

from __future__ import annotations

import contextlib
import threading
import traceback
from collections.abc import Generator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from napari.qt.threading import GeneratorWorker, create_worker
from qtpy.QtCore import QObject, QThreadPool, Signal
from qtpy.QtWidgets import QApplication

from napari_unet.errors import NapariUNetError
from napari_unet.run import Run
from napari_unet.widgets.common.importing_torch import import_torch
from napari_unet.widgets.common.preferences import preferences

if TYPE_CHECKING:
    from collections.abc import Callable

    Events = Generator[Any, None, Any]
    Work = Callable[[threading.Event], Any]

# Workers share Qt's pool of as many threads as there are cores: two trainings on two cores would
# keep what is painted from being saved, and a training on one core all else.
_FEWEST_THREADS = 16

_LARGEST_BACKLOG = 256  # events
_LONGEST_WAIT = 0.1  # seconds


@dataclass(frozen=True)
class Finished:
    """The work came to its end, or was stopped; with what it returned."""

    result: Any


@dataclass(frozen=True)
class Failed:
    """The work ended in an error."""

    text: str
    details: str = ""
    """The traceback of an error that is not the user's, else empty."""


@dataclass(frozen=True)
class Cancelled(Failed):
    """The work was cut off because napari is closing: no error is shown."""


Outcome = Finished | Failed


class BackgroundTask(QObject):
    """Runs one function or generator at a time, in a thread of its own.

    It belongs to the session, not to a widget: closing a dock widget does not end the work. napari
    shows `name` where it asks whether to close.
    """

    started: Final = Signal()
    happened: Final = Signal(object)  # an event of the generator
    ended: Final = Signal(object)  # an Outcome

    def __init__(self, name: str, parent: QObject) -> None:
        super().__init__(parent)
        self.setObjectName(name)
        self._stop = threading.Event()
        self._backlog = _Backlog()
        self._running = False

    @property
    def running(self) -> bool:
        """Whether work is under way."""
        return self._running

    @property
    def stopping(self) -> bool:
        """Whether the work was asked to stop."""
        return self._running and self._stop.is_set()

    def start(self, work: Work) -> bool:
        """Start work, unless some is under way: then return False.

        `work` is called in the worker thread with the event that means stop. What it returns is the
        result; what a generator yields are events.
        """
        if self._running:
            return False
        self._running = True
        self._stop = threading.Event()
        self._backlog = _Backlog()
        task = _NamedTask(outcome_of, _Once(work, self._backlog), self._stop)
        task.name = self.objectName()
        _make_room()
        worker = create_worker(
            task, _progress={"desc": self.objectName()}, _worker_class=_QuietWorker
        )
        worker.yielded.connect(self._tell)
        worker.returned.connect(self._end)
        worker.aborted.connect(self._on_aborted)
        self.started.emit()
        worker.start()
        return True

    def stop(self) -> None:
        """Ask the work to end after its current step."""
        self._stop.set()

    def _tell(self, event: object) -> None:
        try:
            _emit(self.happened, event)
        finally:
            self._backlog.take()

    def _on_aborted(self) -> None:
        self._end(Cancelled("The work was cancelled because napari is closing."))

    def _end(self, outcome: Outcome) -> None:
        self._running = False
        _emit(self.ended, outcome)


def _emit(signal: Any, value: object) -> None:
    """Emit a signal, and keep widgets alive meanwhile.

    A dock that was closed listens until Python collects it as garbage. If that happens while a
    slot of one of its parts is at work, Qt deletes the part under it.
    """
    kept = QApplication.topLevelWidgets()
    signal.emit(value)
    kept.clear()


def task_named(owner: QObject, name: str) -> BackgroundTask:
    """Return the task of a name of a session; the same one for all its docks."""
    for task in owner.findChildren(BackgroundTask):
        if task.objectName() == name:
            return task
    return BackgroundTask(name, owner)


class _NamedTask(partial[Any]):
    """A function call whose text is a name for people: napari shows it before it closes."""

    name: str

    def __repr__(self) -> str:
        return self.name


class _Once:
    """Works once, and keeps nothing of the work: napari keeps its workers for ever."""

    def __init__(self, work: Work, backlog: _Backlog) -> None:
        self._work, self._backlog = [work], backlog

    def __call__(self, stop: threading.Event) -> Events:
        result = self._work.pop()(stop)
        if isinstance(result, Generator):
            result = yield from _paced(result, self._backlog, stop)
        return result


class _Backlog:
    """Counts the events that the window has not taken yet."""

    def __init__(self) -> None:
        self._size = 0
        self._changed = threading.Condition()

    def wait(self) -> None:
        """Wait for room, but not for ever: work goes on slowly while the window stands still."""
        with self._changed:
            self._changed.wait_for(lambda: self._size < _LARGEST_BACKLOG, _LONGEST_WAIT)

    def add(self) -> None:
        """Count one more."""
        with self._changed:
            self._size += 1

    def take(self) -> None:
        """Count one less."""
        with self._changed:
            self._size -= 1
            self._changed.notify()


def _paced(events: Events, backlog: _Backlog, stop: threading.Event) -> Events:
    """Yield events hardly faster than the window takes them, or they would fill the memory."""
    with contextlib.closing(events):
        run = Run(events)
        for event in run:
            if not stop.is_set():
                backlog.wait()
            backlog.add()
            yield event
    return run.result


class _QuietWorker(GeneratorWorker):  # type: ignore[misc]
    """A worker that leaves the hook for warnings alone.

    The one of superqt puts a hook of its own in place while it works. The hook belongs to the
    process, so workers that overlap put it back in the wrong order, and one that has long ended
    gets every warning from then on. napari's own hook shows them from any thread.
    """

    is_running = False  # in place of superqt's property, whose flag is private

    def run(self) -> None:
        """Work in this thread, and emit how it ended."""
        # Work that yields seldom may outlast the application: then Qt has deleted the signals, and
        # an error in this thread would abort the process.
        with contextlib.suppress(RuntimeError):
            self.started.emit()
            self.is_running = True
            result = self.work()
            self.is_running = False
            if isinstance(result, Outcome):  # else it was aborted, which has been emitted
                self.returned.emit(result)
            self.finished.emit()
            # The signal at which superqt lets go of a worker has no public name. Without it ended
            # workers are kept, which hold nothing of their work, and all else goes on.
            let_go = getattr(self, "_finished", None)
            if let_go is not None:
                let_go.emit(self)


def _make_room() -> None:
    pool = QThreadPool.globalInstance()
    if pool is not None and pool.maxThreadCount() < _FEWEST_THREADS:
        pool.setMaxThreadCount(_FEWEST_THREADS)


def outcome_of(
    make_events: Callable[[threading.Event], Events], stop: threading.Event
) -> Generator[Any, None, Outcome]:
    """Run a generator of events to its end, and turn any error into an outcome."""
    try:
        import_torch()
        from napari_unet.model.devices import yield_to_foreground

        yield_to_foreground(preferences().threads)
        result = yield from make_events(stop)
    except NapariUNetError as error:
        return Failed(str(error))
    except Exception as error:  # carried on, with its traceback
        text = f"Unexpected {type(error).__name__}: {error}"
        return Failed(text, traceback.format_exc())
    return Finished(result)
