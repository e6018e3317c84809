"""The state of an interrupted training, from which it goes on exactly as if it had not been."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from napari_unet.errors import ModelFileError
from napari_unet.model.tensor_file import read_tensors, write_tensors

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

_LAST, _AVERAGED, _BEST, _OPTIMISER = "last.", "averaged.", "best.", "optimiser."


@dataclass(frozen=True)
class TrainingState:
    """Everything that changes during a training.

    Chance needs no entry: each step draws from a generator seeded by the seed and its number.

    Parameters
    ----------
    step : int
        Steps taken.
    seconds : float
        Time they took.
    last, averaged, best : dict of Tensor
        The newest weights, their running average with its count, and the average at the best
        validation score (empty where none was made).
    optimiser : dict of Tensor
        State of the update rule, under "parameter number.name".
    best_value : float
        The best validation score; minus infinity where none was made.
    history : tuple of dict
        The validations so far.
    """

    step: int
    seconds: float
    last: dict[str, Tensor]
    averaged: dict[str, Tensor]
    best: dict[str, Tensor]
    optimiser: dict[str, Tensor]
    best_value: float
    history: tuple[dict[str, float | bool | None], ...] = field(default=())


def state_path(model_path: Path) -> Path:
    """Return where the training state of a model file lies: beside it."""
    return model_path.with_name(f"{model_path.stem}.state.safetensors")


def save_state(state: TrainingState, path: Path) -> None:
    """Write a training state atomically.

    Raises
    ------
    FileProblemError
        The file cannot be written.
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
    content: dict[str, Any] = {
        "step": state.step,
        "seconds": state.seconds,
        "best_value": state.best_value if state.best else None,
        "history": list(state.history),
    }
    write_tensors(path, tensors, content)


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
        best_value = content["best_value"]
        return TrainingState(
            step=int(content["step"]),
            seconds=float(content["seconds"]),
            last=groups[_LAST],
            averaged=groups[_AVERAGED],
            best=groups[_BEST],
            optimiser=groups[_OPTIMISER],
            best_value=float("-inf") if best_value is None else float(best_value),
            history=tuple(dict(entry) for entry in content["history"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ModelFileError(f"{path.name} is not a training state: {error!r}.") from error
