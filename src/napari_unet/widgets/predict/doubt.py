"""What a model may be unsure of at a spot, in words, and which tool settles it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage as ndi

if TYPE_CHECKING:
    from numpy.typing import NDArray

_REACH = 16  # pixels to each side: half of the box of which a spot is the middle
_LARGE, _SMALL = 1.6, 0.5  # times the size of most cells
_TOUCH = 3  # pixels between two cells that may be one


@dataclass(frozen=True)
class Doubt:
    """What is to be decided."""

    words: str
    tool: str
    """One of the tools of the dock."""


MISSED = Doubt("is there a cell?", "cell")
NO_CELL = Doubt("is this a cell?", "delete")
EDGE = Doubt("where does the cell end?", "cell")
BETWEEN = Doubt("between two cells", "merge")
TWO_IN_ONE = Doubt("one cell or two?", "split")


def doubt_at(labels: NDArray[Any], position: tuple[int, ...], usual: float) -> Doubt:
    """Guess what a model is unsure of at a pixel of a plane of objects.

    `usual` is the size of most objects, in pixels.
    """
    box = tuple(slice(max(0, at - _REACH), at + _REACH) for at in position[-2:])
    around = labels[box]
    if not around.any():
        return MISSED
    middle = tuple(at - part.start for at, part in zip(position[-2:], box, strict=True))
    places = np.argwhere(around > 0)
    nearest = places[((places - middle) ** 2).sum(axis=1).argmin()]
    cell = around == around[tuple(nearest)]
    if (ndi.binary_dilation(cell, iterations=_TOUCH) & (around > 0) & ~cell).any():
        return BETWEEN
    area = int(np.count_nonzero(labels == around[tuple(nearest)]))
    if area > _LARGE * usual:
        return TWO_IN_ONE
    return NO_CELL if area < _SMALL * usual else EDGE


def usual_size(labels: NDArray[Any]) -> float:
    """Return the median size of the objects of a plane, in pixels; 0 where there is none."""
    sizes = np.bincount(labels.ravel())[1:]
    return float(np.median(sizes[sizes > 0])) if sizes.any() else 0.0
