"""A prediction done again from its run card."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from napari_unet.data.pixel_hashes import hash_pixels
from napari_unet.errors import ConfigError, FileProblemError, NapariUNetError
from napari_unet.external.importing import load_any_model
from napari_unet.io.files import read_image
from napari_unet.model.devices import choose_device
from napari_unet.model.starting import load_starting_model
from napari_unet.model.weights_hash import hash_of_weights
from napari_unet.prediction.files import FileFailed, predict_files
from napari_unet.provenance.card import Pixels, config_of
from napari_unet.provenance.environment import environment_of
from napari_unet.provenance.rerun_report import RerunReport, in_words
from napari_unet.provenance.training_card import device_again, found_again, threads_of
from napari_unet.run import tap

if TYPE_CHECKING:
    import threading
    from collections.abc import Generator
    from pathlib import Path

    from napari_unet.model.trained import TrainedNetwork
    from napari_unet.prediction.config import PredictConfig
    from napari_unet.prediction.events import PredictionEvent
    from napari_unet.prediction.files import FileEvent, FileFormat
    from napari_unet.provenance.card import Environment, PredictionCard, Predictor


def predict_again(
    card: PredictionCard, path: Path, folder: Path, stop: threading.Event
) -> Generator[FileEvent | PredictionEvent, None, RerunReport]:
    """Predict again as a card says, and compare the pixels.

    Parameters
    ----------
    card : PredictionCard
        What was predicted.
    path : Path
        Where the card lies.
    folder : Path
        Where the new result goes.
    stop : threading.Event
        Set it to give up.

    Raises
    ------
    ConfigError
        It cannot be repeated, or image or model are missing or have changed: the text names
        them.
    FileProblemError
        The result cannot be written, or it was stopped.
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
        here = environment_of(choose_device(config.device))
        file_format: FileFormat = "zarr" if target.suffix == ".zarr" else "tiff"
        done = yield from tap(
            predict_files(trained, [image], folder, config, stop, file_format), _raise_failure
        )
    if not done:
        raise FileProblemError("It was stopped before its end: nothing is compared.")
    found = Pixels.of(done[0].result)
    if found is not None and found == card.result_pixels and not found.sampled:
        return RerunReport(True, "", done[0].target)
    return _compared(card, path, RerunReport(False, "", done[0].target), found, here)


def _raise_failure(event: object) -> None:
    """Of the one file that there is, a failure is an error."""
    if isinstance(event, FileFailed):
        raise FileProblemError(event.text)


def _compared(
    card: PredictionCard, path: Path, again: RerunReport, found: Pixels | None, here: Environment
) -> RerunReport:
    """Compare files where the hashes differ, or are of samples."""
    first = None if card.result is None else card.result.found_from(path)
    same_samples = found is not None and found == card.result_pixels
    try:
        if first is None or Pixels.of(hash_pixels(read_image(first).array)) != card.result_pixels:
            raise FileProblemError("It was changed since.")
        difference = difference_of(first, again.output)
    except NapariUNetError:
        if same_samples:
            return replace(again, identical=True, compared="64 boxes of it, the first is gone")
        difference = "its pixels differ; the first result is gone or changed, so it is unknown how"
    if not difference:
        return replace(again, identical=True)
    again = replace(again, difference=difference)
    return replace(again, causes=in_words(card.environment, here, again))


def difference_of(first: Path, second: Path) -> str:
    """Say in how many pixels two files differ, read plane by plane; "" where in none.

    Raises
    ------
    FileProblemError
        A file cannot be read.
    """
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


def _model_again(known: Predictor, card: Path) -> TrainedNetwork:
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
        pixels = Pixels.of(hash_pixels(read_image(image).array))
    except NapariUNetError as error:
        raise ConfigError(str(error)) from error
    if card.image_pixels is not None and pixels != card.image_pixels:
        raise ConfigError(
            f"{image} has changed since: its pixels are not those of the card. Restore it, or "
            "predict anew."
        )
