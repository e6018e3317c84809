"""Paint the sample image well, and with the mistakes that people make, and score what is learned.

The paint that comes with the sample is the well painted example; each other one is the same paint
with one mistake. All are learned for the same number of steps from the same seed, and the whole
image is scored against its full labels. Prints the tables of ``docs/paint.md``::

    python scripts/paint_examples.py
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage as ndi

import napari_unet as nu
from napari_unet.samples import load_nuclei_2d

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Labels = NDArray[np.integer[Any]]

STEPS = 100
BACKGROUND, FIRST_CELL = 1, 2
SPILL = 3  # pixels beyond the border
_BESIDE = 12  # pixels
_COUNTS = (1, 3, 6, 14)


def spilled(paint: Labels) -> Labels:
    """Paint each cell some pixels beyond its border."""
    cells = np.where(paint >= FIRST_CELL, paint, 0)
    apart, nearest = ndi.distance_transform_edt(cells == 0, return_indices=True)
    return np.where((apart > 0) & (apart <= SPILL), cells[tuple(nearest)], paint)


def joined(paint: Labels) -> Labels:
    """Give cells that touch one number, and no gap."""
    cells = paint >= FIRST_CELL
    groups, _ = ndi.label(ndi.binary_closing(cells, iterations=3) | cells)
    return np.where(groups > 0, groups + BACKGROUND, paint).astype(paint.dtype)


def open_background_only(paint: Labels) -> Labels:
    """Leave out the background beside the cells."""
    beside = ndi.distance_transform_edt(paint < FIRST_CELL) <= _BESIDE
    strokes, _ = ndi.label(paint == BACKGROUND)
    near = np.unique(strokes[beside & (strokes > 0)])
    return np.where(np.isin(strokes, near) & (strokes > 0), 0, paint).astype(paint.dtype)


def no_background(paint: Labels) -> Labels:
    """Paint no background at all."""
    return np.where(paint == BACKGROUND, 0, paint).astype(paint.dtype)


def badly_painted(paint: Labels) -> Labels:
    """Make three mistakes at once."""
    return spilled(joined(open_background_only(paint)))


def first_cells(paint: Labels, count: int) -> Labels:
    """Keep so many cells, and the background beside them."""
    chosen = np.isin(paint, range(FIRST_CELL, FIRST_CELL + count))
    beside = ndi.distance_transform_edt(~chosen) <= _BESIDE
    return np.where(chosen | (beside & (paint == BACKGROUND)), paint, 0).astype(paint.dtype)


EXAMPLES = {
    "well painted": lambda paint: paint,
    "no background beside the cells": open_background_only,
    "touching cells under one number": joined,
    f"{SPILL} pixels over the border": spilled,
    "all three": badly_painted,
}


def score(image: NDArray[Any], paint: Labels, truth: Labels, steps: int = STEPS) -> dict[str, Any]:
    """Learn a paint with the preset fast, and score the whole image."""
    model = nu.train(image, paint, nu.TrainConfig.preset("fast", steps=steps, device="cpu"))
    return {**nu.evaluate(model.predict(image), truth, kind="objects")}


def main() -> None:
    """Print the tables."""
    image, paint, truth = load_nuclei_2d()
    rows = {name: change(paint) for name, change in EXAMPLES.items()}
    rows |= {f"{count} cells": first_cells(paint, count) for count in _COUNTS}
    print(f"{STEPS} steps, preset fast, CPU; F1 and mean AP count objects")
    print("| painted | pixels | IoU | F1 at 0.5 | F1 at 0.75 | mean AP |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, labels in rows.items():
        began = time.monotonic()
        found = score(image, labels, truth)
        f1_75 = 2 * found["ap_75"] / (1 + found["ap_75"])
        figures = (found["iou"], found["f1_50"], f1_75, found["map"])
        text = " | ".join(f"{figure:.3f}" for figure in figures)
        print(f"| {name} | {np.count_nonzero(labels):,} | {text} |", flush=True)
        print(f"  {time.monotonic() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main()
