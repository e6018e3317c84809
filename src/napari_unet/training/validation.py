"""Score a network on the blocks that were held back."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_unet.data.labels import DEFAULT_THRESHOLD, UNLABELLED
from napari_unet.evaluation.boundaries import rand_error
from napari_unet.evaluation.classes import ClassCounts, count_classes
from napari_unet.evaluation.objects import ObjectCounts, count_objects
from napari_unet.evaluation.rand import RandCounts
from napari_unet.model.execution import Runner
from napari_unet.model.inference import InferenceNetwork
from napari_unet.model.memory import Shortage, within_memory
from napari_unet.objects.separation import separate_objects
from napari_unet.training.membranes import cells_between

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from napari_unet.model.unet import UNet
    from napari_unet.training.dataset import TrainingData

# The border weights draw the foreground in: objects are often best at less than one half.
_THRESHOLDS = (0.3, 0.35, 0.4, 0.45, DEFAULT_THRESHOLD, 0.55, 0.6)
# Of the second of two classes, where one is the membrane between cells: what is the best closes
# gaps, and depends on how thick membranes were drawn.
_MEMBRANE_THRESHOLDS = tuple(percent / 100 for percent in range(20, 85, 5))
# On fewer held-back objects or cells another threshold than the default is chance; on sparse paint,
# where objects may grow unpunished, it is bias.
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
        F1 was counted. With membranes: above which they are of the second class, that of the
        least Rand error.
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
    membranes = None if data.membrane is None else _Membranes(data.membrane)
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
            found = separate_objects(
                probabilities[1], data.smallest_object, threshold, typical=data.typical_object
            )
            truth = frame.target.objects[block.region]
            objects[threshold] += count_objects(found, truth, painted)
        if membranes is not None:
            membranes.count(data, probabilities, classes)
    threshold = _best_threshold(objects) if membranes is None else membranes.best_threshold()
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
    smooth = _with_neighbours([objects[t].mean_ap for t in _THRESHOLDS])
    return _THRESHOLDS[int(smooth.argmax())]


class _Membranes:
    """How well the cells between membranes are parted at several thresholds."""

    def __init__(self, membrane: int) -> None:
        self._inside = 1 - membrane
        self._n_cells = 0
        self._errors = dict.fromkeys(_MEMBRANE_THRESHOLDS, RandCounts())

    def count(
        self, data: TrainingData, probabilities: NDArray[np.float32], classes: NDArray[np.int16]
    ) -> None:
        """Compare the cells of a block; what is unpainted parts the true and the found ones."""
        truth = classes == self._inside
        if not truth.any():
            return
        self._n_cells += cells_between(classes, 1 - self._inside)[1]
        for threshold in self._errors:
            found = data.classes.decide(probabilities, threshold) == self._inside
            error = rand_error(found & (classes != UNLABELLED), truth)
            self._errors[threshold] += RandCounts(error, 1)

    def best_threshold(self) -> float:
        """Choose the threshold of the least Rand error, averaged with its neighbours."""
        if self._n_cells < _ENOUGH_OBJECTS:
            return DEFAULT_THRESHOLD
        errors = [counts.scores()["rand_error"] for counts in self._errors.values()]
        smooth = _with_neighbours(errors).round(6)
        least = [t for t, error in zip(self._errors, smooth, strict=True) if error == smooth.min()]
        return min(least, key=lambda threshold: abs(threshold - DEFAULT_THRESHOLD))


def _with_neighbours(scores: Sequence[float]) -> NDArray[np.float64]:
    """Average the scores of thresholds with those of the next ones."""
    padded = np.pad(np.asarray(scores, np.float64), 1, mode="edge")
    return (padded[:-2] + padded[1:-1] + padded[2:]) / 3


def _loss_sum(
    probabilities: NDArray[np.float32],
    classes: NDArray[np.int16],
    weights: NDArray[np.float32],
) -> float:
    wanted = np.take_along_axis(probabilities, classes.clip(min=0)[np.newaxis], axis=0)[0]
    entropy = -np.log(np.maximum(wanted, np.float32(1e-7)))
    return float((entropy * weights).sum())
