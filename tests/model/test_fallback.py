"""A device with too little memory, or one that fails, changes no pixel of a result."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from napari_unet.data.frames import Frame
from napari_unet.data.intensity import IntensityRange
from napari_unet.errors import NotEnoughMemoryError
from napari_unet.model import memory
from napari_unet.model.config import UNetConfig
from napari_unet.model.execution import Runner
from napari_unet.model.inference import InferenceNetwork
from napari_unet.model.record import Geometry
from napari_unet.model.unet import UNet

pytestmark = pytest.mark.fault(10)

CPU = torch.device("cpu")
AS_IT_IS = IntensityRange((0.0,), (1.0,), (0.5,))
PLANE = UNetConfig(base_channels=3, depth=2, padding="same", normalization="batch")
VOLUME = UNetConfig(ndim=3, base_channels=2, depth=2, padding="same", flat_levels=1)
SHAPES = {2: (120, 136), 3: (9, 40, 36)}


class Small(InferenceNetwork):
    """A network on a device that holds inputs of so many pixels, and counts its attempts."""

    def __init__(self, network: UNet, pixels: float, error: Exception | None = None) -> None:
        super().__init__(network, CPU)
        self.pixels, self.sizes = pixels, list[int]()
        self.error = error or torch.OutOfMemoryError("CUDA out of memory.")

    def probabilities(self, images: Tensor) -> Tensor:
        self.sizes.append(images.numel())
        if images.numel() > self.pixels:
            raise self.error
        return super().probabilities(images)


def network_of(config: UNetConfig) -> UNet:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return UNet(config).eval()


def frame_of(config: Geometry) -> Frame:
    shape = SHAPES[config.ndim]
    image = np.random.default_rng(0).random(shape, dtype=np.float32)
    return Frame(image, "ZYX"[-config.ndim :], config.ndim)


def predict(runner: Runner) -> Any:
    frame = frame_of(runner.network.config)
    return runner.probabilities(frame, AS_IT_IS, tuple(slice(0, n) for n in frame.spatial_shape))


@pytest.mark.parametrize("views", [1, 8])
@pytest.mark.parametrize("config", [PLANE, VOLUME], ids=["plane", "volume with flat levels"])
@pytest.mark.parametrize("share", [0.9, 0.3], ids=["one cut", "several cuts"])
def test_a_box_that_does_not_fit_is_computed_in_parts_to_the_same_bit(
    config: UNetConfig, views: int, share: float
) -> None:
    network = network_of(config)
    expected = predict(Runner(InferenceNetwork(network, CPU), views=views))
    whole = Small(network, float("inf"))
    predict(Runner(whole))
    small = Small(network, share * whole.sizes[0])

    found = predict(Runner(small, views=views))

    assert max(small.sizes[1:]) < whole.sizes[0]
    np.testing.assert_array_equal(found, expected)


def test_what_did_not_fit_once_is_not_tried_again() -> None:
    network = network_of(PLANE)
    whole = Small(network, float("inf"))
    predict(Runner(whole))
    small = Small(network, 0.9 * whole.sizes[0])
    runner = Runner(small)
    predict(runner)
    small.sizes.clear()

    predict(runner)

    assert max(small.sizes) <= small.pixels


@pytest.mark.fault(53)
def test_a_box_that_a_container_does_not_hold_is_never_tried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    network = network_of(PLANE)
    expected = predict(Runner(InferenceNetwork(network, CPU)))
    whole = Small(network, float("inf"))
    predict(Runner(whole))
    needed = 3 * PLANE.base_channels * 4 * whole.sizes[0]
    monkeypatch.setattr(memory, "free_memory", lambda: needed // 2)
    small = Small(network, float("inf"))
    runner = Runner(small)

    np.testing.assert_array_equal(predict(runner), expected)

    assert max(small.sizes) <= whole.sizes[0] / 2
    assert runner.fallback.take_notices() == ["Memory is short: tiles are computed in parts."]


@pytest.mark.fault(53)
def test_where_a_container_is_full_it_is_said_in_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "free_memory", lambda: 0)
    with pytest.raises(NotEnoughMemoryError, match=r"needs about 0\.0 GB, 0\.0 free"):
        predict(Runner(Small(network_of(PLANE), float("inf"))))


def test_it_is_told_once() -> None:
    network = network_of(PLANE)
    whole = Small(network, float("inf"))
    predict(Runner(whole))
    runner = Runner(Small(network, 0.9 * whole.sizes[0]))
    for expected in (["Memory is short: tiles are computed in parts."], []):
        predict(runner)
        assert runner.fallback.take_notices() == expected


def test_where_not_even_the_smallest_box_fits_the_cpu_goes_on_to_the_same_bit() -> None:
    network = network_of(PLANE)
    small, made = Small(network, 0), list[InferenceNetwork]()

    def spare() -> InferenceNetwork:
        made.append(InferenceNetwork(network, CPU))
        return made[-1]

    runner = Runner(small, spare=spare)
    found = predict(runner)
    attempts = len(small.sizes)
    again = predict(runner)

    expected = predict(Runner(InferenceNetwork(network, CPU)))
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(again, expected)
    assert len(made) == 1
    assert len(small.sizes) == attempts  # the rest is not tried there any more
    *_, last = runner.fallback.take_notices()
    assert last.startswith("Not enough memory (")
    assert last.endswith("the rest is computed on the CPU.")


@pytest.mark.fault(11)
@pytest.mark.fault(12)
@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("CUDA error: no kernel image is available\nCompile with TORCH_USE_CUDA_DSA"),
        NotImplementedError("The operator 'aten::max_pool3d' is not implemented for MPS"),
    ],
    ids=["a GPU that dies", "an operation that is missing"],
)
def test_after_a_device_has_failed_the_cpu_goes_on(error: Exception) -> None:
    network = network_of(PLANE)
    dying = Small(network, 0, error)
    runner = Runner(dying, spare=lambda: InferenceNetwork(network, CPU))

    found = predict(runner)

    np.testing.assert_array_equal(found, predict(Runner(InferenceNetwork(network, CPU))))
    assert len(dying.sizes) == 1
    reason = str(error).splitlines()[0]
    assert runner.fallback.take_notices() == [
        f"The GPU failed ({reason}): the rest is computed on the CPU."
    ]


def test_without_another_device_too_little_memory_is_an_error_that_says_what_to_do() -> None:
    runner = Runner(Small(network_of(PLANE), 0))
    with pytest.raises(NotEnoughMemoryError, match=r"Not enough memory \(.* Close other programs"):
        predict(runner)


def test_without_another_device_other_errors_pass() -> None:
    runner = Runner(Small(network_of(PLANE), 0, RuntimeError("a wrong shape")))
    with pytest.raises(RuntimeError, match="a wrong shape"):
        predict(runner)


def test_what_was_noticed_before_the_cpu_goes_on_is_told_too() -> None:
    network = network_of(PLANE)
    small = Small(network, float("inf"), RuntimeError("CUDA error: unknown"))
    runner = Runner(small, spare=lambda: InferenceNetwork(network, CPU))
    runner.fallback.note_once("Something else.")
    small.pixels = 0
    predict(runner)
    other, told = runner.fallback.take_notices()
    assert other == "Something else."
    assert told.startswith("The GPU failed (CUDA error: unknown)")
