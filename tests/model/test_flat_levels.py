"""Networks for thick slices: shallower along Z than in the plane."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from device import DEVICE
from napari_unet.data.frames import Frame
from napari_unet.data.intensity import IntensityRange
from napari_unet.errors import ModelMismatchError
from napari_unet.model.config import UNetConfig
from napari_unet.model.execution import Runner
from napari_unet.model.unet import UNet

AS_IT_IS = IntensityRange((0.0,), (1.0,), (0.5,))
DEPTH = 3
every_flatness = pytest.mark.parametrize("flat_levels", range(DEPTH + 1))
# Along Z two poolings, one, one and none: as deep as is quick.
DEPTH_WITH = {0: 2, 1: 2, 2: 3, 3: 3}


def network_of(flat_levels: int) -> UNet:
    torch.manual_seed(flat_levels)
    config = UNetConfig(
        ndim=3,
        base_channels=2,
        depth=DEPTH_WITH[flat_levels],
        padding="same",
        flat_levels=flat_levels,
    )
    return UNet(config).eval()


def volume(*shape: int) -> Frame:
    return Frame(np.random.default_rng(1).random(shape, dtype=np.float32), "ZYX", 3)


@every_flatness
@settings(max_examples=5, deadline=None)
@given(data=st.data())
def test_a_region_alone_is_what_it_is_in_the_whole(flat_levels: int, data: st.DataObject) -> None:
    runner = Runner.of(network_of(flat_levels), DEVICE)
    shape = (11, 19, 16)
    frame = volume(*shape)
    whole = runner.probabilities(frame, AS_IT_IS, tuple(slice(0, size) for size in shape))
    region = []
    for size in shape:
        start = data.draw(st.integers(0, size - 1))
        region.append(slice(start, data.draw(st.integers(start + 1, size))))

    alone = runner.probabilities(frame, AS_IT_IS, tuple(region))

    np.testing.assert_allclose(alone, whole[(slice(None), *region)], atol=1e-5)


@every_flatness
@pytest.mark.parametrize("slices", range(1, 6))
def test_few_slices_are_mirrored_and_every_region_is_what_it_is_in_the_whole(
    flat_levels: int, slices: int
) -> None:
    runner = Runner.of(network_of(flat_levels), DEVICE)
    frame = volume(slices, 9, 10)
    plane = (slice(0, 9), slice(0, 10))
    whole = runner.probabilities(frame, AS_IT_IS, (slice(0, slices), *plane))
    last = runner.probabilities(frame, AS_IT_IS, (slice(slices - 1, slices), *plane))
    assert whole.shape == (2, slices, 9, 10)
    np.testing.assert_allclose(last[:, 0], whole[:, -1], atol=1e-5)


@every_flatness
def test_the_unpadded_network_loses_its_halos(flat_levels: int) -> None:
    unpadded = network_of(flat_levels).unpadded()
    config = unpadded.config
    sizes = config.smallest_inputs
    with torch.inference_mode():
        result = unpadded(torch.zeros(1, 1, *sizes))
    lost = tuple(2 * halo for halo in config.halos)
    assert tuple(result.shape[2:]) == tuple(np.subtract(sizes, lost))


@every_flatness
def test_the_padded_network_keeps_the_size_and_agrees_with_the_unpadded_one_inside(
    flat_levels: int,
) -> None:
    network = network_of(flat_levels)
    config = network.config
    factors = config.pooling_factors
    # Poolings make it see a little further than its halo.
    margins = [halo + factor for halo, factor in zip(config.halos, factors, strict=True)]
    shape = [-(-(2 * m + 2) // f) * f for m, f in zip(margins, factors, strict=True)]
    frame = volume(*shape)
    image = torch.from_numpy(np.asarray(frame.array))[None, None]
    with torch.inference_mode():
        padded = network.probabilities(image)[0].numpy()
    middle = tuple(slice(m, n - m) for m, n in zip(margins, shape, strict=True))
    alone = Runner.of(network, DEVICE).probabilities(frame, AS_IT_IS, middle)
    np.testing.assert_allclose(alone, padded[(slice(None), *middle)], atol=1e-5)


def test_slices_of_a_flat_level_are_not_mixed_before_the_bottom() -> None:
    network = network_of(DEPTH)
    kernels = {n: tuple(p.shape[2:]) for n, p in network.named_parameters() if p.ndim == 5}
    assert kernels["contracting.0.0.weight"] == kernels["expanding.2.0.weight"] == (1, 3, 3)
    assert kernels[f"contracting.{DEPTH}.0.weight"] == (3, 3, 3)
    assert kernels["up_convolutions.0.weight"] == (1, 2, 2)


def test_a_depth_that_does_not_fit_is_named() -> None:
    with pytest.raises(ModelMismatchError, match="3 pixels; sizes must be 2 plus"):
        network_of(1)(torch.zeros(1, 1, 3, 16, 16))
