"""Networks that see several timepoints of a time-lapse at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from device import DEVICE
from napari_unet.data.frames import Frame
from napari_unet.data.intensity import IntensityNormalization
from napari_unet.errors import ModelMismatchError
from napari_unet.model.config import UNetConfig
from napari_unet.model.execution import Runner
from napari_unet.model.starting import STARTING_MODELS, load_starting_model, starting_weights
from napari_unet.model.unet import UNet
from napari_unet.training.config import TrainConfig

MOVIE = np.random.default_rng(0).random((5, 40, 44), dtype=np.float32)


def network_of(window: int, **changes: Any) -> UNet:
    torch.manual_seed(0)
    config = UNetConfig(
        base_channels=2, depth=2, padding="same", normalization="batch", window=window, **changes
    )
    return UNet(config).eval()


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("window", [1, 3, 5])
def test_all_moments_make_one_prediction(window: int, ndim: int) -> None:
    network = network_of(window, in_channels=2, ndim=ndim)
    with torch.inference_mode():
        result = network(torch.zeros(3, 2 * window, *(8,) * ndim))
    assert result.shape == (3, 2, *(8,) * ndim)


def test_every_moment_passes_the_same_weights_but_for_the_fusion() -> None:
    one, three = network_of(1).state_dict(), network_of(3).state_dict()
    differing = [name for name in one if one[name].shape != three[name].shape]
    assert one.keys() == three.keys()
    assert differing == ["expanding.0.0.weight"]
    assert three["expanding.0.0.weight"].shape[1] == 2 * (1 + 3)


@pytest.mark.parametrize("moment", range(3))
def test_every_moment_matters(moment: int) -> None:
    network = network_of(3)
    images = torch.rand(1, 3, 16, 16)
    changed = images.clone()
    changed[:, moment] += 1
    with torch.inference_mode():
        assert (network(changed) - network(images)).abs().max() > 1e-4


def test_images_of_a_batch_do_not_see_each_other() -> None:
    network = network_of(3)
    images = torch.rand(2, 3, 16, 16)
    with torch.inference_mode():
        together = network(images)
        torch.testing.assert_close(together[1:], network(images[1:]), atol=1e-5, rtol=0)


def test_another_number_of_timepoints_is_refused() -> None:
    with pytest.raises(ModelMismatchError, match=r"1 channel.* at each of 3 timepoints"):
        network_of(3)(torch.zeros(1, 2, 16, 16))


def test_a_region_alone_is_what_it_is_in_the_whole() -> None:
    runner = Runner.of(network_of(3), DEVICE)
    frame = Frame(MOVIE, "TYX", 2, (0,), window=3)
    intensity = IntensityNormalization().measure(frame)
    whole = runner.probabilities(frame, intensity, (slice(0, 40), slice(0, 44)))
    region = (slice(7, 29), slice(13, 40))
    part = runner.probabilities(frame, intensity, region)
    np.testing.assert_allclose(part, whole[(slice(None), *region)], atol=1e-5)


def test_each_timepoint_is_normalised_by_itself() -> None:
    movie = MOVIE * np.array([1, 10, 100, 1000, 10000], np.float32)[:, None, None]
    frame = Frame(movie, "TYX", 2, (2,), window=3)
    low, middle, high = IntensityNormalization().measure(frame).high
    assert high > 5 * middle > 25 * low


@pytest.mark.parametrize("window", [3, 5])
@pytest.mark.parametrize("name", [n for n, c in STARTING_MODELS.items() if c.path.is_file()])
def test_a_starting_model_goes_on_as_it_is_whatever_the_other_moments(
    name: str, window: int
) -> None:
    config = TrainConfig.preset("fast", window=window).network(1, 2)
    network = UNet(config)
    weights = starting_weights(name, config, dict(network.state_dict()))
    assert weights is not None
    network.load_state_dict(weights)
    images = torch.rand(2, window, 32, 32)
    with torch.inference_mode():
        found = network.eval()(images)
        known = load_starting_model(name).unet(images[:, window // 2, None])
    torch.testing.assert_close(found, known, atol=1e-4, rtol=1e-4)
