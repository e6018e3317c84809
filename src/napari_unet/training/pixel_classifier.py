"""Pixel classification: classes learned from a few strokes in a second, long before a U-Net can.

Each pixel is described by filters of several scales: smoothed intensity, edges, texture, those of
scikit-image's `multiscale_basic_features`. A small perceptron learns their classes from what is
painted, each class counting alike. The features of the starting models do not help: beside the
filters they are learned by heart (docs/results/classes_in_seconds.md).

People paint each class about as often, however rare it is in the image: at doubtful pixels rare
classes would win too often. So what the perceptron says is corrected by the share that each class
seems to have of the pixels between the strokes.

A volume is seen slice by slice.

It also teaches the network what nobody painted. From a few strokes a network learns classes
slowly: of a patch one pixel in a hundred is painted. So in the beginning it learns the
classifier's guess for every pixel as well, each as much as the classifier is sure of it; ever less
as the training goes on, and not at all once the network is clearly better on paint that was held
back. What is shown until then is what both say together.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.ndimage import find_objects
from skimage.feature import multiscale_basic_features
from torch import nn
from torch.nn import functional

from napari_unet.data.frames import box_within, common, read_mirrored, scaled_frame
from napari_unet.data.rescaling import Factors, enlarged, scaled_region
from napari_unet.errors import UnreadableError
from napari_unet.tasks.losses import painted_pixels
from napari_unet.training.networks import chance_of
from napari_unet.training.validation import validate

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from napari_unet.data.axes import Region
    from napari_unet.data.frames import Frame
    from napari_unet.data.intensity import Scaling
    from napari_unet.training.dataset import TrainingData, TrainingFrame
    from napari_unet.training.patches import Batch
    from napari_unet.training.validation import Predictor

    History = Sequence[dict[str, float | bool | None]]

# Widths of the filters in pixels: 1, 2, 4, 8, 16.
_FINEST, _COARSEST = 1, 16
# The widest Gaussian ends after four widths; second differences see two more pixels.
_HALO = 4 * _COARSEST + 2
# Features of paint, and guesses, are computed in tiles of this edge length; of very many with
# paint in an even choice.
_TILE, _MOST_TILES = 512, 32
_PIXELS_PER_CLASS = 5000
# Of the unpainted pixels of a tile so many tell how frequent the classes are; as if so many more
# had told that all are alike.
_UNPAINTED_PER_TILE, _DOUBT = 2000, 500
_HIDDEN, _STEPS, _BATCH, _RATE = 48, 200, 1024, 5e-3
# Neighbouring pixels of a stroke are all but the same: without noise and dropout the strokes are
# learned by heart.
_NOISE, _DROPOUT = 0.3, 0.3
_AT_ONCE = 2**18  # pixels

CLASSIFIER_IOU = "classifier_iou"  # beside the network's "iou" in the history
# A network that scores better by so much in the mean of so many scores learns no more from the
# classifier, and is shown alone.
_CLEARLY, _RECENT = 0.1, 3
# Else the network counts for so much after so many steps, in proportion before.
_MOST, _RIPE = 2 / 3, 200
_LEAST = 1e-3  # probability: one alone rules out no class
_LARGEST_OFFSET = 3.0
# What the classifier says counts half as much after each so many steps.
_HALVING_STEPS = 150
_LEVELS = 255  # of how sure it is, in a byte


@dataclass(frozen=True)
class PixelClassifier:
    """Tells the class of a pixel by what is around it."""

    network: nn.Sequential
    """Features (N, F) to scores (N, classes), in evaluation mode, on the CPU."""
    data: TrainingData
    """What it learned from."""
    shares: Tensor
    """How much of the unpainted pixels each class seems to have, (classes,)."""
    factors: Factors = ()
    """Pixels of the image per pixel that it learned from, along ``[Z]YX``; empty: the same."""
    _guesses: dict[tuple[int, ...], NDArray[np.uint8]] = field(default_factory=dict, init=False)
    """Class and sureness (2, *) of tiles of its data, by frame and corner."""

    @classmethod
    def fitted(cls, data: TrainingData, seed: int) -> PixelClassifier:
        """Learn from all paint that is not held back; the same for the same seed."""
        rng = np.random.default_rng([seed, 6])
        features, classes, unpainted = _described_pixels(data, rng)
        with chance_of(seed, torch.device("cpu")), torch.enable_grad():
            network = _fitted(features, classes, data.classes.n_classes)
        return cls(network, data, _corrected(network, unpainted))

    def probabilities(
        self, frame: Frame, intensity: Scaling, region: Region
    ) -> NDArray[np.float32]:
        """Compute the class probabilities in one region of a frame, C then the region's sizes.

        They do not depend on where the region ends.
        """
        scaled = scaled_frame(frame, self.factors)
        if scaled is frame:
            return self._classified(features_in(frame, intensity, region))
        box = scaled_region(region, self.factors, scaled.spatial_shape)
        probabilities = self._classified(features_in(scaled, intensity, box))
        return enlarged(probabilities, [part.start for part in box], region, self.factors)

    @torch.inference_mode()
    def _classified(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        pixels = torch.from_numpy(features.reshape(len(features), -1).T)
        parts = [self.network(part).softmax(dim=1) for part in torch.split(pixels, _AT_ONCE)]
        probabilities: NDArray[np.float32] = torch.cat(parts).T.contiguous().numpy()
        return probabilities.reshape(-1, *features.shape[1:])

    @cached_property
    def iou(self) -> float:
        """Mean IoU of the classes on what is held back, of which there is some."""
        return validate(self, self.data).iou or 0.0

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
        guessed = np.zeros((2, *(part.stop - part.start for part in region)), np.float32)
        edges = (1,) * (len(region) - 2) + (_TILE, _TILE)
        starts = [
            range(part.start - part.start % edge, part.stop, edge)
            for part, edge in zip(region, edges, strict=True)
        ]
        whole = frame.frame.spatial_shape
        for corner in product(*starts):
            box = tuple(
                slice(a, min(a + e, n)) for a, e, n in zip(corner, edges, whole, strict=True)
            )
            both = common(box, region)
            known = self._tile(number, box)[(slice(None), *box_within(both, box))]
            guessed[(slice(None), *box_within(both, region))] = known
        guessed[1] /= -_LEVELS
        return guessed

    def _tile(self, number: int, box: Region) -> NDArray[np.uint8]:
        """Return class and sureness (2, *) of a tile, computed when it is first asked for."""
        key = (number, *(part.start for part in box))
        if key not in self._guesses:
            frame = self.data.frames[number]
            probabilities = self.probabilities(frame.frame, frame.intensity, box)
            sure = np.rint(probabilities.max(axis=0) * _LEVELS)
            self._guesses[key] = np.stack([probabilities.argmax(axis=0), sure]).astype(np.uint8)
        return self._guesses[key]


def features_in(frame: Frame, intensity: Scaling, region: Region) -> NDArray[np.float32]:
    """Describe the pixels of a region: (F, *), F features then the region's sizes."""
    around = [(part.start, part.stop) for part in region]
    around[-2:] = [(start - _HALO, stop + _HALO) for start, stop in around[-2:]]
    starts, stops = zip(*around, strict=True)
    pixels = intensity.normalise(read_mirrored(frame, starts, stops))  # (C, *)
    inside = (slice(_HALO, -_HALO),) * 2
    if frame.ndim == 2:
        return _features(pixels)[(slice(None), *inside)]
    slices = [_features(pixels[:, z])[(slice(None), *inside)] for z in range(pixels.shape[1])]
    return np.stack(slices, axis=1)


