"""One prediction at a time writes to a file."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil

from napari_unet.data.disk import why_not_written
from napari_unet.data.whole_files import sweep_unfinished, unfinished_path
from napari_unet.errors import FileProblemError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_ATTEMPTS = 20  # holders that come and go in the very moment in which one looks
_WRITTEN_WITHIN_SECONDS = 10  # a lock that nobody can read yet, where links are not supported


@contextmanager
def locked(target: Path) -> Iterator[None]:
    """Keep other processes from writing the same result.

    The lock of a process that is gone is taken over; of a process on another machine nobody can
    tell.

    Raises
    ------
    FileProblemError
        Another process writes it, or the folder cannot be written.
    """
    lock = target.with_name(f".{target.name}.lock")
    try:
        sweep_unfinished(target.parent)
        content = _take(lock, target)
    except OSError as error:
        raise FileProblemError(
            f"{why_not_written(target, error)} Choose another folder."
        ) from error
    try:
        yield
    finally:
        _give_back(lock, content)


@dataclass(frozen=True)
class _Holder:
    """Who holds a lock; a process of None did not tell yet, or was killed before it could.

    `started` tells it from a later process of the same number, as in containers, where each
    program is process 1; locks of earlier versions lack it.
    """

    host: str
    process: int | None
    started: float | None
    seconds_old: float

    def is_gone(self) -> bool:
        if self.process is None:
            return self.seconds_old > _WRITTEN_WITHIN_SECONDS
        if self.host != socket.gethostname():
            return False
        try:
            started = psutil.Process(self.process).create_time()
        except psutil.AccessDenied:
            return False
        except (psutil.NoSuchProcess, ValueError, OverflowError):
            return True
        return self.started is not None and abs(started - self.started) >= 1.0


def _take(lock: Path, target: Path) -> str:
    """Make a lock and return what it holds, by which `_give_back` knows it."""
    content = json.dumps(
        {
            "host": socket.gethostname(),
            "process": os.getpid(),
            "started": psutil.Process().create_time(),
            "unique": uuid.uuid4().hex,  # two threads of a process are two holders
        }
    )
    whole = unfinished_path(lock)
    try:
        whole.write_text(content, encoding="utf-8")
        for _ in range(_ATTEMPTS):
            if _place(whole, lock, content):
                return content
            _clear_abandoned(lock, target, whole)
    finally:
        whole.unlink(missing_ok=True)
    raise FileProblemError(
        f"{target} is wanted by many processes at once. Choose another name, or delete {lock.name}."
    )


def _place(whole: Path, lock: Path, content: str) -> bool:
    """Give a lock its name, whole from the first moment, unless another has that name."""
    try:
        os.link(whole, lock)
    except FileExistsError:
        return False
    except OSError:  # no links on this file system: it is written in the eyes of others
        try:
            with lock.open("x", encoding="utf-8") as file:
                file.write(content)
        except FileExistsError:
            return False
    return True


def _clear_abandoned(lock: Path, target: Path, now: Path) -> None:
    """Delete the lock of a process that is gone.

    Only who holds the lock of the lock does so, and looks again: else two that found it abandoned
    would delete it one after the other, the second that of the first.

    Raises
    ------
    FileProblemError
        The process is there.
    """
    if not _is_abandoned(lock, target, now):
        return
    claim = lock.with_name(f"{lock.name}.claim")
    content = _take(claim, target)
    try:
        if _is_abandoned(lock, target, now):
            lock.unlink(missing_ok=True)
    finally:
        _give_back(claim, content)


def _is_abandoned(lock: Path, target: Path, now: Path) -> bool:
    """Return whether a lock is to be deleted; False where there is none any more."""
    holder = _holder_of(lock, now)
    if holder is None or holder.is_gone():
        return holder is not None
    who = "another process" if holder.process is None else f"process {holder.process}"
    raise FileProblemError(
        f"{target} is being written by {who} on {holder.host}. Wait for it, choose another "
        f"name, or delete {lock.name} if that process is gone."
    )


def _holder_of(lock: Path, now: Path) -> _Holder | None:
    """Read a lock; `now` is a file that was just written, in the time of the same disk."""
    try:
        seconds_old = now.stat().st_mtime - lock.stat().st_mtime
        about = json.loads(lock.read_text(encoding="utf-8"))
        started = about.get("started")
        return _Holder(
            str(about["host"]),
            int(about["process"]),
            None if started is None else float(started),
            seconds_old,
        )
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        return _Holder(socket.gethostname(), None, None, seconds_old)


def _give_back(lock: Path, content: str) -> None:
    """Delete a lock, unless it was taken away and is that of another now."""
    with contextlib.suppress(OSError, ValueError):
        if lock.read_text(encoding="utf-8") == content:
            lock.unlink(missing_ok=True)
