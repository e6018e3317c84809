"""Bring the grey values of an image to the range that networks expect."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from napari_unet.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

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


@dataclass(frozen=True)
class IntensityNormalization:
    """Which percentiles of each channel of the whole image (never of a tile) become 0 and 1."""

    low_percentile: float = 1.0
    high_percentile: float = 99.8
    lowest: float = LOWEST
    highest: float = HIGHEST
    """What is beyond counts no more than this."""

    def __post_init__(self) -> None:
        _check_percentiles(self.low_percentile, self.high_percentile)
        if not -math.inf < self.lowest <= 0 < 1 <= self.highest < math.inf:
            raise ConfigError(
                f"Values are clipped to {self.lowest} .. {self.highest}; choose numbers around 0 "
                "and 1."
            )

    def measure(self, frame: Frame) -> IntensityRange:
        """Measure a whole frame on a sample that is spread evenly over it.

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
            percentiles = (self.low_percentile, self.high_percentile, 50)
            low, high, median = np.percentile(finite, percentiles)
            if high <= low:  # nearly all pixels alike: take the few that differ
                low, high = finite.min(), finite.max()
            lows.append(float(low))
            highs.append(float(high))
            medians.append(float(median))
        limits = self.lowest, self.highest
        return IntensityRange(tuple(lows), tuple(highs), tuple(medians), limits)


def _check_percentiles(low: float, high: float) -> None:
    if not 0 <= low < high <= 100:
        raise ConfigError(
            f"Percentiles {low} and {high} are not in order; choose 0 <= low < high <= 100."
        )


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
    limits: tuple[float, float] = (LOWEST, HIGHEST)
    """Between which scaled values lie."""

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
            scaled = np.clip((pixels - low) / span, *self.limits)
        return np.asarray(scaled, np.float32)

    @property
    def _exceeds_float32(self) -> bool:
        """Whether differences may be larger than any number of float32."""
        return max(map(abs, self.low + self.high)) > _SAFE_IN_FLOAT32


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
    pixels = float(np.prod(shape, dtype=float))
    if pixels > _STRIDED_PIXELS:
        return sample_boxes(shape, wanted)
    step = max(1, int(np.ceil((pixels / wanted) ** (1 / len(shape)))))
    return [tuple(slice(None, None, step if size > step else 1) for size in shape)]


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


# --- Images normalised step by step, as another program says that its model wants them -----------
# Each step is a function of a pixel's value alone, once the figures of the whole frame are known
# that it needs; so they are measured on the frame, in the order of the steps, and never on a tile.

StepKind = Literal["percentiles", "standardise", "linear", "clip", "binarise"]


@dataclass(frozen=True)
class IntensityStep:
    """One step of a normalisation."""

    kind: StepKind
    """The percentiles `first` and `second` become 0 and 1; "standardise": mean 0 and standard
    deviation 1; "linear": times `first` plus `second`; "clip": to `first` .. `second`;
    "binarise": 1 above `first`, else 0.
    """
    first: tuple[float, ...] = ()
    """One figure, or one per channel; empty for "standardise"."""
    second: tuple[float, ...] = ()
    """As `first`."""
    jointly: bool = False
    """Whether all channels are measured together."""
    eps: float = 1e-6
    """Added to what is divided by."""

    def __post_init__(self) -> None:
        if self.kind not in get_args(StepKind):
            raise ConfigError(f"{self.kind!r} is no step of a normalisation.")
        if not all(map(math.isfinite, (*self.first, *self.second, self.eps))):
            raise ConfigError(f"The figures of {self.kind!r} are not finite.")
        wanted = {"standardise": (), "binarise": self.first[:1]}.get(self.kind, self.second)
        if len(wanted) == 0 and self.kind != "standardise":
            raise ConfigError(f"{self.kind!r} has no figures.")
        if self.kind == "percentiles":
            _check_percentiles(self.first[0], self.second[0])
        if self.eps < 0:
            raise ConfigError(f"eps is {self.eps}; choose 0 or more.")


