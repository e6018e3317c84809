"""One process at a time writes a result, a model or a session: locks that end with their holder.

The kernel of the operating system holds a lock and releases it when the process ends, however it
ends; no clock and no number of a process is asked. On some network disks such locks hold on one
machine only. Therefore a lock also says who holds it, and that of another machine counts as long
as it is there. Where a disk knows no locks at all, filelock's soft ones stand in: a file that
exists, whose holder is looked up by the start of its machine, its container and its own start.
"""

from __future__ import annotations

import errno
import os
import platform
import uuid
import zlib
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
from filelock import FileLock, SoftFileLock, Timeout

from napari_unet.errors import FileProblemError
from napari_unet.io.disk import boot_id, sweep_unfinished, writing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from filelock import BaseFileLock

_PATIENCE_SECONDS = 0.5  # until a process that was just ended is gone
_LONGEST_NOTE = 1000
# What disks say that know no locks of the kernel.
_NO_LOCKS = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOLCK)


class HeldError(Exception):
    """Another process holds a lock; `note` is what that process wrote into it."""

    def __init__(self, note: str, proven: bool) -> None:
        super().__init__(note)
        self.note = note
        self.proven = proven
        """Whether the holder is alive for certain; of one on another machine that is not known."""


class Lock:
    """A lock that this process takes, and that ends with it; raises HeldError, or OSError.

    A lock that another process holds is waited for `patience` seconds.
    """

    def __init__(self, path: Path, patience: float = _PATIENCE_SECONDS) -> None:
        self.path = path
        self._file = (0, 0)
        # Whatever thread collects an abandoned generator gives the lock back.
        self._lock: BaseFileLock = FileLock(
            path, thread_local=False, fallback_to_soft=False, on_acquired=self._note_holder
        )
        try:
            self._acquire(patience)
        except Timeout:
            by_kernel = not isinstance(self._lock, SoftFileLock)
            raise HeldError(_note_in(Path(self._lock.lock_file)), by_kernel) from None

    def _acquire(self, patience: float) -> None:
        try:
            self._lock.acquire(timeout=patience)
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            self._lock = SoftFileLock(f"{self.path}.held", thread_local=False)
            self._lock.acquire(timeout=patience)
            with suppress(OSError):  # what the try has left
                self._file = _identity(self.path.stat())

    def _note_holder(self, descriptor: int) -> None:
        """Write who we are into the lock; raise HeldError if its holder may be somewhere else."""
        note = os.read(descriptor, _LONGEST_NOTE).decode(errors="replace")
        if note and not _is_dead(note):
            raise HeldError(note, proven=False)
        os.ftruncate(descriptor, 0)
        os.lseek(descriptor, 0, os.SEEK_SET)
        os.write(descriptor, f"{os.getpid()}\n{_this_machine()}\n".encode())
        os.fsync(descriptor)  # other machines see it
        self._file = _identity(os.fstat(descriptor))

    def release(self) -> None:
        """Let others take the lock; its file stays."""
        with suppress(OSError):  # what it was held for is done all the same
            self._lock.release()

    def give_back(self) -> None:
        """Release the lock, and delete its file if it is still ours."""
        # While it is held: who waits for it looks again whether it has the file of that name.
        self._delete_file()
        self.release()
        self._delete_file()  # Windows deletes no file that is open

    def _delete_file(self) -> None:
        with suppress(OSError):
            if self._file == _identity(self.path.stat()):
                self.path.unlink()
                self._file = (0, 0)


@contextmanager
def locked(target: Path) -> Iterator[None]:
    """Keep other processes from writing the same result.

    Raises FileProblemError if another process writes it, or the folder cannot be written.
    """
    path = target.with_name(f".{target.name}.lock")
    try:
        with writing(target, "Choose another folder."):
            target.parent.stat()  # filelock would make a folder whose name has a typing error
            sweep_unfinished(target.parent)
            lock = Lock(path)
    except HeldError as held:
        raise FileProblemError(_refusal(target, path, held)) from None
    try:
        yield
    finally:
        lock.give_back()


def _refusal(target: Path, path: Path, held: HeldError) -> str:
    holder = _holder_in(held.note)
    if holder is None and not held.proven:
        return (
            f"{target} is being written, or was, by a process that {path.name} does not name: "
            "another version of this program may have made it. Wait, choose another name, or "
            f"delete {path.name} by hand if no process writes there."
        )
    who = f"process {holder[0]} on {holder[1].partition('?')[0]}" if holder else "another process"
    other = "" if held.proven else f", or delete {path.name} if that process is gone"
    return f"{target} is being written by {who}. Wait for it, or choose another name{other}."


def _identity(state: os.stat_result) -> tuple[int, int]:
    return state.st_dev, state.st_ino


def _note_in(path: Path) -> str:
    with suppress(OSError), path.open("rb") as file:
        return file.read(_LONGEST_NOTE).decode(errors="replace")
    return ""


def _holder_in(note: str) -> tuple[int, str] | None:
    """Return process and machine that a lock names: its first two lines, each with an end."""
    process, *others = note.splitlines()[:2] or [""]
    whole = bool(others) and note.endswith("\n") and process.isdecimal()
    return (int(process), others[0]) if whole else None


def _is_dead(note: str) -> bool:
    """Return whether whoever left a lock is gone, given that its kernel's lock is ours."""
    holder = _holder_in(note)
    if holder is None:
        return False
    if holder[1] == platform.node():  # an earlier version's, which the kernel did not hold
        return not psutil.pid_exists(holder[0])
    # The same machine, started again or not; or another container under the same kernel.
    theirs, ours = holder[1].rpartition("-"), _this_machine().rpartition("-")
    return theirs[0] == ours[0] or theirs[2] == ours[2]


@cache
def _this_machine() -> str:
    """Return ``NAME?MACHINE-START``: NAME?MACHINE no other machine has, START no other kernel."""
    unique = ""
    with suppress(OSError):
        unique = Path("/etc/machine-id").read_text(encoding="ascii", errors="replace")
    name = "".join(platform.node().split())
    start = boot_id() or str(uuid.uuid4())
    return f"{name}?{zlib.crc32(unique.encode()):08x}-{zlib.crc32(start.encode()):08x}"
