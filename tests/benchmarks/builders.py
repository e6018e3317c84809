"""An image that is small, and the cells on it."""

from __future__ import annotations

import numpy as np
from datasets import Sample
from numpy.typing import NDArray


def cells() -> NDArray[np.uint16]:
    """Four squares."""
    truth = np.zeros((96, 96), np.uint16)
    for i in range(4):
        row, column = 12 + 44 * (i // 2), 12 + 44 * (i % 2)
        truth[row : row + 20, column : column + 20] = 7 * i + 3
    return truth


def sample(truth: NDArray[np.uint16] | None = None, colours: int = 0) -> Sample:
    """Bright cells on dark ground, of some colours or none."""
    truth = cells() if truth is None else truth
    shape = (*truth.shape, colours) if colours else truth.shape
    bright = (truth > 0)[..., None] if colours else truth > 0
    noise = np.random.default_rng(0).normal(scale=5, size=shape)
    return Sample("0", (100.0 * bright + noise).astype(np.float32), truth)
