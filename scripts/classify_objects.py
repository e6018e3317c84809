"""How well 20 clicks classify objects, and how long 10,000 take; prints the figures of the guide.

Run from the checkout::

    python scripts/classify_objects.py [FOLDER]

FOLDER holds ``images`` and ``labels`` of axons in SEM (class 2 is axon; NeuroPoly's
data_axondeepseg_sem): there the larger half of the axons is told from the smaller one. Seconds are
those of one CPU core, so that a busy machine tells the same.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage as ndi

from napari_unet.io.files import read_image, read_labels
from napari_unet.objects.classifier import ObjectClassifier
from napari_unet.objects.description import describe_objects

if TYPE_CHECKING:
    from numpy.typing import NDArray

_CLICKS, _REPEATS = 20, 10
_PITCH, _GREY, _SPREAD, _NOISE = 40, 150.0, 25.0, 4.0


def textured_cells(
    rows: int, seed: int
) -> tuple[NDArray[np.int32], NDArray[np.float64], NDArray[np.intp]]:
    """Return cells alike in size, shape, mean and spread, and which grain each has: 0 or 1."""
    rng = np.random.default_rng(seed)
    shape = (rows * _PITCH,) * 2
    labels, image = np.zeros(shape, np.int32), np.full(shape, 50.0)
    grains = [ndi.gaussian_filter(rng.normal(size=shape), sigma) for sigma in (1.0, 2.0)]
    kinds = rng.permutation(rows * rows) % 2
    y, x = np.mgrid[:_PITCH, :_PITCH] - (_PITCH - 1) / 2
    for number, kind in enumerate(kinds, start=1):
        row, column = divmod(number - 1, rows)
        box = tuple(slice(at * _PITCH, (at + 1) * _PITCH) for at in (row, column))
        radius, longer, (dy, dx) = rng.uniform(9, 14), rng.uniform(0.8, 1.25), rng.uniform(-4, 4, 2)
        inside = ((y - dy) / longer) ** 2 + ((x - dx) * longer) ** 2 < radius**2
        values = grains[kind][box][inside]
        labels[box][inside] = number
        image[box][inside] = _GREY + _SPREAD * (values - values.mean()) / values.std()
    return labels, ndi.gaussian_filter(image, 0.5) + rng.normal(0, _NOISE, shape), kinds


def balanced_accuracy(described: dict[str, Any], kinds: NDArray[np.intp], seed: int) -> float:
    """Return how many objects of each kind are right, after clicks on half as many of each."""
    rng = np.random.default_rng(seed)
    clicked = np.concatenate(
        [rng.choice(np.flatnonzero(kinds == k), _CLICKS // 2, replace=False) for k in (0, 1)]
    )
    examples = {name: column[clicked] for name, column in described.items()}
    classifier = ObjectClassifier.of(examples, ("one", "other"), kinds[clicked])
    found = classifier.classify(described).classes
    others = np.setdiff1d(np.arange(len(kinds)), clicked)
    right = (found == kinds)[others]
    return float(np.mean([right[kinds[others] == kind].mean() for kind in (0, 1)]))


def _of(name: str, described: dict[str, Any], kinds: NDArray[np.intp]) -> None:
    scores = [balanced_accuracy(described, kinds, seed) for seed in range(_REPEATS)]
    print(f"{name}: {len(kinds)} objects, balanced accuracy {np.mean(scores):.3f} in the mean of "
          f"{_REPEATS}, {min(scores):.3f} at worst")  # fmt: skip


def main() -> None:
    """Print the figures."""
    labels, image, kinds = textured_cells(16, 0)
    _of("Texture only", describe_objects(labels, image), kinds)
    if len(sys.argv) > 1:
        folder = Path(sys.argv[1])
        for path in sorted((folder / "images").glob("*.tif")):
            axons = np.asarray(ndi.label(read_labels(folder / "labels" / path.name) == 2)[0])
            described = describe_objects(axons, read_image(path).array)
            larger = described["size"] > np.median(described["size"])
            _of(f"Axons by size, {path.name}", described, larger.astype(np.intp))
    labels, image, kinds = textured_cells(100, 0)
    started = time.process_time()
    described = describe_objects(labels, image)
    described_at = time.process_time()
    examples = {name: column[:_CLICKS] for name, column in described.items()}
    classifier = ObjectClassifier.of(examples, ("one", "other"), kinds[:_CLICKS])
    from sklearn.ensemble import RandomForestClassifier  # noqa: F401 (its import is not measured)

    begun = time.process_time()
    classifier.classify(described)
    print(
        f"{len(kinds):,} objects in {image.shape[0]} x {image.shape[1]} pixels: described in "
        f"{described_at - started:.1f} s, classified after each click in "
        f"{time.process_time() - begun:.2f} s"
    )


if __name__ == "__main__":
    main()
