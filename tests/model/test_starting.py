"""The bundled starting models: usable at once, and what fast trainings begin with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from device import DEVICE_NAME
from napari_unet import starting_model
from napari_unet.errors import ModelFileError
from napari_unet.evaluation.scores import evaluate
from napari_unet.model import starting as cards
from napari_unet.model.config import UNetConfig
from napari_unet.model.starting import (
    STARTING_MODELS,
    load_starting_model,
    starting_card,
    starting_weights,
)
from napari_unet.model.unet import UNet
from napari_unet.samples import load_nuclei_2d
from napari_unet.training.config import TrainConfig

FAST = TrainConfig.preset("fast").network(1, 2)
LARGEST_TOGETHER = 12_000_000

each_model = pytest.mark.parametrize(
    "name",
    [
        pytest.param(
            card.name,
            id=card.name,
            marks=pytest.mark.skipif(not card.path.is_file(), reason=f"first run: {card.command}"),
        )
        for card in STARTING_MODELS.values()
    ],
)


def weights_for(config: UNetConfig, name: str = "cells") -> dict[str, torch.Tensor] | None:
    return starting_weights(name, config, dict(UNet(config).state_dict()))


def test_it_fits_the_fast_network() -> None:
    weights = weights_for(FAST)
    assert weights is not None
    UNet(FAST).load_state_dict(weights)


@each_model
def test_its_weights_are_finite_float32(name: str) -> None:
    tensors = load_starting_model(name).network.state_dict().values()
    floats = [tensor for tensor in tensors if tensor.is_floating_point()]
    assert all(t.dtype == torch.float32 and bool(t.isfinite().all()) for t in floats)


def test_it_finds_the_nuclei_of_the_sample_untrained() -> None:
    image, _, labels = load_nuclei_2d()
    found = starting_model("cells").predict(image, device=DEVICE_NAME)
    assert evaluate(found, labels, kind="objects")["f1_50"] > 0.6


def test_all_together_take_at_most_12_mb() -> None:
    files = starting_card("cells").path.parent.glob("*.safetensors")
    assert sum(path.stat().st_size for path in files) <= LARGEST_TOGETHER


@pytest.mark.parametrize("part", ["suits", "trained_on", "licence", "command"])
@pytest.mark.parametrize("name", STARTING_MODELS)
def test_its_card_shows(name: str, part: str) -> None:
    card = STARTING_MODELS[name]
    assert getattr(card, part) in str(card)


@pytest.mark.parametrize(
    "config",
    [
        UNetConfig.paper(),
        TrainConfig.preset("3d").network(1, 2),
        UNetConfig(out_channels=2, base_channels=20, padding="same", normalization="batch"),
        TrainConfig.preset("fast", base_channels=8).network(1, 2),
    ],
    ids=["paper", "3d", "deeper", "narrower"],
)
def test_other_networks_get_no_weights(config: UNetConfig) -> None:
    assert weights_for(config) is None


def test_the_preset_accurate_has_weights_of_its_own_shape() -> None:
    network = TrainConfig.preset("accurate").network(1, 2)
    weights = weights_for(network)
    assert weights is not None
    UNet(network).load_state_dict(weights)


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
    weights = starting_weights("cells", config, fresh)
    assert weights is not None
    assert torch.equal(weights["output.weight"], fresh["output.weight"])


def test_a_missing_file_names_the_command_that_trains_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(cards, "_WEIGHTS", tmp_path)
    with pytest.raises(ModelFileError, match=r"scripts/pretrain\.py fast"):
        load_starting_model("cells")


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ModelFileError, match=r"choose cells\."):
        starting_model("nuclei")


def test_it_finds_bright_disks() -> None:
    grid = np.indices((128, 128)) % 32 - 16
    disks = (grid**2).sum(axis=0) < 80
    noisy = disks + np.random.default_rng(0).normal(0, 0.05, disks.shape)
    found = starting_model("cells").predict(noisy.astype(np.float32), device=DEVICE_NAME) > 0
    overlap = np.count_nonzero(found & disks) / np.count_nonzero(found | disks)
    assert overlap > 0.5
