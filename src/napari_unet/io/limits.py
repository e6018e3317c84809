"""What is looked at before a file is read: whether it is one, and how much memory is free."""

from __future__ import annotations

import math
import stat
import sys
from contextlib import suppress
from pathlib import Path, PureWindowsPath
from typing import TYPE_CHECKING

import numpy as np
import psutil

from napari_unet.errors import FileProblemError
from napari_unet.io.disk import megabytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import DTypeLike

# Names of limit, usage and what the kernel gives back unasked, of control groups 1 and 2.
_VERSION_1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
_VERSION_2 = ("memory.max", "memory.current", "inactive_file")


def free_memory(root: Path = Path("/")) -> int:
    """Return how many bytes can be taken before the system refuses, or ends the program.

    The least of what the machine has available, what each control group that the process is in may
    take further (a container is one, and has no word for it but a kill), and the limits of the
    process (``ulimit``). `root` is that of the system's files.
    """
    free: list[int] = [
        psutil.virtual_memory().available,
        *_left_in_groups(root),
        *_left_of_process(),
    ]
    return max(0, min(free))


def check_regular(path: Path) -> None:
    """Refuse, by FileProblemError, a pipe, a device or a socket: it may never end, or never begin.

    What is not there is left to who reads it.
    """
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise FileProblemError(f"{path} is a pipe or a device, not a file; save it as a file.")


def is_inside(folder: Path, name: str) -> bool:
    """Return whether a name out of a file leads to a place in a folder, also by links.

    No other machine is asked for it: Windows would log in there.
    """
    if PureWindowsPath(name).anchor or ".." in PureWindowsPath(name).parts:
        return False
    return (folder / name).resolve().is_relative_to(folder.resolve())


def check_fits_memory(path: Path, shape: Sequence[int], dtype: DTypeLike) -> None:
    """Refuse in time what would take all memory, by FileProblemError: metadata may lie."""
    size, free = math.prod(shape) * np.dtype(dtype).itemsize, free_memory()
    if size > free:
        raise FileProblemError(
            f"Cannot read {path} into memory: it says to hold {megabytes(size)} of pixels, "
            f"{megabytes(free)} are free. Crop it, or use a machine with more memory."
        )


def _left_in_groups(root: Path) -> Iterator[int]:
    """Yield what each control group leaves, from the process' own up to the outermost."""
    with suppress(OSError, ValueError):
        for line in (root / "proc/self/cgroup").read_text().splitlines():
            _, kinds, path = line.split(":", 2)
            mount, names = root / "sys/fs/cgroup", _VERSION_2
            if "memory" in kinds.split(","):
                mount, names = mount / "memory", _VERSION_1
            elif kinds:
                continue
            own = Path(path.lstrip("/"))
            # In a container the path may be that of the host: what is not there says nothing.
            for group in (own, *own.parents):
                yield from _left_in(mount / group, *names)


def _left_in(group: Path, limit: str, usage: str, unused: str) -> Iterator[int]:
    with suppress(OSError, ValueError):  # no such group, or "max"
        left = int((group / limit).read_text()) - int((group / usage).read_text())
        found = [line.split() for line in (group / "memory.stat").read_text().splitlines()]
        yield left + sum(int(number) for name, number in found if name == unused)


def _left_of_process() -> Iterator[int]:
    if sys.platform == "win32":
        return
    import resource

    held = psutil.Process().memory_info()
    # Of data only some systems tell; what is in memory is the least of it.
    taken = {"RLIMIT_AS": held.vms, "RLIMIT_DATA": getattr(held, "data", held.rss)}
    for name, bytes_taken in taken.items():
        limit = resource.getrlimit(getattr(resource, name))[0]
        if limit != resource.RLIM_INFINITY:
            yield limit - bytes_taken
