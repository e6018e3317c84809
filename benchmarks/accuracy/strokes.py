"""From strokes on one image: the default preset against a random forest, after 5 and 30 seconds.

It needs scikit-learn. Run from the checkout::

    python benchmarks/accuracy/strokes.py
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from datasets import cropped_to_field, load_dataset
from experiment import Outcome, Trial, as_predicted
from forest import Forest, components_of, require_sklearn
from paint import paint_strokes
from table import Options, Table, run_table

from napari_unet.api.model import TrainedModel
from napari_unet.errors import ConfigError
from napari_unet.evaluation.scores import evaluate
from napari_unet.objects.separation import separate_objects
from napari_unet.run import Run
from napari_unet.training.config import TrainConfig
from napari_unet.training.dataset import AnnotatedImage
from napari_unet.training.events import Checkpoint, Inbox, TrainingEvent
from napari_unet.training.loop import train_network
from napari_unet.training.preparation import prepare_training

if TYPE_CHECKING:
    from datasets import Labels, Sample
    from experiment import Scores

IMAGES = (("ctc_phc_u373", "021"), ("ctc_dic_hela", "021"), ("dsb2018_fluo", "044"))
SHARE = 0.015
DRAWS = 3
_EARLY_SECONDS = 5.0
_SHOWN = ("iou", "ap_50", "f1_50")
NOTES = (
    f"{SHARE:.1%} of one image is painted, and all of its pixels are scored; images of the Cell "
    "Tracking Challenge without their border of 50 pixels. The network is looked at after "
    f"{_EARLY_SECONDS:g} s of one training of the whole time, so its learning rate is still high "
    "then. The forest learns the same strokes; its objects are made in two ways, and the better "
    "score of the two counts, score by score.",
)


@dataclass
class Snapshot:
    """Asks a running training for its model once, after some seconds."""

    seconds: float
    inbox: Inbox = field(default_factory=Inbox)
    began: float = field(default_factory=time.monotonic)
    model: TrainedModel | None = None
    asked: bool = False

    def see(self, event: TrainingEvent) -> None:
        """Hear each event of the training."""
        if self.asked and self.model is None and isinstance(event, Checkpoint):
            self.model = TrainedModel(event.trained)
        if not self.asked and time.monotonic() - self.began >= self.seconds:
            self.asked = True
            self.inbox.checkpoint_wanted.set()


def shown_scores(objects: Labels, truth: Labels) -> Scores:
    """Score labels ``YX``, background 0, against the full truth."""
    scores = evaluate(objects, truth)
    return {key: float(scores[key]) for key in _SHOWN}


def forest_scores(sample: Sample, paint: Labels, smallest: int, seed: int) -> Scores:
    """Score the forest; of two ways to make objects the better counts, score by score."""
    answer = Forest(sample.image, threads=2, seed=seed).answer(paint)
    one = shown_scores(components_of(answer.foreground, smallest), sample.labels)
    other = shown_scores(separate_objects(answer.foreground, smallest), sample.labels)
    return {key: max(one[key], other[key]) for key in _SHOWN}


def train_and_compare(sample: Sample, config: TrainConfig) -> Outcome:
    """Paint, train both, and score the network early and in the end."""
    paint = paint_strokes(sample.labels, SHARE, config.seed)
    snapshot = Snapshot(min(_EARLY_SECONDS, config.minutes * 30))
    data = prepare_training([AnnotatedImage(sample.name, sample.image, paint)], config)
    events = train_network(
        data, config, threading.Event(), started=snapshot.began, inbox=snapshot.inbox
    )
    result = Run(events).finish(snapshot.see)
    if snapshot.model is None:
        raise ConfigError(f"A training of {config.minutes} minutes is too short; choose more.")
    last = TrainedModel(result.trained)
    scores = {
        f"U-Net, {seconds:g} s": shown_scores(as_predicted(model, sample.image), sample.labels)
        for seconds, model in ((snapshot.seconds, snapshot.model), (config.minutes * 60, last))
    }
    smallest = last.record.smallest_object
    scores["forest"] = forest_scores(sample, paint, smallest, config.seed)
    return Outcome(scores, result.state.step)


def plan(options: Options) -> list[Trial]:
    """Return one trial per image and draw."""
    require_sklearn()
    trials = []
    for name, number in IMAGES:
        dataset = load_dataset(name, options.data)
        samples = [s for split in dataset.splits for s in (*split.train, *split.test)]
        sample = next(s for s in samples if s.name == number)
        sample = cropped_to_field(sample, dataset.border)
        for draw in range(DRAWS):
            config = TrainConfig.preset("fast", minutes=options.minutes, seed=draw)
            run = partial(train_and_compare, sample)
            trials.append(Trial(f"image {number}", name, f"image {number}", draw, config, run))
    return trials


TABLE = Table("strokes", "From strokes, against a random forest", _SHOWN, plan, NOTES)

if __name__ == "__main__":
    run_table(TABLE)
