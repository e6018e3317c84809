"""What computes here: versions, device, threads."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING

import torch

from napari_unet.model.devices import describe
from napari_unet.provenance.card import Environment

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from napari_unet.training.config import TrainConfig

_PACKAGES = ("napari-unet-paint", "torch", "numpy")


def environment_of(device: torch.device) -> Environment:
    """Say what computes on a device, from the calling thread.

    Parameters
    ----------
    device : torch.device
        As `choose_device` chose it.
    """
    versions = {name: version(name) for name in _PACKAGES}
    return Environment(
        versions={**versions, "python": platform.python_version()},
        platform=f"{platform.system()} {platform.machine()}",
        device=str(device),
        device_name=describe(device),
        instructions=torch.backends.cpu.get_cpu_capability(),
        threads=torch.get_num_threads(),
    )


def differences(then: Environment, now: Environment) -> tuple[str, ...]:
    """Say in what two environments differ, as "torch 2.12.0 then, 2.13.0 now"."""
    return tuple(_differences(then, now))


def _differences(then: Environment, now: Environment) -> Iterator[str]:
    for name in sorted(then.versions.keys() | now.versions.keys()):
        previous, present = then.versions.get(name, "none"), now.versions.get(name, "none")
        if previous != present:
            yield f"{name} {previous} then, {present} now"
    for name, previous, present in (
        ("device", then.device_name, now.device_name),
        ("platform", then.platform, now.platform),
        ("vector instructions", then.instructions, now.instructions),
        ("threads", str(then.threads), str(now.threads)),
    ):
        if previous != present:
            yield f"{name} {previous} then, {present} now"


# --- When something began and ended --------------------------------------------------------------


@dataclass(frozen=True)
class TimeSpan:
    """When a run began and ended.

    Parameters
    ----------
    started, ended : str
        ISO 8601, in UTC.
    """

    started: str
    ended: str

    @classmethod
    def since(cls, started: str) -> TimeSpan:
        """Return one that ends now."""
        return cls(started, now())


def now() -> str:
    """Return the present moment in ISO 8601, in UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


# --- What a training result does not tell itself. No torch here: windows listen for it -----------

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
    span : TimeSpan
        When.
    command : str
        The equivalent command line, or "".
    not_repeatable : str
        Why it cannot be done again, or "".
    """

    config: TrainConfig
    files: Sequence[tuple[Path | None, Path | None]]
    environment: Environment
    span: TimeSpan
    command: str = ""
    not_repeatable: str = ""
