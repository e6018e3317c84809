"""When and how a training came about: what its result does not say itself.

No torch here: windows listen for it, and open before torch is imported.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from napari_unet.provenance.card import Environment
    from napari_unet.training.config import TrainConfig


@dataclass(frozen=True)
class TimeSpan:
    """When a run began and ended, in ISO 8601 and UTC."""

    started: str
    ended: str

    @classmethod
    def since(cls, started: str) -> TimeSpan:
        """Return one that ends now."""
        return cls(started, now())


def now() -> str:
    """Return the time in ISO 8601, in UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


JOINED = "Strokes joined it while it trained, at times that no file records."
CONTINUED = "It went on from an earlier model or training."


@dataclass(frozen=True)
class TrainingOrigin:
    """What a training result does not say itself."""

    config: TrainConfig
    files: Sequence[tuple[Path | None, Path | None]]
    """Image and labels of each pair; None where they were in memory only."""
    environment: Environment
    span: TimeSpan
    command: str = ""
    """The equivalent command line; empty where there is none."""
    not_repeatable: str = ""
    """Why it cannot be done again; empty where it can."""
