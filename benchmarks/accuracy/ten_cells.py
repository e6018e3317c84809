"""What painting pays: ten cells painted, then twenty, after so many steps or seconds.

A simulated person paints ten cells of one image (see `benchmarks/painter.py`); every other draw
her outlines wobble and leave slivers between touching cells. It trains with the preset "fast" and
is scored on the whole image, beside what the starting models find with nothing painted and what a
random forest (which needs scikit-learn) makes of the same paint. Run from the checkout::

    python benchmarks/accuracy/ten_cells.py [--quick] [--sets dsb2018_fluo ...]
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import paths  # noqa: F401  (finds the modules of the other benchmarks)
from experiment import Outcome
from forest import require_sklearn
from painted_images import IMAGES, Task, absent_in_words, check_sets, load_images
from report import mean_and_worst, with_gains_to
from scored_painting import measure, measure_forest, measure_nothing
from table import Table, add_common_arguments, run_with

from napari_unet.errors import ConfigError
from napari_unet.training.config import TrainConfig

if TYPE_CHECKING:
    from pathlib import Path

    from experiment import Record, Trial
    from painter import Manner

STEPS = (0, 10, 30, 100, 300)
DRAWS = 5
_MANNER_WORDS: dict[Manner, str] = {
    "cells": "whole cells",
    "brush": "the inside of each cell, no ring",
    "strokes": "a stroke in each cell",
}
_QUICK_STEPS, _QUICK_DRAWS = (100,), 2
_NOTHING = "nothing painted"
_BEST = "best starting model"
_FIRST, _MORE = "first ten", "ten more"
NOTES = (
    "Means / worst runs; a run is one image and one draw of the painted cells. `painted found`: "
    "share of the painted cells whose true outline some predicted object meets at that IoU. "
    "`shown`: as the window shows it, with painted cells as they were painted; all else is the "
    "network alone. `area / true`: foreground. `gained`: to nothing painted, image by image. "
    "`s`: training and prediction.",
    "Ten cells are painted, or half of those there where they are fewer than twenty, each with a "
    "ring of 3 to 4 pixels of background, and three background strokes. Even draws have exact "
    "outlines; in odd ones they wobble by up to two pixels, and one or two pixels stay unpainted "
    "between touching cells. *Ten more*: the model of the first ten goes on with as many further "
    "cells, for as many steps; its seconds are those of that second training.",
    "A training of 10 steps is planned as one of 10 steps, so its learning rate falls within "
    "them; 0 steps is the starting model as a training of this paint begins with it. Nothing "
    "painted: the best of the bundled models by F1 at 0.5. The forest: the better of two ways to "
    "make objects, likewise. All pixels of the image count, the painted ones too; those of the "
    "Cell Tracking Challenge within their field of interest.",
)


@dataclass(frozen=True)
class TenOptions:
    """What the command line says; see ``--help``."""

    data: Path
    threads: int
    sets: tuple[str, ...]
    steps: tuple[int, ...]
    seconds: tuple[float, ...]
    draws: int
    manner: Manner
    quick: bool

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        check_sets(self.sets, IMAGES)
        if self.threads < 1 or self.draws < 1:
            raise ConfigError("--threads and --draws must be 1 or more.")
        if min(self.steps, default=0) < 0 or min(self.seconds, default=1.0) <= 0:
            raise ConfigError("--steps must be 0 or more, --seconds more than 0.")

    @property
    def form(self) -> str:
        """Say for people what kind of table this is."""
        quick = "**This is the quick form**: no second ten, no forest. " if self.quick else ""
        skipped = absent_in_words(self.sets, self.data)
        counts = f"Draws per image: {self.draws}; threads: {self.threads}"
        return f"{quick}{counts}; painted: {_MANNER_WORDS[self.manner]}.{skipped}"

    @property
    def settings(self) -> dict[str, Any]:
        """Say the same for programs."""
        return {"draws": self.draws, "manner": self.manner, "quick": self.quick}


def nothing_painted(task: Task, _: TrainConfig) -> Outcome:
    """Score each starting model, and name the best."""
    scores = measure_nothing(task.sample, task.paint(), task.border)
    return Outcome({_BEST: max(scores.values(), key=lambda found: found["f1_50"]), **scores}, 0)


def forest(task: Task, config: TrainConfig) -> Outcome:
    """Let a random forest learn from the first ten."""
    scores = measure_forest(task.sample, task.paint(), config, task.border)
    return Outcome({_FIRST: scores}, 0)


def trained(task: Task, config: TrainConfig, rounds: int, untrained: bool = False) -> Outcome:
    """Train on the first ten, and in a second round go on with ten more."""
    paint = task.paint()
    first = measure(task.sample, paint, config, task.border, untrained=untrained)
    if rounds == 1:
        return Outcome({_FIRST: first.scores}, first.steps)
    paint = task.paint(before=paint)
    more = measure(task.sample, paint, config, task.border, previous=first.trained)
    return Outcome({_FIRST: first.scores, _MORE: more.scores}, first.steps)


def plan(options: TenOptions) -> list[Trial]:
    """Return the trials, draw by draw, so that an unfinished table compares like with like.

    Raises
    ------
    FileProblemError
        None of the sets is there.
    """
    found = load_images({name: IMAGES[name] for name in options.sets}, options.data)
    with_forest = not options.quick and _sklearn_is_there()
    return [
        trial
        for draw in range(options.draws)
        for dataset, sample in found
        for trial in _trials(
            Task(dataset.name, sample, dataset.border, draw, options.manner), options, with_forest
        )
    ]


def _sklearn_is_there() -> bool:
    try:
        require_sklearn()
    except ConfigError as error:
        print(f"Skipped: {error}", flush=True)
        return False
    return True


def _trials(task: Task, options: TenOptions, with_forest: bool) -> list[Trial]:
    """Return the rows of one image and draw."""
    config = TrainConfig.preset("fast", seed=task.draw)
    rounds, suffix = (1, ", ten only") if options.quick else (2, "")
    trials = [task.trial(_NOTHING, config, nothing_painted)]
    for steps in options.steps:
        run = partial(trained, rounds=rounds if steps else 1, untrained=steps == 0)
        trials.append(
            task.trial(f"{steps} steps{suffix}", config.changed(steps=max(1, steps)), run)
        )
    for seconds in options.seconds:
        run = partial(trained, rounds=rounds)
        trials.append(
            task.trial(f"{seconds:g} s{suffix}", config.changed(minutes=seconds / 60), run)
        )
    if with_forest:
        trials.append(task.trial("random forest", config, forest))
    return trials


def with_gains(records: list[Record]) -> list[Record]:
    """Add what each run gained to nothing painted; of the starting models keep the best."""
    nothing = {
        (r.dataset, r.split, r.repeat): r.scores[_BEST] for r in records if _BEST in r.scores
    }
    found = []
    for record in records:
        if _BEST in record.scores:
            found.append(replace(record, scores={_BEST: record.scores[_BEST]}))
            continue
        base = nothing.get((record.dataset, record.split, record.repeat))
        found.append(with_gains_to(base, record) if base else record)
    return found


TABLE = Table(
    "ten_cells",
    "What painting pays: ten cells",
    (
        *("f1_50", "gain", "f1_75", "map", "painted_50", "painted_75", "area", "shown_f1_50"),
        *("shown_f1_75", "shown_painted_50", "shown_painted_75", "seconds"),
    ),
    plan,
    NOTES,
    derive=with_gains,
    summary=mean_and_worst,
)


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    made = argparse.ArgumentParser(description=TABLE.title)
    add: Any = made.add_argument
    add(
        "--sets",
        nargs="+",
        default=list(IMAGES),
        metavar="SET",
        help=f"{', '.join(IMAGES)}; the files hold these alone, use --only to make a part of all",
    )
    add("--steps", nargs="*", type=int, help="of trainings of their own, 0: before any training")
    add("--seconds", nargs="*", type=float, default=[], help="of trainings limited by time")
    add("--draws", type=int, help="of the painted cells, per image")
    add(
        "--manner",
        choices=list(_MANNER_WORDS),
        default="cells",
        help="whole cells with a ring, what a brush covers inside them, or a stroke in each",
    )
    add("--quick", action="store_true", help="100 steps, two draws, no second ten, no forest")
    add_common_arguments(made)
    return made


def options_of(values: argparse.Namespace) -> TenOptions:
    """Read what the command line says."""
    steps, draws = (_QUICK_STEPS, _QUICK_DRAWS) if values.quick else (STEPS, DRAWS)
    return TenOptions(
        values.data,
        values.threads,
        tuple(values.sets),
        steps if values.steps is None else tuple(values.steps),
        tuple(values.seconds),
        draws if values.draws is None else values.draws,
        values.manner,
        values.quick,
    )


if __name__ == "__main__":
    run_with(TABLE, parser(), options_of)
