"""Everything that changes during a training: from it the training goes on exactly."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from napari_unet.data.validation_blocks import BlockPlace
    from napari_unet.tasks import ClassTable


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
    cycle_start : int
        Step after which the present cycle of the learning rate began; 0 unless a finished model
        was trained further.
    extra_steps : int
        Steps by which newly painted labels have prolonged the cycle.
    classes : ClassTable or None
        What the network's outputs mean; None in files of version 0.1.
    held_back : tuple of BlockPlace
        What the training never learned from.
    binning : float
        Pixels of the images per pixel of the network.
    threshold : float
        Probability above which a pixel is of an object, or of the second of two classes, that
        suited the best weights.
    flat_levels : int
        Of the network; see `UNetConfig`.
    border_sigma : float
        Width of the border weights in pixels of the network.
    paint : str
        Hash of what was painted; empty in older files.
    in_float32 : bool
        Whether it went on in float32 because losses were not finite.
    fitted : dict of Tensor
        Statistics that the starting model has on these images; empty where it has its own.
    """

    step: int
    seconds: float
    last: dict[str, Tensor]
    averaged: dict[str, Tensor]
    best: dict[str, Tensor]
    optimiser: dict[str, Tensor]
    best_value: float
    history: tuple[dict[str, float | bool | None], ...] = field(default=())
    cycle_start: int = 0
    extra_steps: int = 0
    classes: ClassTable | None = None
    held_back: tuple[BlockPlace, ...] = ()
    binning: float = 1
    threshold: float = 0.5
    flat_levels: int = 0
    border_sigma: float = 5.0
    paint: str = ""
    in_float32: bool = False
    fitted: dict[str, Tensor] = field(default_factory=dict)
