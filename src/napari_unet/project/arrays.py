"""The arrays of a project folder: files under names that a person would give, read as data only.

Each save writes them under names that no other save has, and ``project.json`` tells both names.
Only when that is in its place do they get their own names. So a program that is killed at any time
leaves a project that is whole: what still lies under the name of its save is the newest.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
import time
import uuid
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import psutil

from napari_unet.errors import FileProblemError
from napari_unet.io.disk import machine_id, make_folder, sync_folder
from napari_unet.io.files import in_memory, read_image

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
    from typing import BinaryIO

    from numpy.typing import NDArray

_LARGEST_CLASSIC_TIFF = 2**31  # compressed or not, to be safe
_SUFFIXES = (".tif", ".npy", ".csv")
# Unlikely as a name of the user's own files: what matches and is out of use is deleted.
# A save is known by its machine and process, and a number that makes it unique.
_SAVE = r"(?P<machine>[0-9a-f]{8})-(?P<process>[0-9]+)-[0-9a-f]{8}"
_BEING_SAVED = re.compile(rf".+ \(saving {_SAVE}\)\.(tif|npy|csv)", re.DOTALL)
_OF_EARLIER_VERSIONS = re.compile(rf"[0-9]+-save([0-9]+|-{_SAVE})(-corrected)?\.(tif|npy)")
_FOLDERS_OF_EARLIER_VERSIONS = ("annotations", "images")
_LONGEST_SAVE = 3600.0  # seconds, of a program that still runs, or on another machine
_NOT_IN_NAMES = re.compile(r'[\x00-\x1f<>:"/\\|?*]+')
_LONGEST_NAME = 120  # bytes
_LONGEST_PATH = 500  # of what a hostile file says, in the message that refuses it


@dataclass(frozen=True)
class StoredArray:
    """An array in a file of its own."""

    file: str
    """Its name relative to the folder, with slashes."""
    shape: tuple[int, ...]
    written: str = ""
    """The name that it was written under, where it lies as long as there is such a file."""

    def place(self, folder: Path) -> str:
        """Return the name that it has now."""
        is_new = self.written and check_inside(folder, self.written).is_file()
        return self.written if is_new else self.file


@contextlib.contextmanager
def locked_folder(folder: Path) -> Iterator[bool]:
    """Keep other programs from naming the files of a project; yields whether that was possible.

    The operating system ends it with the program, however that ends.
    """
    with contextlib.ExitStack() as stack:
        try:
            descriptor = _lock_of(folder)
            stack.callback(os.close, descriptor)
        except OSError:  # some shares know no locks
            yield False
            return
        yield True


if sys.platform == "win32":

    def _lock_of(folder: Path) -> int:
        flags = os.O_CREAT | os.O_EXCL | os.O_TEMPORARY  # is deleted when it is closed
        for _ in range(20):
            with contextlib.suppress(FileExistsError, PermissionError):
                return os.open(folder / ".saving", flags)
            time.sleep(0.05)
        raise OSError(f"{folder} is in use")

else:

    def _lock_of(folder: Path) -> int:
        import fcntl

        descriptor = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor


class ArrayWriter:
    """Write the arrays of one save into the folder of a project, beside those of the previous one.

    `replaceable` are the files of the project that was saved there before: only these are replaced.
    """

    def __init__(self, folder: Path, replaceable: Collection[str] = ()) -> None:
        make_folder(folder)
        self.folder = folder
        self.written: list[Path] = []
        self._replaceable = {name.casefold() for name in replaceable}
        self._stems: set[str] = set()
        self._save = f"{machine_id()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"

    def write_labels(self, stem: str, labels: NDArray[Any]) -> StoredArray:
        """Write labels, or a mask as 0 and 1."""
        numbers = labels.astype(np.uint8) if labels.dtype == bool else labels
        return self._write_image(stem, numbers, "zlib", rgb=False)

    def write_pixels(self, stem: str, image: NDArray[Any], rgb: bool) -> StoredArray:
        """Write an image, uncompressed: noise hardly shrinks, and autosaving should not wait."""
        return self._write_image(stem, image, None, rgb)

    def write_table(self, stem: str, table: NDArray[Any], columns: Sequence[str]) -> StoredArray:
        """Write rows of numbers under names of their columns."""

        def write(file: BinaryIO) -> None:
            np.savetxt(file, table, "%.17g", ",", header=",".join(columns), comments="")

        return self._write(stem, ".csv", table.shape, write)

    def sync(self) -> None:
        """Make sure that what this save wrote outlives a power cut."""
        sync_folder(self.folder)

    def take_back(self) -> None:
        """Delete what this save wrote."""
        _delete(self.written)

    def name(self, arrays: Iterable[StoredArray]) -> None:
        """Give the files of this save, which ``project.json`` names by now, their own names."""
        for array in arrays:
            with contextlib.suppress(OSError):  # in use on Windows: it is found as it is called
                os.replace(self.folder / array.written, self.folder / array.file)
        sync_folder(self.folder)

    def sweep(self, before: Iterable[str], named: Iterable[str]) -> None:
        """Delete the files of the project `before`, except those that are `named` now.

        What another program may be writing now, to name it afterwards, stays too.
        """
        with contextlib.suppress(OSError, RuntimeError):  # the project is saved, whatever is left
            kept = {path.resolve() for path in map(self.folder.joinpath, named)}
            ours = [self.folder / name for name in before if _is_own_name(name)]
            found = [*ours, *(path for path in self._unnamed() if _is_abandoned(path))]
            _delete(path for path in found if path.resolve() not in kept)
        for name in _FOLDERS_OF_EARLIER_VERSIONS:
            with contextlib.suppress(OSError):  # there is none, or not empty
                (self.folder / name).rmdir()

    def _unnamed(self) -> Iterator[Path]:
        """Find files of saves that may have ended before they were named."""
        yield from (path for path in self.folder.iterdir() if _BEING_SAVED.fullmatch(path.name))
        for folder in map(self.folder.joinpath, _FOLDERS_OF_EARLIER_VERSIONS):
            if folder.is_dir() and not folder.is_symlink():
                yield from (p for p in folder.iterdir() if _OF_EARLIER_VERSIONS.fullmatch(p.name))

    def _write_image(
        self, stem: str, array: NDArray[Any], compression: Literal["zlib"] | None, rgb: bool
    ) -> StoredArray:
        def write(file: BinaryIO) -> None:
            import tifffile  # on use: windows open without it

            if not fits:
                np.save(file, array, allow_pickle=False)
                return
            tifffile.imwrite(
                file,
                array,
                compression=compression,
                photometric="rgb" if rgb else "minisblack",
                bigtiff=array.nbytes > _LARGEST_CLASSIC_TIFF,
            )

        fits = _fits_tiff(array, rgb)
        try:
            return self._write(stem, ".tif" if fits else ".npy", array.shape, write)
        except ValueError as error:
            raise FileProblemError(
                f"An array of dtype {array.dtype} and shape {array.shape} cannot be saved "
                f"({error}); convert it, for example to uint16 or float32."
            ) from error

    def _write(
        self, stem: str, suffix: str, shape: Sequence[int], write: Callable[[BinaryIO], None]
    ) -> StoredArray:
        stem = self._free_stem(as_file_name(stem))
        written = f"{stem} (saving {self._save}){suffix}"
        with (self.folder / written).open("xb") as file:
            self.written.append(self.folder / written)
            write(file)
            file.flush()
            os.fsync(file.fileno())
        return StoredArray(stem + suffix, tuple(shape), written)

    def _free_stem(self, wanted: str) -> str:
        """Return a name that neither this save nor a file of the user has."""
        stem, number = wanted, 1
        while stem.casefold() in self._stems or self._is_of_user(stem):
            number += 1
            stem = f"{wanted} {number}"
        self._stems.add(stem.casefold())
        return stem

    def _is_of_user(self, stem: str) -> bool:
        names = [stem + suffix for suffix in _SUFFIXES]
        there = [name for name in names if os.path.lexists(self.folder / name)]
        return any(name.casefold() not in self._replaceable for name in there)


def as_file_name(name: str) -> str:
    """Return what a layer is called as a name of a file, without an ending.

    Examples
    --------
    >>> [as_file_name(name) for name in ("cells paint", "a/b: c", "..", "NUL")]
    ['cells paint', 'a_b_ c', 'layer', 'NUL_']
    """
    plain = _NOT_IN_NAMES.sub("_", name).encode(errors="ignore")[:_LONGEST_NAME]
    found = plain.decode(errors="ignore").strip(" .") or "layer"
    reserved = re.fullmatch(r"con|prn|aux|nul|(com|lpt)[0-9]", found.split(".")[0], re.IGNORECASE)
    return f"{found}_" if reserved else found


def read_array(folder: Path, stored: StoredArray) -> NDArray[Any]:
    """Read an array of a project.

    Raises FileProblemError if its name leads out of the folder, or the file is missing, damaged or
    of another shape than it was saved with.
    """
    name = stored.place(folder)
    path = check_inside(folder, name)
    if not path.is_file():
        raise FileProblemError(
            f"The project {folder} lacks its file {name}; restore it from a copy."
        )
    array = _read_table(path) if path.suffix == ".csv" else in_memory(read_image(path))
    if array.shape != tuple(stored.shape):  # a cut-off TIFF is read as far as it goes
        raise FileProblemError(
            f"{path} is damaged: its shape is {array.shape}, it was saved with "
            f"{tuple(stored.shape)}. Restore it from a copy."
        )
    return array


def _read_table(path: Path) -> NDArray[Any]:
    try:
        return np.loadtxt(path, delimiter=",", skiprows=1, ndmin=2)
    except (OSError, ValueError) as error:
        raise FileProblemError(f"{path} is damaged: {error}. Restore it from a copy.") from error


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
        raise FileProblemError(f"Cannot read {str(path)[:_LONGEST_PATH]}: {reason}.") from error
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


def _is_own_name(name: str) -> bool:
    """Return whether a project may delete a file of this name, whoever wrote its JSON."""
    return is_plain_name(name) and "/" not in name and name.endswith(_SUFFIXES)


def _is_abandoned(path: Path) -> bool:
    """Return whether no save will name a file any more; this program saves one at a time."""
    found = _BEING_SAVED.fullmatch(path.name) or _OF_EARLIER_VERSIONS.fullmatch(path.name)
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
