"""One safetensors file with JSON metadata: written all at once or not at all, read as data only."""

from __future__ import annotations

import errno
import hashlib
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from napari_unet.data.whole_files import replace_file
from napari_unet.errors import FileProblemError, ModelFileError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

_JSON_KEY = "napari_unet"
_HASH_KEY = "sha256"
_LARGEST_HEADER = 16 * 2**20


def write_tensors(path: Path, tensors: Mapping[str, Tensor], content: dict[str, Any]) -> None:
    """Write tensors and JSON content atomically: the old file stays whole until the new one is.

    Raises
    ------
    FileProblemError
        The folder is missing or not writable, or the disk is full.
    """
    path = Path(path)
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    text = json.dumps(content, allow_nan=False, sort_keys=True)
    metadata = {_JSON_KEY: text, _HASH_KEY: _hash_of(plain, text)}
    data = save(plain, metadata=metadata)
    try:
        replace_file(path, data)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            free = shutil.disk_usage(path.parent).free
            raise FileProblemError(
                f"Disk full: {path.name} needs {len(data) / 1e6:.1f} MB in {path.parent}, "
                f"{free / 1e6:.1f} MB are free. The previous file was kept."
            ) from error
        raise FileProblemError(f"Cannot write {path}: {error.strerror}.") from error


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what :func:`write_tensors` wrote; nothing in the file is executed.

    Raises
    ------
    ModelFileError
        The file is missing, truncated, changed since it was written, or of another program.
    """
    path = Path(path)
    if path.is_dir():
        raise ModelFileError(f"{path} is a folder, not a model file.")
    if not path.is_file():
        raise ModelFileError(f"There is no model file {path}.")
    try:
        _check_header_size(path)
        with safe_open(path, framework="pt", device="cpu") as file:
            metadata = file.metadata() or {}
            tensors = {
                # copied: a mapped file could not be replaced on Windows while in use
                name: file.get_tensor(name).clone()
                for name in file.keys()  # noqa: SIM118
            }
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelFileError(
            f"{path.name} is not a complete model file ({path.stat().st_size / 1e6:.1f} MB): "
            f"{error}. Restore it from a copy, or train again."
        ) from error
    if _JSON_KEY not in metadata:
        raise ModelFileError(f"{path.name} was not written by napari-unet-paint.")
    text = metadata[_JSON_KEY]
    if metadata.get(_HASH_KEY) != _hash_of(tensors, text):
        raise ModelFileError(
            f"{path.name} was damaged or changed after it was saved (its checksum differs). "
            "Restore it from a copy, or train again."
        )
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"{path.name} has unreadable metadata: {error}.") from error
    if not isinstance(content, dict):
        raise ModelFileError(f"{path.name} has metadata that are no table.")
    return tensors, content


def _check_header_size(path: Path) -> None:
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
    if size > _LARGEST_HEADER:
        raise ValueError(f"its header claims {size} bytes")


def _hash_of(tensors: Mapping[str, Tensor], text: str) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
