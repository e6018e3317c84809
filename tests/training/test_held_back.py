from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from napari_unet.tasks import ClassTable
from napari_unet.training.held_back import validation_blocks

from .builders import data_of, tiny_config

if TYPE_CHECKING:
    from napari_unet.data.axes import Region

    Places = list[tuple[int, Region]]


def table_of(n_classes: int) -> ClassTable:
    return ClassTable("classes", "background", tuple(range(n_classes)))


def painted_everywhere(size: int = 128) -> NDArray[np.int16]:
    classes = np.zeros((size, size), np.int16)
    classes[::2] = 1
    return classes


def split(
    classes: list[NDArray[np.int16]], share: float = 0.25, seed: int = 0, n_classes: int = 2
) -> Places:
    return validation_blocks(
        classes, table_of(n_classes), share, (32,) * classes[0].ndim, np.random.default_rng(seed)
    )


def held_back(blocks: Places, shape: tuple[int, ...]) -> NDArray[np.int64]:
    count = np.zeros(shape, np.int64)
    for _, region in blocks:
        count[region] += 1
    return count


@pytest.mark.parametrize("seed", range(5))
def test_blocks_never_overlap(seed: int) -> None:
    assert held_back(split([painted_everywhere()], seed=seed), (128, 128)).max() == 1


@pytest.mark.parametrize("share", [0.1, 0.25, 0.4])
def test_about_the_wanted_share_is_held_back(share: float) -> None:
    found = held_back(split([painted_everywhere()], share), (128, 128)).mean()
    assert share <= found <= 1.5 * share


def test_nothing_is_held_back_for_a_share_of_zero() -> None:
    assert split([painted_everywhere()], 0.0) == []


def test_the_same_chance_gives_the_same_blocks() -> None:
    assert split([painted_everywhere()], seed=3) == split([painted_everywhere()], seed=3)


def test_each_class_keeps_half_its_paint_for_training() -> None:
    classes = painted_everywhere()
    classes[classes == 1] = 0
    classes[5, 5] = classes[100, 100] = 1  # in two blocks
    for seed in range(10):
        blocks = split([classes], 0.4, seed)
        assert (classes[held_back(blocks, classes.shape) > 0] == 1).sum() <= 1


@pytest.mark.parametrize(
    "paint",
    [
        pytest.param([], id="nothing"),
        pytest.param([(3, 3, 0), (4, 4, 1)], id="one place"),
        pytest.param([(3, 3, 0), (90, 90, 1)], id="a class in each of two places"),
    ],
)
def test_too_little_paint_is_not_split(paint: list[tuple[int, int, int]]) -> None:
    classes = np.full((128, 128), -1, np.int16)
    for y, x, value in paint:
        classes[y, x] = value
    assert split([classes]) == []


def test_several_frames_share_the_blocks() -> None:
    frames = {frame for frame, _ in split([painted_everywhere(40) for _ in range(12)], 0.4)}
    assert len(frames) > 1


@given(
    seed=st.integers(0, 10**6),
    shapes=st.lists(
        st.lists(st.integers(1, 70), min_size=2, max_size=2).map(tuple), min_size=1, max_size=4
    )
    | st.lists(
        st.lists(st.integers(1, 24), min_size=3, max_size=3).map(tuple), min_size=1, max_size=2
    ),
    share=st.floats(0, 0.9),
    block_size=st.integers(1, 40),
    painted=st.floats(0, 1),
)
def test_any_paint_is_split_without_overlap_and_leaves_half_of_each_class(
    seed: int, shapes: list[tuple[int, ...]], share: float, block_size: int, painted: float
) -> None:
    rng = np.random.default_rng(seed)
    classes = [rng.integers(0, 3, shape).astype(np.int16) for shape in shapes]
    for of_frame in classes:
        of_frame[rng.random(of_frame.shape) > painted] = -1

    blocks = validation_blocks(classes, table_of(3), share, (block_size,) * len(shapes[0]), rng)

    held = [np.zeros(shape, np.int64) for shape in shapes]
    for frame, region in blocks:
        held[frame][region] += 1
    everything = np.concatenate([frame.ravel() for frame in classes])
    out = np.concatenate([count.ravel() for count in held])
    assert out.max(initial=0) <= 1
    for value in range(3):
        assert (out[everything == value] > 0).sum() <= (everything == value).sum() / 2
    assert (out[everything >= 0] > 0).sum() <= 1.5 * share * (everything >= 0).sum()
    assert len(np.unique(everything[(out > 0) & (everything >= 0)])) != 1


@pytest.mark.parametrize("shape", [(128, 128), (100, 70), (33, 47), (5, 300)], ids=str)
def test_blocks_have_about_the_wanted_size(shape: tuple[int, int]) -> None:
    classes = np.indices(shape).sum(axis=0).astype(np.int16) % 2
    rng = np.random.default_rng(1)
    for _, region in validation_blocks([classes], table_of(2), 0.4, (32, 32), rng):
        for part, size in zip(region, shape, strict=True):
            assert min(size, 21) <= part.stop - part.start <= 48


def test_a_volume_is_split_into_boxes() -> None:
    classes = np.zeros((32, 64, 64), np.int16)
    classes[::2] = 1
    blocks = split([classes])
    assert blocks
    assert all(len(region) == 3 for _, region in blocks)


def test_another_chance_gives_other_blocks() -> None:
    assert len({str(split([painted_everywhere()], seed=seed)) for seed in range(8)}) > 4


def test_blocks_without_paint_are_not_chosen() -> None:
    classes = np.full((256, 256), -1, np.int16)
    classes[:128, :128] = painted_everywhere()
    for seed in range(5):
        for _, region in split([classes], 0.4, seed):
            assert (classes[region] >= 0).any()


def test_blocks_of_a_single_class_are_not_held_back() -> None:
    classes = np.zeros((128, 128), np.int16)
    classes[5, 5] = 1  # can never be spared: it is the only one
    for seed in range(5):
        assert split([classes], seed=seed) == []


def test_a_huge_painted_image_is_validated_on_64_blocks_at_most() -> None:
    assert len(split([painted_everywhere(1024)], 0.4)) == 64


def test_what_a_network_of_a_wide_view_looks_at_for_its_score_is_bounded() -> None:
    config = tiny_config(kind="classes", depth=6, patch_size=64, validation_share=0.5)
    labels = painted_everywhere(640).astype(np.uint8) + 1
    blocks = data_of(np.zeros(labels.shape, np.float32), labels, config).blocks
    around = 2 * config.network(1, 2).halos[-1]
    seen = sum(math.prod(b - a + around for a, b in block.bounds) for block in blocks)
    assert blocks
    assert seen <= 2**22 * 1.1  # blocks are as large as what is wanted, or nearly
