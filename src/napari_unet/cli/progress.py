"""Run a generator of events in a terminal: progress bar on stderr, Ctrl+C stops and keeps."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any, TypeVar

from tqdm import tqdm

from napari_unet.run import Notice, Run
from napari_unet.training.events import PaintJudged, StepDone, TrainingStarted, Validated

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

Result = TypeVar("Result")

STOPPING = "Stopping after this step; what is done is kept."


# What asks a program to end: Ctrl+C, `kill` (also of a queue whose time is over, and of torchrun
# when another process died), and the terminal that is closed (Windows has none).
_ENDING = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
]


@contextlib.contextmanager
def stop_on_interrupt(answer: str = STOPPING) -> Iterator[threading.Event]:
    """Give an event that Ctrl+C, SIGTERM or SIGHUP sets, printing `answer`; the next one ends.

    A signal that the process was started to ignore (``nohup``) stays ignored.
    """
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def handle(signum: int, frame: object) -> None:
        stop.set()
        restore()
        if answer:
            with contextlib.suppress(OSError):  # the terminal may be what is gone
                print(answer, file=sys.stderr)

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
        self._bar: tqdm[Any] = tqdm(
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
            self._bar.write(
                f"Training on {event.device}: {event.painted} painted pixels in "
                f"{event.frames} image(s), {event.validation_blocks} block(s) held back.",
                file=sys.stderr,
            )
        elif isinstance(event, StepDone):
            left = f"{event.seconds_left:.0f} s left"
            text = f"{left}, loss {event.loss:.3f}{self._found}{self._score}"
            self._bar.set_postfix_str(text, refresh=False)
            self._bar.update(100.0 * event.progress - self._bar.n)
        elif isinstance(event, Validated):
            self._score = f", IoU {event.iou:.3f}"
            if event.object_f1 is not None:
                self._score += f", object F1 {event.object_f1:.3f}"
        elif isinstance(event, PaintJudged):
            self._found = f", {event.found}/{len(event.cells)} painted cells"
        elif isinstance(event, Notice):
            self._bar.write(f"Note: {event.text}", file=sys.stderr)

    def close(self) -> None:
        """Leave the bar as it stands."""
        self._bar.close()


def run_training(events: Generator[object, None, Result], quiet: bool) -> Result:
    """Run a training to its end and return its result."""
    with contextlib.closing(TrainingBar(quiet)) as bar:
        return Run(events).finish(bar.show)
