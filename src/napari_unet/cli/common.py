"""What several commands share: results that overwrite nothing, pixel sizes, file after file."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TypeVar

from napari_unet.cli.printing import fail, say
from napari_unet.errors import ConfigError, reason_of
from napari_unet.io.files import name_of
from napari_unet.io.outputs import check_apart, check_free
from napari_unet.tasks.overlapping_classes import check_class_names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

_PAIRS_SHOWN = 50
LABEL_PIECES = "Add --label-pieces to make each piece an object of its own."


def check_targets(
    targets: Sequence[Path], read: Iterable[Path], remedy: str, *, overwrite: bool
) -> None:
    """Refuse, by FileProblemError, what would be lost by writing.

    That is what is read, always, and what is there already unless it is to be overwritten. The
    remedy is what to choose instead, such as "another name".
    """
    check_apart(targets, read, remedy)
    if not overwrite:
        check_free(targets, remedy)


def tell_pairs(pairs: Sequence[tuple[Path, Path]]) -> None:
    """Print which files are paired; of very many the first."""
    for first, second in pairs[:_PAIRS_SHOWN]:
        say(f"{name_of(first)} with {name_of(second)}")
    if len(pairs) > _PAIRS_SHOWN:
        say(f"... and {len(pairs) - _PAIRS_SHOWN} more pairs; --json lists all.")


# --- Labels of overlapping classes: NAME=PATH ----------------------------------------------------


def by_class(entries: Sequence[str]) -> dict[str, list[str]]:
    """Read NAME=PATH of each class, a name once or several times; nothing where there are none.

    Raises ConfigError where only some of the paths say of which class they are.
    """
    named = [entry.partition("=") for entry in entries if _names_a_class(entry)]
    if not named:
        return {}
    if len(named) < len(entries):
        plain = next(entry for entry in entries if not _names_a_class(entry))
        raise ConfigError(
            f"{plain} does not say of which class it is, as others do; give NAME=PATH for each."
        )
    found: dict[str, list[str]] = {}
    for name, _, path in named:
        found.setdefault(name, []).append(path)
    check_class_names(tuple(found))
    return found


def _names_a_class(entry: str) -> bool:
    """Return whether an entry is NAME=PATH, and no file that is called so."""
    name, sign, path = entry.partition("=")
    is_name = bool(sign and name and path) and not any(letter in name for letter in "/\\.*?[~:")
    return is_name and not os.path.lexists(entry)


# --- The option ``--pixel-size``, of training and of prediction ----------------------------------


def given_pixel_size(sizes: list[float] | None) -> dict[str, float]:
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
Done = TypeVar("Done")


def one_by_one(
    jobs: Sequence[Job],
    path_of: Callable[[Job], Path],
    work: Callable[[Job], Done],
    show: Callable[[Done], object] | None = None,
) -> tuple[list[Done], list[dict[str, str]]]:
    """Do each job; what fails, for whatever reason, is told on standard error.

    `path_of` gives the file that stands for a job in messages; `work` does one, and returns for
    example its row of the report, which `show` is called with at once. Returned is what was done,
    and ``input`` and ``error`` of each job that failed; the error of the only job is raised.
    """
    done: list[Done] = []
    failed: list[dict[str, str]] = []
    for job in jobs:
        try:
            row = work(job)
        except Exception as error:  # one odd file among thousands may raise anything
            if len(jobs) == 1:
                raise
            path = path_of(job)
            failed.append({"input": str(path), "error": reason_of(error)})
            fail(f"{path.name}: {reason_of(error)}")
            continue
        done.append(row)
        if show is not None:
            show(row)
    return done, failed
