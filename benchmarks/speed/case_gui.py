"""How the window feels while it trains: on a screen, or under xvfb-run; else left out."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import gui
from figures import Figure, Options

if TYPE_CHECKING:
    from collections.abc import Iterator


def measure(options: Options) -> Iterator[Figure]:
    """Paint and train for a while, as `benchmarks/gui.py` does."""
    if sys.platform == "linux" and not os.environ.get("DISPLAY"):
        return
    seconds = 5.0 if options.quick else 20.0
    for each in (*gui.measure(seconds), *gui.measure_closing()):
        yield Figure.at_most(each.what, float(each.value), each.unit, each.limit)
