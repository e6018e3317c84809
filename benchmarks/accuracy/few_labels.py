"""How few labels are enough: strokes or whole cells on a share of the pixels, against all.

Run from the checkout::

    python benchmarks/accuracy/few_labels.py [--budget small|full]
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from datasets import field_of_interest, load_dataset, painted_labels
from experiment import Outcome, Trial, as_predicted, scores_of_ways, train_model
from paint import paint_strokes, paint_whole_cells
from table import Options, Table, run_table

from napari_unet.training.config import TrainConfig
from napari_unet.training.dataset import AnnotatedImage

if TYPE_CHECKING:
    from datasets import DataSet, Labels, Sample, Split
    from experiment import Record

SETS = ("dsb2018_fluo", "ctc_dic_hela")
ALL_PIXELS = "all pixels"
SHARES = (0.01, 0.05, 0.2)
REPEATS = {"small": 1, "full": 3}
# Of the training images in the small form.
_FEW_IMAGES = 6
NOTES = (
    "`painted` is the share that was really painted of all training pixels: strokes stop where no "
    "room is left, whole cells where the next one would be too much. A row is to be compared with "
    "the row of all pixels of the same data set; all have the same time, images and seed.",
    "Strokes: 3 to 7 pixels wide, curved, in turn through a cell and through background, half of "
    "the latter from beside a cell. Whole cells: with a ring of 4 pixels of background each; "
    "images in which none is painted are not trained on.",
)


@dataclass(frozen=True)
class Painting:
    """How much is painted, and how; a share of 1 is all."""

    manner: str
    share: float

    @property
    def row(self) -> str:
        """Name the row."""
        return ALL_PIXELS if self.share == 1 else f"{self.manner}, {self.share:.0%}"

    def paint(self, samples: tuple[Sample, ...], dataset: DataSet, seed: int) -> list[Labels]:
        """Paint images; what may hold cells that nobody labelled stays unpainted."""
        full = [painted_labels(s.labels, dataset.kind, dataset.border) for s in samples]
        if self.share == 1:
            return full
        truths = [sample.labels for sample in samples]
        if self.manner == "strokes":
            paints = [paint_strokes(t, self.share, 1000 * seed + i) for i, t in enumerate(truths)]
        else:
            paints = paint_whole_cells(truths, self.share, seed)
        border = dataset.border
        return [
            np.where(field_of_interest(p.shape, border) | (p > 1), p, 0).astype(np.int32)
            for p in paints
        ]


PAINTINGS = (
    Painting("all", 1.0),  # first: the others are compared with it
    *(Painting(manner, share) for manner in ("strokes", "whole cells") for share in SHARES),
)


def train_on_paint(
    painting: Painting, split: Split, dataset: DataSet, config: TrainConfig
) -> Outcome:
    """Paint, train on it, and score on fully labelled images."""
    paints = painting.paint(split.train, dataset, config.seed)
    images = [
        AnnotatedImage(sample.name, sample.image, paint)
        for sample, paint in zip(split.train, paints, strict=True)
        if paint.any()
    ]
    model, steps = train_model(images, config)
    scores = scores_of_ways(model, split.test, dataset, {"as predicted": as_predicted})
    painted = sum(np.count_nonzero(paint) for paint in paints) / sum(p.size for p in paints)
    return Outcome({way: {"painted": painted, **found} for way, found in scores.items()}, steps)


def few_images(split: Split, number: int) -> Split:
    """Keep some training images, evenly spaced in their order."""
    chosen = np.linspace(0, len(split.train) - 1, min(number, len(split.train))).round()
    train = tuple(split.train[int(i)] for i in chosen)
    return type(split)(f"{split.name}, {len(train)} training images", train, split.test)


def with_ratios(records: list[Record]) -> list[Record]:
    """Add to each record its F1 divided by that of all pixels, where that is finished."""
    full = {
        (r.dataset, r.split, r.repeat): r.scores["as predicted"]["f1_50"]
        for r in records
        if r.row == ALL_PIXELS
    }
    found = []
    for record in records:
        whole = full.get((record.dataset, record.split, record.repeat))
        own = record.scores["as predicted"]
        if whole:
            own = {**own, "f1_ratio": own["f1_50"] / whole}
        found.append(replace(record, scores={"as predicted": own}))
    return found


def plan(options: Options) -> list[Trial]:
    """Return the trials, repeat by repeat."""
    trials = []
    for name in SETS:
        dataset = load_dataset(name, options.data)
        split = dataset.splits[0]
        if options.budget == "small":
            split = few_images(split, _FEW_IMAGES)
        for repeat in range(REPEATS[options.budget]):
            config = TrainConfig.preset("fast", minutes=options.minutes, seed=repeat)
            for painting in PAINTINGS:
                run = partial(train_on_paint, painting, split, dataset)
                trials.append(Trial(painting.row, name, split.name, repeat, config, run))
    return trials


TABLE = Table(
    "few_labels",
    "Few and partial labels",
    ("painted", "f1_50", "f1_ratio", "ap_50", "seg", "iou"),
    plan,
    NOTES,
    derive=with_ratios,
)

if __name__ == "__main__":
    run_table(TABLE)
