"""Carry weights over to a network with other classes: painting may add some at any time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_unet.errors import ModelMismatchError

if TYPE_CHECKING:
    from torch import Tensor

    from napari_unet.data.labels import ClassTable

_HEAD = ("output.weight", "output.bias")


def carried_over(
    weights: dict[str, Tensor], previous: ClassTable, classes: ClassTable, fresh: dict[str, Tensor]
) -> dict[str, Tensor]:
    """Give weights of one class table to a network of another.

    Parameters
    ----------
    weights : dict of Tensor
        State of a network with the classes `previous`.
    previous, classes : ClassTable
        What the output channels mean, and what they are to mean.
    fresh : dict of Tensor
        State of a new network with the classes `classes`: new classes begin with these.

    Returns
    -------
    dict of Tensor
        For the network with the classes `classes`.

    Raises
    ------
    ModelMismatchError
        One of the two is of objects, or takes other channels, or is another network.
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
    if previous == classes or classes.kind == "objects":
        return weights
    result = dict(weights)
    for name in [name for name in fresh if name.endswith(_HEAD)]:
        head = fresh[name].clone()
        for channel, value in enumerate(classes.painted):
            if value in previous.painted:
                head[channel] = weights[name][previous.painted.index(value)]
        result[name] = head
    return result
