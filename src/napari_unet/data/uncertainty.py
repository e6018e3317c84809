"""Where a network is unsure, and which spots to look at first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage as ndi

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LEAST_SCORE = 0.02


@dataclass(frozen=True)
class Spot:
    """A place where a network is unsure."""

    frame: tuple[int, ...]
    position: tuple[int, ...]
    score: float


def uncertainty_of(probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the entropy of class probabilities, 0 to 1."""
    p = np.clip(probabilities, 1e-7, 1.0)
    entropy = -(p * np.log(p)).sum(axis=0) / np.log(max(2, len(p)))
    result: NDArray[np.float32] = np.clip(entropy, 0, 1).astype(np.float32)
    return result


def find_spots(
    uncertainty: NDArray[np.float32],
    painted: NDArray[np.bool_] | None,
    size: int = 32,
    most: int = 20,
    frame: tuple[int, ...] = (),
) -> tuple[Spot, ...]:
    """Rank boxes by their mean uncertainty."""
    unknown = uncertainty if painted is None else np.where(painted, 0, uncertainty)
    mean = ndi.uniform_filter(unknown.astype(np.float32), size, mode="constant")
    spots = []
    for _ in range(most):
        at = np.unravel_index(int(mean.argmax()), mean.shape)
        score = float(mean[at])
        if score < _LEAST_SCORE:
            break
        spots.append(Spot(frame, tuple(int(i) for i in at), score))
        mean[tuple(slice(max(0, int(i) - size), int(i) + size) for i in at)] = 0
    return tuple(spots)
