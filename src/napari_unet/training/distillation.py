"""Distillation: a starting model, or a pixel classifier, teaches where nothing is painted.

Strokes through cells say nothing about the gaps between them, nor where cells end: a network that
learns from strokes, or from the insides of cells, alone soon forgets both. So on unlabelled pixels
it also learns what the starting model sees there, gaps above all. How much that counts depends on
how well the starting model predicts what is painted, since on images unlike its own it is not
listened to, and on whether the paint itself shows where cells end.
"""

from __future__ import annotations

import math
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.ndimage import binary_dilation
from torch import nn
from torch.nn import functional

from napari_unet.data.frames import grown
from napari_unet.data.labels import UNLABELLED, marked_boxes
from napari_unet.errors import UnreadableError, first_line
from napari_unet.model.memory import Shortage, within_memory
from napari_unet.training.distributed import ALONE, ProcessGroup
from napari_unet.training.networks import (
    begin_with,
    mixed_statistics,
    placed,
    random_network,
    recomputed_statistics,
    set_statistics,
    statistics_of,
)
from napari_unet.training.patches import unknown
from napari_unet.training.pixel_classifier import PixelClassifier, offsets_of_paint
from napari_unet.training.validation import NOISE_OF_SCORES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from torch import Tensor

    from napari_unet.model.config import UNetConfig
    from napari_unet.model.unet import UNet
    from napari_unet.training.config import TrainConfig
    from napari_unet.training.dataset import TrainingData
    from napari_unet.training.patches import Batch, Guess, PatchSampler

# What a fully trusted teacher says of all unlabelled pixels counts as much as the painted ones
# where background is painted around all cells, and so many times as much where around none: else
# cells whose insides were painted are found half again as large (docs/accuracy.md).
_LEAST_WEIGHT, _MOST_WEIGHT = 1.0, 8.0
# Pixels beside a painted cell that say where it ends.
_BESIDE = 2
# Its gaps count up to this many times more, as in the border weights.
_GAP_WEIGHT = 40.0
_GAP_WIDTH = 5  # pixels; `_largest_along` counts on it
# Less trust than this teaches nothing.
_LEAST_TRUST = 0.1
_TRIALS = 4  # batches that teachers are tried on
# With more than this share painted there is nothing to add.
_DENSE = 0.5
# How much the statistics of the images count beside those of the starting model; compared on paint.
_SHARES_OF_STATISTICS = (0.0, 0.5, 1.0)


