"""Files that are whole or not there: written beside their place, safe on disk, then renamed.

A program that is killed while it writes leaves an unfinished file under a name that shows its
writer. Whoever writes next to it deletes those that belong to nobody any more.
"""

from __future__ import annotations

import contextlib
import os
import platform
import re
import time
import uuid
import zlib
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from pathlib import Path

# The writer's machine and process, and a number that makes it unique.
_UNFINISHED = re.compile(r"\..+\.(?P<machine>[0-9a-f]{8})-(?P<process>[0-9]+)-[0-9a-f]{8}\.tmp")
_OF_EARLIER_VERSIONS = re.compile(r"\..+\.[0-9a-f]{32}\.tmp")
_ABANDONED_SECONDS = 24 * 3600  # for writers on other machines, who may be alive


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
