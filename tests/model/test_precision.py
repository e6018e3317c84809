"""The number format of convolutions: named, or the one that is faster on the device."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import torch

from napari_unet.model import devices

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_unet.model.config import Precision

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    """Probe anew."""
    devices.fastest_precision.cache_clear()
    yield
    devices.fastest_precision.cache_clear()


@pytest.mark.parametrize(
    ("name", "expected"), [("float32", torch.float32), ("bfloat16", torch.bfloat16)]
)
def test_a_named_precision_is_taken(name: Precision, expected: torch.dtype) -> None:
    assert devices.choose_precision(name, CPU) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        pytest.param(0.4, torch.bfloat16, id="faster"),
        pytest.param(0.9, torch.float32, id="hardly faster"),
        pytest.param(15.0, torch.float32, id="slower, as where it is emulated"),
    ],
)
def test_bfloat16_is_chosen_where_it_is_much_faster(
    monkeypatch: pytest.MonkeyPatch, seconds: float, expected: torch.dtype
) -> None:
    probed = {torch.float32: 1.0, torch.bfloat16: seconds}
    monkeypatch.setattr(devices, "_seconds_of", lambda device: probed)
    assert devices.choose_precision("auto", CPU) == expected


def test_a_device_without_bfloat16_uses_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(device: torch.device) -> dict[torch.dtype, float]:
        raise RuntimeError("not implemented for 'BFloat16'")

    monkeypatch.setattr(devices, "_seconds_of", refuse)
    assert devices.choose_precision("auto", CPU) == torch.float32


def test_a_device_is_probed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    probed: list[torch.device] = []

    def probe(device: torch.device) -> dict[torch.dtype, float]:
        probed.append(device)
        return {torch.float32: 1.0, torch.bfloat16: 0.5}

    monkeypatch.setattr(devices, "_seconds_of", probe)
    for _ in range(3):
        devices.choose_precision("auto", CPU)
    assert len(probed) == 1


def test_the_probe_times_both_formats() -> None:
    seconds = devices._seconds_of(CPU)
    assert set(seconds) == {torch.float32, torch.bfloat16}
    assert all(0 < each < 60 for each in seconds.values())


def test_on_an_apple_gpu_it_is_float32() -> None:
    assert devices.fastest_precision(torch.device("mps")) == torch.float32


# --- float32 on NVIDIA GPUs --------------------------------------------------------------------


@pytest.mark.fault(48)
@pytest.mark.parametrize("before", [True, False], ids=["TF32 on", "TF32 off"])
def test_float32_asked_of_a_gpu_is_float32_and_the_setting_comes_back(
    monkeypatch: pytest.MonkeyPatch, before: bool
) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", before)
    with devices.true_float32(torch.device("cuda"), torch.float32):
        assert torch.backends.cudnn.allow_tf32 is False
    assert torch.backends.cudnn.allow_tf32 is before


@pytest.mark.parametrize(
    ("device", "dtype"), [("cuda", torch.bfloat16), ("cpu", torch.float32)], ids=["bfloat16", "CPU"]
)
def test_elsewhere_the_setting_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, device: str, dtype: torch.dtype
) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    with devices.true_float32(torch.device(device), dtype):
        assert torch.backends.cudnn.allow_tf32 is True


def test_overlapping_users_leave_the_setting_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    cuda = torch.device("cuda")
    one, other = (devices.true_float32(cuda, torch.float32) for _ in range(2))
    one.__enter__()
    other.__enter__()
    one.__exit__(None, None, None)
    assert torch.backends.cudnn.allow_tf32 is False
    other.__exit__(None, None, None)
    assert torch.backends.cudnn.allow_tf32 is True


@pytest.mark.parametrize("before", ["tf32", "ieee"])
def test_where_somebody_uses_the_newer_switches_they_come_back(before: str) -> None:
    program = (
        "import torch\n"
        "from napari_unet.model.devices import true_float32\n"
        "conv = torch.backends.cudnn.conv\n"
        f"conv.fp32_precision = {before!r}\n"
        "with true_float32(torch.device('cuda'), torch.float32):\n"
        "    print(conv.fp32_precision != 'tf32')\n"
        "print(conv.fp32_precision)\n"
    )  # in a process of its own: torch does not forget which kind was used
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert told.stdout.split() == ["True", before], told.stderr
