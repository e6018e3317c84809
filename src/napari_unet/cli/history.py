"""The table that ``napari-unet train --history`` writes: one CSV row per step."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, Any, TypeVar

from napari_unet.errors import FileProblemError
from napari_unet.training.events import StepDone, Validated

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from napari_unet.training.events import TrainingEvent
    from napari_unet.training.state import TrainingState

Result = TypeVar("Result")

COLUMNS = ("step", "loss", "seconds", "validation_loss", "iou", "object_f1")


def begin_history(path: Path, resume: TrainingState | None) -> None:
    """Write the head of a new table; that of a resumed training is gone on with.

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
            f"Cannot write {path}: {error.strerror or error}. Choose another file for --history."
        ) from error


def logging_steps(
    events: Generator[TrainingEvent, None, Result], path: Path
) -> Generator[TrainingEvent, None, Result]:
    """Write each step of a training as a row, with its scores; pass on all events.

    Rows are written as they come, so that the table can be watched.
    """
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        row: list[Any] = []
        while True:
            try:
                event = next(events)
            except StopIteration as end:
                if row:
                    writer.writerow(row)
                result: Result = end.value
                return result
            if isinstance(event, StepDone):
                if row:
                    writer.writerow(row)
                    file.flush()
                row = [event.step, event.loss, round(event.seconds, 4), "", "", ""]
            elif isinstance(event, Validated) and row:
                f1 = "" if event.object_f1 is None else event.object_f1
                row[3:] = [event.loss, event.iou, f1]
            yield event
