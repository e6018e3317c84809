"""The record of a model: what is needed besides the weights to use it and to trust it."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, TypeAlias

from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config

from napari_unet.data.intensity import IntensityNormalization, IntensitySteps
from napari_unet.data.rescaling import size_of_cell
from napari_unet.errors import ConfigError, ModelFileError
from napari_unet.model.config import LARGEST_BINNING, SMALLEST_BINNING, VIEWS, UNetConfig
from napari_unet.tasks import ClassTable

FORMAT_VERSION = 1
_LONGEST_REASON = 300  # of what a hostile file says, in the message that refuses it


@dataclass(frozen=True)
class TrainingImageRecord:
    """One image that a model was trained on."""

    name: str
    """File or layer name."""
    shape: tuple[int, ...]
    image_sha256: str
    labels_sha256: str


@with_config(ConfigDict(extra="forbid"))
@dataclass(frozen=True)
class ModelRecord:
    """Everything besides the weights that is needed to use a model and to trust it."""

    network: UNetConfig
    """The shape of the network; of an `external` one only its dimensions and channels."""
    classes: ClassTable
    """What its output channels mean."""
    intensity: IntensityNormalization = IntensityNormalization()
    """How images are brought to the network's range."""
    smallest_object: int = 0
    """Objects of fewer pixels are dropped."""
    binning: float = 1
    """Pixels of the image per pixel of the network, along Y and X; below 1 it is enlarged."""
    views: int = 1
    """Views that a prediction averages: 1, 4 (quarter turns) or 8 (and mirrored)."""
    threshold: float = 0.5
    """Probability above which a pixel is of an object, or of the second of two classes; chosen on
    the held-back blocks."""
    training: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, float | bool | None]] = field(default_factory=list)
    """The validations of the training, one entry each."""
    images: tuple[TrainingImageRecord, ...] = ()
    """What it was trained on."""
    versions: dict[str, str] = field(default_factory=dict)
    """Versions of the programs that trained it."""
    created: str = ""
    """When, in ISO 8601."""
    steps: int = 0
    """Training steps taken."""
    format_version: int = FORMAT_VERSION
    pixel_size: dict[str, float] = field(default_factory=dict)
    """Micrometres per pixel of the training images (unbinned), by axis letter; empty: unknown."""
    used_channels: tuple[int, ...] = ()
    """Channels of an image that the network sees, in this order; empty: all."""
    bfloat16_agreement: float | None = None
    """Share of pixels of the training images that get the same label in bfloat16 and in float32;
    None: not measured."""
    external: ExternalConfig | None = None
    """The shape of a network of another program, which is no U-Net of ours."""
    steps_of_others: IntensitySteps | None = None
    """How another program brings images to the network's range; instead of `intensity`."""
    origin: str = ""
    """Of a model of another program: where it comes from, and how it is understood."""
    cell_size: float = 0.0
    """Diameter of a typical cell, of its sections in volumes, in pixels of the training images; 0:
    unknown."""
    membrane: int | None = None
    """Of two classes the one that is the membrane between cells: the other one can be parted into
    objects. None: the classes are others."""
    starting_model: str = ""
    """The starting model that its training began with; empty: random weights."""

    @property
    def geometry(self) -> Geometry:
        """The shape of the network that predicts."""
        return self.external or self.network

    @property
    def normalization(self) -> IntensityNormalization | IntensitySteps:
        """How images are brought to the network's range."""
        return self.intensity if self.steps_of_others is None else self.steps_of_others

    @property
    def typical_object(self) -> float:
        """Pixels of the training images that a typical cell covers; 0: unknown."""
        network = self.network
        return size_of_cell(self.cell_size, network.ndim, self.pixel_size, network.flat_levels)

    @property
    def can_learn(self) -> bool:
        """Whether a training may go on with it."""
        return self.external is None and self.steps_of_others is None

    def __post_init__(self) -> None:
        """Refuse a class table that the network has no channels for, and impossible numbers."""
        if not SMALLEST_BINNING <= self.binning <= LARGEST_BINNING:
            raise ConfigError(
                f"binning is {self.binning}; choose {SMALLEST_BINNING:g} to {LARGEST_BINNING:g}."
            )
        if not 0 <= self.cell_size < math.inf:
            raise ConfigError(f"cell_size is {self.cell_size}; choose 0 (unknown) or more.")
        if self.views not in VIEWS:
            raise ConfigError(f"views is {self.views}; choose 1, 4 or 8.")
        if not 0 < self.threshold < 1:
            raise ConfigError(f"threshold is {self.threshold}; choose a value between 0 and 1.")
        if self.classes.n_classes != self.network.out_channels:
            raise ConfigError(
                f"The class table has {self.classes.n_classes} classes, the network "
                f"{self.network.out_channels} output channels."
            )
        possible = (None, 0, 1) if self.classes.may_hold_membrane else (None,)
        if self.membrane not in possible:
            raise ConfigError(f"membrane is {self.membrane}; only one of two classes can be one.")
        self._check_external()
        self._check_images()

    def _check_external(self) -> None:
        """Refuse two descriptions of one network that differ."""
        other, own = self.external, self.network
        if other is None:
            return
        if (other.ndim, other.in_channels, other.out_channels, 1) != (
            own.ndim,
            own.in_channels,
            own.out_channels,
            own.window,
        ):
            raise ConfigError("The network of another program has other channels than is said.")

    def _check_images(self) -> None:
        """Refuse pixel sizes that no image can have, and channels that the network has not."""
        for axis, size in self.pixel_size.items():
            if axis not in ("Z", "Y", "X") or not 0 < size < math.inf:
                raise ConfigError(
                    f"pixel_size is {self.pixel_size}; give micrometres above 0 for Z, Y or X."
                )
        used = self.used_channels
        if used and (len(used) != self.network.in_channels or min(used) < 0):
            raise ConfigError(
                f"used_channels is {list(used)}, but the network sees {self.network.in_channels} "
                "channel(s); choose as many, counted from 0."
            )


