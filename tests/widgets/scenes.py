"""An easy image, paint on it, and a network small enough to learn it in a second."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

TINY = {"base_channels": 4, "depth": 2, "patch_size": 32, "batch_size": 2, "validate_every": 5}


def disks(size: int = 96) -> NDArray[np.uint8]:
    """Bright disks on dark ground, on a grid: a network learns them in a few steps."""
    grid = np.indices((size, size)) % 24 - 12
    image = np.where((grid**2).sum(axis=0) < 50, 200, 30)
    noise = np.random.default_rng(0).integers(0, 10, (size, size))
    return (image + noise).astype(np.uint8)


def strokes_on(image: NDArray[Any]) -> NDArray[np.uint16]:
    """Paint eight disks, each with its own number, and three stripes of background."""
    labels = np.zeros(image.shape, np.uint16)
    rows, columns = np.indices(image.shape)
    for number in range(8):
        centre = 12 + 24 * (number // 4), 12 + 24 * (number % 4)
        near = (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 < 36
        labels[near] = number + 2
    for row in (0, 24, 47):
        labels[row : row + 2] = 1
    return labels
