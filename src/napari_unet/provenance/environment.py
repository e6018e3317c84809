"""What computes here (versions, device, threads), and when a run began and ended."""

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
    from collections.abc import Sequence
    from pathlib import Path

    from napari_unet.training.config import TrainConfig

_PACKAGES = ("napari-unet-paint", "torch", "numpy")


def environment_of(device: torch.device) -> Environment:
    """Return what computes on a device that `choose_device` chose, from the calling thread."""
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
    """Return in what two environments differ, as "torch 2.12.0 then, 2.13.0 now"."""
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
    return tuple(f"{name} {one} then, {other} now" for name, one, other in values if one != other)


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
