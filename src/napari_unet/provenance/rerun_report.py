"""What came of doing a run again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_unet.provenance.environment import differences

if TYPE_CHECKING:
    from pathlib import Path

    from napari_unet.provenance.card import Environment


@dataclass(frozen=True)
class RerunReport:
    """Whether a run gave the same again."""

    identical: bool
    """Bit for bit."""
    difference: str
    """Empty where it is identical."""
    output: Path
    """The new result."""
    causes: tuple[str, ...] = ()
    """Why it may differ, the likeliest first."""
    compared: str = ""
    """What was compared, where that is not all."""

    def __str__(self) -> str:
        if self.identical:
            return f"Identical, bit for bit{self.compared and f' ({self.compared})'}."
        return f"Different: {self.difference}. Likely cause: {'; '.join(self.causes)}."


def in_words(then: Environment, now: Environment, found: RerunReport) -> tuple[str, ...]:
    """Return why a repetition may differ: what is known already, then what computes here."""
    causes = (*found.causes, *differences(then, now))
    if not causes and then.device != "cpu":
        causes = ("a GPU adds up in an order that changes from run to run",)
    return causes or (
        "none that the card knows: versions, device and threads are those of the first run",
    )
