"""What an object of a prediction must be to count: how large, and how sure."""

from __future__ import annotations

from typing import NamedTuple

# How sure an object must be where a few painted cells were learned, and where none were; and what
# is smaller than any painted cell, but not than this share of a typical one, may be one. Mean F1 of
# ten images that a brush painted, three stages of a training each: 0.786 without, 0.803 with it.
# Eleven sets, untaught, one cell circled: 0.631, with shares of 0.2, 0.3, 0.4: 0.648, 0.659, 0.644.
_SURE_OF_PAINT, SURE_UNTAUGHT = 0.4, 0.3
_SMALLEST_SHARE = 0.1


class Limits(NamedTuple):
    """What an object must be to count."""

    smallest: int = 0
    """Pixels; of fewer it is dropped."""
    sure: float = 0.0
    """Share of the way from the threshold to certainty that its mean probability must reach."""
    doubtful: int = 0
    """Of fewer pixels than these it must reach more of it, and is no part of another."""

    @classmethod
    def of_few_cells(cls, smallest: int, typical: float) -> Limits:
        """Return them for what a few painted cells taught.

        None of these is smaller than `smallest`, and they typically have `typical` pixels (0:
        unknown).
        """
        least = min(smallest, round(_SMALLEST_SHARE * typical)) if typical else smallest
        return cls(least, _SURE_OF_PAINT, smallest)
