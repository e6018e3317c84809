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
    """

    step: int
    """Steps taken."""
    seconds: float
    last: dict[str, Tensor]
    """The newest weights."""
    averaged: dict[str, Tensor]
    """Their running average, with its count."""
    best: dict[str, Tensor]
    """The average at the best validation score; empty where none was made."""
    optimiser: dict[str, Tensor]
    """State of the update rule, under "parameter number.name"."""
    best_value: float
    """The best validation score; minus infinity where none was made."""
    history: tuple[dict[str, float | bool | None], ...] = field(default=())
    """The validations so far."""
    cycle_start: int = 0
    """Step after which the present cycle of the learning rate began; 0 unless a finished model was
    trained further.
    """
    extra_steps: int = 0
    """Steps by which newly painted labels have prolonged the cycle."""
    classes: ClassTable | None = None
    """What the network's outputs mean; None in files of version 0.1."""
    held_back: tuple[BlockPlace, ...] = ()
    """What the training never learned from."""
    binning: float = 1
    """Pixels of the images per pixel of the network."""
    threshold: float = 0.5
    """Probability above which a pixel is of an object, or of the second of two classes, that suited
    the best weights.
    """
    flat_levels: int = 0
    """Of the network; see `UNetConfig`."""
    border_sigma: float = 5.0
    """Width of the border weights in pixels of the network."""
    paint: str = ""
    """Hash of what was painted; empty in older files."""
    in_float32: bool = False
    """Whether it went on in float32 because losses were not finite."""
    fitted: dict[str, Tensor] = field(default_factory=dict)
    """Statistics that the starting model has on these images; empty where it has its own."""
