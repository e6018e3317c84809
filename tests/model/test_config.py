from __future__ import annotations

from typing import Any

import pytest

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
    ],
    ids=str,
)
def test_a_value_that_no_network_can_have_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(changes))):
        UNetConfig(**changes)
