"""Arrays and weights out of a package, read as numbers: no pickle is ever run."""

from __future__ import annotations

import hashlib
import io
import math
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from napari_unet.errors import ModelFileError, first_line
from napari_unet.external.package_files import LARGEST_TENSOR, LARGEST_WEIGHTS
from napari_unet.external.package_text import inside

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from napari_unet.external.package_files import PackageFiles
    from napari_unet.external.package_text import PackageFile

_INSIDE = ("state_dict", "model_state_dict", "model")


def read_source(files: PackageFiles, folder: str, source: PackageFile, largest: int) -> bytes:
    """Read a file that a description names, and compare its hash.

    Raises ModelFileError if it is missing, too large, elsewhere, or not the one that was meant.
    """
    name = inside(source, folder)
    content = files.read(name, largest)
    if source.sha256 and hashlib.sha256(content).hexdigest() != source.sha256.lower():
        raise ModelFileError(
            f"{name} of the package was damaged or exchanged (its checksum differs). Download the "
            "package again."
        )
    return content


def read_weights(files: PackageFiles, folder: str, source: PackageFile) -> bytes:
    """Read the file of weights; see `read_source`."""
    return read_source(files, folder, source, LARGEST_WEIGHTS)


def read_example(files: PackageFiles, folder: str, source: PackageFile) -> NDArray[Any]:
    """Read a test tensor.

    Raises ModelFileError if it is none, or claims to hold more than it does.
    """
    content = read_source(files, folder, source, LARGEST_TENSOR)
    try:
        file = io.BytesIO(content)
        version = np.lib.format.read_magic(file)
        read_header = (
            np.lib.format.read_array_header_1_0
            if version == (1, 0)
            else np.lib.format.read_array_header_2_0
        )
        shape, _, dtype = read_header(file)
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
            raise ModelFileError(_SCRIPT)
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


_SCRIPT = (
    "The package holds TorchScript, which is a program, and no program of a package is run here. "
    "Ask its authors for the model as ONNX, or as a PyTorch state dict."
)


def refuse_script() -> ModelFileError:
    """Return the error that says why TorchScript is not run."""
    return ModelFileError(_SCRIPT)


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
