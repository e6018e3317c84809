"""The tables of the U-Net paper: ISBI 2012, U373 and HeLa, with the paper's and our settings.

Run from the checkout::

    python benchmarks/accuracy/paper.py [--budget small|full]
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from datasets import load_dataset
from experiment import Trial, as_predicted, cells_parted, train_and_score
from table import Options, Table, run_table

from napari_unet.training.config import TrainConfig

if TYPE_CHECKING:
    from experiment import Way

    from napari_unet.training.config import PresetName

# The light network of the preset fast, which begins with the starting model, and all else as in
# the preset accurate: what is best within minutes on a CPU.
_LIGHT: dict[str, Any] = {"start": "cells", "base_channels": 16, "depth": 3, "steps": 8000}
SETS = ("isbi2012_em", "ctc_phc_u373", "ctc_dic_hela")
# The published network takes ten seconds a step on a CPU: nothing is learned in minutes.
_NARROW: dict[str, Any] = {"base_channels": 16}
WAYS: dict[str, Way] = {"ours": as_predicted}
PUBLISHED = {
    ("isbi2012_em", "warping_error"): 0.000353,
    ("isbi2012_em", "rand_error"): 0.0382,
    ("isbi2012_em", "pixel_error"): 0.0611,
    ("ctc_phc_u373", "seg"): 0.9203,
    ("ctc_dic_hela", "seg"): 0.7756,
}
NOTES = (
    "The paper's figures (in brackets) are those of the challenges' own test servers, other "
    "images than ours; ISBI's were the average of 7 rotated versions, and the servers took the "
    "best of several thresholds. Ours are scored on the part of the public training images named "
    "in the runs' `split`, at one threshold.",
)


def _rows(options: Options) -> dict[str, tuple[PresetName, dict[str, Any]]]:
    """Return what is compared: our light network, our preset accurate, the paper's settings."""
    paper = _NARROW if options.budget == "small" else {}
    return {
        "light network from cells": ("accurate", _LIGHT),
        "preset accurate": ("accurate", {}),
        f"preset paper{', 16 channels' if paper else ''}": ("paper", paper),
    }


def plan(options: Options) -> list[Trial]:
    """Return one trial per data set and preset."""
    trials = []
    for name in SETS:
        dataset = load_dataset(name, options.data)
        split, ways = dataset.splits[0], dict(WAYS)
        if dataset.kind == "classes":
            ways["cells parted"] = cells_parted
        for row, (preset, changes) in _rows(options).items():
            config = TrainConfig.preset(
                preset,
                kind=dataset.kind,
                unpainted="unlabelled",
                minutes=options.minutes,
                **changes,
            )
            run = partial(train_and_score, split, dataset, ways)
            trials.append(Trial(row, name, split.name, 0, config, run))
    return trials


TABLE = Table(
    "paper",
    "The paper's tables",
    ("pixel_error", "rand_error", "warping_error", "seg", "iou", "f1_50"),
    plan,
    NOTES,
    PUBLISHED,
)

if __name__ == "__main__":
    run_table(TABLE)
