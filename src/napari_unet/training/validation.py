"""Score a network on the blocks that were held back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_unet.data.separation import separate_objects
from napari_unet.evaluation.classes import ClassCounts, count_classes
from napari_unet.evaluation.objects import ObjectCounts, count_objects

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_unet.model.execution import Runner
    from napari_unet.training.dataset import TrainingData


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
    """

    loss: float
    iou: float
    object_f1: float | None

    @property
    def value(self) -> float:
        """The one number that decides which weights are best; higher is better."""
        return self.iou if self.object_f1 is None else (self.iou + self.object_f1) / 2


def validate(runner: Runner, data: TrainingData) -> ValidationScore:
    """Predict the held-back blocks and compare with their paint.

    Parameters
    ----------
    runner : Runner
        The network.
    data : TrainingData
        With at least one block.
    """
    pixels, objects = ClassCounts(), ObjectCounts()
    loss_sum, n_painted = 0.0, 0
    for block in data.blocks:
        frame = data.frames[block.frame]
        classes = frame.target.classes[block.region]
        painted = frame.target.painted[block.region]
        if not painted.any():
            continue
        probabilities = runner.probabilities(frame.frame, frame.intensity, block.region)
        predicted = probabilities.argmax(axis=0)
        pixels += count_classes(predicted, classes, painted)
        loss_sum += _loss_sum(probabilities, classes, frame.weights[block.region])
        n_painted += int(painted.sum())
        if data.classes.kind == "objects":
            found = separate_objects(probabilities[1], data.smallest_object)
            objects += count_objects(found, frame.target.objects[block.region], painted)
    of_objects = data.classes.kind == "objects"
    return ValidationScore(
        loss=loss_sum / max(n_painted, 1),
        iou=pixels.iou(1) if of_objects else float(pixels.scores()["iou"]),
        object_f1=objects.f1(0.5) if of_objects and objects.n_truth else None,
    )


def _loss_sum(
    probabilities: NDArray[np.float32],
    classes: NDArray[np.int16],
    weights: NDArray[np.float32],
) -> float:
    wanted = np.take_along_axis(probabilities, classes.clip(min=0)[np.newaxis], axis=0)[0]
    entropy = -np.log(np.maximum(wanted, np.float32(1e-7)))
    return float((entropy * weights).sum())
