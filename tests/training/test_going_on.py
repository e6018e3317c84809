"""What a training takes over from what it goes on with."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from napari_unet.errors import ConfigError
from napari_unet.model.starting import load_starting_model
from napari_unet.model.trained import TrainedNetwork
from napari_unet.training.checkpoint import check_goes_on, settings_to_continue
from napari_unet.training.config import TrainConfig
from napari_unet.training.dataset import AnnotatedImage, TrainingData
from napari_unet.training.preparation import prepare_training
from napari_unet.training.state import TrainingState

from .builders import painted_cells, tiny_config


def state_of(**more: Any) -> TrainingState:
    return TrainingState(5, 1.0, {}, {}, {}, {}, 0.0, **more)


def data_with(previous: TrainingState | TrainedNetwork, **settings: Any) -> TrainingData:
    config = tiny_config(**settings)
    picture, labels = painted_cells()
    if config.ndim == 3:
        picture, labels = np.stack([picture] * 8), np.stack([labels] * 8)
    return prepare_training([AnnotatedImage("cells", picture, labels)], config, previous)


def test_a_starting_model_takes_any_binning() -> None:
    assert data_with(load_starting_model("cells"), binning=2).binning == 2


def test_another_model_keeps_its_binning() -> None:
    model = load_starting_model("cells")
    trained = TrainedNetwork(model.network, replace(model.record, binning=3, steps=7))
    assert data_with(trained, binning=2).binning == 3


def test_a_stopped_training_keeps_all() -> None:
    data = data_with(state_of(binning=2, flat_levels=1, border_sigma=3), ndim=3)
    assert (data.binning, data.flat_levels, data.border_sigma) == (2, 1, 3)


def test_a_model_keeps_its_flat_levels() -> None:
    model = load_starting_model("cells")
    network = replace(model.record.network, ndim=3, flat_levels=2)
    trained = TrainedNetwork(model.network, replace(model.record, network=network))
    assert data_with(trained, ndim=3).flat_levels == 2


def test_a_model_of_planes_says_nothing_of_the_flat_levels_of_volumes() -> None:
    assert data_with(load_starting_model("cells"), ndim=3, flat_levels=1).flat_levels == 1


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"optimiser": "sgd"}, "optimiser is 'sgd'; .* keeps its own, 'adamw'"),
        ({"binning": 3}, "a binning of 1, which cannot become 3"),
        ({"steps": 5}, "already made 5 steps"),
    ],
    ids=["optimiser", "binning", "nothing left"],
)
def test_settings_with_which_a_training_cannot_go_on_are_refused(
    changes: dict[str, Any], text: str
) -> None:
    with pytest.raises(ConfigError, match=text):
        check_goes_on(state_of(), TrainConfig(), TrainConfig(**changes))


@pytest.mark.parametrize("changes", [{"steps": 6}, {"steps": 5, "minutes": 1}, {"binning": 1}])
def test_more_steps_and_more_time_are_taken(changes: dict[str, Any]) -> None:
    check_goes_on(state_of(), TrainConfig(), TrainConfig(**changes))


def trained_for(**settings: Any) -> TrainedNetwork:
    """A model that somebody trained, with these settings, from the starting model."""
    model = load_starting_model("cells")
    training = {**model.record.training, **settings}
    return TrainedNetwork(model.network, replace(model.record, training=training, steps=7))


def test_a_model_is_trained_further_with_its_own_settings() -> None:
    record = trained_for(minutes=3.0, unpainted="unlabelled").record
    config = settings_to_continue(None, record)
    assert (config.minutes, config.unpainted) == (3.0, "unlabelled")


def test_steps_that_are_asked_for_take_the_place_of_its_minutes() -> None:
    config = settings_to_continue(None, trained_for(minutes=3.0).record, {"steps": 5})
    assert (config.minutes, config.steps) == (0, 5)


def test_a_starting_model_is_trained_as_a_new_training_would_be() -> None:
    config = settings_to_continue(None, load_starting_model("cells").record)
    fast = TrainConfig.preset("fast")
    assert (config.minutes, config.unpainted) == (fast.minutes, fast.unpainted)
    assert (config.binning, config.views) == (fast.binning, fast.views)


def test_the_network_stays_whatever_the_preset_says() -> None:
    record = load_starting_model("cells").record
    config = settings_to_continue(TrainConfig(depth=5, window=3), record)
    assert (config.depth, config.window) == (record.network.depth, record.network.window)


def test_another_network_is_refused_where_it_is_asked_for_by_name() -> None:
    with pytest.raises(ConfigError, match=r"depth is 5; .* keeps its own, 3"):
        settings_to_continue(None, load_starting_model("cells").record, {"depth": 5})
