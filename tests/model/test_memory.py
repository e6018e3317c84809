"""Too little memory is recognised on every device, and told in numbers."""

from __future__ import annotations

import gc
import weakref
from typing import Any, NamedTuple

import psutil
import pytest
import torch

from napari_unet.model.memory import Shortage, is_out_of_memory, within_memory

CPU, GPU = torch.device("cpu"), torch.device("cuda")
OF_CUDA = (
    "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 7.79 GiB of "
    "which 1.21 GiB is free."
)


class _Available(NamedTuple):
    available: int


@pytest.mark.fault(9)
@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError(OF_CUDA),
        MemoryError(),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate "
            "memory: you tried to allocate 4000000000 bytes. Error code 12"
        ),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes."),
        RuntimeError("MPS backend out of memory (MPS allocated: 8.00 GB, max allowed: 9.07 GB)."),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    ],
    ids=["CUDA", "Python", "Linux", "Windows", "Apple", "cuBLAS"],
)
def test_every_way_to_say_that_memory_is_short_is_understood(error: Exception) -> None:
    assert is_out_of_memory(error)


@pytest.mark.parametrize(
    "error",
    [RuntimeError("CUDA error: an illegal memory access"), ValueError("out of memory")],
    ids=["another error of a GPU", "another kind of error"],
)
def test_other_errors_are_not_taken_for_it(error: Exception) -> None:
    assert not is_out_of_memory(error)


@pytest.mark.parametrize(
    ("device", "needed", "free", "text"),
    [
        (GPU, 6_100_000_000, 2_000_000_000, "Not enough GPU memory (needs about 6.1 GB, 2.0 free)"),
        (GPU, None, 2_000_000_000, "Not enough GPU memory (2.0 GB free)"),
        (CPU, 6_100_000_000, None, "Not enough memory (needs about 6.1 GB)"),
        (torch.device("mps"), None, None, "Not enough GPU memory"),
    ],
    ids=["both numbers", "free alone", "needed alone", "none"],
)
def test_a_shortage_is_told_with_the_numbers_that_are_known(
    device: torch.device, needed: int | None, free: int | None, text: str
) -> None:
    assert str(Shortage(device, needed, free)) == text


@pytest.mark.fault(9)
def test_a_gpu_says_what_it_held_what_it_was_asked_for_and_what_is_free(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    emptied: list[bool] = []
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 3_000_000_000)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1_500_000_000, 8_000_000_000))
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: emptied.append(True))

    def work() -> None:
        raise torch.OutOfMemoryError(OF_CUDA)

    shortage = within_memory(work, GPU)

    assert shortage == Shortage(GPU, 3_000_000_000 + (2 << 30), 1_500_000_000)
    assert emptied


def test_the_cpu_says_what_it_was_asked_for_and_what_is_free(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: _Available(7))

    def work() -> None:
        raise RuntimeError("can't allocate memory: you tried to allocate 4000 bytes.")

    assert within_memory(work, CPU) == Shortage(CPU, 4000, 7)


def test_the_allocator_of_this_machine_is_understood() -> None:
    found: Any = within_memory(lambda: torch.empty(1 << 60, dtype=torch.uint8), CPU)
    assert isinstance(found, Shortage)
    assert found.needed == 1 << 60


@pytest.mark.fault(9)
def test_nothing_of_the_work_that_failed_is_kept_in_memory() -> None:
    held: list[weakref.ref[torch.Tensor]] = []

    def work() -> None:
        tensor = torch.zeros(3)
        held.append(weakref.ref(tensor))
        raise torch.OutOfMemoryError("CUDA out of memory.")

    gc.disable()  # by references alone, as nobody knows when the next collection comes
    try:
        shortage = within_memory(work, CPU)
        assert held[0]() is None
    finally:
        gc.enable()
    assert isinstance(shortage, Shortage)


def test_other_errors_pass() -> None:
    def work() -> None:
        raise RuntimeError("a driver that is too old")

    with pytest.raises(RuntimeError, match="too old"):
        within_memory(work, CPU)
