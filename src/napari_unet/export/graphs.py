"""Write an exported network: ONNX, TorchScript, torch.export. Each file holds its facts as JSON."""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import warnings
from typing import TYPE_CHECKING, Any

import torch

from napari_unet.errors import ConfigError
from napari_unet.export.facts import FACTS_KEY

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from torch import Tensor

    from napari_unet.export.facts import Facts
    from napari_unet.export.network import ExportNetwork

# Understood by runtimes of 2023 and later.
ONNX_OPSET, _ONNX_IR = 18, 8
INPUT, OUTPUT = "image", "probabilities"
_LARGEST_SIZE = 1 << 20
# With which extra each library comes.
_EXTRAS = {
    "onnx": "onnx",
    "onnxscript": "onnx",
    "onnxruntime": "onnx",
    "bioimageio.core": "bioimageio",
    "bioimageio.spec": "bioimageio",
}


def require(*modules: str) -> None:
    """Make sure that optional libraries are there.

    Raises ConfigError if some are not installed; the text says how to get them.
    """
    missing = []
    for module in modules:
        try:
            importlib.import_module(module)
        except ImportError:
            missing.append(module)
    if missing:
        extras = ",".join(sorted({_EXTRAS[module] for module in missing}))
        raise ConfigError(
            f"This needs {', '.join(missing)}: install it with "
            f'pip install "napari-unet-paint[{extras}]"'
        )


def write_onnx(network: ExportNetwork, facts: Facts, path: Path) -> None:
    """Write one ONNX file with its weights inside; sizes are free along all spatial axes."""
    exported = _exported(network, facts)
    with _quietly():
        program = torch.onnx.export(
            exported,
            dynamo=True,
            input_names=[INPUT],
            output_names=[OUTPUT],
            opset_version=ONNX_OPSET,
            verbose=False,
        )
    assert program is not None
    model: Any = program.model_proto
    model.ir_version = _ONNX_IR
    model.producer_name = facts.as_values()["made_with"]
    del model.metadata_props[:], model.graph.metadata_props[:], model.graph.value_info[:]
    for node in model.graph.node:  # where in which file of this machine it came from
        del node.metadata_props[:]
        node.ClearField("doc_string")
    for value in (model.graph.input[0], model.graph.output[0]):
        del value.metadata_props[:]
        for dimension, name in list(
            zip(value.type.tensor_type.shape.dim, facts.axes.lower(), strict=True)
        )[2:]:
            dimension.dim_param = name
    entry = model.metadata_props.add()
    entry.key, entry.value = FACTS_KEY, facts.as_json()
    path.write_bytes(model.SerializeToString())


def write_torchscript(network: ExportNetwork, facts: Facts, path: Path) -> None:
    """Write one TorchScript archive."""
    with _quietly():
        # Checked is the file itself, at other sizes.
        traced = torch.jit.trace(  # type: ignore[no-untyped-call]
            network, _example(facts), check_trace=False
        )
        content = io.BytesIO()  # torch raises no OSError for files
        torch.jit.save(traced, content, _extra_files={f"{FACTS_KEY}.json": facts.as_json()})
    path.write_bytes(content.getvalue())


def write_torch_export(network: ExportNetwork, facts: Facts, path: Path) -> None:
    """Write one archive of torch.export; sizes are free along all spatial axes."""
    exported = _exported(network, facts)
    with _quietly(), path.open("wb") as file:
        torch.export.save(exported, file, extra_files={f"{FACTS_KEY}.json": facts.as_json()})


def smallest_sizes(facts: Facts) -> tuple[int, ...]:
    """Return the smallest image that ONNX and torch.export take, along ``[Z]YX``."""
    record = facts.record
    plane = (max(2, int(record.binning) + 1),) * 2  # two pixels of the network
    return (2,) * (record.network.ndim - 2) + plane


def _example(facts: Facts) -> Tensor:
    """Return an image whose sizes all differ, so that none is taken for another."""
    sizes = [3 * least + 7 * axis + 20 for axis, least in enumerate(smallest_sizes(facts))]
    return torch.zeros(1, facts.record.network.input_bands, *sizes)


def _exported(network: ExportNetwork, facts: Facts) -> torch.export.ExportedProgram:
    sizes = [
        torch.export.Dim(letter.lower(), min=least, max=_LARGEST_SIZE)
        for letter, least in zip(facts.axes[2:], smallest_sizes(facts), strict=True)
    ]
    with _quietly():
        return torch.export.export(
            network,
            (_example(facts),),
            dynamic_shapes=(dict(enumerate(sizes, start=2)),),
            prefer_deferred_runtime_asserts_over_guards=True,
        )


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Keep remarks from the user that concern torch's own future, not his model."""
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)
