"""ONNX graphs: looked through as data before anything runs them, then run by onnxruntime.

A graph is a list of arithmetic, no program: it can name no file and no function of the system. What
could still harm is refused here: weights in files beside it, operations of other libraries, loops,
and everything that no U-Net needs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from napari_unet.errors import ModelFileError, ModelMismatchError, first_line
from napari_unet.io.limits import free_memory

if TYPE_CHECKING:
    from numpy.typing import NDArray

    # Along each axis, of one array in a graph: pixels of the image per element, and how many an
    # element sees on each side.
    _Seen = tuple[tuple[float, float], ...]

LARGEST_GRAPH = 2**30
_MOST_NODES = 20_000
_DOMAINS = ("", "ai.onnx")
# Each result depends on the same place alone, or on one that is moved as a whole. What is neither
# here nor below may depend on all of the image.
_IN_PLACE = frozenset(
    [
        *("Abs", "Add", "And", "BatchNormalization", "Cast", "CastLike", "Ceil", "Clip", "Concat"),
        *("Div", "Dropout", "Elu", "Equal", "Erf", "Exp", "Floor", "Gelu", "Greater"),
        *("GreaterOrEqual", "HardSigmoid", "HardSwish", "Identity", "LeakyRelu", "Less"),
        *("LessOrEqual", "Log", "Max", "Min", "Mish", "Mod", "Mul", "Neg", "Not", "Or", "PRelu"),
        *("Pad", "Pow", "Reciprocal", "Relu", "Round", "Selu", "Sigmoid", "Slice", "Softplus"),
        *("Split", "Sqrt", "Squeeze", "Sub", "Sum", "Tanh", "Transpose", "Unsqueeze"),
        "Where",
    ]
)
_WITH_KERNEL = frozenset(["Conv", "MaxPool", "AveragePool"])
# What a U-Net and the arithmetic of its sizes are exported as.
_OPERATIONS = frozenset(
    [
        *_IN_PLACE,
        *_WITH_KERNEL,
        *("Constant", "ConstantOfShape", "ConvTranspose", "CumSum", "DepthToSpace", "Expand"),
        *("Flatten", "Gather", "GlobalAveragePool", "GroupNormalization"),
        *("InstanceNormalization", "LayerNormalization", "MatMul", "Range", "ReduceMax"),
        *("ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum", "Reshape", "Resize", "Shape"),
        *("Size", "Softmax", "SpaceToDepth", "Upsample"),
    ]
)
_MAKING = ("ConstantOfShape", "Expand")  # arrays of a size that their last input names
_LARGEST_CONSTANT = 2**28  # numbers
_MOST_MEMORY = 2**32  # bytes for all graphs together; tiles that need more are halved
_LARGEST = 4096  # of pixels that become one, and that a result sees
_FLOAT = 1  # TensorProto.FLOAT
_EXTERNAL = 1  # TensorProto.EXTERNAL
_MISSING = (
    "ONNX models need the libraries onnx and onnxruntime, which are not installed. Install them: "
    'pip install "napari-unet-paint[onnx]"'
)


@dataclass(frozen=True)
class GraphFacts:
    """What a graph states about itself."""

    input_shape: tuple[int | None, ...]
    """Sizes; None where they are free."""
    output_shape: tuple[int | None, ...]
    """Sizes; None where they are free."""
    step: int
    """By how much its poolings shrink an image, at most."""
    reach: tuple[int, ...] | None
    """How far the result at one pixel sees, along the spatial axes; None: over all of the image, or
    unknown.
    """


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
    image = inputs[0]
    if image.type.tensor_type.elem_type != _FLOAT:
        raise ModelFileError("The ONNX graph does not take float32 images. Export it in float32.")
    return GraphFacts(_shape(image), _shape(graph.output[0]), *step_and_reach(graph))


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
    _check_constants(model.graph)


def _check_constants(graph: Any) -> None:
    """Refuse arrays that a few bytes make gigabytes of; of a computed size: `_bound_memory`."""
    from onnx.numpy_helper import to_array

    known = {each.name: each for each in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            known |= {
                name: each.t
                for name in node.output
                for each in node.attribute
                if each.HasField("t")
            }
        sizes = known.get(node.input[-1]) if node.op_type in _MAKING and node.input else None
        try:
            made = 0 if sizes is None else math.prod(map(int, to_array(sizes).ravel()))
        except (TypeError, ValueError):  # onnxruntime refuses it
            continue
        if made > _LARGEST_CONSTANT:
            raise ModelFileError(
                f"The ONNX graph makes a constant of {made} numbers, which no U-Net needs; it is "
                "not run. Ask for an export of a plain U-Net."
            )


def _shape(value: Any) -> tuple[int | None, ...]:
    return tuple(
        int(size.dim_value) if size.HasField("dim_value") and size.dim_value > 0 else None
        for size in value.type.tensor_type.shape.dim
    )


@cache
def _bound_memory() -> None:
    """Let graphs take no more than is free, nor `_MOST_MEMORY`; beyond, memory is short."""
    import onnxruntime

    kind = onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR
    place = onnxruntime.OrtMemoryInfo("Cpu", kind, 0, onnxruntime.OrtMemType.DEFAULT)
    as_requested, by_default = 1, -1
    bounds = onnxruntime.OrtArenaCfg(
        min(_MOST_MEMORY, free_memory()), as_requested, by_default, by_default
    )
    onnxruntime.create_and_register_allocator(place, bounds)


class OnnxSession:
    """An ONNX graph that is ready to run; the file is looked through first.

    Raises ModelFileError: see `read_graph`; or onnxruntime cannot run it.
    """

    def __init__(self, data: bytes) -> None:
        read_graph(data)
        try:
            import onnxruntime
        except ImportError as error:
            raise ModelFileError(_MISSING) from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.inter_op_num_threads = 1
        options.log_severity_level = 4  # what is wrong is raised as well
        _bound_memory()
        options.add_session_config_entry("session.use_env_allocators", "1")
        try:
            self._session = onnxruntime.InferenceSession(
                data, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # it has errors of many kinds
            raise ModelFileError(
                f"onnxruntime cannot run the ONNX graph: {first_line(error)[:200]}. Export it anew."
            ) from error
        self._name = self._session.get_inputs()[0].name

    def __call__(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """Run it.

        Raises MemoryError if memory is short, and ModelMismatchError if it cannot take this image.
        """
        try:
            results = self._session.run(None, {self._name: image})
        except Exception as error:
            reason = first_line(error)[:200]
            if "alloc" in str(error).lower():
                raise MemoryError(reason) from error
            raise ModelMismatchError(
                f"The model cannot take {'x'.join(map(str, image.shape))} numbers: {reason}"
            ) from error
        return np.asarray(results[0], np.float32)


# --- How far each pixel of a result sees, from kernels and strides alone -------------------------


def step_and_reach(graph: Any) -> tuple[int, tuple[int, ...] | None]:
    """Follow kernels and strides through a graph.

    Returns how many pixels become one at its bottom, and how many the result sees on each side;
    None: all, or unknown.
    """
    ndim = _dimensions(graph)
    image = ((1.0, 0.0),) * ndim
    constants = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    known = {each.name: image for each in graph.input if each.name not in constants}
    deepest, last = 1.0, image
    for node in graph.node:
        inputs = [known[name] for name in node.input if name in known]
        if not inputs or node.op_type == "Shape":
            continue  # constants, and arithmetic of sizes
        weights = constants.get(node.input[1]) if len(node.input) > 1 else None
        seen = _after(node, _joined(inputs), ndim, weights)
        deepest = max(deepest, *(pixels for pixels, _ in seen))
        for name in node.output:
            known[name] = seen
        last = known.get(graph.output[0].name, last)
    step = int(min(deepest, _LARGEST))
    if any(pixels != 1 or reach >= _LARGEST for pixels, reach in last):
        return step, None
    return step, tuple(math.ceil(reach) for _, reach in last)


def _after(node: Any, before: _Seen, ndim: int, weights: tuple[int, ...] | None) -> _Seen:
    """Return what the result of an operation sees; `weights` is the shape of its second input."""
    lists = {each.name: list(each.ints) for each in node.attribute if len(each.ints)}
    strides = _along(lists.get("strides"), ndim)
    all_of_it = tuple((pixels, math.inf) for pixels, _ in before)
    if node.op_type in _WITH_KERNEL:
        kernel = lists.get("kernel_shape") or list((weights or ())[2:])
        if len(kernel) != ndim:
            return all_of_it
        dilations = _along(lists.get("dilations"), ndim)
        return tuple(
            (pixels * stride, reach + (size // 2) * dilation * pixels)
            for (pixels, reach), stride, size, dilation in zip(
                before, strides, kernel, dilations, strict=True
            )
        )
    if node.op_type in ("ConvTranspose", "Resize", "Upsample"):
        by = strides if node.op_type == "ConvTranspose" else (2,) * ndim  # as in a U-Net
        return tuple((p / factor, r + p) for (p, r), factor in zip(before, by, strict=True))
    return before if node.op_type in _IN_PLACE or _of_channels(node) else all_of_it


def _of_channels(node: Any) -> bool:
    """Return whether it is a softmax over the channels of each place."""
    axis = next((each.i for each in node.attribute if each.name == "axis"), -1)
    return bool(node.op_type == "Softmax" and axis == 1)


def _joined(inputs: list[_Seen]) -> _Seen:
    along = (zip(*axis, strict=True) for axis in zip(*inputs, strict=True))
    return tuple((max(pixels), max(reach)) for pixels, reach in along)


def _along(values: list[int] | None, ndim: int) -> tuple[int, ...]:
    return tuple(values) if values is not None and len(values) == ndim else (1,) * ndim


def _dimensions(graph: Any) -> int:
    """Return the number of spatial axes, by the weights of the first convolution."""
    weights = {tensor.name: tensor.dims for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Conv":
            for attribute in node.attribute:
                if attribute.name == "kernel_shape":
                    return len(attribute.ints)
            if node.input[1] in weights:
                return len(weights[node.input[1]]) - 2
    return 2
