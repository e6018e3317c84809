"""Bring the grey values of an image to the range that networks expect."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from napari_unet.errors import ConfigError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_unet.data.axes import Region
    from napari_unet.data.frames import Frame, Pixels

# Percentiles of a strided sample: those of 64 Mpx would stall a window for 20 ms.
_SAMPLE_PIXELS = 2**20
# Beyond this many pixels a strided sample would touch each chunk of a file: it is then taken from
# small boxes that lie evenly over the frame.
_STRIDED_PIXELS = 2**26
_BOXES_ALONG = {2: (6, 6), 3: (6, 3, 3)}
# Hot pixels count no more than this many times the range between the percentiles.
LOWEST, HIGHEST = -1.0, 3.0
# Of numbers up to this differences, and their multiples up to the limits, are finite in float32.
_SAFE_IN_FLOAT32 = 1e37


class Scaling(Protocol):
    """What brings the grey values of one frame to the range of a network."""

    @property
    def is_constant(self) -> bool:
        """Whether every channel has one value alone."""

    def normalise(self, pixels: Pixels) -> NDArray[np.float32]:
        """Scale pixels of shape ``C[Z]YX``."""


class IntensityMeasure(Protocol):
    """A rule by which frames are normalised."""

    def measure(self, frame: Frame) -> Scaling:
        """Measure a whole frame."""


@dataclass(frozen=True)
class IntensityNormalization:
    """Which percentiles of each channel of the whole image (never of a tile) become 0 and 1."""

    low_percentile: float = 1.0
    high_percentile: float = 99.8

    def __post_init__(self) -> None:
        if not 0 <= self.low_percentile < self.high_percentile <= 100:
            raise ConfigError(
                f"Percentiles {self.low_percentile} and {self.high_percentile} are not in order; "
                "choose 0 <= low < high <= 100."
            )

    def measure(self, frame: Frame) -> IntensityRange:
        """Measure a whole frame; see :func:`measure_intensity`."""
        return measure_intensity(frame, self)


def unusual_pixels(not_finite: int, constant: int) -> tuple[str, ...]:
    """Return notices of pixels that are not finite, and of images or frames that are constant."""
    texts = []
    if not_finite:
        texts.append(f"{not_finite} pixels that are not finite were replaced by the median.")
    if constant:
        texts.append(f"{constant} image(s) have the same value everywhere: nothing can be seen.")
    return tuple(texts)


@dataclass(frozen=True)
class IntensityRange:
    """The grey values of one frame that become 0 and 1, per channel."""

    low: tuple[float, ...]
    high: tuple[float, ...]
    median: tuple[float, ...]
    """Replaces pixels that are not finite."""

    @property
    def is_constant(self) -> bool:
        """Whether every channel has one value alone."""
        return all(low >= high for low, high in zip(self.low, self.high, strict=True))

    def normalise(self, pixels: Pixels) -> NDArray[np.float32]:
        """Scale pixels of shape ``C[Z]YX`` to about 0..1; hot pixels are clipped."""
        if self._exceeds_float32:
            pixels = pixels.astype(np.float64)
        dtype: np.dtype[np.floating[Any]] = pixels.dtype
        shape = (-1,) + (1,) * (pixels.ndim - 1)
        low, high, median = (
            np.array(values, dtype).reshape(shape) for values in (self.low, self.high, self.median)
        )
        span = np.where(high > low, high - low, dtype.type(1))
        if not np.isfinite(pixels).all():
            pixels = np.where(np.isfinite(pixels), pixels, median)
        with np.errstate(over="ignore"):  # hot pixels
            scaled = np.clip((pixels - low) / span, LOWEST, HIGHEST)
        return np.asarray(scaled, np.float32)

    @property
    def _exceeds_float32(self) -> bool:
        """Whether differences may be larger than any number of float32."""
        return max(map(abs, self.low + self.high)) > _SAFE_IN_FLOAT32


def measure_intensity(frame: Frame, normalization: IntensityNormalization) -> IntensityRange:
    """Measure the intensity range of a whole frame on a sample that is spread evenly over it.

    A constant channel gets the range of that constant, so that it becomes 0 everywhere.
    """
    sample = sample_of(frame)  # (C, pixels)
    lows, highs, medians = [], [], []
    for channel in sample:
        finite = channel[np.isfinite(channel)]
        if finite.size == 0:
            finite = np.zeros(1, np.float32)
        if np.abs(finite).max() > _SAFE_IN_FLOAT32:
            finite = finite.astype(np.float64)
        percentiles = (normalization.low_percentile, normalization.high_percentile, 50)
        low, high, median = np.percentile(finite, percentiles)
        if high <= low:  # nearly all pixels alike: take the few that differ
            low, high = finite.min(), finite.max()
        lows.append(float(low))
        highs.append(float(high))
        medians.append(float(median))
    return IntensityRange(tuple(lows), tuple(highs), tuple(medians))


def sample_of(frame: Frame) -> Pixels:
    """Read about a million pixels of a frame, all where there are fewer; shape (C, pixels)."""
    boxes = sample_regions(frame.spatial_shape, _SAMPLE_PIXELS)
    samples = [frame.read(box) for box in boxes]
    return np.concatenate([sample.reshape(len(sample), -1) for sample in samples], axis=1)


def sample_regions(shape: tuple[int, ...], wanted: int = _SAMPLE_PIXELS) -> list[Region]:
    """Choose about `wanted` pixels of a frame, evenly spread; all if there are fewer.

    One region of every so many pixels; of a huge frame many small boxes, because such slices would
    touch each chunk of a file.
    """
    if np.prod(shape, dtype=float) <= _STRIDED_PIXELS:
        return [_strided(shape, wanted)]
    return sample_boxes(shape, wanted)


def _strided(shape: tuple[int, ...], wanted: int) -> Region:
    pixels = float(np.prod(shape))
    step = max(1, int(np.ceil((pixels / wanted) ** (1 / len(shape)))))
    return tuple(slice(None, None, step if size > step else 1) for size in shape)


def sample_boxes(shape: tuple[int, ...], wanted: int) -> list[Region]:
    """Place boxes of about `wanted` pixels in all evenly over a frame.

    They are few, since some files decode a whole plane for each, and flat.
    """
    counts = _BOXES_ALONG[len(shape)]
    edge = max(1, int((wanted / np.prod(counts)) ** 0.5))
    edges = (1,) * (len(shape) - 2) + (edge, edge)
    per_axis = []
    for size, n, length in zip(shape, counts, edges, strict=True):
        centres = (np.arange(n) + 0.5) * size / n
        starts = np.unique((centres - length / 2).clip(0, max(0, size - length)).astype(int))
        per_axis.append([slice(int(a), min(size, int(a) + length)) for a in starts])
    return list(product(*per_axis))
