"""Find, pair, read and write image files."""

from __future__ import annotations

import contextlib
import glob
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tifffile
from PIL import Image

from napari_unet.errors import FileProblemError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

TIFF_SUFFIXES = (".tif", ".tiff")
_LARGEST_CLASSIC_TIFF = 2**31  # compressed or not, to be safe
IMAGE_SUFFIXES = (*TIFF_SUFFIXES, ".png", ".npy")


@dataclass(frozen=True)
class ImageFile:
    """An image as it lies on disk.

    Parameters
    ----------
    path : Path
        Where.
    array : ndarray
        Its pixels, axes as stored.
    axes : str or None
        Axes where the file names them (letters TCZYX), else None.
    """

    path: Path
    array: NDArray[Any]
    axes: str | None


def find_images(paths: Sequence[str | Path]) -> list[Path]:
    """Expand files, folders and globs to image files, sorted by name.

    Raises
    ------
    FileProblemError
        A path does not exist, or nothing readable is found.
    """
    found: set[Path] = set()
    for entry in map(str, paths):
        path = Path(entry).expanduser()
        if path.is_dir():
            inside = {
                p
                for p in path.iterdir()
                if p.suffix.lower() in IMAGE_SUFFIXES and p.name[0] != "." and p.is_file()
            }
            if not inside:
                raise FileProblemError(
                    f"The folder {path} holds no image ({', '.join(IMAGE_SUFFIXES)})."
                )
            found |= inside
        elif path.is_file():
            found.add(path)
        else:
            matches = {Path(match) for match in glob.glob(str(path)) if Path(match).is_file()}
            if not matches:
                raise FileProblemError(f"There is no file or folder {path}.")
            found |= matches
    once = {path.resolve(): path for path in sorted(found)}  # however it was spelled
    return sorted(once.values(), key=lambda path: (path.name, str(path)))


def pair_files(
    images: Sequence[Path], labels: Sequence[Path], first: str = "images", second: str = "labels"
) -> list[tuple[Path, Path]]:
    """Pair two lists of files by sorted file name.

    Files of equal stems belong together. Where no stem is shared (``a_image.tif`` and
    ``a_labels.tif``), equally long lists are paired in order.

    Raises
    ------
    FileProblemError
        Some files have no partner; the text lists them.
    """
    by_stem = {path.stem: path for path in labels}
    stems = {path.stem for path in images}
    shared = stems & set(by_stem)
    if not shared and len(images) == len(labels):
        return list(zip(images, labels, strict=True))
    odd = [p.name for p in images if p.stem not in shared]
    odd += [p.name for p in labels if p.stem not in shared]
    if odd or len(stems) != len(images) or len(by_stem) != len(labels):
        shown = ", ".join(odd[:10]) + (" ..." if len(odd) > 10 else "")
        raise FileProblemError(
            f"{len(images)} {first} and {len(labels)} {second} do not pair by name; without a "
            f"partner: {shown or 'names that occur twice'}."
        )
    return [(path, by_stem[path.stem]) for path in images]


def read_image(path: Path) -> ImageFile:
    """Read a TIFF, PNG or NumPy file.

    Raises
    ------
    FileProblemError
        The file is missing, damaged or of an unknown format.
    """
    suffix = path.suffix.lower()
    try:
        if suffix in TIFF_SUFFIXES:
            return _read_tiff(path)
        if suffix == ".npy":
            return _read_npy(path)
        if suffix == ".png":
            return _read_png(path)
    except Exception as error:  # decoders of damaged files raise whatever they come upon
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise FileProblemError(f"Cannot read {path}: {reason}") from error
    raise FileProblemError(f"{path} has an unknown format; use one of {', '.join(IMAGE_SUFFIXES)}.")


def read_labels(path: Path) -> NDArray[Any]:
    """Read a label image; the indices of a palette PNG are its labels.

    Raises
    ------
    FileProblemError
        As `read_image`; or the file holds colours instead of label numbers.
    """
    if path.suffix.lower() == ".png":
        with contextlib.suppress(OSError), Image.open(path) as picture:
            if picture.mode == "P":
                return np.asarray(picture)
    image = read_image(path)
    if image.axes is not None and "C" in image.axes:
        raise FileProblemError(
            f"{path} holds colours, not label numbers; save the labels as a grey image."
        )
    return image.array


def _read_tiff(path: Path) -> ImageFile:
    with tifffile.TiffFile(path) as file:
        series = file.series[0]
        array = series.asarray()
        axes = series.axes.replace("S", "C")  # tifffile calls colour samples S
    if axes.endswith("C") and array.shape[-1] == 4:  # transparency says nothing about cells
        array = array[..., :3]
    known = set(axes) <= set("TCZYX") and len(set(axes)) == len(axes) == array.ndim
    return ImageFile(path, array, axes if known else None)


def _read_npy(path: Path) -> ImageFile:
    array = np.load(path, allow_pickle=False)
    if not isinstance(array, np.ndarray):
        raise ValueError("it is an archive of arrays, not one array")
    return ImageFile(path, array, None)


def _read_png(path: Path) -> ImageFile:
    with Image.open(path) as picture:
        if picture.mode in ("P", "RGBA"):
            array = np.asarray(picture.convert("RGB"))  # without transparency
        elif picture.mode == "LA":
            array = np.asarray(picture.convert("L"))
        else:
            array = np.asarray(picture)
    return ImageFile(path, array, "YXC" if array.ndim == 3 else "YX")


def write_image(path: Path, array: NDArray[Any], axes: str) -> None:
    """Write a compressed TIFF that says its axes.

    Raises
    ------
    FileProblemError
        The file cannot be written.
    """
    temporary = path.with_name(f".{path.name}.partial")
    try:
        tifffile.imwrite(
            temporary,
            array,
            compression="zlib",
            metadata={"axes": axes},
            photometric="minisblack",
            bigtiff=array.nbytes > _LARGEST_CLASSIC_TIFF,
        )
        temporary.replace(path)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise FileProblemError(f"Cannot write {path}: {reason}.") from error
    finally:
        temporary.unlink(missing_ok=True)


def make_folder(folder: Path) -> None:
    """Make a folder for results, and make sure that files can be written there.

    Raises
    ------
    FileProblemError
        It cannot be made, or not be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileProblemError(
            f"Cannot write to {folder}: {error.strerror or error}. Choose another folder."
        ) from error
    check_writable(folder)


def tiff_beside(path: Path, folder: Path) -> Path:
    """Return the TIFF file of a folder in which the result of an input file is written."""
    return folder / (path.name if path.suffix.lower() in TIFF_SUFFIXES else f"{path.stem}.tif")


def check_writable(folder: Path) -> None:
    """Make sure, before long work, that files can be written to a folder.

    Raises
    ------
    FileProblemError
        They cannot.
    """
    probe = folder / f".{uuid.uuid4().hex}.tmp"
    try:
        probe.touch(exist_ok=False)
        probe.unlink()
    except OSError as error:
        raise FileProblemError(
            f"Cannot write to {folder}: {error.strerror or error}. Choose another folder."
        ) from error
