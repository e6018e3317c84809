"""What the border weights do, and what else the preset "accurate" does to part touching cells.

Objects of one training are made in two ways, so that weights and separation are told apart.
Run from the checkout::

    python benchmarks/accuracy/ablation.py [--budget small|full]
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from datasets import load_dataset
from experiment import Trial, as_predicted, components, separated, train_and_score
from table import Options, Table, run_table

from napari_unet.training.config import TrainConfig

if TYPE_CHECKING:
    from datasets import DataSet, Split
    from experiment import Way

    Rows = dict[str, tuple[dict[str, Any], dict[str, Way]]]

SETS = ("dsb2018_fluo", "ctc_dic_hela")
REPEATS = 3
_BOTH_WAYS: dict[str, Way] = {"components": components, "our separation": separated}
_ALL_WAYS: dict[str, Way] = {**_BOTH_WAYS, "threshold and views as well": as_predicted}
ROWS: Rows = {
    "no border weights": ({"border_weight": 0.0}, _ALL_WAYS),
    "border weights": ({"border_weight": 10.0, "border_sigma": 5.0}, _ALL_WAYS),
}
# Large cells are trained binned in all rows above; this one, a single run, shows what that does.
UNBINNED: Rows = {
    "border weights, not binned": ({"binning": 1}, _ALL_WAYS),
}
_LARGE_CELLS = "ctc_dic_hela"
NOTES = (
    "All rows have the settings of the preset accurate but for what they are called after: random "
    "weights (the starting models have learned with border weights), 24 channels, depth 4. The "
    "last way of each training is what the program does: the threshold that was best on the "
    "held-back blocks, and the average over 8 turned and mirrored views.",
    "Components: 4-connected, of what is above a probability of 0.5. On dsb2018_fluo each repeat "
    "tests another third of the images; on ctc_dic_hela the repeats differ in their seed. The "
    "same repeat has the same seed and images in every row.",
)


def plan(options: Options) -> list[Trial]:
    """Return the trials; repeat by repeat, so that an unfinished table compares like with like."""
    trials = []
    for name in SETS:
        dataset = load_dataset(name, options.data)
        for repeat in range(REPEATS):
            split = dataset.splits[repeat % len(dataset.splits)]
            trials += _trials(dataset, split, repeat, ROWS, options)
    large = load_dataset(_LARGE_CELLS, options.data)
    return trials + _trials(large, large.splits[0], 0, UNBINNED, options)


def _trials(
    dataset: DataSet, split: Split, repeat: int, rows: Rows, options: Options
) -> list[Trial]:
    trials = []
    for row, (changes, ways) in rows.items():
        config = TrainConfig.preset("accurate", minutes=options.minutes, seed=repeat, **changes)
        run = partial(train_and_score, split, dataset, ways)
        trials.append(Trial(row, dataset.name, split.name, repeat, config, run))
    return trials


TABLE = Table(
    "ablation",
    "Ablation: border weights and what parts objects",
    (
        *("f1_50", "ap_50", "f1_75", "ap_75", "map", "seg"),
        *("n_merged", "n_split", "n_missed", "n_false"),
    ),
    plan,
    NOTES,
)

if __name__ == "__main__":
    run_table(TABLE)
