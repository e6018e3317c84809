"""Predict the files of a folder, one after the other, as a generator of events."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from napari_unet.data.axes import check_axes
from napari_unet.data.files import (
    ImageFile,
    make_folder,
    read_image,
    tiff_beside,
    write_image,
)
from napari_unet.errors import (
    ConfigError,
    DeviceError,
    FileProblemError,
    ImageError,
    NapariUNetError,
)
from napari_unet.prediction.predictor import PredictionResult, predict_image

if TYPE_CHECKING:
    import threading
    from collections.abc import Generator, Sequence

    from napari_unet.model.trained import TrainedNetwork
    from napari_unet.prediction.config import PredictConfig, ResultKind
    from napari_unet.prediction.events import PredictionEvent


@dataclass(frozen=True)
class FileStarted:
    """A file is being read.

    Parameters
    ----------
    number, total : int
        Which, from 1, of how many.
    path : Path
        The file.
    """

    number: int
    total: int
    path: Path


@dataclass(frozen=True)
class FilePredicted:
    """A result was written.

    Parameters
    ----------
    path, target : Path
        The image and its result.
    kind : {"objects", "classes", "probabilities", "uncertainty"}
        What was written.
    axes : str
        Axes of the result.
    objects : int or None
        How many, with objects.
    """

    path: Path
    target: Path
    kind: ResultKind
    axes: str
    objects: int | None


@dataclass(frozen=True)
class FileFailed:
    """A file could not be predicted; the others go on.

    Parameters
    ----------
    path : Path
        The file.
    text : str
        Why, and the remedy.
    """

    path: Path
    text: str


FileEvent = FileStarted | FilePredicted | FileFailed


def predict_files(
    trained: TrainedNetwork,
    paths: Sequence[Path],
    folder: Path,
    config: PredictConfig,
    stop: threading.Event,
) -> Generator[FileEvent | PredictionEvent, None, tuple[FilePredicted, ...]]:
    """Predict image files and write each result under the name of its input.

    Parameters
    ----------
    trained : TrainedNetwork
        The model.
    paths : sequence of Path
        The images.
    folder : Path
        Where the results go; made where it does not exist.
    config : PredictConfig
        What to predict.
    stop : threading.Event
        Set it to end after the current tile; results are written whole or not at all.

    Returns
    -------
    tuple of FilePredicted
        What was written.

    Raises
    ------
    FileProblemError
        The folder cannot be written, or a result would overwrite an image or another result.
    ConfigError, DeviceError
        The settings fit no file.
    """
    targets = _targets(paths, folder)
    written = []
    for number, (path, target) in enumerate(zip(paths, targets, strict=True), start=1):
        if stop.is_set():
            break
        yield FileStarted(number, len(paths), path)
        try:
            result = yield from _predict_file(trained, path, config, stop)
            if result.complete:
                write_image(target, result.array, result.axes)
                written.append(_written(path, target, result))
                yield written[-1]
        except (ConfigError, DeviceError):
            raise  # the same for every file
        except NapariUNetError as error:
            yield FileFailed(path, str(error))
    return tuple(written)


def _predict_file(
    trained: TrainedNetwork, path: Path, config: PredictConfig, stop: threading.Event
) -> Generator[PredictionEvent, None, PredictionResult]:
    image = read_image(path)
    axes = config.axes or _usable_axes(image, trained.record.network.ndim)
    return (yield from predict_image(trained, image.array, replace(config, axes=axes), stop))


def _targets(paths: Sequence[Path], folder: Path) -> list[Path]:
    """Name the result of each file; refuse to overwrite inputs or each other."""
    make_folder(folder)
    targets = [tiff_beside(path, folder) for path in paths]
    inputs, seen = {path.resolve() for path in paths}, set[Path]()
    for target in targets:
        if target.resolve() in inputs:
            raise FileProblemError(
                f"{target} would overwrite the image itself; choose another --output folder."
            )
        if target in seen:
            raise FileProblemError(
                f"Two images would both be written to {target}; predict their folders one by one."
            )
        seen.add(target)
    return targets


def _usable_axes(image: ImageFile, ndim: int) -> str | None:
    """Trust a file's axes where the network can read them; instruments often mistake Z for T."""
    if image.axes is None:
        return None
    try:
        check_axes(image.axes, len(image.array.shape), ndim)
    except ImageError:
        return None
    return image.axes


def _written(path: Path, target: Path, result: PredictionResult) -> FilePredicted:
    objects = int(result.array.max()) if result.kind == "objects" else None
    return FilePredicted(path, target, result.kind, result.axes, objects)
