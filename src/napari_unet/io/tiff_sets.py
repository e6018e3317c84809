"""TIFF files of several images, images of several TIFF files, and whether all of them are there."""

from __future__ import annotations

import math
import re
from pathlib import PureWindowsPath
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from napari_unet.errors import FileProblemError
from napari_unet.io.limits import check_regular

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import tifffile

MOST_PAGES = 200_000  # each takes some 20 microseconds to find, and 350 bytes
_COUNTS = ("SizeZ", "SizeC", "SizeT", "IFD", "NumPlanes", "PlaneCount")
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


def too_many_pages(path: Path) -> str:
    """Say that a file has too many pages, and the remedy."""
    return (
        f"{path} has more than {MOST_PAGES} pages, one per plane; save it as OME-Zarr, or in "
        "several files."
    )


def check_parts(file: tifffile.TiffFile, path: Path) -> None:
    """Refuse, by FileProblemError, a file that names others than plain files in its own folder.

    To be asked before its series, with which the others are opened.
    """
    import tifffile

    names = _parts_in_ome(file, path)
    if file.is_ndtiff or file.is_mmstack:  # of Micro-Manager: what lies beside it
        names |= {each.name for each in path.parent.iterdir() if _is_part(each)}
    if file.is_ndtiff:
        check_regular(index := path.with_name("NDTiff.index"))
        names |= {fields[1] for fields in tifffile.read_ndtiff_index(index)}
    for name in sorted(names):
        plain = PureWindowsPath(name)
        if plain.name != name or plain.drive or name in ("", ".."):
            raise FileProblemError(
                f"{path} names {name[:200]!r} as a part of its image; only files in its own folder "
                "are opened. Put all of them there and save it anew, or save the part as a file of "
                "its own."
            )
        check_regular(path.with_name(name))


def _is_part(path: Path) -> bool:
    return path.suffix.lower() in (*TIFF_SUFFIXES, ".index")


def _parts_in_ome(file: tifffile.TiffFile, path: Path) -> set[str]:
    """Return which files an OME-TIFF names, besides itself under whatever name it had."""
    if not file.ome_metadata:
        return set()
    try:
        root = ElementTree.fromstring(file.ome_metadata)
    except ElementTree.ParseError:
        return set()  # nothing is found in it by others either
    counts = [each.get(name, "") for each in root.iter() for name in _COUNTS]
    if any(count.isdecimal() and int(count[:19]) > MOST_PAGES for count in counts):
        raise FileProblemError(too_many_pages(path))  # a list of them all would be made
    named = [(each.text, each.get("FileName", "")) for each in root.iterfind(".//{*}UUID")]
    own = root.get("UUID")
    return {name for identity, name in named if identity != own} - {path.name}


def check_complete(file: tifffile.TiffFile, series: tifffile.TiffPageSeries, path: Path) -> None:
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
