"""Choose the number format of convolutions that is fastest on a device."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from napari_unet.model.config import Precision

# bfloat16 has to be so much faster: what it gains otherwise is not worth its rounding.
_LEAST_GAIN = 1.3
_PROBES = 7
# Edge of the image of the probe: a few milliseconds on a CPU, enough to fill a GPU.
_PROBE_SIZE = {"cpu": 96, "cuda": 512}


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
        seconds = _probe(device)
    except (RuntimeError, TypeError):  # no such kernel on this device
        return torch.float32
    faster = seconds[torch.bfloat16] * _LEAST_GAIN < seconds[torch.float32]
    return torch.bfloat16 if faster else torch.float32


@torch.inference_mode()
def _probe(device: torch.device) -> dict[torch.dtype, float]:
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
