from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from device import DEVICE
from napari_unet.data.frames import Frame
from napari_unet.data.intensity import IntensityRange
from napari_unet.model.config import UNetConfig
from napari_unet.model.execution import Runner, aligned_output
from napari_unet.model.unet import UNet

CONFIG = UNetConfig(base_channels=3, depth=3, padding="same", normalization="batch")
AS_IT_IS = IntensityRange((0.0,), (1.0,), (0.5,))


def random_network() -> UNet:
    torch.manual_seed(1)
    network = UNet(CONFIG)
    with torch.no_grad():
        network(torch.rand(4, 1, 64, 64))  # gives BatchNorm statistics that are not trivial
    return network.eval()


NETWORK = random_network()
RUNNER = Runner.of(NETWORK, DEVICE)
IMAGE = np.random.default_rng(0).random((120, 136), dtype=np.float32)
FRAME = Frame(IMAGE, "YX", 2)
WHOLE = RUNNER.probabilities(FRAME, AS_IT_IS, (slice(0, 120), slice(0, 136)))


@given(start=st.integers(-50, 500), length=st.integers(1, 900), depth=st.integers(1, 5))
def test_an_aligned_output_lies_on_the_grid_and_covers_its_range(
    start: int, length: int, depth: int
) -> None:
    config = UNetConfig(depth=depth)
    factor = config.pooling_factor

    begin, end = aligned_output(start, start + length, factor)

    assert begin % factor == -2 % factor
    assert (end - begin - 4) % factor == 0
    assert begin <= start
    assert start + length <= end
    # the smallest: starting or ending one step further in would not cover the range
    assert begin + factor > start
    assert end - factor < start + length or end - begin == 4


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_a_region_alone_is_what_it_is_in_the_whole(data: st.DataObject) -> None:
    region = []
    for size in IMAGE.shape:
        start = data.draw(st.integers(0, size - 1))
        region.append(slice(start, data.draw(st.integers(start + 1, size))))

    alone = RUNNER.probabilities(FRAME, AS_IT_IS, tuple(region))

    np.testing.assert_allclose(alone, WHOLE[(slice(None), *region)], atol=1e-5)


def padded_result(image: NDArray[np.float32]) -> NDArray[np.float32]:
    with torch.inference_mode():
        result: NDArray[np.float32] = NETWORK.probabilities(torch.from_numpy(image)[None, None])[
            0
        ].numpy()
    return result


def test_away_from_the_border_it_equals_the_padded_network_on_the_whole_image() -> None:
    inner = (slice(None), slice(48, -48), slice(48, -48))
    np.testing.assert_allclose(WHOLE[inner], padded_result(IMAGE)[inner], atol=1e-5)


def test_on_another_pooling_grid_the_result_would_differ() -> None:
    shifted = Frame(IMAGE[1:], "YX", 2)

    result = RUNNER.probabilities(shifted, AS_IT_IS, (slice(50, 60), slice(50, 60)))

    assert np.abs(result - WHOLE[:, 51:61, 50:60]).max() > 1e-4


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (5, 5), (33, 31)], ids=str)
def test_any_size_from_one_pixel_up_is_predicted(shape: tuple[int, int]) -> None:
    frame = Frame(IMAGE[: shape[0], : shape[1]], "YX", 2)

    result = RUNNER.probabilities(frame, AS_IT_IS, (slice(0, shape[0]), slice(0, shape[1])))

    assert result.shape == (2, *shape)
    assert np.isfinite(result).all()


@given(start=st.integers(-50, 500), length=st.integers(1, 900))
def test_along_an_axis_that_is_not_pooled_the_output_is_the_range_itself(
    start: int, length: int
) -> None:
    assert aligned_output(start, start + length, 1) == (start, start + length)


def test_the_output_of_the_paper_lies_on_the_grid() -> None:
    assert aligned_output(-2, 386, 16) == (-2, 386)


@given(start=st.integers(-50, 500), depth=st.integers(1, 5))
def test_the_input_of_an_aligned_output_starts_at_two_on_the_grid(start: int, depth: int) -> None:
    config = UNetConfig(depth=depth)
    begin, end = aligned_output(start, start + 10, config.pooling_factor)
    assert (begin - config.halo) % config.pooling_factor == 2 % config.pooling_factor
    size = end - begin + 2 * config.halo
    assert size >= config.smallest_inputs[-1]
    assert (size - config.smallest_inputs[-1]) % config.pooling_factor == 0


