"""Where running sessions keep an autosaved project, and what crashed ones left."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import time
from datetime import datetime
from typing import TYPE_CHECKING

import psutil
from platformdirs import user_data_path

from napari_unet.errors import FileProblemError
from napari_unet.io.disk import machine_id, why_not_written
from napari_unet.project.folder import MODEL_FILE, is_project

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_OWNER = "owner.json"
_UNFINISHED = re.compile(
    r"\.[0-9]{8}-[0-9]{6}-[0-9]{6}-(?P<process>[0-9]{1,9})\.(?P<machine>[0-9a-f]{8})"
)
_ABANDONED_SECONDS = 24 * 3600  # for sessions on other machines, which may be alive


def recovery_root() -> Path:
    """Return the folder that holds the recovery folders of all sessions."""
    return user_data_path("napari-unet-paint") / "recovery"


def new_recovery_folder(root: Path | None = None) -> Path:
    """Make a folder for this session; raises FileProblemError if that is not possible."""
    root = recovery_root() if root is None else root
    name = f"{datetime.now():%Y%m%d-%H%M%S-%f}-{os.getpid()}"
    # another session must not meet a folder without its owner
    unfinished = root / f".{name}.{machine_id()}"
    with _told_where_it_fails(root):
        unfinished.mkdir(parents=True)
        _write_owner(unfinished)
        unfinished.rename(root / name)
    return root / name


def claim(folder: Path) -> None:
    """Make a folder of this session anew if it is gone, or has lost its owner.

    Without an owner it would never be offered after a crash, nor deleted. Raises FileProblemError
    if it cannot be written.
    """
    if (folder / _OWNER).is_file():
        return
    with _told_where_it_fails(folder / _OWNER):
        folder.mkdir(parents=True, exist_ok=True)
        _write_owner(folder)


@contextlib.contextmanager
def _told_where_it_fails(place: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise FileProblemError(
            f"Annotations cannot be saved for recovery: {why_not_written(place, error)} "
            "Save a project now and then."
        ) from error


def _write_owner(folder: Path) -> None:
    started = psutil.Process().create_time()
    owner = {"pid": os.getpid(), "started": started, "machine": machine_id()}
    (folder / _OWNER).write_text(json.dumps(owner), encoding="utf-8")


def abandoned(root: Path | None = None) -> tuple[Path, ...]:
    """List the folders with a project whose session has ended, the newest first."""
    found = [folder for folder in _orphans(root) if is_project(folder)]
    return tuple(sorted(found, reverse=True))


def discard(folder: Path, root: Path | None = None) -> None:
    """Delete a recovery folder, and never any other: FileProblemError."""
    root = recovery_root() if root is None else root
    ours = folder.parent.resolve() == root.resolve() and not folder.is_symlink()
    if not ours or not (folder / _OWNER).is_file():
        raise FileProblemError(f"{folder} is no recovery folder; delete it by hand if you wish.")
    try:
        shutil.rmtree(folder)
    except OSError as error:
        raise FileProblemError(
            f"Cannot delete {folder}: {error.strerror or error}. Delete it by hand."
        ) from error


def sweep(root: Path | None = None, keep: int = 5) -> None:
    """Delete what ended sessions left, except the newest projects, as many as `keep`."""
    _sweep_unfinished(recovery_root() if root is None else root)
    kept = set(abandoned(root)[:keep])
    for folder in _orphans(root):
        worth_keeping = (folder / MODEL_FILE).exists() and not is_project(folder)
        if folder not in kept and not worth_keeping:
            with contextlib.suppress(FileProblemError):  # another session sweeps too
                discard(folder, root)


def _sweep_unfinished(root: Path) -> None:
    """Delete the folders of sessions that were killed before they had an owner."""
    for folder in root.glob(".*"):
        found = _UNFINISHED.fullmatch(folder.name)
        if found is None or folder.is_symlink():
            continue
        here = found["machine"] == machine_id()
        if psutil.pid_exists(int(found["process"])) if here else _is_recent(folder):
            continue
        shutil.rmtree(folder, ignore_errors=True)


def _orphans(root: Path | None) -> list[Path]:
    root = recovery_root() if root is None else root
    if not root.is_dir():
        return []
    found = [f for f in root.iterdir() if f.name[0] != "." and not f.is_symlink()]
    return [folder for folder in found if (folder / _OWNER).is_file() and not _is_owned(folder)]


def _is_owned(folder: Path) -> bool:
    """Return whether the session that made a folder is still running."""
    try:
        owner = json.loads((folder / _OWNER).read_text(encoding="utf-8"))
        if owner.get("machine", machine_id()) != machine_id():
            return _is_recent(folder)
        started = psutil.Process(int(owner["pid"])).create_time()
        return bool(abs(started - float(owner["started"])) < 1.0)
    except psutil.AccessDenied:
        return True
    except (
        psutil.NoSuchProcess,
        OSError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        OverflowError,
        RecursionError,
    ):
        return False


def _is_recent(folder: Path) -> bool:
    """Return whether something was written into a folder lately: its session may still run."""
    changed = [0.0]
    for path in (folder, *folder.glob("*")):
        with contextlib.suppress(OSError):  # deleted meanwhile
            changed.append(path.stat().st_mtime)
    return time.time() - max(changed) < _ABANDONED_SECONDS
