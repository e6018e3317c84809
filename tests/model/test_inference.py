"""The network as it predicts gives what the trained one gives."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from napari_unet.model import convolutions, inference
from napari_unet.model.config import UNetConfig
from napari_unet.model.convolutions import (
    OneDnnConvolution,
    PlainConvolution,
    UpConvolution,
    composed,
    onednn_fuses,
)
from napari_unet.model.inference import InferenceNetwork
from napari_unet.model.starting import STARTING_MODELS, load_starting_model
from napari_unet.model.unet import UNet

CPU = torch.device("cpu")
OPERATOR = torch.ops.mkldnn._convolution_pointwise
NETWORKS = {
    "2d": UNetConfig(base_channels=4, depth=2),
    "paper's depth": UNetConfig(base_channels=2, depth=4),
    "one level": UNetConfig(base_channels=4, depth=1, normalization="batch"),
    "batch norm": UNetConfig(base_channels=4, depth=2, normalization="batch"),
    "trained with padding": UNetConfig(base_channels=4, depth=2, padding="same"),
    "dropout": UNetConfig(base_channels=4, depth=2, dropout=0.5),
    "channels, classes": UNetConfig(in_channels=3, out_channels=5, base_channels=4, depth=2),
    "time": UNetConfig(base_channels=4, depth=2, window=3, normalization="batch"),
    "3d": UNetConfig(ndim=3, base_channels=4, depth=2, normalization="batch"),
    "3d, a flat level": UNetConfig(ndim=3, base_channels=4, depth=2, flat_levels=1),
    "3d, all levels flat": UNetConfig(ndim=3, base_channels=4, depth=2, flat_levels=2),
    "3d, time": UNetConfig(ndim=3, base_channels=2, depth=1, window=3),
}


def network_of(config: UNetConfig) -> UNet:
    """A network whose batch normalisations have met images, in the mode of training."""
    torch.manual_seed(1)
    network = UNet(config)
    for layer in network.modules():
        if isinstance(layer, (nn.BatchNorm2d, nn.BatchNorm3d)):
            for buffer in (layer.running_mean, layer.running_var):
                assert buffer is not None
                buffer.uniform_(0.5, 1.5)
        if isinstance(layer, (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d)):
            assert layer.bias is None or nn.init.uniform_(layer.bias, -0.3, 0.3) is layer.bias
    return network


def images_for(config: UNetConfig, batch: int = 1) -> Tensor:
    """Images of a size that the unpadded network takes, unequal along the axes."""
    factors = config.pooling_factors
    sizes = [
        2 * halo + (4 if factor > 1 else 1) + (1 + axis) * factor
        for axis, (halo, factor) in enumerate(zip(config.halos, factors, strict=True))
    ]
    return torch.randn(
        batch, config.input_bands, *sizes, generator=torch.Generator().manual_seed(2)
    )


def expected(network: UNet, images: Tensor) -> Tensor:
    with torch.inference_mode():
        return network.unpadded().eval().probabilities(images)


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("config", NETWORKS.values(), ids=NETWORKS)
def test_it_gives_what_the_trained_network_gives(config: UNetConfig, batch: int) -> None:
    network, images = network_of(config), images_for(config, batch)
    found = InferenceNetwork(network, CPU).probabilities(images)
    torch.testing.assert_close(found, expected(network, images), atol=1e-5, rtol=0)


@pytest.mark.parametrize("config", NETWORKS.values(), ids=NETWORKS)
def test_bands_change_nothing(config: UNetConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    network, images = network_of(config), images_for(config)
    whole = InferenceNetwork(network, CPU).probabilities(images)
    monkeypatch.setattr(inference, "_BAND_BYTES", 1)  # two rows at a time
    monkeypatch.setattr(inference, "_SMALLEST_BANDED", 0)
    banded = InferenceNetwork(network, CPU).probabilities(images)
    torch.testing.assert_close(banded, whole, atol=1e-6, rtol=0)


@pytest.mark.parametrize("config", NETWORKS.values(), ids=NETWORKS)
def test_without_onednn_it_gives_the_same(
    config: UNetConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, images = network_of(config), images_for(config)
    monkeypatch.setattr(convolutions, "onednn_fuses", lambda ndim, precision: False)
    found = InferenceNetwork(network, CPU).probabilities(images)
    torch.testing.assert_close(found, expected(network, images), atol=1e-5, rtol=0)


def test_the_network_may_go_on_learning() -> None:
    network, images = network_of(NETWORKS["batch norm"]), images_for(NETWORKS["batch norm"])
    ready = InferenceNetwork(network, CPU)
    before = ready.probabilities(images)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(2)
    assert network.training
    torch.testing.assert_close(ready.probabilities(images), before, atol=0, rtol=0)


@pytest.mark.parametrize("name", STARTING_MODELS)
def test_a_trained_network_sees_nearly_the_same_in_bfloat16(name: str) -> None:
    network = load_starting_model(name).unet
    rng = np.random.default_rng(0)
    smooth = torch.from_numpy(rng.normal(size=(1, 1, 40, 40)).astype(np.float32))
    images = nn.functional.interpolate(smooth, size=(220, 220), mode="bicubic")
    exact = InferenceNetwork(network, CPU).probabilities(images)
    rounded = InferenceNetwork(network, CPU, torch.bfloat16).probabilities(images)
    assert rounded.dtype == torch.float32
    assert (exact.argmax(dim=1) == rounded.argmax(dim=1)).float().mean() > 0.99


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("ndim", [2, 3])
def test_where_onednn_fuses_it_gives_what_plain_calls_give(
    ndim: int, precision: torch.dtype
) -> None:
    if not onednn_fuses(ndim, precision):
        pytest.skip("this processor or torch has no such operators")
    torch.manual_seed(3)
    weight, bias = torch.randn(6, 4, *(3,) * ndim).to(precision), torch.randn(6).to(precision)
    features = torch.randn(1, 4, *(7,) * ndim).to(precision)
    plain, fused = PlainConvolution(weight, bias), OneDnnConvolution(weight, bias)
    tolerance = 1e-5 if precision == torch.float32 else 0.1
    torch.testing.assert_close(fused(features), plain(features), atol=tolerance, rtol=tolerance)


@pytest.fixture
def _onednn_anew() -> Iterator[None]:
    """Let this process forget what it learned of oneDNN, before and after a test."""

    def forget() -> None:
        convolutions._onednn_given_up.clear()
        convolutions._onednn_agrees.cache_clear()

    forget()
    yield
    forget()


class BrokenOperator:
    """oneDNN's convolution, which fails where an input has so many channels.

    Parameters
    ----------
    channels : int
        At which it fails.
    error : Exception
        How.
    """

    def __init__(self, channels: int, error: Exception) -> None:
        self._whole, self._channels, self._error = OPERATOR, channels, error
        self.calls = 0

    def __call__(self, features: Tensor, *others: Any) -> Any:
        return self._checked(features)(features, *others)

    def binary(self, features: Tensor, *others: Any) -> Any:
        return self._checked(features).binary(features, *others)

    def _checked(self, features: Tensor) -> Any:
        self.calls += 1
        if features.shape[1] == self._channels:
            raise self._error
        return self._whole


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch, _onednn_anew: None) -> BrokenOperator:
    operator = BrokenOperator(6, RuntimeError("could not create a memory"))
    monkeypatch.setattr(torch.ops.mkldnn, "_convolution_pointwise", operator)
    return operator


def public(network: UNet, images: Tensor) -> Tensor:
    """What a network gives where torch's public functions alone compute."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(convolutions, "onednn_fuses", lambda ndim, precision: False)
        return InferenceNetwork(network, CPU).probabilities(images)