class Teachers:
    """What teaches a network besides the paint: a starting model, or a pixel classifier.

    `network` is the one that learns, with the classes of a starting model; `tell` takes what the
    user should know.
    """

    def __init__(
        self,
        config: TrainConfig,
        network: UNetConfig,
        device: torch.device,
        group: ProcessGroup,
        tell: Callable[[str], object],
    ) -> None:
        self._config, self._of, self._device, self._group = config, network, device, group
        self._tell = tell
        self.classifier: PixelClassifier | None = None
        self.offsets: Tensor | None = None  # of the classes; see `offsets_of_paint`
        self.starting_model: Teacher | None = None
        self.fit({})

    def fit(self, statistics: Mapping[str, Tensor]) -> None:
        """Let the starting model normalise by these; what is missing stays its own."""
        self.fitted = {name: tensor.cpu() for name, tensor in statistics.items()}
        self._network: UNet | None = None  # made once, when it is first asked for

    def learn(self, data: TrainingData) -> None:
        """Let a pixel classifier learn the paint, where that is quick and there is need of one."""
        self._data, self.classifier = data, None
        wanted = data.classes.task.pixel_classifier and self._group.alone
        if not wanted or is_dense(data):
            return
        try:
            self.classifier = PixelClassifier.fitted(data, self._config.seed)
        except (UnreadableError, MemoryError) as error:  # a network learns without it as well
            self._tell(f"There is no pixel classifier: {first_line(error)}")

    @property
    def guess(self) -> Guess:
        """What guesses the classes that nobody painted."""
        return unknown if self.classifier is None else self.classifier.guess

    def try_on(self, sampler: PatchSampler, precision: torch.dtype) -> None:
        """See how they agree with what is painted in some batches."""
        self.offsets = self._offsets_on(self._batches(sampler, 7))
        self.starting_model = self._trusted_on(self._batches(sampler, 4), precision)

    def _batches(self, sampler: PatchSampler, of: int) -> Iterator[Batch]:
        return (sampler.draw([self._config.seed, of, trial]) for trial in range(_TRIALS))

    def _offsets_on(self, batches: Iterable[Batch]) -> Tensor | None:
        """Find out how much more often than in the image each class is painted."""
        if (classifier := self.classifier) is None:
            return None
        found = within_memory(lambda: offsets_of_paint(classifier, batches), self._device)
        return None if isinstance(found, Shortage) else found.to(self._device)

    def _trusted_on(self, batches: Iterable[Batch], precision: torch.dtype) -> Teacher | None:
        """Let the starting model teach what is not painted, if it is any good on these images."""
        taught = self._data.starting_model and self._data.classes.task.starting_model_teaches
        if not taught or is_dense(self._data):
            return None
        if not self._group.alone:
            return self._teacher(batches, precision)
        found = within_memory(partial(self._teacher, batches, precision), self._device)
        if isinstance(found, Shortage):
            self._tell(f"{found}: the starting model does not teach what is unpainted.")
            return None
        return found

    def _teacher(self, batches: Iterable[Batch], precision: torch.dtype) -> Teacher | None:
        if self._network is None:
            network = random_network(self._of, seed=0)
            begin_with(network, self._config.start)
            set_statistics(network, self.fitted)
            self._network = placed(network, self._device).folded()
        trust = trust_in(self._network, batches, self._device, self._group)
        if trust < _LEAST_TRUST:
            return None
        return Teacher(self._network, trust * weight_beside(self._data), precision)

    def go_on_in_float32(self) -> None:
        """Compute with all digits from now on."""
        if self.starting_model is not None:
            self.starting_model = replace(self.starting_model, precision=torch.float32)


def suited_statistics(
    network: UNet,
    data: TrainingData,
    device: torch.device,
    value_with: Callable[[dict[str, Tensor]], float],
) -> dict[str, Tensor] | None:
    """Return the statistics by which a starting model sees what is painted best; None: its own.

    On images unlike its own, those of these images are worth more than the first steps; on others
    they harm. The paint tells, of which nothing has been learned yet: `value_with` looks at it.
    """
    own, here = statistics_of(network), recomputed_statistics(network, data, device)
    candidates = [mixed_statistics(own, here, share) for share in _SHARES_OF_STATISTICS]
    values = np.array([value_with(statistics) for statistics in candidates])
    better = values > values[0] + NOISE_OF_SCORES
    return candidates[int(np.argmax(np.where(better, values, 0.0)))] if better.any() else None


def is_dense(data: TrainingData) -> bool:
    """Return whether so much is painted that there is nothing to add."""
    painted = sum(int(frame.target.painted.sum()) for frame in data.frames)
    return painted > _DENSE * sum(frame.target.classes.size for frame in data.frames)


def weight_beside(data: TrainingData) -> float:
    """Return what a teacher counts beside the paint: less, the more of the outlines it shows."""
    beside = painted = 0
    for frame in data.frames:
        target = frame.target
        for box in marked_boxes(target.objects > 0):
            near = target.within(grown(box, (_BESIDE,) * len(box), target.objects.shape))
            cells = near.objects > 0
            ring = binary_dilation(cells, iterations=_BESIDE) & ~cells
            beside += int(np.count_nonzero(ring))
            painted += int(np.count_nonzero(ring & near.painted))
    shown = painted / beside if beside else 1.0
    return _MOST_WEIGHT + (_LEAST_WEIGHT - _MOST_WEIGHT) * shown


