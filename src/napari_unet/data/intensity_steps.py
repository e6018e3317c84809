"""Normalise images as another program says that its model wants them, step by step.

Each step is a function of a pixel's value alone, once the figures of the whole frame are known that
it needs; so they are measured on the frame, in the order of the steps, and never on a tile.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from napari_unet.data.intensity import sample_of
from napari_unet.errors import ConfigError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_unet.data.frames import Frame, Pixels

StepKind = Literal["percentiles", "standardise", "linear", "clip", "binarise"]
_KINDS = ("percentiles", "standardise", "linear", "clip", "binarise")


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
        if self.kind not in _KINDS:
            raise ConfigError(f"{self.kind!r} is no step of a normalisation.")
        if not all(map(math.isfinite, (*self.first, *self.second, self.eps))):
            raise ConfigError(f"The figures of {self.kind!r} are not finite.")
        wanted = {"standardise": (), "binarise": self.first[:1]}.get(self.kind, self.second)
        if len(wanted) == 0 and self.kind != "standardise":
            raise ConfigError(f"{self.kind!r} has no figures.")
        if self.kind == "percentiles" and not 0 <= self.first[0] < self.second[0] <= 100:
            raise ConfigError(
                f"Percentiles {self.first[0]} and {self.second[0]} are not in order; choose "
                "0 <= low < high <= 100."
            )
        if self.eps < 0:
            raise ConfigError(f"eps is {self.eps}; choose 0 or more.")


@dataclass(frozen=True)
class IntensitySteps:
    """The normalisation of another program: its steps in order; none leaves values as they are."""

    steps: tuple[IntensityStep, ...] = ()

    def measure(self, frame: Frame) -> MeasuredSteps:
        """Measure a whole frame, on a sample that is spread evenly over one above a megapixel."""
        sample = sample_of(frame).astype(np.float64)  # (C, pixels)
        median = tuple(_median(channel) for channel in sample)
        constant = all(_is_constant(channel) for channel in sample)
        values = _replaced(sample, median)
        done: list[MeasuredStep] = []
        for step in self.steps:
            done.append(_measured(step, values))
            values = done[-1].apply(values)
        return MeasuredSteps(tuple(done), median, constant)


@dataclass(frozen=True)
class MeasuredStep:
    """A step whose figures are known: ``(value - minus) / by``, then limited to `low` .. `high`."""

    minus: tuple[float, ...]
    """One per channel, as `by`."""
    by: tuple[float, ...]
    low: float = -math.inf
    high: float = math.inf
    above: float | None = None
    """1 above this, else 0, and nothing else; None: not used."""

    def apply(self, pixels: NDArray[np.float64]) -> NDArray[np.float64]:
        """Compute the step on pixels of shape C followed by any axes."""
        if self.above is not None:
            return (pixels > self.above).astype(np.float64)
        shape = (-1,) + (1,) * (pixels.ndim - 1)
        scaled = (pixels - np.reshape(self.minus, shape)) / np.reshape(self.by, shape)
        return np.asarray(np.clip(scaled, self.low, self.high))


@dataclass(frozen=True)
class MeasuredSteps:
    """What the steps do to the values of one frame."""

    steps: tuple[MeasuredStep, ...]
    median: tuple[float, ...]
    """Per channel; replaces pixels that are not finite."""
    is_constant: bool = False
    """Whether every channel has one value alone."""

    def normalise(self, pixels: Pixels) -> NDArray[np.float32]:
        """Compute the steps on pixels of shape ``C[Z]YX``."""
        values = _replaced(pixels.astype(np.float64), self.median)
        for step in self.steps:
            values = step.apply(values)
        limit = float(np.finfo(np.float32).max)
        return np.clip(values, -limit, limit).astype(np.float32)


def _measured(step: IntensityStep, values: NDArray[np.float64]) -> MeasuredStep:
    """Find the figures of a step in the values (C, pixels) that come before it."""
    channels = len(values)
    zeros, ones = (0.0,) * channels, (1.0,) * channels
    if step.kind == "clip":
        return MeasuredStep(zeros, ones, step.first[0], step.second[0])
    if step.kind == "binarise":
        return MeasuredStep(zeros, ones, above=step.first[0])
    if step.kind == "linear":
        gains, offsets = _each(step.first, channels), _each(step.second, channels)
        if 0 in gains:
            raise ConfigError("A gain of 0 leaves nothing of an image.")
        minus = tuple(-b / a for a, b in zip(gains, offsets, strict=True))
        return MeasuredStep(minus, tuple(1 / gain for gain in gains))
    seen = values.reshape(1, -1) if step.jointly else values
    if step.kind == "standardise":
        minus, by = seen.mean(axis=1), seen.std(axis=1) + step.eps
    else:
        minus, high = np.percentile(seen, (step.first[0], step.second[0]), axis=1)
        by = high - minus + step.eps
    by = np.where(by > 0, by, 1.0)
    return MeasuredStep(_each(minus.tolist(), channels), _each(by.tolist(), channels))


def _each(figures: tuple[float, ...] | list[float], channels: int) -> tuple[float, ...]:
    if len(figures) not in (1, channels):
        raise ConfigError(
            f"The normalisation has figures for {len(figures)} channels, the image {channels}."
        )
    return tuple(figures) * (channels if len(figures) == 1 else 1)


def _median(channel: NDArray[np.float64]) -> float:
    finite = channel[np.isfinite(channel)]
    return float(np.median(finite)) if finite.size else 0.0


def _is_constant(channel: NDArray[np.float64]) -> bool:
    finite = channel[np.isfinite(channel)]
    return finite.size == 0 or bool(finite.min() == finite.max())


def _replaced(pixels: NDArray[np.float64], median: tuple[float, ...]) -> NDArray[np.float64]:
    if np.isfinite(pixels).all():
        return pixels
    shape = (-1,) + (1,) * (pixels.ndim - 1)
    return np.where(np.isfinite(pixels), pixels, np.reshape(median, shape))
