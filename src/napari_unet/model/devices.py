"""Choose a computing device that works, and the number format that is fastest on it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, lru_cache, partial
from typing import TYPE_CHECKING, Any

import psutil
import torch
from torch.nn import functional

from napari_unet.errors import DeviceError, first_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from napari_unet.model.config import Precision

# bfloat16 has to be so much faster: what it gains otherwise is not worth its rounding.
_LEAST_GAIN = 1.3
_PROBES = 7
# Edge of the image of the probe: a few milliseconds on a CPU, enough to fill a GPU.
_PROBE_SIZE = {"cpu": 96, "cuda": 512}


def choose_device(name: str = "auto") -> torch.device:
    """Return the device called `name`, after a small convolution has run on it.

    "auto" is a CUDA GPU that works, else Apple's MPS, else the CPU; others are "cpu", "cuda",
    "cuda:1", "mps". Raises DeviceError where that does not exist or does not work here.
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

    `name` is what `choose_device` was asked for, `device` what it chose.
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


def yield_to_foreground(threads: int = 0) -> None:
    """Make the calling thread polite: leave a core to the window, and run at low priority.

    `threads` is how many it may use; 0: all cores but one.

    Called by background threads of a desktop session. On two busy cores painting is then as
    smooth as on an idle machine.
    """
    torch.set_num_threads(threads or max(1, (os.cpu_count() or 1) - 1))
    if sys.platform == "linux":  # elsewhere threads have no niceness of their own
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)


# --- Notice an NVIDIA GPU that this torch cannot use ---------------------------------------------


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
    if torch.version.cuda is not None:
        return None
    return Problem(
        f"{gpu} is present, but torch {torch.__version__} is a CPU-only build.",
        f"{sys.executable} -m pip install --force-reinstall torch "
        "--index-url https://download.pytorch.org/whl/cu130",
    )


# --- The number format of convolutions ------------------------------------------------------------


def choose_precision(precision: Precision, device: torch.device) -> torch.dtype:
    """Return a number format: the named one, or with "auto" the fastest on this device."""
    if precision == "auto":
        return fastest_precision(device)
    return torch.bfloat16 if precision == "bfloat16" else torch.float32


@lru_cache
def fastest_precision(device: torch.device) -> torch.dtype:
    """Try a convolution in float32 and in bfloat16 on a device; about 50 ms, once per process."""
    if device.type not in _PROBE_SIZE:
        return torch.float32
    try:
        seconds = _seconds_of(device)
    except (RuntimeError, TypeError):  # no such kernel on this device
        return torch.float32
    faster = seconds[torch.bfloat16] * _LEAST_GAIN < seconds[torch.float32]
    return torch.bfloat16 if faster else torch.float32


@torch.inference_mode()
def _seconds_of(device: torch.device) -> dict[torch.dtype, float]:
    """Time a 3x3 convolution of 64 channels in each format: the fastest of several, in turns.

    What is counted on a CPU is the processor time of one thread: however busy the machine is, the
    same formats win, so that the same training or prediction gives the same numbers.
    """
    edge = _PROBE_SIZE[device.type]
    images = {
        dtype: torch.zeros(1, 64, edge, edge, device=device, dtype=dtype).contiguous(
            memory_format=torch.channels_last
        )
        for dtype in (torch.float32, torch.bfloat16)
    }
    seconds = dict.fromkeys(images, float("inf"))
    clock = time.perf_counter if device.type == "cuda" or _coarse_clock() else time.thread_time
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # a team of threads is as late as the busiest core
    try:
        for _ in range(_PROBES):
            for dtype, image in images.items():
                kernel = torch.zeros(64, 64, 3, 3, device=device, dtype=dtype)
                _wait_for(device)
                began = clock()
                functional.conv2d(image, kernel)
                _wait_for(device)
                seconds[dtype] = min(seconds[dtype], clock() - began)
    finally:
        torch.set_num_threads(threads)
    return seconds


@contextmanager
def true_float32(device: torch.device, precision: torch.dtype) -> Iterator[None]:
    """Let convolutions in float32 be of float32 where torch would round to TF32, with 10 bits.

    By that rounding tiles would differ from the whole, and whoever asks for float32 means it.
    Trainings leave torch's choice as it is.
    """
    if device.type != "cuda" or precision != torch.float32:
        yield
        return
    _TF32.off()
    try:
        yield
    finally:
        _TF32.on_again()


class _Tf32:
    """The switch of the process, off while anybody needs it off."""

    def __init__(self) -> None:
        self._lock, self._users = threading.Lock(), 0
        self._restore: Callable[[], None] | None = None

    def off(self) -> None:
        with self._lock:
            if self._users == 0:
                self._restore = _switch_tf32_off()
            self._users += 1

    def on_again(self) -> None:
        with self._lock:
            self._users -= 1
            if self._users == 0 and self._restore is not None:
                self._restore()


# Of the process, since torch's switch is: predictions of several threads share it.
_TF32 = _Tf32()


def _switch_tf32_off() -> Callable[[], None]:
    """Switch TF32 off for convolutions; return what brings the previous setting back."""
    cudnn: Any = torch.backends.cudnn
    try:
        before = cudnn.allow_tf32
    except RuntimeError:  # somebody uses torch's newer switches, and the two kinds do not mix
        before = cudnn.conv.fp32_precision
        cudnn.conv.fp32_precision = "ieee"
        return partial(setattr, cudnn.conv, "fp32_precision", before)
    cudnn.allow_tf32 = False
    return partial(setattr, cudnn, "allow_tf32", before)


def _coarse_clock() -> bool:
    """Return whether the processor time of a thread is counted in steps that are too long here."""
    return time.get_clock_info("thread_time").resolution > 1e-5


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
