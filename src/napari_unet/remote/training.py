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

from napari_unet.data.rescaling import plane_factors
from napari_unet.errors import ModelFileError
from napari_unet.model.devices import choose_device
from napari_unet.model.trained import hash_of_weights, load_network, save_network
from napari_unet.provenance.card import Environment
from napari_unet.remote.following import until_done
from napari_unet.remote.painting import Sender, fill
from napari_unet.remote.parcels import opened_array, packed_array, sendable
from napari_unet.run import Notice, Run
from napari_unet.training.checkpoint import (
    load_state,
    load_training,
    save_checkpoint,
    saving_checkpoints,
    state_path,
)
from napari_unet.training.events import Inbox, TrainingStarted, ViewPredicted
from napari_unet.training.loop import TrainingResult, train_network
from napari_unet.training.pixel_classifier import PixelClassifier, said_together, share_of_network
from napari_unet.training.preparation import prepare_training
from napari_unet.training.state import TrainingState
from napari_unet.training.validation import PaintedCell

if TYPE_CHECKING:
    import threading
    from collections.abc import Generator, Sequence

    from napari_unet.data.frames import Beside
    from napari_unet.model.trained import TrainedNetwork
    from napari_unet.remote.jobs import Told
    from napari_unet.training.config import TrainConfig
    from napari_unet.training.dataset import AnnotatedImage, TrainingData
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
    inbox: Inbox | None = None,
    images: Sequence[AnnotatedImage] = (),
    run: str = "",
) -> Generator[TrainingEvent, None, TrainedThere]:
    """Train on the machine at an address; see `train_network`.

    The state is saved there now and then: where the connection is lost the training goes on, and
    the same call takes it up. On a CPU the weights are those of a training here, bit for bit. An
    inbox needs the `images` that the data were made from. With the name of a `run`, see `name_of`,
    that training is taken up, whatever it began with.

    Raises RemoteError if the machine does not answer, or cannot train.
    """
    threads = torch.get_num_threads()  # sums depend on it in their last digit
    sent = sendable(data)
    sender = None if inbox is None else Sender(inbox, images, sent, config)
    painted = () if sender is None else tuple(sender.images)
    work = None if run else partial(_train_there, sent, config, previous, painted, threads)
    if run and sender is not None:
        sender.send_all()
    run = run or name_of(data, config, previous)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        events = until_done(on, trusted, run, work, stop, folder, sender)
        coming = Run(events)
        for event in coming:
            yield _opened(event)
        told = coming.result
        trained, latest = load_network(folder / _MODEL), load_network(folder / _LATEST)
        state = load_state(state_path(folder / _MODEL))
    cells = [dict(cell, **{k: tuple(cell[k]) for k in _PLACES}) for cell in told["cells"]]
    data = replace(data if sender is None else sender.data, starting_model=told["starting_model"])
    return TrainedThere(
        trained,
        latest,
        state,
        data,
        painted_cells=tuple(PaintedCell(**cell) for cell in cells),
        beside=_beside(data, config, state) if told["beside"] else None,
        environment=Environment(**told["environment"]),
        **{name: told[name] for name in _ALSO_TOLD},
    )


def _beside(data: TrainingData, config: TrainConfig, state: TrainingState) -> Beside:
    """Return the pixel classifier that counts over there: from the same paint it is the same."""
    classifier = replace(
        PixelClassifier.fitted(data, config.seed),
        factors=plane_factors(config.ndim, data.binning),
    )
    return partial(said_together, classifier, share_of_network(state.step, state.history))


def name_of(
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
    images: Sequence[AnnotatedImage],
    threads: int,
    folder: Path,
    told: Told,
) -> Generator[object, None, dict[str, Any]]:
    """Train in a folder, from its last checkpoint where there is one."""
    torch.set_num_threads(min(threads, os.cpu_count() or 1))
    model, inbox, painted = folder / _MODEL, Inbox(), list(images)
    if told.letters:  # a former worker got them
        fill(inbox, told, painted)
        data = prepare_training(inbox.take_annotations() or painted, config, data)
    if state_path(model).exists():
        try:
            previous, _ = load_training(model)
            yield Notice(f"The training goes on from step {previous.step}, where it was ended.")
        except ModelFileError as error:  # ended while it wrote
            yield Notice(f"The training begins anew. {error}")
    events = train_network(data, config, told.stop, previous, inbox=inbox)
    run = Run(saving_checkpoints(events, model))
    for event in run:
        fill(inbox, told, painted)
        yield _sendable_event(event)
    result = run.result
    save_checkpoint(result.trained, result.state, model)
    save_network(result.latest, folder / _LATEST)
    environment = Environment.of(choose_device(config.device))
    return {
        **{name: getattr(result, name) for name in _ALSO_TOLD},
        "starting_model": result.data.starting_model,
        "beside": result.beside is not None,
        "cells": [asdict(cell) for cell in result.painted_cells],
        "environment": environment.model_dump(),
    }


def _sendable_event(event: TrainingEvent) -> object:
    """Say where it trains, and pack labels for the way: they are mostly zeros."""
    if isinstance(event, TrainingStarted):
        return replace(event, device=f"{platform.node()}, {event.device}")
    if isinstance(event, ViewPredicted):
        return _Packed(replace(event, labels=np.zeros(0, int)), *packed_array(event.labels))
    return event


def _opened(event: Any) -> Any:
    if not isinstance(event, _Packed):
        return event
    return replace(event.event, labels=opened_array(event.shape, event.dtype, event.sent))


@dataclass(frozen=True)
class _Packed:
    """A live prediction on its way."""

    event: ViewPredicted
    shape: tuple[int, ...]
    dtype: str
    sent: bytes
