from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_unet.data.splitting import Block, validation_blocks


def painted_everywhere(size: int = 128) -> NDArray[np.int16]:
    classes = np.zeros((size, size), np.int16)
    classes[::2] = 1
    return classes


def split(
    classes: list[NDArray[np.int16]], share: float = 0.25, seed: int = 0, n_classes: int = 2
) -> tuple[Block, ...]:
    return validation_blocks(classes, n_classes, share, 32, np.random.default_rng(seed))


def held_back(blocks: tuple[Block, ...], shape: tuple[int, ...]) -> NDArray[np.int64]:
    count = np.zeros(shape, np.int64)
    for block in blocks:
        count[block.region] += 1
    return count


@pytest.mark.parametrize("seed", range(5))
def test_blocks_never_overlap(seed: int) -> None:
    assert held_back(split([painted_everywhere()], seed=seed), (128, 128)).max() == 1


@pytest.mark.parametrize("share", [0.1, 0.25, 0.4])
def test_about_the_wanted_share_is_held_back(share: float) -> None:
    found = held_back(split([painted_everywhere()], share), (128, 128)).mean()
    assert share <= found <= 1.5 * share


def test_nothing_is_held_back_for_a_share_of_zero() -> None:
    assert split([painted_everywhere()], 0.0) == ()


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
    assert split([classes]) == ()


def test_several_frames_share_the_blocks() -> None:
    frames = {block.frame for block in split([painted_everywhere(40) for _ in range(12)], 0.4)}
    assert len(frames) > 1
