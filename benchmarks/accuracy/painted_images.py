"""The images that a simulated person paints ten cells of, and one draw of what she paints.

What is painted on them is learned from and scored by `scored_painting`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import paths  # noqa: F401  (finds the modules of the other benchmarks)
from datasets import field_of_interest, load_dataset
from experiment import Trial
from painter import number_to_paint, paint_cells

from napari_unet.errors import ConfigError, FileProblemError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from pathlib import Path

    from datasets import DataSet, Sample
    from experiment import Outcome
    from painter import Manner, Paint

    from napari_unet.training.config import TrainConfig

# Cells of about 10, 17 and 34 pixels of mosaics that no starting model has seen (fold 2); tissue in
# colour; frames of the test parts; fields whose number is 2 of every 3, held out as the mosaics.
IMAGES = {
    "dsb2018_fluo": ("014", "023", "059"),
    "dsb2018_other": ("000", "014"),
    "ctc_dic_hela": ("034", "054"),
    "ctc_phc_u373": ("096", "112"),
    "usiigaci_phc": ("002", "014"),
    "axon_sem": ("002",),
    "leaf_chloroplast_em": ("008",),
}


@dataclass(frozen=True)
class Task:
    """One image, and one draw of what is painted on it."""

    dataset: str
    sample: Sample
    border: int
    draw: int
    manner: Manner = "cells"

    def paint(self, before: Paint | None = None) -> Paint:
        """Paint the first ten cells, or ten more."""
        truth = self.sample.labels
        return paint_cells(
            truth,
            number_to_paint(truth),
            self.draw,
            slivers=self.draw % 2 == 1,
            manner=self.manner,
            known=field_of_interest(truth.shape, self.border),
            before=before,
        )

    def trial(
        self, row: str, config: TrainConfig, run: Callable[[Task, TrainConfig], Outcome]
    ) -> Trial:
        """Make a trial of it."""
        row = row if self.manner == "cells" else f"{row}, {self.manner}"
        split = f"image {self.sample.name}"
        return Trial(row, self.dataset, split, self.draw, config, partial(run, self))


def check_sets(sets: Sequence[str], known: Collection[str]) -> None:
    """Refuse the name of a set that is not among those known.

    Raises
    ------
    ConfigError
        There is one.
    """
    if unknown := sorted(set(sets) - set(known)):
        raise ConfigError(f"There is no set {unknown[0]!r}; choose from {', '.join(known)}.")


def absent_in_words(sets: Sequence[str], data: Path) -> str:
    """Say which sets are not there; nothing if all are."""
    absent = [name for name in sets if not (data / name).is_dir()]
    return f" **Not there, so not measured: {', '.join(absent)}.**" if absent else ""


def load_images(images: Mapping[str, Sequence[str]], data: Path) -> list[tuple[DataSet, Sample]]:
    """Read images by set and number; say which sets are not there, and leave them out.

    Raises
    ------
    FileProblemError
        None of the sets is there.
    """
    found = [
        (dataset, sample)
        for name, numbers in images.items()
        for dataset, sample in _images_of(name, numbers, data)
    ]
    if not found:
        raise FileProblemError(f"None of the data sets is in {data}; see --data.")
    return found


def _images_of(name: str, numbers: Sequence[str], data: Path) -> list[tuple[DataSet, Sample]]:
    try:
        dataset = load_dataset(name, data)
    except FileProblemError as error:
        print(f"Skipped: {error}", flush=True)
        return []
    samples = {s.name: s for split in dataset.splits for s in split.test}
    return [(dataset, samples[number]) for number in numbers]
