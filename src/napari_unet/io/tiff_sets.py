"""TIFF files of several images, images of several TIFF files, and whether all of them are there."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from napari_unet.errors import FileProblemError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import tifffile

TIFF_SUFFIXES = (".tif", ".tiff")
_CHOSEN = re.compile(r"(.+\.tiff?)#([1-9][0-9]{0,5})", re.IGNORECASE)
_NAMED = re.compile(r'(?:FileName|MetadataFile)\s*=\s*"([^"/\\]+)"')


def split_chosen(path: Path) -> tuple[Path, int | None]:
    """Split ``file.tif#2`` into the file, and which of its images is chosen, from 1."""
    match = _CHOSEN.fullmatch(path.name)
    if match is None or path.exists():  # a file may be called so
        return path, None
    return path.with_name(match[1]), int(match[2])


def file_of(path: Path) -> Path:
    """Return the file in which an image lies; see `split_chosen`."""
    return split_chosen(path)[0]


def chosen_series(
    file: tifffile.TiffFile, path: Path, number: int | None
) -> tuple[int, tuple[str, ...]]:
    """Return which series is read, from 0, and a notice where there are others.

    Raises FileProblemError where there is no such series.
    """
    count = len(file.series)
    if number is not None and number > count:
        raise FileProblemError(f"{path} holds {count} images; there is no {path.name}#{number}.")
    if number is not None or count == 1:
        return (number or 1) - 1, ()
    notice = f"The first of {count} images was read; choose another with {path.name}#2."
    return 0, (notice,)


def check_whole(file: tifffile.TiffFile, series: tifffile.TiffPageSeries, path: Path) -> None:
    """Refuse, by FileProblemError, a series of which frames, or files with them, are missing."""
    held, declared = _frames(file, series)
    if held == declared:
        return
    missing = [name for name in _named_in(path) if not path.with_name(name).exists()]
    if missing:
        shown = ", ".join(missing[:5]) + (" ..." if len(missing) > 5 else "")
        verb = "is" if len(missing) == 1 else "are"
        raise FileProblemError(
            f"{path} is one of several files of an image, of which {shown} {verb} missing. Put all "
            "into one folder, or save what is there as an image of its own."
        )
    what = f"{held} of {declared} frames are there"
    if held > declared:
        what = f"{held} frames are there, where it declares {declared}"
    raise FileProblemError(f"{path} is not whole: {what}. Copy it again, or save it anew.")


def _frames(file: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> tuple[int, int]:
    """Return how many frames a series holds, and how many it should, as far as that is known."""
    if series.kind == "ome" and series.dataoffset is None:
        pages = list(series)
        return sum(page is not None for page in pages), len(pages)
    if series.kind == "imagej" and len(file.pages) > 1:
        return len(file.pages), series.size // max(1, math.prod(file.pages.first.shape))
    return 0, 0


def once_per_set(paths: Iterable[Path]) -> list[Path]:
    """Leave out what belongs to a multi-file OME-TIFF that begins with an earlier one of the files.

    Each of them would be read as the whole.
    """
    kept: list[Path] = []
    members: set[Path] = set()
    for path in paths:
        if path in members:
            continue
        kept.append(path)
        names = _named_in(path) if path.suffix.lower() in TIFF_SUFFIXES else set()
        members |= {path.with_name(name) for name in names}
    return kept


def _named_in(path: Path) -> set[str]:
    """Return the names of all files of a multi-file OME-TIFF; none of other files."""
    named = _named_by(path)
    elsewhere = [_named_by(path.with_name(name)) for name in sorted(named) if len(named) == 1]
    return named.union(*elsewhere) - {path.name}


def _named_by(path: Path) -> set[str]:
    import tifffile

    if not _is_ome_name(path) or not path.is_file():
        return set()
    try:
        with tifffile.TiffFile(path) as file:
            return set(_NAMED.findall(file.pages.first.description))
    except Exception:  # whatever decoders of damaged files come upon; who reads it is told
        return set()


def _is_ome_name(path: Path) -> bool:
    return path.name.lower().endswith((".ome.tif", ".ome.tiff"))
