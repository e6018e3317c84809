"""How far each pixel of an ONNX graph's result sees, from its kernels and strides alone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

# Their results depend on all of the image.
_OVER_ALL = frozenset(
    [
        "GlobalAveragePool",
        "GroupNormalization",
        "InstanceNormalization",
        "LayerNormalization",
        "ReduceMax",
        "ReduceMean",
        "ReduceMin",
        "ReduceSum",
        "CumSum",
    ]
)
_WITH_KERNEL = frozenset(["Conv", "MaxPool", "AveragePool"])
_LARGEST = 4096


@dataclass(frozen=True)
class _Seen:
    """Of one array in the graph, along its spatial axes.

    Parameters
    ----------
    pixels : tuple of float
        Pixels of the image per element.
    reach : tuple of float
        Pixels of the image that an element sees on each side.
    """

    pixels: tuple[float, ...]
    reach: tuple[float, ...]


def step_and_reach(graph: Any) -> tuple[int, tuple[int, ...] | None]:
    """Follow kernels and strides through a graph.

    Returns
    -------
    int
        How many pixels become one at its bottom.
    tuple of int or None
        Pixels that the result sees on each side; None where it sees all, or nobody knows.
    """
    ndim = _dimensions(graph)
    image = _Seen((1.0,) * ndim, (0.0,) * ndim)
    constants = {tensor.name for tensor in graph.initializer}
    known: dict[str, _Seen] = {e.name: image for e in graph.input if e.name not in constants}
    deepest, last = 1.0, image
    for node in graph.node:
        inputs = [known[name] for name in node.input if name in known]
        if not inputs or node.op_type == "Shape":
            continue  # constants, and arithmetic of sizes
        seen = _after(node, _joined(inputs), ndim)
        deepest = max(deepest, *seen.pixels)
        for name in node.output:
            known[name] = seen
        last = known.get(graph.output[0].name, last)
    step = int(min(deepest, _LARGEST))
    if set(last.pixels) != {1.0} or max(last.reach) >= _LARGEST:
        return step, None
    return step, tuple(math.ceil(reach) for reach in last.reach)


def _after(node: Any, before: _Seen, ndim: int) -> _Seen:
    """Return what the result of an operation sees."""
    lists = {each.name: list(each.ints) for each in node.attribute if len(each.ints)}
    strides = _along(lists.get("strides"), ndim)
    if node.op_type in _OVER_ALL:
        return _Seen(before.pixels, (math.inf,) * ndim)
    if node.op_type in _WITH_KERNEL:
        kernel = _along(lists.get("kernel_shape"), ndim)
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
    return before


def _joined(inputs: list[_Seen]) -> _Seen:
    pairs = list(zip(*(each.pixels for each in inputs), strict=True))
    reaches = list(zip(*(each.reach for each in inputs), strict=True))
    return _Seen(tuple(map(max, pairs)), tuple(map(max, reaches)))


def _along(values: list[int] | None, ndim: int) -> tuple[int, ...]:
    return tuple(values) if values is not None and len(values) == ndim else (1,) * ndim


def _dimensions(graph: Any) -> int:
    """Return the number of spatial axes, by the kernel of the first convolution."""
    for node in graph.node:
        if node.op_type == "Conv":
            for attribute in node.attribute:
                if attribute.name == "kernel_shape":
                    return len(attribute.ints)
    return 2
