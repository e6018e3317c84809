from __future__ import annotations

from dataclasses import FrozenInstanceError, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_unet.errors import ConfigError
from napari_unet.model.config import UNetConfig


def test_the_paper_network_loses_92_pixels_on_each_side() -> None:
    assert UNetConfig.paper().halo == 92


def test_the_paper_network_has_64_to_1024_channels() -> None:
    assert UNetConfig.paper().level_channels == (64, 128, 256, 512, 1024)


@pytest.mark.parametrize(("depth", "halo"), [(1, 8), (2, 20), (3, 44), (4, 92)])
def test_the_halo_grows_with_the_depth(depth: int, halo: int) -> None:
    assert UNetConfig(depth=depth).halo == halo


@pytest.mark.parametrize(
    "changes",
    [
        {"in_channels": 0},
        {"out_channels": -1},
        {"ndim": 4},
        {"base_channels": 10**9},
        {"depth": 0},
        {"depth": 30},
        {"dropout": 1.0},
        {"dropout": float("nan")},
        {"padding": "reflect"},
        {"normalization": "instance"},
        {"output": "none"},
        {"output": "tanh"},
        {"flat_levels": -1, "ndim": 3},
        {"flat_levels": 5, "ndim": 3},
        {"flat_levels": 1, "ndim": 2},
        {"window": 0},
        {"window": 2},
        {"window": 10**6 + 1},
    ],
    ids=str,
)
def test_a_value_that_no_network_can_have_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(changes))):
        UNetConfig(**changes)


def test_the_paper_network_is_unpadded_without_normalisation_and_with_dropout() -> None:
    paper = UNetConfig.paper()
    assert (paper.padding, paper.normalization, paper.dropout) == ("valid", "none", 0.5)


def test_the_paper_network_takes_the_bands_and_gives_the_classes_asked_for() -> None:
    paper = UNetConfig.paper(in_channels=10, out_channels=7)
    assert (paper.in_channels, paper.out_channels) == (10, 7)


def test_572_pixels_are_among_the_sizes_of_the_paper_network() -> None:
    paper = UNetConfig.paper()
    assert 572 in range(paper.smallest_inputs[-1], 1000, paper.pooling_factor)


@given(depth=st.integers(1, 7), larger=st.integers(0, 5))
def test_the_sizes_that_fit_pass_every_pooling_evenly(depth: int, larger: int) -> None:
    config = UNetConfig(depth=depth)
    given_size = size = config.smallest_inputs[-1] + larger * config.pooling_factor
    for _ in range(depth):
        size -= 4
        assert size % 2 == 0
        size //= 2
    size -= 4
    for _ in range(depth):
        size = 2 * size - 4
    assert size == given_size - 2 * config.halo == 4 + larger * config.pooling_factor


@given(depth=st.integers(2, 7))
def test_one_step_below_the_smallest_input_nothing_is_left(depth: int) -> None:
    config = UNetConfig(depth=depth)
    assert config.smallest_inputs[-1] - config.pooling_factor <= 2 * config.halo


@given(depth=st.integers(1, 7))
def test_a_padded_network_takes_any_multiple_of_its_factor(depth: int) -> None:
    assert UNetConfig(depth=depth, padding="same").smallest_inputs[-1] == 2**depth


def test_a_configuration_is_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        UNetConfig().depth = 3  # type: ignore[misc]


def test_equal_configurations_are_equal_and_hash_alike() -> None:
    assert len({UNetConfig.paper(), UNetConfig(dropout=0.5)}) == 1


def test_a_changed_copy_is_checked_too() -> None:
    with pytest.raises(ConfigError, match="depth is 0; choose 1 to 7"):
        replace(UNetConfig(), depth=0)


@pytest.mark.parametrize(
    ("flat_levels", "along_z", "halo"), [(0, 8, 44), (1, 4, 20), (2, 2, 8), (3, 1, 2)]
)
def test_flat_levels_make_the_network_shallower_along_z(
    flat_levels: int, along_z: int, halo: int
) -> None:
    config = UNetConfig(ndim=3, depth=3, flat_levels=flat_levels)
    assert config.pooling_factors == (along_z, 8, 8)
    assert config.halos == (halo, 44, 44)


def test_in_the_plane_flat_levels_change_nothing() -> None:
    flat, cubic = UNetConfig(ndim=3, flat_levels=2), UNetConfig(ndim=3)
    assert (flat.pooling_factor, flat.halo) == (cubic.pooling_factor, cubic.halo)
    assert flat.smallest_inputs[-1] == cubic.smallest_inputs[-1]


def test_a_network_that_sees_neighbours_at_its_bottom_alone_takes_five_slices() -> None:
    assert UNetConfig(ndim=3, depth=3, flat_levels=3).smallest_inputs[0] == 5


def test_a_2d_network_has_one_number_per_axis_of_the_plane() -> None:
    config = UNetConfig(depth=2)
    assert config.pooling_factors == (4, 4)
    assert config.halos == (20, 20)
    assert config.smallest_inputs == (44, 44)


def test_a_window_multiplies_the_bands_not_the_channels() -> None:
    config = UNetConfig(in_channels=2, window=3)
    assert (config.in_channels, config.input_bands) == (2, 6)
