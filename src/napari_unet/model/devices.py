"""Choose a computing device that works."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from dataclasses import dataclass
from functools import cache

import psutil
import torch
from torch.nn import functional

from napari_unet.errors import DeviceError, first_line


def choose_device(name: str = "auto") -> torch.device:
    """Return the device called `name`, after a small convolution has run on it.

    Parameters
    ----------
    name : str
        "auto" (a CUDA GPU that works, else Apple's MPS, else the CPU), "cpu", "cuda", "cuda:1",
        "mps". DeviceError where that does not exist or does not work here.
    """
    if name == "auto":
        for candidate in ("cuda", "mps"):
            if problem_with(candidate) is None:
                return torch.device(candidate)
        return torch.device("cpu")
    problem = problem_with(name)
    if problem is not None:
        raise DeviceError(f"Device {name!r} cannot be used: {problem} Choose 'auto' or 'cpu'.")
    return torch.device(name)


def unused_gpu(name: str, device: torch.device) -> tuple[str, ...]:
    """Return a note that "auto" has passed an NVIDIA GPU over, and why; empty where there is none.

    Parameters
    ----------
    name : str
        What `choose_device` was asked for.
    device : torch.device
        What it chose.
    """
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1")  # by somebody who means it
    gpu = None if name != "auto" or device.type != "cpu" or hidden else _gpu_of_driver()
    if gpu is None:
        return ()
    advice = cpu_only_torch(gpu)
    if advice is not None:
        return (f"{advice.what} To use it: {advice.remedy}",)
    return (
        f"{gpu} is present but unusable, so the CPU computes: {problem_with('cuda')} "
        "Update the NVIDIA driver, or install another torch (`napari-unet doctor`).",
    )


@cache
def _gpu_of_driver() -> str | None:
    return nvidia_gpu()


def problem_with(name: str) -> str | None:
    """Return in one sentence why a device cannot be used, or None where it can."""
    try:
        device = torch.device(name)
    except RuntimeError:
        return "it is not a name that torch knows (cpu, cuda, cuda:0, mps)."
    if device.type == "cuda" and not torch.cuda.is_available():
        built = "has no CUDA" if torch.version.cuda is None else f"is for CUDA {torch.version.cuda}"
        return f"torch {torch.__version__} {built} and finds no usable NVIDIA GPU."
    if device.type == "mps" and not torch.backends.mps.is_available():
        return "this torch finds no Apple GPU."
    if device.type not in ("cpu", "cuda", "mps"):
        return f"devices of type {device.type!r} are not supported."
    try:  # a driver or GPU too old for this torch shows only when a kernel runs
        _probe(device)
    except RuntimeError as error:  # also an operation that Apple's GPUs lack
        reason = first_line(error)
        return f"a test convolution of torch {torch.__version__} failed there ({reason})."
    return None


def _probe(device: torch.device) -> None:
    """Run a small convolution; on an Apple GPU all that a network needs, which some torch lacks."""
    image = torch.zeros(1, 1, 8, 8, device=device)
    functional.conv2d(image, torch.zeros(1, 1, 3, 3, device=device)).sum().item()
    if device.type != "mps":
        return
    volume = torch.zeros(1, 1, 8, 8, 8, device=device, requires_grad=True)
    features = functional.conv3d(volume, torch.zeros(1, 1, 3, 3, 3, device=device))
    pooled = functional.max_pool3d(features, 2)
    up = functional.conv_transpose3d(pooled, torch.zeros(1, 1, 2, 2, 2, device=device), stride=2)
    up.sum().backward()  # type: ignore[no-untyped-call]


def describe(device: torch.device) -> str:
    """Return a device's name for people, for example "NVIDIA RTX 4090" or "CPU"."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return "Apple GPU" if device.type == "mps" else "CPU"


def memory_used(device: torch.device) -> int:
    """Return how many bytes the work holds: on the GPU, or of the whole program on the CPU."""
    if device.type == "cuda":
        return torch.cuda.memory_reserved(device)
    return int(psutil.Process().memory_info().rss)


def yield_to_foreground() -> None:
    """Make the calling thread polite: leave a core to the window, and run at low priority.

    Called by background threads of a desktop session. On two busy cores painting is then as
    smooth as on an idle machine.
    """
    torch.set_num_threads(max(1, (os.cpu_count() or 1) - 1))
    if sys.platform == "linux":  # elsewhere threads have no niceness of their own
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)


# --- Notice an NVIDIA GPU that this torch cannot use; needs neither torch nor a window -----------


@dataclass(frozen=True)
class Problem:
    """Something that is wrong, and what to do about it: a command or an action."""

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
