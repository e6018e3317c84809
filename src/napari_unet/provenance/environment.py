"""What computes here: versions, device, threads."""

from __future__ import annotations

import platform
from importlib.metadata import version

import torch

from napari_unet.model.devices import describe
from napari_unet.provenance.card import Environment

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
