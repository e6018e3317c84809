"""A pixel classifier teaches the network what nobody painted, until the network is better.

From a few strokes a network learns classes slowly: of a patch one pixel in a hundred is painted. A
pixel classifier knows them in a second, and has a guess for every pixel. So in the beginning the
network also learns these guesses, each as much as the classifier is sure of it; ever less as the
training goes on, and not at all once the network is clearly better on paint that was held back.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from napari_unet.errors import UnreadableError
from napari_unet.training.pixel_classifier import PixelClassifier
from napari_unet.training.validation import validate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_unet.data.axes import Region
    from napari_unet.training.dataset import TrainingData, TrainingFrame

    History = Sequence[dict[str, float | bool | None]]

Corner = tuple[int, ...]

CLASSIFIER_IOU = "classifier_iou"  # beside the network's "iou" in the history
# A network that scores better by so much learns no more from the classifier.
_CLEARLY = 0.1
# What the classifier says counts half as much after each so many steps.
_HALVING_STEPS = 150
_TILE = 512
_LEVELS = 255  # of how sure it is, in a byte


@dataclass(frozen=True)
class PixelTeacher:
    """A pixel classifier of some training data, with what it said of their frames."""

    classifier: PixelClassifier
    data: TrainingData
    _tiles: dict[tuple[int, Corner], NDArray[np.uint8]] = field(default_factory=dict)

    @classmethod
    def fitted(cls, data: TrainingData, seed: int) -> PixelTeacher:
        """Let a classifier learn what is painted, but what is held back."""
        return cls(PixelClassifier.fitted(data, seed), data)

    @cached_property
    def iou(self) -> float:
        """Mean IoU of the classes on what is held back, of which there is some."""
        return validate(self.classifier, self.data).iou

    def guess(self, frame: TrainingFrame, region: Region) -> NDArray[np.float32] | None:
        """Return the likely class of each pixel of a region, and minus how sure that is: (2, *).

        None where the image cannot be read: a patch needs less of it.
        """
        try:
            return self._guessed(frame, region)
        except UnreadableError:
            return None

    def _guessed(self, frame: TrainingFrame, region: Region) -> NDArray[np.float32]:
        number = next(i for i, other in enumerate(self.data.frames) if other is frame)
        shape = tuple(part.stop - part.start for part in region)
        guessed = np.zeros((2, *shape), np.float32)
        edges = (1,) * (len(shape) - 2) + (_TILE, _TILE)
        parts = [
            range(part.start - part.start % edge, part.stop, edge)
            for part, edge in zip(region, edges, strict=True)
        ]
        for corner in product(*parts):
            tile = self._tile(number, corner, edges)
            ends = [start + size for start, size in zip(corner, tile.shape[1:], strict=True)]
            both = [
                (max(start, part.start), min(end, part.stop))
                for start, end, part in zip(corner, ends, region, strict=True)
            ]
            into = tuple(
                slice(a - part.start, b - part.start)
                for (a, b), part in zip(both, region, strict=True)
            )
            out_of = tuple(slice(a - c, b - c) for (a, b), c in zip(both, corner, strict=True))
            guessed[(slice(None), *into)] = tile[(slice(None), *out_of)]
        guessed[1] /= -_LEVELS
        return guessed

    def _tile(self, number: int, corner: Corner, edges: Corner) -> NDArray[np.uint8]:
        """Return class and sureness (2, *) of a tile, computed when it is first asked for."""
        if (number, corner) not in self._tiles:
            frame = self.data.frames[number]
            box = tuple(
                slice(start, min(start + edge, size))
                for start, edge, size in zip(corner, edges, frame.target.classes.shape, strict=True)
            )
            probabilities = self.classifier.probabilities(frame.frame, frame.intensity, box)
            sure = np.rint(probabilities.max(axis=0) * _LEVELS)
            tile = np.stack([probabilities.argmax(axis=0), sure]).astype(np.uint8)
            self._tiles[number, corner] = tile
        return self._tiles[number, corner]


def is_beaten(history: History) -> bool:
    """Return whether the network was at least as good when both were scored last."""
    lead = _lead_in(history)
    return lead is not None and lead >= 0


def trust_after(step: int, history: History) -> float:
    """Return how much the classifier's word counts beside what is painted, 0 to 1."""
    lead = _lead_in(history) or 0.0
    return max(0.0, 1 - max(0.0, lead) / _CLEARLY) * math.exp2(-step / _HALVING_STEPS)


def _lead_in(history: History) -> float | None:
    """Return by how much the network's IoU is higher; None where there is no score."""
    if not history or history[-1].get(CLASSIFIER_IOU) is None:
        return None
    return float(history[-1]["iou"] or 0) - float(history[-1][CLASSIFIER_IOU] or 0)
