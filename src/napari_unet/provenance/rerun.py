"""What trainings and predictions that are done again have in common."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from napari_unet.errors import ConfigError
from napari_unet.io.tiff_sets import file_of
from napari_unet.model.devices import problem_with

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from napari_unet.provenance.card import Environment, Place

IN_MEMORY = (
    "Model, images or labels were in memory only. In the window, 'Copy as script' writes them to "
    "files."
)


@dataclass(frozen=True)
class RerunReport:
    """Whether a run gave the same again."""

    identical: bool
    """Bit for bit."""
    difference: str
    """Empty where it is identical."""
    output: Path
    causes: tuple[str, ...] = ()
    """Why it may differ, the likeliest first."""
    compared: str = ""
    """What was compared, where that is not all."""

    def __str__(self) -> str:
        if self.identical:
            return f"Identical, bit for bit{self.compared and f' ({self.compared})'}."
        return f"Different: {self.difference}. Likely cause: {'; '.join(self.causes)}."


def likely_causes(
    then: Environment, now: Environment, known: tuple[str, ...] = ()
) -> tuple[str, ...]:
    """Return why a repetition may differ: what is known already, then what computes here."""
    causes = (*known, *_differences(then, now))
    if not causes and then.device != "cpu":
        causes = ("a GPU adds up in an order that changes from run to run",)
    return causes or (
        "none that the card knows: versions, device and threads are those of the first run",
    )


def _differences(then: Environment, now: Environment) -> Iterator[str]:
    """Yield in what two environments differ, as "torch 2.12.0 then, 2.13.0 now"."""
    values: list[tuple[str, object, object]] = [
        (name, then.versions.get(name, "none"), now.versions.get(name, "none"))
        for name in sorted(then.versions.keys() | now.versions.keys())
    ]
    values += [
        ("device", then.device_name, now.device_name),
        ("platform", then.platform, now.platform),
        ("vector instructions", then.instructions, now.instructions),
        ("threads", then.threads, now.threads),
    ]
    return (f"{name} {one} then, {other} now" for name, one, other in values if one != other)


@contextlib.contextmanager
def threads_of(environment: Environment) -> Iterator[None]:
    """Compute with as many threads as then."""
    before = torch.get_num_threads()
    torch.set_num_threads(environment.threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def device_again(environment: Environment) -> str:
    """Return the device of a run where it works here, else "auto"."""
    return "auto" if problem_with(environment.device) else environment.device


def found_again(place: Place | None, card: Path) -> Path:
    """Return where an input lies now.

    Raises ConfigError if it is gone, or was in memory only.
    """
    if place is None:
        raise ConfigError(f"{card.name} cannot be done again. {IN_MEMORY}")
    found = place.found_from(card)
    if not file_of(found).exists():
        raise ConfigError(
            f"{place.path} is missing: it cannot be done again without it. Put it back there."
        )
    return found
