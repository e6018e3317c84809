"""Made-up images of many cells, for the benchmarks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage as ndi

if TYPE_CHECKING:
    from numpy.typing import NDArray

_JITTER = 0.15
# Radii as shares of the distance between centres: many cells touch, about half is covered.
_RADII = (0.3, 0.5)
# How steeply an answer rises at the border of a cell, and how much it is in doubt.
_STEEPNESS, _NOISE = 8.0, 0.3


def crowded_labels(shape: tuple[int, ...], count: int, seed: int = 0) -> NDArray[np.int32]:
    """Return `count` disks or balls of several sizes in shuffled order; some touch, none hides.

    Parameters
    ----------
    shape : tuple of int
        ``[Z]YX``.
    count : int
        Number of cells.
    seed : int
        Another seed, another image.
    """
    rng = np.random.default_rng(seed)
    pitch = (np.prod(shape) / count) ** (1 / len(shape))
    grid = tuple(int(np.ceil(size / pitch)) for size in shape)
    steps = np.array(shape) / grid
    labels = np.zeros(shape, np.int32)
    for number, place in enumerate(rng.permutation(int(np.prod(grid)))[:count], start=1):
        jitter = rng.uniform(-_JITTER, _JITTER, len(shape))
        centre = (np.array(np.unravel_index(place, grid)) + 0.5 + jitter) * steps
        radius = rng.uniform(*_RADII) * steps.min()
        box = tuple(slice(max(0, int(c - radius)), int(c + radius) + 2) for c in centre)
        seen = labels[box]
        squares = np.zeros(seen.shape)
        for axis, side in enumerate(box):
            along = (np.arange(seen.shape[axis]) + side.start - centre[axis]) ** 2
            squares += along.reshape([-1 if a == axis else 1 for a in range(len(shape))])
        seen[(squares < radius**2) & (seen == 0)] = number
    return labels


def answer_about(labels: NDArray[np.int32], seed: int = 0) -> NDArray[np.uint8]:
    """Return what a network may answer: probabilities of foreground in steps of 1/255.

    Certain within cells, with ridges of all strengths between touching ones, and some noise.
    """
    rng = np.random.default_rng(seed)
    apart = (labels > 0).astype(np.float32)
    for axis in range(labels.ndim):
        ahead = np.roll(labels, -1, axis)
        apart[(labels != ahead) & (ahead > 0)] = 0
    noise = ndi.gaussian_filter(rng.standard_normal(labels.shape, np.float32), 1.5)
    depth = ndi.gaussian_filter(apart, 1.0) - np.float32(0.5) + np.float32(_NOISE) * noise
    steps: NDArray[np.uint8] = np.round(255 / (1 + np.exp(-_STEEPNESS * depth))).astype(np.uint8)
    return steps
