"""ONNX graphs: looked through as data before anything runs them, then run by onnxruntime.

A graph is a list of arithmetic, no program: it can name no file and no function of the system. What
could still harm is refused here: weights in files beside it, operations of other libraries, loops,
and everything that no U-Net needs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from napari_unet.errors import ModelFileError, ModelMismatchError, first_line
from napari_unet.model.onnx_reach import step_and_reach

if TYPE_CHECKING:
    from numpy.typing import NDArray

LARGEST_GRAPH = 2**30
_MOST_NODES = 20_000
_DOMAINS = ("", "ai.onnx")
# What a U-Net and the arithmetic of its sizes are exported as.
_OPERATIONS = frozenset(
    [
        "Abs",
        "Add",
        "And",
        "AveragePool",
        "BatchNormalization",
        "Cast",
        "CastLike",
        "Ceil",
        "Clip",
        "Concat",
        "Constant",
        "ConstantOfShape",
        "Conv",
        "ConvTranspose",
        "CumSum",
        "DepthToSpace",
        "Div",
        "Dropout",
        "Elu",
        "Equal",
        "Erf",
        "Exp",
        "Expand",
        "Flatten",
        "Floor",
        "Gather",
        "Gelu",
        "GlobalAveragePool",
        "Greater",
        "GreaterOrEqual",
        "GroupNormalization",
        "HardSigmoid",
        "HardSwish",
        "Identity",
        "InstanceNormalization",
        "LayerNormalization",
        "LeakyRelu",
        "Less",
        "LessOrEqual",
        "Log",
        "MatMul",
        "Max",
        "MaxPool",
        "Min",
        "Mish",
        "Mod",
        "Mul",
        "Neg",
        "Not",
        "Or",
        "PRelu",
        "Pad",
        "Pow",
        "Range",
        "Reciprocal",
        "ReduceMax",
        "ReduceMean",
        "ReduceMin",
        "ReduceProd",
        "ReduceSum",
        "Relu",
        "Reshape",
        "Resize",
        "Round",
        "Selu",
        "Shape",
        "Sigmoid",
        "Size",
        "Slice",
        "Softmax",
        "Softplus",
        "SpaceToDepth",
        "Split",
        "Sqrt",
        "Squeeze",
        "Sub",
        "Sum",
        "Tanh",
        "Transpose",
        "Unsqueeze",
        "Upsample",
        "Where",
    ]
)
_FLOAT = 1  # TensorProto.FLOAT
_EXTERNAL = 1  # TensorProto.EXTERNAL
_MISSING = (
    "ONNX models need the libraries onnx and onnxruntime, which are not installed. Install them: "
    'pip install "napari-unet-paint[onnx]"'
)


@dataclass(frozen=True)
class GraphFacts:
    """What a graph states about itself."""

    input_name: str
    output_name: str
    input_shape: tuple[int | None, ...]
    """Sizes; None where they are free."""
    output_shape: tuple[int | None, ...]
    """Sizes; None where they are free."""
    ends_with: str
    """The last operation."""
    step: int
    """By how much its poolings shrink an image, at most."""
    reach: tuple[int, ...] | None
    """How far the result at one pixel sees, along the spatial axes; None: over all of the image, or
    unknown.
    """
    metadata: dict[str, str]
    """What its writer noted."""


def read_graph(data: bytes) -> GraphFacts:
    """Look through an ONNX file; nothing in it is run.

    Raises ModelFileError if it is none, or holds what a plain U-Net does not need; or the library
    onnx is missing.
    """
    if len(data) > LARGEST_GRAPH:
        raise ModelFileError(
            f"The ONNX file has {len(data) / 2**30:.1f} GB; at most {LARGEST_GRAPH >> 30} GB are "
            "read."
        )
    try:
        import onnx
    except ImportError as error:
        raise ModelFileError(_MISSING) from error
    try:
        model = onnx.load_model_from_string(data)
    except Exception as error:  # the parser raises what it comes upon
        raise ModelFileError(
            f"This is no whole ONNX file: {first_line(error)[:200]}. Restore it from a copy."
        ) from error
    _check_operations(model)
    graph = model.graph
    known = {tensor.name for tensor in graph.initializer}
    inputs = [each for each in graph.input if each.name not in known]
    if len(inputs) != 1 or len(graph.output) != 1:
        raise ModelFileError(
            f"The ONNX graph has {len(inputs)} inputs and {len(graph.output)} outputs; a model "
            "of one image in and one probability image out can be used. Export it so."
        )
    image, result = inputs[0], graph.output[0]
    if image.type.tensor_type.elem_type != _FLOAT:
        raise ModelFileError("The ONNX graph does not take float32 images. Export it in float32.")
    return GraphFacts(
        image.name,
        result.name,
        _shape(image),
        _shape(result),
        graph.node[-1].op_type if len(graph.node) else "",
        *step_and_reach(graph),
        {entry.key: entry.value for entry in model.metadata_props},
    )


def _check_operations(model: Any) -> None:
    """Refuse other libraries, loops, weights elsewhere, and what no U-Net needs."""
    local = {(function.domain, function.name) for function in model.functions}
    nodes = [*model.graph.node, *(node for each in model.functions for node in each.node)]
    if len(nodes) > _MOST_NODES:
        raise ModelFileError(f"The ONNX graph has {len(nodes)} operations; {_MOST_NODES} are read.")
    tensors = list(model.graph.initializer)
    for sparse in model.graph.sparse_initializer:
        tensors += [sparse.values, sparse.indices]
    for node in nodes:
        known = node.domain in _DOMAINS and node.op_type in _OPERATIONS
        if not known and (node.domain, node.op_type) not in local:
            name = f"{node.domain}.{node.op_type}".strip(".")[:80]
            raise ModelFileError(
                f"The ONNX graph uses the operation {name!r}, which a plain U-Net does not need; "
                "it is not run. Ask for an export of a plain U-Net."
            )
        for attribute in node.attribute:
            if attribute.HasField("g") or attribute.graphs:
                raise ModelFileError(f"The ONNX graph holds a graph in {node.op_type!r}; not run.")
            tensors += [attribute.t, *attribute.tensors]
    for tensor in tensors:
        if tensor.data_location == _EXTERNAL or len(tensor.external_data):
            raise ModelFileError(
                "The ONNX file keeps its weights in another file, which is not opened. Export it "
                "as one file: onnx.save(model, path, save_as_external_data=False)."
            )


def _shape(value: Any) -> tuple[int | None, ...]:
    return tuple(
        int(size.dim_value) if size.HasField("dim_value") and size.dim_value > 0 else None
        for size in value.type.tensor_type.shape.dim
    )


class OnnxSession:
    """An ONNX graph that is ready to run; the file is looked through first.

    Raises ModelFileError: see `read_graph`; or onnxruntime cannot run it.
    """

    def __init__(self, data: bytes) -> None:
        self.facts = read_graph(data)
        try:
            import onnxruntime
        except ImportError as error:
            raise ModelFileError(_MISSING) from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.inter_op_num_threads = 1
        options.log_severity_level = 4  # what is wrong is raised as well
        try:
            self._session = onnxruntime.InferenceSession(
                data, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # it has errors of many kinds
            raise ModelFileError(
                f"onnxruntime cannot run the ONNX graph: {first_line(error)[:200]}. Export it anew."
            ) from error

    def __call__(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """Run it.

        Raises MemoryError if memory is short, and ModelMismatchError if it cannot take this image.
        """
        try:
            results = self._session.run([self.facts.output_name], {self.facts.input_name: image})
        except Exception as error:
            reason = first_line(error)[:200]
            if "alloc" in str(error).lower():
                raise MemoryError(reason) from error
            raise ModelMismatchError(
                f"The model cannot take {'x'.join(map(str, image.shape))} numbers: {reason}"
            ) from error
        return np.asarray(results[0], np.float32)
