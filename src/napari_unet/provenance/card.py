"""A run card: all that is needed to do a training or a prediction again, and to compare.

It is JSON beside the result. It comes from outside as well, so it is read strictly: of known
fields, types and size; nothing in it is executed. No torch is imported with it.
"""

from __future__ import annotations

import json
import os
import platform
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, get_type_hints

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetPydanticSchema,
    TypeAdapter,
    ValidationError,
    create_model,
)
from pydantic_core import PydanticSerializationError

from napari_unet.data.pixel_hashes import PixelHash
from napari_unet.errors import ConfigError
from napari_unet.io.disk import megabytes, replace_file, short_reason, writing
from napari_unet.io.files import CARD_SUFFIX
from napari_unet.io.limits import check_regular
from napari_unet.io.tiff_sets import file_of
from napari_unet.prediction.config import PredictConfig
from napari_unet.settings import declared

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from napari_unet.training.config import TrainConfig

_Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
_Count = Annotated[int, Field(ge=0, lt=2**63)]
_Shape = Annotated[tuple[_Count, ...], Field(max_length=10)]
Weights = Literal["best", "last"]
Setting = bool | int | float | str | None
JOINED = "Strokes joined it while it trained, at times that no file records."
CONTINUED = "It went on from an earlier model or training."
_PACKAGES = ("napari-unet-paint", "torch", "numpy")


def now() -> str:
    """Return the time in ISO 8601, in UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


class _Part(BaseModel):
    """Frozen, of known fields, of exactly these types."""

    model_config: ClassVar[ConfigDict] = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False
    )


class Place(_Part):
    """Where a file lies."""

    path: str
    """As it was given."""
    relative: str | None = None
    """From the card's folder; None where none leads there (another drive)."""

    @classmethod
    def of(cls, path: Path, card: Path) -> Place:
        """Name a file as seen from a card."""
        try:
            relative = os.path.relpath(path, card.parent)
        except ValueError:  # another drive of Windows
            return cls(path=str(path))
        return cls(path=str(path), relative=Path(relative).as_posix())

    def found_from(self, card: Path) -> Path:
        """Return where the file is now: as seen from the card, else where it was."""
        found = card.parent / (self.relative or "")
        if self.relative is not None and file_of(found).exists():
            return found.parent.resolve() / found.name  # for people, without ".."
        return Path(self.path)


class Environment(_Part):
    """What computed: bits of the result depend on it."""

    versions: dict[str, str]
    """Of this program, torch, numpy and Python."""
    platform: str
    """Operating system and processor."""
    device: str
    """As torch calls it: "cpu", "cuda:0"."""
    device_name: str
    instructions: str
    """Vector instructions that torch uses on the CPU."""
    threads: Annotated[int, Field(ge=1, le=65_536)]
    """Of torch, on the CPU."""

    @classmethod
    def of(cls, device: torch.device) -> Environment:
        """Return what computes on a device that `choose_device` chose, from the calling thread."""
        import torch

        from napari_unet.model.devices import describe

        return cls(
            versions={
                **{name: version(name) for name in _PACKAGES},
                "python": platform.python_version(),
            },
            platform=f"{platform.system()} {platform.machine()}",
            device=str(device),
            device_name=describe(device),
            instructions=torch.backends.cpu.get_cpu_capability(),
            threads=torch.get_num_threads(),
        )


@dataclass(frozen=True)
class TrainingOrigin:
    """What a training result does not say itself."""

    config: TrainConfig
    files: Sequence[tuple[Path | None, Path | None]]
    """Image and labels of each pair; None where they were in memory only."""
    environment: Environment
    started: str
    ended: str
    """Both ISO 8601; see `now`."""
    command: str = ""
    """The equivalent command line; empty where there is none."""
    not_repeatable: str = ""
    """Why it cannot be done again; empty where it can."""


class _Run(_Part):
    format_version: Literal[1] = 1
    environment: Environment
    started: str
    ended: str
    """Both ISO 8601, with the time zone."""
    command: str
    """The equivalent command line, quoted for sh; empty where there is none."""
    not_repeatable: str = ""
    """Why it cannot be done again, as one sentence; empty where it can."""


class LearnedFrom(_Part):
    """One image of a training, with its labels."""

    name: str
    """Of the file or layer."""
    image: Place | None
    labels: Place | None
    """Both None where they were in memory only."""
    axes: str | None
    """None where they were not named."""
    pixel_size: dict[str, float]
    """Micrometres by axis letter."""
    shape: _Shape
    image_sha256: _Sha256
    labels_sha256: _Sha256
    """Both as in the model file."""


