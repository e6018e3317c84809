"""The run card of a training, and the training done again from it."""

from __future__ import annotations

import json
import threading
from dataclasses import asdict, fields
from functools import partial
from typing import TYPE_CHECKING

from pydantic import TypeAdapter, ValidationError

from napari_unet.errors import ConfigError, FileProblemError, NapariUNetError
from napari_unet.io.files import CARD_SUFFIX, read_image, read_labels
from napari_unet.model.devices import choose_device
from napari_unet.model.trained import hash_of_weights, load_network, save_network
from napari_unet.provenance.card import (
    Environment,
    LearnedFrom,
    Place,
    TrainingCard,
    card_beside_model,
    read_card,
)
from napari_unet.provenance.rerun import (
    IN_MEMORY,
    RerunReport,
    device_again,
    found_again,
    likely_causes,
    threads_of,
)
from napari_unet.run import tap
from napari_unet.training.config import TrainConfig, present_names
from napari_unet.training.dataset import AnnotatedImage
from napari_unet.training.events import StepDone, Validated
from napari_unet.training.loop import TrainingResult, train_network
from napari_unet.training.preparation import prepare_training

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping
    from pathlib import Path

    from torch import Tensor

    from napari_unet.model.trained import TrainedNetwork
    from napari_unet.provenance.card import TrainingOrigin, Weights
    from napari_unet.training.dataset import TrainingData
    from napari_unet.training.events import TrainingEvent


def card_of_training(
    result: TrainingResult,
    origin: TrainingOrigin,
    model: Path,
    card: Path,
    weights: Weights = "best",
) -> TrainingCard:
    """Return the card of a training, whose model file and card lie at `model` and `card`."""
    trained = result.trained if weights == "best" else result.latest
    history = result.trained.record.history
    kept = [entry for entry in history if entry.get("best")]
    in_memory = any(path is None for pair in origin.files for path in pair)
    return TrainingCard(
        environment=origin.environment,
        started=origin.started,
        ended=origin.ended,
        command=origin.command,
        not_repeatable=origin.not_repeatable or (IN_MEMORY if in_memory else ""),
        settings=asdict(origin.config),
        inputs=_learned_from(result.data, origin, card),
        model=Place.of(model, card),
        weights=weights,
        weights_sha256=hash_of_weights(trained.network.state_dict()),
        steps=result.state.step,
        stopped=result.stopped,
        scores=dict(kept[-1]) if kept else {},
        validated=int(history[-1]["step"] or 0) if history else 0,
    )


def _learned_from(
    data: TrainingData, origin: TrainingOrigin, card: Path
) -> tuple[LearnedFrom, ...]:
    return tuple(
        LearnedFrom(
            name=source.name,
            image=None if image is None else Place.of(image, card),
            labels=None if labels is None else Place.of(labels, card),
            axes=source.axes,
            pixel_size={axis: float(size) for axis, size in source.pixel_size.items()},
            shape=tuple(record.shape),
            image_sha256=record.image_sha256,
            labels_sha256=record.labels_sha256,
        )
        for source, record, (image, labels) in zip(
            data.sources, data.images, origin.files, strict=True
        )
    )


def is_model_as_written(path: Path) -> bool:
    """Return whether the weights in a model file are those that its run card tells of."""
    try:
        card = read_card(card_beside_model(path))
        weights = load_network(path).network.state_dict()
    except NapariUNetError:
        return False
    return isinstance(card, TrainingCard) and hash_of_weights(weights) == card.weights_sha256


def train_again(
    card: TrainingCard, path: Path, folder: Path, stop: threading.Event
) -> Generator[TrainingEvent, None, RerunReport]:
    """Train again as the card at `path` says, into a folder, and compare the weights.

    Raises ConfigError if it cannot be repeated, or an input is missing or has changed: the text
    names it. FileProblemError if the model cannot be written, or it was stopped.
    """
    if card.not_repeatable:
        raise ConfigError(f"{path.name} cannot be done again. {card.not_repeatable}")
    config = _config_again(card, path)
    data = prepare_training([_image_again(each, path) for each in card.inputs], config)
    for record, known in zip(data.images, card.inputs, strict=True):
        _check(record.image_sha256 == known.image_sha256, known.image, "pixels", path)
        _check(record.labels_sha256 == known.labels_sha256, known.labels, "labels", path)
    target = folder / (path.name.removesuffix(CARD_SUFFIX) + ".safetensors")
    if target.exists():
        raise FileProblemError(f"{target} is there already; choose another --output folder.")
    return _train_and_compare(card, path, data, config, target, stop)


