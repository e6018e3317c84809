"""The files of a model package, out of a zip archive or a folder: as bytes, nothing is unpacked.

Only files that are asked for by name are read, in memory, with a limit on their size that counts
what comes out and not what the archive claims. An archive with a name that would lead out of its
folder, with a link, or with more entries than any package has, is refused as a whole.
"""

from __future__ import annotations

import hashlib
import io
import math
import re
import stat
import zipfile
import zlib
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np
import torch

from napari_unet.errors import ModelFileError, first_line
from napari_unet.io.lazy import npy_header

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

    from napari_unet.external.package_text import PackageFile

LARGEST_WEIGHTS = 2**30
LARGEST_TENSOR = 2**29
LARGEST_TEXT = 2**20
_MOST_ENTRIES = 1000
_LARGEST_DIRECTORY = 2**20
_PIECE = 2**20
_END, _END_64 = b"PK\x05\x06", b"PK\x06\x07"
_LONGEST_END = 22 + 2**16
_LONGEST_NAME = 80  # of what a hostile archive says, in the message that refuses it
_INSIDE = ("state_dict", "model_state_dict", "model")
# The last one is a password, or an unknown method.
_UNREADABLE = (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, RuntimeError)
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_WHOLE = "Download the whole package again."
SCRIPT = (
    "The package holds TorchScript, which is a program, and no program of a package is run here. "
    "Ask its authors for the model as ONNX, or as a PyTorch state dict."
)


def open_files(path: Path) -> PackageFiles:
    """Open a package: a zip archive, a folder, or the description in a folder.

    Raises ModelFileError if there is none, or the archive is damaged or hostile.
    """
    try:
        if path.is_dir():
            return FolderFiles(path)
        if path.is_file():
            return FolderFiles(path.parent) if path.suffix in (".yaml", ".yml") else ZipFiles(path)
    except OSError as error:
        raise ModelFileError(f"Cannot read {path}: {error.strerror or error}.") from error
    raise ModelFileError(f"There is no model package {path}.")


def check_name(name: str) -> str:
    """Return a name that stays inside its folder.

    One that is absolute, leads upwards, names a drive, or cannot be shown raises ModelFileError.
    """
    parts = name.split("/")
    plain = name.isprintable() and not re.search(r'[\\:*?"<>|]', name)
    if not plain or name.startswith(("/", "~")) or any(part in ("", ".", "..") for part in parts):
        raise ModelFileError(
            f"The package names the file {_shown(name)}, which is not a plain name inside of it; "
            "nothing of it is read."
        )
    return name


class FolderFiles:
    """A package that lies unpacked in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.name: str = folder.resolve().name

    def names(self) -> tuple[str, ...]:
        """Return the names of the files directly inside."""
        return tuple(sorted(p.name for p in self._folder.iterdir() if p.is_file()))

    def read(self, name: str, largest: int) -> bytes:
        """Read a file of at most so many bytes.

        Raises ModelFileError if there is none, or it is larger, damaged, or lies elsewhere.
        """
        path = self._folder / check_name(name)
        try:
            if not path.resolve().is_relative_to(self._folder.resolve()):
                raise ModelFileError(f"{_shown(name)} is a link out of the package; not read.")
            if not path.is_file():
                raise ModelFileError(f"The package lacks its file {_shown(name)}. {_WHOLE}")
            with path.open("rb") as file:
                content = file.read(largest + 1)
        except OSError as error:
            raise ModelFileError(f"Cannot read {path}: {error.strerror or error}.") from error
        return _within(content, name, largest)


class ZipFiles:
    """A package that is a zip archive; a damaged or hostile one raises ModelFileError."""

    def __init__(self, path: Path) -> None:
        self.name: Final = path.stem
        self._path = path
        _check_directory(path)
        try:
            with zipfile.ZipFile(path) as archive:
                self._entries = _checked(archive.infolist(), path)
        except _UNREADABLE as error:
            raise ModelFileError(_damaged(path, error)) from error

    def names(self) -> tuple[str, ...]:
        """Return the names of all files."""
        return tuple(self._entries)

    def read(self, name: str, largest: int) -> bytes:
        """Read a file; see `FolderFiles`."""
        entry = self._entries.get(check_name(name))
        if entry is None:
            raise ModelFileError(f"The package lacks its file {_shown(name)}. {_WHOLE}")
        content = bytearray()
        try:
            with zipfile.ZipFile(self._path) as archive, archive.open(entry) as file:
                while piece := file.read(_PIECE):  # what is claimed of sizes is not believed
                    content += piece
                    _within(content, name, largest)
        except _UNREADABLE as error:
            raise ModelFileError(_damaged(self._path, error)) from error
        return bytes(content)


PackageFiles: TypeAlias = FolderFiles | ZipFiles


def _check_directory(path: Path) -> None:
    """Check the end of an archive, before its list of entries is read into memory."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - _LONGEST_END - 20))
        tail = file.read()
    at = tail.rfind(_END)
    if at < 0 or len(tail) < at + 22:
        raise ModelFileError(
            f"{path.name} is no whole zip archive, so no model package of bioimage.io. "
            "Download it again, or give an .onnx file or a folder with rdf.yaml."
        )
    entries = int.from_bytes(tail[at + 10 : at + 12], "little")
    directory = int.from_bytes(tail[at + 12 : at + 16], "little")
    if _END_64 in tail[max(0, at - 20) : at]:
        raise ModelFileError(f"{path.name} is a zip archive of the large kind (zip64); not read.")
    if entries > _MOST_ENTRIES or directory > _LARGEST_DIRECTORY:
        raise ModelFileError(
            f"{path.name} has {entries} entries; a model package has a few, and at most "
            f"{_MOST_ENTRIES} are read."
        )