class TrainingCard(_Run):
    """The card of a training."""

    what: Literal["train"] = "train"
    settings: dict[str, Setting]
    """All fields of `TrainConfig`, the seed among them."""
    inputs: tuple[LearnedFrom, ...]
    """In the order of the training."""
    model: Place | None
    weights: Weights = "best"
    """Which of the training's weights the model file holds."""
    weights_sha256: _Sha256
    steps: _Count
    stopped: bool
    """Before its planned end."""
    scores: dict[str, float | bool | None]
    """Of the validation whose weights were kept."""
    validated: _Count = 0
    """Step of the last validation; 0 without one."""


class ModelUsed(_Part):
    """The model of a prediction."""

    name: str
    place: Place | None
    """None of a starting model, or of one that was in memory only."""
    starting: str
    """Name of a starting model, else empty."""
    weights_sha256: _Sha256


# What the cards of version 0.1 hold always: one that lacks any is damaged. Only what was added
# later may be missing.
_FIRST_SETTINGS = (
    *("result", "axes", "tile_size", "threshold", "views", "smallest", "frames", "region"),
    *("used_channels", "pixel_size", "rescale", "precision"),
)


def _card_of_settings() -> type[_Part]:
    """Return how the settings of a prediction are written: as declared, but slices as two ends.

    The device stands in the environment, as it was chosen.
    """
    hints = get_type_hints(PredictConfig) | {"region": tuple[tuple[int, int], ...] | None}
    known: dict[str, Any] = {
        name: (hints[name], ... if name in _FIRST_SETTINGS else setting.default)
        for name, setting in declared(PredictConfig).items()
        if name != "device"
    }
    return create_model("PredictSettings", __base__=_Part, **known)


_PREDICT_SETTINGS = _card_of_settings()


def card_settings(config: PredictConfig) -> _Part:
    """Return the settings of a prediction as plain values."""
    values = {name: getattr(config, name) for name in _PREDICT_SETTINGS.model_fields}
    values["cell_size"] = config.diameter  # one of NumPy would be refused
    values["pixel_size"] = {axis: float(size) for axis, size in config.pixel_size.items()}
    if config.region is not None:
        values["region"] = tuple((part.start, part.stop) for part in config.region)
    return _PREDICT_SETTINGS(**values)


def config_of(settings: _Part, device: str) -> PredictConfig:
    """Return a prediction's settings from plain values; ConfigError if one is out of its range."""
    known = settings.model_dump()
    if known["region"] is not None:
        known["region"] = tuple(slice(*ends) for ends in known["region"])
    return PredictConfig(**known, device=device)


class PredictionCard(_Run):
    """The card of a prediction of one image."""

    what: Literal["predict"] = "predict"
    settings: Annotated[_Part, GetPydanticSchema(lambda _, schema_of: schema_of(_PREDICT_SETTINGS))]
    """The fields of `PredictConfig`; axes and pixel size are those of the image."""
    model: ModelUsed
    name: str
    image: Place | None
    """None where it was in memory only."""
    image_pixels: PixelHash | None
    """None where they could not be read again."""
    result: Place | None
    """None of a layer."""
    result_pixels: PixelHash | None
    """None where they could not be read again."""
    kind: str
    """Objects, classes, probabilities or uncertainty."""
    axes: str
    """Of the result."""
    objects: int | None = None


RunCard = TrainingCard | PredictionCard


_LARGEST_CARD = 16 * 2**20  # bytes; that of a training on a thousand images has half a million
_LONGEST_REASON = 300
_CARDS: TypeAdapter[RunCard] = TypeAdapter(Annotated[RunCard, Field(discriminator="what")])


def card_beside_model(path: Path) -> Path:
    """Return where the card of a model file lies: cells.run.json beside cells.safetensors."""
    return path.with_name(f"{path.stem}{CARD_SUFFIX}")


def write_card(card: RunCard, path: Path) -> None:
    """Write a card, atomically; FileProblemError if it cannot be written."""
    try:
        text = card.model_dump_json(indent=2)
    except PydanticSerializationError:  # the name of a file is no UTF-8, and cannot be found again
        text = json.dumps(card.model_dump(), indent=2, ensure_ascii=False)
    content = text.encode(errors="replace") + b"\n"
    with writing(path, needed=len(content)):
        replace_file(path, content)


def read_card(path: Path) -> RunCard:
    """Read a card; ConfigError if it is missing, too large, or none of this version.

    FileProblemError if it is no file.
    """
    check_regular(path)
    try:
        size = path.stat().st_size
        if size > _LARGEST_CARD:
            raise ConfigError(
                f"{path} has {megabytes(size)}; a run card has at most {megabytes(_LARGEST_CARD)}."
            )
        content = path.read_bytes()
    except (OSError, ValueError) as error:
        raise ConfigError(f"Cannot read {path}: {short_reason(error)}.") from error
    try:
        return _CARDS.validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])[:_LONGEST_REASON]
        raise ConfigError(
            f"{path} is not a run card that this version reads ({where or 'content'}: "
            f"{first['msg'][:_LONGEST_REASON]})."
        ) from error
