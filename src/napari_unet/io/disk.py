"""Files that are whole or not there, and why one could not be read or written.

A file is written beside its place, safe on disk, then renamed: nothing else in this program gives
a file its final name. A program that is killed while it writes leaves an unfinished file under a
name that shows its writer. Whoever writes next to it deletes those that belong to nobody any more.
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
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import psutil

from napari_unet.errors import FileProblemError, first_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

_FULL = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))  # the disk, or the user's share
_WRITTEN_IN_PART = re.compile(r"\d+ requested and \d+ written")  # all that numpy says of it
_NOT_SAFE = (*_FULL, errno.EIO)  # what a folder that cannot be synced says, else it knows no sync
_LONGEST_REASON = 300
_FORMULA = ("=", "+", "-", "@")  # how one begins, in spreadsheets
# The writer's machine and process, and a number that makes it unique.
_UNFINISHED = re.compile(r"\..+\.(?P<machine>[0-9a-f]{8})-(?P<process>[0-9]+)-[0-9a-f]{8}\.tmp")
_OF_EARLIER_VERSIONS = re.compile(r"\.(.+\.)?[0-9a-f]{32}\.(tmp|partial)")
_LONGEST_BEGINNING = 50  # letters of a name, so that what is added fits into 255 bytes
_ABANDONED_SECONDS = 24 * 3600  # for writers on other machines, who may be alive
_SWEPT_FOR_SECONDS = 60.0  # looking through a folder of 10,000 files takes longer than writing one
_swept: dict[Path, float] = {}


def why_not_written(path: Path, error: BaseException, needed: int | None = None) -> str:
    """Explain in one sentence why a file or folder was not written; the remedy is the caller's.

    Of a full disk for example "Disk full: cells.safetensors needs 124 MB in /data, 3.0 MB are
    free.", where the bytes needed are known; else the reason that the operating system gives.
    """
    if isinstance(error, OSError) and _is_full(error):
        wanted = "does not fit" if needed is None else f"needs {megabytes(needed)}"
        return f"Disk full: {path.name} {wanted} in {path.parent}, {_free(path)} are free."
    reason = str(getattr(error, "strerror", None) or error) or type(error).__name__
    return f"Cannot write to {path}: {reason.rstrip('.')}."


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Let any error meanwhile be a FileProblemError: decoders of damaged files raise anything."""
    try:
        yield
    except FileProblemError:
        raise
    except Exception as error:
        raise FileProblemError(f"Cannot read {path}: {short_reason(error)}") from error


@contextlib.contextmanager
def writing(path: Path, remedy: str = "", needed: int | None = None) -> Iterator[None]:
    """Let what the system refuses meanwhile be a FileProblemError; see `why_not_written`."""
    try:
        yield
    except OSError as error:
        why = why_not_written(path, error, needed)
        raise FileProblemError(f"{why} {remedy}".rstrip()) from error


def _is_full(error: OSError) -> bool:
    return error.errno in _FULL or bool(_WRITTEN_IN_PART.search(str(error)))


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


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Lend a new file that is written whole and then takes the place of `path`.

    The old file stays whole until the new one is safe on disk, also through a power cut. Unfinished
    files in the same folder whose writer has died are deleted. Raises OSError if it cannot be
    written.
    """
    sweep_unfinished(path.parent)
    temporary = unfinished_path(path)
    try:
        with temporary.open("x+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def replace_file(path: Path, content: bytes) -> None:
    """Write a file as `replacing` does."""
    with replacing(path) as file:
        file.write(content)


@contextlib.contextmanager
def folder_beside(path: Path) -> Iterator[Path]:
    """Lend a place to write a folder in, of the same name as `path` and on the same disk.

    What is not put in place of `path` by then is deleted; what a dead writer left, by the next one.
    Raises OSError if it cannot be made.
    """
    sweep_unfinished(path.parent)
    beside = unfinished_path(path)
    make_folder(beside)
    try:
        yield beside / path.name
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def put_in_place(written: Path, path: Path) -> None:
    """Rename a file or a folder that is written whole, safe on disk; what is there is replaced."""
    sync_all(written)
    os.replace(written, path)
    sync_folder(path.parent)


def put_if_free(written: Path, path: Path) -> None:
    """Rename a file that is written whole, safe on disk; FileExistsError where one is there."""
    sync_all(written)
    try:
        os.link(written, path)  # unlike a rename it never replaces a file
    except FileExistsError:
        raise
    except OSError:  # no links on this file system
        os.replace(written, path)
    sync_folder(path.parent)  # before the other name goes, or a power cut might take both
    written.unlink(missing_ok=True)


def write_file(path: Path, content: bytes) -> None:
    """Write a file as `replace_file` does; raises FileProblemError if it cannot be written."""
    with writing(path, "Choose another place.", len(content)):
        replace_file(path, content)


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
    return path.with_name(f".{path.name[:_LONGEST_BEGINNING]}.{unique}.tmp")


def make_folder(folder: Path) -> None:
    """Make a folder, and those it lies in, such that they outlive a power cut."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for each in missing:
        sync_folder(each.parent)


def sync_all(path: Path) -> None:
    """Make sure that a file, or a folder with all that is in it, outlives a power cut."""
    if not path.is_dir():
        _sync(path, os.O_RDWR)
        return
    for folder, _, files in os.walk(path, topdown=False):
        for name in files:
            with contextlib.suppress(FileNotFoundError):  # a part that somebody replaces meanwhile
                _sync(Path(folder, name), os.O_RDWR)
        sync_folder(Path(folder))


def sync_folder(folder: Path) -> None:
    """Make sure that the names in a folder outlive a power cut, where the system can do that."""
    try:
        _sync(folder, os.O_RDONLY)
    except OSError as error:  # Windows opens no folders; some shares sync none
        if error.errno in _NOT_SAFE:
            raise


def _sync(path: Path, how: int) -> None:
    descriptor = os.open(path, how)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sweep_unfinished(folder: Path) -> None:
    """Delete what dead writers left unfinished in a folder; at most once a minute."""
    now = time.monotonic()
    if now - _swept.get(folder, -_SWEPT_FOR_SECONDS) < _SWEPT_FOR_SECONDS:
        return
    _swept[folder] = now
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith((".tmp", ".partial")) and _is_abandoned(entry):
                with contextlib.suppress(OSError):
                    (shutil.rmtree if entry.is_dir() else os.unlink)(entry.path)


def _is_abandoned(entry: os.DirEntry[str]) -> bool:
    found = _UNFINISHED.fullmatch(entry.name)
    if entry.is_symlink():
        return False
    if found is not None and found["machine"] == machine_id():
        return not psutil.pid_exists(int(found["process"]))
    if found is None and not _OF_EARLIER_VERSIONS.fullmatch(entry.name):
        return False
    return time.time() - entry.stat(follow_symlinks=False).st_mtime > _ABANDONED_SECONDS


@cache
def machine_id() -> str:
    """Return what sets apart those whose processes have numbers of their own.

    That is each machine, each start of it, and each container: nothing is known of a process of
    another one by its number.
    """
    known = [platform.node(), boot_id()]
    with contextlib.suppress(OSError):  # Linux alone has it
        known.append(str(os.stat("/proc/self/ns/pid").st_ino))
    return f"{zlib.crc32(' '.join(known).encode(errors='replace')):08x}"


@cache
def boot_id() -> str:
    """Return what the kernel calls its present run; empty where it has no name for that."""
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return ""
