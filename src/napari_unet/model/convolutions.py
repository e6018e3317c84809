"""Convolutions as they predict: weights made ready once, addition and ReLU in the same call."""

from __future__ import annotations

import threading
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

from napari_unet.model.memory import is_out_of_memory

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

CONVOLUTION: dict[int, Any] = {2: functional.conv2d, 3: functional.conv3d}
UP_CONVOLUTION: dict[int, Any] = {2: functional.conv_transpose2d, 3: functional.conv_transpose3d}
POOLING: dict[int, Any] = {2: functional.max_pool2d, 3: functional.max_pool3d}
LAYOUT = {2: torch.channels_last, 3: torch.channels_last_3d}

# What an operator raises that does not exist, takes other arguments, or cannot do this shape.
_FAILURES = (RuntimeError, AttributeError, TypeError)

# Set once an operator of oneDNN has failed in use, at whatever shape: from then on torch's public
# functions compute. It is of the process, as the operators are: what fails in one network may fail
# in the next, and all networks that are ready are to turn away from them.
_onednn_given_up = threading.Event()


class OneDnnError(RuntimeError):
    """An operator of oneDNN does not exist here, or cannot do what it was asked."""


def give_up_onednn() -> None:
    """Compute by torch's public functions from now on, in all networks of this process."""
    _onednn_given_up.set()


class PlainConvolution:
    """An unpadded convolution with its bias by torch's public functions, on any device.

    `weight` is (channels, C, *kernel), `bias` (channels,); the result is rectified with `relu`.
    """

    def __init__(self, weight: Tensor, bias: Tensor, relu: bool = True) -> None:
        self.kernel: tuple[int, ...] = tuple(weight.shape[2:])
        self.channels: int = len(weight)
        self._weight, self._bias, self._relu = weight, bias, relu
        self._convolve = CONVOLUTION[len(self.kernel)]

    def __call__(self, features: Tensor) -> Tensor:
        """Convolve; (B, C, *) to (B, channels, *')."""
        result: Tensor = self._convolve(features, self._weight, self._bias)
        return result.relu_() if self._relu else result

    def plus(self, features: Tensor, other: Tensor) -> Tensor:
        """Convolve, add `other` of the result's shape, and rectify."""
        result: Tensor = self._convolve(features, self._weight, self._bias)
        return result.add_(other).relu_()


class OneDnnConvolution:
    """A convolution by one call of oneDNN, with its weights in the order that oneDNN wants.

    Parameters as `PlainConvolution`; on the CPU. The operators are those that torch's own compiler
    calls. They are not part of torch's public interface: where one fails, here or in a call,
    OneDnnError is raised, and after :func:`give_up_onednn` `PlainConvolution` does the work.
    """

    def __init__(self, weight: Tensor, bias: Tensor, relu: bool = True) -> None:
        self.kernel: Final = tuple(weight.shape[2:])
        self.channels: Final = len(weight)
        self._bias, self._relu = bias, relu
        ones = [1] * len(self.kernel)
        padding, stride, dilation, groups = [0] * len(self.kernel), ones, ones, 1
        self._geometry = padding, stride, dilation, groups
        # For inputs of any size: what is computed first must not decide how the rest is rounded.
        self._packed: Tensor = _tried(
            lambda: torch.ops.mkldnn._reorder_convolution_weight(weight, *self._geometry, [])
        )

    def __call__(self, features: Tensor) -> Tensor:
        """Convolve; (B, C, *) to (B, channels, *')."""
        if _onednn_given_up.is_set():
            return self._plain(features)
        return _tried(lambda: self._fused(features))

    def plus(self, features: Tensor, other: Tensor) -> Tensor:
        """Convolve, add `other` of the result's shape, and rectify."""
        if _onednn_given_up.is_set():
            return self._plain.plus(features, other)
        return _tried(lambda: self._fused_sum(features, other))

    @cached_property
    def _plain(self) -> PlainConvolution:
        """The same convolution by public functions; made only where it is needed."""
        weight = self._packed.to_dense().contiguous(memory_format=LAYOUT[len(self.kernel)])
        return PlainConvolution(weight, self._bias, self._relu)

    def _fused(self, features: Tensor) -> Tensor:
        activation = "relu" if self._relu else "none"
        result: Tensor = torch.ops.mkldnn._convolution_pointwise(
            features, self._packed, self._bias, *self._geometry, activation, [], ""
        )
        return result

    def _fused_sum(self, features: Tensor, other: Tensor) -> Tensor:
        result: Tensor = torch.ops.mkldnn._convolution_pointwise.binary(
            *(features, other, self._packed, self._bias),
            *(*self._geometry, "add", 1.0, "relu", [], ""),
        )
        return result


