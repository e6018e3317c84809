"""Predict the files of a folder, one after the other, as a generator of events."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np

from napari_unet.data.axes import unusable_axes, usable_axes
from napari_unet.data.pixel_hashes import PixelHash, hash_pixels
from napari_unet.errors import (
    ConfigError,
    DeviceError,
    FileProblemError,
    NapariUNetError,
)
from napari_unet.io.files import (
    ImageFile,
    make_folder,
    read_image,
    stem_of,
    tiff_beside,
    write_image,
)
from napari_unet.io.ome_zarr import check_replaceable
from napari_unet.io.zarr_files import ZARR_SUFFIX, split_zarr
from napari_unet.prediction.plan import cell_size_known
from napari_unet.prediction.predictor import predict_image

if TYPE_CHECKING:
    import threading
    from collections.abc import Generator, Sequence
    from pathlib import Path

    from napari_unet.model.trained import TrainedNetwork
    from napari_unet.prediction.config import PredictConfig, ResultKind
    from napari_unet.prediction.results import Prediction, PredictionEvent

FileFormat = Literal["auto", "tiff", "zarr"]
# Images of more values than this are predicted into an OME-Zarr unless a TIFF is asked for.
_LARGEST_IN_MEMORY = 2**28
_FILES_LOOKED_AT = 100_000


class IntoZarr(Protocol):
    """Predicts an image file into an OME-Zarr in another way than here: on a cluster."""

    def __call__(
        self, image: ImageFile, config: PredictConfig, target: Path, stop: threading.Event
    ) -> Generator[PredictionEvent, None, Prediction]:
        """Give the events of a prediction; its result is returned."""
        ...


@dataclass(frozen=True)
class FileStarted:
    """A file is being read."""

    number: int
    """Which file, from 1, of how many."""
    total: int
    path: Path


@dataclass(frozen=True)
class FilePredicted:
    """A result was written."""

    path: Path
    """The image."""
    target: Path
    """The result."""
    kind: ResultKind
    axes: str
    """Of the result."""
    objects: int | None
    """Number of objects; None for other kinds of result."""
    config: PredictConfig
    """How it was predicted: with the axes and the pixel size of the file."""
    image: PixelHash | None
    """Hash of the pixels of the image; None where they could not be read again."""
    result: PixelHash | None
    """Likewise of the result."""


@dataclass(frozen=True)
class FileFailed:
    """A file could not be predicted; the others go on."""

    path: Path
    text: str
    """Why, and the remedy."""


FileEvent = FileStarted | FilePredicted | FileFailed


def predict_files(
    trained: TrainedNetwork,
    paths: Sequence[Path],
    folder: Path,
    config: PredictConfig,
    stop: threading.Event,
    file_format: FileFormat = "auto",
    into_zarr: IntoZarr | None = None,
) -> Generator[FileEvent | PredictionEvent, None, tuple[FilePredicted, ...]]:
    """Predict image files and write each result under the name of its input.

    Parameters
    ----------
    folder : Path
        Where the results go; made where it does not exist.
    config : PredictConfig
        What to predict. Axes and pixel size are those of each file where none are given.
    stop : threading.Event
        Set it to end after the current tile; results are written whole or not at all.
    file_format : {"auto", "tiff", "zarr"}
        "auto" writes OME-Zarr for images that are Zarr or too large to be held in memory, else
        TIFF.
    into_zarr : callable, optional
        Predicts one image into an OME-Zarr; in this process by default.

    Raises
    ------
    FileProblemError
        The folder cannot be written, or a result would overwrite an image.
    ConfigError, DeviceError, ModelMismatchError
        The settings fit no file.
    """
    if config.cell_size:
        cell_size_known(trained.record, config.cell_size)
    make_folder(folder)
    _check_names(paths, folder)
    work = _Work(trained, folder, config, file_format, into_zarr)
    written = []
    for number, path in enumerate(paths, start=1):
        if stop.is_set():
            break
        yield FileStarted(number, len(paths), path)
        try:
            _check_new(path, paths[: number - 1])
            done = yield from work.predict(path, stop)
            if done is not None:
                written.append(done)
                yield done
        except (ConfigError, DeviceError):
            raise  # the same for every file
        except NapariUNetError as error:
            yield FileFailed(path, str(error))
    return tuple(written)


@dataclass(frozen=True)
class _Work:
    """What is the same for all files."""

    trained: TrainedNetwork
    folder: Path
    config: PredictConfig
    file_format: FileFormat
    into_zarr: IntoZarr | None

    def predict(
        self, path: Path, stop: threading.Event
    ) -> Generator[PredictionEvent, None, FilePredicted | None]:
        """Predict one file and write its result; None if it was stopped."""
        image = read_image(path)
        ndim = self.trained.record.network.ndim
        notices, axes = image.notices, self.config.axes
        if axes is None:
            axes = usable_axes(image.axes, len(image.array.shape), ndim)
            notices += unusable_axes(image.axes, axes, ndim)
        config = replace(
            self.config,
            axes=axes,
            pixel_size=self.config.pixel_size or image.pixel_size,
            notices=notices,
        )
        result = yield from self._events(image, config, stop)
        if not result.complete:
            return None
        hashes: tuple[PixelHash | None, PixelHash | None]
        if result.path is None:
            target, pixels = tiff_beside(path, self.folder), result.whole()
            write_image(target, pixels, result.axes, config.pixel_size)
            hashes = hash_pixels(image.array), hash_pixels(pixels)
        else:
            target, hashes = result.path, (_hash_of(path), _hash_of(result.path))
        return FilePredicted(
            path, target, result.kind, result.axes, result.objects, config, *hashes
        )

    def _events(
        self, image: ImageFile, config: PredictConfig, stop: threading.Event
    ) -> Generator[PredictionEvent, None, Prediction]:
        """Predict into memory what is to be a TIFF."""
        if not self._is_for_zarr(image):
            return predict_image(self.trained, image.array, config, stop)
        target = self.folder / f"{stem_of(image.path)}{ZARR_SUFFIX}"
        check_replaceable(target)
        if self.into_zarr is not None:
            return self.into_zarr(image, config, target, stop)
        source = identity_of(image.path)
        return predict_image(self.trained, image.array, config, stop, target, source)

    def _is_for_zarr(self, image: ImageFile) -> bool:
        if self.file_format != "auto":
            return self.file_format == "zarr"
        pixels = float(np.prod(image.array.shape, dtype=float))
        return split_zarr(image.path) is not None or pixels > _LARGEST_IN_MEMORY


def earlier_results(
    paths: Sequence[Path], folder: Path, file_format: FileFormat = "auto"
) -> list[Path]:
    """Return what lies where results of image files would go; what was interrupted goes on."""
    found = []
    for path in paths:
        places = {
            "tiff": tiff_beside(path, folder),
            "zarr": folder / f"{stem_of(path)}{ZARR_SUFFIX}",
        }
        likely: FileFormat = "tiff" if places["tiff"].exists() and not split_zarr(path) else "zarr"
        place = places[likely if file_format == "auto" else file_format]
        found += [place] * place.exists()
    return found


def _hash_of(path: Path) -> PixelHash | None:
    """Read a few boxes of an image or a result again, which is whole whether that works or not."""
    try:
        return hash_pixels(read_image(path).array)
    except Exception:  # storage that fails raises whatever it comes upon
        return None


def _check_new(path: Path, before: Sequence[Path]) -> None:
    """Refuse a file whose result would have the name of another one's."""
    for other in before:
        if stem_of(other) == stem_of(path):
            raise FileProblemError(
                f"Its result would have the name of that of {other}. Rename one of them, or give "
                "them different output folders."
            )


def identity_of(path: Path) -> str:
    """Return what identifies a file and its present contents.

    Of a Zarr folder the newest change of the files in it counts, of up to 100,000 of them.
    """
    status = path.stat()
    newest = status.st_mtime_ns
    if path.is_dir():
        inside = islice(path.rglob("*"), _FILES_LOOKED_AT)
        newest = max((file.stat().st_mtime_ns for file in inside), default=newest)
    return f"{path.resolve()} {status.st_size} {newest}"


def _check_names(paths: Sequence[Path], folder: Path) -> None:
    """Refuse to overwrite inputs."""
    inputs = {path.resolve() for path in paths}
    for path in paths:
        for target in (tiff_beside(path, folder), folder / f"{stem_of(path)}{ZARR_SUFFIX}"):
            if target.resolve() in inputs:
                raise FileProblemError(
                    f"{target} would overwrite the image itself; choose another folder for the "
                    "results."
                )
