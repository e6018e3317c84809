"""A run in a terminal: progress bar on stderr, Ctrl+C stops and keeps, ``--history`` is a table."""

from __future__ import annotations

import contextlib
import csv
import io
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, TypeVar

from napari_unet.cli.printing import note, say, tell, terminal_bar
from napari_unet.errors import FileProblemError
from napari_unet.io.disk import replace_file, why_not_written
from napari_unet.io.outputs import columns_of
from napari_unet.run import Notice, Run
from napari_unet.tasks import scores_in_words
from napari_unet.training.events import (
    Checkpoint,
    PaintJudged,
    StepDone,
    TrainingStarted,
    Validated,
)
from napari_unet.training.held_back import CELLS_TO_SPARE_SOME

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence
    from pathlib import Path

    from napari_unet.model.trained import TrainedNetwork
    from napari_unet.training.events import TrainingEvent
    from napari_unet.training.loop import TrainingResult
    from napari_unet.training.state import TrainingState

Result = TypeVar("Result")

_SAME = 0.005  # by so much scores may differ that are called equal
STOPPING = "Stopping after this step; what is done is kept."
COLUMNS = (
    *("step", "loss", "seconds", "validation_loss", "iou", "object_f1", "painted_found"),
    *("psnr", "ssim"),
)


# What asks a program to end: Ctrl+C, `kill` (also of a queue whose time is over, and of torchrun
# when another process died), and the terminal that is closed (Windows has none).
_ENDING = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
]


_AT_ONCE_SECONDS = 0.5


@contextlib.contextmanager
def stop_on_interrupt(answer: str = STOPPING) -> Iterator[threading.Event]:
    """Give an event that Ctrl+C, SIGTERM or SIGHUP sets, printing `answer`; the next one ends.

    What follows at once is not the next one: a terminal that is closed, and the shell in it, each
    send a signal. A signal that the process was started to ignore (``nohup``) stays ignored.
    """
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    began = 0.0

    def handle(signum: int, frame: object) -> None:
        nonlocal began
        if stop.is_set():
            if time.monotonic() - began > _AT_ONCE_SECONDS:
                restore()
                signal.raise_signal(signum)
            return
        began = time.monotonic()
        stop.set()
        if answer:
            # The terminal may be gone, or a line for it be half written just now (a RuntimeError).
            with contextlib.suppress(OSError, RuntimeError):
                say(answer, file=sys.stderr)

    def restore() -> None:
        for number, handler in previous.items():
            signal.signal(number, handler)

    previous = {
        number: signal.getsignal(number)
        for number in _ENDING
        if signal.getsignal(number) is not signal.SIG_IGN
    }
    for number in previous:
        signal.signal(number, handle)
    try:
        yield stop
    finally:
        restore()


class TrainingBar:
    """Show training events as a progress bar; only the notices of them where `quiet`."""

    def __init__(self, quiet: bool) -> None:
        self._bar = terminal_bar(
            total=100.0,
            disable=quiet,
            unit="%",
            mininterval=0.5,
            bar_format="{desc}{percentage:3.0f}%|{bar}| {elapsed}{postfix}",
        )
        self._score = ""
        self._found = ""

    def show(self, event: object) -> None:
        """Show one event."""
        if isinstance(event, TrainingStarted):
            tell(
                f"Training on {event.device}: {event.painted} painted pixels in "
                f"{event.frames} image(s), {event.validation_blocks} block(s) held back."
            )
        elif isinstance(event, StepDone):
            left = f"{event.seconds_left:.0f} s left"
            text = f"{left}, loss {event.loss:.3f}{self._found}{self._score}"
            self._bar.set_postfix_str(text, refresh=False)
            self._bar.update(100.0 * event.progress - self._bar.n)
        elif isinstance(event, Validated):
            self._score = f", {event.text}"
        elif isinstance(event, PaintJudged):
            self._found = f", {event.found}/{len(event.cells)} painted cells"
        elif isinstance(event, Notice):
            note(event.text)

    def close(self) -> None:
        """Leave the bar as it stands."""
        self._bar.close()


def run_training(events: Generator[object, None, Result], quiet: bool) -> Result:
    """Run a training to its end and return its result."""
    with contextlib.closing(TrainingBar(quiet)) as bar:
        return Run(events).finish(bar.show)


# --- What is told at its end ---------------------------------------------------------------------


def training_report(result: TrainingResult, output: Path, processes: int) -> dict[str, Any]:
    """Return what is told of a training at its end."""
    record = result.trained.record
    kept = [entry for entry in record.history if entry.get("best")]
    cells = result.painted_cells
    found = sum(cell.verdict == "found" for cell in cells)
    judged = {"painted_cells": len(cells), "painted_cells_found": found} if cells else {}
    return {
        "model": str(output),
        "steps": result.state.step,
        "processes": processes,
        "seconds": round(result.state.seconds, 1),
        "stopped": result.stopped,
        "settled": result.settled,
        "validation": kept[-1] if kept else None,
        **judged,
    }