# 3D of many channels and levels takes seconds: some of each.
SHAPES = [
    *((2, channels, depth) for channels in range(1, 9) for depth in range(1, 5)),
    *((3, channels, 1) for channels in range(1, 9)),
    *((3, 1, depth) for depth in (2, 3, 4)),
]


@pytest.mark.parametrize(("ndim", "channels", "depth"), SHAPES)
def test_networks_of_few_channels_predict_too(ndim: int, channels: int, depth: int) -> None:
    flat = max(0, depth - 2) if ndim == 3 else 0
    config = UNetConfig(ndim=ndim, base_channels=channels, depth=depth, flat_levels=flat)
    network, images = network_of(config), images_for(config)
    found = InferenceNetwork(network, CPU).probabilities(images)
    torch.testing.assert_close(found, public(network, images), atol=1e-5, rtol=0)


@pytest.mark.usefixtures("_onednn_anew")
@pytest.mark.parametrize("kind", [RuntimeError, AttributeError, TypeError, NotImplementedError])
def test_operators_that_torch_does_not_have_are_not_used(
    kind: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        torch.ops.mkldnn, "_convolution_pointwise", BrokenOperator(8, kind("no such operator"))
    )
    assert not onednn_fuses(2, torch.float32)


@pytest.mark.usefixtures("_onednn_anew")
def test_a_number_format_without_public_convolutions_is_not_fused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: Any) -> Tensor:
        raise RuntimeError('"slow_conv2d_cpu" not implemented for this number format')

    monkeypatch.setitem(convolutions.CONVOLUTION, 2, refuse)
    assert not onednn_fuses(2, torch.bfloat16)


