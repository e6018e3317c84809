"""Several processes that train one network together, as ``torchrun`` starts them.

Rank r of n is one process with a device of its own. All ranks hold the same weights and prepare
the same data; each draws its own share of every batch, and what a single process would compute
over the large batch (gradients, loss, the statistics of BatchNorm) is summed over the ranks. The
first rank validates, talks and writes; its clock is everybody's.
"""

from __future__ import annotations

import contextlib
import gc
import os
import re
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import psutil
import torch
from torch import nn
from torch.nn import functional

from napari_unet.errors import (
    AlreadyToldError,
    ConfigError,
    DeviceError,
    NapariUNetError,
    first_line,
)
from napari_unet.model.unet import BatchNorm
from napari_unet.training.networks import ReducedNetwork

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from torch import Tensor

    from napari_unet.model.unet import UNet


# The others wait while the first rank validates or writes. A rank that dies is noticed by
# torchrun, which ends the others: the time limit need not do that.
_PATIENCE = timedelta(hours=12)
_LOOK_SECONDS = 1.0
_ORPHANED = "torchrun was ended, and so is this process; what was saved last is kept (--resume)."
# How gloo and NCCL tell that another process is gone.
_LOST_RANK = re.compile(r"gloo|closed by peer|reset by peer|NCCL|ncclRemoteError", re.IGNORECASE)
# So long the first rank has to tell an error before torchrun sees another one end.
_TELLING_SECONDS = 1.0