def _features(plane: NDArray[np.float32]) -> NDArray[np.float32]:
    """Filter a plane (C, Y, X) on all scales; returns (F, Y, X)."""
    features = multiscale_basic_features(
        plane, sigma_min=_FINEST, sigma_max=_COARSEST, channel_axis=0
    )
    return np.ascontiguousarray(np.moveaxis(features, -1, 0), dtype=np.float32)


def _described_pixels(
    data: TrainingData, rng: np.random.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Return features (N, F) and classes (N,) of painted pixels, of very many a choice.

    And features (M, F) of some between them.
    """
    tiles = [(frame, tile) for frame in data.frames for tile in _painted_tiles(frame)]
    if len(tiles) > _MOST_TILES:
        evenly = np.linspace(0, len(tiles) - 1, _MOST_TILES).round().astype(int)
        tiles = [tiles[i] for i in evenly]
    features, classes, unpainted = [], [], []
    for frame, tile in tiles:
        painted = frame.trained_on[tile]
        described = features_in(frame.frame, frame.intensity, tile)
        features.append(described[:, painted].T)
        classes.append(frame.target.classes[tile][painted])
        others = np.flatnonzero(~frame.target.painted[tile])
        some = _some(others, _UNPAINTED_PER_TILE, rng)
        unpainted.append(described.reshape(len(described), -1)[:, some].T)
    all_features, all_classes = np.concatenate(features), np.concatenate(classes)
    of_each = [_some(of, _PIXELS_PER_CLASS, rng) for of in _by_class(all_classes)]
    chosen = np.sort(np.concatenate(of_each))
    return (
        torch.from_numpy(all_features[chosen]),
        torch.from_numpy(all_classes[chosen]).long(),
        torch.from_numpy(np.concatenate(unpainted)),
    )


def _painted_tiles(frame: TrainingFrame) -> Iterator[Region]:
    """Cover the paint of a frame with boxes no larger than needed, in 3D slice by slice."""
    painted = frame.trained_on
    edges = (1,) * (painted.ndim - 2) + (_TILE, _TILE)
    starts = [range(0, size, edge) for size, edge in zip(painted.shape, edges, strict=True)]
    for corner in product(*starts):
        tile = tuple(slice(a, a + edge) for a, edge in zip(corner, edges, strict=True))
        for box in find_objects(painted[tile].astype(np.uint8)):
            yield tuple(
                slice(a + part.start, a + part.stop) for a, part in zip(corner, box, strict=True)
            )


def _by_class(classes: NDArray[np.int16]) -> list[NDArray[np.intp]]:
    return [np.flatnonzero(classes == number) for number in np.unique(classes)]


def _some(positions: NDArray[np.intp], most: int, rng: np.random.Generator) -> NDArray[np.intp]:
    return positions if len(positions) <= most else rng.choice(positions, most, replace=False)


def _fitted(features: Tensor, classes: Tensor, n_classes: int) -> nn.Sequential:
    """Train a perceptron on features (N, F) of classes (N,), each class counting alike."""
    deviation, mean = torch.std_mean(features, dim=0, correction=0)
    network = nn.Sequential(
        _Standardised(mean, deviation.clamp(min=1e-6)),
        nn.Linear(features.shape[1], _HIDDEN),
        nn.ReLU(),
        nn.Dropout(_DROPOUT),
        nn.Linear(_HIDDEN, _HIDDEN),
        nn.ReLU(),
        nn.Dropout(_DROPOUT),
        nn.Linear(_HIDDEN, n_classes),
    )
    optimiser = torch.optim.AdamW(network.parameters(), lr=_RATE, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, _STEPS)
    weights = len(classes) / torch.bincount(classes, minlength=n_classes).clamp(min=1)
    for _ in range(_STEPS):
        chosen = torch.randint(len(classes), (_BATCH,))
        loss = functional.cross_entropy(network(features[chosen]), classes[chosen], weights)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
    return network.eval().requires_grad_(False)


@torch.no_grad()
def _corrected(network: nn.Sequential, unpainted: Tensor) -> Tensor:
    """Let classes count by their shares of unpainted pixels (N, F); returns these, (classes,)."""
    last = network[-1]
    assert isinstance(last, nn.Linear)
    pixels = network(unpainted).softmax(dim=1).sum(dim=0) + _DOUBT / last.out_features
    shares: Tensor = pixels / pixels.sum()
    last.bias.add_(torch.log(shares * last.out_features))
    return shares


class _Standardised(nn.Module):
    """Brings features to mean 0 and deviation 1, and blurs them while they are learned."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, mean: Tensor, deviation: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("deviation", deviation)

    def forward(self, features: Tensor) -> Tensor:
        """Standardise (N, F)."""
        standard = (features - self.mean) / self.deviation
        return standard + _NOISE * torch.randn_like(standard) if self.training else standard


# --- How much it counts beside the network -------------------------------------------------------


@dataclass(frozen=True)
class Together:
    """A pixel classifier and a network: the geometric mean of what both say.

    Their mistakes differ: it is better than either (docs/results/classes_in_seconds.md).
    """

    classifier: PixelClassifier
    network: Predictor
    share: float
    """How much the network counts, 0 to 1."""

    def probabilities(
        self, frame: Frame, intensity: Scaling, region: Region
    ) -> NDArray[np.float32]:
        """Compute the class probabilities in one region of a frame, C then the region's sizes."""
        said = self.network.probabilities(frame, intensity, region)
        return said_together(self.classifier, self.share, said, frame, intensity, region)


def said_together(
    classifier: PixelClassifier,
    share: float,
    said: NDArray[np.float32],
    frame: Frame,
    intensity: Scaling,
    region: Region,
) -> NDArray[np.float32]:
    """Join what a network has said of a region, which counts for `share`, with a classifier."""
    one = classifier.probabilities(frame, intensity, region)
    product = (one + _LEAST) ** (1 - share) * (said + _LEAST) ** share
    mean: NDArray[np.float32] = product / product.sum(axis=0)
    return mean


def share_of_network(step: int, history: History) -> float:
    """Return how much the network counts beside the classifier in what is shown, 0 to 1.

    It counts ever more until it is ripe, whatever the scores: those of the few strokes that are
    held back scatter. What is clearly better is shown alone.
    """
    return 1.0 if _lead_in(history) >= _CLEARLY else _MOST * min(1.0, step / _RIPE)


def trust_after(step: int, history: History) -> float:
    """Return how much the classifier's word counts beside what is painted, 0 to 1."""
    return max(0.0, 1 - max(0.0, _lead_in(history)) / _CLEARLY) * math.exp2(-step / _HALVING_STEPS)


def _lead_in(history: History) -> float:
    """Return by how much the network's IoU is higher, in the mean of the last scores; 0: none."""
    leads = [
        float(entry["iou"] or 0) - float(entry[CLASSIFIER_IOU] or 0)
        for entry in history[-_RECENT:]
        if entry.get(CLASSIFIER_IOU) is not None
    ]
    return sum(leads) / len(leads) if leads else 0.0


def offsets_of_paint(classifier: PixelClassifier, batches: Iterable[Batch]) -> Tensor:
    """Return the log of how many times as frequent each class is in paint as in the image.

    A network whose scores are raised by it where it learns paint, (classes,), learns how likely the
    classes are in the image.
    """
    painted = torch.ones(len(classifier.shares))
    for batch in batches:
        of_paint = batch.classes[painted_pixels(batch.classes, batch.weights)].cpu()
        painted += torch.bincount(of_paint, minlength=len(painted))
    offsets = torch.log(painted / painted.sum() / classifier.shares)
    return offsets.clamp(-_LARGEST_OFFSET, _LARGEST_OFFSET)
