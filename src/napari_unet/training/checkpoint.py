"""The files of a training, written now and then while it runs, and how to go on from them."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, fields
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from napari_unet.errors import ConfigError, FileProblemError, ModelFileError
from napari_unet.model.config import DEEPEST, LARGEST_BINNING, SMALLEST_BINNING
from napari_unet.model.starting import is_starting_model
from napari_unet.model.trained import (
    check_finite,
    load_network,
    read_tensors,
    save_network,
    write_tensors,
)
from napari_unet.run import Notice, Run
from napari_unet.tasks import ClassTable
from napari_unet.training.config import PresetName, TrainConfig, present_names
from napari_unet.training.events import Checkpoint, TrainingEvent
from napari_unet.training.held_back import Block
from napari_unet.training.state import TrainingState

if TYPE_CHECKING:
    import threading
    from collections.abc import Generator, Mapping
    from pathlib import Path

    from torch import Tensor

    from napari_unet.model.record import ModelRecord
    from napari_unet.model.trained import TrainedNetwork

Result = TypeVar("Result")

_LONGEST_REASON = 300  # of what a hostile file says, in the message that refuses it
_MOST_SECONDS = 100 * 365 * 24 * 3600
_TENSORS = ("last", "averaged", "best", "optimiser", "fitted")  # by their names in a state

# Bounds keep what is read printable and its sums exact.
_Steps = Annotated[int, Field(ge=0, le=10**12)]
_Index = Annotated[int, Field(ge=0, le=2**53)]
_Bound = Annotated[int, Field(ge=-(2**53), le=2**53)]
_Share = Annotated[float, Field(ge=0, le=1)]
_Finite = Annotated[float, Field(ge=-3.5e38, le=3.5e38)]  # a loss is a float32


def state_path(model_path: Path) -> Path:
    """Return where the training state of a model file lies: beside it."""
    return model_path.with_name(f"{model_path.stem}.state.safetensors")


def save_state(state: TrainingState, path: Path) -> None:
    """Write a training state atomically.

    Raises FileProblemError if the file cannot be written, or weights are not finite.
    """
    tensors: dict[str, Tensor] = {
        f"{group}.{name}": tensor
        for group in _TENSORS
        for name, tensor in getattr(state, group).items()
    }
    check_finite(tensors, path)
    content = {name: getattr(state, name) for name in _Content.model_fields}
    # weights may be the best without a score: new paint makes the previous one void
    content["best_value"] = state.best_value if math.isfinite(state.best_value) else None
    content["classes"] = None if state.classes is None else asdict(state.classes)
    content["held_back"] = [asdict(place) for place in state.held_back]
    write_tensors(path, tensors, content)


def save_checkpoint(trained: TrainedNetwork, state: TrainingState, model_path: Path) -> None:
    """Write a model file and, beside it, the state of its training.

    Raises FileProblemError if a file cannot be written.
    """
    save_network(trained, model_path)
    save_state(state, state_path(model_path))


def check_has_begun(state: TrainingState, model_path: Path) -> None:
    """Refuse, by FileProblemError, to write the model of a training that has made no step."""
    if state.step == 0:
        raise FileProblemError(
            f"The training ended before its first step, and {model_path} was left as it is. Give "
            "it more time."
        )


def saving_checkpoints(
    events: Generator[TrainingEvent, None, Result],
    model_path: Path,
    saved: threading.Event | None = None,
) -> Generator[TrainingEvent, None, Result]:
    """Write the checkpoints of a training as model file and state, and pass on all other events.

    The state lies beside the model file; `saved` is set after each checkpoint. A checkpoint that
    cannot be written becomes a `Notice`: the training is worth more.
    """
    run = Run(events)
    for event in run:
        if not isinstance(event, Checkpoint):
            yield event
            continue
        try:
            save_checkpoint(event.trained, event.state, model_path)
        except FileProblemError as error:
            yield Notice(f"The training goes on, but its state was not saved: {error}")
        if saved is not None:
            saved.set()
    return run.result


def load_state(path: Path) -> TrainingState:
    """Read a training state.

    Raises ModelFileError if the file is missing, damaged, or no training state.
    """
    tensors, content = read_tensors(path)
    groups: dict[str, dict[str, Tensor]] = {group: {} for group in _TENSORS}
    for name, tensor in tensors.items():
        group, _, rest = name.partition(".")
        groups.get(group, {})[rest] = tensor
    try:
        return _state_from(json.dumps(content), groups)
    except (ValidationError, ConfigError) as error:
        reason = " ".join(_what_does_not_fit(error).split()).rstrip(".")[:_LONGEST_REASON]
        raise ModelFileError(f"{path.name} is not a training state: {reason}.") from error


class _Validation(BaseModel):
    """One entry of the history; later versions may measure more."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, _Finite | bool | None]
    step: _Steps
    best: bool
    loss: _Finite | None
    iou: _Share | None
    object_f1: _Share | None = None


class _Place(BaseModel):
    """A `Block`; with padding a block may begin before its image."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid")
    image: _Index
    frame: tuple[_Index, ...]
    bounds: tuple[tuple[_Bound, _Bound], ...]


class _Content(BaseModel):
    """What a state file holds beside its tensors; what earlier versions lack has a default."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid")
    step: _Steps
    seconds: Annotated[float, Field(ge=0, le=_MOST_SECONDS)]
    best_value: _Share | None
    history: tuple[_Validation, ...]
    cycle_start: _Steps = 0
    extra_steps: _Steps = 0
    classes: ClassTable | None = None
    held_back: tuple[_Place, ...] = ()
    binning: Annotated[float, Field(ge=SMALLEST_BINNING, le=LARGEST_BINNING)] = 1
    threshold: Annotated[float, Field(gt=0, lt=1)] = 0.5
    flat_levels: Annotated[int, Field(ge=0, le=DEEPEST)] = 0
    border_sigma: Annotated[float, Field(gt=0, le=100)] = 5.0
    paint: Annotated[str, Field(max_length=64)] = ""
    in_float32: bool = False

    @model_validator(mode="after")
    def _begins_before_it_ends(self) -> Self:
        if self.cycle_start > self.step:
            raise ValueError(f"cycle_start {self.cycle_start} lies after step {self.step}")
        return self


