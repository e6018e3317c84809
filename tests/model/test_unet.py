from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from napari_unet.errors import ModelMismatchError
from napari_unet.model.config import UNetConfig
from napari_unet.model.unet import UNet

SMALL = UNetConfig(base_channels=2, depth=2)


@pytest.fixture(scope="module")
def paper_sizes() -> dict[str, tuple[int, ...]]:
    """Run the published network once; return the shape that each convolution gave."""
    network = UNet(UNetConfig.paper(out_channels=2)).eval()
    sizes: dict[str, tuple[int, ...]] = {}

    def note(name: str) -> Any:
        def hook(module: nn.Module, inputs: Any, output: torch.Tensor) -> None:
            sizes[name] = tuple(output.shape)

        return hook

    for name, module in network.named_modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            module.register_forward_hook(note(name))
    with torch.inference_mode():
        sizes["result"] = tuple(network(torch.zeros(1, 1, 572, 572)).shape)
    return sizes


def test_the_paper_network_turns_572_pixels_into_388(
    paper_sizes: dict[str, tuple[int, ...]],
) -> None:
    assert paper_sizes["result"] == (1, 2, 388, 388)


@pytest.mark.parametrize(
    ("layer", "channels", "size"),
    [
        ("contracting.0.0", 64, 570),
        ("contracting.0.2", 64, 568),
        ("contracting.1.0", 128, 282),
        ("contracting.1.2", 128, 280),
        ("contracting.2.0", 256, 138),
        ("contracting.2.2", 256, 136),
        ("contracting.3.0", 512, 66),
        ("contracting.3.2", 512, 64),
        ("contracting.4.0", 1024, 30),
        ("contracting.4.2", 1024, 28),
        ("up_convolutions.3", 512, 56),
        ("expanding.3.2", 512, 52),
        ("up_convolutions.2", 256, 104),
        ("expanding.2.2", 256, 100),
        ("up_convolutions.1", 128, 200),
        ("expanding.1.2", 128, 196),
        ("up_convolutions.0", 64, 392),
        ("expanding.0.2", 64, 388),
    ],
)
def test_each_feature_map_has_the_size_of_figure_1(
    paper_sizes: dict[str, tuple[int, ...]], layer: str, channels: int, size: int
) -> None:
    assert paper_sizes[layer] == (1, channels, size, size)


@pytest.mark.parametrize(
    ("level", "size"), [(1, 284), (2, 140), (3, 68), (4, 32)], ids=lambda v: str(v)
)
def test_each_pooling_halves_to_the_size_of_figure_1(
    paper_sizes: dict[str, tuple[int, ...]], level: int, size: int
) -> None:
    assert paper_sizes[f"contracting.{level}.0"][-1] + 2 == size  # a 3x3 convolution takes 2


def test_the_paper_network_has_23_convolutional_layers() -> None:
    with torch.device("meta"):
        network = UNet(UNetConfig.paper())
    kinds = (nn.Conv2d, nn.ConvTranspose2d)
    assert sum(isinstance(module, kinds) for module in network.modules()) == 23


def test_dropout_stands_only_at_the_end_of_the_contracting_path() -> None:
    network = UNet(UNetConfig(base_channels=2, depth=3, dropout=0.5)).train()
    dropped: list[int] = []
    network.dropout.register_forward_hook(lambda m, i, o: dropped.append(o.shape[1]))

    network(torch.zeros(1, 1, 100, 100))

    assert dropped == [8, 16]  # the last contracting level, and the bottom


def test_weights_are_drawn_as_he_et_al_say() -> None:
    torch.manual_seed(0)
    network = UNet(UNetConfig(base_channels=32, depth=2))
    convolution = network.get_submodule("contracting.1.2")
    assert isinstance(convolution, nn.Conv2d)
    expected = (2 / (convolution.in_channels * 9)) ** 0.5
    assert convolution.weight.std().item() == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize(
    ("changes", "given", "expected"),
    [
        pytest.param({}, (1, 1, 48, 48), (1, 2, 8, 8), id="unpadded"),
        pytest.param({"padding": "same"}, (1, 1, 48, 40), (1, 2, 48, 40), id="padded"),
        pytest.param({"in_channels": 10}, (1, 10, 44, 44), (1, 2, 4, 4), id="ten bands"),
        pytest.param({"out_channels": 5}, (2, 1, 44, 44), (2, 5, 4, 4), id="five classes"),
        pytest.param({"ndim": 3}, (1, 1, 44, 48, 44), (1, 2, 4, 8, 4), id="3D"),
        pytest.param({"normalization": "batch"}, (1, 1, 44, 44), (1, 2, 4, 4), id="BatchNorm"),
    ],
)
def test_members_of_the_family_give_the_size_they_promise(
    changes: dict[str, Any], given: tuple[int, ...], expected: tuple[int, ...]
) -> None:
    network = UNet(UNetConfig(**{"base_channels": 2, "depth": 2, **changes})).eval()
    with torch.inference_mode():
        assert tuple(network(torch.zeros(given)).shape) == expected


def test_probabilities_of_exclusive_classes_sum_to_one() -> None:
    total = UNet(SMALL).eval().probabilities(torch.rand(1, 1, 44, 44)).sum(dim=1)
    torch.testing.assert_close(total, torch.ones_like(total))


def test_probabilities_of_independent_classes_do_not_depend_on_each_other() -> None:
    network = UNet(UNetConfig(base_channels=2, depth=2, output="sigmoid")).eval()
    image = torch.rand(1, 1, 44, 44)
    before = network.probabilities(image)[:, 0]
    with torch.no_grad():
        assert isinstance(network.output, nn.Conv2d)
        assert network.output.bias is not None
        network.output.bias[1] += 3

    torch.testing.assert_close(network.probabilities(image)[:, 0], before)


@pytest.mark.parametrize(
    ("shape", "text"),
    [
        pytest.param((1, 1, 45, 44), "cannot take 45 pixels", id="odd"),
        pytest.param((1, 1, 40, 40), "cannot take 40 pixels", id="too small"),
        pytest.param((1, 3, 44, 44), "1 channel", id="channels"),
        pytest.param((1, 1, 44, 44, 44), "2D images", id="dimensions"),
    ],
)
def test_an_input_that_does_not_fit_is_refused_with_its_size(
    shape: tuple[int, ...], text: str
) -> None:
    with pytest.raises(ModelMismatchError, match=text):
        UNet(SMALL)(torch.zeros(shape))


def test_the_unpadded_twin_shares_its_weights() -> None:
    network = UNet(UNetConfig(base_channels=2, depth=2, padding="same"))
    twin = network.unpadded()
    for mine, its in zip(network.parameters(), twin.parameters(), strict=True):
        assert mine.data_ptr() == its.data_ptr()
