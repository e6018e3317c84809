"""Find, pair, read and write image files."""

from __future__ import annotations

import glob
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.data.axes import UNKNOWN_SIZE, PixelSize, channels_of
from napari_unet.errors import (
    ARRAY,
    MAPPING,
    PATH,
    TEXT,
    ConfigError,
    FileProblemError,
    accepting,
)
from napari_unet.io import tiff_files
from napari_unet.io.disk import reading, replacing, short_reason, why_not_written
from napari_unet.io.lazy import read_npy, read_npz
from napari_unet.io.limits import check_fits_memory, check_regular
from napari_unet.io.names import natural_key, pair_names
from napari_unet.io.pictures import (
    PICTURE_SUFFIXES,
    check_keeps_numbers,
    indices_of_palette,
    read_picture,
)
from napari_unet.io.tiff_files import place_on_map, read_tiff, save_tiff
from napari_unet.io.tiff_sets import TIFF_SUFFIXES, file_of, once_per_set, split_chosen
from napari_unet.io.zarr_files import (
    ZARR_SUFFIX,
    holds_labels,
    images_in,
    is_zarr_node,
    open_zarr,
    split_zarr,
    stem_in_zarr,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from napari_unet.data.axes import ArrayLike

IMAGE_SUFFIXES = (*TIFF_SUFFIXES, *PICTURE_SUFFIXES, ".npy", ".npz", ZARR_SUFFIX)
_MOST_CHUNKS = 10**6  # of an array that is read whole
_UNFINISHED = ".partial"  # what our own half-written files and folders are called
CARD_SUFFIX = ".run.json"  # run cards lie beside results, and are never meant as images


@dataclass(frozen=True)
class ImageFile:
    """An image as it lies on disk."""

    path: Path
    array: ArrayLike
    """Its pixels, axes as stored; not yet read where the file is large or a Zarr folder."""
    axes: str | None
    """Letters TCZYX where the file names its axes, else None."""
    pixel_size: PixelSize = field(default_factory=dict)
    """Micrometres along those of ``ZYX`` whose size the file gives."""
    notices: tuple[str, ...] = ()
    """What the user should know of how it is read."""
    holds_labels: bool = False
    """Whether it says that its pixels are numbers of objects or classes."""


def find_images(paths: Sequence[str | Path]) -> list[Path]:
    """Expand files, Zarr folders, folders and globs to images, in natural order.

    A folder whose name ends in ``.zarr``, and whatever is named inside of it (a level, labels), is
    one image, and a plate or a well all its fields. Hidden and half-written files are left out of
    folders and globs. A path that does not exist, or where nothing readable is found, raises
    FileProblemError.
    """
    found: set[Path] = set()
    for entry in map(str, paths):
        path = _expanded(entry)
        if file_of(path).is_file() or (
            _in_zarr(path) and (path.exists() or not glob.has_magic(entry))
        ):
            found.add(path)
        elif path.is_dir():
            inside = {p for p in path.iterdir() if _is_image(p)}
            if not inside:
                raise FileProblemError(
                    f"The folder {path} holds no image ({', '.join(IMAGE_SUFFIXES)})."
                )
            found |= inside
        else:
            matches = {Path(p) for p in glob.glob(str(path)) if _is_match(Path(p))}
            if not matches:
                if path.exists():
                    check_regular(path)
                raise FileProblemError(f"There is no file or folder {path}.")
            found |= matches
    found = without_run_cards(found)
    found = {image for path in found for image in (images_in(path) if _in_zarr(path) else [path])}
    once = {spelled_once(path): path for path in sorted(found)}.values()
    return once_per_set(in_natural_order(once))


def spelled_once(path: Path) -> Path:
    """Return a path as it stands for all spellings of it; links to one file are several files."""
    split = split_zarr(path)
    whole, inside = (path, "") if split is None else split
    return whole.parent.resolve() / whole.name / inside


def _expanded(entry: str) -> Path:
    """Return a path with the home folder in place of ``~``; refuse what can be none."""
    try:
        path = Path(entry).expanduser()
        path.exists()
    except (OSError, RuntimeError, ValueError) as error:  # too long, or an unknown user
        raise FileProblemError(f"Cannot read {entry}: {short_reason(error)}.") from error
    return path


def _in_zarr(path: Path) -> bool:
    """Return whether a path leads to or into an existing Zarr folder; a level may be missing."""
    split = split_zarr(path)
    return split is not None and split[0].is_dir()


def _is_finished(path: Path) -> bool:
    return path.name[0] != "." and path.suffix != _UNFINISHED and not is_run_card(path)


def is_run_card(path: Path) -> bool:
    """Return whether a file is a run card, by its name."""
    return path.name.endswith(CARD_SUFFIX)


def without_run_cards(found: set[Path]) -> set[Path]:
    """Leave out the run cards that a shell's * names too, unless there is nothing else."""
    return {path for path in found if not is_run_card(path)} or found


def _is_image(path: Path) -> bool:
    suffix = path.suffix.lower()
    is_there = path.is_dir() if suffix == ZARR_SUFFIX else path.is_file()
    return suffix in IMAGE_SUFFIXES and _is_finished(path) and is_there


def _is_match(path: Path) -> bool:
    """Return whether what a glob found is taken for an image: any file, and what is a Zarr."""
    split = split_zarr(path)
    if split is None or not split[0].is_dir():
        return path.is_file() and _is_finished(path)
    return _is_finished(split[0]) and (not split[1] or is_zarr_node(path))


def name_of(path: Path) -> str:
    """Return the file name of an image; for a part of a Zarr folder with the folder's name."""
    split = split_zarr(path)
    return path.name if split is None else "/".join(filter(None, [split[0].name, split[1]]))


def stem_of(path: Path) -> str:
    """Return the name of an image without the suffixes of its format; see `stem_in_zarr`.

    Examples
    --------
    >>> [stem_of(Path(name)) for name in ("a.tif", "a.ome.tif", "a.ome.zarr", "a.zarr/labels/b")]
    ['a', 'a', 'a', 'a']
    """
    if split_zarr(path) is not None:
        return stem_in_zarr(path)
    file, chosen = split_chosen(path)
    is_ome = file.stem.lower().endswith(".ome") and len(file.stem) > len(".ome")
    stem = file.stem[: -len(".ome")] if is_ome else file.stem
    return f"{stem}_{chosen}" if chosen else stem


def in_natural_order(paths: Iterable[Path]) -> list[Path]:
    """Sort images by name, numbers in names as numbers: img2 before img10."""
    return sorted(
        paths, key=lambda p: (natural_key(stem_of(p)), natural_key(name_of(p)), natural_key(str(p)))
    )


def pair_files(
    images: Sequence[Path], labels: Sequence[Path], first: str = "images", second: str = "labels"
) -> list[tuple[Path, Path]]:
    """Pair two lists of files by their stems (see `stem_of`), as `pair_names` says.

    One file pairs with one file, whatever their names. Files without a partner, or of which no name
    tells which is meant, raise FileProblemError, which lists them.
    """
    if len(images) == len(labels) == 1:
        return [(images[0], labels[0])]
    by_stem = {stem_of(path): path for path in labels}
    stems = {stem_of(path): path for path in images}
    names = pair_names(list(stems), list(by_stem))
    pairs = [(stems[name], by_stem[other]) for name, other in names.items()]
    if len(pairs) == len(images) == len(labels):
        partner = dict(pairs)
        return [(path, partner[path]) for path in images]
    paired = {path for pair in pairs for path in pair}
    odd = [name_of(path) for path in (*images, *labels) if path not in paired]
    if len(stems) < len(images) or len(by_stem) < len(labels):
        why = f"names that occur twice; without a partner: {_some(odd)}."
    else:
        why = f"without a partner: {_some(odd)}."
    if len(images) == len(labels):
        would = map("{} would go with {}".format, map(name_of, images), map(name_of, labels))
        why += f" In order, {_some(list(would), '; ')}. Name them alike if they belong together."
    raise FileProblemError(
        f"{len(images)} {first} and {len(labels)} {second} do not pair by name; {why}"
    )


def _some(names: Sequence[str], between: str = ", ") -> str:
    return between.join(names[:10]) + (" ..." if len(names) > 10 else "")


@accepting(path=PATH)
def read_image(path: str | Path) -> ImageFile:
    """Read a TIFF, PNG, JPEG, JPEG 2000, BMP or NumPy file, or open a Zarr folder.

    Of a Zarr folder, and of a TIFF or NumPy file of more than 256 MB of pixels, nothing is read
    before its array is indexed: slice it, and never call ``np.asarray`` on all of it.

    Parameters
    ----------
    path : str or Path
        The file; ``image.zarr``, a level ``image.zarr/1`` or labels ``image.zarr/labels/NAME``;
        ``image.tif#2``, the second image of a TIFF.

    Raises
    ------
    FileProblemError
        The file is missing, damaged or of an unknown format.
    """
    path = Path(path)
    suffix = file_of(path).suffix.lower()
    check_regular(file_of(path))
    try:
        if split_zarr(path) is not None:
            return ImageFile(path, *open_zarr(path), holds_labels=holds_labels(path))
        if suffix in TIFF_SUFFIXES:
            return ImageFile(path, *read_tiff(path))
        if suffix == ".npy":
            return ImageFile(path, read_npy(path, tiff_files.LARGE), None)
        if suffix == ".npz":
            return ImageFile(path, read_npz(path), None)
        if suffix in PICTURE_SUFFIXES:
            return ImageFile(path, *read_picture(path))
    except FileProblemError:
        raise
    except Exception as error:  # decoders of damaged files raise whatever they come upon
        reason = short_reason(error)
        raise FileProblemError(
            f"Cannot read {path}: it is damaged, or of another format ({reason})."
        ) from error
    raise FileProblemError(f"{path} has an unknown format; use one of {', '.join(IMAGE_SUFFIXES)}.")


def open_labels(path: str | Path, axes: str | None = None) -> ImageFile:
    """Open a label image, lazily as `read_image`; the indices of a palette PNG are its labels.

    A channel axis of length 1, as many programs write it into OME-Zarr, stays. Axes that are named
    are believed rather than the file, which may call three frames colours. Errors are those of
    `read_image`; a file of colours instead of label numbers is another.
    """
    path = Path(path)
    check_regular(file_of(path))
    check_keeps_numbers(path)
    if path.suffix.lower() == ".png":
        numbers = indices_of_palette(path)
        if numbers is not None:
            return ImageFile(path, numbers, "YX")
    image = read_image(path)
    if axes is not None and len(axes) == len(image.array.shape):
        image = replace(image, axes=axes)
    if channels_of(image.array.shape, image.axes or "") > 1:
        may_be_frames = not (image.axes or "").endswith("C")
        remedy = ", or name their axes if they are frames, such as TYX" * may_be_frames
        raise FileProblemError(
            f"{path} holds colours, not label numbers; save the labels as a grey image{remedy}."
        )
    return image


@accepting(path=PATH, axes=TEXT)
def read_labels(path: str | Path, axes: str | None = None) -> NDArray[Any]:
    """Read a whole label image into memory, without a channel axis.

    Parameters
    ----------
    path : str or Path
        The file, as of `read_image`.
    axes : str, optional
        Its axes, such as ``TYX``, where the file names them wrongly.

    Raises
    ------
    FileProblemError
        As `open_labels`.
    """
    return labels_in(open_labels(path, axes))


def labels_in(image: ImageFile) -> NDArray[Any]:
    """Read all labels of what `open_labels` opened, without a channel axis."""
    labels = in_memory(image)
    return labels.squeeze((image.axes or "").index("C")) if "C" in (image.axes or "") else labels


def in_memory(image: ImageFile) -> NDArray[Any]:
    """Read all pixels of an image, however large it is.

    A lazily opened file that turns out to be damaged, or does not fit into memory, raises
    FileProblemError.
    """
    check_fits_memory(image.path, image.array.shape, image.array.dtype)
    chunks = getattr(image.array, "nchunks", 0)
    if chunks > _MOST_CHUNKS:
        raise FileProblemError(
            f"Cannot read {image.path} into memory: its metadata declares {chunks} chunks. "
            "Save it with larger ones."
        )
    with reading(image.path):
        return np.asarray(image.array[...])


@accepting(path=PATH, array=ARRAY, axes=TEXT, pixel_size=MAPPING, like=PATH)
def write_image(
    path: str | Path,
    array: NDArray[Any],
    axes: str,
    pixel_size: PixelSize = UNKNOWN_SIZE,
    like: str | Path | None = None,
) -> None:
    """Write a compressed TIFF that says its axes and pixel size; `read_image` knows them again.

    Parameters
    ----------
    path : str or Path
        The file; one that is there is replaced.
    array : ndarray
        The pixels.
    axes : str
        Letters TCZYX, one per axis.
    pixel_size : mapping of str to float
        Micrometres along those of ``ZYX`` whose size is known.
    like : str or Path, optional
        A file on the same pixels: where it is a GeoTIFF, this one lies in the same place on the
        map.

    Raises
    ------
    FileProblemError
        The file cannot be written.
    """
    if len(axes) != len(array.shape):
        raise ConfigError(f"axes is {axes!r} for an array of shape {array.shape}; name each axis.")
    _write(Path(path), array, axes, pixel_size, tiff_files.IMAGE, like)


def write_labels(
    path: str | Path,
    labels: NDArray[Any],
    axes: str,
    pixel_size: PixelSize = UNKNOWN_SIZE,
    like: str | Path | None = None,
) -> None:
    """Write a TIFF as `write_image` does, which says that its pixels are labels."""
    _write(Path(path), labels, axes, pixel_size, tiff_files.LABELS, like)


def _write(
    path: Path,
    array: NDArray[Any],
    axes: str,
    pixel_size: PixelSize,
    software: str,
    like: str | Path | None,
) -> None:
    tags = () if like is None else place_on_map(Path(like))
    try:
        with replacing(path) as file:
            save_tiff(file, path.name, array, axes, pixel_size, software, tags)
    except (OSError, ValueError) as error:
        raise FileProblemError(why_not_written(path, error)) from error


def tiff_beside(path: Path, folder: Path) -> Path:
    """Return the TIFF file of a folder in which the result of an input file is written."""
    is_tiff = path.suffix.lower() in TIFF_SUFFIXES and split_zarr(path) is None
    return folder / (path.name if is_tiff else f"{stem_of(path)}.tif")
