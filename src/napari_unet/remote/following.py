"""Work on another machine as if it were here: its events come back, and at the end its files.

A connection that breaks does not end the work: it goes on there, and is taken up as soon as the
machine answers again, by this process or by another one that asks for the same.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from napari_unet.errors import RemoteError, first_line
from napari_unet.remote import jobs
from napari_unet.remote.machines import LOST, connected_to, remedy
from napari_unet.remote.parcels import compressed, pack
from napari_unet.run import Notice

if TYPE_CHECKING:
    import threading
    from collections.abc import Generator
    from pathlib import Path

    from napari_unet.remote.machines import Machine

_PATIENCE_SECONDS = 600.0  # with a machine that does not answer
_AT_ONCE = 2  # pieces that are sent at once
_RESTARTS = 3  # of a worker that is killed again and again
_PAUSES = (1.0, 2.0, 5.0, 10.0)  # before it is tried again


def until_done(
    on: str,
    trusted: bool,
    run: str,
    work: jobs.Work,
    stop: threading.Event,
    folder: Path,
) -> Generator[Any, None, dict[str, Any]]:
    """Do work on another machine: pass on its events, return what it returns.

    What it has written lies in `folder` then. Raises RemoteError if the machine does not answer.
    """
    heard, lost_at, tries, restarts, name = 0, None, 0, 0, ""
    while True:
        try:
            with connected_to(on, trusted, run) as machine:
                yield Notice(f"{machine.name} is back." if name else machine.text)
                name, lost_at, tries = machine.name, None, 0
                restarts += yield from _begin(machine, run, work)
                if restarts > _RESTARTS:
                    raise RemoteError(
                        f"The worker on {name} was ended {_RESTARTS} times, probably out of "
                        "memory. Choose smaller patches or batches; what it has learned is kept "
                        "there a week, and the same command takes it up."
                    )
                while (told := machine.call(jobs.news, run, heard, stop.is_set())) is not None:
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
                why = first_line(error).rstrip(".")
                raise RemoteError(f"{on} does not answer: {why}. {remedy(on)}") from error
            now = time.monotonic()
            if lost_at is None:
                lost_at = now
                yield Notice(f"Lost {name}, trying again; the work goes on there.")
            if now - lost_at > _PATIENCE_SECONDS or stop.is_set():
                raise RemoteError(
                    f"{name} does not answer any more. The work goes on there, and what it has "
                    "learned is kept a week: the same command takes it up."
                ) from error
        stop.wait(_PAUSES[min(tries, len(_PAUSES) - 1)])
        tries += 1


def _begin(machine: Machine, run: str, work: jobs.Work) -> Generator[Notice, None, bool]:
    """Begin a run or take it up, and send what is not there; return whether it was begun."""
    found = machine.call(jobs.start, run, None)
    if found != "unknown":
        if found == "there":
            yield Notice(f"The work is taken up that goes on, or went on, on {machine.name}.")
        return bool(found == "begun")
    recipe, pieces = pack(work)
    wanted = machine.call(jobs.missing, list(pieces))
    sent = 0
    for at in range(0, len(wanted), _AT_ONCE):
        some = {name: compressed(pieces[name]) for name in wanted[at : at + _AT_ONCE]}
        machine.call(jobs.put, some)
        sent += sum(map(len, some.values()))
    megabytes = sent / 1e6
    yield Notice(f"{megabytes:.1f} MB were sent to {machine.name}.")
    return bool(machine.call(jobs.start, run, recipe) == "begun")


def _fetch(machine: Machine, run: str, files: tuple[tuple[str, int], ...], folder: Path) -> None:
    """Bring back what a run has written; what a broken connection has left is gone on with."""
    for name, size in files:
        with (folder / name).open("ab") as file:
            while file.tell() < size:
                file.write(machine.call(jobs.read, run, name, file.tell()))
