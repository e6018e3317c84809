"""Model packages of other programs, made by hand."""

from __future__ import annotations

import io
import warnings
import zipfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import nn

from .networks import EncoderBaseDecoder, with_weights

SCALE: dict[str, Any] = {
    "name": "scale_range",
    "kwargs": {"mode": "per_sample", "axes": "yx", "min_percentile": 1.0, "max_percentile": 99.0},
}
SIGMOID = {"name": "sigmoid"}


def picture(*shape: int, seed: int = 0) -> Any:
    """Smooth blobs of uint16 grey values."""
    from scipy.ndimage import gaussian_filter

    noise = np.random.default_rng(seed).random(shape)
    smooth = gaussian_filter(noise, 2)
    return (1000 * (smooth - smooth.min()) / np.ptp(smooth)).astype(np.uint16)


def array_bytes(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def state_bytes(network: nn.Module) -> bytes:
    file = io.BytesIO()
    torch.save(network.state_dict(), file)
    return file.getvalue()


@cache
def exported_bytes() -> bytes:
    """An ONNX file as PyTorch's exporter writes it, for images of any size; it takes seconds."""
    network = with_weights(EncoderBaseDecoder(1))
    space = dict.fromkeys((2, 3), torch.export.Dim.DYNAMIC)
    with warnings.catch_warnings():  # of the exporter about itself
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            network, (torch.zeros(1, 1, 32, 32),), dynamo=True, dynamic_shapes=(space,),
            verbose=False,
        )  # fmt: skip
    assert program is not None
    return bytes(program.model_proto.SerializeToString())


@cache
def onnx_bytes(classes: int = 1, seed: int = 0, size: int = 0) -> bytes:
    """An ONNX file of EncoderBaseDecoder, written by hand, for images of any size or of one."""
    import onnx
    from onnx import helper

    weights = with_weights(EncoderBaseDecoder(classes), seed).state_dict()
    nodes: list[Any] = []

    def add(kind: str, *inputs: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(kind, list(inputs), [f"t{len(nodes)}"], **attributes))
        return f"t{len(nodes) - 1}"

    def block(path: str, of: str) -> str:
        for index in (0, 2):
            names = f"{path}.{index}.weight", f"{path}.{index}.bias"
            of = add("Relu", add("Conv", of, *names, kernel_shape=[3, 3], pads=[1] * 4))
        return of

    halved = {"kernel_shape": [2, 2], "strides": [2, 2]}
    first = block("encoder.0", "image")
    second = block("encoder.1", add("MaxPool", first, **halved))
    deep = block("base", add("MaxPool", second, **halved))
    for level, skip in enumerate((second, first)):
        names = f"upsamplers.{level}.weight", f"upsamplers.{level}.bias"
        enlarged = add("ConvTranspose", deep, *names, **halved)
        deep = block(f"decoder.{level}", add("Concat", skip, enlarged, axis=1))
    last = add("Conv", deep, "out_conv.weight", "out_conv.bias", kernel_shape=[1, 1])
    shape = [1, 1, size or "y", size or "x"]
    kind = onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("image", kind, shape)],
        [helper.make_tensor_value_info(last, kind, [1, classes, *shape[2:]])],
        [onnx.numpy_helper.from_array(each.numpy(), name) for name, each in weights.items()],
    )
    opsets = [helper.make_opsetid("", 18)]
    return bytes(helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString())


def scaled(image: Any, low: float = 1.0, high: float = 99.0) -> torch.Tensor:
    """What SCALE makes of a single-channel image; (1, 1, *)."""
    bottom, top = np.percentile(image, (low, high))
    return torch.from_numpy(((image - bottom) / (top - bottom + 1e-6)).astype(np.float32))[
        None, None
    ]


def description(ndim: int = 2, **changes: Any) -> dict[str, Any]:
    """A description of format 0.4."""
    axes = "bczyx"[:2] + "zyx"[-ndim:]
    content: dict[str, Any] = {
        "format_version": "0.4.10",
        "type": "model",
        "name": "Their model",
        "inputs": [
            {
                "name": "raw",
                "axes": axes,
                "data_type": "float32",
                "shape": {"min": [1, 1] + [16] * ndim, "step": [0, 0] + [16] * ndim},
                "preprocessing": [{**SCALE, "kwargs": {**SCALE["kwargs"], "axes": axes[2:]}}],
            }
        ],
        "outputs": [
            {
                "name": "maps",
                "axes": axes,
                "data_type": "float32",
                "shape": {"reference_tensor": "raw", "scale": [1] * (ndim + 2),
                          "offset": [0] * (ndim + 2)},
                "postprocessing": [SIGMOID],
            }
        ],
        "test_inputs": ["test_input.npy"],
        "test_outputs": ["test_output.npy"],
        "weights": {"pytorch_state_dict": {"source": "weights.pt"}},
    }  # fmt: skip
    return {**content, **changes}


def write_zip(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


@torch.no_grad()
def package_files(
    network: nn.Module,
    text: dict[str, Any] | None = None,
    *,
    ndim: int = 2,
    weights: dict[str, bytes] | None = None,
    after: Any = torch.sigmoid,
    shape: tuple[int, ...] | None = None,
) -> dict[str, bytes]:
    """The files of a package whose test output is that of the network."""
    image = picture(*(shape or ((64, 48) if ndim == 2 else (16, 32, 32))))
    answer = after(network(scaled(image))).numpy()
    return {
        "rdf.yaml": yaml.safe_dump(text or description(ndim)).encode(),
        "test_input.npy": array_bytes(image[None, None].astype(np.float32)),
        "test_output.npy": array_bytes(answer),
        **(weights if weights is not None else {"weights.pt": state_bytes(network)}),
    }
