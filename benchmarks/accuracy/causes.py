"""What made painting pay: each cause of poor learning, taken back alone.

Ten cells are painted as in `ten_cells`, and each row learns from the same paint of the same images
with one thing as it was before. What the program offers as a setting is a setting here as well; the
rest are parts of the trainer, replaced while a row learns. Run from the checkout::

    python benchmarks/accuracy/causes.py [--quick] [--tried] [--sets dsb2018_fluo ...]
"""

from __future__ import annotations

import argparse
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import paths  # noqa: F401  (finds the modules of the other benchmarks)
from experiment import Outcome
from painted_images import IMAGES, Task, absent_in_words, check_sets, load_images
from report import mean_and_worst, with_gains_to
from scored_painting import measure
from table import Table, add_common_arguments, run_with
from torch.nn.modules.batchnorm import _BatchNorm

from napari_unet.data.border_weights import DEFAULT_SIGMA
from napari_unet.errors import ConfigError
from napari_unet.training import held_back, loop, targets
from napari_unet.training.config import TrainConfig
from napari_unet.training.distillation import Teachers
from napari_unet.training.state import latest_model
from napari_unet.training.trainer import Trainer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from experiment import Record, Trial
    from torch import nn

# How many of the images of `ten_cells`; of the nuclei those of about 10 and 17 pixels.
COUNTS = {
    "dsb2018_fluo": 2,
    "dsb2018_other": 1,
    "ctc_dic_hela": 2,
    "ctc_phc_u373": 1,
    "usiigaci_phc": 2,
}
STEPS = 100
DRAWS, _QUICK_DRAWS = 3, 2
_FIRST_DRAW = 1  # odd draws have slivers: two of three, as people mostly leave some
_AS_IT_IS = "as it is"
_TEN = "ten cells"


@dataclass(frozen=True)
class Variation:
    """How a row differs from the program as it is.

    Parameters
    ----------
    settings : mapping
        Of the training, instead of those of the preset.
    meanwhile : callable
        Makes the context in which the row learns.
    """

    settings: Mapping[str, Any] = field(default_factory=dict)
    meanwhile: Callable[[], AbstractContextManager[Any]] = nullcontext

    def learn(self, task: Task, config: TrainConfig) -> Outcome:
        """Train on ten cells of one image, and score it."""
        with self.meanwhile():
            measured = measure(task.sample, task.paint(), config, task.border)
        return Outcome({_TEN: measured.scores}, measured.steps)


# What no setting takes back is replaced where it is called from: a setting for each would be
# clutter, since nobody wants to learn worse. Each function takes one thing back and nothing else.


def no_border_in_slivers() -> AbstractContextManager[Any]:
    """Let unpainted slivers between painted cells teach nothing."""
    return patch.object(targets, "sliver_of", lambda config: 0.0)


def sigma_of_the_paper() -> AbstractContextManager[Any]:
    """Make border weights as wide as in the paper, whatever the size of the cells.

    The setting `border_sigma` would also change how wide a sliver may be.
    """
    fitting = targets._border_of

    def border_of(labels: Any, target: Any, table: Any, config: TrainConfig, *more: Any) -> Any:
        return fitting(labels, target, table, config.changed(border_sigma=DEFAULT_SIGMA), *more)

    return patch.object(targets, "_border_of", border_of)


def no_statistics_fitted() -> AbstractContextManager[Any]:
    """Begin with the statistics that the starting model has, whatever the images are like."""
    return patch.object(Trainer, "_fits_statistics", False)


def statistics_kept() -> AbstractContextManager[Any]:
    """Let BatchNorm normalise by what was fitted, and stay as it is while the network learns."""
    fitting = Trainer.train_step

    def train_step(trainer: Trainer, progress: float) -> float:
        with patch.object(trainer.network, "train", lambda: frozen(trainer.network)):
            return fitting(trainer, progress)

    return patch.object(Trainer, "train_step", train_step)


def frozen(network: nn.Module) -> None:
    """Put a network in training mode, all but BatchNorm."""
    for module in network.modules():
        module.training = not isinstance(module, _BatchNorm)


def last_weights() -> AbstractContextManager[Any]:
    """Keep the last weights, whether or not the start or others before them suited the paint."""
    return patch.object(loop, "best_model", latest_model)


def some_held_back() -> AbstractContextManager[Any]:
    """Hold back some of the paint for scores, however little there is."""
    return patch.object(held_back, "CELLS_TO_SPARE_SOME", 0)


def no_teacher() -> AbstractContextManager[Any]:
    """Learn from the paint alone, beginning with the starting model all the same."""
    return patch.object(Teachers, "_trusted_on", lambda *_: None)


