"""One update of a network, or none: decided on the device, so that nothing waits for it.

A step whose loss or gradient is no finite number must change nothing. To ask the device before
each update would let a GPU stand still until the answer has come; so the answer stays a tensor
there, and everything that a step changes follows it: optimiser, running average, and what
BatchNorm has already learned from the bad patch.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache, reduce
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from napari_unet.errors import NotEnoughMemoryError
from napari_unet.training.networks import ReducedNetwork, part_of, pieces
from napari_unet.training.patches import Batch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from torch import Tensor

    from napari_unet.model.memory import Shortage
    from napari_unet.model.unet import UNet
    from napari_unet.training.config import TrainConfig
    from napari_unet.training.distillation import Teacher

# Patches of fewer pixels along an axis show too little to learn from.
_SMALLEST_PATCH = 16
_AVERAGING_DECAY = 0.99
_WARM_UP = 0.05  # share of the training in which the learning rate rises
_FINAL_RATE = 0.01  # share of the peak learning rate at the end
# Where torch updates all weights in one pass; elsewhere it does not, or is not trusted to.
_FUSED_DEVICES = ("cpu", "cuda")


def add_gradients(
    network: nn.Module,
    parts: Iterable[Batch],
    shares_of: Callable[[Batch], Tensor | None],
    loss_of: Callable[[Tensor, Tensor, Tensor], Tensor],
    teacher: Teacher | None,
    precision: torch.dtype,
    trust_in_classifier: float = 0.0,
    offsets_of_paint: Tensor | None = None,
) -> Tensor:
    """Add the gradient of a batch to that of a network's parameters, part by part.

    Minimised is the loss of what is painted, `loss_of` scores (B, classes, *), classes and weights,
    plus what the starting model teaches besides, or a pixel classifier, which counts as much as it
    is trusted; the painted and the other pixels of a part count for its shares, (2,), or None where
    it is all there is. Where classes are painted more often than they occur, the offsets (classes,)
    are added to the scores of what is painted. Returns both losses, (2,), on the device.
    """
    losses = []
    for part in parts:
        shares = shares_of(part)
        logits = _scores(network, part.images, precision)
        painted = loss_of(_raised(logits, offsets_of_paint), part.classes, part.weights)
        taught = None
        if trust_in_classifier:
            taught = loss_of(logits, part.classes, -part.weights) * trust_in_classifier
        elif teacher is not None:
            taught = teacher.loss(logits, part.images, part.classes)
        if shares is not None:
            painted, taught = painted * shares[0], None if taught is None else taught * shares[1]
        whole = painted if taught is None else painted + taught
        whole.backward()  # type: ignore[no-untyped-call]
        if isinstance(network, ReducedNetwork):
            network.hand_over()
        taught = painted.new_zeros(()) if taught is None else taught.detach()
        losses.append(torch.stack([painted.detach(), taught]))
    return reduce(torch.add, losses)


def _scores(network: nn.Module, images: Tensor, precision: torch.dtype) -> Tensor:
    """Return what a network, its convolutions in a precision, makes of images (B, C, *)."""
    if images.ndim == 4:
        images = images.contiguous(memory_format=torch.channels_last)
    converts = precision != torch.float32 and not isinstance(network, ReducedNetwork)
    with torch.autocast(images.device.type, precision, enabled=converts):
        scores: Tensor = network(images)
    return scores


def _raised(logits: Tensor, offsets: Tensor | None) -> Tensor:
    if offsets is None:
        return logits
    return logits + offsets.reshape(-1, *(1,) * (logits.ndim - 2))


class MicroBatcher:
    """Divides batches into micro-batches that fit, and remembers for all steps what did not."""

    def __init__(self, config: TrainConfig) -> None:
        self._config, self._at_once = config, config.batch_size

    @property
    def config(self) -> TrainConfig:
        """The settings, with the patch size that fits as far as is known."""
        return self._config

    def split(self, batch: Batch) -> Iterator[Batch]:
        """Divide a batch: its gradient is the sum of those of its micro-batches."""
        if self._at_once >= len(batch.images):
            yield batch
            return
        for start in range(0, len(batch.images), self._at_once):
            part = slice(start, start + self._at_once)
            yield Batch(batch.images[part], batch.classes[part], batch.weights[part])

    def take_less(self, shortage: Shortage, edge: int) -> str:
        """Compute less at once from now on: half the patches, in the end half the patch.

        Patches have `edge` pixels along each axis of the plane. Returns what the user should know.
        Raises NotEnoughMemoryError if the smallest patch alone does not fit.
        """
        if self._at_once > 1:
            self._at_once = (self._at_once + 1) // 2
            return (
                f"{shortage}: {self._at_once} of {self._config.batch_size} patches are computed "
                "at a time, each step learns from all of them."
            )
        smaller = self._half_of(edge)
        if smaller is None:
            remedy = "Continue on CPU or use a smaller patch."
            if shortage.device.type == "cpu":
                remedy = "Close other programs, or use a smaller network."
            raise NotEnoughMemoryError(f"{shortage}. {remedy}")
        self._config = replace(self._config, patch_size=smaller)
        return (
            f"{shortage}: patches have {smaller} instead of {edge} pixels along each axis, and are "
            "computed one at a time."
        )

    def _half_of(self, edge: int) -> int | None:
        """Return the patch size that the network takes next to half of one; None: too small."""
        network = self._config.network(1, 2)
        factor = network.pooling_factor
        # two pixels at the bottom: the statistics of one are none
        smallest = network.fitting_output(max(_SMALLEST_PATCH, 2 * factor), factor)
        smaller = network.fitting_output(edge // 2, factor)
        return smaller if smallest <= smaller < edge else None


# --- Whether it is made -------------------------------------------------------------------------


def new_average(network: nn.Module, device: torch.device) -> AveragedModel:
    """Return the running average of a network, which as yet has met nothing."""
    return AveragedModel(network, device=device, use_buffers=True)


def is_finite(number: Tensor) -> Tensor:
    """Return whether a number () is finite, as bool on its device, in two calls."""
    nothing = number - number  # of what is not finite this is NaN, which equals nothing
    return torch.eq(nothing, nothing)


def step_where(
    finite: Tensor, optimiser: torch.optim.Optimizer, divisor: Tensor | None = None
) -> None:
    """Make a step of an optimiser, if a tensor () on its device is true.

    The gradient is divided by a number (), if one is given.
    """
    if optimiser.defaults["fused"]:
        # What torch's GradScaler tells fused optimisers: they divide on their way, or leave all.
        optimiser.found_inf = (~finite).float()  # type: ignore[attr-defined]
        optimiser.grad_scale = divisor  # type: ignore[attr-defined]
        optimiser.step()
    elif finite:  # waits: a device without fused optimisers
        if divisor is not None:
            (weights,) = optimiser.param_groups[0]["params"]
            weights.grad.div_(divisor)
        optimiser.step()


@torch.no_grad()
def average_where(finite: Tensor, averaged: AveragedModel, network: nn.Module) -> None:
    """Average the weights of about the last 100 steps, of fewer in the beginning.

    Single steps on few labels scatter; their average is better than any of them, and a training
    that is stopped early loses little. Nothing is added unless `finite`, () bool, is true.
    """
    met: Tensor = averaged.n_averaged
    weights = _averaging_weights(met.device)
    weight = weights.take(met.clamp(max=len(weights) - 1)) * finite  # 0 changes nothing
    for average, now in zip(_all_pieces(averaged.module), _all_pieces(network), strict=True):
        if average.is_floating_point():
            average.lerp_(now, weight)
        else:  # BatchNorm's count of batches
            average.copy_(now)
    met += finite


@lru_cache(maxsize=4)
def _averaging_weights(device: torch.device) -> Tensor:
    """Return (n,): what a step counts after 0, 1, 2 ... others; all later ones as the last."""
    n_rising = math.ceil((10 * _AVERAGING_DECAY - 1) / (1 - _AVERAGING_DECAY)) + 2
    met = torch.arange(n_rising)
    decay = ((1 + met) / (10 + met)).clamp(max=_AVERAGING_DECAY)
    return torch.where(met == 0, 1.0, 1 - decay).to(device)


class Buffers:
    """The buffers of a network as they are now, to be put back; they stay the same objects."""

    def __init__(self, network: nn.Module) -> None:
        self._now = pieces(network.buffers())
        self._before = [piece.clone() for piece in self._now]

    def restore_unless(self, finite: Tensor) -> None:
        """Put them back, if a tensor () on their device is false."""
        for now, before in zip(self._now, self._before, strict=True):
            torch.where(finite, now, before, out=now)

    def sums(self) -> list[Tensor]:
        """Return the sums () of those that are no whole numbers; finite if all of them are."""
        return [now.sum() for now in self._now if now.is_floating_point()]

    def restore(self) -> None:
        """Put them back."""
        for now, before in zip(self._now, self._before, strict=True):
            now.copy_(before)


def _all_pieces(network: nn.Module) -> list[Tensor]:
    return pieces(network.parameters()) + pieces(network.buffers())


class LossReader:
    """Brings the losses of the steps from the device.

    On a GPU it reads that of the step before, while the present one computes: so the GPU always
    has work, and the program is never more than one step ahead of it. The first loss is waited
    for, and told twice unless it is no number.
    """

    def __init__(self, device: torch.device) -> None:
        self._at_once = device.type != "cuda"
        self._coming: Callable[[], tuple[int, float]] | None = None

    def read(self, step: int, loss: Tensor) -> tuple[int, float]:
        """Take the loss () of a step; return a loss that is known, and of which step it is."""
        if self._at_once:
            return step, float(loss)
        coming = _sent_for(step, loss)
        previous, self._coming = self._coming or coming, coming
        number, told = previous()
        if previous is coming and not math.isfinite(told):  # a failure is told once
            self._coming = None
        return number, told


def _sent_for(step: int, loss: Tensor) -> Callable[[], tuple[int, float]]:
    """Send for a loss () on a GPU; return what waits for it, and then returns step and loss."""
    on_host = torch.empty((), pin_memory=True)
    on_host.copy_(loss, non_blocking=True)
    arrival = torch.cuda.Event()  # type: ignore[no-untyped-call]
    arrival.record(torch.cuda.current_stream(loss.device))

    def arrived() -> tuple[int, float]:
        arrival.synchronize()
        return step, float(on_host)

    return arrived


# --- The update rule, and its learning rate over time --------------------------------------------


def rate_schedule(progress: float) -> float:
    """Return the learning rate, relative to its peak: a short linear rise, then half a cosine."""
    if progress < _WARM_UP:
        return max(progress, 0.002) / _WARM_UP
    fall = (progress - _WARM_UP) / (1 - _WARM_UP)
    return _FINAL_RATE + (1 - _FINAL_RATE) * (1 + math.cos(math.pi * min(fall, 1.0))) / 2


def new_optimiser(network: UNet, config: TrainConfig) -> torch.optim.Optimizer:
    """Return the update rule of a training, with its settings, for all weights as one.

    It makes the gradients of the network's parameters parts of the one that it reads: that is to be
    set to zero before each step, and not let go of.
    """
    weights = _as_one(network)
    fused = weights.device.type in _FUSED_DEVICES
    if config.optimiser == "adamw":
        return torch.optim.AdamW(
            [weights],
            lr=config.learning_rate,
            betas=(config.momentum, 0.999),
            weight_decay=config.weight_decay,
            fused=fused,
        )
    optimiser = torch.optim.SGD(
        [weights],
        lr=config.learning_rate,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
        fused=fused,
    )
    if config.momentum:
        # A first step that is skipped would leave whatever was in the memory.
        optimiser.state[weights]["momentum_buffer"] = torch.zeros_like(weights)
    return optimiser


def _as_one(network: nn.Module) -> nn.Parameter:
    """Return the memory of all parameters as one, of whose gradient theirs are parts."""
    (memory,) = pieces(network.parameters())
    whole = nn.Parameter(memory)
    whole.grad = torch.zeros_like(memory)
    for parameter in network.parameters():
        parameter.grad = part_of(whole.grad, parameter)
    return whole


def optimiser_tensors(optimiser: torch.optim.Optimizer, network: nn.Module) -> dict[str, Tensor]:
    """Copy the state of an update rule, under "parameter number.name"."""
    tensors = {}
    for number, parameter in enumerate(network.parameters()):
        for entries in optimiser.state.values():
            for name, value in entries.items():
                if value is None:  # SGD without momentum has no buffer
                    continue
                own = part_of(value, parameter) if value.ndim else value
                tensors[f"{number}.{name}"] = own.detach().to("cpu", copy=True)
    return tensors


def restore_optimiser(
    optimiser: torch.optim.Optimizer, network: nn.Module, tensors: dict[str, Tensor]
) -> None:
    """Put back what :func:`optimiser_tensors` copied."""
    parameters = list(network.parameters())
    memory = pieces(parameters)[0]
    entries: dict[str, Tensor] = {}
    for key, tensor in tensors.items():
        number, _, name = key.partition(".")
        if not tensor.ndim:  # the count of steps, which is that of all
            entries[name] = tensor
            continue
        whole = entries.setdefault(name, torch.zeros_like(memory, dtype=tensor.dtype))
        part_of(whole, parameters[int(number)]).copy_(tensor)
    content = optimiser.state_dict()
    content["state"] = {0: entries}
    optimiser.load_state_dict(content)
