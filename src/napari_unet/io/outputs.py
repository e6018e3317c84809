"""Where results go: what is written overwrites neither what is read nor, unasked, what is there."""

from __future__ import annotations

import contextlib
import csv
import os
from typing import TYPE_CHECKING

from napari_unet.errors import FileProblemError
from napari_unet.io.disk import make_folder, unfinished_path, writing
from napari_unet.io.files import CARD_SUFFIX
from napari_unet.io.tiff_sets import file_of
from napari_unet.io.zarr_files import split_zarr

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

_LONGEST_HEAD = 2**16


def make_output_folder(folder: Path) -> None:
    """Make a folder for results; raises FileProblemError if no files can be written there."""
    with writing(folder, "Choose another folder."):
        make_folder(folder)
    check_writable(folder)


def check_writable(folder: Path) -> None:
    """Raise FileProblemError, before long work, for a folder to which no files can be written."""
    probe = unfinished_path(folder / "probe")
    with writing(folder, "Choose another folder."):
        probe.touch(exist_ok=False)
        probe.unlink()


def check_apart(targets: Sequence[Path], read: Iterable[Path], remedy: str) -> None:
    """Refuse, by FileProblemError, to write two files under one name, or over one that is read.

    A file is known by all its names, symbolic and hard links among them, and a folder that is read,
    such as a Zarr, stands for all that is in it.
    The remedy is what to choose instead, such as "another name".
    """
    taken = {name for path in read for name in _names_of(_whole(path))}
    places: set[Path] = set()
    for target in targets:
        place = target.resolve()
        if not taken.isdisjoint([*_names_of(target), *place.parents]):
            raise FileProblemError(f"{target} would overwrite what is read; choose {remedy}.")
        if place in places:
            raise FileProblemError(
                f"Two of the files would be written under the same name, {target}. Rename one of "
                f"them, or choose {remedy}."
            )
        places.add(place)


def _whole(path: Path) -> Path:
    """Return the file or Zarr folder in which an image lies."""
    split = split_zarr(path)
    return file_of(path) if split is None else split[0]


def _names_of(path: Path) -> Iterator[object]:
    yield path.resolve()
    with contextlib.suppress(OSError):
        status = path.stat()
        if status.st_ino:  # some file systems number nothing
            yield status.st_dev, status.st_ino


def check_free(targets: Iterable[Path], remedy: str) -> None:
    """Refuse, by FileProblemError, to replace files; the remedy is as of `check_apart`."""
    there = [each for each in targets if os.path.lexists(each) and not _is_plain_folder(each)]
    if there:
        raise FileProblemError(
            f"{and_more(there)} already there; choose {remedy}, or replace what is there by "
            "--overwrite."
        )


def _is_plain_folder(path: Path) -> bool:
    """Return whether a path is a folder that takes files, and no result by itself."""
    return path.is_dir() and path.suffix.lower() != ".geff"


def card_beside_result(path: Path) -> Path:
    """Return where the run card of a predicted file lies: a.tif.run.json beside a.tif."""
    return path.with_name(f"{path.name}{CARD_SUFFIX}")


def and_more(paths: Sequence[Path]) -> str:
    """Name the first of some files, and say how many more there are, with "is" or "are"."""
    more = len(paths) - 1
    return f"{paths[0]} and {more} more are" if more else f"{paths[0]} is"


def columns_of(table: Path) -> list[str]:
    """Return the names of the columns of a CSV file; none of what is no such file."""
    with contextlib.suppress(OSError, ValueError, csv.Error), table.open(encoding="utf-8") as file:
        return next(csv.reader([file.readline(_LONGEST_HEAD)]), [])
    return []