def _state_from(text: str, groups: dict[str, dict[str, Tensor]]) -> TrainingState:
    content = _Content.model_validate_json(text, strict=True)
    values: dict[str, Any] = {**dict(content), **groups}
    values["best_value"] = -math.inf if content.best_value is None else content.best_value
    values["history"] = tuple(entry.model_dump(exclude_unset=True) for entry in content.history)
    values["held_back"] = tuple(Block(p.image, p.frame, p.bounds) for p in content.held_back)
    return TrainingState(**values)


def _what_does_not_fit(error: ValidationError | ConfigError) -> str:
    if isinstance(error, ConfigError):
        return str(error)
    first = error.errors(include_url=False)[0]
    return ": ".join([".".join(map(str, first["loc"])) or "it", str(first["msg"])])


def belongs_to(state: TrainingState, record: ModelRecord) -> bool:
    """Return whether a state may be of the training that made a model.

    They are two files, the model is written first. So where a program was killed in between, the
    state is older than the model, which is no harm; but it may be that of a previous training.
    """
    known = [dict(entry) for entry in record.history]
    return state.step <= record.steps and [*state.history] == known[: len(state.history)]


# --- What a training goes on with: the settings and sizes that stay those of an earlier one ------

# What a model decides, not the settings, where it is trained further.
_OF_THE_NETWORK = (
    "ndim", "base_channels", "depth", "window", "padding", "normalization", "dropout",
)  # fmt: skip


def settings_to_continue(
    config: TrainConfig | None, record: ModelRecord, given: Mapping[str, Any] = MappingProxyType({})
) -> TrainConfig:
    """Return the settings with which a model is trained further.

    Network and patches are those of the model. Without a config the model's own settings hold; of a
    starting model, whose own are for hours of many images, the preset fast or 3d. What was `given`
    by name counts more. Raises ConfigError if that is a setting of the network, and not the
    model's.
    """
    network = {name: getattr(record.network, name) for name in _OF_THE_NETWORK}
    for name in network.keys() & given.keys():
        if given[name] != network[name]:
            raise ConfigError(
                f"{name} is {given[name]!r}; a model that is trained further keeps its own, "
                f"{network[name]!r}."
            )
    if config is None:
        preset: PresetName = "fast" if record.network.ndim == 2 else "3d"
        starting = is_starting_model(record)
        config = TrainConfig.preset(preset) if starting else settings_of(record)
    elif isinstance(patch := record.training.get("patch_size"), int):
        config = config.changed(patch_size=patch)
    if "steps" in given:
        config = config.changed(minutes=0.0)  # unless they are given as well
    return config.changed(**network).changed(**given)


def load_training(path: Path) -> tuple[TrainingState, TrainConfig]:
    """Read a training that can go on exactly where it ended: its state, and its settings.

    The state lies beside the model file. Raises ModelFileError if a file is missing or damaged, or
    the two are of different trainings.
    """
    record = load_network(path).record
    config = settings_of(record)
    if not state_path(path).exists():
        raise ModelFileError(
            f"There is no {state_path(path).name} beside {path}: without its state a training "
            "cannot go on exactly. Train the model further instead "
            "(nu.train(previous=nu.load_model(...)), or --previous)."
        )
    state = load_state(state_path(path))
    if not belongs_to(state, record):
        raise ModelFileError(
            f"{state_path(path).name} is the state of a previous training (step {state.step}, "
            f"the model has made {record.steps}): the program was ended while it wrote. Train anew."
        )
    return state, config


def check_goes_on(state: TrainingState, previous: TrainConfig, config: TrainConfig) -> None:
    """Refuse settings with which a training cannot go on exactly, or has nothing left to do.

    Raises ConfigError, which names the setting.
    """
    if config.optimiser != previous.optimiser:
        raise ConfigError(
            f"optimiser is {config.optimiser!r}; a training that goes on keeps its own, "
            f"{previous.optimiser!r}."
        )
    if config.binning not in (0, state.binning):
        raise ConfigError(
            f"The training has a binning of {state.binning:g}, which cannot become "
            f"{config.binning:g} where it goes on. Train a new model."
        )
    if not config.minutes and state.step >= config.steps:
        raise ConfigError(
            f"The training has already made {state.step} steps; choose more steps in all, or "
            "minutes for as much time again."
        )


def settings_of(record: ModelRecord) -> TrainConfig:
    """Return the settings that a model was trained with.

    Raises ModelFileError if this version does not know one of them, or it is out of its bounds.
    """
    unknown = sorted(set(record.training) - {f.name for f in fields(TrainConfig)})
    if unknown:
        raise ModelFileError(
            f"The model was trained with a setting {unknown[0]!r} that this version does not "
            "know. Update napari-unet-paint, or train anew."
        )
    try:
        return TypeAdapter(TrainConfig).validate_json(
            json.dumps(present_names(record.training)), strict=True
        )
    except ValidationError as error:
        first = error.errors()[0]
        raise ModelFileError(
            f"The model's record has no usable {first['loc'][0]}: {first['msg']}. Train anew."
        ) from error
