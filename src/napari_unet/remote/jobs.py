"""What is done on the other machine: work in threads of a worker, whoever listens.

The work is a generator of events that also gets a folder for its files. It goes on where the
connection is lost; what it tells is kept until it was heard. Everything lies in a folder of the
user who runs the worker: the pieces that were sent, and of each run the files it writes.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import platform
import re
import shutil
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import psutil
import torch
from platformdirs import user_data_path

from napari_unet.errors import NapariUNetError, RemoteError, reason_of
from napari_unet.io.disk import make_folder, replace_file, short_reason
from napari_unet.io.locks import locked
from napari_unet.model.devices import choose_device, describe
from napari_unet.remote.parcels import opened, unpack
from napari_unet.run import Notice, Run
from napari_unet.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence

    from napari_unet.remote.parcels import Recipe

    # Of a folder for its files and what it is told: yields events, returns what JSON can hold
    Work = Callable[[Path, "Told"], Generator[object, None, dict[str, Any]]]

FETCHED = 2**22  # bytes of a file that are fetched at once
_KEPT_SECONDS = 7 * 24 * 3600.0  # of what nobody has asked for
_ANSWER_SECONDS = 0.3  # that a question waits for news
_ENDED, _ORDER, _LETTER = "ended.json", "order.json", "letter-{}.json"
_NAME = re.compile(r"[0-9a-f]{16,64}")


@dataclass(frozen=True)
class News:
    """What a run has told since it was heard last."""

    events: list[Any]
    heard: int
    """To be said the next time: all events before were heard."""
    error: str = ""
    """Why it ended, and the remedy."""
    ended: dict[str, Any] | None = None
    """What it has returned; None while it goes on."""
    files: tuple[tuple[str, int], ...] = ()
    """Names and sizes of what it has left."""


@dataclass
class Told:
    """What a run is told while it goes on; it is read by its thread, and written by others."""

    stop: threading.Event = field(default_factory=threading.Event)
    """It is to end soon."""
    letters: deque[Any] = field(default_factory=deque)
    """Values that were sent since it began, in order; read ones are taken out."""
    glance: Any = None
    """What is of interest at present, if anything."""


async def in_thread(function: Callable[..., Any], *arguments: Any) -> Any:
    """Answer beside dask's own loop, which must not wait."""
    heard_now()
    try:
        return await asyncio.to_thread(function, *arguments)
    except OSError as error:  # which would look like a connection that breaks
        raise RemoteError(f"On {platform.node()}: {short_reason(error)}") from error


# --- What the worker is asked --------------------------------------------------------------------


def introduce() -> dict[str, Any]:
    """Say what this machine is and whether it can train."""
    device = choose_device()
    on_gpu = device.type == "cuda"
    free = torch.cuda.mem_get_info(device)[0] if on_gpu else psutil.virtual_memory().available
    return {
        "name": platform.node(),
        "version": __version__,
        "torch": torch.__version__,
        "device": describe(device),
        "free": int(free),
        "busy": [run for run, job in _jobs.items() if job.alive],
    }


def missing(names: Sequence[str]) -> list[str]:
    """Return which pieces are not here."""
    return [name for name in dict.fromkeys(names) if not _renewed(_piece(name))]


def put(pieces: Mapping[str, bytes]) -> None:
    """Keep pieces that were sent."""
    make_folder(_folder("pieces"))
    for name, sent in pieces.items():
        replace_file(_piece(name), opened(name, sent))


def start(run: str, recipe: Recipe | None) -> Literal["unknown", "there", "begun"]:
    """Begin a run, or take it up where it is; without a recipe only if it is known."""
    folder = _folder(_checked(run))
    with _starting:
        job = _jobs.get(run)
        if job is not None and not job.failed:
            return "there"
        order = folder / _ORDER
        if recipe is None and not order.exists():
            return "unknown"
        make_folder(folder)
        if recipe is not None:
            replace_file(order, json.dumps(recipe).encode())
        _sweep()
        _jobs[run] = _Job(run, folder)
    return "begun"


def letters(run: str) -> int:
    """Return how many letters a run has got."""
    return len(_recipes(_folder(_checked(run))))


def tell(run: str, number: int, recipe: Recipe) -> None:
    """Give a run a letter, of which the pieces are here; one that it has got changes nothing."""
    folder = _folder(_checked(run))
    with _starting:
        if number == letters(run) and folder.exists():
            replace_file(folder / _LETTER.format(number), json.dumps(recipe).encode())
            if run in _jobs:
                _jobs[run].told.letters.append(_value_of(recipe))


def news(run: str, heard: int, stop: bool, glance: Any = None) -> News | None:
    """Return what a run has told; None where it is not known, as after a restart."""
    job = _jobs.get(run)
    if job is None:
        return None
    job.told.glance = glance
    if stop:
        job.told.stop.set()
    return job.news(heard)


def read(run: str, name: str, offset: int) -> bytes:
    """Read a part of a file that a run has left."""
    with (_folder(_checked(run)) / Path(name).name).open("rb") as file:
        file.seek(offset)
        return file.read(FETCHED)


