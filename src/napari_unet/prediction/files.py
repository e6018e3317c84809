"""Predict the files of a folder, one after the other, as a generator of events."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_unet.data.axes import unusable_axes, usable_axes
from napari_unet.data.finer import finer_size
from napari_unet.data.pixel_hashes import PixelHash, hash_pixels
from napari_unet.errors import (
    ConfigError,
    DeviceError,
    FileProblemError,
    NotEnoughMemoryError,
    reason_of,
)
from napari_unet.io.disk import write_csv
from napari_unet.io.files import (
    ImageFile,
    in_memory,
    read_image,
    stem_of,
    tiff_beside,
    write_image,
    write_labels,
)
from napari_unet.io.ome_zarr import check_replaceable, groups_of, is_ours
from napari_unet.io.outputs import (
    and_more,
    card_beside_result,
    check_apart,
    check_free,
    columns_of,
    make_output_folder,
)
from napari_unet.io.tiff_sets import file_of
from napari_unet.io.zarr_files import ZARR_SUFFIX, images_in, split_zarr, well_of
from napari_unet.objects.measurements import measure_objects
from napari_unet.prediction.config import cell_size_known
from napari_unet.prediction.predictor import predict_image
from napari_unet.prediction.proposals import with_cell_size

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Generator, Sequence
    from pathlib import Path

    from napari_unet.model.trained import TrainedNetwork
    from napari_unet.prediction.config import PredictConfig, ResultKind
    from napari_unet.prediction.results import Prediction, PredictionEvent

    # Predicts an image file into an OME-Zarr in another way than here: on a cluster.
    IntoZarr = Callable[
        [ImageFile, PredictConfig, Path, threading.Event],
        Generator[PredictionEvent, None, Prediction],
    ]
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    Columns = dict[str, NDArray[Any]]

FileFormat = Literal["auto", "tiff", "zarr"]
# Images of more values than this are predicted into an OME-Zarr unless a TIFF is asked for.
_LARGEST_IN_MEMORY = 2**28
_FILES_LOOKED_AT = 100_000


@dataclass(frozen=True)
class FileStarted:
    """A file is being read."""

    number: int
    """Which file, from 1."""
    path: Path


@dataclass(frozen=True)
class FilePredicted:
    """A result was written."""

    path: Path
    target: Path
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
    names: tuple[str, ...] = ()
    """Of classes in layers."""


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
    may_replace: Callable[[Path], bool] | None = None,
) -> Generator[FileEvent | PredictionEvent, None, tuple[FilePredicted, ...]]:
    """Predict image files and write each result under the name of its input.

    Axes and pixel size are those of each file where none are given. Results are written whole or
    not at all, also after a stop, which ends it after the current tile; the folder is made where it
    does not exist. The format "auto" is OME-Zarr for images that are Zarr or too large to be held
    in memory, else TIFF. Of each well of a plate whose fields were all predicted as objects a table
    measures them: ``A1.csv``; of objects of several classes one beside each result. A file that
    fails, for whatever reason, is told by `FileFailed`, and the others go on.

    What lies where a result would go is replaced if it has a run card beside it, and
    ``may_replace`` finds that it is what that card tells of; without ``may_replace`` in any case.

    Raises FileProblemError, before anything is predicted, if the folder cannot be written, or a
    result would overwrite an image, or, where ``may_replace`` is given, what has no run card; other
    errors of ours where the settings fit no file.
    """
    if config.cell_size:
        cell_size_known(trained.record, config.cell_size)
    make_output_folder(folder)
    _check_names(paths, folder)
    if may_replace is not None:
        _check_ours(earlier_results(paths, folder, file_format))
    written = []
    first_of: dict[str, Path] = {}
    for number, path in enumerate(paths, start=1):
        if stop.is_set():
            break
        yield FileStarted(number, path)
        try:
            _check_new(path, first_of.setdefault(stem_of(path), path))
            target = _target_of(image := read_image(path), folder, file_format)
            _check_unchanged(target, may_replace)
            done = yield from _predict_file(trained, image, config, stop, target, into_zarr)
            if done is not None:
                written.append(done)
                yield done
        except NotEnoughMemoryError as error:
            yield FileFailed(path, str(error))
        except (ConfigError, DeviceError):
            raise  # the same for every file
        except Exception as error:  # one odd file among thousands may raise anything
            yield FileFailed(path, reason_of(error))
    measured = [done for done in written if done.objects is not None]
    for table, why in write_tables(measured, folder, may_replace is None):
        yield FileFailed(table, why)
    return tuple(written)


def _predict_file(
    trained: TrainedNetwork,
    image: ImageFile,
    config: PredictConfig,
    stop: threading.Event,
    target: Path,
    into_zarr: IntoZarr | None,
) -> Generator[PredictionEvent, None, FilePredicted | None]:
    """Predict one file, into memory what is to be a TIFF; None if it was stopped."""
    path = image.path
    config = _as_the_file_says(config, image, trained.record.network.ndim)
    config = yield from with_cell_size(trained, image.array, config, stop)
    if target.suffix != ZARR_SUFFIX:
        result = yield from predict_image(trained, image.array, config, stop)
    else:
        check_replaceable(target)
        result = yield from (
            into_zarr(image, config, target, stop)
            if into_zarr is not None
            else predict_image(trained, image.array, config, stop, target, identity_of(path))
        )
    if not result.complete:
        return None
    hashes: tuple[PixelHash | None, PixelHash | None]
    axes = result.axes
    if result.path is None:
        axes, pixels = result.axes_of_whole, result.whole()
        hashes = hash_pixels(image.array), hash_pixels(pixels)
        write = write_labels if result.type.is_labels else write_image
        finer = trained.record.classes.finer
        size = finer_size(config.pixel_size, finer)
        # where a GeoTIFF lies on the map is said for its own pixels
        write(target, pixels, axes, size, like=path if finer == 1 else None)
    else:
        hashes = _hash_of(path), _hash_of(target)
    return FilePredicted(
        path, target, result.kind, axes, result.objects, config, *hashes, result.names
    )


def _target_of(image: ImageFile, folder: Path, file_format: FileFormat) -> Path:
    is_for_zarr = _is_for_zarr(image, file_format)
    return _places(image.path, folder)["zarr" if is_for_zarr else "tiff"]


def _as_the_file_says(config: PredictConfig, image: ImageFile, ndim: int) -> PredictConfig:
    """Take axes and pixel size from a file where none are given."""
    notices, axes = image.notices, config.axes
    if axes is None:
        axes = usable_axes(image.axes, len(image.array.shape), ndim)
        notices += unusable_axes(image.axes, axes, ndim)
    pixel_size = config.pixel_size or image.pixel_size
    return replace(config, axes=axes, pixel_size=pixel_size, notices=notices)


def _is_for_zarr(image: ImageFile, file_format: FileFormat) -> bool:
    if file_format != "auto":
        return file_format == "zarr"
    pixels = float(np.prod(image.array.shape, dtype=float))
    return split_zarr(image.path) is not None or pixels > _LARGEST_IN_MEMORY


def _places(path: Path, folder: Path) -> dict[FileFormat, Path]:
    """Return where the result of an image file goes, by format."""
    return {"tiff": tiff_beside(path, folder), "zarr": folder / f"{stem_of(path)}{ZARR_SUFFIX}"}


def earlier_results(
    paths: Sequence[Path], folder: Path, file_format: FileFormat = "auto"
) -> list[Path]:
    """Return what lies where results of image files would go; what was interrupted goes on."""
    found = []
    for path in paths:
        places = _places(path, folder)
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


def _check_new(path: Path, first: Path) -> None:
    """Refuse a file whose result would have the name of that of the first one called so."""
    if first is not path:
        raise FileProblemError(
            f"Its result would have the name of that of {first}. Rename one of them, or give them "
            "different output folders."
        )


def _check_ours(earlier: Sequence[Path]) -> None:
    """Refuse to replace what has no run card, and may have been drawn by hand."""
    others = [
        each for each in earlier if not card_beside_result(each).exists() and not is_ours(each)
    ]
    if others:
        raise FileProblemError(
            f"{and_more(others)} there already, without a run card that says that this program "
            "wrote it: nothing was predicted. Choose another folder for the results, or replace "
            "what is there (--overwrite)."
        )


def _check_unchanged(target: Path, may_replace: Callable[[Path], bool] | None) -> None:
    """Refuse to replace an earlier result that somebody has corrected since."""
    if may_replace is None or not target.exists():
        return
    if card_beside_result(target).exists() and not may_replace(target):
        raise FileProblemError(
            f"{target} is not what its run card tells of: it was changed after this program wrote "
            "it. Choose another folder for the results, or replace it (--overwrite)."
        )


def identity_of(path: Path) -> str:
    """Return what identifies a file and its present contents.

    Of a Zarr folder the newest change of the files in it counts, of up to 100,000 of them.
    """
    status = file_of(path).stat()
    newest = status.st_mtime_ns
    if path.is_dir():
        inside = islice(path.rglob("*"), _FILES_LOOKED_AT)
        newest = max((file.stat().st_mtime_ns for file in inside), default=newest)
    return f"{path.resolve()} {status.st_size} {newest}"


def _check_names(paths: Sequence[Path], folder: Path) -> None:
    """Refuse to overwrite inputs; of two of one name the second is refused at its turn."""
    targets = dict.fromkeys(target for path in paths for target in _places(path, folder).values())
    check_apart([*targets], paths, "another folder for the results")


# --- Tables of all fields of a well of a plate, and of objects of several classes -----------------


def write_tables(
    predicted: Sequence[FilePredicted], folder: Path, overwrite: bool
) -> Iterator[tuple[Path, str]]:
    """Write ``A1.csv`` of each well whose fields were all predicted: field, and measurements.

    Of objects of several classes also one of each image that belongs to no well. Unless it is to be
    overwritten, a file that is there is replaced only if it has the same columns, as one that this
    program wrote before. Yields each that was not written, and why.
    """
    wells: dict[tuple[str, Path], list[FilePredicted]] = {}
    for done in predicted:
        if well := well_of(done.path):
            wells.setdefault(well, []).append(done)
    whole = {
        name: fields
        for (name, place), fields in wells.items()
        if {done.path for done in fields} >= set(images_in(place))
    }
    whole |= {stem_of(e.path): [e] for e in predicted if e.names and not well_of(e.path)}
    for name, fields in whole.items():
        table = folder / f"{name}.csv"
        try:
            columns = _joined([_measured(done) for done in fields])
            if not overwrite and columns_of(table) != [*columns]:
                check_free([table], "another folder for the results")
            write_csv(columns, table)
        except Exception as error:  # one odd well of a plate may raise anything
            yield table, reason_of(error)


def _measured(done: FilePredicted) -> Columns:
    """Measure the objects of one field, those of several classes one class after the other."""
    layers = [_table_of(done, labels) for labels in _layers_of(done)]
    table = _joined(layers)
    fields = np.full(len(table["index"]), stem_of(done.path), object)
    if not done.names:
        return {"field": fields, **table}
    counts = [len(each["index"]) for each in layers]
    classes = np.repeat(np.array(done.names, object), counts)
    return {"field": fields, "index": table.pop("index"), "class": classes, **table}


def _layers_of(done: FilePredicted) -> Sequence[NDArray[Any]]:
    if done.target.suffix == ZARR_SUFFIX:
        groups = groups_of(done.target, done.names)
        return [in_memory(read_image(group)) for group in groups]
    labels = in_memory(read_image(done.target))
    return [*labels] if done.names else [labels]


def _table_of(done: FilePredicted, labels: NDArray[Any]) -> Columns:
    axes, sizes = done.axes.replace("C", ""), done.config.pixel_size
    ndim = 3 if "Z" in axes else 2
    known = all(axis in sizes for axis in axes[-ndim:])
    scale = [sizes.get(axis, 1.0) for axis in axes] if known else []
    units = ["um" if axis in sizes else "pixel" for axis in axes] if known else []
    return measure_objects(labels, scale=scale, units=units, spatial_ndim=ndim)


def _joined(tables: Sequence[Columns]) -> Columns:
    """Put tables below each other, with the columns that all of them have."""
    names = [name for name in tables[0] if all(name in table for table in tables)]
    return {name: np.concatenate([table[name] for table in tables]) for name in names}
