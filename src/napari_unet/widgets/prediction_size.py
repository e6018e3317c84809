"""How large a result may be that is held in memory."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from napari_unet.errors import ImageError
from napari_unet.widgets.layers import pixels_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.layers import Image

# Pixels of a result that is held at once: 1 GB, and as much again for what it was before edits.
LARGEST_IN_MEMORY = 2**28
# The result of a part of a larger image covers that part alone.
LARGEST_COVERED = 2**26


def is_large(image: Image, keep: Sequence[int]) -> bool:
    """Return whether a layer for all of a result would be a waste of memory.

    Parameters
    ----------
    image : Image
        The image.
    keep : sequence of int
        Its axes that the result has.
    """
    return math.prod(pixels_of(image).shape[axis] for axis in keep) > LARGEST_COVERED


def check_size(shape: Sequence[int]) -> None:
    """Refuse a result that does not fit into memory.

    Raises
    ------
    ImageError
        It has too many pixels.
    """
    if math.prod(shape) > LARGEST_IN_MEMORY:
        raise ImageError(
            f"{' x '.join(f'{size:,}' for size in shape)} pixels are too large a result for "
            "memory. Predict into a file (To file…), or a smaller view."
        )
