"""Notice an NVIDIA GPU that this torch cannot use; needs neither torch nor a window."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """Something that is wrong, and what to do about it.

    Parameters
    ----------
    what : str
        One sentence.
    remedy : str
        A command or an action.
    """

    what: str
    remedy: str


def nvidia_gpu() -> str | None:
    """Return the name of the first NVIDIA GPU that the driver reports, or None."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    try:
        answer = subprocess.run(
            [program, "--query-gpu=name", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    names = answer.stdout.strip().splitlines()
    return names[0] if names else None


def cpu_only_torch(gpu: str | None) -> Problem | None:
    """Find a CPU-only build of torch beside an NVIDIA GPU of the given name."""
    if gpu is None:
        return None
    import torch

    if torch.version.cuda is not None:
        return None
    return Problem(
        f"{gpu} is present, but torch {torch.__version__} is a CPU-only build.",
        f"{sys.executable} -m pip install --force-reinstall torch "
        "--index-url https://download.pytorch.org/whl/cu130",
    )
