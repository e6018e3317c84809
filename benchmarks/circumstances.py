"""Where figures come from: the machine, the versions and the commit, and nothing more."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import subprocess
from pathlib import Path

import torch

from napari_unet import __version__

_CHECKOUT = Path(__file__).resolve().parents[1]


def machine_in_words() -> str:
    """Describe processor and GPU, and nothing that names this machine."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return f"{_processor()}, {os.cpu_count()} cores, {gpu}"


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def versions() -> dict[str, str]:
    """Return the versions of this package and of what decides about numbers."""
    others = {name: importlib.metadata.version(name) for name in ("torch", "numpy", "scipy")}
    for peer in ("monai", "nnunetv2"):
        if importlib.util.find_spec(peer):
            others[peer] = importlib.metadata.version(peer)
    return {"napari_unet": __version__, "python": platform.python_version(), **others}


def git_commit() -> str:
    """Return the short commit of the checkout, with a plus where it has uncommitted changes."""
    try:
        commit = _git("rev-parse", "--short", "HEAD")
        return f"{commit}+" if _git("status", "--porcelain", "--", "src", "benchmarks") else commit
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(_CHECKOUT), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