def forget(run: str) -> None:
    """Delete what a run that is over has left."""
    job = _jobs.get(run)
    if job is not None and not job.alive:
        del _jobs[run]
        shutil.rmtree(_folder(_checked(run)), ignore_errors=True)


def heard_now() -> None:
    """Note that somebody has asked."""
    global _heard
    _heard = time.monotonic()


def idle_seconds() -> float:
    """Return for how long nobody has asked, and nothing has run, here."""
    if any(job.alive for job in list(_jobs.values())):
        heard_now()
    return time.monotonic() - _heard


# --- What it does --------------------------------------------------------------------------------

_jobs: dict[str, _Job] = {}
_starting = threading.Lock()
_heard = time.monotonic()
_turn = threading.Lock()  # two trainings on one GPU would take each other's memory


class _Job:
    """One run in a thread of its own."""

    def __init__(self, run: str, folder: Path) -> None:
        self._folder, self.told = folder, Told()
        self.told.letters.extend(map(_value_of, _recipes(folder)))  # a former worker's as well
        self._events: list[Any] = []
        self._dropped = 0  # events that were heard
        self._error, self._ended = "", _ended(folder)
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name=f"run {run}", daemon=True)
        if self._ended is None:
            self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether it goes on."""
        return self._thread.is_alive()

    @property
    def failed(self) -> bool:
        """Whether it is to be tried again."""
        return not self.alive and self._ended is None

    def news(self, heard: int) -> News:
        """Forget what was heard, and return what is new."""
        with self._changed:
            told = self._dropped + len(self._events)
            heard = heard if self._dropped <= heard <= told else self._dropped
            del self._events[: heard - self._dropped]
            self._dropped = heard
            if not self._events and not self._over:
                self._changed.wait(_ANSWER_SECONDS)
            events, over = list(self._events), self._over
        if not over:
            return News(events, heard + len(events))
        files = [(p.name, p.stat().st_size) for p in self._folder.glob("*.safetensors")]
        return News(events, heard + len(events), self._error, self._ended, tuple(files))

    @property
    def _over(self) -> bool:
        return bool(self._error) or self._ended is not None

    def _work(self) -> None:
        error, ended = "", None
        try:
            with locked(self._folder / _ORDER):
                ended = self._run()
                replace_file(self._folder / _ENDED, json.dumps(ended).encode())
        except BaseException as problem:  # told where somebody can do something about it
            error = reason_of(problem)
            if not isinstance(problem, NapariUNetError):
                logging.getLogger(__name__).exception("run %s", self._folder.name)
        with self._changed:
            self._error, self._ended = error, ended
            self._changed.notify_all()

    def _run(self) -> dict[str, Any]:
        recipe = json.loads((self._folder / _ORDER).read_bytes())
        work: Work = _value_of(recipe)
        turn = _turn.acquire(blocking=False)
        if not turn:
            self._tell(Notice("Another run is going on there; this one begins when it is done."))
        while not turn and not self.told.stop.is_set():
            turn = _turn.acquire(timeout=_ANSWER_SECONDS)
        try:
            return Run(work(self._folder, self.told)).finish(self._tell)
        finally:
            if turn:
                _turn.release()

    def _tell(self, event: object) -> None:
        with self._changed:
            self._events.append(event)
            self._changed.notify_all()


def _ended(folder: Path) -> dict[str, Any] | None:
    """Return what a run has returned that was over when the worker was ended."""
    try:
        found: dict[str, Any] = json.loads((folder / _ENDED).read_bytes())
    except FileNotFoundError:
        return None
    return found


def _value_of(recipe: Recipe) -> Any:
    return unpack(recipe, lambda name: _piece(name).read_bytes())


def _recipes(folder: Path) -> list[Recipe]:
    """Read the letters that a run has got."""
    found: list[Recipe] = []
    while (letter := folder / _LETTER.format(len(found))).exists():
        found.append(json.loads(letter.read_bytes()))
    return found


# --- Where things lie ----------------------------------------------------------------------------


def _folder(name: str) -> Path:
    return user_data_path("napari-unet-paint") / "remote" / name


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):  # it becomes the name of a file
        raise ValueError(f"{name!r} is no hash")
    return name


def _piece(name: str) -> Path:
    return _folder("pieces") / _checked(name)


def _renewed(piece: Path) -> bool:
    """Return whether a piece is there, and let it stay so for a while."""
    try:
        os.utime(piece)
    except FileNotFoundError:
        return False
    return True


def _sweep() -> None:
    """Delete runs and pieces that nobody has asked for in a week."""
    old = time.time() - _KEPT_SECONDS
    for piece in _folder("pieces").glob("*"):
        if piece.stat().st_mtime < old:
            piece.unlink(missing_ok=True)
    for order in _folder("").glob(f"*/{_ORDER}"):
        run = order.parent
        if run.name not in _jobs and all(p.stat().st_mtime < old for p in run.iterdir()):
            shutil.rmtree(run, ignore_errors=True)
