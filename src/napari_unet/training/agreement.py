"""Whether a model may predict in bfloat16: how its labels compare with those in float32."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_unet.model.devices import fastest_precision
from napari_unet.model.execution import Runner

if TYPE_CHECKING:
    from napari_unet.data.axes import Region
    from napari_unet.model.unet import UNet
    from napari_unet.training.dataset import TrainingData, TrainingFrame

# Compared are boxes of at most so many pixels, in the first and the last frame.
_BOX = {2: (192, 192), 3: (16, 64, 64)}


def bfloat16_agreement(
    network: UNet, data: TrainingData, threshold: float, device: torch.device
) -> float | None:
    """Measure the share of pixels (0 to 1) that get the same label in bfloat16 and in float32.

    Compared are two frames, around the paint. None where bfloat16 is not fast on the device.
    """
    if fastest_precision(device) != torch.bfloat16:
        return None
    exact = Runner.of(network, device)
    rounded = Runner.of(network, device, torch.bfloat16)
    same = total = 0
    for frame in {id(frame): frame for frame in (data.frames[0], data.frames[-1])}.values():
        region = _around_paint(frame)
        one, other = (
            runner.probabilities(frame.frame, frame.intensity, region)
            for runner in (exact, rounded)
        )
        table = data.classes
        alike = table.decide(one, threshold) == table.decide(other, threshold)
        same, total = same + int(alike.sum()), total + alike.size
    return same / total


def _around_paint(frame: TrainingFrame) -> Region:
    """Return a box around the median row, column, ... of the paint, as far as there is any."""
    painted = frame.target.painted
    parts = []
    for axis, edge in enumerate(_BOX[painted.ndim]):
        others = tuple(other for other in range(painted.ndim) if other != axis)
        counts = np.cumsum(painted.sum(axis=others))
        middle, size = int(np.searchsorted(counts, counts[-1] / 2)), len(counts)
        start = min(max(0, middle - edge // 2), max(0, size - edge))
        parts.append(slice(start, min(size, start + edge)))
    return tuple(parts)
