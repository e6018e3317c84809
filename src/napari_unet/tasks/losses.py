"""Losses, one function each: of scores (B, C, *) for a target and weights (B, *).

Torch is imported when a loss is computed: what only asks for words need not wait for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor


def weighted_cross_entropy(logits: Tensor, classes: Tensor, weights: Tensor) -> Tensor:
    """Average the cross entropy over the painted pixels, each with its weight.

    Equation 1 of the paper. Class scores are (B, C, *); classes (B, *), int64, -1 where unlabelled;
    weights (B, *). Returns a scalar: the sum of weight times cross entropy over the number of
    painted pixels; 0 where nothing is painted.
    """
    import torch
    from torch.nn import functional

    painted = painted_pixels(classes, weights)
    known = classes.clamp(min=0)
    entropy = functional.cross_entropy(logits.float(), known, reduction="none")  # (B, *)
    total = torch.where(painted, entropy * weights, torch.zeros_like(entropy)).sum()
    return total / painted.sum().clamp(min=1)


def weighted_error(scores: Tensor, values: Tensor, weights: Tensor, error: str) -> Tensor:
    """Average the squared or the absolute error over the pixels that count, each with its weight.

    Scores are (B, 1, *); values and weights (B, *). Returns a scalar, 0 where nothing counts.
    """
    import torch

    difference = scores[:, 0].float() - values
    errors = difference.abs() if error == "absolute" else difference.square()
    counted = weights > 0
    total = torch.where(counted, errors * weights, torch.zeros_like(errors)).sum()
    return total / counted.sum().clamp(min=1)


def binary_cross_entropy(
    logits: Tensor, classes: Tensor, weights: Tensor, balance: Sequence[float] = ()
) -> Tensor:
    """Average the cross entropy of overlapping classes, each by itself, over the painted pixels.

    As :func:`weighted_cross_entropy`, but classes hold what is painted of each class in a digit to
    the base of 3 (see `tasks.overlapping_classes`): a class counts where something is painted for
    it. `balance` is the weight of background and class, for each class; alike where it is empty.
    """
    import torch
    from torch.nn import functional

    painted = painted_pixels(classes, weights)
    shape = (1, -1) + (1,) * (classes.ndim - 1)
    places = (3 ** torch.arange(logits.shape[1], device=logits.device)).view(shape)
    digits = classes.clamp(min=0).unsqueeze(1) // places % 3  # (B, C, *)
    entropy = functional.binary_cross_entropy_with_logits(
        logits.float(), (digits == 2).float(), reduction="none"
    )
    weighted = entropy * weights.unsqueeze(1)
    if balance:
        no, yes = torch.tensor(balance, device=logits.device).view(-1, 2).T
        weighted = weighted * torch.where(digits == 2, yes.view(shape), no.view(shape))
    counted = painted.unsqueeze(1) & (digits > 0)
    total = torch.where(counted, weighted, torch.zeros_like(weighted)).sum()
    return total / painted.sum().clamp(min=1)


def painted_pixels(classes: Tensor, weights: Tensor) -> Tensor:
    """Return which pixels (B, *) count in :func:`weighted_cross_entropy`, as bool."""
    return (classes >= 0) & (weights > 0)
