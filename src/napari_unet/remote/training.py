"""A training on another machine: the same function of the same frozen values as here."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import tempfile
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from napari_unet.errors import ModelFileError
from napari_unet.model.devices import choose_device
from napari_unet.model.trained import hash_of_weights, load_network, save_network
from napari_unet.provenance.card import Environment
from napari_unet.remote.following import until_done
from napari_unet.remote.parcels import sendable
from napari_unet.run import Notice
from napari_unet.training.checkpoint import (
    load_state,
    load_training,
    save_checkpoint,
    saving_checkpoints,
    state_path,
)
from napari_unet.training.loop import TrainingResult, train_network
from napari_unet.training.state import TrainingState
from napari_unet.training.validation import PaintedCell

if TYPE_CHECKING:
    import threading
    from collections.abc import Generator

    from napari_unet.model.trained import TrainedNetwork
    from napari_unet.training.config import TrainConfig
    from napari_unet.training.dataset import TrainingData
    from napari_unet.training.events import TrainingEvent

_PLACES = ("frame", "centre")  # of a painted cell
_ALSO_TOLD = ("stopped", "settled", "start_kept")
_MODEL, _LATEST = "model.safetensors", "latest.safetensors"


@dataclass(frozen=True)
class TrainedThere(TrainingResult):
    """What a training on another machine leaves."""

    environment: Environment = field(kw_only=True)
    """What has computed."""


def train_on(
    on: str,
    trusted: bool,
    data: TrainingData,
    config: TrainConfig,
    stop: threading.Event,
    previous: TrainingState | TrainedNetwork | None = None,
) -> Generator[TrainingEvent, None, TrainedThere]:
    """Train on the machine at an address; see `train_network`.

    The state is saved there now and then: where the connection is lost the training goes on, and
    the same call takes it up. On a CPU the weights are those of a training here, bit for bit.

    Raises RemoteError if the machine does not answer, or cannot train.
    """
    threads = torch.get_num_threads()  # sums depend on it in their last digit
    work = partial(_train_there, sendable(data), config, previous, threads)
    run = _run_of(data, config, previous)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        told = yield from until_done(on, trusted, run, work, stop, folder)
        trained, latest = load_network(folder / _MODEL), load_network(folder / _LATEST)
        state = load_state(state_path(folder / _MODEL))
    cells = [dict(cell, **{k: tuple(cell[k]) for k in _PLACES}) for cell in told["cells"]]
    return TrainedThere(
        trained,
        latest,
        state,
        replace(data, starting_model=told["starting_model"]),
        painted_cells=tuple(PaintedCell(**cell) for cell in cells),
        environment=Environment(**told["environment"]),
        **{name: told[name] for name in _ALSO_TOLD},
    )


def _run_of(
    data: TrainingData, config: TrainConfig, previous: TrainingState | TrainedNetwork | None
) -> str:
    """Name a training by what it learns from, so that who asks for the same takes it up."""
    weights = ""
    if isinstance(previous, TrainingState):
        weights = f"{previous.step} {hash_of_weights(previous.last)}"
    elif previous is not None:
        weights = hash_of_weights(previous.network.state_dict())
    hashes = [image.image_sha256 for image in data.images]
    about = [platform.node(), str(Path.home()), asdict(config), hashes, weights]
    digest = hashlib.sha256(json.dumps(about, default=str).encode())
    for frame in data.frames:
        for array in (frame.labels, frame.weights, frame.held_back):
            digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:32]


def _train_there(
    data: TrainingData,
    config: TrainConfig,
    previous: TrainingState | TrainedNetwork | None,
    threads: int,
    folder: Path,
    stop: threading.Event,
) -> Generator[TrainingEvent, None, dict[str, Any]]:
    """Train in a folder, from its last checkpoint where there is one."""
    torch.set_num_threads(min(threads, os.cpu_count() or 1))
    model = folder / _MODEL
    if state_path(model).exists():
        try:
            previous, _ = load_training(model)
            yield Notice(f"The training goes on from step {previous.step}, where it was ended.")
        except ModelFileError as error:  # ended while it wrote
            yield Notice(f"The training begins anew. {error}")
    events = train_network(data, config, stop, previous)
    result = yield from saving_checkpoints(events, model)
    save_checkpoint(result.trained, result.state, model)
    save_network(result.latest, folder / _LATEST)
    environment = Environment.of(choose_device(config.device))
    return {
        **{name: getattr(result, name) for name in _ALSO_TOLD},
        "starting_model": result.data.starting_model,
        "cells": [asdict(cell) for cell in result.painted_cells],
        "environment": environment.model_dump(),
    }
