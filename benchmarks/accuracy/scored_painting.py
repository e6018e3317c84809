"""One painted image, what learned from it, and what that scores on the whole of the image.

`measure` is what other scripts call: it trains on the paint of one image, predicts the image, and
says among the scores which of the painted cells were found.
"""

from __future__ import annotations

import inspect
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import paths  # noqa: F401  (finds the modules of the other benchmarks)
import torch
from datasets import entering_field
from forest import Forest, components_of
from painter import owners_of

from napari_unet.api.model import TrainedModel, starting_model
from napari_unet.data.binning import typical_diameter
from napari_unet.errors import ModelMismatchError
from napari_unet.evaluation.overlap import overlap_of
from napari_unet.evaluation.scores import evaluate
from napari_unet.model.starting import STARTING_MODELS
from napari_unet.objects.separation import separate_objects
from napari_unet.run import Run
from napari_unet.training.dataset import AnnotatedImage
from napari_unet.training.loop import train_network
from napari_unet.training.preparation import prepare_training

if TYPE_CHECKING:
    from datasets import Labels, Sample
    from experiment import Scores
    from numpy.typing import NDArray

    from napari_unet.training.config import TrainConfig
    from napari_unet.training.loop import TrainingResult

_SHOWN = ("f1_50", "f1_75", "painted_50", "painted_75")
_FROM_EVALUATE = ("f1_50", "f1_75", "map", "iou")


@dataclass(frozen=True)
class Measured:
    """What a training on paint brought.

    Parameters
    ----------
    scores : dict
        See `scores_of_painting`; and the seconds of training and prediction.
    trained : TrainingResult
        To go on from.
    """

    scores: Scores
    trained: TrainingResult

    @property
    def steps(self) -> int:
        """Training steps taken, those of a previous training included."""
        return self.trained.state.step


def measure(
    sample: Sample,
    paint: Labels,
    config: TrainConfig,
    border: int = 0,
    *,
    previous: TrainingResult | None = None,
    untrained: bool = False,
) -> Measured:
    """Train on the paint of one image, predict the image and score it.

    What the network finds is scored, and what the window shows: there painted cells are as they
    were painted.

    Parameters
    ----------
    sample : Sample
        The image and its truth.
    paint : ndarray
        ``YX``: 0 unlabelled, 1 background, 2 and up cells.
    config : TrainConfig
        How to train.
    border : int
        Objects that lie wholly within so many pixels of the image's edge are not scored.
    previous : TrainingResult, optional
        Of a training on less paint, to go on with.
    untrained : bool
        Take no step: the network is what the training begins with.
    """
    begin = time.monotonic()
    images = [AnnotatedImage(sample.name, sample.image, paint, axes=axes_of(sample.image))]
    data = prepare_training(images, config, None if previous is None else previous.data)
    stop = threading.Event()
    if untrained:
        stop.set()
    network = None if previous is None else previous.trained
    trained = Run(train_network(data, config, stop, network, started=begin)).finish()
    model, axes = TrainedModel(trained.trained), axes_of(sample.image)
    predicted = model.predict(sample.image, axes=axes)
    seconds = time.monotonic() - begin
    scores = scores_of_painting(predicted, sample.labels, paint, border)
    shown = model.predict(sample.image, axes=axes, painted=paint)
    as_shown = scores_of_painting(shown, sample.labels, paint, border)
    kept = {f"shown_{name}": as_shown[name] for name in _SHOWN}
    return Measured({**scores, **kept, "seconds": seconds}, trained)


def measure_nothing(sample: Sample, paint: Labels, border: int = 0) -> dict[str, Scores]:
    """Score each bundled starting model as it is; the paint says whose cells are looked for.

    Images in colour are shown as the mean of their channels where a model refuses them. Where
    `predict` can be told the size of the cells, one typical cell has been circled.
    """
    found = {}
    for name, card in STARTING_MODELS.items():
        if card.path.is_file():
            begin = time.monotonic()
            predicted = predicted_by(starting_model(name), sample)
            seconds = time.monotonic() - begin
            scores = scores_of_painting(predicted, sample.labels, paint, border)
            found[name] = {**scores, "seconds": seconds}
    return found


def measure_forest(sample: Sample, paint: Labels, config: TrainConfig, border: int = 0) -> Scores:
    """Score a random forest on the same paint; of two ways to make objects the better counts."""
    images = [AnnotatedImage(sample.name, sample.image, paint, axes=axes_of(sample.image))]
    data = prepare_training(images, config)
    smallest = data.smallest_in_image
    begin = time.monotonic()
    forest = Forest(sample.image, torch.get_num_threads(), config.seed)
    foreground = forest.answer(paint).foreground
    ways = [make(foreground, smallest) for make in (components_of, separate_objects)]
    seconds = time.monotonic() - begin
    scores = [scores_of_painting(way, sample.labels, paint, border) for way in ways]
    return {**max(scores, key=lambda found: found["f1_50"]), "seconds": seconds}


def scores_of_painting(predicted: Labels, truth: Labels, paint: Labels, border: int = 0) -> Scores:
    """Score the objects of a painted image.

    Parameters
    ----------
    predicted, truth, paint : ndarray
        ``YX`` label images; the first two have the background 0.
    border : int
        Objects that lie wholly within so many pixels of the image's edge are left out.

    Returns
    -------
    dict
        Scores of `evaluate`; ``painted_50`` and ``painted_75``, the share of the painted cells
        whose truth some object meets at that IoU; ``area``, predicted over true foreground.
    """
    predicted, truth = (entering_field(labels, border) for labels in (predicted, truth))
    found = evaluate(predicted, truth)
    best = best_ious(predicted, truth)
    painted = [best[cell] for cell in owners_of(paint, truth).values()]
    return {
        **{key: float(found[key]) for key in _FROM_EVALUATE},
        "painted_50": float(np.mean([iou >= 0.5 for iou in painted])),
        "painted_75": float(np.mean([iou >= 0.75 for iou in painted])),
        "area": np.count_nonzero(predicted) / np.count_nonzero(truth),
    }


def best_ious(predicted: Labels, truth: Labels) -> dict[int, float]:
    """Return for each true object the largest IoU that a predicted one has with it."""
    overlap = overlap_of(predicted, truth)
    best = np.zeros(overlap.n_truth)
    np.maximum.at(best, overlap.truth_index, overlap.iou)
    return dict(zip(overlap.truth_ids.tolist(), best.tolist(), strict=True))


def axes_of(image: NDArray[Any]) -> str:
    """Name the axes of an image of a sample."""
    return "YXC" if image.ndim == 3 else "YX"


def predicted_by(model: TrainedModel, sample: Sample) -> Labels:
    """Predict with a starting model, which may take a single channel, or the size of cells."""
    settings: dict[str, Any] = {}
    if "cell_size" in inspect.signature(model.predict).parameters:
        settings["cell_size"] = typical_diameter([sample.labels], "background")
    try:
        return model.predict(sample.image, axes=axes_of(sample.image), **settings)
    except ModelMismatchError:
        grey = sample.image.mean(axis=-1, dtype=np.float32)
        return model.predict(grey, axes="YX", **settings)
