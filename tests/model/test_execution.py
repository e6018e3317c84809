from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from napari_unet.data.axes import Frame
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
RUNNER = Runner.of(NETWORK, torch.device("cpu"))
IMAGE = np.random.default_rng(0).random((120, 136), dtype=np.float32)
FRAME = Frame(IMAGE, "YX", 2)
WHOLE = RUNNER.probabilities(FRAME, AS_IT_IS, (slice(0, 120), slice(0, 136)))


@given(start=st.integers(-50, 500), length=st.integers(1, 900), depth=st.integers(1, 5))
def test_an_aligned_output_lies_on_the_grid_and_covers_its_range(
    start: int, length: int, depth: int
) -> None:
    config = UNetConfig(depth=depth)
    factor = config.pooling_factor

    begin, end = aligned_output(start, start + length, config)

    assert begin % factor == -2 % factor
    assert (end - begin - 4) % factor == 0
    assert begin <= start
    assert start + length <= end


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
