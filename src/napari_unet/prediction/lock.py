"""One prediction at a time writes to a file."""

from __future__ import annotations

import json
import os
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING

import psutil

from napari_unet.data.disk import why_not_written
from napari_unet.errors import FileProblemError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


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
    _refuse_if_held(lock, target)
    holder = {"host": socket.gethostname(), "process": os.getpid()}
    try:
        with lock.open("x", encoding="utf-8") as file:
            json.dump(holder, file)
    except OSError as error:
        raise FileProblemError(
            f"{why_not_written(target, error)} Choose another folder."
        ) from error
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)


def _refuse_if_held(lock: Path, target: Path) -> None:
    try:
        holder = json.loads(lock.read_text(encoding="utf-8"))
        host, process = str(holder["host"]), int(holder["process"])
    except FileNotFoundError:
        return
    except (ValueError, KeyError, TypeError):  # cut off while it was written
        host, process = socket.gethostname(), -1
    here = host == socket.gethostname()
    if here and (process == -1 or not psutil.pid_exists(process)):
        lock.unlink(missing_ok=True)
        return
    raise FileProblemError(
        f"{target} is being written by process {process} on {host}. Wait for it, choose another "
        f"name, or delete {lock.name} if that process is gone."
    )