@dataclass(frozen=True)
class IntensitySteps:
    """The normalisation of another program: its steps in order; none leaves values as they are."""

    steps: tuple[IntensityStep, ...] = ()

    def measure(self, frame: Frame) -> MeasuredSteps:
        """Measure a whole frame, on a sample that is spread evenly over one above a megapixel."""
        sample = sample_of(frame).astype(np.float64)  # (C, pixels)
        finite = [channel[np.isfinite(channel)] for channel in sample]
        median = tuple(float(np.median(channel)) if channel.size else 0.0 for channel in finite)
        constant = all(not each.size or bool(each.min() == each.max()) for each in finite)
        values = _replaced(sample, median)
        figures = []
        for step in self.steps:
            figures.append(_figures_of(step, values))
            values = _applied(step, figures[-1], values)
        return MeasuredSteps(self.steps, tuple(figures), median, constant)


@dataclass(frozen=True)
class MeasuredSteps:
    """What the steps do to the values of one frame."""

    steps: tuple[IntensityStep, ...]
    figures: tuple[NDArray[np.float64] | None, ...]
    """Of each step what is subtracted and what is divided by, shape (2, C); None: neither."""
    median: tuple[float, ...]
    """Per channel; replaces pixels that are not finite."""
    is_constant: bool = False
    """Whether every channel has one value alone."""

    def normalise(self, pixels: Pixels) -> NDArray[np.float32]:
        """Compute the steps on pixels of shape ``C[Z]YX``."""
        values = _replaced(pixels.astype(np.float64), self.median)
        for step, figures in zip(self.steps, self.figures, strict=True):
            values = _applied(step, figures, values)
        limit = float(np.finfo(np.float32).max)
        return np.clip(values, -limit, limit).astype(np.float32)


def _applied(
    step: IntensityStep, figures: NDArray[np.float64] | None, pixels: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Compute a step on pixels of shape C followed by any axes."""
    if step.kind == "binarise":
        return (pixels > step.first[0]).astype(np.float64)
    if figures is None:
        return np.clip(pixels, step.first[0], step.second[0])
    minus, by = figures.reshape(2, -1, *(1,) * (pixels.ndim - 1))
    return np.asarray((pixels - minus) / by)


def _figures_of(step: IntensityStep, values: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Find the figures of a step in the values (C, pixels) that come before it."""
    channels = len(values)
    if step.kind in ("clip", "binarise"):
        return None
    if step.kind == "linear":
        gains, offsets = _each(step.first, channels), _each(step.second, channels)
        if 0 in gains:
            raise ConfigError("A gain of 0 leaves nothing of an image.")
        return np.stack([-offsets / gains, 1 / gains])
    seen = values.reshape(1, -1) if step.jointly else values
    if step.kind == "standardise":
        minus, by = seen.mean(axis=1), seen.std(axis=1) + step.eps
    else:
        minus, high = np.percentile(seen, (step.first[0], step.second[0]), axis=1)
        by = high - minus + step.eps
    return np.stack([_each(minus, channels), _each(np.where(by > 0, by, 1.0), channels)])


def _each(figures: Sequence[float] | NDArray[np.float64], channels: int) -> NDArray[np.float64]:
    if len(figures) not in (1, channels):
        raise ConfigError(
            f"The normalisation has figures for {len(figures)} channels, the image {channels}."
        )
    return np.broadcast_to(np.asarray(figures, np.float64), channels)


def _replaced(pixels: NDArray[np.float64], median: tuple[float, ...]) -> NDArray[np.float64]:
    if np.isfinite(pixels).all():
        return pixels
    shape = (-1,) + (1,) * (pixels.ndim - 1)
    return np.where(np.isfinite(pixels), pixels, np.reshape(median, shape))


IntensityMeasure = IntensityNormalization | IntensitySteps
"""A rule by which frames are normalised: measures a whole frame."""
Scaling = IntensityRange | MeasuredSteps
"""What brings the grey values of one frame to the range of a network."""
