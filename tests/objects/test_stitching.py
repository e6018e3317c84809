"""Objects separated block by block are numbered as if there were no blocks."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import ndimage as ndi

from napari_unet.errors import LabelsError
from napari_unet.objects.blocks import BlockObjects, final_numbers, own_labels
from napari_unet.objects.limits import Limits
from napari_unet.objects.separation import separate_objects, without_unsure
from napari_unet.prediction.pipeline import number_objects
from napari_unet.prediction.results import RESULT_TYPES
from napari_unet.prediction.tiles import TilePlan

Array = Any
_ANY = Limits()


def stitched(
    foreground: Array,
    stride: tuple[int, ...],
    margin: int,
    threshold: float = 0.5,
    limits: Limits = _ANY,
) -> tuple[Array, int]:
    """Separate block by block and join."""
    region = tuple(slice(0, size) for size in foreground.shape)
    corner = (0,) * foreground.ndim
    blocks = TilePlan(region, stride, corner, (margin,) * foreground.ndim)
    joined = np.zeros(foreground.shape, np.uint32)
    parts, objects = [], []
    for number in range(len(blocks)):
        seen, own = blocks.seen(number), blocks[number]
        there = foreground[seen]
        labels, found = own_labels(separate_objects(there, threshold=threshold), there, seen, own)
        parts.append(labels)
        objects.append(found)
    result = RESULT_TYPES["objects"]
    plan: Any = SimpleNamespace(blocks=blocks, threshold=threshold, limits=limits, result=result)
    tables, last = number_objects(plan, objects)
    for number, (labels, table) in enumerate(zip(parts, tables, strict=True)):
        joined[blocks[number]] = table[labels]
    return joined, last


def block_of(count: int) -> BlockObjects:
    """Return a block with so many objects of a pixel each."""
    ones = np.ones(count + 1, np.int64)
    return BlockObjects(count, {}, {}, ones, 255 * ones)


def all_count(areas: Array, means: Array) -> Array:
    return np.ones(len(areas), bool)


def same_objects_in(first: Array, second: Array) -> bool:
    """As many objects, each the same but for pixels at equal distance of two.

    Which of two seeds wins a tie in a watershed depends on all pixels of the array.
    """
    n = int(first.max())
    if n != second.max():
        return False
    joint = np.bincount(
        first.ravel().astype(int) * (n + 1) + second.ravel(), minlength=(n + 1) ** 2
    )
    joint = joint.reshape(n + 1, n + 1)
    overlap = joint / (joint.sum(0)[np.newaxis] + joint.sum(1)[:, np.newaxis] - joint)
    return bool((overlap[1:, 1:] > 0.85).sum() == n)


def discs(shape: tuple[int, ...], n: int, radius: int, seed: int) -> Array:
    rng = np.random.default_rng(seed)
    image = np.zeros(shape, np.float32)
    grid = np.indices(shape)
    for _ in range(n):
        centre = rng.integers(0, shape)
        distance = np.sqrt(sum((g - c) ** 2 for g, c in zip(grid, centre, strict=True)))
        image = np.maximum(image, np.clip((radius + 0.5 - distance) / 2, 0, 1))
    return image.astype(np.float32)


@given(seed=st.integers(0, 10_000), n=st.integers(0, 25), stride=st.sampled_from([16, 24, 40]))
def test_objects_that_fit_a_margin_are_those_of_the_whole(seed: int, n: int, stride: int) -> None:
    foreground = discs((80, 70), n, 4, seed)
    whole = separate_objects(foreground)
    parts, _ = ndi.label(foreground > 0.5)
    sides = [max(s.stop - s.start for s in box) for box in ndi.find_objects(parts)]
    assume(max(sides, default=0) <= 20)  # not a heap of discs larger than the margin
    found, last = stitched(foreground, (stride, stride), 24)
    assert same_objects_in(found, whole)
    assert last == whole.max()


def test_volumes_are_stitched_too() -> None:
    foreground = discs((20, 40, 40), 12, 4, 0)
    found, last = stitched(foreground, (10, 16, 20), 12)
    whole = separate_objects(foreground)
    assert same_objects_in(found, whole)
    assert last == whole.max()


def test_an_object_larger_than_a_block_stays_one() -> None:
    foreground = np.zeros((90, 90), np.float32)
    foreground[5:85, 40:50] = foreground[40:50, 5:85] = 1
    found, last = stitched(foreground, (20, 20), 6)
    assert last == 1
    np.testing.assert_array_equal(found, separate_objects(foreground))


def test_cells_that_touch_at_a_face_stay_apart() -> None:
    foreground = np.zeros((40, 64), np.float32)
    foreground[10:20, 4:60] = foreground[21:31, 4:60] = 1
    found, last = stitched(foreground, (21, 32), 10)
    assert last == 2
    assert found[12, 6] == found[12, 58] != found[25, 6]


@given(seed=st.integers(0, 1000))
def test_numbers_have_no_gaps(seed: int) -> None:
    found, last = stitched(discs((60, 60), 12, 5, seed), (24, 24), 16)
    assert np.unique(found[found > 0]).tolist() == list(range(1, last + 1))


@pytest.mark.parametrize("first", [0, 41])
def test_numbers_follow_the_blocks_and_begin_where_they_are_told(first: int) -> None:
    same = np.array([[2, 1]])
    tables, last = final_numbers([block_of(2), block_of(2)], [(0, 1, same)], all_count, first)
    assert [table.tolist() for table in tables] == [
        [0, first + 1, first + 2],
        [0, first + 2, first + 3],
    ]
    assert last == first + 3


def test_without_objects_there_are_no_numbers() -> None:
    tables, last = final_numbers([block_of(0), block_of(0)], [], all_count, 7)
    assert last == 7
    assert [table.tolist() for table in tables] == [[0], [0]]


def test_more_objects_than_numbers_are_refused() -> None:
    with pytest.raises(LabelsError, match="32 bits"):
        final_numbers([block_of(5)], [], all_count, first=2**32 - 3)


def test_a_hundred_thousand_objects_are_numbered_at_once() -> None:
    same = np.stack([np.arange(1, 50_001)] * 2, axis=1)
    tables, last = final_numbers([block_of(50_000)] * 2, [(0, 1, same)], all_count)
    assert last == 50_000
    np.testing.assert_array_equal(tables[0], tables[1])


def test_whether_an_object_is_sure_enough_is_asked_of_all_of_it() -> None:
    foreground = np.zeros((40, 64), np.float32)
    foreground[5:15, 4:40] = 0.6  # not sure, and sure in the block on its right
    foreground[5:15, 32:40] = 0.9
    foreground[20:30, 4:60] = 0.95
    limits = Limits(sure=0.4)
    found, last = stitched(foreground, (40, 32), 10, limits=limits)
    assert last == 1
    assert not found[10].any()
    whole = without_unsure(separate_objects(foreground), foreground, 0.5, limits)
    np.testing.assert_array_equal(found > 0, whole > 0)
