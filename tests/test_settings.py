"""Bounds of settings, of numbers of any kind."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

from napari_unet.errors import ConfigError
from napari_unet.export.config import ExportConfig
from napari_unet.prediction.config import PredictConfig
from napari_unet.settings import declared
from napari_unet.training.config import TrainConfig


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


@pytest.mark.parametrize("value", [40.5, 40.0, np.float64(40), "40", float("nan")])
def test_numbers_of_steps_are_whole(value: Any) -> None:
    with pytest.raises(ConfigError, match=r"steps is .*; choose a whole number"):
        TrainConfig(steps=value)


@pytest.mark.parametrize("value", [40, np.int64(40), np.uint8(40)])
def test_whole_numbers_of_each_kind_are_taken(value: Any) -> None:
    assert TrainConfig(steps=value).steps == 40


@pytest.mark.parametrize(
    ("config", "name"),
    [(TrainConfig, "views"), (PredictConfig, "tile_size"), (ExportConfig, "views")],
)
def test_each_configuration_refuses_fractions_of_whole_numbers(config: type, name: str) -> None:
    with pytest.raises(ConfigError, match=rf"{name} is 4\.0; choose a whole number"):
        config(**{name: 4.0})


def test_a_text_is_no_number() -> None:
    with pytest.raises(ConfigError, match=r"zoom is wide; choose 0 to 0\.9"):
        TrainConfig(zoom="wide")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("config", "name", "told"),
    [
        (PredictConfig, "cell_size", "0, as trained"),
        (PredictConfig, "threshold", "as trained"),
        (PredictConfig, "rescale", "yes"),
        (PredictConfig, "device", "auto"),
        (TrainConfig, "learning_rate", "0.002"),
        (ExportConfig, "authors", ""),
    ],
)
def test_defaults_are_told_as_value_or_in_words(config: type, name: str, told: str) -> None:
    assert declared(config)[name].usual == told


@pytest.mark.parametrize("value", [0, 1, np.float32(1), float("nan"), -1, 2])
def test_a_threshold_lies_between_its_bounds(value: Any) -> None:
    with pytest.raises(ConfigError, match="choose a value between 0 and 1"):
        PredictConfig(threshold=value)
