"""Who exported last: kept beside the library of models, so that nobody types it twice."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from napari_unet.data.whole_files import replace_file

if TYPE_CHECKING:
    from pathlib import Path

_FILE = "export authors.txt"
_LONGEST = 2000  # letters; more was not written by us


def remembered_authors(folder: Path) -> str:
    """Return the lines of the last export; none where there was none."""
    with (
        contextlib.suppress(OSError, UnicodeDecodeError),
        (folder / _FILE).open(encoding="utf-8") as file,
    ):
        return file.read(_LONGEST)
    return ""


def remember_authors(folder: Path, lines: str) -> None:
    """Keep the lines; an export does not fail where that cannot be done."""
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        replace_file(folder / _FILE, lines[:_LONGEST].encode())
