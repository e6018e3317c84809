"""The weights of synthetic cells that trainings of the preset "fast" begin with."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_unet.model import pretrained
from napari_unet.model.config import UNetConfig
from napari_unet.model.execution import Runner
from napari_unet.model.pretrained import pretrained_weights
from napari_unet.model.unet import UNet
from napari_unet.training.config import TrainConfig

FAST = TrainConfig.preset("fast").network(1, 2)


def weights_for(config: UNetConfig) -> dict[str, torch.Tensor] | None:
    return pretrained_weights(config, dict(UNet(config).state_dict()))


def test_they_fit_the_fast_network() -> None:
    weights = weights_for(FAST)
    assert weights is not None
    UNet(FAST).load_state_dict(weights)


def test_they_are_finite() -> None:
    weights = weights_for(FAST)
    assert weights is not None
    assert all(bool(tensor.isfinite().all()) for tensor in weights.values())


@pytest.mark.parametrize(
    "config",
    [
        UNetConfig.paper(),
        TrainConfig.preset("3d").network(1, 2),
        TrainConfig.preset("accurate").network(1, 2),
        TrainConfig.preset("fast", base_channels=8).network(1, 2),
    ],
    ids=["paper", "3d", "accurate", "narrower"],
)
def test_other_networks_begin_at_random(config: UNetConfig) -> None:
    assert weights_for(config) is None


def test_grey_as_colour_gives_what_grey_gives() -> None:
    colour = TrainConfig.preset("fast").network(3, 2)
    grey_weights, colour_weights = weights_for(FAST), weights_for(colour)
    assert grey_weights is not None
    assert colour_weights is not None
    grey_net, colour_net = UNet(FAST).eval(), UNet(colour).eval()
    grey_net.load_state_dict(grey_weights)
    colour_net.load_state_dict(colour_weights)
    image = torch.rand(1, 1, 64, 64)
    with torch.inference_mode():
        same = colour_net(image.expand(-1, 3, -1, -1))
        torch.testing.assert_close(grey_net(image), same, atol=1e-4, rtol=1e-4)


def test_other_classes_get_fresh_outputs() -> None:
    config = TrainConfig.preset("fast").network(1, 4)
    fresh = dict(UNet(config).state_dict())
    weights = pretrained_weights(config, fresh)
    assert weights is not None
    assert weights["output.weight"] is fresh["output.weight"] or torch.equal(
        weights["output.weight"], fresh["output.weight"]
    )


def test_without_the_file_everything_begins_at_random(monkeypatch: pytest.MonkeyPatch) -> None:
    pretrained._load.cache_clear()
    monkeypatch.setattr(pretrained, "_FILE", "missing.safetensors")
    assert weights_for(FAST) is None
    pretrained._load.cache_clear()


def test_they_find_bright_disks_without_any_training() -> None:
    weights = weights_for(FAST)
    assert weights is not None
    network = UNet(FAST)
    network.load_state_dict(weights)
    grid = np.indices((128, 128)) % 32 - 16
    disks = (grid**2).sum(axis=0) < 80
    noisy = disks + np.random.default_rng(0).normal(0, 0.05, disks.shape)
    from napari_unet.data.axes import frames_of
    from napari_unet.data.intensity import IntensityNormalization, measure_intensity

    (frame,) = frames_of(noisy.astype(np.float32), "YX", 2)
    runner = Runner.of(network, torch.device("cpu"))
    region = (slice(0, 128), slice(0, 128))
    intensity = measure_intensity(frame, IntensityNormalization())
    found = runner.probabilities(frame, intensity, region)[1] > 0.5
    overlap = np.count_nonzero(found & disks) / np.count_nonzero(found | disks)
    assert overlap > 0.5
