"""Write what lies in memory only to a folder, so that a script of a run is complete."""

from __future__ import annotations

import contextlib
import itertools
import math
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.data.axes import SPATIAL_AXES, frame_axes
from napari_unet.data.labels import fill_regions
from napari_unet.data.pixel_hashes import hash_pixels
from napari_unet.errors import FileProblemError, NapariUNetError
from napari_unet.io.disk import megabytes, why_not_written
from napari_unet.io.files import ImageFile, in_natural_order, read_image, stem_of, write_image
from napari_unet.io.outputs import make_output_folder
from napari_unet.model.starting import starting_name
from napari_unet.model.trained import save_network
from napari_unet.provenance.script import PredictionScript, TrainingScript
from napari_unet.training.sources import axes_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from napari_unet.data.axes import ArrayLike, PixelSize
    from napari_unet.model.trained import TrainedNetwork
    from napari_unet.prediction.config import PredictConfig
    from napari_unet.training.config import PresetName, TrainConfig
    from napari_unet.training.dataset import AnnotatedImage

_LARGEST = 2**28  # pixels of an image that is written as a copy
_FORBIDDEN = '<>:"/\\|?*'


def bundle_training(
    folder: Path,
    images: Sequence[AnnotatedImage],
    files: Sequence[Path | None],
    config: TrainConfig,
    preset: PresetName,
) -> TrainingScript:
    """Write the labels of a training, and images that no file holds as they are; return the script.

    `files` are where the images come from, as far as that is known. All goes to a new folder
    "script" ("script 2", ...) in the given one: nothing is replaced.

    Raises FileProblemError if a file cannot be written, or an image is too large for a copy;
    NapariUNetError if labels do not match their image.
    """
    axes = [axes_of(image, config.ndim) for image in images]
    found = [
        file if file is not None and _holds(file, image.image, own[0], image.pixel_size) else None
        for file, image, own in zip(files, images, axes, strict=True)
    ]
    with _new_folder(folder) as own_folder:
        places = _places(found, [image.name for image in images], own_folder)
        labels = [own_folder / "labels" / f"{stem_of(place)}.tif" for place in places]
        for place, target, image, own in zip(places, labels, images, axes, strict=True):
            if place not in found:
                _write(place, image.image, own[0], image.pixel_size)
            painted = image.labels
            if config.unpainted == "unlabelled":
                painted = fill_regions(painted, image.regions)
            _write(target, np.asarray(painted), own[1], image.pixel_size)
    return TrainingScript(
        tuple(map(str, places)),
        tuple(map(str, labels)),
        str(own_folder / "model.safetensors"),
        config,
        preset,
        tuple(own[0] for own in axes),
        tuple(dict(image.pixel_size) for image in images),
        notes=_notes(images, config),
    )


def _places(found: Sequence[Path | None], names: Sequence[str], folder: Path) -> list[Path]:
    """Name the files of the images so that they pair with labels, and sort as they are."""
    places = [
        file or folder / "images" / f"{_file_stem(name)}.tif"
        for file, name in zip(found, names, strict=True)
    ]
    in_order = in_natural_order(places) == places
    if in_order and len({stem_of(path) for path in places}) == len(places):
        return places
    digits = len(str(len(names)))
    return [
        folder / "images" / f"{number:0{digits}} {_file_stem(name)}.tif"
        for number, name in enumerate(names, start=1)
    ]


def _notes(images: Sequence[AnnotatedImage], config: TrainConfig) -> tuple[str, ...]:
    if not any(i.corrected is not None and i.corrected.any() for i in images):
        return ()
    return (
        f"In the window, pixels that were corrected count {config.correction_weight:g} times; here "
        "they count once, so the weights differ.",
    )


