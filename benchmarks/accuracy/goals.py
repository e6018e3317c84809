"""What the preset "accurate" reaches on nuclei and on five classes of tissue, given some time.

Run from the checkout::

    python benchmarks/accuracy/goals.py [--budget small|full]
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from datasets import load_dataset
from experiment import Trial, as_predicted, train_and_score
from table import Options, Table, run_table

from napari_unet.training.config import TrainConfig

if TYPE_CHECKING:
    from experiment import Way

SETS = ("dsb2018_fluo", "vnc_sstem_semantic")
_WAYS: dict[str, Way] = {"as predicted": as_predicted}
NOTES = (
    "On dsb2018_fluo one third of the mosaics is tested, the others are trained on; on "
    "vnc_sstem_semantic slices 9 to 11 are tested, and IoU is the mean over five classes.",
)


def plan(options: Options) -> list[Trial]:
    """Return one trial per data set."""
    trials = []
    for name in SETS:
        dataset = load_dataset(name, options.data)
        split = dataset.splits[-1]
        config = TrainConfig.preset(
            "accurate", kind=dataset.kind, unpainted="unlabelled", minutes=options.minutes
        )
        run = partial(train_and_score, split, dataset, _WAYS)
        trials.append(Trial("preset accurate", name, split.name, 0, config, run))
    return trials


TABLE = Table(
    "goals",
    "What the preset accurate reaches",
    ("f1_50", "f1_75", "map", "seg", "n_merged", "n_split", "iou", "pixel_error"),
    plan,
    NOTES,
)

if __name__ == "__main__":
    run_table(TABLE)