@dataclass(frozen=True)
class ProcessGroup:
    """One of several processes that train together; by default the only one."""

    rank: int = 0
    """Number of this process, from 0."""
    size: int = 1
    local_rank: int = 0
    """Number of this process on its machine: that of its GPU."""
    alone: bool = True
    """Whether torchrun has nothing to do with it. What torchrun starts computes alike for any
    number of processes, also for one: to the last digits of float32.
    """

    @classmethod
    @contextmanager
    def of_environment(cls, environment: Mapping[str, str] = os.environ) -> Iterator[ProcessGroup]:
        """Join the processes that ``torchrun`` started; outside of it, be alone.

        The environment holds RANK, WORLD_SIZE and LOCAL_RANK if there are several. Raises
        ConfigError if they are no numbers, or do not fit together.
        """
        group = cls._read(environment)
        if group.alone:
            yield group
            return
        with _ending_with_parent():
            yield from cls._joined(group)

    @classmethod
    def _joined(cls, group: ProcessGroup) -> Iterator[ProcessGroup]:
        on_gpu = torch.cuda.is_available() and torch.distributed.is_nccl_available()
        torch.distributed.init_process_group(
            "cpu:gloo,cuda:nccl" if on_gpu else "gloo",
            rank=group.rank,
            world_size=group.size,
            timeout=_PATIENCE,
        )
        try:
            yield group
        except BaseException as error:
            if not on_gpu:  # NCCL would wait here for ranks that may have failed
                torch.distributed.destroy_process_group()
            if isinstance(error, RuntimeError) and _LOST_RANK.search(str(error)):
                raise NapariUNetError(
                    f"Training stopped: one of its {group.size} processes was killed or lost, "
                    "probably out of memory (torchrun tells its number below). What was saved "
                    "last is kept; use smaller batches and go on with --resume."
                ) from error
            raise
        gc.collect()  # networks in reference cycles hold the group, whose end they would outlive
        torch.distributed.destroy_process_group()

    @classmethod
    def _read(cls, environment: Mapping[str, str]) -> ProcessGroup:
        if "RANK" not in environment or "WORLD_SIZE" not in environment:
            return cls()
        names = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
        texts = [environment.get(name, "0") for name in names]
        told = ", ".join(f"{name}={text}" for name, text in zip(names, texts, strict=True))
        remedy = "Start several processes by torchrun."
        try:
            rank, size, local_rank = map(int, texts)
        except ValueError:
            raise ConfigError(f"{told} are no numbers. {remedy}") from None
        if not (0 <= rank < size and 0 <= local_rank < size):
            raise ConfigError(f"{told} do not fit together. {remedy}")
        return cls(rank, size, local_rank, alone=False)

    @property
    def first(self) -> bool:
        """Whether this process is the one that validates, talks and writes."""
        return self.rank == 0

    def device(self, name: str) -> str:
        """Return the device of this process for the one that the user named.

        Raises DeviceError if all processes would share one GPU, or there are not enough of them.
        """
        if self.alone or name == "cpu":
            return name
        if name not in ("auto", "cuda"):
            raise DeviceError(
                f"Device {name!r} cannot be used by {self.size} processes together. "
                "Choose 'auto' (one GPU per process), 'cuda' or 'cpu'."
            )
        gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if gpus == 0:
            return "cpu" if name == "auto" else name
        if self.local_rank >= gpus:
            raise DeviceError(
                f"Process {self.local_rank + 1} of this machine finds {gpus} GPU(s). "
                f"Choose --nproc-per-node {gpus}, or --device cpu."
            )
        return f"cuda:{self.local_rank}"

    def gathered(self, values: Tensor) -> Tensor:
        """Stack small tensors (*) of one shape over the ranks: (ranks, *), the same on each."""
        if self.alone:
            return values[None]
        everyones = [torch.empty_like(values) for _ in range(self.size)]
        torch.distributed.all_gather(everyones, values)  # a third of gloo's time to reduce them
        return torch.stack(everyones)

    def sum(self, values: Tensor) -> Tensor:
        """Add up tensors of one shape over the ranks."""
        return self.gathered(values).sum(dim=0)

    def mean(self, values: Tensor) -> Tensor:
        """Average tensors of one shape over the ranks; NaN where one of them is."""
        return values if self.alone else self.sum(values) / self.size

    def relative(self, counts: Tensor) -> Tensor:
        """Return counts of this rank relative to their average over the ranks.

        A mean over this rank's pixels, multiplied by this, has the mean over the pixels of all
        ranks as its average over the ranks; and so have its gradients.
        """
        if self.alone:
            return torch.ones_like(counts, dtype=torch.float32)
        total = self.sum(counts).clamp(min=1)
        return (counts.double() * self.size / total).float()

    def agree(self, seconds: float, stop: bool) -> tuple[float, bool]:
        """Return the time that the first rank reads, and whether any rank wants to stop."""
        if self.alone:
            return seconds, stop
        said = self.gathered(torch.tensor([seconds, stop], dtype=torch.float64))  # (ranks, 2)
        return float(said[0, 0]), bool(said[:, 1].any())

    @contextmanager
    def together(self) -> Iterator[None]:
        """Fail on all ranks where one fails, with its error reported once, by the first rank.

        The first rank raises NapariUNetError if another one failed; the others raise
        AlreadyToldError.
        """
        if self.alone:
            yield
            return
        own: Exception | None = None
        try:
            yield
        except Exception as error:
            own = error
        told: list[str | None] = [None] * self.size
        torch.distributed.all_gather_object(told, None if own is None else first_line(own))
        failed = [rank for rank, text in enumerate(told) if text is not None]
        if not failed:
            return
        if not self.first:
            raise self.told() from own
        if own is not None:
            raise own
        raise NapariUNetError(f"Process {failed[0] + 1} of {self.size}: {told[failed[0]]}")

    def told(self) -> AlreadyToldError:
        """Return the error for what the first rank tells, after it had the time to."""
        time.sleep(_TELLING_SECONDS)
        return AlreadyToldError("The first process tells why.")


ALONE = ProcessGroup()


@contextmanager
def _ending_with_parent() -> Iterator[None]:
    """Let this process end soon after torchrun was killed: nothing else would end it.

    Waiting for the other ranks, or for a GPU, it would never notice by itself.
    """
    parent, left = psutil.Process(os.getppid()), threading.Event()

    def watch() -> None:
        while not left.wait(_LOOK_SECONDS):
            # On POSIX an orphan gets another parent; Windows keeps the number.
            if os.getppid() != parent.pid or not parent.is_running():
                with contextlib.suppress(OSError):
                    print(f"napari-unet: {_ORPHANED}", file=sys.stderr, flush=True)
                os._exit(1)

    threading.Thread(target=watch, name="U-Net parent watch", daemon=True).start()
    try:
        yield
    finally:
        left.set()


# --- BatchNorm over the batches of all ranks, on CPU and GPU alike -------------------------------
#
# The patches of all ranks are one large batch, so they are normalised by its mean and variance.
# Every rank has as many patches of the same size as any other.