def _checked(infos: list[zipfile.ZipInfo], path: Path) -> dict[str, zipfile.ZipInfo]:
    """Return the files of an archive by name, or refuse all of it."""
    found: dict[str, zipfile.ZipInfo] = {}
    if len(infos) > _MOST_ENTRIES:
        raise ModelFileError(f"{path.name} has {len(infos)} entries; {_MOST_ENTRIES} are read.")
    for info in infos:
        # what was written, before zipfile cuts it at a zero or turns \ into /
        check_name(info.orig_filename.removesuffix("/"))
        mode = info.external_attr >> 16
        if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise ModelFileError(f"{path.name} holds a link, {_shown(info.filename)}; not read.")
        if info.is_dir():
            continue
        if info.filename in found:
            raise ModelFileError(f"{path.name} holds {_shown(info.filename)} twice; not read.")
        if info.compress_type not in _METHODS:
            raise ModelFileError(f"{path.name} is packed in an uncommon way; pack it anew.")
        found[info.filename] = info
    return found


def _within(content: bytes | bytearray, name: str, largest: int) -> bytes:
    if len(content) > largest:
        raise ModelFileError(
            f"{_shown(name)} of the package is larger than {largest / 2**20:.0f} MB; not read."
        )
    return bytes(content) if isinstance(content, bytes) else b""


def _damaged(path: Path, error: BaseException) -> str:
    return f"{path.name} cannot be read: {first_line(error)[:200]}. {_WHOLE}"


def _shown(name: str) -> str:
    return repr(name[:_LONGEST_NAME])


# --- Arrays and weights out of a package, read as numbers: no pickle is ever run ----------------


def read_source(
    files: PackageFiles, folder: str, source: PackageFile, largest: int = LARGEST_WEIGHTS
) -> bytes:
    """Read a file that a description names, and compare its hash.

    Raises ModelFileError if it is missing, too large, elsewhere, or not the one that was meant.
    """
    name = _inside(source.source, folder)
    content = files.read(name, largest)
    if source.sha256 and hashlib.sha256(content).hexdigest() != source.sha256.lower():
        raise ModelFileError(
            f"{name} of the package was damaged or exchanged (its checksum differs). Download the "
            "package again."
        )
    return content


def read_example(files: PackageFiles, folder: str, source: PackageFile) -> NDArray[Any]:
    """Read a test tensor.

    Raises ModelFileError if it is none, or claims to hold more than it does.
    """
    content = read_source(files, folder, source, LARGEST_TENSOR)
    try:
        file = io.BytesIO(content)
        shape, _, dtype = npy_header(file)
        if dtype.kind not in "uifb" or math.prod(shape) * dtype.itemsize > len(content):
            raise ValueError(f"it claims to be {dtype} of shape {shape}")
        file.seek(0)
        array: NDArray[Any] = np.load(file, allow_pickle=False)
    except (ValueError, OSError, EOFError, TypeError, SyntaxError, RecursionError) as error:
        raise ModelFileError(
            f"{source.source[:80]} is no array of numbers: {first_line(error)[:150]}."
        ) from error
    return array


def read_state_dict(content: bytes) -> dict[str, Tensor]:
    """Read the tensors of a PyTorch checkpoint.

    It is opened by torch's own reader of weights, which knows tensors and containers and calls
    nothing else. The archive is checked first: it must not unpack to more than it is.
    Raises ModelFileError if it holds anything but named tensors, or claims more than it holds.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = archive.infolist()
        packed = any(entry.compress_type != zipfile.ZIP_STORED for entry in entries)
        scripted = any("/code/" in f"/{entry.filename}" for entry in entries)
        if scripted:
            raise ModelFileError(SCRIPT)
        if packed or sum(entry.file_size for entry in entries) > len(content):
            raise ModelFileError("The weights are packed in a way that torch.save does not use.")
        loaded = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except ModelFileError:
        raise
    except Exception as error:  # readers of damaged files raise whatever they come upon
        raise ModelFileError(
            "The weights are no plain state dict, and nothing else of a checkpoint is opened "
            f"({first_line(error)[:150]}). Ask for the model as ONNX."
        ) from error
    return _named_tensors(loaded, len(content))


def _named_tensors(loaded: Any, size: int) -> dict[str, Tensor]:
    for name in _INSIDE:
        if isinstance(loaded, dict) and isinstance(loaded.get(name), dict):
            loaded = loaded[name]
    if not isinstance(loaded, dict) or not loaded:
        raise ModelFileError("The weights are no table of named tensors. Ask for ONNX.")
    held = 0
    for name, tensor in loaded.items():
        plain = isinstance(name, str) and isinstance(tensor, torch.Tensor)
        if not plain or tensor.layout != torch.strided or tensor.is_quantized:
            raise ModelFileError(f"{str(name)[:80]!r} of the weights is no plain tensor.")
        held += tensor.numel() * tensor.element_size()
        if held > 2 * size:
            raise ModelFileError("The weights claim to hold more numbers than are there.")
        if not bool(tensor.isfinite().all()):
            raise ModelFileError(f"The weights {name[:80]!r} are not finite; they predict nothing.")
    return dict(loaded)


def _inside(name: str, folder: str) -> str:
    """Return the name of a file in its package.

    Raises ModelFileError if it lies on the network, or leads out of the package.
    """
    if "://" in name:
        raise ModelFileError(
            f"The package names its file by an address ({name[:80]}), and nothing is fetched from "
            "the network. Download the whole package (on bioimage.io: Download) and import that."
        )
    return check_name(folder + name.removeprefix("./"))
