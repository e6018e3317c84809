"""Networks of other programs: their weights, and how they predict in the place of a U-Net."""

from __future__ import annotations

from functools import partial
from itertools import count, product
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from napari_unet.errors import ModelFileError, ModelMismatchError, first_line
from napari_unet.model.convolutions import CONVOLUTION, POOLING, UP_CONVOLUTION
from napari_unet.model.devices import true_float32
from napari_unet.model.memory import is_out_of_memory
from napari_unet.model.onnx_graph import LARGEST_GRAPH, OnnxSession

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from napari_unet.model.record import Activation, ExternalConfig, Geometry, LayersConfig

_GRAPH = "onnx"
_LINEAR = {2: "bilinear", 3: "trilinear"}


class ReadyNetwork(Protocol):
    """A network on its device, ready to predict."""

    device: torch.device
    precision: torch.dtype

    @property
    def config(self) -> Geometry:
        """Its geometry."""

    def probabilities(self, images: Tensor) -> Tensor:
        """Compute (B, out_channels, *') from (B, C_in, *): smaller by the halo on all sides."""


class ExternalNetwork:
    """A network of another program with its weights: of an ONNX graph one tensor of bytes, "onnx".

    Raises ModelFileError where they are not those of such a network.
    """

    def __init__(self, config: ExternalConfig, tensors: Mapping[str, Tensor]) -> None:
        self.config: ExternalConfig = config
        self._tensors = dict(tensors)
        if config.engine == "onnx":
            graph = self._tensors.get(_GRAPH)
            if set(self._tensors) != {_GRAPH} or graph is None or graph.dtype != torch.uint8:
                raise ModelFileError("The model says that it is an ONNX graph, and holds none.")
            if graph.ndim != 1 or len(graph) > LARGEST_GRAPH:
                raise ModelFileError(f"An ONNX graph of shape {tuple(graph.shape)} is not read.")
        elif any(tensor.dtype != torch.float32 for tensor in self._tensors.values()):
            raise ModelFileError("The weights of the model are not float32.")

    def state_dict(self) -> dict[str, Tensor]:
        """Return the weights by name."""
        return dict(self._tensors)

    def on(self, device: torch.device) -> Callable[[Tensor], Tensor]:
        """Return what maps (B, C_in, *) to (B, raw_channels, *'), padded as its authors did.

        Raises ModelFileError if the graph is damaged, holds what is not run, or a library is
        missing.
        """
        if self.config.engine == "onnx":
            session = OnnxSession(self._tensors[_GRAPH].numpy().tobytes())
            return partial(_of_graph, self.config, session)
        assert self.config.layers is not None
        weights = {name: tensor.to(device) for name, tensor in self._tensors.items()}
        return PlainLayers(self.config.layers, weights)


def _of_graph(config: ExternalConfig, session: OnnxSession, images: Tensor) -> Tensor:
    """Run images one by one, with axes in the order of the graph; (B, C_in, *) to (B, C, *')."""
    own, results = "bc" + "zyx"[-config.ndim :], []
    for image in images:
        taken = _with_axes(image[None].cpu().numpy(), own, config.input_axes)
        returned = session(np.ascontiguousarray(taken, np.float32))
        axes = config.output_axes
        if returned.ndim != len(axes):
            raise ModelMismatchError(
                f"The model returned an array of shape {returned.shape}, not one of axes {axes}."
            )
        results.append(torch.from_numpy(np.ascontiguousarray(_with_axes(returned, axes, own))))
    return torch.cat(results)


