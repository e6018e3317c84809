"""Score a network on the blocks that were held back."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Protocol

import torch

from napari_unet.data.labels import Target
from napari_unet.model.execution import Runner
from napari_unet.model.inference import InferenceNetwork
from napari_unet.model.memory import Shortage, within_memory
from napari_unet.tasks import Decision

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from napari_unet.data.axes import Region
    from napari_unet.data.frames import Frame
    from napari_unet.data.intensity import Scaling
    from napari_unet.model.unet import UNet
    from napari_unet.tasks import ValidationScore
    from napari_unet.training.dataset import TrainingData

_DENSE_PAINT = 0.5  # of the held-back pixels


class Predictor(Protocol):
    """What tells the class of pixels: a `Runner`, or a pixel classifier."""

    def probabilities(
        self, frame: Frame, intensity: Scaling, region: Region
    ) -> NDArray[np.float32]:
        """Compute the class probabilities in one region of a frame, C then the region's sizes."""


def validation_runner(network: UNet, device: torch.device) -> Runner:
    """Make a network ready to be validated; where its device has no memory, on the CPU."""
    on_cpu = partial(InferenceNetwork, network, torch.device("cpu"))
    ready = within_memory(lambda: InferenceNetwork(network, device), device)
    if isinstance(ready, Shortage):
        return Runner(on_cpu())
    return Runner(ready, spare=on_cpu if device.type != "cpu" else None)


def validate(predictor: Predictor, data: TrainingData) -> ValidationScore:
    """Predict the held-back blocks, at least one, and compare with their paint."""
    painted = [data.frames[block.frame].target.painted[block.region] for block in data.blocks]
    dense = sum(int(p.sum()) for p in painted) >= _DENSE_PAINT * sum(p.size for p in painted)
    decision = Decision(smallest=data.smallest_object, typical=data.typical_object)
    counts = data.classes.task.counts(data.classes, decision, dense, data.membrane)
    for block in data.blocks:
        frame, region = data.frames[block.frame], block.region
        target = Target(frame.target.classes[region], frame.target.objects[region])
        if target.painted.any():
            probabilities = predictor.probabilities(frame.frame, frame.intensity, region)
            counts.add(probabilities, target, frame.weights[region])
    return counts.scores()
