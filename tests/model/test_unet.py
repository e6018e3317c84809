from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

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


def parameters_by_hand(in_channels: int, classes: int, base: int, depth: int) -> int:
    """Weights and biases of the 2D network without normalisation, layer by layer."""

    def convolution(c_in: int, c_out: int, kernel: int) -> int:
        return c_in * c_out * kernel**2 + c_out

    channels = [base * 2**level for level in range(depth + 1)]
    total = 0
    for c_in, c_out in zip([in_channels, *channels[:-1]], channels, strict=True):
        total += convolution(c_in, c_out, 3) + convolution(c_out, c_out, 3)
    for c in channels[:-1]:  # up from 2c to c, joined with the skip to 2c, and back to c
        total += convolution(2 * c, c, 2) + convolution(2 * c, c, 3) + convolution(c, c, 3)
    return total + convolution(base, classes, 1)


def test_the_paper_network_has_31_million_parameters() -> None:
    with torch.device("meta"):
        network = UNet(UNetConfig.paper())
    found = sum(parameter.numel() for parameter in network.parameters())
    assert found == parameters_by_hand(1, 2, 64, 4)
    assert round(found / 1e6, 1) == 31.0


def test_the_paper_network_has_18_convolutions_4_up_convolutions_and_one_1x1() -> None:
    with torch.device("meta"):
        network = UNet(UNetConfig.paper())
    kernels = [m.kernel_size for m in network.modules() if isinstance(m, nn.Conv2d)]
    ups = [m.kernel_size for m in network.modules() if isinstance(m, nn.ConvTranspose2d)]
    assert (kernels.count((3, 3)), kernels.count((1, 1)), ups) == (18, 1, [(2, 2)] * 4)


def by_hand(network: UNet, image: Tensor) -> Tensor:
    """Figure 1 of the paper for a depth of 2, written out with plain functions."""
    weights = network.state_dict()

    def twice(features: Tensor, name: str) -> Tensor:
        for layer in ("0", "2"):
            kernel, bias = weights[f"{name}.{layer}.weight"], weights[f"{name}.{layer}.bias"]
            features = functional.relu(functional.conv2d(features, kernel, bias))
        return features

    def up(features: Tensor, level: int, skip: Tensor) -> Tensor:
        name = f"up_convolutions.{level}"
        features = functional.conv_transpose2d(
            features, weights[f"{name}.weight"], weights[f"{name}.bias"], stride=2
        )
        margin = (skip.shape[-1] - features.shape[-1]) // 2
        cropped = skip[..., margin : skip.shape[-2] - margin, margin : skip.shape[-1] - margin]
        return twice(torch.cat([cropped, features], dim=1), f"expanding.{level}")

    top = twice(image, "contracting.0")
    middle = twice(functional.max_pool2d(top, 2), "contracting.1")
    bottom = twice(functional.max_pool2d(middle, 2), "contracting.2")
    features = up(up(bottom, 1, middle), 0, top)
    return functional.conv2d(features, weights["output.weight"], weights["output.bias"])


def test_the_network_computes_what_figure_1_draws() -> None:
    torch.manual_seed(0)
    network = UNet(SMALL).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))  # biases start at zero
        image = torch.rand(2, 1, 48, 52)
        torch.testing.assert_close(network(image), by_hand(network, image))


def network_of(**changes: Any) -> UNet:
    torch.manual_seed(0)
    return UNet(UNetConfig(**{"base_channels": 32, "depth": 2, **changes}))


@pytest.mark.parametrize(
    ("changes", "name", "incoming"),
    [
        pytest.param({"in_channels": 10}, "contracting.0.0", 90, id="first, of ten bands"),
        pytest.param({}, "contracting.2.2", 128 * 9, id="bottom"),
        pytest.param({}, "expanding.1.0", 128 * 9, id="after a skip"),
        pytest.param({}, "up_convolutions.1", 128, id="up-convolution"),
        pytest.param({"out_channels": 64}, "output", 32, id="output"),
        pytest.param({"normalization": "batch"}, "contracting.1.3", 64 * 9, id="BatchNorm"),
        pytest.param({"ndim": 3, "base_channels": 8}, "contracting.1.2", 16 * 27, id="3D"),
        pytest.param(
            {"ndim": 3, "base_channels": 8}, "up_convolutions.1", 32, id="3D up-convolution"
        ),
    ],
)
def test_the_spread_of_the_weights_follows_from_what_comes_in(
    changes: dict[str, Any], name: str, incoming: int
) -> None:
    weight = network_of(**changes).get_parameter(f"{name}.weight")
    expected = (2 / incoming) ** 0.5
    assert weight.std().item() == pytest.approx(expected, rel=4 / weight.numel() ** 0.5)
    assert weight.mean().item() == pytest.approx(0, abs=5 * expected / weight.numel() ** 0.5)


def test_all_biases_start_at_zero() -> None:
    biases = [p for name, p in network_of().named_parameters() if name.endswith("bias")]
    assert biases
    assert not any(bias.any() for bias in biases)


def test_convolutions_before_batchnorm_have_no_bias_of_their_own() -> None:
    network = network_of(normalization="batch")
    blocks = [*network.contracting.modules(), *network.expanding.modules()]
    assert all(module.bias is None for module in blocks if isinstance(module, nn.Conv2d))


def test_each_3x3_convolution_is_followed_by_batchnorm_where_asked_for() -> None:
    norms = [
        m for m in network_of(normalization="batch").modules() if isinstance(m, nn.BatchNorm2d)
    ]
    assert len(norms) == 10