def _train_and_compare(
    card: TrainingCard,
    path: Path,
    data: TrainingData,
    config: TrainConfig,
    target: Path,
    stop: threading.Event,
) -> Generator[TrainingEvent, None, RerunReport]:
    with threads_of(card.environment):
        here = Environment.of(choose_device(config.device))
        ended = threading.Event()
        events = train_network(data, config, ended)
        result = yield from tap(events, partial(_end_as_then, card, ended, stop))
    if stop.is_set() and result.state.step < card.steps:
        raise FileProblemError("It was stopped before its end: nothing is compared.")
    trained = result.trained if card.weights == "best" else result.latest
    save_network(trained, target)
    if hash_of_weights(trained.network.state_dict()) == card.weights_sha256:
        return RerunReport(True, "", target)
    causes = likely_causes(card.environment, here, _causes(card))
    return RerunReport(False, _difference(card, path, trained), target, causes)


def _end_as_then(
    card: TrainingCard, end: threading.Event, stop: threading.Event, event: object
) -> None:
    """End a training where the first one was stopped: after the same step and validation."""
    kind = Validated if card.validated == card.steps else StepDone
    reached = isinstance(event, kind) and event.step == card.steps
    if stop.is_set() or (card.stopped and reached):
        end.set()


def _config_again(card: TrainingCard, path: Path) -> TrainConfig:
    unknown = sorted(card.settings.keys() - {each.name for each in fields(TrainConfig)})
    if unknown:
        raise ConfigError(
            f"{path} has a setting {unknown[0][:100]!r} that this version does not know. Update "
            "napari-unet-paint."
        )
    try:
        config = TypeAdapter(TrainConfig).validate_json(
            json.dumps(present_names(card.settings)), strict=True
        )
    except (ValidationError, ConfigError) as error:
        reason = " ".join(str(error).splitlines()[:3])
        raise ConfigError(f"{path} has a setting that cannot be used: {reason}") from error
    if config.minutes:
        config = config.changed(minutes=0.0, steps=max(1, card.steps))
    return config.changed(device=device_again(card.environment))


def _image_again(known: LearnedFrom, card: Path) -> AnnotatedImage:
    image, labels = found_again(known.image, card), found_again(known.labels, card)
    try:
        pixels, painted = read_image(image).array, read_labels(labels)
    except NapariUNetError as error:
        raise ConfigError(str(error)) from error
    return AnnotatedImage(
        known.name, pixels, painted, axes=known.axes, pixel_size=dict(known.pixel_size)
    )


def _check(same: bool, place: Place | None, what: str, card: Path) -> None:
    if not same:
        raise ConfigError(
            f"{found_again(place, card)} has changed since: its {what} are not those of "
            f"{card.name}. Restore it, or train anew."
        )


def _difference(card: TrainingCard, path: Path, repeated: TrainedNetwork) -> str:
    """Return how far the weights are apart, where the first model is still there."""
    try:
        first = load_network(found_again(card.model, path))
    except NapariUNetError:
        return "its weights differ; the first model is gone, so it is unknown by how much"
    if hash_of_weights(first.network.state_dict()) != card.weights_sha256:
        return "its weights differ; the first model file was changed since, so it is unknown how"
    most = _largest_difference(first.network.state_dict(), repeated.network.state_dict())
    return f"its weights differ by at most {most:.3g}"


def _largest_difference(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> float:
    """Return by how much weights differ at most; infinite for those of another network."""
    if {n: w.shape for n, w in one.items()} != {n: w.shape for n, w in other.items()}:
        return float("inf")
    pairs = [(w.cpu().double(), other[n].cpu().double()) for n, w in one.items() if w.numel()]
    return max((float((a - b).abs().max()) for a, b in pairs), default=0.0)


def _causes(card: TrainingCard) -> tuple[str, ...]:
    causes = []
    start, now = (names.get("start") for names in (card.settings, present_names(card.settings)))
    if start != now:
        causes.append(f"the first training began with {start!r}, which is gone: here with {now!r}")
    if card.settings.get("minutes"):
        causes.append(
            "the first training was bounded by time, which decides its learning rate: here "
            f"{card.steps} steps were made instead"
        )
    return tuple(causes)
