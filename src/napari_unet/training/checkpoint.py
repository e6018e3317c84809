"""The files of a training: its state beside its model, written now and then while it runs."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, TypeVar

from napari_unet.data.labels import ClassTable
from napari_unet.data.splitting import BlockPlace
from napari_unet.errors import ConfigError, FileProblemError, ModelFileError
from napari_unet.model.config import DEEPEST, LARGEST_BINNING
from napari_unet.model.tensor_file import read_tensors, write_tensors
from napari_unet.model.trained import check_finite, save_network
from napari_unet.notice import Notice
from napari_unet.training.events import Checkpoint, TrainingEvent
from napari_unet.training.state import TrainingState

if TYPE_CHECKING:
    import threading
    from collections.abc import Generator
    from pathlib import Path

    from torch import Tensor

    from napari_unet.model.trained import ModelRecord

Result = TypeVar("Result")

_LONGEST_REASON = 300  # of what a hostile file says, in the message that refuses it
_MOST_STEPS = 2**53
_LAST, _AVERAGED, _BEST, _OPTIMISER = "last.", "averaged.", "best.", "optimiser."


def state_path(model_path: Path) -> Path:
    """Return where the training state of a model file lies: beside it."""
    return model_path.with_name(f"{model_path.stem}.state.safetensors")


def save_state(state: TrainingState, path: Path) -> None:
    """Write a training state atomically.

    Raises
    ------
    FileProblemError
        The file cannot be written, or weights are not finite.
    """
    tensors: dict[str, Tensor] = {}
    groups = (
        (_LAST, state.last),
        (_AVERAGED, state.averaged),
        (_BEST, state.best),
        (_OPTIMISER, state.optimiser),
    )
    for prefix, group in groups:
        tensors.update({prefix + name: tensor for name, tensor in group.items()})
    check_finite(tensors, path)
    content: dict[str, Any] = {
        "step": state.step,
        "seconds": state.seconds,
        "best_value": state.best_value if state.best else None,
        "history": list(state.history),
        "cycle_start": state.cycle_start,
        "extra_steps": state.extra_steps,
        "classes": None if state.classes is None else asdict(state.classes),
        "held_back": [asdict(place) for place in state.held_back],
        "binning": state.binning,
        "threshold": state.threshold,
        "flat_levels": state.flat_levels,
        "in_float32": state.in_float32,
    }
    write_tensors(path, tensors, content)


def save_checkpoint(checkpoint: Checkpoint, model_path: Path) -> None:
    """Write a checkpoint as model file and, beside it, state.

    Raises
    ------
    FileProblemError
        A file cannot be written.
    """
    save_network(checkpoint.trained, model_path)
    save_state(checkpoint.state, state_path(model_path))


def saving_checkpoints(
    events: Generator[TrainingEvent, None, Result],
    model_path: Path,
    saved: threading.Event | None = None,
) -> Generator[TrainingEvent, None, Result]:
    """Write the checkpoints of a training as model file and state, and pass on all other events.

    A checkpoint that cannot be written becomes a `Notice`: the training is worth more.

    Parameters
    ----------
    events : generator
        A running training.
    model_path : Path
        The model file; the state lies beside it.
    saved : threading.Event, optional
        Set after each checkpoint.
    """
    while True:
        try:
            event = next(events)
        except StopIteration as end:
            result: Result = end.value
            return result
        if not isinstance(event, Checkpoint):
            yield event
            continue
        try:
            save_checkpoint(event, model_path)
        except FileProblemError as error:
            yield Notice(f"The training goes on, but its state was not saved: {error}")
        if saved is not None:
            saved.set()


def load_state(path: Path) -> TrainingState:
    """Read a training state.

    Raises
    ------
    ModelFileError
        The file is missing, damaged, or no training state.
    """
    tensors, content = read_tensors(path)
    prefixes = (_LAST, _AVERAGED, _BEST, _OPTIMISER)
    groups: dict[str, dict[str, Tensor]] = {prefix: {} for prefix in prefixes}
    for name, tensor in tensors.items():
        prefix, _, rest = name.partition(".")
        groups.get(f"{prefix}.", {})[rest] = tensor
    try:
        return _state_from(content, groups)
    except (KeyError, TypeError, ValueError, OverflowError, ConfigError) as error:
        reason = " ".join(repr(error).split())[:_LONGEST_REASON]
        raise ModelFileError(f"{path.name} is not a training state: {reason}.") from error


def _state_from(content: dict[str, Any], groups: dict[str, dict[str, Tensor]]) -> TrainingState:
    best_value = content["best_value"]
    return TrainingState(
        step=_within(content["step"], 0, _MOST_STEPS),
        seconds=float(content["seconds"]),
        last=groups[_LAST],
        averaged=groups[_AVERAGED],
        best=groups[_BEST],
        optimiser=groups[_OPTIMISER],
        best_value=float("-inf") if best_value is None else float(best_value),
        history=tuple(dict(entry) for entry in content["history"]),
        cycle_start=_within(content.get("cycle_start", 0), 0, _MOST_STEPS),
        extra_steps=_within(content.get("extra_steps", 0), 0, _MOST_STEPS),
        classes=_classes_from(content.get("classes")),
        held_back=tuple(_place_from(place) for place in content.get("held_back", ())),
        binning=_within(content.get("binning", 1), 1, LARGEST_BINNING),
        threshold=_probability(content.get("threshold", 0.5)),
        flat_levels=_within(content.get("flat_levels", 0), 0, DEEPEST),
        in_float32=bool(content.get("in_float32", False)),
    )


def _within(value: Any, lowest: int, highest: int) -> int:
    number = int(value)
    if not lowest <= number <= highest:
        raise ValueError(f"{number} is not between {lowest} and {highest}")
    return number


def _probability(value: Any) -> float:
    probability = float(value)
    if not 0 < probability < 1:
        raise ValueError(f"a threshold of {probability}")
    return probability


def belongs_to(state: TrainingState, record: ModelRecord) -> bool:
    """Tell whether a state may be of the training that made a model.

    They are two files, the model is written first. So where a program was killed in between, the
    state is older than the model, which is no harm; but it may be that of a former training.
    """
    known = [dict(entry) for entry in record.history]
    return state.step <= record.steps and [*state.history] == known[: len(state.history)]


def _classes_from(content: dict[str, Any] | None) -> ClassTable | None:
    if content is None:
        return None
    return ClassTable(content["kind"], content["unpainted"], tuple(map(int, content["painted"])))


def _place_from(content: dict[str, Any]) -> BlockPlace:
    bounds = tuple((int(start), int(stop)) for start, stop in content["bounds"])
    return BlockPlace(int(content["image"]), tuple(map(int, content["frame"])), bounds)
