from __future__ import annotations

import os
import sys
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

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


@pytest.mark.fault(11)
def test_a_device_on_which_no_kernel_runs_is_refused_in_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fail_to_convolve(monkeypatch, "no kernel image is available\nCompile with TORCH_USE_CUDA_DSA")
    with pytest.raises(
        DeviceError, match=r"failed there \(no kernel image is available\)"
    ) as found:
        devices.choose_device("cpu")
    assert f"torch {torch.__version__}" in str(found.value)


def test_an_error_without_a_text_is_a_problem_too(monkeypatch: pytest.MonkeyPatch) -> None:
    fail_to_convolve(monkeypatch, "")
    assert devices.problem_with("cpu") is not None


# --- a GPU that is passed over -----------------------------------------------------------------


@pytest.fixture
def with_old_gpu(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A machine whose NVIDIA GPU torch finds, but has no kernels for."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(devices, "_gpu_of_driver", lambda: "NVIDIA GTX 580")
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    right = torch.zeros

    def zeros(*sizes: int, device: Any = None, **options: Any) -> Any:
        if device is not None and torch.device(device).type == "cuda":
            raise RuntimeError("CUDA error: no kernel image is available for execution")
        return right(*sizes, **options)

    monkeypatch.setattr(torch, "zeros", zeros)
    return monkeypatch


@pytest.mark.fault(11)
def test_auto_passes_a_gpu_over_on_which_no_kernel_runs(
    with_old_gpu: pytest.MonkeyPatch,
) -> None:
    assert devices.choose_device("auto") == torch.device("cpu")


@pytest.mark.fault(11)
def test_a_gpu_that_is_passed_over_is_named_with_the_build_of_torch(
    with_old_gpu: pytest.MonkeyPatch,
) -> None:
    (text,) = devices.unused_gpu("auto", torch.device("cpu"))
    assert text.startswith("NVIDIA GTX 580 is present but unusable, so the CPU computes: ")
    assert f"torch {torch.__version__} failed there (CUDA error: no kernel image" in text
    assert "Update the NVIDIA driver" in text


@pytest.mark.fault(11)
def test_a_driver_too_old_for_torch_is_told_with_the_cuda_of_torch(
    with_old_gpu: pytest.MonkeyPatch,
) -> None:
    with_old_gpu.setattr(torch.cuda, "is_available", lambda: False)
    (text,) = devices.unused_gpu("auto", torch.device("cpu"))
    assert f"torch {torch.__version__} is for CUDA 13.0 and finds no usable NVIDIA GPU." in text


@pytest.mark.fault(11)
def test_a_torch_for_the_cpu_alone_is_told_with_the_remedy(
    with_old_gpu: pytest.MonkeyPatch,
) -> None:
    with_old_gpu.setattr(torch.version, "cuda", None)
    (text,) = devices.unused_gpu("auto", torch.device("cpu"))
    assert "CPU-only build. To use it: " in text
    assert "pip install" in text


@pytest.mark.parametrize(
    ("name", "device"),
    [("cpu", "cpu"), ("auto", "cuda"), ("cuda", "cuda")],
    ids=["the CPU was asked for", "the GPU is used", "the GPU was asked for"],
)
def test_nothing_is_told_where_nothing_was_passed_over(
    with_old_gpu: pytest.MonkeyPatch, name: str, device: str
) -> None:
    assert devices.unused_gpu(name, torch.device(device)) == ()


def test_nothing_is_told_of_a_gpu_that_somebody_has_hidden(
    with_old_gpu: pytest.MonkeyPatch,
) -> None:
    with_old_gpu.setenv("CUDA_VISIBLE_DEVICES", "")
    assert devices.unused_gpu("auto", torch.device("cpu")) == ()


@pytest.mark.fault(12)
def test_auto_passes_an_apple_gpu_over_that_lacks_an_operation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def lacking(device: torch.device) -> None:
        if device.type == "mps":
            raise NotImplementedError("The operator 'aten::max_pool3d' is not implemented.")

    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(devices, "_probe", lacking)
    assert devices.choose_device("auto") == torch.device("cpu")


@pytest.mark.fault(12)
def test_the_test_of_an_apple_gpu_has_all_that_a_network_needs() -> None:
    devices._probe(torch.device("cpu"))  # the short one
    called: list[str] = []

    class Apple(TorchDispatchMode):  # type: ignore[no-untyped-call]
        def __torch_dispatch__(
            self, op: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            called.append(op.overloadpacket.__name__)
            return op(*args, **{k: v for k, v in (kwargs or {}).items() if k != "device"})

    class Named:
        type = "mps"

    right = torch.zeros

    def on_cpu(*sizes: int, device: Any = None, **options: Any) -> Any:
        return right(*sizes, **options)

    with pytest.MonkeyPatch.context() as patch, Apple():  # type: ignore[no-untyped-call]
        patch.setattr(torch, "zeros", on_cpu)
        devices._probe(Named())  # type: ignore[arg-type]
    assert {"convolution", "convolution_backward"} <= set(called)
    assert any(name.startswith("max_pool3d") for name in called)


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
