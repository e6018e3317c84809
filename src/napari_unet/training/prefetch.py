"""Prefetching: the batches of the next steps are drawn while a step computes.

A batch is a function of its step alone, so that training goes on exactly as if each were drawn
when it is needed.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future
    from types import TracebackType

    from napari_unet.training.patches import Batch

# One more than is needed at once: a slow read now and then makes no step wait.
_PREFETCHED = 2


class BatchPrefetcher:
    """Draws the batches of the next steps in a thread of its own, which lives in a `with` block.

    Outside of it each batch is drawn at its step.

    The thread is as polite as the one that trains (a thread on Linux begins with the niceness of
    the one that starts it), and its torch takes one core: a team of cores of its own would only
    hinder the one that computes the step.
    """

    def __init__(self) -> None:
        self._thread: ThreadPoolExecutor | None = None
        self._number = 0
        self._drawn: dict[int, Future[Batch]] = {}
        self._draw: Callable[[int], Batch] | None = None

    def __enter__(self) -> BatchPrefetcher:
        """Start the thread."""
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="napari-unet-patches")
        cores = torch.get_num_threads()
        self._number = self._thread.submit(_compute_on_one_core).result()
        # torch lets threads that begin later follow whoever set this last
        torch.set_num_threads(cores)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the thread, and forget what it has drawn."""
        self.forget()
        # an abandoned generator is closed in whatever thread collects the garbage
        elsewhere = threading.get_ident() != self._number
        if self._thread is not None:
            self._thread.shutdown(wait=elsewhere, cancel_futures=True)
        self._thread = None

    def take(self, step: int, draw: Callable[[int], Batch]) -> Batch:
        """Return what `draw` returns for a step, and begin with those of the next ones.

        What another function has prefetched is forgotten: give the same one (or an equal one)
        while nothing changes. What `draw` raises is raised here, at the step that needs it.
        """
        if self._thread is None:
            return draw(step)
        if draw != self._draw:
            self.forget()
            self._draw = draw
        wanted = range(step, step + 1 + _PREFETCHED)
        kept = {number: self._drawn[number] for number in wanted if number in self._drawn}
        for number in wanted:
            if number not in kept:
                kept[number] = self._thread.submit(draw, number)
        self._drawn = kept
        return kept.pop(step).result()

    def forget(self) -> None:
        """Let go of what was prefetched, and of the errors met there: they hold memory."""
        for batch in self._drawn.values():
            batch.cancel()
        self._drawn = {}
        self._draw = None


def _compute_on_one_core() -> int:
    """Let torch take one core in this thread; return the thread's number."""
    torch.set_num_threads(1)
    torch.get_num_threads()  # the first use in a thread takes over what was set last, anywhere
    return threading.get_ident()
