"""Long work as a generator: it yields events while it goes on, and returns a result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

Event = TypeVar("Event")
Result = TypeVar("Result")


class Run(Generic[Event, Result]):
    """Events that can be looped over, once, with the result at hand afterwards.

    A plain ``for`` loop over a generator throws away what the generator returns.
    """

    result: Result

    def __init__(self, events: Generator[Event, None, Result]) -> None:
        self._events = events

    def __iter__(self) -> Iterator[Event]:
        self.result = yield from self._events

    def finish(self, callback: Callable[[Event], object] | None = None) -> Result:
        """Run to the end, showing each event to a callback, and return the result."""
        for event in self:
            if callback is not None:
                callback(event)
        return self.result


def tap(
    events: Generator[Event, None, Result], callback: Callable[[Event], object]
) -> Generator[Event, None, Result]:
    """Pass on events and their result, and show each event to somebody first."""
    run = Run(events)
    for event in run:
        callback(event)
        yield event
    return run.result


@dataclass(frozen=True)
class Notice:
    """Something unusual that the user should know and that does not stop the work."""

    text: str
    """One sentence."""


@dataclass(frozen=True)
class WayNotice(Notice):
    """The way to another machine was found, lost or found again: that holds until the next one."""


@dataclass(frozen=True)
class PartsDone:
    """So many parts of the work are done."""

    number: int
    total: int
