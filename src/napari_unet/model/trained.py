"""A trained network, and its file."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import threading
import zlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load, save

from napari_unet.errors import FileProblemError, ModelFileError, ModelMismatchError
from napari_unet.io.disk import megabytes, replace_file, why_not_written
from napari_unet.io.limits import free_memory
from napari_unet.model.external import ExternalNetwork, ReadyExternal
from napari_unet.model.inference import InferenceNetwork
from napari_unet.model.record import ModelRecord, record_from_json, record_to_json
from napari_unet.model.unet import UNet

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from napari_unet.model.config import UNetConfig
    from napari_unet.model.external import ReadyNetwork

    _Key = tuple[torch.device, torch.dtype, tuple[int, ...]]


@dataclass(frozen=True)
class TrainedNetwork:
    """A network with its weights, and its record."""

    network: UNet | ExternalNetwork
    """In evaluation mode; of another program where the record has it `external`."""
    record: ModelRecord

    @cached_property
    def ready(self) -> KeptReady:
        """The network as it predicts, made ready once for many images."""
        return KeptReady(self.network)

    @property
    def unet(self) -> UNet:
        """The network, to go on learning.

        Raises ModelMismatchError if it is of another program, or wants images as another program
        makes them.
        """
        if isinstance(self.network, ExternalNetwork) or not self.record.can_learn:
            raise ModelMismatchError(
                "This model comes from another program and cannot be trained further: it is no "
                "U-Net of this program's own, or wants images normalised in another way. It can "
                "predict; train a new model, for example on its corrected predictions."
            )
        return self.network


def save_network(trained: TrainedNetwork, path: Path) -> None:
    """Write a model file atomically: one safetensors file with the record as JSON metadata.

    Raises FileProblemError if the file cannot be written, or weights are not finite.
    """
    tensors = trained.network.state_dict()
    check_finite(tensors, path)
    write_tensors(path, tensors, record_to_json(trained.record))


def save_compact_network(trained: TrainedNetwork, path: Path) -> None:
    """Write a model file of half the size: weights as float16, read back as float32.

    Raises FileProblemError if the file cannot be written, or weights are not finite as float16.
    """
    tensors = {
        name: tensor.half() if tensor.is_floating_point() else tensor
        for name, tensor in trained.network.state_dict().items()
    }
    check_finite(tensors, path)
    write_tensors(path, tensors, record_to_json(trained.record))


def check_finite(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Refuse, by FileProblemError, to write weights that are no numbers over a good file."""
    name = _not_finite(tensors)
    if name is not None:
        raise FileProblemError(
            f"{path.name} was not written, what was there is kept: weights of the network ({name}) "
            "are not finite. Train again with a lower learning rate, or in float32."
        )


def _not_finite(tensors: Mapping[str, Tensor]) -> str | None:
    """Return the name of the first weights that hold NaN or infinity."""
    return next((name for name, tensor in tensors.items() if not tensor.isfinite().all()), None)


def load_network(path: Path) -> TrainedNetwork:
    """Read a model file, float32 or compact. Nothing in it is executed.

    Raises ModelFileError if the file is missing, damaged, or no model of this program.
    """
    tensors, content = read_tensors(path)
    if "format_version" not in content and path.stem.endswith(".state"):
        model = path.with_stem(path.stem.removesuffix(".state"))
        raise ModelFileError(f"{path} is the state of a training. Choose its model, {model}.")
    record = record_from_json(content, str(path))
    broken = _not_finite(tensors)
    if broken is not None:
        raise ModelFileError(
            f"The weights in {path} ({broken}) are not finite: it predicts nothing. Restore it "
            "from a copy, or train again."
        )
    if record.external is not None:
        return TrainedNetwork(ExternalNetwork(record.external, tensors), record)
    return TrainedNetwork(build_network(record.network, _widened(tensors, path), str(path)), record)


