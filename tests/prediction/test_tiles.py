"""Where tiles lie: each pixel once, all on one pooling grid, none too large."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_unet.errors import ConfigError
from napari_unet.model.config import UNetConfig
from napari_unet.prediction.tiles import DEFAULT_TILE_SIZE, TilePlan, plan_tiles

DEPTHS = st.integers(1, 5)
SIZES = st.integers(1, 700)
TILE_SIZES = st.integers(0, 300)  # beyond the pooling factor


def network(depth: int, ndim: int = 2) -> UNetConfig:
    return UNetConfig(depth=depth, ndim=ndim, base_channels=1)


def columns(plan: TilePlan) -> list[slice]:
    """The slices along the last axis, in order."""
    found = {(region[-1].start, region[-1].stop) for region in plan}
    return [slice(*bounds) for bounds in sorted(found)]


@pytest.mark.fault(21)
@given(
    shape=st.one_of(
        st.tuples(st.integers(1, 90), st.integers(1, 90)),
        st.tuples(st.integers(1, 30), st.integers(1, 30), st.integers(1, 30)),
    ),
    depth=DEPTHS,
    extra=st.integers(0, 40),
)
def test_tiles_hold_each_pixel_exactly_once(shape: tuple[int, ...], depth: int, extra: int) -> None:
    times = np.zeros(shape, int)
    for region in plan_tiles(shape, network(depth, len(shape)), 2**depth + extra):
        times[region] += 1
    assert (times == 1).all()


@given(size=SIZES, depth=DEPTHS, extra=TILE_SIZES)
def test_tiles_start_on_the_pooling_grid(size: int, depth: int, extra: int) -> None:
    factor = 2**depth
    tiles = columns(plan_tiles((1, size), network(depth), factor + extra))
    assert all(tile.start % factor == 0 for tile in tiles)


@given(size=SIZES, depth=DEPTHS, extra=TILE_SIZES)
def test_no_tile_is_larger_than_asked(size: int, depth: int, extra: int) -> None:
    largest = 2**depth + extra
    tiles = columns(plan_tiles((1, size), network(depth), largest))
    assert all(tile.stop - tile.start <= largest for tile in tiles)


@given(size=SIZES, depth=DEPTHS, extra=TILE_SIZES)
def test_all_tiles_but_the_last_are_alike(size: int, depth: int, extra: int) -> None:
    tiles = columns(plan_tiles((1, size), network(depth), 2**depth + extra))
    assert len({tile.stop - tile.start for tile in tiles[:-1]}) <= 1


@given(size=SIZES, depth=DEPTHS, extra=TILE_SIZES)
def test_tiles_follow_each_other_without_gap(size: int, depth: int, extra: int) -> None:
    tiles = columns(plan_tiles((1, size), network(depth), 2**depth + extra))
    assert all(before.stop == after.start for before, after in pairwise(tiles))
    assert tiles[-1].stop == size


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_no_tile_of_the_smallest_size_is_empty(depth: int) -> None:
    tiles = columns(plan_tiles((1, 20), network(depth), 2**depth))
    assert all(tile.stop > tile.start for tile in tiles)


def test_tiles_are_balanced_and_not_ragged() -> None:
    tiles = columns(plan_tiles((1, 800), network(4), 768))
    assert [tile.stop - tile.start for tile in tiles] == [400, 400]


def test_a_small_image_is_one_tile() -> None:
    assert list(plan_tiles((30, 40), network(4))) == [(slice(0, 30), slice(0, 40))]


def test_tiles_come_row_by_row() -> None:
    starts = [(region[0].start, region[1].start) for region in plan_tiles((40, 40), network(2), 20)]
    assert starts == sorted(starts)


@pytest.mark.parametrize("ndim", [2, 3])
def test_without_a_size_the_default_is_taken(ndim: int) -> None:
    config = network(2, ndim)
    shape = (200,) * ndim
    assert plan_tiles(shape, config) == plan_tiles(shape, config, DEFAULT_TILE_SIZE[ndim])


def test_the_length_of_a_plan_is_its_number_of_tiles() -> None:
    plan = plan_tiles((40, 40), network(2), 20)
    assert len(plan) == len(list(plan)) == 4


@pytest.mark.parametrize("size", [15, 1, 0, -4])
def test_tiles_below_the_pooling_factor_are_refused_with_a_remedy(size: int) -> None:
    with pytest.raises(ConfigError, match=rf"Tiles of {size} pixels .* choose at least 16"):
        plan_tiles((40, 40), network(4), size)


@pytest.mark.fault(21)
@pytest.mark.parametrize("binning", [2, 3])
@given(size=st.integers(1, 700))
def test_binned_tiles_start_on_whole_network_pixels_and_hold_each_pixel_once(
    binning: int, size: int
) -> None:
    plan = plan_tiles((size, 40), network(3), 64, (binning, binning))
    rows = sorted({(tile[0].start, tile[0].stop) for tile in plan})
    assert [start % binning for start, _ in rows] == [0] * len(rows)
    assert [stop for _, stop in rows[:-1]] == [start for start, _ in rows[1:]]
    assert (rows[0][0], rows[-1][1]) == (0, size)
