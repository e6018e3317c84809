"""Recognise errors that mean short memory, and how short; each device words them otherwise."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import psutil
import torch

if TYPE_CHECKING:
    from collections.abc import Callable

Result = TypeVar("Result")

# What the errors of CUDA, cuDNN, cuBLAS, MPS and torch's allocator on the CPU have in common.
_TELLTALE = re.compile(
    r"out of memory|can't allocate memory|not enough memory|_ALLOC_FAILED|bad_alloc", re.IGNORECASE
)
_TRIED = re.compile(r"tried to allocate (?P<number>[\d.]+) (?P<unit>bytes|[KMGT]iB)", re.IGNORECASE)
_BYTES = {"bytes": 1, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40}


@dataclass(frozen=True)
class Shortage:
    """How much memory was lacking; holds neither the error nor the tensors that it held."""

    device: torch.device
    needed: int | None
    """Bytes that the work would have held; None: unknown."""
    free: int | None
    """Bytes that are free; None: unknown."""

    def __str__(self) -> str:
        """Return a sentence without its full stop."""
        kind = "memory" if self.device.type == "cpu" else "GPU memory"
        needed = "" if self.needed is None else f"needs about {self.needed / 1e9:.1f} GB"
        free = "" if self.free is None else f"{self.free / 1e9:.1f}{'' if needed else ' GB'} free"
        told = ", ".join(filter(None, (needed, free)))
        return f"Not enough {kind}" + (f" ({told})" if told else "")


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error means that memory is short, on whatever device."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and bool(_TELLTALE.search(str(error)))


def within_memory(work: Callable[[], Result], device: torch.device) -> Result | Shortage:
    """Do something on a device; where memory is short return how short, and free what was taken.

    An error holds, by its traceback, every tensor of the work that failed: it is let go before
    anybody tries again.
    """
    try:
        return work()
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        needed = _needed(error, device)
    free_unused(device)
    return Shortage(device, needed, _free(device))


def free_unused(device: torch.device) -> None:
    """Give back what torch keeps of a GPU's memory for later."""
    with suppress(RuntimeError):  # a GPU that has failed has nothing to give
        if device.type == "cuda":
            torch.cuda.empty_cache()
        elif device.type == "mps":
            torch.mps.empty_cache()


def _needed(error: BaseException, device: torch.device) -> int | None:
    """Return what was held when the error was raised, and what was asked for on top."""
    found = _TRIED.search(str(error))
    if found is None:
        return None
    tried = int(float(found["number"]) * _BYTES[found["unit"].lower()])
    return tried + (torch.cuda.memory_allocated(device) if device.type == "cuda" else 0)


def _free(device: torch.device) -> int | None:
    with suppress(RuntimeError):
        if device.type == "cuda":
            return int(torch.cuda.mem_get_info(device)[0])
        if device.type == "cpu":
            return int(psutil.virtual_memory().available)
    return None
