"""A hash by which the weights of networks can be compared."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor


def hash_of_weights(weights: Mapping[str, Tensor], about: str = "") -> str:
    """Return the SHA-256 of names, types, shapes and values.

    Parameters
    ----------
    weights : mapping of str to Tensor
        In any order, on any device: what `state_dict` of a network returns.
    about : str, optional
        Hashed too: the text of a file that is to be found changed when its text is.
    """
    digest = hashlib.sha256(about.encode())
    for name, tensor in sorted(weights.items()):
        digest.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}".encode())
        values = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        digest.update(values.numpy().data)
    return digest.hexdigest()
