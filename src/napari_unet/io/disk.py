"""Files that are whole or not there, and why one could not be read or written.

A file is written beside its place, safe on disk, then renamed. A program that is killed while it
writes leaves an unfinished file under a name that shows its writer. Whoever writes next to it
deletes those that belong to nobody any more.
"""

from __future__ import annotations

import contextlib
import csv
import errno
import io
import os
import platform
import re
import shutil
import time
import uuid
import zlib
from typing import TYPE_CHECKING, Any

import psutil

from napari_unet.errors import FileProblemError, first_line

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

_FULL = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))  # the disk, or the user's share
_LONGEST_REASON = 300
_FORMULA = ("=", "+", "-", "@")  # how one begins, in spreadsheets
# The writer's machine and process, and a number that makes it unique.
_UNFINISHED = re.compile(r"\..+\.(?P<machine>[0-9a-f]{8})-(?P<process>[0-9]+)-[0-9a-f]{8}\.tmp")
_OF_EARLIER_VERSIONS = re.compile(r"\..+\.[0-9a-f]{32}\.tmp")
_ABANDONED_SECONDS = 24 * 3600  # for writers on other machines, who may be alive


def why_not_written(path: Path, error: BaseException, needed: int | None = None) -> str:
    """Explain in one sentence why a file or folder was not written; the remedy is the caller's.

    Of a full disk for example "Disk full: cells.safetensors needs 124 MB in /data, 3.0 MB are
    free.", where the bytes needed are known; else the reason that the operating system gives.
    """
    if isinstance(error, OSError) and error.errno in _FULL:
        wanted = "does not fit" if needed is None else f"needs {megabytes(needed)}"
        return f"Disk full: {path.name} {wanted} in {path.parent}, {_free(path)} are free."
    reason = str(getattr(error, "strerror", None) or error) or type(error).__name__
    return f"Cannot write to {path}: {reason.rstrip('.')}."


def short_reason(error: BaseException) -> str:
    """Return what an error says in one line, however much a damaged file made of it."""
    return first_line(error)[:_LONGEST_REASON]


def megabytes(size: int) -> str:
    """Return a number of bytes for people.

    Examples
    --------
    >>> [megabytes(size) for size in (40, 3_040_000, 124_400_000)]
    ['0.0 MB', '3.0 MB', '124 MB']
    """
    return f"{size / 1e6:.{1 if size < 1e7 else 0}f} MB"


def _free(path: Path) -> str:
    there = next((folder for folder in path.parents if folder.is_dir()), path.parent)
    return megabytes(shutil.disk_usage(there).free)


def replace_file(path: Path, content: bytes) -> None:
    """Write a file; the old one stays whole until the new one is, also through a power cut.

    Unfinished files in the same folder whose writer has died are deleted. Raises OSError if it
    cannot be written; the old file is as it was.
    """
    sweep_unfinished(path.parent)
    temporary = unfinished_path(path)
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_file(path: Path, content: bytes) -> None:
    """Write a file as `replace_file` does; raises FileProblemError if it cannot be written."""
    try:
        replace_file(path, content)
    except OSError as error:
        raise FileProblemError(
            f"{why_not_written(path, error, len(content))} Choose another place."
        ) from error


def write_csv(columns: Mapping[str, NDArray[Any]], path: Path) -> None:
    """Write columns as a CSV file; see `write_file`.

    A name that a spreadsheet would take for a formula and compute, such as that of a class called
    "=1+1", is written with an apostrophe before it.
    """
    table = io.StringIO(newline="")
    writer = csv.writer(table)
    writer.writerow(map(_no_formula, columns))
    rows = zip(*(column.tolist() for column in columns.values()), strict=True)
    writer.writerows(map(_no_formula, row) for row in rows)
    write_file(path, table.getvalue().encode(errors="backslashreplace"))


def _no_formula(cell: object) -> object:
    is_formula = isinstance(cell, str) and cell.lstrip().startswith(_FORMULA)
    return f"'{cell}" if is_formula else cell


def unfinished_path(path: Path) -> Path:
    """Return a name beside `path` that is free and shows who writes there; see `sweep_unfinished`.

    Examples
    --------
    >>> unfinished_path(Path("a.bin")).name  # doctest: +SKIP
    '.a.bin.0123abcd-4711-89abcdef.tmp'
    """
    # Not mkstemp: its files are for their owner alone, but labs share models in a folder.
    unique = f"{machine_id()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    return path.with_name(f".{path.name}.{unique}.tmp")


def sync_folder(folder: Path) -> None:
    """Make sure that the names in a folder outlive a power cut, where the system can do that."""
    with contextlib.suppress(OSError):  # Windows opens no folders; some shares sync none
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def sweep_unfinished(folder: Path) -> None:
    """Delete the unfinished files that writers who have died left in a folder."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith(".tmp") and _is_abandoned(entry):
                with contextlib.suppress(OSError):
                    os.unlink(entry.path)


def _is_abandoned(entry: os.DirEntry[str]) -> bool:
    found = _UNFINISHED.fullmatch(entry.name)
    if not entry.is_file(follow_symlinks=False):
        return False
    if found is not None and found["machine"] == machine_id():
        return not psutil.pid_exists(int(found["process"]))
    if found is None and not _OF_EARLIER_VERSIONS.fullmatch(entry.name):
        return False
    return time.time() - entry.stat(follow_symlinks=False).st_mtime > _ABANDONED_SECONDS


def machine_id() -> str:
    """Return what sets this machine, or container, apart from those that share a folder with it."""
    return f"{zlib.crc32(platform.node().encode()):08x}"