CAUSES = {
    "slivers teach nothing": Variation(meanwhile=no_border_in_slivers),
    "border weights, sigma 5": Variation(meanwhile=sigma_of_the_paper),
    "no statistics fitted": Variation(meanwhile=no_statistics_fitted),
    "last weights": Variation(meanwhile=last_weights),
    "some cells held back": Variation(meanwhile=some_held_back),
    "not binned": Variation({"binning": 1.0}),
    "starting model does not teach": Variation(meanwhile=no_teacher),
    "random weights": Variation({"start": "random"}),
}
# What the rows above are to be compared with: how much chance alone changes.
CONTROLS = {_AS_IT_IS: Variation(), "another seed": Variation({"seed": 1000})}
# What was tried and not kept; a line is a row with `--tried`.
TRIED = {
    "statistics kept": Variation(meanwhile=statistics_kept),
    "half the learning rate": Variation({"learning_rate": 1e-3}),
    "8 patches a step": Variation({"batch_size": 8}),
    "twice the learning rate": Variation({"learning_rate": 4e-3}),
}
NOTES = (
    "Means / worst runs; a run is one image and one draw of the painted cells, as in "
    "[ten_cells](ten_cells.md). `gained`: to the row *as it is*, run by run, below 0 where it "
    "helps not to take that back. *Another seed*: the same paint, other patches; how much chance "
    "alone changes. *all*: every run counts alike. `painted found`: share of the painted cells "
    "whose true outline some predicted object meets at that IoU. `area / true`: foreground. `s`: "
    "training and prediction.",
    "Draws are counted from 1. In odd ones outlines wobble and leave slivers; in even ones they "
    "are exact, so that slivers change nothing there.",
    "*Slivers teach nothing*: what is unpainted between two near cells is unlabelled. *Border "
    "weights, sigma 5*: 5 network pixels, instead of a tenth of the cells' diameter. *Statistics "
    "of the patches*: BatchNorm's are neither fitted before the training nor kept in it. *Last "
    "weights*: instead of the best by painted cells, the start among them. *Some cells held "
    "back*: the usual share of the paint, where blocks of it can be spared; they also have a say "
    "in which weights are kept, and choose the threshold of objects. *Not binned*: nor enlarged; "
    "border weights and slivers suit the cells as large as they then are. *Random weights*: and so "
    "none of what needs a starting model, its teaching, its statistics, the start as a candidate, "
    "the gentler learning rate.",
)


@dataclass(frozen=True)
class CausesOptions:
    """What the command line says; see ``--help``."""

    data: Path
    threads: int
    sets: tuple[str, ...]
    steps: int
    draws: int
    quick: bool
    tried: bool

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        check_sets(self.sets, COUNTS)
        if min(self.threads, self.draws, self.steps) < 1:
            raise ConfigError("--threads, --draws and --steps must be 1 or more.")

    @property
    def images(self) -> dict[str, tuple[str, ...]]:
        """Numbers of the images of each set."""
        return {name: IMAGES[name][: 1 if self.quick else COUNTS[name]] for name in self.sets}

    @property
    def rows(self) -> dict[str, Variation]:
        """Which rows there are."""
        return {**CONTROLS, **CAUSES, **(TRIED if self.tried else {})}

    @property
    def form(self) -> str:
        """Say for people what kind of table this is."""
        quick = "**This is the quick form**: one image of each set. " if self.quick else ""
        skipped = absent_in_words(self.sets, self.data)
        return f"{quick}Draws per image: {self.draws}; threads: {self.threads}.{skipped}"

    @property
    def settings(self) -> dict[str, Any]:
        """Say the same for programs."""
        return {"draws": self.draws, "quick": self.quick, "tried": self.tried}


def plan(options: CausesOptions) -> list[Trial]:
    """Return the trials, draw by draw, so that an unfinished table compares like with like.

    Raises
    ------
    FileProblemError
        None of the sets is there.
    """
    found = load_images(options.images, options.data)
    return [
        trial
        for draw in range(_FIRST_DRAW, _FIRST_DRAW + options.draws)
        for dataset, sample in found
        for trial in trials_of(Task(dataset.name, sample, dataset.border, draw), options)
    ]


def trials_of(task: Task, options: CausesOptions) -> list[Trial]:
    """Return the rows of one image and draw: the same paint for all."""
    config = TrainConfig.preset("fast", seed=task.draw, steps=options.steps)
    return [
        task.trial(row, config.changed(**variation.settings), variation.learn)
        for row, variation in options.rows.items()
    ]


def with_differences(records: list[Record]) -> list[Record]:
    """Add what each run gained to the same run as it is, and all data sets as one."""
    base = {_run_of(r): r.scores[_TEN] for r in records if r.row == _AS_IT_IS}
    compared = [
        with_gains_to(base[_run_of(r)], r) if r.row != _AS_IT_IS and _run_of(r) in base else r
        for r in records
    ]
    return [*compared, *(replace(record, dataset="all") for record in compared)]


def _run_of(record: Record) -> tuple[str, str, int]:
    return record.dataset, record.split, record.repeat


TABLE = Table(
    "causes",
    "Each cause of poor learning, taken back alone",
    (
        *("f1_50", "gain", "f1_75", "gain_75"),
        *("painted_50", "painted_75", "area", "seconds"),
    ),
    plan,
    NOTES,
    derive=with_differences,
    summary=mean_and_worst,
)


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    made = argparse.ArgumentParser(description=TABLE.title)
    add: Any = made.add_argument
    add("--sets", nargs="+", default=list(COUNTS), metavar="SET", help=", ".join(COUNTS))
    add("--steps", type=int, default=STEPS, help="of each training")
    add("--draws", type=int, help="of the painted cells, per image")
    add("--tried", action="store_true", help="also what was tried and not kept")
    add("--quick", action="store_true", help="one image of each set, two draws")
    add_common_arguments(made)
    return made


def options_of(values: argparse.Namespace) -> CausesOptions:
    """Read what the command line says."""
    draws = _QUICK_DRAWS if values.quick else DRAWS
    return CausesOptions(
        values.data,
        values.threads,
        tuple(values.sets),
        values.steps,
        draws if values.draws is None else values.draws,
        values.quick,
        values.tried,
    )


if __name__ == "__main__":
    run_with(TABLE, parser(), options_of)
