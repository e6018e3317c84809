"""The table that ``napari-unet train --history`` writes: one CSV row per step."""

from __future__ import annotations

import csv
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from napari_unet.errors import FileProblemError
from napari_unet.io.disk import why_not_written
from napari_unet.run import Notice, Run
from napari_unet.training.events import PaintJudged, StepDone, Validated

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from pathlib import Path

    from napari_unet.training.events import TrainingEvent
    from napari_unet.training.state import TrainingState

Result = TypeVar("Result")

COLUMNS = ("step", "loss", "seconds", "validation_loss", "iou", "object_f1", "painted_found")


def begin_history(path: Path, resume: TrainingState | None) -> None:
    """Write the head of a new table; a resumed training continues the one there is.

    Raises
    ------
    FileProblemError
        The file cannot be written.
    """
    try:
        if resume is not None and path.exists():
            with path.open("a"):
                return
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerow(COLUMNS)
    except OSError as error:
        raise FileProblemError(
            f"{why_not_written(path, error)} Choose another file for --history."
        ) from error


def logging_steps(
    events: Generator[TrainingEvent, None, Result], path: Path
) -> Generator[TrainingEvent, None, Result]:
    """Write each step of a training as a row, with its scores; pass on all events.

    Rows are written as they come, so that the table can be watched. Where that fails, a `Notice`
    says so once, and the training goes on without: it is worth more.
    """
    table = _Table(path)
    run = Run(events)
    for event in run:
        if problem := table.take(event):
            yield problem
        yield event
    if problem := table.close():
        yield problem
    return run.result


class _Table:
    """Rows of a CSV file, as long as it can be written."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._columns = _columns_of(path)
        self._row: dict[str, Any] = {}
        self._broken = False

    def take(self, event: object) -> Notice | None:
        """Take up an event; a row is written when the next one begins."""
        if isinstance(event, StepDone):
            problem = self.close()
            self._row = {"step": event.step, "loss": event.loss, "seconds": round(event.seconds, 4)}
            return problem
        if isinstance(event, Validated) and self._row:
            self._row["validation_loss"], self._row["iou"] = event.loss, event.iou
            self._row["object_f1"] = event.object_f1  # None leaves the field empty
        elif isinstance(event, PaintJudged) and self._row:
            self._row["painted_found"] = event.found / len(event.cells)
        return None

    def close(self) -> Notice | None:
        """Write the row that was begun; return a notice where that fails."""
        if self._broken or not self._row:
            return None
        try:
            with self._path.open("a", newline="", encoding="utf-8") as file:
                csv.writer(file).writerow([self._row.get(name) for name in self._columns])
        except OSError as error:
            self._broken = True
            why = why_not_written(self._path, error)
            return Notice(f"The training goes on, but its history ends here: {why}")
        return None


def _columns_of(path: Path) -> Sequence[str]:
    """Read the head of a table: one that an earlier version began has fewer columns."""
    with suppress(OSError), path.open(newline="", encoding="utf-8") as file:
        return next(csv.reader(file), COLUMNS)
    return COLUMNS
