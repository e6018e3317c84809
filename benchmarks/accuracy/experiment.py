"""One training and what it scores: the trial that all tables are made of."""

from __future__ import annotations

import threading
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import paths  # noqa: F401  (finds the next module)
import torch
from datasets import entering_field, painted_labels
from forest import components_of

from napari_unet.api.model import TrainedModel
from napari_unet.data.labels import ridge_between
from napari_unet.evaluation.scores import evaluate
from napari_unet.model.devices import choose_device, describe
from napari_unet.run import Run
from napari_unet.training.config import TrainConfig
from napari_unet.training.dataset import AnnotatedImage
from napari_unet.training.loop import train_network
from napari_unet.training.preparation import prepare_training

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from datasets import DataSet, Labels, Sample, Split
    from numpy.typing import NDArray

    Scores = dict[str, float]
    Way = Callable[[TrainedModel, NDArray[Any]], Labels]


@dataclass(frozen=True)
class Outcome:
    """What one training brought.

    Parameters
    ----------
    scores : dict
        From a way of making labels of its predictions to the scores.
    steps : int
        Training steps taken.
    """

    scores: dict[str, Scores]
    steps: int


@dataclass(frozen=True)
class Trial:
    """One training that a table needs.

    Parameters
    ----------
    row, dataset, split : str
        Where it belongs.
    repeat : int
        Its number among those that are averaged.
    config : TrainConfig
        Its settings, seed included.
    run : callable
        Makes it.
    """

    row: str
    dataset: str
    split: str
    repeat: int
    config: TrainConfig
    run: Callable[[TrainConfig], Outcome]

    @property
    def title(self) -> str:
        """Name the trial for people."""
        return f"{self.dataset}, {self.row}, {self.split}, repeat {self.repeat}"


@dataclass(frozen=True)
class Record:
    """A finished trial, as it is kept.

    Parameters
    ----------
    row, dataset, split, repeat, config
        Those of the trial.
    scores, steps
        Those of its outcome.
    seconds : float
        That training, prediction and scoring took.
    device : str
        Where it was computed.
    threads : int
        Of the CPU.
    commit : str
        Of the checkout.
    """

    row: str
    dataset: str
    split: str
    repeat: int
    config: dict[str, Any]
    scores: dict[str, Scores]
    steps: int
    seconds: float
    device: str
    threads: int
    commit: str

    def is_of(self, trial: Trial) -> bool:
        """Return whether the trial need not be made again."""
        mine = (self.row, self.dataset, self.split, self.repeat, self.config)
        return mine == (
            trial.row,
            trial.dataset,
            trial.split,
            trial.repeat,
            asdict(trial.config),
        )


def make_record(trial: Trial, commit: str) -> Record:
    """Run a trial."""
    begin = time.perf_counter()
    outcome = trial.run(trial.config)
    seconds = round(time.perf_counter() - begin, 1)
    device = describe(choose_device(trial.config.device))
    return Record(
        trial.row,
        trial.dataset,
        trial.split,
        trial.repeat,
        asdict(trial.config),
        outcome.scores,
        outcome.steps,
        seconds,
        device,
        torch.get_num_threads(),
        commit,
    )


def warm_up() -> None:
    """Train two steps on noise: what is loaded on first use costs no trial its seconds."""
    rng = np.random.default_rng(0)
    paint = np.repeat([1, 2], 32 * 64).reshape(64, 64)
    image = AnnotatedImage("noise", rng.normal(size=(64, 64)).astype(np.float32), paint)
    train_model([image], TrainConfig.preset("fast", steps=2, patch_size=64))


def annotated(samples: Sequence[Sample], dataset: DataSet) -> list[AnnotatedImage]:
    """Give samples with their full labels to a training."""
    return [
        AnnotatedImage(s.name, s.image, painted_labels(s.labels, dataset.kind, dataset.border))
        for s in samples
    ]


def train_model(images: Sequence[AnnotatedImage], config: TrainConfig) -> tuple[TrainedModel, int]:
    """Train, and return the model and the steps it took; preparing counts as training time."""
    begin = time.monotonic()
    data = prepare_training(images, config)
    result = Run(train_network(data, config, threading.Event(), started=begin)).finish()
    return TrainedModel(result.trained), result.state.step


def train_and_score(
    split: Split, dataset: DataSet, ways: Mapping[str, Way], config: TrainConfig
) -> Outcome:
    """Train on one part of a split and score the other in several ways."""
    model, steps = train_model(annotated(split.train, dataset), config)
    return Outcome(scores_of_ways(model, split.test, dataset, ways), steps)


def scores_of_ways(
    model: TrainedModel, samples: Sequence[Sample], dataset: DataSet, ways: Mapping[str, Way]
) -> dict[str, Scores]:
    """Predict samples in several ways, and score each."""
    return {
        name: score([way(model, s.image) for s in samples], samples, dataset)
        for name, way in ways.items()
    }


def score(predictions: Sequence[Labels], samples: Sequence[Sample], dataset: DataSet) -> Scores:
    """Score predicted labels; the values of `evaluate` that are single numbers are kept."""
    truth = [sample.labels for sample in samples]
    predictions = list(predictions)
    if dataset.kind == "classes":
        found = evaluate(predictions, truth, "classes", unpainted="unlabelled")
    else:
        border = dataset.border
        found = evaluate(
            [entering_field(labels, border) for labels in predictions],
            [entering_field(labels, border) for labels in truth],
        )
    return {key: float(value) for key, value in found.items() if not isinstance(value, dict)}


def as_predicted(model: TrainedModel, image: NDArray[Any]) -> Labels:
    """Predict with all that the model itself has chosen."""
    return model.predict(image)


def cells_parted(model: TrainedModel, image: NDArray[Any]) -> Labels:
    """Predict the cells between membranes (2); where two of them meet is a membrane as well."""
    cells = model.predict(image, "objects")
    return np.where((cells == 0) | ridge_between(cells), 2, 1)


def separated(model: TrainedModel, image: NDArray[Any]) -> Labels:
    """Predict once, and take objects apart by this package's separation at a half."""
    return model.predict(image, "objects", threshold=0.5, views=1)


def components(model: TrainedModel, image: NDArray[Any]) -> Labels:
    """Predict once, and take the 4-connected components of what is above a half."""
    foreground = model.predict(image, "probabilities", views=1)[1]
    return components_of(foreground, model.record.smallest_object)
