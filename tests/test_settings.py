"""Bounds of settings, of numbers of any kind."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

from napari_unet.errors import ConfigError
from napari_unet.prediction.config import PredictConfig
from napari_unet.settings import declared


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64, np.int64, int, float])
def test_numbers_of_each_kind_are_compared_without_a_warning(kind: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        declared(PredictConfig)["cell_size"].check(kind(12))


@pytest.mark.parametrize(
    "value", [np.float32("inf"), float("inf"), np.float16("nan"), -1, 10**400], ids=str
)
def test_what_is_not_finite_or_too_low_is_refused(value: Any) -> None:
    with pytest.raises(ConfigError, match=r"cell_size is .*; choose 0 or more pixels"):
        declared(PredictConfig)["cell_size"].check(value)


@pytest.mark.parametrize("value", [0, 1, np.float32(1), float("nan"), -1, 2])
def test_a_threshold_lies_between_its_bounds(value: Any) -> None:
    with pytest.raises(ConfigError, match="choose a value between 0 and 1"):
        PredictConfig(threshold=value)
