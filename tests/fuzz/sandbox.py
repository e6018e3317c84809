"""How many cases, in how much memory, and what has changed on disk."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ALL_CASES = 10_000  # of all tests of this folder together
_MAY_TAKE = 2 * 2**30  # bytes of addresses


def share_of(cases: int) -> int:
    """Scale a number of cases by FUZZ_CASES."""
    return max(1, cases * int(os.environ.get("FUZZ_CASES", ALL_CASES)) // ALL_CASES)


@contextlib.contextmanager
def bounded_memory() -> Iterator[None]:
    """Let larger allocations fail, where the operating system offers that."""
    if sys.platform != "linux":
        yield
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (psutil.Process().memory_info().vms + _MAY_TAKE, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def contents_of(folder: Path) -> dict[str, tuple[int, int]]:
    """Return the size and the time of the last change of each file below a folder."""
    found = {}
    for path in folder.rglob("*"):
        status = path.lstat()
        found[path.relative_to(folder).as_posix()] = (status.st_size, status.st_mtime_ns)
    return found
