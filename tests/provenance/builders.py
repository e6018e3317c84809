"""A picture that a tiny network learns in a few steps."""

from __future__ import annotations

from typing import Any

import numpy as np


def picture(size: int = 48) -> tuple[Any, Any]:
    """Four bright squares, painted as objects 2 to 5 with background (1) in the rows above."""
    image = np.random.default_rng(0).integers(0, 20, (size, size)).astype(np.uint8)
    labels = np.zeros((size, size), np.uint8)
    labels[:6] = 1
    for number, (row, column) in enumerate([(10, 8), (10, 26), (28, 8), (28, 26)]):
        image[row : row + 10, column : column + 10] += 100
        labels[row : row + 10, column : column + 10] = 2 + number
    return image, labels
