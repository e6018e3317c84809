"""Networks to train: random ones, ones that know something, their weights and statistics."""

from __future__ import annotations

from contextlib import contextmanager
from copy import deepcopy
from itertools import accumulate, product
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from napari_unet.data.frames import read_mirrored
from napari_unet.errors import ModelMismatchError
from napari_unet.model.starting import starting_weights
from napari_unet.model.unet import BatchNorm, UNet

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from napari_unet.data.axes import Region
    from napari_unet.model.config import UNetConfig
    from napari_unet.tasks import ClassTable
    from napari_unet.training.dataset import TrainingData


@contextmanager
def chance_of(seed: int, device: torch.device) -> Iterator[None]:
    """Let torch's chance on the CPU and on `device` follow a seed, and put it back at the end."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.default_generator.manual_seed(seed)
        if device.type == "cuda":
            torch.cuda.manual_seed(seed)
        yield


def random_network(config: UNetConfig, seed: int) -> UNet:
    """Return a network with random weights, the same for the same seed."""
    with chance_of(seed, torch.device("cpu")):
        return UNet(config)


def begin_with(network: UNet, name: str) -> bool:
    """Begin with the weights of a starting model; return whether they are of such a network."""
    weights = starting_weights(name, network.config, dict(network.state_dict()))
    if weights is None:
        return False
    network.load_state_dict(weights)
    return True


def placed(network: UNet, device: torch.device) -> UNet:
    """Bring a network to a device, in the layout that is fast there."""
    if network.config.ndim == 2:
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network.to(device)


def all_finite(weights: Mapping[str, Tensor]) -> bool:
    """Return whether weights on the CPU hold nothing but numbers."""
    return all(bool(tensor.isfinite().all()) for tensor in weights.values())


def copy_weights(network: nn.Module) -> dict[str, Tensor]:
    """Return the weights on the CPU, as a copy that further training leaves alone."""
    return {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in network.state_dict().items()
    }


# --- Carry weights over to a network with other classes: painting may add some at any time -------

_HEAD = ("output.weight", "output.bias")


def carried_over(
    weights: dict[str, Tensor], previous: ClassTable, classes: ClassTable, fresh: dict[str, Tensor]
) -> dict[str, Tensor]:
    """Give weights of one class table to a network of another.

    New classes begin with the weights `fresh` of a new network. Raises ModelMismatchError if one of
    the two is of objects, or takes other channels, or is another network.
    """
    if previous.kind != classes.kind:
        raise ModelMismatchError(
            f"The model was trained on {previous.kind}, the labels are {classes.kind}. "
            "Train a new network instead of continuing."
        )
    for name, tensor in fresh.items():
        known = weights.get(name)
        if known is None or (known.shape != tensor.shape and not name.endswith(_HEAD)):
            raise ModelMismatchError(
                "The model is another network than these settings and images ask for (first "
                f"difference: {name}). Train a new network, or use the model's own settings."
            )
    if previous.finer != classes.finer:
        raise ModelMismatchError(
            f"The model makes images {previous.finer} times as fine, and these targets are "
            f"{classes.finer} times as fine as their images. Give pairs of one kind, or train a "
            "new model."
        )
    # Classes in layers are known by their names, whatever their order; objects have no values.
    before, now = map(_meanings, (previous, classes))
    if before == now:
        return weights
    result = dict(weights)
    for name in [name for name in fresh if name.endswith(_HEAD)]:
        head = fresh[name].clone()
        for channel, meaning in enumerate(now):
            if meaning in before:
                head[channel] = weights[name][before.index(meaning)]
        result[name] = head
    return result


def _meanings(table: ClassTable) -> tuple[object, ...]:
    """Return what each channel stands for."""
    return table.task.channel_names(table) if table.names else table.painted


# --- BatchNorm statistics of whole images: what patches around the paint do not show -------------

# Edge length of what is seen at once, and how many pixels are seen of all frames together.
_EDGE = {2: 384, 3: 64}
_PIXELS = {2: 2**20, 3: 2**21}


def statistics_of(network: nn.Module) -> dict[str, Tensor]:
    """Return what BatchNorm normalises by, as a copy; nothing without BatchNorm."""
    return {
        name: tensor.clone()
        for name, tensor in network.named_buffers()
        if tensor.is_floating_point()
    }


def set_statistics(network: nn.Module, statistics: Mapping[str, Tensor]) -> None:
    """Let BatchNorm normalise by other statistics."""
    buffers = dict(network.named_buffers())
    for name, tensor in statistics.items():
        buffers[name].copy_(tensor)


def recomputed_statistics(
    network: nn.Module, data: TrainingData, device: torch.device
) -> dict[str, Tensor]:
    """Return the statistics that a network, which stays as it is, would have of images as a whole.

    Undeformed squares of evenly spaced frames are looked at.
    """
    copy = deepcopy(network)
    update_bn(_views(data), copy, device)
    return statistics_of(copy)


def mixed_statistics(
    one: Mapping[str, Tensor], other: Mapping[str, Tensor], share: float
) -> dict[str, Tensor]:
    """Return a share of the other statistics, and of the first ones what is left to 1."""
    return {name: torch.lerp(tensor, other[name], share) for name, tensor in one.items()}


def _views(data: TrainingData) -> Iterator[Tensor]:
    """Yield images (1, C, *), normalised."""
    ndim = data.frames[0].frame.ndim
    boxes = [
        (frame, box)
        for frame in data.frames
        for box in _grid(frame.frame.spatial_shape, _EDGE[ndim])
    ]
    wanted = max(1, _PIXELS[ndim] // _EDGE[ndim] ** ndim)
    for i in np.unique(np.linspace(0, len(boxes) - 1, min(wanted, len(boxes))).round().astype(int)):
        frame, box = boxes[i]
        pixels = read_mirrored(frame.frame, [p.start for p in box], [p.stop for p in box])
        yield torch.from_numpy(frame.intensity.normalise(pixels))[None]


def _grid(shape: tuple[int, ...], edge: int) -> list[Region]:
    """Cover a frame with boxes whose sizes suit the poolings, mirrored beyond its far edges."""
    sides = [
        [slice(a, a + -(-min(edge, size - a) // 32) * 32) for a in range(0, size, edge)]
        for size in shape
    ]
    return list(product(*sides))


# --- Many tensors as one --------------------------------------------------------------------------

# Kernels read fastest, or at all in their fast form, what begins at multiples of this.
_ALIGNED_BYTES = 64


def pieces(tensors: Iterable[Tensor]) -> list[Tensor]:
    """Return the memory of tensors, one piece (n,) for each dtype; they are laid there if need be.

    What is done to a piece is done to all of them in one call. A training makes thousands of steps,
    and on a GPU each call costs more than what it does.
    """
    kinds: dict[torch.dtype, list[Tensor]] = {}
    for tensor in tensors:
        kinds.setdefault(tensor.dtype, []).append(tensor)
    return [_piece(kind) for kind in kinds.values()]


def _piece(tensors: list[Tensor]) -> Tensor:
    step = _ALIGNED_BYTES // tensors[0].element_size()
    places = list(accumulate((-(-t.numel() // step) * step for t in tensors), initial=0))
    first, last = tensors[0].untyped_storage(), tensors[-1].untyped_storage()
    if (
        first.data_ptr() == last.data_ptr()
        and first.nbytes() == places[-1] * tensors[0].element_size()
    ):
        return tensors[0].data.as_strided((places[-1],), (1,), 0)
    piece = torch.zeros(places[-1], dtype=tensors[0].dtype, device=tensors[0].device)
    for tensor, start in zip(tensors, places, strict=False):
        place = piece.as_strided(tensor.shape, tensor.stride(), start)
        tensor.data = place.copy_(tensor.detach())
    return piece


def part_of(memory: Tensor, parameter: Tensor) -> Tensor:
    """Return the part of a memory (n,) laid out as `pieces` does it that belongs to a parameter."""
    return memory.as_strided(parameter.shape, parameter.stride(), parameter.storage_offset())


class ReducedNetwork(nn.Module):
    """Computes a network with its convolutions in another number format.

    As autocast does, to the last bit: but that converts each weight, and each gradient, by itself.
    Here all of them are converted in one pass. BatchNorm stays as it is.
    """

    def __init__(self, network: UNet, precision: torch.dtype) -> None:
        super().__init__()
        self._of = [network]  # a list: no module of this one
        (self._exact,) = pieces(network.parameters())
        self._reduced = self._exact.to(precision)
        self._gradient = torch.zeros_like(self._reduced)
        kept = {id(layer): layer for layer in network.modules() if isinstance(layer, BatchNorm)}
        self.twin = deepcopy(network, dict(kept))
        own = {id(parameter) for parameter in network.parameters()}
        for parameter, exact in zip(self.twin.parameters(), network.parameters(), strict=True):
            if id(parameter) not in own:
                parameter.data = part_of(self._reduced, exact)
                parameter.grad = part_of(self._gradient, exact)

    def forward(self, images: Tensor) -> Tensor:
        """Compute the scores with the weights of now; see `hand_over`."""
        self._reduced.copy_(self._exact)
        self._gradient.zero_()
        if self.twin.training != self._of[0].training:  # BatchNorm is the network's own
            self.twin.train(self._of[0].training)
        scores: Tensor = self.twin(images.to(self._reduced.dtype))
        return scores

    def hand_over(self) -> None:
        """Add the gradient of the last pass to that of the network, whose memory is one piece."""
        gradient = next(self._of[0].parameters()).grad
        assert gradient is not None
        gradient.as_strided(self._exact.shape, (1,), 0).add_(self._gradient)
