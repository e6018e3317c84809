from __future__ import annotations

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


@pytest.mark.parametrize(
    ("precision", "expected"),
    [("float32", torch.float32), ("bfloat16", torch.bfloat16)],
)
def test_a_named_precision_is_taken(precision: devices.Precision, expected: torch.dtype) -> None:
    assert devices.choose_precision(precision, torch.device("cpu")) == expected