@dataclass(frozen=True)
class Teacher:
    """What a starting model says where nothing is painted."""

    network: nn.Module
    """The starting model, in evaluation mode."""
    weight: float
    """What it says of all unlabelled pixels counts so many times as much as the painted ones."""
    precision: torch.dtype = torch.float32
    """Number format of its convolutions."""

    @cached_property
    def _ready(self) -> nn.Module:
        """The same with its weights in the precision: not to be converted at each step."""
        return deepcopy(self.network).to(self.precision)

    def loss(self, logits: Tensor, images: Tensor, classes: Tensor) -> Tensor:
        """Return the cross entropy to the teacher's probabilities, averaged over what is unpainted.

        Scores of the network that learns are (B, 2, *), the images (B, C, *), classes (B, *) with
        -1 where unlabelled.
        """
        with torch.no_grad():
            scores = self._ready(images.to(self.precision))  # (B, 2, *)
            seen = scores.float().softmax(dim=1)
            weights = (1 + _GAP_WEIGHT * gaps_in(seen[:, 1])) * (classes == UNLABELLED)  # (B, *)
        entropy = -(seen * logits.float().log_softmax(dim=1)).sum(dim=1)  # (B, *)
        unpainted = (classes == UNLABELLED).sum().clamp(min=1)
        average: Tensor = (entropy * weights).sum() / unpainted
        return self.weight * average


def gaps_in(foreground: Tensor) -> Tensor:
    """Return how much of a narrow gap each pixel is, 0 to 1: closing minus the map itself.

    The probability of foreground is (B, *).
    """
    grown = foreground
    for axis in range(1, foreground.ndim):
        grown = _largest_along(axis, grown)
    closed = -grown
    for axis in range(1, foreground.ndim):
        closed = _largest_along(axis, closed)
    return (-closed - foreground).clamp(min=0)


def _largest_along(axis: int, values: Tensor) -> Tensor:
    """Return the largest of the 5 values around each along an axis.

    Whole shifted arrays are compared: some 50 times as fast as a pooling of one channel.
    """
    size, margin = values.shape[axis], _GAP_WIDTH // 2
    around = [0, 0] * (values.ndim - 1 - axis) + [margin, margin]
    padded = functional.pad(values, around, value=-math.inf)

    def shifted(pixels: Tensor, shift: int, length: int) -> Tensor:
        return pixels.narrow(axis, shift, length)

    two = torch.maximum(shifted(padded, 0, size + 3), shifted(padded, 1, size + 3))
    four = torch.maximum(shifted(two, 0, size + 1), shifted(two, 2, size + 1))
    return torch.maximum(shifted(four, 0, size), shifted(padded, 4, size))


@torch.inference_mode()
def trust_in(
    network: nn.Module, batches: Iterable[Batch], device: torch.device, group: ProcessGroup = ALONE
) -> float:
    """Measure how far a starting model is right about what is painted, on all ranks' batches.

    Returns its sensitivity plus specificity minus one (Youden's index), squared; 0 if it is no
    better than chance, or one class is not painted. Who looks first paints background where the
    model is wrong: so the specificity is at least what it were if no cell were left to paint.
    """
    counts = torch.zeros(3, 2)  # unpainted or painted class, predicted class
    for batch in batches:
        predicted = network(batch.images.to(device)).argmax(dim=1).cpu()  # (B, *)
        classes = batch.classes.cpu()
        for painted in (UNLABELLED, 0, 1):
            of_class = predicted[classes == painted]
            counts[painted + 1] += torch.bincount(of_class, minlength=2)[:2]
    counts = group.sum(counts)
    if (counts[1:].sum(dim=1) == 0).any():
        return 0.0
    background = counts[:, 0] / counts.sum(dim=1).clamp(min=1)
    found, spared = 1 - background[2], torch.maximum(background[1], background[0])
    return float((found + spared - 1).clamp(min=0) ** 2)
