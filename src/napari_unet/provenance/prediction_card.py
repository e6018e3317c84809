"""The run card of a prediction, and the prediction done again from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.data.pixel_hashes import hash_pixels
from napari_unet.errors import FileProblemError
from napari_unet.model.cards import STARTING_MODELS
from napari_unet.model.devices import choose_device
from napari_unet.model.starting import load_starting_model
from napari_unet.model.weights_hash import hash_of_weights
from napari_unet.prediction.files import FilePredicted, FileStarted
from napari_unet.provenance.card import (
    Pixels,
    Place,
    PredictionCard,
    Predictor,
    card_beside_result,
    settings_of,
    write_card,
)
from napari_unet.provenance.environment import environment_of
from napari_unet.provenance.origin import TimeSpan, now
from napari_unet.provenance.script import PredictionScript
from napari_unet.run import Notice, Run

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

    from napari_unet.model.record import ModelRecord
    from napari_unet.model.trained import TrainedNetwork
    from napari_unet.prediction.config import PredictConfig
    from napari_unet.prediction.events import PredictionEvent
    from napari_unet.prediction.files import FileEvent
    from napari_unet.prediction.results import Prediction
    from napari_unet.provenance.card import Environment, RunCard

    Events = Generator[FileEvent | PredictionEvent, None, tuple[FilePredicted, ...]]


@dataclass(frozen=True)
class UsedModel:
    """The model of a prediction, as its user named it.

    Parameters
    ----------
    name : str
        What it is called.
    path : Path or None
        Its file; None of a starting model, and of one that is in memory only.
    starting : str
        Name of a starting model, else "".
    """

    name: str
    path: Path | None = None
    starting: str = ""


def writing_cards(events: Events, trained: TrainedNetwork, model: UsedModel, device: str) -> Events:
    """Write a run card beside each result of a prediction of files; pass on all events.

    A card that cannot be written becomes a `Notice`: the result is worth more.

    Parameters
    ----------
    events : generator
        Of `predict_files`.
    trained, model : TrainedNetwork, UsedModel
        What predicts.
    device : str
        What was asked for.
    """
    environment: Environment | None = None
    started, weights = now(), ""
    run = Run(events)
    for event in run:
        if isinstance(event, FileStarted):
            started = now()
        elif isinstance(event, FilePredicted):
            environment = environment or environment_of(choose_device(device))
            weights = weights or hash_of_weights(trained.network.state_dict())
            path = card_beside_result(event.target)
            card = _card_of_file(event, model, weights, environment, TimeSpan.since(started), path)
            yield from written(card, path)
        yield event
    return run.result


def written(card: RunCard, path: Path) -> Iterator[Notice]:
    """Write a card; where that is not possible a `Notice` says so."""
    try:
        write_card(card, path)
    except FileProblemError as error:
        yield Notice(f"The result is written, but not its run card: {error}")


def _card_of_file(
    done: FilePredicted,
    model: UsedModel,
    weights: str,
    environment: Environment,
    span: TimeSpan,
    card: Path,
) -> PredictionCard:
    place = None if model.path is None else Place.of(model.path, card)
    return PredictionCard(
        environment=environment,
        started=span.started,
        ended=span.ended,
        command=_command_of_file(done, model),
        settings=settings_of(done.config),
        model=Predictor(
            name=model.name, place=place, starting=model.starting, weights_sha256=weights
        ),
        name=done.path.name,
        image=Place.of(done.path, card),
        image_pixels=Pixels.of(done.image),
        result=Place.of(done.target, card),
        result_pixels=Pixels.of(done.result),
        kind=done.kind,
        axes=done.axes,
        objects=done.objects,
    )


def _command_of_file(done: FilePredicted, model: UsedModel) -> str:
    if not model.starting and model.path is None:
        return ""
    script = PredictionScript(
        model.starting or str(model.path),
        str(done.path),
        str(done.target.parent),
        done.config,
        done.axes,
        file_format="zarr" if done.target.is_dir() else "tiff",
    )
    return script.command().strip()


def starting_name(record: ModelRecord) -> str:
    """Return the name of the starting model that a record is of; "" of other models."""
    for name, card in STARTING_MODELS.items():
        if card.path.is_file() and load_starting_model(name).record == record:
            return name
    return ""


def card_of_window(
    trained: TrainedNetwork,
    model: UsedModel,
    image: tuple[str, Any, Path | None],
    result: Prediction,
    config: PredictConfig,
    started: str,
) -> PredictionCard:
    """Say what was predicted from a layer; arrays in memory are hashed, others not read again.

    Parameters
    ----------
    trained, model : TrainedNetwork, UsedModel
        By what.
    image : (str, ArrayLike, Path or None)
        Name, pixels and, where they come from one, the file.
    result : Prediction
        What came of it.
    config : PredictConfig
        How.
    started : str
        When: see `now`.
    """
    name, pixels, origin = image
    path = result.path
    in_memory = isinstance(pixels, np.ndarray) and not isinstance(pixels, np.memmap)
    span = TimeSpan.since(started)
    return PredictionCard(
        environment=environment_of(choose_device(config.device)),
        started=span.started,
        ended=span.ended,
        command="",
        not_repeatable="It was predicted from a layer of napari. Use 'Copy as script' there.",
        settings=settings_of(config),
        model=Predictor(
            name=model.name,
            place=None,
            starting=model.starting,
            weights_sha256=hash_of_weights(trained.network.state_dict()),
        ),
        name=name,
        image=None if origin is None else Place(path=str(origin)),
        image_pixels=Pixels.of(hash_pixels(pixels)) if in_memory else None,
        result=None if path is None else Place.of(path, card_beside_result(path)),
        result_pixels=Pixels.of(hash_pixels(result.array)),
        kind=result.kind,
        axes=result.axes,
        objects=result.objects,
    )
