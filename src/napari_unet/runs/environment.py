"""What computes here: versions, device, threads."""

from __future__ import annotations

import platform
from importlib.metadata import version
from typing import TYPE_CHECKING

import torch

from napari_unet.model.devices import describe
from napari_unet.runs.card import Environment

if TYPE_CHECKING:
    from collections.abc import Iterator

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