def parallel_network(
    network: UNet, group: ProcessGroup, precision: torch.dtype = torch.float32
) -> nn.Module:
    """Return what computes a network with the statistics and the gradients of all ranks.

    Alone it does so in the number format; else that is left to autocast. The network's parameters
    and buffers, which begin as those of the first rank, and their names stay what they are.
    """
    if group.alone:
        reduced = precision != torch.float32
        return ReducedNetwork(network, precision) if reduced else network
    share_batch_statistics(network, group)
    return nn.parallel.DistributedDataParallel(network)


def share_batch_statistics(network: nn.Module, group: ProcessGroup) -> None:
    """Let the BatchNorm layers of a network compute their statistics over all ranks.

    Parameters and buffers stay the same objects under the same names.
    """
    for parent in network.modules():
        for name, layer in list(parent.named_children()):
            if isinstance(layer, BatchNorm):
                setattr(parent, name, SharedBatchNorm(layer, group))


class SharedBatchNorm(nn.Module):
    """A BatchNorm of any number of axes whose batch is that of all ranks.

    It takes over the parameters and running statistics of a layer.
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, layer: BatchNorm, group: ProcessGroup) -> None:
        super().__init__()
        assert layer.momentum is not None
        self.eps: Final = layer.eps
        self.momentum: Final = layer.momentum
        self.weight: Final = layer.weight
        self.bias: Final = layer.bias
        for name, buffer in layer.named_buffers():
            self.register_buffer(name, buffer)
        self._group = group

    def forward(self, features: Tensor) -> Tensor:
        """Normalise features (B, C, *) by the statistics of all ranks; alone in evaluation."""
        if not self.training:
            mean, variance = self.running_mean, self.running_var
            return functional.batch_norm(
                features, mean, variance, self.weight, self.bias, eps=self.eps
            )
        mean, variance = self._statistics(features.detach())
        inverse = (variance + self.eps).rsqrt()  # (C,)
        normalised: Tensor = _Normalise.apply(  # type: ignore[no-untyped-call]
            features, self.weight, self.bias, mean, inverse, self._group
        )
        return normalised

    @torch.no_grad()
    def _statistics(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and variance (C,) over all ranks, and follow them with the running ones."""
        own = torch.stack(_mean_and_variance(features.float()))  # (2, C)
        means, variances = self._group.gathered(own).unbind(dim=1)  # (ranks, C) each
        mean = means.mean(dim=0)
        variance = (variances + (means - mean) ** 2).mean(dim=0)
        n = features.numel() // features.shape[1] * self._group.size
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance * (n / max(1, n - 1)), self.momentum)
        self.num_batches_tracked.add_(1)
        return mean, variance


def _mean_and_variance(features: Tensor) -> tuple[Tensor, Tensor]:
    axes = [0, *range(2, features.ndim)]
    variance, mean = torch.var_mean(features, dim=axes, correction=0)
    return mean, variance


class _Normalise(torch.autograd.Function):
    """(features - mean) * inverse * weight + bias, where the mean and inverse are of all ranks."""

    @staticmethod
    def forward(
        ctx: Any,
        features: Tensor,
        weight: Tensor,
        bias: Tensor,
        mean: Tensor,
        inverse: Tensor,
        group: ProcessGroup,
    ) -> Tensor:
        """Normalise; features (B, C, *), all others (C,)."""
        ctx.save_for_backward(features, weight, mean, inverse)
        ctx.group = group
        scale = weight * inverse
        shift = bias - mean * scale
        normalised = torch.addcmul(
            _beside(shift, features), features.float(), _beside(scale, features)
        )
        return normalised.to(features.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Pass gradients on; the statistics depend on the features of every rank."""
        features, weight, mean, inverse = ctx.saved_tensors
        gradient = gradients[0].float()
        axes = [0, *range(2, features.ndim)]
        centred = features.float() - _beside(mean, features)
        own = torch.stack([gradient.sum(dim=axes), (gradient * centred).sum(dim=axes)])  # (2, C)
        total = ctx.group.sum(own)
        n = features.numel() // features.shape[1] * ctx.group.size
        offset, slope = total[0] / n, total[1] / n * inverse**2
        to_features = gradient - _beside(offset, features) - centred * _beside(slope, features)
        to_features = to_features * _beside(weight * inverse, features)
        return to_features.to(features.dtype), own[1] * inverse, own[0], None, None, None


def _beside(values: Tensor, features: Tensor) -> Tensor:
    """Give one value per channel the axes of features (B, C, *)."""
    return values.reshape(1, -1, *[1] * (features.ndim - 2))