class ReadyExternal:
    """A network of another program on its device, ready to predict; ONNX graphs run on the CPU."""

    def __init__(self, network: ExternalNetwork, device: torch.device) -> None:
        self.config: ExternalConfig = network.config
        self.precision: torch.dtype = torch.float32
        self.device: torch.device = (
            torch.device("cpu") if network.config.engine == "onnx" else device
        )
        self._run = network.on(self.device)

    @torch.inference_mode()
    def probabilities(self, images: Tensor) -> Tensor:
        """Compute the probabilities of our classes; see `ReadyNetwork`."""
        with true_float32(self.device, torch.float32):
            raw = self._in_windows(images) if self.config.fixed else self._cropped(images)
        return meant(raw, self.config)

    def _cropped(self, images: Tensor) -> Tensor:
        """Run the network and take the middle of what it returns."""
        raw = raw_output(self._run, images)
        wanted = [
            size - 2 * halo for size, halo in zip(images.shape[2:], self.config.halos, strict=True)
        ]
        if raw.shape[1] != self.config.raw_channels:
            raise ModelMismatchError(
                f"The model returned {raw.shape[1]} channels, not {self.config.raw_channels}."
            )
        for axis, size in enumerate(wanted, start=2):
            more = raw.shape[axis] - size
            if more < 0 or more % 2:
                raise ModelMismatchError(
                    f"The model returned {tuple(raw.shape[2:])} pixels of {tuple(images.shape[2:])}"
                    "; what is as large as its image, or evenly smaller, can be used."
                )
            raw = raw.narrow(axis, more // 2, size)
        return raw

    def _in_windows(self, images: Tensor) -> Tensor:
        """Run a network of fixed input size beside and below one another."""
        strides, sizes = self.config.shortest_outputs, self.config.smallest
        counts = [
            (size - window) // stride + 1
            for size, window, stride in zip(images.shape[2:], sizes, strides, strict=True)
        ]
        full = [n * stride for n, stride in zip(counts, strides, strict=True)]
        result = images.new_empty((len(images), self.config.raw_channels, *full))
        for position in product(*map(range, counts)):
            starts = [n * stride for n, stride in zip(position, strides, strict=True)]
            seen, own = images, result
            for axis, start in enumerate(starts):
                seen = seen.narrow(axis + 2, start, sizes[axis])
                own = own.narrow(axis + 2, start, strides[axis])
            own.copy_(self._cropped(seen))
        return result


def raw_output(run: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """Run a network of others as it is; ModelMismatchError where it cannot take such a shape."""
    try:
        return run(images).float()
    except (RuntimeError, KeyError, IndexError, ValueError) as error:
        if is_out_of_memory(error) or images.device.type != "cpu":
            raise
        raise ModelMismatchError(
            f"The model cannot take {'x'.join(map(str, images.shape[1:]))} numbers: "
            f"{first_line(error)[:200]}"
        ) from error


def activated(raw: Tensor, activation: Activation) -> Tensor:
    """Make probabilities of what a network returned; (B, C, *)."""
    if activation == "sigmoid":
        return raw.sigmoid()
    return raw.softmax(dim=1) if activation == "softmax" else raw


def meant(raw: Tensor, config: ExternalConfig) -> Tensor:
    """Return the probabilities of our classes; (B, raw_channels, *) to (B, out_channels, *)."""
    maps = activated(raw, config.activation).clamp(0, 1)
    if config.meaning in ("exclusive", "overlapping"):
        return maps
    if config.meaning == "independent":
        return torch.cat([1 - maps.amax(dim=1, keepdim=True), maps], dim=1)
    objects = maps[:, config.foreground : config.foreground + 1]
    if config.meaning == "boundary":
        objects = (objects - maps[:, config.boundary : config.boundary + 1]).clamp(min=0)
    return torch.cat([1 - objects, objects], dim=1)


def _with_axes(array: np.ndarray, axes: str, wanted: str) -> np.ndarray:
    """Reorder axes; those that are missing have the size 1, those too many must have it."""
    for axis in axes:
        if axis not in wanted:
            if array.shape[axes.index(axis)] != 1:
                raise ModelMismatchError(
                    f"The model has no axis {axis!r}, but {array.shape[axes.index(axis)]} of it "
                    "are given."
                )
            array = array.squeeze(axes.index(axis))
            axes = axes.replace(axis, "")
    for axis in wanted:
        if axis not in axes:
            array, axes = array[np.newaxis], axis + axes
    return array.transpose([axes.index(axis) for axis in wanted])


# --- U-Nets of other programs, run straight from their weights under names of our own ------------
#
# "contracting.L.N.conv.weight" is the N-th convolution of level L, ".norm.*" what normalises beside
# it, "expanding.L.N" the same on the way up, "up.L.conv" an up-convolution (or a 1x1 convolution
# after an enlargement), "output.conv" the last one. The number of levels, the channels and the
# kernels are those of the weights.


def depth_of(weights: Mapping[str, Tensor]) -> int:
    """Return the number of poolings."""
    return next(
        level for level in count() if f"contracting.{level + 1}.0.conv.weight" not in weights
    )


class PlainLayers:
    """A padded U-Net of others; its weights by name (see above), all on one device."""

    def __init__(self, config: LayersConfig, weights: Mapping[str, Tensor]) -> None:
        self.config: Final = config
        self.weights: Final = dict(weights)
        self.depth: Final = depth_of(weights)

    def __call__(self, images: Tensor) -> Tensor:
        """Compute what the network returns; (B, C_in, *) to (B, C, *)."""
        ndim = images.ndim - 2
        skips: list[Tensor] = []
        features = images
        for level in range(self.depth + 1):
            if level > 0:
                features = POOLING[ndim](features, 2)  # (B, C, */2)
            features = self._convolutions(f"contracting.{level}", features)
            skips.append(features)
        for level in reversed(range(self.depth)):
            features = self._enlarged(f"up.{level}.conv", features)  # (B, C', *2)
            parts = [skips[level], features]
            features = torch.cat(parts if self.config.skip_first else parts[::-1], dim=1)
            features = self._convolutions(f"expanding.{level}", features)
        return self._convolved("output.conv", features)

    def _convolutions(self, path: str, features: Tensor) -> Tensor:
        for number in count():
            name = f"{path}.{number}"
            if f"{name}.conv.weight" not in self.weights:
                return features
            if self.config.normalized_first:
                features = self._normalised(f"{name}.norm", features)
            features = self._convolved(f"{name}.conv", features)
            if not self.config.normalized_first:
                features = self._normalised(f"{name}.norm", features)
            features = features.relu()
        raise AssertionError

    def _convolved(self, name: str, features: Tensor) -> Tensor:
        weight = self.weights[f"{name}.weight"]
        padding = tuple(size // 2 for size in weight.shape[2:])
        convolution = CONVOLUTION[features.ndim - 2]
        result: Tensor = convolution(
            features, weight, self.weights.get(f"{name}.bias"), padding=padding
        )
        return result

    def _enlarged(self, name: str, features: Tensor) -> Tensor:
        ndim = features.ndim - 2
        if self.config.enlarging == "transposed":
            weight = self.weights[f"{name}.weight"]
            result: Tensor = UP_CONVOLUTION[ndim](
                features, weight, self.weights.get(f"{name}.bias"), stride=2
            )
            return result
        if self.config.enlarging == "nearest":
            features = functional.interpolate(features, scale_factor=2, mode="nearest")
        else:
            features = functional.interpolate(
                features, scale_factor=2, mode=_LINEAR[ndim], align_corners=False
            )
        return self._convolved(name, features) if f"{name}.weight" in self.weights else features

    def _normalised(self, name: str, features: Tensor) -> Tensor:
        kind = self.config.normalization
        weight, bias = self.weights.get(f"{name}.weight"), self.weights.get(f"{name}.bias")
        if kind == "batch":
            mean, variance = (self.weights[f"{name}.running_{of}"] for of in ("mean", "var"))
            return functional.batch_norm(features, mean, variance, weight, bias)
        if kind == "group":
            channels = features.shape[1]
            groups = self.config.groups if channels >= self.config.groups else 1
            return functional.group_norm(features, groups, weight, bias)
        if kind == "instance":
            return functional.instance_norm(features, weight=weight, bias=bias)
        return features
