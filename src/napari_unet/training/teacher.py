"""A starting model goes on teaching where nothing is painted, as far as it can be trusted.

Strokes through cells say nothing about the gaps between them: a network that learns from strokes
alone soon forgets the gaps that its starting model knew. So on unlabelled pixels it also learns
what the starting model sees there, gaps above all. How much that counts depends on how well the
starting model predicts what is painted: on images unlike its own it is not listened to.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from napari_unet.data.labels import UNLABELLED
from napari_unet.training.ranks import ALONE, Ranks

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor

    from napari_unet.model.unet import UNet
    from napari_unet.training.patches import Batch

# What a fully trusted teacher says of all unlabelled pixels counts this much of the painted ones.
_WEIGHT = 1.0
# Its gaps count up to this many times more, as in the border weights.
_GAP_WEIGHT = 40.0
_GAP_WIDTH = 5  # pixels; odd
_POOLING = {2: functional.max_pool2d, 3: functional.max_pool3d}


@dataclass(frozen=True)
class Teacher:
    """What a starting model says where nothing is painted.

    Parameters
    ----------
    network : UNet
        The starting model, in evaluation mode.
    trust : float
        0 to 1.
    precision : torch.dtype
        Number format of its convolutions.
    """

    network: UNet
    trust: float
    precision: torch.dtype = torch.float32

    def loss(self, logits: Tensor, images: Tensor, classes: Tensor) -> Tensor:
        """Return the cross entropy to the teacher's probabilities, averaged over what is unpainted.

        Parameters
        ----------
        logits : Tensor
            (B, 2, *), scores of the network that learns.
        images : Tensor
            (B, C, *), what it has seen.
        classes : Tensor
            (B, *), -1 where unlabelled.
        """
        reduced = self.precision != torch.float32
        with torch.no_grad():
            with torch.autocast(images.device.type, self.precision, enabled=reduced):
                scores = self.network(images)  # (B, 2, *)
            seen = scores.float().softmax(dim=1)
            weights = (1 + _GAP_WEIGHT * gaps_in(seen[:, 1])) * (classes == UNLABELLED)  # (B, *)
        entropy = -(seen * logits.float().log_softmax(dim=1)).sum(dim=1)  # (B, *)
        unpainted = (classes == UNLABELLED).sum().clamp(min=1)
        average: Tensor = (entropy * weights).sum() / unpainted
        return _WEIGHT * self.trust * average


def gaps_in(foreground: Tensor) -> Tensor:
    """Return how much of a narrow gap each pixel is, 0 to 1: closing minus the map itself.

    Parameters
    ----------
    foreground : Tensor
        (B, *), probability of foreground.
    """
    pool = _POOLING[foreground.ndim - 1]
    margin = _GAP_WIDTH // 2
    grown = pool(foreground[:, None], _GAP_WIDTH, stride=1, padding=margin)
    closed = -pool(-grown, _GAP_WIDTH, stride=1, padding=margin)
    return (closed[:, 0] - foreground).clamp(min=0)


@torch.inference_mode()
def trust_in(
    network: UNet, batches: Iterable[Batch], device: torch.device, ranks: Ranks = ALONE
) -> float:
    """Measure how far a starting model is right about what is painted, on all ranks' batches.

    Returns
    -------
    float
        Its sensitivity plus specificity minus one (Youden's index), squared; 0 if it is no better
        than chance, or one class is not painted.
    """
    counts = torch.zeros(2, 2)  # painted class, predicted class
    for batch in batches:
        predicted = network(batch.images.to(device)).argmax(dim=1).cpu()  # (B, *)
        for painted in (0, 1):
            of_class = predicted[batch.classes == painted]
            counts[painted] += torch.bincount(of_class, minlength=2)[:2]
    counts = ranks.sum(counts)
    if (counts.sum(dim=1) == 0).any():
        return 0.0
    rates = counts.diagonal() / counts.sum(dim=1)
    return float((rates.sum() - 1).clamp(min=0) ** 2)