def bundle_prediction(
    folder: Path,
    model: TrainedNetwork,
    name: str,
    image: ArrayLike,
    file: Path | None,
    config: PredictConfig,
) -> PredictionScript:
    """Write the model, unless it is bundled, and the image, unless `file` holds it.

    `config` has the axes of the image. All goes to a new folder: see `bundle_training`.

    Raises FileProblemError if a file cannot be written, or the image is too large for a copy.
    """
    axes, size = config.axes or "", config.pixel_size
    starting, ndim = starting_name(model.record), model.record.network.ndim
    with _new_folder(folder) as own_folder:
        weights = starting or str(own_folder / "model.safetensors")
        if not starting:
            save_network(model, Path(weights))
        if file is not None and _holds(file, image, None, {}):
            own = read_image(file)
            place, own_axes, size = file, own.axes, own.pixel_size
        else:
            place, own_axes = own_folder / "images" / f"{_file_stem(name)}.tif", axes
            _write(place, image, axes, size)
    bands = "C" if config.result == "probabilities" else ""
    return PredictionScript(
        weights,
        str(place),
        str(own_folder / "results"),
        config,
        frame_axes(axes, ndim) + bands + SPATIAL_AXES[ndim],
        bool(starting),
        own_axes,
        size,
    )


@contextlib.contextmanager
def _new_folder(parent: Path) -> Iterator[Path]:
    """Make a folder that nothing else is in; where it cannot be filled, it goes again."""
    make_output_folder(parent)
    names = itertools.chain(["script"], (f"script {number}" for number in itertools.count(2)))
    folder = next(path for path in map(parent.joinpath, names) if _made(path))
    try:
        yield folder
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _made(folder: Path) -> bool:
    """Make a folder; return whether the name was free."""
    try:
        folder.mkdir()
    except FileExistsError:
        return False
    except OSError as error:
        raise FileProblemError(
            f"{why_not_written(folder, error)} Choose another folder."
        ) from error
    return True


def _holds(file: Path, pixels: ArrayLike, axes: str | None, size: PixelSize) -> bool:
    """Return whether a file holds these pixels; where axes are given, also those and this size."""
    try:
        found = read_image(file)
        if axes is not None and (found.axes != axes or dict(found.pixel_size) != dict(size)):
            return False
        return _same_pixels(found, pixels)
    except NapariUNetError:
        return False


def _same_pixels(file: ImageFile, pixels: ArrayLike) -> bool:
    shape, dtype = tuple(pixels.shape), np.dtype(pixels.dtype)
    if tuple(file.array.shape) != shape or np.dtype(file.array.dtype) != dtype:
        return False
    if math.prod(shape) > _LARGEST:  # boxes of both
        return hash_pixels(_Lazy(file.array)).sha256 == hash_pixels(_Lazy(pixels)).sha256
    return bool(np.array_equal(np.asarray(file.array[...]), np.asarray(pixels[...])))


class _Lazy:
    """An array of which `hash_pixels` reads boxes, wherever it lies."""

    def __init__(self, array: ArrayLike) -> None:
        self._array, self.shape, self.dtype = array, tuple(array.shape), array.dtype

    def __getitem__(self, key: Any, /) -> Any:
        return np.asarray(self._array[key])


def _write(target: Path, pixels: ArrayLike, axes: str, size: PixelSize) -> None:
    if math.prod(pixels.shape) > _LARGEST:
        total = megabytes(math.prod(pixels.shape) * np.dtype(pixels.dtype).itemsize)
        raise FileProblemError(
            f"{target.stem} has {total} and lies in no file that can be read as it is: save it as "
            "an OME-Zarr with its axes and pixel size, and open that."
        )
    make_output_folder(target.parent)
    write_image(target, np.asarray(pixels[...]), axes, size)


def _file_stem(name: str) -> str:
    """Return a name for a file, of the name of a layer."""
    kept = "".join("-" if c in _FORBIDDEN or not c.isprintable() else c for c in name)
    return stem_of(Path(kept.strip(" .")[:100] or "image"))


def files_of(paths: Sequence[str | None]) -> tuple[Path | None, ...]:
    """Return the paths of layers that exist."""
    return tuple(Path(path) if path and Path(path).exists() else None for path in paths)
