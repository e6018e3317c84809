"""One prediction at a time writes to a file."""

from __future__ import annotations

import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from filelock import SoftFileLock, Timeout

from napari_unet.data.disk import why_not_written
from napari_unet.data.whole_files import sweep_unfinished
from napari_unet.errors import FileProblemError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_PATIENCE_SECONDS = 0.5  # to take over the lock of a process that is gone; never for one that works
_WRITTEN_WITHIN_SECONDS = 10  # after that nobody is about to tell who holds a lock


@contextmanager
def locked(target: Path) -> Iterator[None]:
    """Keep other processes from writing the same result.

    A lock is a file that exists, not one that the system locks: clusters share file systems on
    which the latter holds on one machine only, or not at all. The lock of a process of this
    machine that is gone is taken over; of a process on another machine nobody can tell.

    Raises
    ------
    FileProblemError
        Another process writes it, or the folder cannot be written.
    """
    path = target.with_name(f".{target.name}.lock")
    # Whatever thread collects an abandoned generator gives the lock back.
    lock = SoftFileLock(path, thread_local=False)
    try:
        target.parent.stat()  # filelock would make a folder whose name has a typing error
        sweep_unfinished(target.parent)
        _clear_unwritten(path)
        lock.acquire(timeout=_PATIENCE_SECONDS, poll_interval=_PATIENCE_SECONDS / 10)
    except Timeout:
        raise FileProblemError(
            f"{target} is being written by {_holder_of(path)}. Wait for it, choose another "
            f"name, or delete {path.name} if that process is gone."
        ) from None
    except OSError as error:
        raise FileProblemError(
            f"{why_not_written(target, error)} Choose another folder."
        ) from error
    try:
        yield
    finally:
        with suppress(OSError):  # the result is there all the same
            lock.release()


def _holder_of(path: Path) -> str:
    """Name the process that holds a lock, and its machine: the first two lines of the file."""
    with suppress(OSError, ValueError):
        process, host, *_ = path.read_text(encoding="utf-8").splitlines()
        return f"process {int(process)} on {host}"
    return "another process"


def _clear_unwritten(path: Path) -> None:
    """Delete a lock in which nobody tells who holds it, as a power cut leaves it.

    Who deletes it holds a lock for that, and looks again: else of two the second would delete the
    new lock of the first.
    """
    if _is_unwritten(path):
        with suppress(Timeout), SoftFileLock(f"{path}.claim", timeout=_PATIENCE_SECONDS):
            if _is_unwritten(path):
                path.unlink(missing_ok=True)


def _is_unwritten(path: Path) -> bool:
    with suppress(FileNotFoundError):
        old = time.time() - path.stat().st_mtime > _WRITTEN_WITHIN_SECONDS
        return old and _holder_of(path) == "another process"
    return False