def test_a_misaligned_tiling_does_not_give_the_whole() -> None:
    """Tiles on grids of their own, as if each were an image: what the alignment prevents."""
    image = torch.from_numpy(IMAGE)[None, None]
    halo = CONFIG.halo
    with torch.inference_mode():
        inside = RUNNER.network.probabilities(image[..., 3 : 3 + 2 * halo + 20, : 2 * halo + 20])[0]
    start = 3 + halo
    expected = WHOLE[:, start : start + 20, halo : halo + 20]
    assert np.abs(inside.numpy() - expected).max() > 1e-4


def test_the_aligned_tile_gives_the_whole() -> None:
    """The counterpart of the test above: the same pixels, two rows and columns in."""
    image = torch.from_numpy(IMAGE)[None, None]
    halo = CONFIG.halo
    with torch.inference_mode():
        inside = RUNNER.network.probabilities(
            image[..., 2 : 2 + 2 * halo + 20, 2 : 2 + 2 * halo + 20]
        )[0]
    part = slice(2 + halo, 2 + halo + 20)
    np.testing.assert_allclose(inside.numpy(), WHOLE[:, part, part], atol=1e-5)


@pytest.mark.parametrize("shift", range(1, 8))
def test_only_a_shift_by_the_pooling_factor_shifts_the_result_alone(shift: int) -> None:
    frame = Frame(IMAGE[shift:], "YX", 2)
    region = (slice(50, 60), slice(50, 60))
    result = RUNNER.probabilities(frame, AS_IT_IS, region)
    assert np.abs(result - WHOLE[:, 50 + shift : 60 + shift, 50:60]).max() > 1e-4


def test_a_shift_by_the_pooling_factor_shifts_the_result() -> None:
    frame = Frame(IMAGE[8:], "YX", 2)
    result = RUNNER.probabilities(frame, AS_IT_IS, (slice(50, 60), slice(50, 60)))
    np.testing.assert_allclose(result, WHOLE[:, 58:68, 50:60], atol=1e-5)


def runner_of(**changes: Any) -> Runner:
    torch.manual_seed(2)
    config = UNetConfig(**{"base_channels": 2, "depth": 2, "padding": "same", **changes})
    return Runner.of(UNet(config).eval(), DEVICE)


@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_a_region_of_a_volume_alone_is_what_it_is_in_the_whole(data: st.DataObject) -> None:
    runner = runner_of(ndim=3)
    shape = (7, 21, 18)
    frame = Frame(np.random.default_rng(1).random(shape, dtype=np.float32), "ZYX", 3)
    whole = runner.probabilities(frame, AS_IT_IS, tuple(slice(0, size) for size in shape))
    region = []
    for size in shape:
        start = data.draw(st.integers(0, size - 1))
        region.append(slice(start, data.draw(st.integers(start + 1, size))))

    alone = runner.probabilities(frame, AS_IT_IS, tuple(region))

    np.testing.assert_allclose(alone, whole[(slice(None), *region)], atol=1e-5)


@pytest.mark.parametrize("axes", ["YXC", "CYX"])
def test_bands_are_read_wherever_they_stand(axes: str) -> None:
    runner = runner_of(in_channels=3)
    image = np.random.default_rng(1).random((3, 30, 40), dtype=np.float32)
    intensity = IntensityRange((0.0,) * 3, (1.0,) * 3, (0.5,) * 3)
    region = (slice(0, 30), slice(0, 40))
    expected = runner.probabilities(Frame(image, "CYX", 2), intensity, region)

    stored = image.transpose(["CYX".index(axis) for axis in axes])
    found = runner.probabilities(Frame(stored, axes, 2), intensity, region)

    np.testing.assert_array_equal(found, expected)


def test_the_image_is_normalised_before_the_network_sees_it() -> None:
    region = (slice(10, 30), slice(20, 50))
    raw = Frame(100 + 400 * IMAGE, "YX", 2)
    result = RUNNER.probabilities(raw, IntensityRange((100.0,), (500.0,), (300.0,)), region)
    np.testing.assert_allclose(result, WHOLE[(slice(None), *region)], atol=1e-5)


def test_the_result_is_float32_with_the_classes_first() -> None:
    result = runner_of(out_channels=4).probabilities(FRAME, AS_IT_IS, (slice(3, 9), slice(4, 7)))
    assert result.dtype == np.float32
    assert result.shape == (4, 6, 3)


def test_a_runner_leaves_the_mode_of_the_network_alone() -> None:
    network = UNet(CONFIG).train()
    Runner.of(network, DEVICE)
    assert network.training