def record_to_json(record: ModelRecord) -> dict[str, Any]:
    """Return the record as plain JSON values."""
    return asdict(record)


def record_from_json(content: dict[str, Any], source: str) -> ModelRecord:
    """Build a record from JSON that came from outside, strictly.

    Raises ModelFileError if a field is missing, unknown, or of another type or range.
    """
    version = content.get("format_version")
    if type(version) is not int or version != FORMAT_VERSION:
        raise ModelFileError(
            f"{source} has model format {repr(version)[:_LONGEST_REASON]}; this version reads "
            f"{FORMAT_VERSION}. Update napari-unet-paint."
        )
    present = _in_present_words(content)
    try:
        return TypeAdapter(ModelRecord).validate_json(json.dumps(present), strict=True)
    except (ValidationError, ConfigError, OverflowError) as error:
        first = " ".join(" ".join(str(error).splitlines()[:3]).split())
        raise ModelFileError(
            f"{source} has metadata that does not fit: {first[:_LONGEST_REASON]}"
        ) from error


def _in_present_words(content: dict[str, Any]) -> dict[str, Any]:
    """Add what files of earlier versions say otherwise."""
    settings = content.get("training")
    start = settings.get("start", "random") if isinstance(settings, dict) else "random"
    known = {"starting_model": "" if start == "random" else start}
    if "foreign" in content:
        known["external"] = content["foreign"]
    return {**known, **{name: said for name, said in content.items() if name != "foreign"}}


# --- The shape of a network of another program ---------------------------------------------------

Engine = Literal["onnx", "layers"]
Activation = Literal["none", "sigmoid", "softmax"]
Meaning = Literal["foreground", "boundary", "exclusive", "independent", "overlapping"]
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
    "overlapping": one for each class, of which a pixel may have several. "independent", in files of
    earlier versions and where these are too many: one for each class but the background, and the
    most probable counts.
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
