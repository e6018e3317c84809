"""The array files of a project folder: written under fresh names, read as data only."""

from __future__ import annotations

import contextlib
import os
import re
import time
import uuid
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import psutil

from napari_unet.errors import FileProblemError
from napari_unet.io.disk import machine_id, sync_folder
from napari_unet.io.files import in_memory, read_image

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

ANNOTATIONS, IMAGES = "annotations", "images"
_LARGEST_CLASSIC_TIFF = 2**31  # compressed or not, to be safe
# Unlikely as a name of the user's own files: what matches and is out of use is deleted.
# A save is known by its machine and process, and a number that makes it unique.
_OUR_NAME = re.compile(
    r"[0-9]+-save([0-9]+|-(?P<machine>[0-9a-f]{8})-(?P<process>[0-9]+)-[0-9a-f]{8})"
    r"(-corrected)?\.(tif|npy)"
)
_LONGEST_SAVE = 3600.0  # seconds, of a program that still runs, or on another machine


class ArrayWriter:
    """Write the arrays of one save beside those of previous saves, and delete those at the end.

    The project folder and its subfolders are made if missing. A subfolder that is a link raises
    FileProblemError: deleting would reach out of the project.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.written: list[Path] = []
        for name in (ANNOTATIONS, IMAGES):
            (folder / name).mkdir(parents=True, exist_ok=True)
            if (folder / name).is_symlink():
                raise FileProblemError(
                    f"{folder / name} is a link to another folder; remove it, or save the "
                    "project elsewhere."
                )
        self._save = f"save-{machine_id()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"

    def write_annotation(self, number: int, labels: NDArray[Any]) -> str:
        """Write the annotation of image `number`; return its name relative to the folder."""
        return self._write(f"{ANNOTATIONS}/{number}-{self._save}", labels, "zlib", rgb=False)

    def write_corrected(self, number: int, corrected: NDArray[np.bool_]) -> str:
        """Write the corrected pixels of image `number`, as 0 and 1."""
        stem = f"{ANNOTATIONS}/{number}-{self._save}-corrected"
        return self._write(stem, corrected.astype(np.uint8), "zlib", rgb=False)

    def write_pixels(self, number: int, image: NDArray[Any], rgb: bool) -> str:
        """Write an image, uncompressed: noise hardly shrinks, and autosaving should not wait."""
        return self._write(f"{IMAGES}/{number}-{self._save}", image, None, rgb)

    def sync(self) -> None:
        """Make sure that what this save wrote outlives a power cut."""
        for folder in {path.parent for path in self.written}:
            sync_folder(folder)

    def take_back(self) -> None:
        """Delete what this save wrote."""
        _delete(self.written)

    def sweep(self, named: Iterable[str]) -> None:
        """Delete the files of previous saves, except those named relative to the folder.

        What another program may be writing now, to name it afterwards, stays too.
        """
        kept = {path.resolve() for path in (*self.written, *map(self.folder.joinpath, named))}
        _delete(p for p in self._files() if p.resolve() not in kept and _is_abandoned(p))

    def _files(self) -> list[Path]:
        found = [p for name in (ANNOTATIONS, IMAGES) for p in (self.folder / name).iterdir()]
        return [path for path in found if _OUR_NAME.fullmatch(path.name)]

    def _write(
        self, stem: str, array: NDArray[Any], compression: Literal["zlib"] | None, rgb: bool
    ) -> str:
        import tifffile  # on use: windows open without it

        name = stem + (".tif" if _fits_tiff(array, rgb) else ".npy")
        path = self.folder / name
        with path.open("xb") as file:
            self.written.append(path)
            try:
                if path.suffix == ".npy":
                    np.save(file, array, allow_pickle=False)
                else:
                    tifffile.imwrite(
                        file,
                        array,
                        compression=compression,
                        photometric="rgb" if rgb else "minisblack",
                        bigtiff=array.nbytes > _LARGEST_CLASSIC_TIFF,
                    )
            except ValueError as error:
                raise FileProblemError(
                    f"An array of dtype {array.dtype} and shape {array.shape} cannot be saved "
                    f"({error}); convert it, for example to uint16 or float32."
                ) from error
            file.flush()
            os.fsync(file.fileno())
        return name


def read_array(folder: Path, name: str, shape: Sequence[int]) -> NDArray[Any]:
    """Read an array of a project by its name relative to the folder, with slashes.

    Raises FileProblemError if the name leads out of the folder, or the file is missing, damaged or
    of another shape than it was saved with.
    """
    path = check_inside(folder, name)
    if not path.is_file():
        raise FileProblemError(
            f"The project {folder} lacks its file {name}; restore it from a copy."
        )
    array = in_memory(read_image(path))
    if array.shape != tuple(shape):  # a cut-off TIFF is read as far as it goes
        raise FileProblemError(
            f"{path} is damaged: its shape is {array.shape}, it was saved with {tuple(shape)}. "
            "Restore it from a copy."
        )
    return array


def check_inside(folder: Path, name: str) -> Path:
    """Return the path of a file of a project, which no link leads out of the folder.

    A name that is no plain relative one or too long, and a link that leads out, raise
    FileProblemError.
    """
    path = path_inside(folder, name)
    try:
        inside = path.resolve().is_relative_to(folder.resolve())
        path.is_file()
    except (OSError, RuntimeError) as error:  # too long, or a circle of links
        reason = getattr(error, "strerror", None) or error
        raise FileProblemError(f"Cannot read {path}: {reason}.") from error
    if not inside:
        raise FileProblemError(f"{path} is a link that leads out of the project; replace it.")
    return path


def path_inside(folder: Path, name: str) -> Path:
    """Join a stored relative name to its folder.

    A name that is no plain relative one, on any operating system, raises FileProblemError.
    """
    if not is_plain_name(name):
        raise FileProblemError(
            f"The project {folder} names the file {name!r}, which is not inside it. Open only "
            "projects that napari-unet-paint saved."
        )
    return folder.joinpath(*PurePosixPath(name).parts)


def is_plain_name(name: str) -> bool:
    """Return whether a name with slashes leads into a folder, whatever the operating system."""
    windows = PureWindowsPath(name)  # takes both kinds of slashes
    plain = not windows.anchor and ".." not in windows.parts and "\0" not in name
    return plain and bool(PurePosixPath(name).parts)


def _fits_tiff(array: NDArray[Any], rgb: bool) -> bool:
    # A single pixel of five axes is written as a TIFF that cannot be read.
    if array.ndim < 2 or array.size < 2 or array.dtype.kind not in "uif":
        return False
    if array.dtype.itemsize > 8:
        return False
    # Readers of TIFF drop transparency; other channels would make a page of each row.
    return not rgb or (array.dtype.kind == "u" and array.ndim >= 3 and array.shape[-1] == 3)


def _is_abandoned(path: Path) -> bool:
    """Return whether no save will name a file any more; this program saves one at a time."""
    found = _OUR_NAME.fullmatch(path.name)
    if found is not None and found["machine"] == machine_id():
        process = int(found["process"])
        if process == os.getpid() or not psutil.pid_exists(process):
            return True
    try:
        return time.time() - path.stat().st_mtime > _LONGEST_SAVE
    except OSError:  # another program deleted it
        return False


def _delete(paths: Iterable[Path]) -> None:
    for path in list(paths):
        with contextlib.suppress(OSError):  # in use on Windows: the next save sweeps it
            path.unlink()
