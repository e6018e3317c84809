"""Why something could not be read or written, in the same words everywhere."""

from __future__ import annotations

import errno
import shutil
from typing import TYPE_CHECKING

from napari_unet.errors import first_line

if TYPE_CHECKING:
    from pathlib import Path

_FULL = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))  # the disk, or the user's share

_LONGEST_REASON = 300


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
