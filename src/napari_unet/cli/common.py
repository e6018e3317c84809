"""What several commands share: results that overwrite nothing, pixel sizes, file after file."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any, TypeVar

from napari_unet.errors import ConfigError, FileProblemError, NapariUNetError
from napari_unet.io.files import name_of, stem_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path


def check_targets(targets: Sequence[Path], read: Iterable[Path], remedy: str) -> None:
    """Refuse, by FileProblemError, to write two files under one name, or over one that is read.

    The remedy is what to choose instead, such as "another name".
    """
    if len(set(targets)) < len(targets):
        raise FileProblemError("Two of the files would be written under the same name.")
    taken = {path.resolve() for path in read}
    for target in targets:
        if target.resolve() in taken:
            raise FileProblemError(f"{target} would overwrite what is read; choose {remedy}.")


def note_unlike_pairs(pairs: Sequence[tuple[Path, Path]]) -> None:
    """Print that files are paired in order whose numbers differ: they may not belong together."""
    unlike = [pair for pair in pairs if len(set(map(_numbers_in, pair))) > 1]
    if len(pairs) > 1 and unlike:
        first, second = map(name_of, unlike[0])
        print(
            f"Note: No two names agree, so files are paired in order: {first} with {second}. Name "
            "them alike if that is wrong.",
            file=sys.stderr,
        )


def _numbers_in(path: Path) -> tuple[str, ...]:
    return tuple(re.findall(r"[0-9]+", stem_of(path)))


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
