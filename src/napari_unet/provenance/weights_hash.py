"""Tell the weights of networks apart."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Protocol

import torch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor


class Weighted(Protocol):
    """A network of ours, or of another program."""

    def state_dict(self) -> Mapping[str, Any]:
        """Return the weights by name."""


def hash_of_weights(network: Weighted) -> str:
    """Hash the names, shapes, types and values of all weights of a network.

    Parameters
    ----------
    network : Weighted
        On any device.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}".encode())
        values = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        digest.update(values.numpy().data)
    return digest.hexdigest()


def largest_difference(one: Weighted, other: Weighted) -> float:
    """Return by how much weights of two networks differ at most; infinite for other networks."""
    mine, its = one.state_dict(), other.state_dict()
    if {n: t.shape for n, t in mine.items()} != {n: t.shape for n, t in its.items()}:
        return float("inf")
    return max((_difference(mine[name], its[name]) for name in mine), default=0.0)


def _difference(one: Tensor, other: Tensor) -> float:
    if not one.numel():
        return 0.0
    return float((one.cpu().double() - other.cpu().double()).abs().max())