def test_a_runner_keeps_the_weights_that_it_was_made_with() -> None:
    network = UNet(CONFIG).eval()
    runner = Runner.of(network, DEVICE)
    region = (slice(0, 10), slice(0, 10))
    before = runner.probabilities(FRAME, AS_IT_IS, region)
    with torch.no_grad():
        network.get_parameter("output.bias")[0] += 1
    np.testing.assert_array_equal(runner.probabilities(FRAME, AS_IT_IS, region), before)


def test_predicting_leaves_the_statistics_of_batchnorm_alone() -> None:
    network = UNet(CONFIG).train()
    before = {name: buffer.clone() for name, buffer in network.named_buffers()}
    runner = Runner.of(network, DEVICE)
    runner.probabilities(FRAME, AS_IT_IS, (slice(0, 10), slice(0, 10)))
    assert all(torch.equal(buffer, before[name]) for name, buffer in network.named_buffers())


def test_no_gradient_is_kept() -> None:
    network = UNet(CONFIG)
    runner = Runner.of(network, DEVICE)
    runner.probabilities(FRAME, AS_IT_IS, (slice(0, 10), slice(0, 10)))
    assert all(parameter.grad is None for parameter in network.parameters())


@pytest.mark.parametrize("views", [1, 4, 8])
@pytest.mark.parametrize("binning", [0.33, 0.5, 1, 1.5, 2, 3])
@settings(max_examples=6, deadline=None)
@given(data=st.data())
def test_binned_and_turned_regions_alone_are_what_they_are_in_the_whole(
    binning: float, views: int, data: st.DataObject
) -> None:
    runner = Runner.of(NETWORK, DEVICE, factors=(binning, binning), views=views)
    whole = runner.probabilities(FRAME, AS_IT_IS, tuple(slice(0, n) for n in IMAGE.shape))
    start = data.draw(st.integers(0, 100))
    region = (slice(start, data.draw(st.integers(start + 1, 120))), slice(7, 40))
    part = runner.probabilities(FRAME, AS_IT_IS, region)
    np.testing.assert_allclose(part, whole[(slice(None), *region)], atol=1e-5)


@pytest.mark.parametrize("views", [4, 8])
def test_the_average_of_views_of_a_turned_image_is_the_turned_result(views: int) -> None:
    runner = Runner.of(NETWORK, DEVICE, views=views)
    image = IMAGE[:64, :64]  # whole poolings: both orientations lie on one grid
    region = (slice(0, 64), slice(0, 64))
    straight = runner.probabilities(Frame(image, "YX", 2), AS_IT_IS, region)
    turned = runner.probabilities(Frame(np.rot90(image).copy(), "YX", 2), AS_IT_IS, region)
    np.testing.assert_allclose(turned, np.rot90(straight, axes=(1, 2)), atol=1e-5)


def test_eight_views_of_a_mirrored_image_are_the_mirrored_result() -> None:
    runner = Runner.of(NETWORK, DEVICE, views=8)
    image = IMAGE[:64, :64]
    region = (slice(0, 64), slice(0, 64))
    straight = runner.probabilities(Frame(image, "YX", 2), AS_IT_IS, region)
    mirrored = runner.probabilities(Frame(image[:, ::-1].copy(), "YX", 2), AS_IT_IS, region)
    np.testing.assert_allclose(mirrored, straight[..., ::-1], atol=1e-5)


def test_one_view_is_not_the_turned_result() -> None:
    image = IMAGE[:64, :64]
    region = (slice(0, 64), slice(0, 64))
    straight = RUNNER.probabilities(Frame(image, "YX", 2), AS_IT_IS, region)
    turned = RUNNER.probabilities(Frame(np.rot90(image).copy(), "YX", 2), AS_IT_IS, region)
    assert np.abs(turned - np.rot90(straight, axes=(1, 2))).max() > 1e-3


def test_a_binned_runner_gives_the_full_size() -> None:
    runner = Runner.of(NETWORK, DEVICE, factors=(3, 3))
    assert runner.probabilities(FRAME, AS_IT_IS, (slice(0, 120), slice(5, 136))).shape == (
        2,
        120,
        131,
    )


def test_turned_volumes_are_volumes() -> None:
    volume = Frame(np.random.default_rng(0).random((6, 20, 28), dtype=np.float32), "ZYX", 3)
    network = UNet(UNetConfig(ndim=3, base_channels=2, depth=1, padding="same")).eval()
    runner = Runner.of(network, DEVICE, factors=(1, 2, 2), views=8)
    region = (slice(0, 6), slice(0, 20), slice(0, 28))
    assert runner.probabilities(volume, AS_IT_IS, region).shape == (2, 6, 20, 28)