Convolution: TypeAlias = PlainConvolution | OneDnnConvolution


def _tried(operator: Callable[[], Tensor]) -> Tensor:
    """Call an operator of oneDNN, and give its failures one name."""
    try:
        return operator()
    except _FAILURES as error:
        if is_out_of_memory(error):  # no fault of the operator: smaller tiles are tried next
            raise
        raise OneDnnError(str(error)) from error


class UpConvolution:
    """An up-convolution and the convolution that follows it, as one transposed convolution.

    Its `weight` is that of the transposed convolution: (C, channels, *kernel).
    """

    def __init__(self, weight: Tensor, stride: Sequence[int]) -> None:
        self._weight, self._stride = weight, tuple(stride)
        self._kernel = tuple(weight.shape[2:])
        self._convolve = UP_CONVOLUTION[len(stride)]
        # What the following convolution loses at the borders is not computed.
        self._lost = [size - step for size, step in zip(self._kernel, stride, strict=True)]

    def __call__(self, features: Tensor) -> Tensor:
        """Enlarge all; (B, C, *) to (B, channels, *')."""
        result: Tensor = self._convolve(
            features, self._weight, None, stride=self._stride, padding=self._lost
        )
        return result

    def rows(self, features: Tensor, start: int, stop: int) -> Tensor:
        """Return rows `start` to `stop`, along the first axis, of what all would give."""
        size, step, lost = self._kernel[0], self._stride[0], self._lost[0]
        first = max(0, -(-(start + lost - size + 1) // step))
        last = min(features.shape[2] - 1, (stop - 1 + lost) // step)
        part: Tensor = self._convolve(
            features[:, :, first : last + 1],
            self._weight,
            None,
            stride=self._stride,
            padding=[0, *self._lost[1:]],
        )
        begin = start + lost - first * step
        return part[:, :, begin : begin + stop - start]


def composed(up: Tensor, following: Tensor) -> Tensor:
    """Compose an up-convolution with the convolution of its result.

    From the weights (C, M, *stride) of a transposed convolution whose kernel is its stride, and
    those (N, M, *kernel) of a convolution, come those of a transposed convolution of the same
    stride: (C, N, *(stride + kernel - 1)).
    """
    padding = [size - 1 for size in following.shape[2:]]
    weights: Tensor = CONVOLUTION[up.ndim - 2](up, following, padding=padding)
    return weights


def make_convolution(
    weight: Tensor, bias: Tensor, device: torch.device, precision: torch.dtype, relu: bool = True
) -> Convolution:
    """Place a convolution on a device, in a number format, by the fastest way there."""
    ndim = weight.ndim - 2
    weight = weight.to(device, precision).contiguous(memory_format=LAYOUT[ndim])
    bias = bias.to(device, precision)
    if device.type == "cpu" and onednn_fuses(ndim, precision):
        try:
            return OneDnnConvolution(weight, bias, relu)
        except OneDnnError:
            give_up_onednn()
    return PlainConvolution(weight, bias, relu)


def onednn_fuses(ndim: int, precision: torch.dtype) -> bool:
    """Return whether oneDNN's fused operators are to be used: they work here, and none failed."""
    return not _onednn_given_up.is_set() and _onednn_agrees(ndim, precision)


@lru_cache
def _onednn_agrees(ndim: int, precision: torch.dtype) -> bool:
    """Return whether oneDNN's fused operators give, at one shape, what torch's functions give."""
    shape = (1, 8) + (5,) * ndim
    features = torch.linspace(-1, 1, 8 * 5**ndim).reshape(shape).to(precision)
    weight = torch.linspace(-1, 1, 64 * 3**ndim).reshape(8, 8, *(3,) * ndim).to(precision)
    features = features.contiguous(memory_format=LAYOUT[ndim])
    other = torch.ones(1, 8, *(3,) * ndim, dtype=precision).contiguous(memory_format=LAYOUT[ndim])
    bias = torch.linspace(-1, 1, 8).to(precision)
    plain = PlainConvolution(weight, bias)
    try:
        fused = OneDnnConvolution(weight, bias)
        pairs = (
            (plain(features), fused(features)),
            (plain.plus(features, other), fused.plus(features, other)),
        )
    except RuntimeError as error:  # of oneDNN, or torch's own: a number format that is lacking here
        if is_out_of_memory(error):  # no fault of the operators
            raise
        return False
    tolerance = 16 * torch.finfo(precision).eps
    return all(bool((a - b).abs().max() <= tolerance * a.abs().max()) for a, b in pairs)
