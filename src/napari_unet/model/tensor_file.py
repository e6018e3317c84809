"""One safetensors file with JSON metadata: written all at once or not at all, read as data only."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import safe_open
from safetensors.torch import save

from napari_unet.errors import FileProblemError, ModelFileError
from napari_unet.io.disk import megabytes, replace_file, why_not_written

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

_JSON_KEY = "napari_unet"
_HASH_KEY = "sha256"
_LARGEST_HEADER = 16 * 2**20
LONGEST_REASON = 300  # of what a hostile file says, in the message that refuses it
_DAMAGED = "Restore it from a copy, or train again."
# How files begin that people take for a model file.
_OTHERS = {
    b"PK\x03\x04": "a zip archive, as torch.save writes it, may hold a program, and is not opened",
    b"\x80": "a pickle, may hold a program, and is not opened",
    b"\x89PNG": "a PNG image",
    b"\x89HDF": "an HDF5 file",
    b"II*\0": "a TIFF image",
    b"MM\0*": "a TIFF image",
}


def write_tensors(path: Path, tensors: Mapping[str, Tensor], content: dict[str, Any]) -> None:
    """Write tensors and JSON content atomically: the old file stays whole until the new one is.

    Raises FileProblemError if the folder is missing or not writable, the disk is full, or a number
    is not finite.
    """
    path = Path(path)
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    try:
        text = json.dumps(content, allow_nan=False, sort_keys=True)
    except ValueError as error:
        raise FileProblemError(
            f"{path.name} was not written, what was there is kept: a number of its record is not "
            "finite. Train again with a lower learning rate, or in float32."
        ) from error
    metadata = {_JSON_KEY: text, _HASH_KEY: hash_of_weights(plain, text)}
    data = save(plain, metadata=metadata)
    try:
        replace_file(path, data)
    except OSError as error:
        why = why_not_written(path, error, len(data))
        kept = " The previous file was kept." if os.path.isfile(path) else ""
        raise FileProblemError(why + kept) from error


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what :func:`write_tensors` wrote; nothing in the file is executed.

    Raises ModelFileError if the file is missing, truncated, changed since it was written, or of
    another program.
    """
    path = Path(path)
    found = _size_of(path)
    try:
        expected = _expected_size(path)
        if expected is not None and expected != found:
            raise ModelFileError(
                f"{path.name} is not a complete model file (expected {_size(expected)}, "
                f"found {_size(found)}). {_DAMAGED}"
            )
        with safe_open(path, framework="pt", device="cpu") as file:
            metadata = file.metadata() or {}
            tensors = {
                # copied: a mapped file could not be replaced on Windows while in use
                name: file.get_tensor(name).clone()
                for name in file.keys()  # noqa: SIM118
            }
    except ModelFileError:
        raise
    except Exception as error:  # readers of damaged files raise whatever they come upon
        reason = " ".join(str(error).split())[:LONGEST_REASON] or type(error).__name__
        raise ModelFileError(
            f"{path.name} is not a complete model file ({_size(found)}): {reason}. {_DAMAGED}"
        ) from error
    if _JSON_KEY not in metadata:
        raise ModelFileError(f"{path.name} was not written by napari-unet-paint.")
    text = metadata[_JSON_KEY]
    if metadata.get(_HASH_KEY) != hash_of_weights(tensors, text):
        raise ModelFileError(
            f"{path.name} was damaged or changed after it was saved (its checksum differs). "
            f"{_DAMAGED}"
        )
    try:
        content = json.loads(text)
        json.dumps(content, allow_nan=False)  # JSON knows no NaN and no infinity, Python's does
    except (ValueError, RecursionError) as error:
        raise ModelFileError(
            f"{path.name} has unreadable metadata: {str(error)[:LONGEST_REASON]}."
        ) from error
    if not isinstance(content, dict):
        raise ModelFileError(f"{path.name} has metadata that are no table.")
    return tensors, content


def _size_of(path: Path) -> int:
    """Return how many bytes a file has; refuse what is no file."""
    try:
        if path.is_dir():
            raise ModelFileError(f"{path} is a folder, not a model file.")
        if path.is_file():
            return path.stat().st_size
    except OSError as error:  # a name that is too long, a share that is gone
        raise ModelFileError(f"Cannot read {path}: {error.strerror or error}.") from error
    raise ModelFileError(f"There is no model file {path}.")


def _expected_size(path: Path) -> int | None:
    """Return how many bytes a file must have by its own header; None where that makes no sense."""
    with path.open("rb") as file:
        start = file.read(8)
        length = int.from_bytes(start, "little")
        if length > _LARGEST_HEADER:
            kinds = [kind for magic, kind in _OTHERS.items() if start.startswith(magic)]
            raise ValueError(f"it is {kinds[0]}" if kinds else f"its header claims {length} bytes")
        header = file.read(length)
    if len(start) < 8 or len(header) < length:
        return None
    try:
        entries = json.loads(header)
        ends = [e["data_offsets"][1] for name, e in entries.items() if name != "__metadata__"]
        return 8 + length + max(ends, default=0)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError):
        return None  # the reader of the format says what is wrong


def _size(size: int) -> str:
    return megabytes(size) if size >= 100_000 else f"{size} bytes"


def hash_of_weights(weights: Mapping[str, Tensor], about: str = "") -> str:
    """Return the SHA-256 of names, types, shapes and values, in any order and on any device.

    `about` is hashed too: the text of a file that is to be found changed when its text is.
    """
    digest = hashlib.sha256(about.encode())
    for name, tensor in sorted(weights.items()):
        digest.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}".encode())
        values = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        digest.update(values.numpy().data)
    return digest.hexdigest()