@pytest.mark.parametrize("ndim", [2, 3])
def test_where_onednn_fails_at_a_later_shape_public_functions_go_on(
    broken: BrokenOperator, ndim: int
) -> None:
    if not onednn_fuses(ndim, torch.float32):
        pytest.skip("this processor or torch has no such operators")
    config = UNetConfig(ndim=ndim, base_channels=3, depth=2)
    network, images = network_of(config), images_for(config)
    ready, before = InferenceNetwork(network, CPU), broken.calls
    found = ready.probabilities(images)  # the second level's input has 3 channels, its middle 6
    tried = broken.calls
    assert tried > before
    torch.testing.assert_close(found, public(network, images), atol=0, rtol=0)
    assert not onednn_fuses(2, torch.float32)
    assert not onednn_fuses(3, torch.bfloat16)
    other = UNetConfig(base_channels=2, depth=1)
    InferenceNetwork(network_of(other), CPU).probabilities(images_for(other))
    ready.probabilities(images)
    assert broken.calls == tried


@pytest.mark.usefixtures("_onednn_anew")
def test_where_onednn_cannot_take_weights_public_functions_compute(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if not onednn_fuses(2, torch.float32):
        pytest.skip("this processor or torch has no such operators")

    def refuse(*_: Any) -> Tensor:
        raise RuntimeError("could not create a memory")

    monkeypatch.setattr(torch.ops.mkldnn, "_reorder_convolution_weight", refuse)
    network, images = network_of(NETWORKS["2d"]), images_for(NETWORKS["2d"])
    found = InferenceNetwork(network, CPU).probabilities(images)
    torch.testing.assert_close(found, public(network, images), atol=0, rtol=0)


@pytest.mark.usefixtures("_onednn_anew")
def test_too_little_memory_is_no_fault_of_onednn(monkeypatch: pytest.MonkeyPatch) -> None:
    if not onednn_fuses(2, torch.float32):
        pytest.skip("this processor or torch has no such operators")
    short = RuntimeError("can't allocate memory: you tried to allocate 9 bytes")
    monkeypatch.setattr(torch.ops.mkldnn, "_convolution_pointwise", BrokenOperator(4, short))
    ready = InferenceNetwork(network_of(NETWORKS["2d"]), CPU)
    with pytest.raises(RuntimeError, match="can't allocate memory"):
        ready.probabilities(images_for(NETWORKS["2d"]))
    assert onednn_fuses(2, torch.float32)


@pytest.mark.parametrize(
    ("stride", "kernel"),
    [((2, 2), (3, 3)), ((1, 2, 2), (1, 3, 3)), ((2, 2, 2), (3, 3, 3))],
    ids=str,
)
def test_two_convolutions_composed_are_one(
    stride: tuple[int, ...], kernel: tuple[int, ...]
) -> None:
    torch.manual_seed(4)
    ndim = len(stride)
    up, following = torch.randn(5, 3, *stride), torch.randn(4, 3, *kernel)
    features = torch.randn(1, 5, *(6,) * ndim)
    transposed = getattr(nn.functional, f"conv_transpose{ndim}d")
    convolve = getattr(nn.functional, f"conv{ndim}d")
    one_by_one = convolve(transposed(features, up, stride=stride), following)
    at_once = UpConvolution(composed(up, following), stride)
    torch.testing.assert_close(at_once(features), one_by_one, atol=1e-4, rtol=0)
    for start, stop in ((0, 1), (1, 4), (3, one_by_one.shape[2])):
        torch.testing.assert_close(
            at_once.rows(features, start, stop), one_by_one[:, :, start:stop], atol=1e-4, rtol=0
        )
