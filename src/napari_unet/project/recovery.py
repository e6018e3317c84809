"""Where running sessions keep an autosaved project, and what crashed ones left."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import shutil
import time
import zlib
from datetime import datetime
from typing import TYPE_CHECKING, Any

import psutil
from platformdirs import user_data_path

from napari_unet.errors import FileProblemError
from napari_unet.io.disk import make_folder, why_not_written
from napari_unet.io.locks import HeldError, Lock
from napari_unet.project.contents import MODEL_FILE, is_project

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Its lock says whether the session runs that made a folder.
_OWNER = "owner.lock"
_OWNER_IN_FORMER_VERSIONS = "owner.json"
_ABANDONED_SECONDS = 24 * 3600  # for sessions on other machines, which may be alive
_LONGEST_CLOCK_STEP = 3600.0  # while a session of a former version ran
_own: dict[Path, Lock] = {}  # of the sessions of this process, until it ends


def recovery_root() -> Path:
    """Return the folder that holds the recovery folders of all sessions."""
    return user_data_path("napari-unet-paint") / "recovery"


def new_recovery_folder(root: Path | None = None) -> Path:
    """Make a folder for this session; raises FileProblemError if that is not possible."""
    root = recovery_root() if root is None else root
    folder = root / f"{datetime.now():%Y%m%d-%H%M%S-%f}-{os.getpid()}"
    with _told_where_it_fails(root):
        make_folder(folder)
        _own[folder] = Lock(folder / _OWNER)
    return folder


def claim(folder: Path) -> None:
    """Make a folder of this session anew if it is gone, or has lost its owner.

    Without an owner it would never be offered after a crash, nor deleted. Raises FileProblemError
    if it cannot be written.
    """
    if (folder / _OWNER).is_file():
        return
    with _told_where_it_fails(folder / _OWNER):
        make_folder(folder)
        _let_go(folder)
        _own[folder] = Lock(folder / _OWNER)


def _let_go(folder: Path) -> None:
    if folder in _own:
        _own.pop(folder).release()


@contextlib.contextmanager
def _told_where_it_fails(place: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, HeldError) as error:
        raise FileProblemError(
            f"Annotations cannot be saved for recovery: {why_not_written(place, error)} "
            "Save a project now and then."
        ) from error


def abandoned(root: Path | None = None) -> tuple[Path, ...]:
    """List the folders with a project whose session has ended, the newest first."""
    found = [folder for folder in _orphans(root) if is_project(folder)]
    return tuple(sorted(found, reverse=True))


def discard(folder: Path, root: Path | None = None) -> None:
    """Delete a recovery folder, and never any other: FileProblemError."""
    root = recovery_root() if root is None else root
    ours = folder.parent.resolve() == root.resolve() and not folder.is_symlink()
    if not ours or _owner_of(folder) is None:
        raise FileProblemError(f"{folder} is no recovery folder; delete it by hand if you wish.")
    _let_go(folder)
    try:
        shutil.rmtree(folder)
    except OSError as error:
        raise FileProblemError(
            f"Cannot delete {folder}: {error.strerror or error}. Delete it by hand."
        ) from error


def sweep(root: Path | None = None, keep: int = 5) -> None:
    """Delete what ended sessions left, except the newest projects, as many as `keep`."""
    kept = set(abandoned(root)[:keep])
    for folder in _orphans(root):
        worth_keeping = (folder / MODEL_FILE).exists() and not is_project(folder)
        if folder not in kept and not worth_keeping:
            with contextlib.suppress(FileProblemError):  # another session sweeps too
                discard(folder, root)


def _orphans(root: Path | None) -> list[Path]:
    root = recovery_root() if root is None else root
    if not root.is_dir():
        return []
    found = [f for f in root.iterdir() if f.name[0] != "." and not f.is_symlink()]
    return [folder for folder in found if not _is_owned(folder)]


def _owner_of(folder: Path) -> Path | None:
    """Return the file that tells of the session that made a folder; None if that is no such one."""
    names = (_OWNER, _OWNER_IN_FORMER_VERSIONS)
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _is_owned(folder: Path) -> bool:
    """Return whether the session that made a folder may still run; what is no such one is left."""
    owner = _owner_of(folder)
    if owner is None or folder in _own:
        return True
    if owner.name == _OWNER_IN_FORMER_VERSIONS:
        return _may_be_alive(owner)
    try:
        Lock(owner, patience=0.0).release()
    except HeldError as held:
        return held.proven or _is_recent(folder)
    except OSError:
        return _is_recent(folder)
    return False


def _may_be_alive(owner: Path) -> bool:
    """Return whether the process may run that a former version has noted."""
    try:
        noted: Any = json.loads(owner.read_text(encoding="utf-8"))
        here = f"{zlib.crc32(platform.node().encode()):08x}"
        if noted.get("machine", here) != here:
            return _is_recent(owner.parent)
        started = psutil.Process(int(noted["pid"])).create_time()
        return bool(abs(started - float(noted["started"])) < _LONGEST_CLOCK_STEP)
    except psutil.AccessDenied:
        return True
    except RecursionError:
        return False
    except (psutil.Error, OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError):
        return False


def _is_recent(folder: Path) -> bool:
    """Return whether something was written into a folder lately: its session may still run."""
    changed = [0.0]
    for path in (folder, *folder.glob("*")):
        with contextlib.suppress(OSError):  # deleted meanwhile
            changed.append(path.stat().st_mtime)
    return time.time() - max(changed) < _ABANDONED_SECONDS