def test_dropout_changes_nothing_in_prediction() -> None:
    network = UNet(UNetConfig(base_channels=2, depth=2, dropout=0.5)).eval()
    image = torch.rand(1, 1, 44, 44)
    assert torch.equal(network(image), network(image))


def test_dropout_draws_anew_in_training() -> None:
    torch.manual_seed(0)
    network = UNet(UNetConfig(base_channels=8, depth=2, dropout=0.5)).train()
    image = torch.rand(1, 1, 44, 44)
    assert not torch.equal(network(image), network(image))


@pytest.mark.parametrize("normalization", ["none", "batch"])
@pytest.mark.parametrize(("ndim", "size"), [(2, (16, 24)), (2, (4, 4)), (3, (8, 12, 16))], ids=str)
def test_a_padded_member_keeps_the_size(
    ndim: int, size: tuple[int, ...], normalization: Any
) -> None:
    config = UNetConfig(
        ndim=ndim, base_channels=2, depth=2, padding="same", normalization=normalization
    )
    with torch.inference_mode():
        assert UNet(config).eval()(torch.zeros(1, 1, *size)).shape[2:] == size


@pytest.mark.parametrize("depth", [1, 3, 5])
def test_every_depth_loses_its_halo_on_each_side(depth: int) -> None:
    config = UNetConfig(base_channels=1, depth=depth)
    size = config.smallest_inputs[-1] + config.pooling_factor
    with torch.inference_mode():
        result = UNet(config).eval()(torch.zeros(1, 1, size, size))
    assert result.shape[-1] == size - 2 * config.halo


@pytest.mark.parametrize(
    ("size", "text"),
    [(571, "571 pixels"), (573, "573 pixels"), (580, "580 pixels"), (172, "172 pixels")],
)
def test_the_paper_network_names_a_size_that_it_cannot_take(size: int, text: str) -> None:
    network = UNet(UNetConfig(base_channels=2))
    with pytest.raises(ModelMismatchError, match=f"{text}; sizes must be 188 plus .* of 16"):
        network(torch.zeros(1, 1, size, 572))


def test_a_padded_network_names_a_size_that_it_cannot_take() -> None:
    network = UNet(UNetConfig(base_channels=2, depth=2, padding="same"))
    with pytest.raises(ModelMismatchError, match="'same' padding cannot take 18 pixels"):
        network(torch.zeros(1, 1, 16, 18))


def test_an_image_without_a_batch_axis_is_refused() -> None:
    with pytest.raises(ModelMismatchError, match=r"not an array of shape \(1, 44, 44\)"):
        UNet(SMALL)(torch.zeros(1, 44, 44))


def test_probabilities_lie_between_zero_and_one() -> None:
    network = UNet(UNetConfig(base_channels=2, depth=2, out_channels=4)).eval()
    with torch.inference_mode():
        result = network.probabilities(100 * torch.randn(1, 1, 44, 44))
    assert ((result >= 0) & (result <= 1)).all()


def test_scores_become_the_probabilities_computed_by_hand() -> None:
    network = UNet(UNetConfig(base_channels=2, depth=2)).eval()
    with torch.inference_mode():
        for parameter in network.parameters():
            parameter.zero_()
        network.get_parameter("output.bias")[1] = torch.tensor(3.0).log()
        result = network.probabilities(torch.rand(1, 1, 44, 44))
    torch.testing.assert_close(result[0, :, 0, 0], torch.tensor([0.25, 0.75]))


def test_each_weight_learns() -> None:
    torch.manual_seed(0)
    network = UNet(UNetConfig(base_channels=8, depth=2))
    network(torch.rand(2, 1, 48, 48)).square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in network.parameters())


@pytest.mark.parametrize("training", [True, False])
def test_the_unpadded_twin_is_in_the_same_mode(training: bool) -> None:
    network = UNet(UNetConfig(base_channels=2, depth=2, padding="same")).train(training)
    assert network.unpadded().training is training


def with_statistics(ndim: int) -> UNet:
    """A network whose BatchNorm layers have something to do."""
    torch.manual_seed(0)
    network = UNet(UNetConfig(base_channels=2, depth=2, ndim=ndim, normalization="batch"))
    for values in network.state_dict().values():
        if values.is_floating_point() and values.ndim == 1:
            values.uniform_(0.5, 1.5)
    return network.eval()


@pytest.mark.parametrize("ndim", [2, 3])
def test_folding_batch_norm_into_convolutions_changes_no_score(ndim: int) -> None:
    network = with_statistics(ndim)
    images = torch.rand(2, 1, *[44] * ndim)
    with torch.inference_mode():
        torch.testing.assert_close(network.folded()(images), network(images))


def test_a_folded_network_is_one_without_batch_norm_and_the_other_one_stays() -> None:
    network = with_statistics(2)
    before = {name: values.clone() for name, values in network.state_dict().items()}
    twin = network.folded()
    assert twin.state_dict().keys() == UNet(twin.config).state_dict().keys()
    with torch.no_grad():
        next(twin.parameters()).zero_()
    assert all(torch.equal(before[name], values) for name, values in network.state_dict().items())


def test_a_network_without_batch_norm_is_folded_to_itself() -> None:
    network, image = UNet(SMALL).eval(), torch.rand(1, 1, 44, 44)
    assert torch.equal(network.folded()(image), network(image))
