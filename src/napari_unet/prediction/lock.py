"""One prediction at a time writes to a file."""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple

import psutil
from filelock import SoftFileLock, Timeout

from napari_unet.errors import FileProblemError
from napari_unet.io.disk import sweep_unfinished, why_not_written

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_PATIENCE_SECONDS = 0.5  # to take over the lock of a process that is gone; never for one that works
_WRITTEN_WITHIN_SECONDS = 10  # after that no process is about to write who holds a lock


@contextmanager
def locked(target: Path) -> Iterator[None]:
    """Keep other processes from writing the same result.

    A lock is a file that exists, not one that the system locks: clusters share file systems on
    which the latter holds on one machine only, or not at all. The lock of a process of this
    machine that is gone is taken over; of a process on another machine that is not known. filelock
    takes over by exchanging two names; where the file system refuses that, as NFS and SMB do, the
    lock of a process whose number is no longer in use is deleted here. A lock that is neither
    filelock's nor empty is left to be deleted by hand.

    Raises FileProblemError if another process writes it, or the folder cannot be written.
    """
    path = target.with_name(f".{target.name}.lock")
    # Whatever thread collects an abandoned generator gives the lock back.
    lock = SoftFileLock(path, thread_local=False)
    try:
        target.parent.stat()  # filelock would make a folder whose name has a typing error
        sweep_unfinished(target.parent)
        _clear_unwritten(path)
        _acquire(lock, path)
    except Timeout:
        raise FileProblemError(_refusal(target, path)) from None
    except OSError as error:
        raise FileProblemError(
            f"{why_not_written(target, error)} Choose another folder."
        ) from error
    try:
        yield
    finally:
        with suppress(OSError):  # the result is there all the same
            lock.release()


class _Found(NamedTuple):
    """A lock as it was found: which file, and what it says."""

    inode: int
    changed: int
    content: str


def _acquire(lock: SoftFileLock, path: Path) -> None:
    before = _found(path)
    try:
        lock.acquire(timeout=_PATIENCE_SECONDS, poll_interval=_PATIENCE_SECONDS / 10)
    except Timeout:
        # The same file through all tries: if its process is gone, filelock cannot take it over.
        if before is None or not _clear_dead(path, before):
            raise
        lock.acquire(timeout=_PATIENCE_SECONDS, poll_interval=_PATIENCE_SECONDS / 10)
    # Else another machine may see it empty for as long as this one keeps what it wrote to itself.
    with suppress(OSError), path.open("r+b") as file:
        os.fsync(file.fileno())


def _refusal(target: Path, path: Path) -> str:
    found = _found(path)
    holder = _holder_in(found.content) if found else None
    if found and found.content and holder is None:
        return (
            f"{target} is being written, or was, by a process that {path.name} does not name: "
            "another version of this program may have made it, or a crash cut it off. Wait, choose "
            f"another name, or delete {path.name} by hand if no process writes there."
        )
    process, host = holder or (None, "")
    # what filelock appends in a container tells people nothing
    who = f"process {process} on {host.partition('?pidns-')[0]}" if holder else "another process"
    return (
        f"{target} is being written by {who}. Wait for it, choose another name, or delete "
        f"{path.name} if that process is gone."
    )


def _found(path: Path) -> _Found | None:
    with suppress(OSError), path.open("rb") as file:
        state = os.fstat(file.fileno())
        return _Found(state.st_ino, state.st_mtime_ns, file.read().decode(errors="replace"))
    return None


def _holder_in(content: str) -> tuple[int, str] | None:
    """Return process and machine that a lock names: its first two lines, each with an end."""
    process, *others = content.splitlines()[:2] or [""]
    whole = bool(others) and content.endswith("\n") and process.isdecimal()
    return (int(process), others[0]) if whole else None


def _clear_unwritten(path: Path) -> None:
    """Delete an empty lock that no process is about to fill, as a power cut leaves it.

    Who deletes it holds a lock for that, and looks again: else of two the second would delete the
    new lock of the first. By the clock of the disk that lock tells what time it is: those of two
    machines differ.
    """
    with suppress(FileNotFoundError):
        if path.stat().st_size:
            return
        with suppress(Timeout), _claimed(path) as claim:
            lock = path.stat()
            seconds_old = claim.stat().st_mtime - lock.st_mtime
            if not lock.st_size and seconds_old > _WRITTEN_WITHIN_SECONDS:
                path.unlink()


def _clear_dead(path: Path, before: _Found) -> bool:
    """Delete a lock as it was found, if a process of this machine made it that is gone.

    The number of a process may be another's by now: then it stays.
    """
    holder = _holder_in(before.content)
    if holder is None or psutil.pid_exists(holder[0]):
        return False
    with suppress(Timeout, FileNotFoundError), _claimed(path) as claim:
        # filelock's name of this machine, and of the container: process numbers are of a container
        here = _holder_in(claim.read_text(encoding="utf-8"))
        if here is not None and here[1] == holder[1] and _found(path) == before:
            path.unlink()
            return True
    return False


@contextmanager
def _claimed(path: Path) -> Iterator[Path]:
    """Hold the right to delete a lock; the file that stands for it is new."""
    claim = path.with_name(f"{path.name}.claim")
    with SoftFileLock(claim, timeout=_PATIENCE_SECONDS, thread_local=False):
        yield claim
