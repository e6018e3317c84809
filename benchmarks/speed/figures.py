"""What a case measures, and how: what is compared runs in turns, in one process."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


@dataclass(frozen=True)
class Figure:
    """One line of the table.

    Parameters
    ----------
    what : str
        What was measured, with the peer or bare limit that it is compared with.
    value : float
        The figure.
    unit : str
        "s", "ms", "Mpx/s", "x" (a ratio), "MB", "ppm", "%".
    goal : str
        The goal in words, "at least 5"; empty where there is none.
    held : bool or None
        Whether the goal was reached; None where there is none.
    """

    what: str
    value: float
    unit: str
    goal: str = ""
    held: bool | None = None

    @classmethod
    def at_least(cls, what: str, value: float, unit: str, goal: float) -> Figure:
        """Return a figure that should be high."""
        return cls(what, value, unit, f"at least {goal:g}", value >= goal)

    @classmethod
    def at_most(cls, what: str, value: float, unit: str, goal: float) -> Figure:
        """Return a figure that should be low."""
        return cls(what, value, unit, f"at most {goal:g}", value <= goal)


@dataclass(frozen=True)
class Options:
    """What the command line says.

    Parameters
    ----------
    rounds : int
        How often each thing is timed; the fastest time counts.
    quick : bool
        Small images, to try whether a case works: its figures mean nothing.
    """

    rounds: int = 5
    quick: bool = False


def fastest(actions: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Time several things in turns, after one untimed call of each.

    A machine that is slow for a while is slow for all of them.

    Returns
    -------
    dict
        Seconds of the fastest call, by name.
    """
    seconds = dict.fromkeys(actions, float("inf"))
    for action in actions.values():
        action()
    for _ in range(rounds):
        for name, action in actions.items():
            began = time.perf_counter()
            action()
            seconds[name] = min(seconds[name], time.perf_counter() - began)
    return seconds
