"""What a project folder holds: ``project.json``, strictly, and arrays, read as data only.

Each save writes its arrays under fresh names, and then ``project.json`` all at once or not at all.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
import uuid
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import psutil
from pydantic import BaseModel, ConfigDict, ValidationError

from napari_unet.data.labels import Kind
from napari_unet.errors import FileProblemError
from napari_unet.io.disk import machine_id, replace_file, sync_folder
from napari_unet.io.files import in_memory, read_image

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

FORMAT_VERSION = 1
PROJECT_FILE = "project.json"
LARGEST_JSON = 64 * 2**20
_LONGEST_PLACE = 200  # of what a hostile file says, in the message that refuses it
ANNOTATIONS, IMAGES = "annotations", "images"
_LARGEST_CLASSIC_TIFF = 2**31  # compressed or not, to be safe
# Unlikely as a name of the user's own files: what matches and is out of use is deleted.
# A save is known by its machine and process, and a number that makes it unique.
_OUR_NAME = re.compile(
    r"[0-9]+-save([0-9]+|-(?P<machine>[0-9a-f]{8})-(?P<process>[0-9]+)-[0-9a-f]{8})"
    r"(-corrected)?\.(tif|npy)"
)
_LONGEST_SAVE = 3600.0  # seconds, of a program that still runs, or on another machine


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class StoredArray(_Strict):
    """An array in a file of its own: its name relative to the folder, and its shape."""

    file: str
    shape: tuple[int, ...]


class StoredImage(_Strict):
    """A `ProjectImage`."""

    name: str
    image_path: str  # absolute, or an address
    image_inside: str  # instead of it: relative to the folder, with slashes
    image: StoredArray | None
    labels_name: str
    labels: StoredArray | None
    corrected: StoredArray | None
    regions: tuple[tuple[tuple[int, int], ...], ...]
    kind: Kind
    class_names: dict[int, str]
    class_colours: dict[int, str]
    used: bool
    rgb: bool
    scale: tuple[float, ...]
    translate: tuple[float, ...]
    units: tuple[str, ...]
    axis_labels: tuple[str, ...]


class StoredProject(_Strict):
    """A `Project`."""

    format_version: int
    saved: str
    preset: str
    model_name: str
    settings: dict[str, Any]
    images: tuple[StoredImage, ...]


def write_stored(content: Mapping[str, Any], folder: Path) -> None:
    """Replace the ``project.json`` of a folder by the fields of a `StoredProject` as plain values.

    Values that JSON cannot hold, that are not finite or too long raise FileProblemError: the
    content could not be read again.
    """
    path = folder / PROJECT_FILE
    try:
        text = json.dumps(content, allow_nan=False, indent=1).encode()
    except (TypeError, ValueError) as error:
        raise FileProblemError(f"The project in {folder} cannot be saved: {error}.") from error
    if len(text) > LARGEST_JSON:
        raise FileProblemError(
            f"The project in {folder} cannot be saved: its settings take {len(text)} bytes, "
            f"{LARGEST_JSON} are allowed. Remove some images."
        )
    _parse(text, path)  # what would not open again must not replace what does
    replace_file(path, text)


def read_stored(folder: Path) -> StoredProject:
    """Read the ``project.json`` of a folder.

    Raises FileProblemError if it is missing, too large, damaged, or of a later version.
    """
    path = folder / PROJECT_FILE
    try:
        size = path.stat().st_size
        if size > LARGEST_JSON:
            raise FileProblemError(
                f"{path} has {size} bytes, more than a project; open another folder."
            )
        content = path.read_bytes()
    except OSError as error:
        raise FileProblemError(
            f"Cannot read the project {path}: {error.strerror or error}. Choose a folder with a "
            f"{PROJECT_FILE}."
        ) from error
    return _parse(content, path)


def _parse(content: bytes, path: Path) -> StoredProject:
    try:
        plain = json.loads(content)
        version = plain.get("format_version") if isinstance(plain, dict) else None
        if type(version) is not int or version != FORMAT_VERSION:
            raise FileProblemError(
                f"{path} has project format {repr(version)[:_LONGEST_PLACE]}; this version reads "
                f"{FORMAT_VERSION}. Update napari-unet-paint."
            )
        return StoredProject.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))[:_LONGEST_PLACE]
        raise FileProblemError(
            f"{path} does not fit at {place!r}: {first['msg']}. Restore it from a copy."
        ) from error
    except (ValueError, RecursionError) as error:
        raise FileProblemError(f"{path} is damaged: {error}. Restore it from a copy.") from error


# --- Arrays ------------------------------------------------------------------------------------


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
