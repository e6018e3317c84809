"""The files of a training: its state beside its model, written now and then while it runs."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from napari_unet.data.validation_blocks import BlockPlace
from napari_unet.errors import ConfigError, FileProblemError, ModelFileError
from napari_unet.model.config import DEEPEST, LARGEST_BINNING, SMALLEST_BINNING
from napari_unet.model.tensor_file import read_tensors, write_tensors
from napari_unet.model.trained import check_finite, save_network
from napari_unet.run import Notice, Run
from napari_unet.tasks import ClassTable
from napari_unet.training.events import Checkpoint, TrainingEvent
from napari_unet.training.state import TrainingState

if TYPE_CHECKING:
    import threading
    from collections.abc import Generator
    from pathlib import Path

    from torch import Tensor

    from napari_unet.model.record import ModelRecord

Result = TypeVar("Result")

_LONGEST_REASON = 300  # of what a hostile file says, in the message that refuses it
_MOST_SECONDS = 100 * 365 * 24 * 3600
_LAST, _AVERAGED, _BEST, _OPTIMISER = "last.", "averaged.", "best.", "optimiser."
_FITTED = "fitted."

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
    tensors: dict[str, Tensor] = {}
    groups = (
        (_LAST, state.last),
        (_AVERAGED, state.averaged),
        (_BEST, state.best),
        (_OPTIMISER, state.optimiser),
        (_FITTED, state.fitted),
    )
    for prefix, group in groups:
        tensors.update({prefix + name: tensor for name, tensor in group.items()})
    check_finite(tensors, path)
    content: dict[str, Any] = {
        "step": state.step,
        "seconds": state.seconds,
        # weights may be the best without a score: new paint makes the previous one void
        "best_value": state.best_value if math.isfinite(state.best_value) else None,
        "history": list(state.history),
        "cycle_start": state.cycle_start,
        "extra_steps": state.extra_steps,
        "classes": None if state.classes is None else asdict(state.classes),
        "held_back": [asdict(place) for place in state.held_back],
        "binning": state.binning,
        "threshold": state.threshold,
        "flat_levels": state.flat_levels,
        "border_sigma": state.border_sigma,
        "paint": state.paint,
        "in_float32": state.in_float32,
    }
    write_tensors(path, tensors, content)


def save_checkpoint(checkpoint: Checkpoint, model_path: Path) -> None:
    """Write a checkpoint as model file and, beside it, state.

    Raises FileProblemError if a file cannot be written.
    """
    save_network(checkpoint.trained, model_path)
    save_state(checkpoint.state, state_path(model_path))


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
            save_checkpoint(event, model_path)
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
    prefixes = (_LAST, _AVERAGED, _BEST, _OPTIMISER, _FITTED)
    groups: dict[str, dict[str, Tensor]] = {prefix: {} for prefix in prefixes}
    for name, tensor in tensors.items():
        prefix, _, rest = name.partition(".")
        groups.get(f"{prefix}.", {})[rest] = tensor
    try:
        return _state_from(json.dumps(content), groups)
    except (ValidationError, ConfigError) as error:
        reason = " ".join(_what_does_not_fit(error).split()).rstrip(".")[:_LONGEST_REASON]
        raise ModelFileError(f"{path.name} is not a training state: {reason}.") from error


class _Validation(BaseModel):
    """One entry of the history; later versions may measure more."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, _Finite | bool | None]
    step: _Steps
    best: bool
    loss: _Finite | None
    iou: _Share
    object_f1: _Share | None = None


class _Place(BaseModel):
    """A `BlockPlace`; with padding a block may begin before its image."""

    model_config = ConfigDict(extra="forbid")
    image: _Index
    frame: tuple[_Index, ...]
    bounds: tuple[tuple[_Bound, _Bound], ...]


class _Content(BaseModel):
    """What a state file holds beside its tensors; what earlier versions lack has a default."""

    model_config = ConfigDict(extra="forbid")
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
    return TrainingState(
        step=content.step,
        seconds=content.seconds,
        last=groups[_LAST],
        averaged=groups[_AVERAGED],
        best=groups[_BEST],
        optimiser=groups[_OPTIMISER],
        fitted=groups[_FITTED],
        best_value=-math.inf if content.best_value is None else content.best_value,
        history=tuple(entry.model_dump(exclude_unset=True) for entry in content.history),
        cycle_start=content.cycle_start,
        extra_steps=content.extra_steps,
        classes=content.classes,
        held_back=tuple(BlockPlace(p.image, p.frame, p.bounds) for p in content.held_back),
        binning=content.binning,
        threshold=content.threshold,
        flat_levels=content.flat_levels,
        border_sigma=content.border_sigma,
        paint=content.paint,
        in_float32=content.in_float32,
    )


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
