"""Score a network on the blocks that were held back."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_unet.data.separation import DEFAULT_THRESHOLD, separate_objects
from napari_unet.evaluation.classes import ClassCounts, count_classes
from napari_unet.evaluation.objects import ObjectCounts, count_objects
from napari_unet.model.execution import Runner
from napari_unet.model.inference import InferenceNetwork
from napari_unet.model.memory import Shortage, within_memory

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from napari_unet.model.unet import UNet
    from napari_unet.training.dataset import TrainingData

# The border weights draw the foreground in: objects are often best at less than one half.
_THRESHOLDS = (0.3, 0.35, 0.4, 0.45, DEFAULT_THRESHOLD, 0.55, 0.6)
# On fewer held-back objects another threshold than the default is chance; on sparse paint, where
# objects may grow unpunished, it is bias.
_ENOUGH_OBJECTS = 10
_DENSE_PAINT = 0.5


@dataclass(frozen=True)
class ValidationScore:
    """How well the held-back paint was predicted.

    Parameters
    ----------
    loss : float
        Weighted cross entropy.
    iou : float
        Foreground IoU with objects, else mean IoU of the classes.
    object_f1 : float or None
        F1 at IoU 0.5; None with classes, or where no object is held back.
    threshold : float
        Probability above which pixels belong to objects: that of the best mean AP, with which
        F1 was counted.
    """

    loss: float
    iou: float
    object_f1: float | None
    threshold: float = DEFAULT_THRESHOLD

    @property
    def value(self) -> float:
        """The one number that decides which weights are best; higher is better."""
        return self.iou if self.object_f1 is None else (self.iou + self.object_f1) / 2


def validation_runner(network: UNet, device: torch.device) -> Runner:
    """Make a network ready to be validated; where its device has no memory, on the CPU."""
    on_cpu = partial(InferenceNetwork, network, torch.device("cpu"))
    ready = within_memory(lambda: InferenceNetwork(network, device), device)
    if isinstance(ready, Shortage):
        return Runner(on_cpu())
    return Runner(ready, spare=on_cpu if device.type != "cpu" else None)


def validate(runner: Runner, data: TrainingData) -> ValidationScore:
    """Predict the held-back blocks and compare with their paint.

    Parameters
    ----------
    runner : Runner
        The network.
    data : TrainingData
        With at least one block.
    """
    of_objects = data.classes.kind == "objects"
    pixels = ClassCounts()
    thresholds = _thresholds_to_try(data) if of_objects else ()
    objects = dict.fromkeys(thresholds, ObjectCounts())
    loss_sum, n_painted = 0.0, 0
    for block in data.blocks:
        frame = data.frames[block.frame]
        classes = frame.target.classes[block.region]
        painted = frame.target.painted[block.region]
        if not painted.any():
            continue
        probabilities = runner.probabilities(frame.frame, frame.intensity, block.region)
        pixels += count_classes(probabilities.argmax(axis=0), classes, painted)
        loss_sum += _loss_sum(probabilities, classes, frame.weights[block.region])
        n_painted += int(painted.sum())
        for threshold in objects:
            found = separate_objects(probabilities[1], data.smallest_object, threshold)
            truth = frame.target.objects[block.region]
            objects[threshold] += count_objects(found, truth, painted)
    threshold = _best_threshold(objects)
    counts = objects.get(threshold, ObjectCounts())
    return ValidationScore(
        loss=loss_sum / max(n_painted, 1),
        iou=pixels.iou(1) if of_objects else float(pixels.scores()["iou"]),
        object_f1=counts.f1(0.5) if counts.n_truth else None,
        threshold=threshold,
    )


def _thresholds_to_try(data: TrainingData) -> tuple[float, ...]:
    painted = [data.frames[block.frame].target.painted[block.region] for block in data.blocks]
    dense = sum(int(p.sum()) for p in painted) >= _DENSE_PAINT * sum(p.size for p in painted)
    return _THRESHOLDS if dense else (DEFAULT_THRESHOLD,)


def _best_threshold(objects: Mapping[float, ObjectCounts]) -> float:
    """Choose the threshold of the best mean AP, averaged with its neighbours to tame chance."""
    if len(objects) < 2 or objects[DEFAULT_THRESHOLD].n_truth < _ENOUGH_OBJECTS:
        return DEFAULT_THRESHOLD
    scores = np.pad([objects[t].mean_ap for t in _THRESHOLDS], 1, mode="edge")
    smooth = (scores[:-2] + scores[1:-1] + scores[2:]) / 3
    return _THRESHOLDS[int(smooth.argmax())]


def _loss_sum(
    probabilities: NDArray[np.float32],
    classes: NDArray[np.int16],
    weights: NDArray[np.float32],
) -> float:
    wanted = np.take_along_axis(probabilities, classes.clip(min=0)[np.newaxis], axis=0)[0]
    entropy = -np.log(np.maximum(wanted, np.float32(1e-7)))
    return float((entropy * weights).sum())
