"""Count what is unusual about pixels while they are read, so that nothing is read twice."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.data.axes import SPATIAL_AXES, frame_axes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_unet.data.axes import Region
    from napari_unet.data.frames import Frame


class Watched:
    """A box of a frame, in which pixels that are not finite are counted as they are read.

    What is read around it, or at neighbouring timepoints, belongs to other boxes: not counted.

    Parameters
    ----------
    frame : Frame
        The image at its full resolution.
    region : Region
        The box, ``[Z]YX``.

    Attributes
    ----------
    not_finite : int
        Pixels found so far; those of each channel count.
    frame : Frame
        To read from; integers, which are always finite, are read as they are.
    """

    def __init__(self, frame: Frame, region: Region) -> None:
        self._array, self.not_finite = frame.array, 0
        self.shape, self.dtype = frame.array.shape, frame.array.dtype
        self.chunks = getattr(frame.array, "chunks", None)  # named where one cannot be read
        box = dict(zip(SPATIAL_AXES[frame.ndim], region, strict=True))
        timepoint = dict(zip(frame_axes(frame.axes, frame.ndim), frame.index, strict=True))
        self._wanted = [box.get(axis, timepoint.get(axis)) for axis in frame.axes]  # None: channels
        is_real = np.dtype(frame.array.dtype).kind == "f"
        self.frame = replace(frame, array=self) if is_real else frame

    def __getitem__(self, key: tuple[slice | int, ...], /) -> NDArray[Any]:
        pixels: NDArray[Any] = np.asarray(self._array[key])
        inside = []
        for part, wanted in zip(key, self._wanted, strict=True):
            if isinstance(part, slice) and isinstance(wanted, slice):
                inside.append(slice(max(0, wanted.start - part.start), wanted.stop - part.start))
            elif isinstance(part, slice):
                inside.append(slice(None))
            elif part != wanted:
                return pixels
        finite = np.isfinite(pixels[tuple(inside)])
        self.not_finite += finite.size - int(np.count_nonzero(finite))
        return pixels