def _widened(tensors: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Return the weights as float32, from a file that holds all of them in one format."""
    formats = {tensor.dtype for tensor in tensors.values() if tensor.is_floating_point()}
    if formats == {torch.float16}:
        return {
            name: tensor.float() if tensor.is_floating_point() else tensor
            for name, tensor in tensors.items()
        }
    if formats != {torch.float32}:
        found = ", ".join(sorted(str(each).removeprefix("torch.") for each in formats)) or "none"
        raise ModelFileError(
            f"The weights in {path} are {found}; a model file holds float32 or float16. "
            "Restore it from a copy."
        )
    return tensors


def build_network(config: UNetConfig, tensors: dict[str, Tensor], source: str) -> UNet:
    """Put weights into a network of the given shape, in evaluation mode.

    Raises ModelFileError if names, shapes or number formats of the weights are not those of the
    network.
    """
    with torch.device("meta"):  # costs nothing, however large a hostile config is
        network = UNet(config)
    expected, found = _described(network.state_dict()), _described(tensors)
    if expected != found:
        differing = sorted(set(expected.items()) ^ set(found.items()), key=str)
        raise ModelFileError(
            f"The weights in {source} are not those of the network it describes "
            f"(first difference: {differing[0][0][:LONGEST_REASON]}). Restore it from a copy."
        )
    network.load_state_dict(tensors, assign=True)
    return network.eval()


def _described(tensors: dict[str, Tensor]) -> dict[str, tuple[torch.dtype, tuple[int, ...]]]:
    return {name: (tensor.dtype, tuple(tensor.shape)) for name, tensor in tensors.items()}


# --- Networks made ready to predict: kept until their weights, the device or the format change ---


class KeptReady:
    """Makes a network ready to predict, and keeps what it made last.

    The network may go on learning: changed weights are made ready anew.
    """

    def __init__(self, network: UNet | ExternalNetwork) -> None:
        self._network = network
        self._kept: tuple[_Key, ReadyNetwork] | None = None
        self._making = threading.Lock()

    def __reduce__(self) -> tuple[type[KeptReady], tuple[UNet | ExternalNetwork]]:
        """Copy and pickle the network alone: a copy makes it ready anew."""
        return KeptReady, (self._network,)

    def on(self, device: torch.device, precision: torch.dtype) -> ReadyNetwork:
        """Return the network on a device, in a number format, with the weights it has now.

        Of threads that ask at the same time one makes it ready, and the others wait.
        """
        with self._making:
            # A twentieth of the time that making ready takes.
            weights = tuple(map(_checksum, self._network.state_dict().values()))
            key, kept = (device, precision, weights), self._kept
            if kept is None or kept[0] != key:
                self._kept = kept = key, self._made_ready(device, precision)
            return kept[1]

    def _made_ready(self, device: torch.device, precision: torch.dtype) -> ReadyNetwork:
        if isinstance(self._network, ExternalNetwork):
            return ReadyExternal(self._network, device)
        return InferenceNetwork(self._network, device, precision)


def _checksum(tensor: Tensor) -> int:
    values = tensor.detach().cpu().contiguous().reshape(-1)
    return zlib.crc32(values.view(torch.uint8).numpy().data)


# --- One safetensors file with JSON metadata: written all at once or not at all, read as data ----

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
    tensors, metadata = _all_in(path)
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


def _all_in(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read the tensors of a complete file, and the texts beside them."""
    found = _size_of(path)
    try:
        expected = _expected_size(path)
        if expected is not None and expected != found:
            raise ModelFileError(
                f"{path.name} is not a complete model file (expected {_size(expected)}, "
                f"found {_size(found)}). {_DAMAGED}"
            )
        if found > (free := free_memory()):
            raise ModelFileError(
                f"{path.name} has {_size(found)}, {_size(free)} of memory are free. Close other "
                "programs, or use a machine with more memory."
            )
        # Not mapped: a file that another program cuts off would end this one.
        data = path.read_bytes()
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        return load(data), header.get("__metadata__", {})
    except ModelFileError:
        raise
    except Exception as error:  # readers of damaged files raise whatever they come upon
        reason = " ".join(str(error).split())[:LONGEST_REASON] or type(error).__name__
        raise ModelFileError(
            f"{path.name} is not a complete model file ({_size(found)}): {reason}. {_DAMAGED}"
        ) from error


def _size_of(path: Path) -> int:
    """Return how many bytes a file has; refuse what is no file."""
    try:
        # `is_file` of Python 3.14 answers no where it may not, or cannot, know.
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError, ValueError):
        raise ModelFileError(f"There is no model file {path}.") from None
    except OSError as error:  # a name that is too long, a share that is gone
        raise ModelFileError(f"Cannot read {path}: {error.strerror or error}.") from error
    if stat.S_ISDIR(found.st_mode):
        raise ModelFileError(f"{path} is a folder, not a model file.")
    if stat.S_ISREG(found.st_mode):
        return found.st_size
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
