"""What bundled starting weights save: random and bundled ones, at several shares of paint.

Run from the checkout::

    python benchmarks/accuracy/starting_weights.py
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from datasets import load_dataset
from experiment import Outcome, Trial, as_predicted, scores_of_ways, train_model
from paint import paint_strokes
from table import Options, Table, run_table

from napari_unet.settings import declared
from napari_unet.training.config import TrainConfig
from napari_unet.training.dataset import AnnotatedImage

if TYPE_CHECKING:
    from datasets import DataSet, Sample

SHARES = (0.005, 0.015, 0.045)
# Of the mosaics that `scripts/pretrain.py` leaves out: no starting weights have seen them.
IMAGES = {"dsb2018_fluo": ("007", "053")}
NOTES = (
    "A share of one image is painted in strokes, and all of its pixels are scored; the runs of a "
    "row are its images. No weights have seen them: `cells` has learned from other mosaics of the "
    "set, random weights from no image at all.",
)


def starts() -> tuple[str, ...]:
    """Return the weights that a training can begin with."""
    return tuple(map(str, declared(TrainConfig)["start"].choices))


def train_on_strokes(
    sample: Sample, dataset: DataSet, share: float, config: TrainConfig
) -> Outcome:
    """Paint one image, train on it and score it."""
    paint = paint_strokes(sample.labels, share, config.seed)
    model, steps = train_model([AnnotatedImage(sample.name, sample.image, paint)], config)
    return Outcome(scores_of_ways(model, [sample], dataset, {"as predicted": as_predicted}), steps)


def plan(options: Options) -> list[Trial]:
    """Return one trial per image, share and start."""
    trials = []
    for name, numbers in IMAGES.items():
        dataset = load_dataset(name, options.data)
        samples = {s.name: s for split in dataset.splits for s in split.test}
        for repeat, number in enumerate(numbers):
            for share in SHARES:
                for start in starts():
                    config = TrainConfig.preset("fast", minutes=options.minutes, start=start)
                    run = partial(train_on_strokes, samples[number], dataset, share)
                    row = f"start {start}, {share:.1%} painted"
                    trials.append(Trial(row, name, f"image {number}", repeat, config, run))
    return trials


TABLE = Table(
    "starting_weights",
    "Starting weights",
    ("f1_50", "ap_50", "iou"),
    plan,
    NOTES,
)

if __name__ == "__main__":
    run_table(TABLE)
