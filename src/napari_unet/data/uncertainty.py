"""Where a network is unsure, and which spots a microscopist should look at first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage as ndi
from scipy.special import entr

from napari_unet.errors import ConfigError, LabelsError

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Below this mean uncertainty there is nothing to decide.
_LEAST_SCORE = 0.02
# Box means that differ by less are equal but for rounding.
_TIE = 1e-5


@dataclass(frozen=True)
class Spot:
    """A box in which a network is unsure."""

    frame: tuple[int, ...]
    """Index of the frame, one number per leading axis; empty where there are none."""
    position: tuple[int, ...]
    """Pixel at the centre of the box, ``[Z]YX``."""
    score: float
    """Mean uncertainty in the box, 0 to 1."""


def uncertainty_of(probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the entropy of class probabilities as a share of the largest possible one.

    Of ``C[Z]YX`` float32 that sums to 1 over the classes: ``[Z]YX`` float32, 0 where one class is
    certain, 1 where all are equally likely.
    """
    likely = np.asarray(probabilities, np.float32).clip(0, 1)
    largest = np.float32(np.log(max(2, len(likely))))  # a single class is always certain
    share: NDArray[np.float32] = np.zeros(likely.shape[1:], np.float32)
    for one_class in likely:
        share += entr(one_class)
    share /= largest
    # Softmax rounds to 1 while the other classes still hold traces, which is no doubt.
    share[(likely >= 1).any(axis=0)] = 0
    return share.clip(0, 1)


def find_spots(
    uncertainty: NDArray[np.float32],
    painted: NDArray[np.bool_] | None,
    size: int = 32,
    most: int = 20,
    frame: tuple[int, ...] = (),
) -> tuple[Spot, ...]:
    """Rank boxes of one frame by their mean uncertainty.

    All boxes are equally large and lie within the image, so that its borders are neither favoured
    (by means of fewer pixels) nor dropped (by pixels beyond them that count as certain). Painted
    pixels count as certain; those of another shape raise LabelsError.

    `size` is the edge of the boxes along Y and X, at least 1, else ConfigError; a quarter of it
    along Z. An image that is smaller limits it. Two spots are at least so far apart along one axis.
    They come by descending score, without those that score less than 0.02.
    """
    if size < 1:
        raise ConfigError(f"size is {size}; spots need boxes of at least 1 pixel.")
    if painted is not None and painted.shape != uncertainty.shape:
        raise LabelsError(
            f"The painted pixels have the shape {painted.shape}, the uncertainty "
            f"{uncertainty.shape}; give the labels of the same frame."
        )
    if not uncertainty.size:
        return ()
    unsure = uncertainty if painted is None else np.where(painted, 0, uncertainty)
    box = _box(unsure.shape, size)
    means = _box_means(unsure.astype(np.float32, copy=False), box)
    spots = []
    for _ in range(most):
        best = np.unravel_index(int(means.argmax()), means.shape)
        if means[best] < _LEAST_SCORE:
            break
        corner = _middle_of_ties(means, best, size)
        centre = tuple(at + edge // 2 for at, edge in zip(corner, box, strict=True))
        spots.append(Spot(frame, centre, min(1.0, float(means[corner]))))
        means[tuple(slice(max(0, at - size + 1), at + size) for at in corner)] = -1
    return tuple(sorted(spots, key=lambda spot: -spot.score))


def _box(shape: tuple[int, ...], size: int) -> tuple[int, ...]:
    # Planes of a stack lie further apart than its pixels.
    edges = (max(1, size // 4), size, size) if len(shape) == 3 else (size,) * len(shape)
    return tuple(min(edge, length) for edge, length in zip(edges, shape, strict=True))


def _box_means(unsure: NDArray[np.float32], box: tuple[int, ...]) -> NDArray[np.float32]:
    """Return the mean of each box within the image, at the index of its first corner."""
    filtered = ndi.uniform_filter(unsure, box, mode="constant")
    within = tuple(
        slice(edge // 2, length - edge + edge // 2 + 1)
        for edge, length in zip(box, unsure.shape, strict=True)
    )
    means: NDArray[np.float32] = filtered[within]
    return means


def _middle_of_ties(
    means: NDArray[np.float32], best: tuple[np.intp, ...], size: int
) -> tuple[int, ...]:
    """Return the middle one of the boxes around `best` that are as good.

    Every box that holds the whole of a small doubtful thing has the same mean; the middle one
    shows it in its centre, the first one in its lower right corner.
    """
    first = [max(0, int(at) - size) for at in best]
    around = means[tuple(slice(low, int(at) + size) for low, at in zip(first, best, strict=True))]
    ties = np.argwhere(around >= means[best] - _TIE)
    middle = ties[np.abs(ties - ties.mean(axis=0)).sum(axis=1).argmin()]
    return tuple(int(at) + low for at, low in zip(middle, first, strict=True))
