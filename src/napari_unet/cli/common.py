"""What several commands share: results that overwrite nothing, pixel sizes, file after file."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, TypeVar

from napari_unet.errors import ConfigError, FileProblemError, NapariUNetError
from napari_unet.io.files import name_of
from napari_unet.io.tiff_sets import file_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

_PAIRS_SHOWN = 50
LABEL_PIECES = "Add --label-pieces to make each piece an object of its own."


def check_targets(targets: Sequence[Path], read: Iterable[Path], remedy: str) -> None:
    """Refuse, by FileProblemError, to write two files under one name, or over one that is read.

    The remedy is what to choose instead, such as "another name".
    """
    if len(set(targets)) < len(targets):
        raise FileProblemError("Two of the files would be written under the same name.")
    taken = {file_of(path).resolve() for path in read}
    for target in targets:
        if target.resolve() in taken:
            raise FileProblemError(f"{target} would overwrite what is read; choose {remedy}.")


def tell_pairs(pairs: Sequence[tuple[Path, Path]]) -> None:
    """Print which files are paired; of very many the first."""
    for first, second in pairs[:_PAIRS_SHOWN]:
        print(f"{name_of(first)} with {name_of(second)}")
    if len(pairs) > _PAIRS_SHOWN:
        print(f"... and {len(pairs) - _PAIRS_SHOWN} more pairs; --json lists all.")


def note(text: str) -> None:
    """Print on standard error what the user should know."""
    print(f"Note: {text}", file=sys.stderr)


# --- The option ``--pixel-size``, of training and of prediction ----------------------------------


def pixel_size_of(sizes: list[float] | None) -> dict[str, float]:
    """Read ``--pixel-size``: along Y and X, or along Z, Y and X; one number is for both.

    Micrometres by axis letter are returned, none where the option was not given. More than three
    numbers, or one that is not positive, are a ConfigError.
    """
    if not sizes:
        return {}
    if len(sizes) > 3 or not all(size > 0 for size in sizes):
        raise ConfigError(
            f"--pixel-size is {' '.join(f'{size:g}' for size in sizes)}; give one to three "
            "positive numbers of micrometres: of a pixel, along Y X, or along Z Y X."
        )
    in_order = sizes * 2 if len(sizes) == 1 else sizes
    return dict(zip("ZYX"[3 - len(in_order) :], in_order, strict=True))


# --- Work on several files, of which one may fail without stopping the others --------------------

Job = TypeVar("Job")
Row = dict[str, Any]


def one_by_one(
    jobs: Sequence[Job],
    path_of: Callable[[Job], Path],
    work: Callable[[Job], Row],
    tell: Callable[[Row], object] | None,
) -> tuple[list[Row], list[dict[str, str]]]:
    """Do each job; what fails is told on standard error.

    `path_of` gives the file that stands for a job in messages; `work` does one, and returns its row
    of the report, which `tell` is called with at once. Returned are the rows, and ``input`` and
    ``error`` of each job that failed; the error of the only job there is is raised.
    """
    done: list[Row] = []
    failed: list[dict[str, str]] = []
    for job in jobs:
        try:
            row = work(job)
        except NapariUNetError as error:
            if len(jobs) == 1:
                raise
            path = path_of(job)
            failed.append({"input": str(path), "error": str(error)})
            print(f"napari-unet: {path.name}: {error}", file=sys.stderr)
            continue
        done.append(row)
        if tell is not None:
            tell(row)
    return done, failed
