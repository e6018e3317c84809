"""Regions that reach beyond the image see it mirrored, as in section 2 of the paper."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_unet.data.axes import Frame


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


def read_mirrored(frame: Frame, start: Sequence[int], stop: Sequence[int]) -> NDArray[np.float32]:
    """Read a box that may reach beyond the frame.

    Parameters
    ----------
    frame : Frame
        Where to read; only the pixels that are needed are asked for.
    start, stop : sequence of int
        The box in the frame's ``[Z]YX`` coordinates; may be negative or beyond the end.

    Returns
    -------
    ndarray
        Shape C followed by ``stop - start``; float32.
    """
    positions = [
        mirrored_positions(a, b, size)
        for a, b, size in zip(start, stop, frame.spatial_shape, strict=True)
    ]
    inside = tuple(slice(int(p.min()), int(p.max()) + 1) for p in positions)
    pixels = frame.read(inside)
    for axis, (p, box) in enumerate(zip(positions, inside, strict=True), start=1):
        if len(p) != pixels.shape[axis] or np.any(np.diff(p) != 1):
            pixels = pixels.take(p - box.start, axis=axis)
    return pixels
