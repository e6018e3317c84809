"""The run card of a prediction, and the prediction done again from it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.data.pixel_hashes import hash_pixels
from napari_unet.errors import ConfigError, FileProblemError, NapariUNetError
from napari_unet.external.importing import load_any_model
from napari_unet.io.files import read_image
from napari_unet.io.outputs import card_beside_result
from napari_unet.model.devices import choose_device
from napari_unet.model.starting import load_starting_model, starting_name
from napari_unet.model.trained import hash_of_weights
from napari_unet.prediction.files import FileFailed, FilePredicted, FileStarted, predict_files
from napari_unet.provenance.card import (
    Environment,
    ModelUsed,
    Place,
    PredictionCard,
    card_settings,
    config_of,
    now,
    read_card,
    write_card,
)
from napari_unet.provenance.rerun import (
    RerunReport,
    device_again,
    found_again,
    likely_causes,
    threads_of,
)
from napari_unet.provenance.script import PredictionScript
from napari_unet.run import Notice, Run, tap

if TYPE_CHECKING:
    import threading
    from collections.abc import Generator, Iterator
    from pathlib import Path

    from napari_unet.model.trained import TrainedNetwork
    from napari_unet.prediction.config import PredictConfig
    from napari_unet.prediction.files import FileEvent, FileFormat
    from napari_unet.prediction.results import Prediction, PredictionEvent
    from napari_unet.provenance.card import RunCard

    Events = Generator[FileEvent | PredictionEvent, None, tuple[FilePredicted, ...]]


def writing_cards(
    events: Events, trained: TrainedNetwork, name: str, path: Path | None, device: str
) -> Events:
    """Write a run card beside each result of `predict_files`; pass on all events.

    A card that cannot be written becomes a `Notice`: the result is worth more. `name` is what the
    model is called, `path` its file; None of a starting model, and of one that is in memory only.
    `device` is what was asked for.
    """
    environment: Environment | None = None
    started, weights = now(), ""
    starting = "" if path else starting_name(trained.record)
    run = Run(events)
    for event in run:
        if isinstance(event, FileStarted):
            started = now()
            # Not between result and card: who is killed there leaves a result that is not ours.
            environment = environment or Environment.of(choose_device(device))
            weights = weights or hash_of_weights(trained.network.state_dict())
        elif isinstance(event, FilePredicted) and environment is not None:
            card = card_beside_result(event.target)
            place = None if path is None else Place.of(path, card)
            model = ModelUsed(name=name, place=place, starting=starting, weights_sha256=weights)
            yield from written(_card_of_file(event, model, environment, started, card), card)
        yield event
    return run.result


def is_as_written(result: Path) -> bool:
    """Return whether the pixels of a result are those that its run card tells of.

    Without a card, or with one that cannot be read, it is not known to be ours.
    """
    try:
        card = read_card(card_beside_result(result))
        if not isinstance(card, PredictionCard):
            return False
        if card.result_pixels is None:  # several images in one Zarr have no hash
            return True
        return card.result_pixels == hash_pixels(read_image(result).array)
    except Exception:  # decoders of damaged files raise whatever they come upon
        return False


def written(card: RunCard, path: Path) -> Iterator[Notice]:
    """Write a card; where that is not possible a `Notice` says so."""
    try:
        write_card(card, path)
    except FileProblemError as error:
        yield Notice(f"The result is written, but not its run card: {error}")


def _card_of_file(
    done: FilePredicted, model: ModelUsed, environment: Environment, started: str, card: Path
) -> PredictionCard:
    return PredictionCard(
        environment=environment,
        started=started,
        ended=now(),
        command=_command_of_file(done, model),
        settings=card_settings(done.config),
        model=model,
        name=done.path.name,
        image=Place.of(done.path, card),
        image_pixels=done.image,
        result=Place.of(done.target, card),
        result_pixels=done.result,
        kind=done.kind,
        axes=done.axes,
        objects=done.objects,
    )


def _command_of_file(done: FilePredicted, model: ModelUsed) -> str:
    if not model.starting and model.place is None:
        return ""
    script = PredictionScript(
        model.starting or (model.place.path if model.place else ""),
        str(done.path),
        str(done.target.parent),
        done.config,
        done.axes,
        file_format="zarr" if done.target.is_dir() else "tiff",
    )
    return script.command().strip()


def card_of_window(
    trained: TrainedNetwork,
    model: str,
    image: tuple[str, Any, Path | None],
    result: Prediction,
    config: PredictConfig,
    started: str,
) -> PredictionCard:
    """Say what was predicted from a layer; arrays in memory are hashed, others not read again.

    `model` is what it is called; `image` name, pixels and, where they come from one, the file.
    """
    name, pixels, origin = image
    path = result.path
    in_memory = isinstance(pixels, np.ndarray) and not isinstance(pixels, np.memmap)
    return PredictionCard(
        environment=Environment.of(choose_device(config.device)),
        started=started,
        ended=now(),
        command="",
        not_repeatable="It was predicted from a layer of napari. Use 'Copy as script' there.",
        settings=card_settings(config),
        model=ModelUsed(
            name=model,
            place=None,
            starting=starting_name(trained.record),
            weights_sha256=hash_of_weights(trained.network.state_dict()),
        ),
        name=name,
        image=None if origin is None else Place(path=str(origin)),
        image_pixels=hash_pixels(pixels) if in_memory else None,
        result=None if path is None else Place.of(path, card_beside_result(path)),
        result_pixels=hash_pixels(result.array),
        kind=result.kind,
        axes=result.axes,
        objects=result.objects,
    )


def predict_again(
    card: PredictionCard, path: Path, folder: Path, stop: threading.Event
) -> Generator[FileEvent | PredictionEvent, None, RerunReport]:
    """Predict again as the card at `path` says, into a folder, and compare the pixels.

    Raises ConfigError if it cannot be repeated, or image or model are missing or have changed: the
    text names them. FileProblemError if the result cannot be written, or it was stopped.
    """
    if card.not_repeatable or card.result is None:
        raise ConfigError(f"{path.name} cannot be done again. {card.not_repeatable}".strip())
    image = found_again(card.image, path)
    trained = _model_again(card.model, path)
    config = _config_again(card, path)
    target = folder / card.result.found_from(path).name
    if target.exists():
        raise FileProblemError(f"{target} is there already; choose another --output folder.")
    _check_image(image, card)
    with threads_of(card.environment):
        here = Environment.of(choose_device(config.device))
        file_format: FileFormat = "zarr" if target.suffix == ".zarr" else "tiff"
        done = yield from tap(
            predict_files(trained, [image], folder, config, stop, file_format), _raise_failure
        )
    if not done:
        raise FileProblemError("It was stopped before its end: nothing is compared.")
    return _compared(card, path, done[0], here)


def _raise_failure(event: object) -> None:
    """Of the one file that there is, a failure is an error."""
    if isinstance(event, FileFailed):
        raise FileProblemError(event.text)


def _compared(
    card: PredictionCard, path: Path, done: FilePredicted, here: Environment
) -> RerunReport:
    """Compare the files too where the hashes differ, or are of samples."""
    found = done.result
    alike = found is not None and found == card.result_pixels
    if alike and not (found and found.sampled):
        return RerunReport(True, "", done.target)
    try:
        difference = _difference(card, path, done.target)
    except NapariUNetError:
        if alike:
            boxes = "64 boxes of it, the first is gone"
            return RerunReport(True, "", done.target, compared=boxes)
        difference = "its pixels differ; the first result is gone or changed, so it is unknown how"
    causes = likely_causes(card.environment, here) if difference else ()
    return RerunReport(not difference, difference, done.target, causes)


def _difference(card: PredictionCard, path: Path, second: Path) -> str:
    """Say in how many pixels the files differ, read plane by plane; "" where in none.

    Raises FileProblemError, or what a reader raises, where the first is gone or was changed.
    """
    first = None if card.result is None else card.result.found_from(path)
    if first is None or hash_pixels(read_image(first).array) != card.result_pixels:
        raise FileProblemError("It was changed since.")
    one, other = read_image(first).array, read_image(second).array
    if tuple(one.shape) != tuple(other.shape):
        return f"its shape is {tuple(other.shape)}, that of the first {tuple(one.shape)}"
    differing, most = 0, 0.0
    for number in range(one.shape[0]):
        mine, its = np.asarray(one[number]), np.asarray(other[number])
        unequal = mine != its
        if unequal.any():
            differing += int(np.count_nonzero(unequal))
            apart = np.abs(mine.astype(np.float64) - its.astype(np.float64))
            most = max(most, float(apart.max()))
    if not differing:
        return ""
    text = f"{differing} of {int(np.prod(one.shape))} pixels differ"
    return f"{text} by at most {most:.3g}" if np.dtype(one.dtype).kind == "f" else text


def _model_again(known: ModelUsed, card: Path) -> TrainedNetwork:
    if known.starting:
        trained, name = load_starting_model(known.starting), f"The starting model {known.starting}"
    else:
        place = found_again(known.place, card)
        trained, name = load_any_model(str(place)), str(place)
    if hash_of_weights(trained.network.state_dict()) != known.weights_sha256:
        raise ConfigError(
            f"{name} has changed since: its weights are not those of {card.name}. Restore it, or "
            "predict anew."
        )
    return trained


def _config_again(card: PredictionCard, path: Path) -> PredictConfig:
    try:
        return config_of(card.settings, device_again(card.environment))
    except ConfigError as error:
        raise ConfigError(f"{path} has settings that cannot be used: {error}") from error


def _check_image(image: Path, card: PredictionCard) -> None:
    """Tell before the work what would be in vain."""
    try:
        pixels = hash_pixels(read_image(image).array)
    except NapariUNetError as error:
        raise ConfigError(str(error)) from error
    if card.image_pixels is not None and pixels != card.image_pixels:
        raise ConfigError(
            f"{image} has changed since: its pixels are not those of the card. Restore it, or "
            "predict anew."
        )
