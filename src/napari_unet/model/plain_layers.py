"""U-Nets of other programs, run straight from their weights under names of our own.

``contracting.L.N.conv.weight`` is the N-th convolution of level L, ``.norm.*`` what normalises
beside it, ``expanding.L.N`` the same on the way up, ``up.L.conv`` an up-convolution (or a 1x1
convolution after an enlargement), ``output.conv`` the last one. The number of levels, the channels
and the kernels are those of the weights.
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_unet.model.external_config import LayersConfig

_CONVOLUTION: dict[int, Any] = {2: functional.conv2d, 3: functional.conv3d}
_UP_CONVOLUTION: dict[int, Any] = {2: functional.conv_transpose2d, 3: functional.conv_transpose3d}
_POOLING: dict[int, Any] = {2: functional.max_pool2d, 3: functional.max_pool3d}
_LINEAR = {2: "bilinear", 3: "trilinear"}


def depth_of(weights: Mapping[str, Tensor]) -> int:
    """Return the number of poolings."""
    return next(
        level for level in count() if f"contracting.{level + 1}.0.conv.weight" not in weights
    )


class PlainLayers:
    """A padded U-Net of others; its weights by name (see the module), all on one device."""

    def __init__(self, config: LayersConfig, weights: Mapping[str, Tensor]) -> None:
        self.config, self.weights = config, dict(weights)
        self.depth = depth_of(weights)

    def __call__(self, images: Tensor) -> Tensor:
        """Compute what the network returns; (B, C_in, *) to (B, C, *)."""
        ndim = images.ndim - 2
        skips: list[Tensor] = []
        features = images
        for level in range(self.depth + 1):
            if level > 0:
                features = _POOLING[ndim](features, 2)  # (B, C, */2)
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
        convolution = _CONVOLUTION[features.ndim - 2]
        result: Tensor = convolution(
            features, weight, self.weights.get(f"{name}.bias"), padding=padding
        )
        return result

    def _enlarged(self, name: str, features: Tensor) -> Tensor:
        ndim = features.ndim - 2
        if self.config.enlarging == "transposed":
            weight = self.weights[f"{name}.weight"]
            result: Tensor = _UP_CONVOLUTION[ndim](
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
