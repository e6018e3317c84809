"""Which parts of a prediction are done, and which of them outlive a power cut.

Lines are added as tiles and frames are done: after a kill all of them hold, for what a process has
written is the system's. After a power cut, or on another machine, those hold that stand before the
last ``synced``: it is written now and then, once all that was written before is safe on disk.
"""

from __future__ import annotations

import os
import re
import shutil
import time
import uuid
from typing import TYPE_CHECKING

from napari_unet.io.disk import boot_id, replace_file, sync_all

if TYPE_CHECKING:
    from pathlib import Path

SCRATCH, JOURNAL, METADATA = ".scratch", "journal.txt", "zarr.json"
_LINE = re.compile(r"^(tile|frame) (\d+) (\d+)\n", re.MULTILINE)
_RUN = re.compile(r"^run .*\n", re.MULTILINE)
_SYNC_SECONDS = 20.0
_SHARE_OF_SYNCING = 0.05  # of the time, at most


class Journal:
    """The journal of a folder in which a prediction grows, its ``.partial``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / SCRATCH / JOURNAL
        self._due = 0.0
        self._obsolete: list[Path] = []

    def begin(self) -> None:
        """Go on with what is noted, as far as it holds."""
        text = self._path.read_text(encoding="ascii") if self._path.exists() else ""
        text = text[: text.rfind("\n") + 1]  # a last line that was interrupted
        here = f"run {boot_id() or uuid.uuid4()}\n"  # of the system
        *_, last = ["", *_RUN.findall(text)]
        if last != here:
            before, synced, _ = text.rpartition("synced\n")
            text = before + synced
            self._throw_away(text)
        replace_file(self._path, (text + here).encode("ascii"))
        self.sync()

    def _throw_away(self, text: str) -> None:
        """Undo what may be written in part, beside what the lines of `text` tell of."""
        metadata = self._folder / METADATA  # which lists the levels of a pyramid
        replace_file(metadata, (self._path.parent / METADATA).read_bytes())
        begun = {found[2] for found in _LINE.finditer(text)}
        for scratch in [path for path in self._path.parent.iterdir() if path.is_dir()]:
            if scratch.name not in begun:
                shutil.rmtree(scratch)
            for block in scratch.glob("block*"):
                block.unlink()

    def done(self) -> tuple[dict[int, set[int]], dict[int, int]]:
        """Return the tiles that are done of each frame, and the last number of finished ones."""
        tiles: dict[int, set[int]] = {}
        frames: dict[int, int] = {}
        text = self._path.read_text(encoding="ascii") if self._path.exists() else ""
        for found in _LINE.finditer(text):
            first, second = int(found[2]), int(found[3])
            if found[1] == "tile":
                tiles.setdefault(first, set()).add(second)
            else:
                frames[first] = second
        return tiles, frames

    def note_tile(self, frame: int, tile: int) -> None:
        """Note that a tile is written."""
        self._note(f"tile {frame} {tile}")

    def note_frame(self, frame: int, last: int, scratch: Path) -> None:
        """Note that a frame is finished, with the last number of its objects; its scratch goes."""
        self._obsolete.append(scratch)  # not before it is safe that nobody needs it
        self._note(f"frame {frame} {last}")

    def _note(self, line: str) -> None:
        with self._path.open("a", encoding="ascii") as file:
            file.write(line + "\n")
        if time.monotonic() > self._due:
            self.sync()

    def sync(self) -> None:
        """Make sure that all that is noted outlives a power cut."""
        began = time.monotonic()
        sync_all(self._folder)
        with self._path.open("a", encoding="ascii") as file:
            file.write("synced\n")
            file.flush()
            os.fsync(file.fileno())
        while self._obsolete:
            shutil.rmtree(self._obsolete.pop(), ignore_errors=True)
        now = time.monotonic()
        self._due = now + max(_SYNC_SECONDS, (now - began) / _SHARE_OF_SYNCING)
