"""What a training result does not tell itself. No torch here: windows listen for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from napari_unet.runs.card import Environment
    from napari_unet.runs.moment import Moment
    from napari_unet.training.config import TrainConfig

JOINED = "Strokes joined it while it trained, at moments that no file tells."
CONTINUED = "It went on from an earlier model or training."


@dataclass(frozen=True)
class TrainingOrigin:
    """What a training result does not tell itself.

    Parameters
    ----------
    config : TrainConfig
        The settings that it was started with.
    files : sequence of (Path or None, Path or None)
        Image and labels of each pair; None where they were in memory only.
    environment : Environment
        What computed.
    moment : Moment
        When.
    command : str
        The equivalent command line, or "".
    not_repeatable : str
        Why it cannot be done again, or "".
    """

    config: TrainConfig
    files: Sequence[tuple[Path | None, Path | None]]
    environment: Environment
    moment: Moment
    command: str = ""
    not_repeatable: str = ""
