"""What a training goes on with: the settings and sizes that stay those of an earlier one."""

from __future__ import annotations

import json
from dataclasses import fields
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypedDict

from pydantic import TypeAdapter, ValidationError

from napari_unet.errors import ConfigError, ModelFileError
from napari_unet.model.starting import is_starting_model
from napari_unet.model.trained import load_network
from napari_unet.training.checkpoint import belongs_to, load_state, state_path
from napari_unet.training.config import TrainConfig, present_names
from napari_unet.training.state import TrainingState

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from napari_unet.model.record import ModelRecord
    from napari_unet.model.trained import TrainedNetwork

# What a model decides, not the settings, where it is trained further.
_OF_THE_NETWORK = (
    "ndim", "base_channels", "depth", "window", "padding", "normalization", "dropout",
)  # fmt: skip


class WhatStays(TypedDict):
    """What `prepare_training` takes over; None where settings and images decide."""

    binning: float | None
    flat_levels: int | None
    border_sigma: float | None


def what_stays(previous: TrainingState | TrainedNetwork | None, ndim: int) -> WhatStays:
    """Return what the data of a training take over from what it goes on with."""
    if previous is None:
        return WhatStays(binning=None, flat_levels=None, border_sigma=None)
    if isinstance(previous, TrainingState):
        return WhatStays(
            binning=previous.binning,
            flat_levels=previous.flat_levels,
            border_sigma=previous.border_sigma,
        )
    record = previous.record
    return WhatStays(  # a starting model takes any binning
        binning=None if is_starting_model(record) else record.binning,
        flat_levels=record.network.flat_levels if record.network.ndim == ndim else None,
        border_sigma=None,
    )


def settings_to_continue(
    config: TrainConfig | None, record: ModelRecord, given: Mapping[str, Any] = MappingProxyType({})
) -> TrainConfig:
    """Return the settings with which a model is trained further.

    Raises ConfigError if a setting of the network was asked for that is not the model's.

    Parameters
    ----------
    config : TrainConfig or None
        Its network and patches are replaced by those of the model. None: the model's own settings;
        of a starting model, whose own are for hours of many images, the preset fast.
    given : mapping of str to value
        Settings that were asked for by name; they count more than those of `config`.
    """
    network = {name: getattr(record.network, name) for name in _OF_THE_NETWORK}
    for name in network.keys() & given.keys():
        if given[name] != network[name]:
            raise ConfigError(
                f"{name} is {given[name]!r}; a model that is trained further keeps its own, "
                f"{network[name]!r}."
            )
    if config is None:
        starting = is_starting_model(record)
        config = TrainConfig.preset("fast") if starting else settings_of(record)
    elif isinstance(patch := record.training.get("patch_size"), int):
        config = config.changed(patch_size=patch)
    if "steps" in given:
        config = config.changed(minutes=0.0)  # unless they are given as well
    return config.changed(**network).changed(**given)


def load_training(path: Path) -> tuple[TrainingState, TrainConfig]:
    """Read a training that can go on exactly where it ended: its state, and its settings.

    The state lies beside the model file. Raises ModelFileError if a file is missing or damaged, or
    the two are of different trainings.
    """
    record = load_network(path).record
    config = settings_of(record)
    if not state_path(path).exists():
        raise ModelFileError(
            f"There is no {state_path(path).name} beside {path}: without its state a training "
            "cannot go on exactly. Train the model further instead "
            "(nu.train(previous=nu.load_model(...)), or --previous)."
        )
    state = load_state(state_path(path))
    if not belongs_to(state, record):
        raise ModelFileError(
            f"{state_path(path).name} is the state of a previous training (step {state.step}, "
            f"the model has made {record.steps}): the program was ended while it wrote. Train anew."
        )
    return state, config


def check_goes_on(state: TrainingState, previous: TrainConfig, config: TrainConfig) -> None:
    """Refuse settings with which a training cannot go on exactly, or has nothing left to do.

    Raises ConfigError, which names the setting.
    """
    if config.optimiser != previous.optimiser:
        raise ConfigError(
            f"optimiser is {config.optimiser!r}; a training that goes on keeps its own, "
            f"{previous.optimiser!r}."
        )
    if config.binning not in (0, state.binning):
        raise ConfigError(
            f"The training has a binning of {state.binning:g}, which cannot become "
            f"{config.binning:g} where it goes on. Train a new model."
        )
    if not config.minutes and state.step >= config.steps:
        raise ConfigError(
            f"The training has already made {state.step} steps; choose more steps in all, or "
            "minutes for as much time again."
        )


def settings_of(record: ModelRecord) -> TrainConfig:
    """Return the settings that a model was trained with.

    Raises ModelFileError if this version does not know one of them, or it is out of its bounds.
    """
    unknown = sorted(set(record.training) - {f.name for f in fields(TrainConfig)})
    if unknown:
        raise ModelFileError(
            f"The model was trained with a setting {unknown[0]!r} that this version does not "
            "know. Update napari-unet-paint, or train anew."
        )
    try:
        return TypeAdapter(TrainConfig).validate_json(
            json.dumps(present_names(record.training)), strict=True
        )
    except ValidationError as error:
        first = error.errors()[0]
        raise ModelFileError(
            f"The model's record has no usable {first['loc'][0]}: {first['msg']}. Train anew."
        ) from error
