"""Regions that reach beyond the image see it mirrored, as in section 2 of the paper."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def mirrored_positions(start: int, stop: int, size: int) -> NDArray[np.intp]:
    """Map positions ``start..stop-1`` into an axis of `size` pixels, mirrored at both ends.

    The outermost pixel is not repeated; the mirror images go on for ever: -1 is 1, and
    ``size`` is ``size - 2``.
    """
    positions = np.arange(start, stop)
    if size == 1:
        return np.zeros_like(positions)
    period = 2 * (size - 1)
    positions = np.abs(positions) % period
    return np.minimum(positions, period - positions)
