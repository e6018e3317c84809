"""The files in a ZIP archive, in memory: nothing is unpacked to a disk, and bombs stay small."""

from __future__ import annotations

import io
import zipfile
from typing import TYPE_CHECKING

from napari_unet.errors import FileProblemError
from napari_unet.io.disk import megabytes, short_reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_MOST_ENTRIES = 200_000
_LARGEST_ENTRY = 2**26
_LARGEST_ALL = 2**30


def names_in(path: Path) -> list[str]:
    """Return the names of the files in an archive; raises FileProblemError if it is damaged."""
    with _opened(path) as archive:
        return archive.namelist()


def entries_of(path: Path, suffix: str) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of those files in an archive whose name ends in `suffix`.

    An archive that is damaged or locked, or unpacks to more than objects can need, raises
    FileProblemError.
    """
    left = _LARGEST_ALL
    with _opened(path) as archive:
        for entry in archive.infolist():
            if not entry.filename.lower().endswith(suffix):
                continue
            try:
                with archive.open(entry) as file:
                    content = file.read(_LARGEST_ENTRY + 1)
            except Exception as error:  # decoders of damaged files raise whatever they come upon
                raise _damaged(path, f"{entry.filename}: {short_reason(error)}") from error
            left -= len(content)
            if len(content) > _LARGEST_ENTRY or left < 0:
                raise FileProblemError(
                    f"{path} unpacks to more than {megabytes(_LARGEST_ALL)} (or one file in it to "
                    f"more than {megabytes(_LARGEST_ENTRY)}); save fewer objects at once."
                )
            yield entry.filename, content


def zip_of(entries: Iterable[tuple[str, bytes]]) -> bytes:
    """Return a ZIP archive of files with these names and contents."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, data in entries:
            archive.writestr(name, data)
    return content.getvalue()


def _opened(path: Path) -> zipfile.ZipFile:
    try:
        archive = zipfile.ZipFile(path)
    except Exception as error:  # see entries_of
        raise _damaged(path, short_reason(error)) from error
    if len(archive.filelist) > _MOST_ENTRIES:
        archive.close()
        raise FileProblemError(
            f"{path} holds {len(archive.filelist)} files; {_MOST_ENTRIES} objects are read at most."
        )
    return archive


def _damaged(path: Path, reason: str) -> FileProblemError:
    return FileProblemError(f"Cannot read {path}: {reason.rstrip('.')}. Save it again.")
