"""Frames of an image: read region by region, whatever the image is made of."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.data.axes import SPATIAL_AXES, channels_of, check_axes, check_image, frame_axes
from napari_unet.data.rescaling import Factors, read_scaled, scaled_size
from napari_unet.errors import ImageError, NapariUNetError, UnreadableError, first_line

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from napari_unet.data.axes import ArrayLike, Region
    from napari_unet.data.intensity import Scaling

    Pixels = NDArray[np.floating[Any]]
    Said = NDArray[np.float32]
    # From what a network has said of a region of a frame to what it and something beside it say.
    Beside = Callable[[Said, "Frame", Scaling, Region], Said]


@dataclass(frozen=True)
class Frame:
    """One frame of an image, seen as ``C[Z]YX`` and read region by region."""

    array: ArrayLike
    """The whole image, of any axes."""
    axes: str
    """One letter per axis of `array`."""
    ndim: int
    """Spatial dimensions of the frame, 2 or 3."""
    index: tuple[int, ...] = ()
    """Position on the frame axes, in their order in `axes`."""
    used_channels: tuple[int, ...] = ()
    """Which channels are read, in this order; all where empty."""
    window: int = 1
    """Odd number of neighbouring frames along T that are read as further channels, the earliest
    first. Before the first and after the last frame time is mirrored.
    """
    factors: Factors = ()
    """Pixels of the image per pixel of the frame along ``[Z]YX``; empty: they are the same."""
    box: Region | None = None
    """What of the frame, ``[Z]YX``, is read as a frame of its own; None: all of it."""

    @property
    def bounds(self) -> Region:
        """Where it lies in the whole frame; pixels of another grid may be cut at the far edges."""
        if self.box is not None:
            return self.box
        sizes = self._image_shape
        sizes = tuple(map(scaled_size, sizes, self.factors)) if self.factors else sizes
        return tuple(slice(0, size) for size in sizes)

    @property
    def origin(self) -> tuple[int, ...]:
        """Where in the whole frame it begins."""
        return tuple(part.start for part in self.bounds)

    @property
    def spatial_shape(self) -> tuple[int, ...]:
        """Sizes along ``[Z]YX``."""
        return tuple(part.stop - part.start for part in self.bounds)

    @property
    def _image_shape(self) -> tuple[int, ...]:
        return tuple(self.array.shape[self.axes.index(a)] for a in SPATIAL_AXES[self.ndim])

    @property
    def channels(self) -> int:
        """Number of channels of one timepoint; 1 where the image has no channel axis."""
        if self.used_channels:
            return len(self.used_channels)
        return channels_of(self.array.shape, self.axes)

    def read(self, region: Region) -> Pixels:
        """Read a region that lies inside the frame, a slice per axis of ``[Z]YX``: ``C[Z]YX``.

        The channels are those of the whole window. float32 where that holds all numbers of the
        image's dtype, else float64: 32-bit counts with an offset differ in digits that float32 has
        not.
        """
        if self.box is not None:
            region = tuple(_inside(part, side) for part, side in zip(region, self.box, strict=True))
        if self.factors:
            return read_scaled(self._read_window, self._image_shape, self.factors, region)
        return self._read_window(region)

    def _read_window(self, region: Region) -> Pixels:
        timepoints = [self._read_timepoint(index, region) for index in self._timepoints()]
        return timepoints[0] if len(timepoints) == 1 else np.concatenate(timepoints)

    def _timepoints(self) -> list[tuple[int, ...]]:
        """Return the frame index of each timepoint of the window."""
        if self.window == 1:
            return [self.index]
        position = frame_axes(self.axes, self.ndim).index("T")
        now, half = self.index[position], self.window // 2
        size = self.array.shape[self.axes.index("T")]
        times = mirrored_positions(now - half, now + half + 1, size)
        before, after = self.index[:position], self.index[position + 1 :]
        return [(*before, int(time), *after) for time in times]

    def _read_timepoint(self, index: tuple[int, ...], region: Region) -> Pixels:
        if "C" not in self.axes or not self.used_channels:
            return self._read_pixels(index, region, slice(None))
        # One by one: lazy arrays know no lists of indices, and would read those between.
        return np.concatenate(
            [self._read_pixels(index, region, slice(c, c + 1)) for c in self.used_channels]
        )

    def _read_pixels(self, index: tuple[int, ...], region: Region, channels: slice) -> Pixels:
        spatial = SPATIAL_AXES[self.ndim]
        wanted: dict[str, slice | int] = {"C": channels}
        wanted |= zip(spatial, region, strict=True)
        wanted |= zip(frame_axes(self.axes, self.ndim), index, strict=True)
        pixels = _pixels_at(self.array, tuple(wanted[axis] for axis in self.axes))
        kept = "".join(axis for axis in self.axes if axis in "C" + spatial)
        if "C" not in kept:
            pixels, kept = pixels[np.newaxis], "C" + kept
        pixels = pixels.transpose([kept.index(a) for a in "C" + spatial])
        exact = np.float32 if np.can_cast(pixels.dtype, np.float32) else np.float64
        return np.ascontiguousarray(pixels, dtype=exact)


def _inside(part: slice, side: slice) -> slice:
    """Return a range of a side of a box as one of the axis that the box lies on."""
    start, stop, step = part.indices(side.stop - side.start)
    return slice(start + side.start, stop + side.start, step)


def scaled_frame(frame: Frame, factors: Factors) -> Frame:
    """Return a frame on another grid; itself where all factors are 1."""
    return frame if all(k == 1 for k in factors) else replace(frame, factors=factors)


def _pixels_at(array: ArrayLike, key: tuple[slice | int, ...]) -> NDArray[Any]:
    try:
        return np.asarray(array[key])
    except (NapariUNetError, MemoryError):
        raise
    except Exception as error:  # decoders of damaged chunks raise whatever they come upon
        box = ", ".join(_in_words(k) for k in key)
        reason = first_line(error)
        place = f"[{box}]{_chunks_in_words(array, key)}"
        raise UnreadableError(f"The image cannot be read at {place}: {reason}") from error


def _chunks_in_words(array: ArrayLike, key: tuple[slice | int, ...]) -> str:
    """Name the chunks that a box touches, where an array knows the sizes of its chunks."""
    chunks = getattr(array, "chunks", None)
    if not isinstance(chunks, tuple) or len(chunks) != len(array.shape):
        return ""
    first, last = [], []
    for part, of_axis, size in zip(key, chunks, array.shape, strict=True):
        sizes = of_axis if isinstance(of_axis, tuple) else (of_axis,) * -(-size // of_axis)
        ends = np.cumsum(sizes)
        start, stop, _ = (
            slice(part, part + 1).indices(size) if isinstance(part, int) else (part.indices(size))
        )
        first.append(int(np.searchsorted(ends, start, side="right")))
        last.append(int(np.searchsorted(ends, stop - 1, side="right")))
    if first == last:
        return f", chunk {tuple(first)}"
    return f", chunks {tuple(first)} to {tuple(last)}"


def _in_words(part: slice | int) -> str:
    if isinstance(part, int):
        return str(part)
    return ":".join("" if end is None else str(end) for end in (part.start, part.stop))


def frames_of(
    array: ArrayLike, axes: str, ndim: int, used_channels: tuple[int, ...] = (), window: int = 1
) -> list[Frame]:
    """Split an image into its frames, in row-major order of the frame axes, without reading it.

    The fields of `Frame` say what the parameters mean. Raises ImageError if the image is empty or
    of an unusable dtype, its axes are wrong, it has no such channel, or a window is to be read
    where there is no time.
    """
    check_image(array)
    check_axes(axes, len(array.shape), ndim)
    n_channels = channels_of(array.shape, axes)
    if used_channels and not all(0 <= channel < n_channels for channel in used_channels):
        raise ImageError(
            f"Channels {list(used_channels)} are to be used, but the image has {n_channels} "
            f"(axes {axes}, shape {tuple(array.shape)}); the first is 0."
        )
    if window > 1 and "T" not in frame_axes(axes, ndim):
        raise ImageError(
            f"{window} neighbouring frames are to be seen at once, but the image (axes {axes}, "
            f"shape {tuple(array.shape)}) has no T axis; say which axis is time."
        )
    sizes = [array.shape[axes.index(axis)] for axis in frame_axes(axes, ndim)]
    return [Frame(array, axes, ndim, index, used_channels, window) for index in np.ndindex(*sizes)]


def read_mirrored(frame: Frame, start: Sequence[int], stop: Sequence[int]) -> Pixels:
    """Read the box ``start`` to ``stop`` of ``[Z]YX``, which may reach beyond the frame.

    Only the pixels that are needed are read. The shape is C followed by ``stop - start``, the dtype
    as in `Frame.read`.
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


# --- Regions that reach beyond the image see it mirrored, as in section 2 of the paper -----------


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


# --- Boxes of frames -----------------------------------------------------------------------------


def moved(region: Region, start: Sequence[int], new_start: Sequence[int]) -> Region:
    """Give a region that counts from one corner as it counts from another."""
    shifts = [int(a) - int(b) for a, b in zip(start, new_start, strict=True)]
    return tuple(
        slice(part.start + shift, part.stop + shift)
        for part, shift in zip(region, shifts, strict=True)
    )


def grown(box: Region, pixels: Sequence[int], shape: Sequence[int]) -> Region:
    """Add so many pixels on each side of a box, as far as there are any."""
    return tuple(
        slice(max(0, part.start - more), min(part.stop + more, size))
        for part, more, size in zip(box, pixels, shape, strict=True)
    )


def box_within(box: Region, around: Region) -> Region:
    """Return a box in the coordinates of one around it."""
    return moved(box, (0,) * len(box), [part.start for part in around])


def common(one: Region, other: Region) -> Region:
    """Return the box that lies in both."""
    return tuple(
        slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(one, other, strict=True)
    )
