"""Work on several files, of which one may fail without stopping the others."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, TypeVar

from napari_unet.errors import NapariUNetError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

Job = TypeVar("Job")
Row = dict[str, Any]


def one_by_one(
    jobs: Sequence[Job],
    path_of: Callable[[Job], Path],
    work: Callable[[Job], Row],
    tell: Callable[[Row], object] | None,
) -> tuple[list[Row], list[dict[str, str]]]:
    """Do each job; what fails is told on standard error.

    Parameters
    ----------
    jobs : sequence
        In order.
    path_of : callable
        Gives the file that stands for a job in messages.
    work : callable
        Does one, and returns its row of the report.
    tell : callable or None
        Called with each row as soon as there is one.

    Returns
    -------
    list of dict
        The rows.
    list of dict
        ``input`` and ``error`` of each that failed.

    Raises
    ------
    NapariUNetError
        The only job there is failed.
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
