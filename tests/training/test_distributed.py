"""Several processes that train together: each its part, together what one would have done."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import torch
from torch import nn

from napari_unet.errors import ConfigError, DeviceError
from napari_unet.tasks.losses import painted_pixels, weighted_cross_entropy
from napari_unet.training.distributed import (
    ALONE,
    ProcessGroup,
    SharedBatchNorm,
    share_batch_statistics,
)
from napari_unet.training.patches import PatchSampler

from .builders import cells, tiny_config

if TYPE_CHECKING:
    from torch import Tensor

SECOND = ProcessGroup(rank=1, size=2, local_rank=1, alone=False)


class OneOfTwo(ProcessGroup):
    """A rank that knows what the other one has."""

    other: Tensor

    def gathered(self, values: Tensor) -> Tensor:
        return torch.stack([values, self.other.to(values.dtype)])


def one_of_two(other: Tensor) -> OneOfTwo:
    group = OneOfTwo(rank=0, size=2, alone=False)
    object.__setattr__(group, "other", other)
    return group


# --- who is who --------------------------------------------------------------------------------


def test_without_torchrun_a_process_is_alone() -> None:
    with ProcessGroup.of_environment({}) as group:
        assert group == ALONE
    assert not torch.distributed.is_initialized()


def test_a_world_size_without_a_rank_is_none_of_ours() -> None:
    with ProcessGroup.of_environment({"WORLD_SIZE": "4"}) as group:
        assert group.alone


@pytest.mark.parametrize(
    ("rank", "size"), [("a", "2"), ("2", "2"), ("-1", "2"), ("0", "")], ids=str
)
def test_ranks_that_cannot_be_are_named(rank: str, size: str) -> None:
    with (
        pytest.raises(ConfigError, match=f"RANK={rank}, WORLD_SIZE={size}.*torchrun"),
        ProcessGroup.of_environment({"RANK": rank, "WORLD_SIZE": size}),
    ):
        pass


@pytest.mark.parametrize("name", ["auto", "cpu", "cuda:1", "mps", "abacus"])
def test_alone_the_device_is_the_one_that_was_named(name: str) -> None:
    assert ALONE.device(name) == name


def give_gpus(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)


@pytest.mark.parametrize(
    ("name", "gpus", "device"),
    [("auto", 2, "cuda:1"), ("cuda", 2, "cuda:1"), ("cpu", 2, "cpu"), ("auto", 0, "cpu")],
)
def test_each_rank_has_a_device_of_its_own(
    monkeypatch: pytest.MonkeyPatch, name: str, gpus: int, device: str
) -> None:
    give_gpus(monkeypatch, gpus)
    assert SECOND.device(name) == device


def test_more_processes_than_gpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    give_gpus(monkeypatch, 1)
    with pytest.raises(DeviceError, match="--nproc-per-node 1"):
        SECOND.device("auto")


@pytest.mark.parametrize("name", ["cuda:0", "mps"])
def test_one_device_for_all_is_refused(name: str) -> None:
    with pytest.raises(DeviceError, match=f"{name!r} cannot be used by 2 processes"):
        SECOND.device(name)


# --- patches -----------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2, 4])
def test_the_parts_of_the_ranks_are_the_large_batch_bit_for_bit(size: int) -> None:
    large, part = tiny_config(batch_size=4), tiny_config(batch_size=4 // size)
    data = cells(large)
    whole = PatchSampler(data, large).draw([0, 3, 1])
    parts = [PatchSampler(data, part, r * part.batch_size).draw([0, 3, 1]) for r in range(size)]
    for name in ("images", "classes", "weights"):
        joined = torch.cat([getattr(batch, name) for batch in parts])
        assert torch.equal(joined, getattr(whole, name))


# --- loss --------------------------------------------------------------------------------------


def unevenly_painted() -> tuple[Tensor, Tensor, Tensor]:
    """Logits, classes and weights of two patches; the second has little paint."""
    chance = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 8, 8, generator=chance)
    classes = torch.randint(0, 3, (2, 8, 8), generator=chance)
    classes[1, 1:] = -1
    return logits, classes, torch.rand(2, 8, 8, generator=chance) + 0.1


def test_the_losses_of_the_ranks_average_to_that_of_the_large_batch() -> None:
    logits, classes, weights = unevenly_painted()
    painted = [painted_pixels(classes[i], weights[i]).sum()[None] for i in (0, 1)]
    losses = [
        weighted_cross_entropy(logits[i : i + 1], classes[i : i + 1], weights[i : i + 1])
        * one_of_two(painted[1 - i]).relative(painted[i])
        for i in (0, 1)
    ]
    whole = weighted_cross_entropy(logits, classes, weights)
    torch.testing.assert_close((losses[0] + losses[1])[0] / 2, whole)


def test_where_no_rank_has_paint_nothing_is_divided_by_zero() -> None:
    none = torch.zeros(1, dtype=torch.int64)
    assert one_of_two(none).relative(none).item() == 0


def test_a_loss_that_is_no_number_on_one_rank_is_none_on_all() -> None:
    assert one_of_two(torch.tensor(float("nan"))).mean(torch.tensor(1.0)).isnan()


# --- one clock, one will -----------------------------------------------------------------------


def test_the_time_is_that_of_the_first_rank() -> None:
    assert one_of_two(torch.tensor([99.0, 0.0])).agree(5.0, stop=False) == (5.0, False)


def test_one_rank_stops_all() -> None:
    assert one_of_two(torch.tensor([99.0, 1.0])).agree(5.0, stop=False)[1]


# --- BatchNorm ---------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(4, 3, 6, 6), (2, 3, 4, 4, 4)], ids=["2D", "3D"])
def test_shared_statistics_are_those_of_torch(shape: tuple[int, ...]) -> None:
    kind = nn.BatchNorm2d if len(shape) == 4 else nn.BatchNorm3d
    ours, theirs = nn.Sequential(kind(3)), nn.Sequential(kind(3))
    share_batch_statistics(ours, ALONE)
    chance = torch.Generator().manual_seed(0)
    images = 3 + 2 * torch.randn(shape, generator=chance)
    answers = torch.randn(shape, generator=chance)
    inputs = [images.clone().requires_grad_() for _ in range(2)]
    outputs = [network(image) for network, image in zip((ours, theirs), inputs, strict=True)]
    for output in outputs:
        (output * answers).sum().backward()
    torch.testing.assert_close(*outputs)
    torch.testing.assert_close(inputs[0].grad, inputs[1].grad)
    for mine, its in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, its.grad)
    torch.testing.assert_close(ours.state_dict(), theirs.state_dict())


def test_shared_statistics_change_no_name_and_no_weight() -> None:
    network = nn.Sequential(nn.Conv2d(1, 3, 3), nn.Sequential(nn.BatchNorm2d(3)))
    before, weights = network.state_dict(), list(network.parameters())
    share_batch_statistics(network, ALONE)
    assert [type(layer) for layer in network.modules()].count(SharedBatchNorm) == 1
    assert list(network.state_dict()) == list(before)
    assert all(a is b for a, b in zip(weights, network.parameters(), strict=True))


def test_in_evaluation_the_running_statistics_count() -> None:
    layer = nn.Sequential(nn.BatchNorm2d(2))
    share_batch_statistics(layer, SECOND)
    image = torch.randn(1, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(layer.eval()(image), image / (1 + 1e-5) ** 0.5)


def test_reduced_precision_stays_reduced() -> None:
    layer = nn.Sequential(nn.BatchNorm2d(2))
    share_batch_statistics(layer, ALONE)
    image = torch.randn(2, 2, 4, 4, generator=torch.Generator().manual_seed(0)).bfloat16()
    assert layer(image).dtype == torch.bfloat16


def test_a_single_process_sets_up_no_group() -> None:
    program = (
        "from napari_unet.training.distributed import parallel_network\n"
        "from napari_unet.training.distributed import ProcessGroup\n"
        "import torch\n"
        "with ProcessGroup.of_environment() as group:\n"
        "    network = torch.nn.Linear(1, 1)\n"
        "    assert parallel_network(network, group) is network\n"
        "    assert not torch.distributed.is_initialized()\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
