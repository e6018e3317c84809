"""The shape of a network that is none of ours, as a frozen value; no torch is imported here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from pydantic import ConfigDict, with_config

from napari_unet.errors import ConfigError
from napari_unet.model.config import UNetConfig

Engine = Literal["onnx", "layers"]
Activation = Literal["none", "sigmoid", "softmax"]
Meaning = Literal["foreground", "boundary", "exclusive", "independent"]
Normalizing = Literal["none", "batch", "group", "instance"]
Enlarging = Literal["transposed", "nearest", "linear"]

_LARGEST = 4096  # of any size or number of channels in a description
_AXES = {2: "bcyx", 3: "bczyx"}


@with_config(ConfigDict(extra="forbid"))
@dataclass(frozen=True)
class LayersConfig:
    """What the weights of a U-Net of others do not show; the rest is read off their shapes."""

    normalization: Normalizing = "none"
    """Beside each convolution."""
    groups: int = 1
    """Of "group"."""
    normalized_first: bool = False
    """Whether the normalisation stands before its convolution."""
    enlarging: Enlarging = "transposed"
    """How the expanding path doubles the size."""
    skip_first: bool = True
    """Whether what skips ahead comes before what was enlarged where both are joined."""

    def __post_init__(self) -> None:
        """Refuse impossible numbers."""
        if not 1 <= self.groups <= _LARGEST:
            raise ConfigError(f"groups is {self.groups}; choose 1 to {_LARGEST}.")


@with_config(ConfigDict(extra="forbid"))
@dataclass(frozen=True)
class ExternalConfig:
    """A network of another program, and what its numbers mean.

    Sizes are along ``[Z]YX``. The network is always run on boxes that begin at multiples of
    `steps` in the image, with `halos` around what is kept: so its result does not depend on where
    tiles lie, as far as the halo is as wide as the network sees.
    """

    engine: Engine
    """Whether an ONNX graph is run, or the layers of a U-Net are."""
    ndim: int
    in_channels: int
    """Channels of the image."""
    raw_channels: int
    """Channels that the network itself returns."""
    steps: tuple[int, ...]
    """Sizes of inputs are `smallest` plus multiples of these."""
    halos: tuple[int, ...]
    """Context on each side, multiples of the steps."""
    smallest: tuple[int, ...]
    """Smallest sizes of an input."""
    fixed: bool = False
    """Whether inputs must be of the smallest sizes exactly."""
    input_axes: str = "bcyx"
    """Axes of the array that the network takes: "bcyx", "byxc"."""
    output_axes: str = "bcyx"
    """Axes of the array that it returns."""
    activation: Activation = "none"
    """What makes probabilities of what the network returns."""
    meaning: Meaning = "foreground"
    """What the maps are. "foreground": a single one, of objects. "boundary": of objects and of
    their outlines; the difference counts. "exclusive": one for each class, the background first.
    "independent": one for each class but the background.
    """
    foreground: int = 0
    """Which channel is that of objects, where `meaning` has one."""
    boundary: int = 0
    """Which channel is that of outlines."""
    layers: LayersConfig | None = None
    """Of the engine "layers"."""

    def __post_init__(self) -> None:
        """Refuse what no network can be."""
        if self.ndim not in _AXES:
            raise ConfigError(f"ndim is {self.ndim}; choose 2 or 3.")
        for name in ("in_channels", "raw_channels"):
            _check_between(name, (getattr(self, name),), 1)
        for name, lowest in (("steps", 1), ("halos", 0), ("smallest", 1)):
            values = getattr(self, name)
            if len(values) != self.ndim:
                raise ConfigError(f"{name} has {len(values)} values; give {self.ndim}.")
            _check_between(name, values, lowest)
        if any(halo % step for halo, step in zip(self.halos, self.steps, strict=True)):
            raise ConfigError(f"halos {self.halos} are no multiples of the steps {self.steps}.")
        if self.fixed and any(out < 1 for out in self.shortest_outputs):
            raise ConfigError(f"halos {self.halos} leave nothing of inputs of {self.smallest}.")
        for axes in (self.input_axes, self.output_axes):
            space = "".join(axis for axis in axes if axis in "zyx")
            if not set(axes) <= set(_AXES[self.ndim]) or space != _AXES[self.ndim][2:]:
                raise ConfigError(f"axes {axes!r} are not those of a {self.ndim}D image.")
            if len(set(axes)) != len(axes):
                raise ConfigError(f"axes {axes!r} name one twice.")
        if self.meaning == "foreground" and self.raw_channels != 1:
            raise ConfigError("A map of objects alone has 1 channel.")
        if not 0 <= max(self.foreground, self.boundary) < self.raw_channels:
            raise ConfigError(f"There is no channel {max(self.foreground, self.boundary)}.")
        if (self.engine == "layers") != (self.layers is not None):
            raise ConfigError("layers describe a network of the engine 'layers', and no other.")

    @property
    def out_channels(self) -> int:
        """Classes that predictions have."""
        if self.meaning in ("foreground", "boundary"):
            return 2
        return self.raw_channels + (self.meaning == "independent")

    @property
    def pooling_factors(self) -> tuple[int, ...]:
        """Steps in which inputs may be shifted, and grow."""
        return self.shortest_outputs if self.fixed else self.steps

    @property
    def pooling_factor(self) -> int:
        """The step in the plane."""
        return self.pooling_factors[-1]

    @property
    def shortest_outputs(self) -> tuple[int, ...]:
        """Shortest outputs: what the smallest input leaves without its halo, or a step."""
        left = [size - 2 * h for size, h in zip(self.smallest, self.halos, strict=True)]
        if self.fixed:
            return tuple(left)
        return tuple(
            out if out >= 1 else out + -(-(1 - out) // step) * step
            for out, step in zip(left, self.steps, strict=True)
        )

    @property
    def output_phase(self) -> int:
        """Outputs begin at multiples of the steps."""
        return 0


Geometry: TypeAlias = UNetConfig | ExternalConfig  # what a plan of tiles knows of a network


def _check_between(name: str, values: tuple[int, ...], lowest: int) -> None:
    for value in values:
        if not lowest <= value <= _LARGEST:
            raise ConfigError(f"{name} is {value}; choose {lowest} to {_LARGEST}.")
