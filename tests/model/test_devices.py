from __future__ import annotations

import os
import sys
from typing import Any

import pytest
import torch

from napari_unet.errors import DeviceError
from napari_unet.model import devices


def test_the_cpu_works() -> None:
    assert devices.choose_device("cpu") == torch.device("cpu")


def test_a_name_that_is_no_device_is_refused_with_what_would_be() -> None:
    with pytest.raises(DeviceError, match=r"'abacus'.*cpu, cuda"):
        devices.choose_device("abacus")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_missing_gpu_is_refused_with_the_build_of_torch() -> None:
    with pytest.raises(DeviceError, match=torch.__version__.split("+")[0]):
        devices.choose_device("cuda")


def test_auto_takes_the_cpu_where_every_gpu_has_a_problem(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(devices, "problem_with", lambda name: "broken")
    assert devices.choose_device("auto") == torch.device("cpu")


def test_auto_takes_a_gpu_that_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "problem_with", lambda name: None)
    assert devices.choose_device("auto") == torch.device("cuda")


NO_GPU = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        pytest.param("", "not a name that torch knows", id="no name"),
        pytest.param("GPU", "not a name that torch knows", id="a word"),
        pytest.param("cuda:-1", "not a name that torch knows", id="a negative number"),
        pytest.param("meta", "type 'meta' are not supported", id="another type"),
        pytest.param("cuda:0", "finds no usable NVIDIA GPU", id="a GPU", marks=NO_GPU),
    ],
)
def test_a_device_that_cannot_be_used_is_refused_with_reason_and_remedy(
    name: str, text: str
) -> None:
    with pytest.raises(DeviceError) as caught:
        devices.choose_device(name)
    message = str(caught.value)
    assert message.startswith(f"Device {name!r} cannot be used: ")
    assert text in message
    assert message.endswith("Choose 'auto' or 'cpu'.")


@pytest.mark.skipif(torch.backends.mps.is_available(), reason="there is an Apple GPU")
def test_a_missing_apple_gpu_is_refused() -> None:
    with pytest.raises(DeviceError, match="finds no Apple GPU"):
        devices.choose_device("mps")


def test_auto_takes_an_apple_gpu_where_cuda_does_not_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(devices, "problem_with", lambda name: None if name == "mps" else "broken")
    assert devices.choose_device("auto") == torch.device("mps")


def fail_to_convolve(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    def conv2d(*arguments: Any, **options: Any) -> Any:
        raise RuntimeError(text)

    monkeypatch.setattr(torch.nn.functional, "conv2d", conv2d)


def test_a_device_on_which_no_kernel_runs_is_refused_in_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fail_to_convolve(monkeypatch, "no kernel image is available\nCompile with TORCH_USE_CUDA_DSA")
    with pytest.raises(DeviceError, match=r"failed there \(no kernel image is available\)"):
        devices.choose_device("cpu")


@pytest.mark.xfail(strict=True, raises=IndexError, reason="takes the first line of no lines")
def test_an_error_without_a_text_is_a_problem_too(monkeypatch: pytest.MonkeyPatch) -> None:
    fail_to_convolve(monkeypatch, "")
    assert devices.problem_with("cpu") is not None


def test_the_cpu_is_described_for_people() -> None:
    assert devices.describe(torch.device("cpu")) == "CPU"


@pytest.mark.parametrize(("cores", "threads"), [(8, 7), (2, 1), (1, 1), (None, 1)])
def test_a_polite_thread_leaves_a_core_to_the_window(
    monkeypatch: pytest.MonkeyPatch, cores: int | None, threads: int
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    monkeypatch.setattr(sys, "platform", "win32")  # its niceness could not be taken back
    monkeypatch.setattr(torch, "set_num_threads", asked.append)
    devices.yield_to_foreground()
    assert asked == [threads]
