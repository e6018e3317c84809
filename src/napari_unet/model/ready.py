"""Networks made ready to predict: kept until their weights, the device or the format change."""

from __future__ import annotations

import threading
import zlib
from typing import TYPE_CHECKING

import torch

from napari_unet.model.foreign import ForeignNetwork, ReadyForeign
from napari_unet.model.inference import InferenceNetwork

if TYPE_CHECKING:
    from torch import Tensor

    from napari_unet.model.foreign import ReadyNetwork
    from napari_unet.model.unet import UNet

    _Key = tuple[torch.device, torch.dtype, tuple[int, ...]]


class KeptReady:
    """Makes a network ready to predict, and keeps what it made last.

    Parameters
    ----------
    network : UNet or ForeignNetwork
        It may go on learning: changed weights are made ready anew.
    """

    def __init__(self, network: UNet | ForeignNetwork) -> None:
        self._network = network
        self._kept: tuple[_Key, ReadyNetwork] | None = None
        self._making = threading.Lock()

    def __reduce__(self) -> tuple[type[KeptReady], tuple[UNet | ForeignNetwork]]:
        """Copy and pickle the network alone: a copy makes it ready anew."""
        return KeptReady, (self._network,)

    def on(self, device: torch.device, precision: torch.dtype) -> ReadyNetwork:
        """Return the network on a device, in a number format, with the weights it has now.

        Of threads that ask at the same time one makes it ready, and the others wait.
        """
        with self._making:
            return self._on(device, precision)

    def _on(self, device: torch.device, precision: torch.dtype) -> ReadyNetwork:
        # A twentieth of the time that making ready takes.
        weights = tuple(map(_checksum, self._network.state_dict().values()))
        key = device, precision, weights
        kept = self._kept
        if kept is None or kept[0] != key:
            self._kept = kept = key, _made_ready(self._network, device, precision)
        return kept[1]


def _checksum(tensor: Tensor) -> int:
    values = tensor.detach().cpu().contiguous().reshape(-1)
    return zlib.crc32(values.view(torch.uint8).numpy().data)


def _made_ready(
    network: UNet | ForeignNetwork, device: torch.device, precision: torch.dtype
) -> ReadyNetwork:
    if isinstance(network, ForeignNetwork):
        return ReadyForeign(network, device)
    return InferenceNetwork(network, device, precision)