def beside_previous(result: TrainingResult, previous: TrainedNetwork) -> dict[str, Any]:
    """Return how the model that was trained further scores on what was held back this time."""
    record = previous.record
    of_this = result.trained.record.history[len(record.history) :]
    first = [entry for entry in of_this if entry["step"] == record.steps]
    return {"previous": {"validation": first[0] if first else None, "kept": result.start_kept}}


def _better(report: dict[str, Any]) -> str:
    """Say whether the model got better than the one that it was trained further from."""
    before, now = report["previous"]["validation"], report["validation"]
    if report["previous"]["kept"]:
        return " Nothing was better than the previous model, which was kept."
    if before is None or now is None:
        return " Whether it is better than the previous model is not known: nothing is held back."
    judged = [name for name in ("object_f1", "iou", "ssim") if now.get(name) is not None]
    if not judged or before.get(judged[0]) is None:
        return ""
    name = judged[0]
    gain = now[name] - before[name]
    what = "Better than" if gain > _SAME else "As good as" if gain > -_SAME else "Worse than"
    word, _, value = scores_in_words(**{name: before[name]}).rpartition(" ")
    return f" {what} the previous model: there its {word} is {value}."


def report_in_words(report: dict[str, Any]) -> str:
    """Return a report as a sentence or two."""
    text = f"{report['model']}: {report['steps']} steps in {report['seconds']:.0f} s"
    if "painted_cells" in report:
        found, painted = report["painted_cells_found"], report["painted_cells"]
        text += f"; {found} of {painted} painted cells found"
    best = report["validation"]
    if best is None:
        few = report.get("painted_cells", CELLS_TO_SPARE_SOME) < CELLS_TO_SPARE_SOME
        why = f": of fewer than {CELLS_TO_SPARE_SOME} painted cells none is held back"
        text += f", no validation{why if few else ''}."
        return text + (_better(report) if "previous" in report else "")
    text += f"; best at step {best['step']}: {scores_in_words(**best)}"
    return text + " on held-back paint." + (_better(report) if "previous" in report else "")


# --- The table that ``--history`` writes: one CSV row per step -----------------------------------


def begin_history(path: Path, resume: TrainingState | None) -> None:
    """Write the head of a new table; a resumed training continues the one there is.

    Of that the rows go that lie behind the step where the training goes on, as it was killed after
    it had written them and before its state: these steps come again. A last row that was cut off
    goes too. FileProblemError if the file cannot be written.
    """
    table = io.StringIO(newline="")
    try:
        there = resume is not None and path.exists()
        rows = list(_rows_until(path, resume.step)) if resume and there else []
        csv.writer(table).writerows(rows or [COLUMNS])
        replace_file(path, table.getvalue().encode())
    except (OSError, csv.Error) as error:
        raise FileProblemError(
            f"{why_not_written(path, error)} Choose another file for --history."
        ) from error


def is_history(path: Path) -> bool:
    """Return whether a file begins as our tables do; earlier versions had fewer columns."""
    columns = columns_of(path)
    return columns[:2] == [*COLUMNS[:2]] and set(columns) <= set(COLUMNS)


def _rows_until(path: Path, last: int) -> Iterator[list[str]]:
    """Yield the head of a table and the whole rows of steps up to the last, each step once."""
    with path.open(newline="", encoding="utf-8", errors="replace") as file:
        rows = csv.reader([line for line in file if line.endswith("\n")])
    step, head = 0, next(rows, [])
    yield from [head] if head else []
    for row in rows:
        whole = len(row) == len(head) and row[0].isdecimal()
        if whole and step < int(row[0]) <= last:
            step = int(row[0])
            yield row


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
        """Take up an event; a row is written when the next one begins, or the state is saved."""
        if isinstance(event, Checkpoint):  # its steps do not come again
            return self.close()
        if isinstance(event, StepDone):
            problem = self.close()
            self._row = {"step": event.step, "loss": event.loss, "seconds": round(event.seconds, 4)}
            return problem
        if not self._row or getattr(event, "step", 0) != self._row["step"]:
            return None  # scores of what it began with come after the first step
        if isinstance(event, Validated):
            self._row["validation_loss"], self._row["iou"] = event.loss, event.iou
            self._row["object_f1"] = event.object_f1  # None leaves the field empty
            self._row["psnr"], self._row["ssim"] = event.psnr, event.ssim
        elif isinstance(event, PaintJudged):
            self._row["painted_found"] = event.found / len(event.cells)
        return None

    def close(self) -> Notice | None:
        """Write the row that was begun; return a notice where that fails."""
        if self._broken or not self._row:
            return None
        try:
            with self._path.open("a", newline="", encoding="utf-8") as file:
                csv.writer(file).writerow([self._row.get(name) for name in self._columns])
            self._row = {}
        except OSError as error:
            self._broken = True
            why = why_not_written(self._path, error)
            return Notice(f"The training goes on, but its history ends here: {why}")
        return None


def _columns_of(path: Path) -> Sequence[str]:
    """Read the head of a table: one that an earlier version began has fewer columns."""
    with contextlib.suppress(OSError), path.open(newline="", encoding="utf-8") as file:
        return next(csv.reader(file), COLUMNS)
    return COLUMNS
