"""How far each pixel of an ONNX graph's result sees, from its kernels and strides alone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

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
_LARGEST = 4096


@dataclass(frozen=True)
class _Seen:
    """Of one array in the graph, along its spatial axes."""

    pixels: tuple[float, ...]
    """Pixels of the image per element."""
    reach: tuple[float, ...]
    """Pixels of the image that an element sees on each side."""


def step_and_reach(graph: Any) -> tuple[int, tuple[int, ...] | None]:
    """Follow kernels and strides through a graph.

    Returns
    -------
    int
        How many pixels become one at its bottom.
    tuple of int or None
        Pixels that the result sees on each side; None: all, or unknown.
    """
    ndim = _dimensions(graph)
    image = _Seen((1.0,) * ndim, (0.0,) * ndim)
    constants = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    known: dict[str, _Seen] = {e.name: image for e in graph.input if e.name not in constants}
    deepest, last = 1.0, image
    for node in graph.node:
        inputs = [known[name] for name in node.input if name in known]
        if not inputs or node.op_type == "Shape":
            continue  # constants, and arithmetic of sizes
        weights = constants.get(node.input[1]) if len(node.input) > 1 else None
        seen = _after(node, _joined(inputs), ndim, weights)
        deepest = max(deepest, *seen.pixels)
        for name in node.output:
            known[name] = seen
        last = known.get(graph.output[0].name, last)
    step = int(min(deepest, _LARGEST))
    if set(last.pixels) != {1.0} or max(last.reach) >= _LARGEST:
        return step, None
    return step, tuple(math.ceil(reach) for reach in last.reach)


def _after(node: Any, before: _Seen, ndim: int, weights: tuple[int, ...] | None) -> _Seen:
    """Return what the result of an operation sees; `weights` is the shape of its second input."""
    lists = {each.name: list(each.ints) for each in node.attribute if len(each.ints)}
    strides = _along(lists.get("strides"), ndim)
    if node.op_type in _WITH_KERNEL:
        kernel = lists.get("kernel_shape") or list((weights or ())[2:])
        if len(kernel) != ndim:
            return _Seen(before.pixels, (math.inf,) * ndim)
        dilations = _along(lists.get("dilations"), ndim)
        return _Seen(
            tuple(p * stride for p, stride in zip(before.pixels, strides, strict=True)),
            tuple(
                r + (size // 2) * dilation * p
                for r, size, dilation, p in zip(
                    before.reach, kernel, dilations, before.pixels, strict=True
                )
            ),
        )
    if node.op_type in ("ConvTranspose", "Resize", "Upsample"):
        by = strides if node.op_type == "ConvTranspose" else (2,) * ndim  # as in a U-Net
        return _Seen(
            tuple(p / factor for p, factor in zip(before.pixels, by, strict=True)),
            tuple(r + p for r, p in zip(before.reach, before.pixels, strict=True)),
        )
    if node.op_type in _IN_PLACE or _of_channels(node):
        return before
    return _Seen(before.pixels, (math.inf,) * ndim)


def _of_channels(node: Any) -> bool:
    """Return whether it is a softmax over the channels of each place."""
    axis = next((each.i for each in node.attribute if each.name == "axis"), -1)
    return bool(node.op_type == "Softmax" and axis == 1)


def _joined(inputs: list[_Seen]) -> _Seen:
    pairs = list(zip(*(each.pixels for each in inputs), strict=True))
    reaches = list(zip(*(each.reach for each in inputs), strict=True))
    return _Seen(tuple(map(max, pairs)), tuple(map(max, reaches)))


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
