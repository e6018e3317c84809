"""What bundled starting weights save: random and bundled ones, at several shares of paint.

Run from the checkout::

    python benchmarks/accuracy/starting_weights.py
"""

from __future__ import annotations

from dataclasses import fields
from functools import partial
from typing import TYPE_CHECKING

from datasets import load_dataset
from experiment import Outcome, Trial, as_predicted, scores_of_ways, train_model
from paint import paint_strokes
from table import Options, Table, run_table

from napari_unet.training.config import TrainConfig
from napari_unet.training.dataset import AnnotatedImage

if TYPE_CHECKING:
    from datasets import DataSet, Sample

SHARES = (0.005, 0.015, 0.045)
# Images of each set; None takes all that it has.
IMAGES: dict[str, tuple[str, ...] | None] = {
    "dsb2018_fluo": ("009", "027", "044"),
    "cells3d_nuclei": None,
    "nuclei2d": None,
}
# Weights that have seen the images of a set are not measured on it.
_SEEN = {"nuclei": ("dsb2018_fluo", "nuclei2d")}
NOTES = (
    "A share of one image is painted in strokes, and all of its pixels are scored; the runs of a "
    "row are its images. Leakage: the weights `nuclei` are trained on all of dsb2018_fluo, and "
    "nuclei2d is an image of the same competition, so they are measured on neither; "
    "cells3d_nuclei (two slices of a confocal stack) is new to all. Its labels look "
    "threshold-made: take its scores as a comparison of rows only. The synthetic weights and "
    "random ones have seen no real image at all.",
)


def starts() -> tuple[str, ...]:
    """Return the weights that a training can begin with."""
    choices: tuple[str, ...] = next(
        f.metadata["choices"] for f in fields(TrainConfig) if f.name == "start"
    )
    return choices


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
        for repeat, number in enumerate(samples if numbers is None else numbers):
            for share in SHARES:
                for start in starts():
                    if name in _SEEN.get(start, ()):
                        continue
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
