"""The loss of a batch, and its gradient: whole, or summed over parts of the batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from napari_unet.tasks.losses import painted_pixels

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from torch import Tensor, nn

    from napari_unet.training.distillation import Teacher
    from napari_unet.training.patches import Batch


@dataclass(frozen=True)
class BatchLoss:
    """The loss of a network on patches: what is painted, and what the starting model teaches."""

    network: nn.Module
    """(B, C_in, *) to (B, classes, *)."""
    precision: torch.dtype
    """Of its convolutions."""
    of_task: Callable[[Tensor, Tensor, Tensor], Tensor]
    """Loss of its scores (B, classes, *) for classes and weights (B, *): that of the task."""
    teacher: Teacher | None = None
    trust_in_classifier: float = 0.0
    """How much counts what a pixel classifier says of unlabelled pixels, 0 to 1."""

    def __call__(self, batch: Batch, shares: Tensor) -> Tensor:
        """Return what is minimised of some patches, on their device.

        (2,): the loss of what is painted, and of what the starting model teaches. `shares`, (2,),
        is what their painted and their unpainted pixels count for.
        """
        images = batch.images  # (B, C, *)
        if images.ndim == 4:
            images = images.contiguous(memory_format=torch.channels_last)
        reduced = self.precision != torch.float32
        with torch.autocast(images.device.type, self.precision, enabled=reduced):
            logits = self.network(images)  # (B, classes, *)
        classes, weights = batch.classes, batch.weights  # (B, *)
        painted = self.of_task(logits, classes, weights) * shares[0]
        if self.trust_in_classifier:
            taught = self.of_task(logits, classes, -weights) * self.trust_in_classifier
            return torch.stack([painted, taught * shares[1]])
        if self.teacher is None:
            return torch.stack([painted, torch.zeros_like(painted)])
        return torch.stack([painted, self.teacher.loss(logits, images, classes) * shares[1]])


def add_gradients(
    loss_of: BatchLoss, parts: Iterable[Batch], whole: Tensor, of_ranks: Tensor
) -> Tensor:
    """Add the gradient of a batch to that of the network's parameters, part by part.

    `whole`, (2,), are the `counted_pixels` of the whole batch; `of_ranks`, (2,), what this rank's
    pixels count for beside those of the others. Returns (2,), on its device, the loss of what is
    painted and of what is taught besides.
    """
    total = torch.zeros(2, device=whole.device)
    for part in parts:
        shares = counted_pixels(part) / whole.clamp(min=1)  # exactly 1 of a batch in one part
        loss = loss_of(part, of_ranks * shares)
        loss.sum().backward()  # type: ignore[no-untyped-call]
        total += loss.detach()
    return total


def counted_pixels(batch: Batch) -> Tensor:
    """Count the painted pixels (2,) of a batch, on its device, and those that can be taught."""
    painted = painted_pixels(batch.classes, batch.weights)
    taught = painted_pixels(batch.classes, -batch.weights)
    return torch.stack([painted.sum(), taught.sum() + (batch.classes < 0).sum()])
