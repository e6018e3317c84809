"""Work on another machine as if it were here: its events come back, and at the end its files.

A connection that breaks does not end the work: it goes on there, and is taken up as soon as the
machine answers again, by this process or by another one that asks for the same.
"""

from __future__ import annotations

import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

from napari_unet.errors import RemoteError
from napari_unet.remote import jobs
from napari_unet.remote.machines import LOST, connected_to, no_answer
from napari_unet.remote.parcels import compressed, pack
from napari_unet.run import Notice, WayNotice

if TYPE_CHECKING:
    import threading
    from collections.abc import Generator, Sequence
    from pathlib import Path

    from napari_unet.remote.machines import Machine
    from napari_unet.remote.parcels import Recipe

_PATIENCE_SECONDS = 600.0  # with a machine that does not answer
_AT_ONCE = 2  # pieces that are sent at once
_RESTARTS = 3  # of a worker that is killed again and again
_PAUSES = (1.0, 2.0, 5.0, 10.0)  # before it is tried again


class Teller(Protocol):
    """What the work is told meanwhile."""

    @property
    def left(self) -> bool:
        """Whether nobody listens any more; it goes on."""

    def news(self) -> tuple[Sequence[object], object]:
        """Return values to send, each once and in order, and what is of interest at present."""


def until_done(
    on: str,
    trusted: bool,
    run: str,
    work: jobs.Work | None,
    stop: threading.Event,
    folder: Path,
    teller: Teller | None = None,
) -> Generator[Any, None, dict[str, Any]]:
    """Do work on another machine: pass on its events, return what it returns.

    What it has written lies in `folder` then. Without work, that of the run is taken up. Who tells
    it something meanwhile waits for a lost connection as long as it takes, others for ten minutes.
    Raises RemoteError if the machine does not answer.
    """
    heard, lost_at, tries, restarts, name = 0, None, 0, 0, ""
    letters = _Letters(run, teller)
    while True:
        try:
            with connected_to(on, trusted, run) as machine:
                yield WayNotice(f"{machine.name} is back." if name else machine.text)
                name, lost_at, tries = machine.name, None, 0
                restarts += yield from _begin(machine, run, work)
                if restarts > _RESTARTS:
                    raise RemoteError(
                        f"The worker on {name} was ended {_RESTARTS} times, probably out of "
                        "memory. Choose smaller patches or batches; what it has learned is kept "
                        "there a week, and the same command takes it up."
                    )
                letters.arrived = machine.call(jobs.letters, run)
                while (told := letters.exchange(machine, heard, stop)) is not None:
                    heard = told.heard
                    yield from told.events
                    if told.error:
                        raise RemoteError(f"On {name}: {told.error}")
                    if told.ended is not None:
                        _fetch(machine, run, told.files, folder)
                        with suppress(*LOST):  # it is here now
                            machine.call(jobs.forget, run)
                        return dict(told.ended)
        except LOST as error:
            if not name:
                raise no_answer(on, error) from error
            now = time.monotonic()
            if lost_at is None:
                lost_at = now
                yield WayNotice(f"Lost {name}, trying again; the work goes on there.")
            impatient = teller is None and now - lost_at > _PATIENCE_SECONDS
            if impatient or stop.is_set():
                raise RemoteError(
                    f"{name} does not answer any more. The work goes on there, and what it has "
                    "learned is kept a week: the same command takes it up, or Train on the same "
                    "paint."
                ) from error
        stop.wait(_PAUSES[min(tries, len(_PAUSES) - 1)])
        tries += 1


def _begin(machine: Machine, run: str, work: jobs.Work | None) -> Generator[Notice, None, bool]:
    """Begin a run or take it up, and send what is not there; return whether it was begun."""
    found = machine.call(jobs.start, run, None)
    if found != "unknown":
        if found == "there":
            yield Notice(f"The work is taken up that goes on, or went on, on {machine.name}.")
        return bool(found == "begun")
    if work is None:
        raise RemoteError(
            f"Nothing of that training is on {machine.name} any more: it was fetched, or nobody "
            "has asked for it in a week. Train again."
        )
    recipe, sent = _sent(machine, work)
    yield Notice(f"{sent / 1e6:.1f} MB were sent to {machine.name}.")
    return bool(machine.call(jobs.start, run, recipe) == "begun")


def _sent(machine: Machine, value: object) -> tuple[Recipe, int]:
    """Send what is not there of a value; return how it is put together, and the bytes sent."""
    recipe, pieces = pack(value)
    wanted = machine.call(jobs.missing, list(pieces))
    sent = 0
    for at in range(0, len(wanted), _AT_ONCE):
        some = {name: compressed(pieces[name]) for name in wanted[at : at + _AT_ONCE]}
        machine.call(jobs.put, some)
        sent += sum(map(len, some.values()))
    return recipe, sent


class _Letters:
    """What a run is told, kept until it has arrived there."""

    def __init__(self, run: str, teller: Teller | None) -> None:
        self._run, self._teller = run, teller
        self._waiting: deque[object] = deque()
        self._number: int | None = None  # of the first that waits, once it was sent
        self.arrived = 0

    def exchange(self, machine: Machine, heard: int, stop: threading.Event) -> jobs.News | None:
        """Tell what is new here, and return what is new there; None where the run is not known."""
        glance, left = None, False
        if self._teller is not None:
            letters, glance = self._teller.news()
            self._waiting.extend(letters)
            left = self._teller.left
        self._send(machine)
        if left:
            raise RemoteError(f"The training goes on on {machine.name}.")
        told: jobs.News | None = machine.call(jobs.news, self._run, heard, stop.is_set(), glance)
        return told

    def _send(self, machine: Machine) -> None:
        while self._waiting:
            if self._number is not None and self._number < self.arrived:  # before it was lost
                self._waiting.popleft()
                self._number = None
                continue
            recipe, _ = _sent(machine, self._waiting[0])
            self._number = self.arrived
            machine.call(jobs.tell, self._run, self._number, recipe)
            self.arrived += 1


def _fetch(machine: Machine, run: str, files: tuple[tuple[str, int], ...], folder: Path) -> None:
    """Bring back what a run has written; what a broken connection has left is gone on with."""
    for name, size in files:
        with (folder / name).open("ab") as file:
            while file.tell() < size:
                file.write(machine.call(jobs.read, run, name, file.tell()))
