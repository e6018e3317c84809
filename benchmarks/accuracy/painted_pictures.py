"""A picture of docs/accuracy.md: three images painted, predicted before, and predicted after.

Ten cells of each image are painted by `painter`, and learned for 100 steps with the preset fast.
From left to right: the image; the paint; what the starting model makes of it, one cell circled;
what the training made of it. The images may be shown (T98G and chloroplasts: MIT, tissue: CC0).
Run from the checkout::

    python benchmarks/accuracy/painted_pictures.py [--threads 2]
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from painted_images import Task, load_images
from paths import CHECKOUT, DEFAULT_DATA
from pictures import colour_of, coloured_errors, enlarged, grey_of, save_rows
from scored_painting import axes_of, measure, measure_nothing, predicted_by

from napari_unet.api.model import TrainedModel, starting_model
from napari_unet.training.config import TrainConfig

if TYPE_CHECKING:
    from datasets import Sample
    from painter import Paint
    from pictures import Picture

    from napari_unet.data.axes import Region

TARGET = CHECKOUT / "docs" / "images" / "painting-pays.png"
IMAGES = {"usiigaci_phc": ("002",), "dsb2018_other": ("000",), "leaf_chloroplast_em": ("008",)}
STEPS, _DRAW = 100, 1  # an odd draw leaves slivers
_EDGE = 240
_LARGE_CELLS = {"leaf_chloroplast_em": 3}  # shown at a third of the size


def main() -> None:
    """Paint, train, predict, draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    tasks = [Task(d.name, s, d.border, _DRAW) for d, s in load_images(IMAGES, options.data)]
    save_rows([_row(task) for task in tasks], TARGET)


def _row(task: Task) -> list[Picture]:
    sample, paint = task.sample, task.paint()
    before = predicted_by(starting_model("cells"), sample)
    measured = measure(sample, paint, TrainConfig.preset("fast", steps=STEPS), task.border)
    model = TrainedModel(measured.trained.trained)
    after = model.predict(sample.image, axes=axes_of(sample.image))
    nothing = measure_nothing(sample, paint, task.border)["cells"]["f1_50"]
    print(f"{task.dataset} {sample.name}: F1 {nothing:.2f} -> {measured.scores['f1_50']:.2f}")
    smaller = _LARGE_CELLS.get(task.dataset, 1)
    crop = _around(paint, _EDGE * smaller)
    panels = [
        grey_of(sample, crop),
        _painted(sample, paint, crop),
        coloured_errors(sample, before, crop),
        coloured_errors(sample, after, crop),
    ]
    return [panel[::smaller, ::smaller] for panel in panels]


def _around(paint: Paint, edge: int) -> Region:
    """Return a square around the painted cell in the middle of all, inside the image."""
    cells = np.argwhere(paint > 1)
    middle = cells[((cells - cells.mean(axis=0)) ** 2).sum(axis=1).argmin()]
    starts = [
        max(0, min(int(at) - edge // 2, size - edge))
        for at, size in zip(middle, paint.shape, strict=True)
    ]
    return tuple(slice(start, start + edge) for start in starts)


def _painted(sample: Sample, paint: Paint, crop: Region) -> Picture:
    picture, shown = grey_of(sample, crop), enlarged(paint[crop])
    for where, colour in ((shown == 1, "#0072B2"), (shown > 1, "#E69F00")):
        picture[where] = 0.45 * picture[where] + 0.55 * colour_of(colour)
    return picture


if __name__ == "__main__":
    main()
