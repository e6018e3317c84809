"""Of a large frame, only what surrounds the paint is prepared and learned from.

Targets, weights and held-back pixels are arrays of the size of their frame: of a frame of
gigapixels they would fill the memory, for a few strokes. A cropped frame is as large as the paint
and so much around it that no patch, nor the network's view of a pixel, ends where it ends.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.data.frames import Frame
from napari_unet.data.labels import paint_box

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from napari_unet.data.axes import Region
    from napari_unet.data.frames import Pixels
    from napari_unet.training.config import TrainConfig

# Frames of so many pixels stay as they are.
_WHOLE_PIXELS = 2**22
# Boxes begin and end on multiples of this: a few strokes more seldom make another one.
_GRID = 64
# A patch is drawn off its painted centre by a fourth, and reads more where it zooms and turns.
_REACH = 1.5


@dataclass(frozen=True)
class CroppedFrame(Frame):
    """A box of a frame, read as a frame of its own."""

    whole: Frame | None = None
    """The frame; never None but for the defaults of the fields before."""
    box: Region = ()
    """Where, in ``[Z]YX`` of `whole`."""

    @property
    def spatial_shape(self) -> tuple[int, ...]:
        """Sizes along ``[Z]YX``."""
        return tuple(part.stop - part.start for part in self.box)

    def read(self, region: Region) -> Pixels:
        """Read a region that lies inside the box; see :meth:`Frame.read`."""
        assert self.whole is not None
        wanted = []
        for part, box, size in zip(region, self.box, self.spatial_shape, strict=True):
            start, stop, step = part.indices(size)
            wanted.append(slice(start + box.start, stop + box.start, step))
        return self.whole.read(tuple(wanted))


def cropped_frame(frame: Frame, box: Region | None) -> Frame:
    """Return a box of a frame; the frame itself for None."""
    if box is None:
        return frame
    return CroppedFrame(
        frame.array,
        frame.axes,
        frame.ndim,
        frame.index,
        frame.used_channels,
        frame.window,
        frame.factors,
        frame,
        box,
    )


def box_of(frame: Frame) -> Region:
    """Return the pixels of the whole frame that a frame stands for."""
    if isinstance(frame, CroppedFrame):
        return frame.box
    return tuple(slice(0, size) for size in frame.spatial_shape)


def origin_of(frame: Frame) -> tuple[int, ...]:
    """Return where in the whole frame a frame begins."""
    return tuple(part.start for part in box_of(frame))


def moved(region: Region, start: Sequence[int], new_start: Sequence[int]) -> Region:
    """Give a region that counts from one corner as it counts from another."""
    shifts = [int(a) - int(b) for a, b in zip(start, new_start, strict=True)]
    return tuple(
        slice(part.start + shift, part.stop + shift)
        for part, shift in zip(region, shifts, strict=True)
    )


def training_box(
    frame: Frame,
    labels: NDArray[Any],
    config: TrainConfig,
    binning: float,
    kept: Iterable[Region] = (),
) -> Region | None:
    """Choose the box of a frame to train on; None for all of it.

    Parameters
    ----------
    frame : Frame
        As the network sees it: binned.
    labels : ndarray
        What is painted, ``[Z]YX``, not binned; 0 is unlabelled.
    binning : float
        Pixels of the labels per pixel of the frame, along Y and X.
    kept : iterable of tuple of slice
        Boxes of the frame that must lie in it.
    """
    shape = frame.spatial_shape
    painted = paint_box(labels) if math.prod(shape) > _WHOLE_PIXELS else None
    if painted is None:
        return None
    factors = (1,) * (frame.ndim - 2) + (binning, binning)
    low = np.floor([p.start / k for p, k in zip(painted, factors, strict=True)]) - _margin(config)
    high = np.ceil([p.stop / k for p, k in zip(painted, factors, strict=True)]) + _margin(config)
    for box in kept:
        low = np.minimum(low, [part.start for part in box])
        high = np.maximum(high, [part.stop for part in box])
    low = np.maximum(low // _GRID * _GRID, 0)
    high = np.minimum(-(-high // _GRID) * _GRID, shape)
    if np.prod(high - low, dtype=float) > math.prod(shape) / 2:
        return None
    return tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))


def _margin(config: TrainConfig) -> NDArray[np.int64]:
    halos = config.network(1, 2).halos
    sides = [p + 2 * h for p, h in zip(config.patch_shape(), halos, strict=True)]
    return np.ceil(np.array(sides) * _REACH).astype(np.int64)
