"""The picture of docs/accuracy.md: what the border weights change, errors in colours.

Trains two networks on two thirds of the DSB2018 nuclei (CC0), which differ in the border weights
alone, and draws a crowded part of an image of the last third. Run from the checkout::

    python benchmarks/accuracy/pictures.py [--minutes 4]
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from datasets import load_dataset
from experiment import annotated, as_predicted, components, train_model
from paths import CHECKOUT, DEFAULT_DATA
from PIL import Image
from scipy.ndimage import uniform_filter
from skimage.segmentation import find_boundaries

from napari_unet.data.labels import ridge_between
from napari_unet.evaluation.objects import ERROR_VALUES, error_map
from napari_unet.training.config import TrainConfig

if TYPE_CHECKING:
    from collections.abc import Sequence

    from datasets import Labels, Sample
    from numpy.typing import NDArray

    from napari_unet.data.axes import Region

    Picture = NDArray[np.float64]  # (Y, X, 3), 0 to 1

TARGET = CHECKOUT / "docs" / "images" / "accuracy.png"
_FOLD, _IMAGE = 0, "054"
_EDGE = 200  # pixels of the part that is drawn
_ENLARGED = 2
_GAP = 6


def main() -> None:
    """Train, predict, draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA)
    parser.add_argument("--minutes", type=float, default=4.0)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    dataset = load_dataset("dsb2018_fluo", options.data)
    split = dataset.splits[_FOLD]
    sample = next(s for s in split.test if s.name == _IMAGE)
    images = annotated(split.train, dataset)
    crop = _most_crowded(sample.labels)
    panels = [grey_of(sample, crop), _outlined(sample, crop)]
    for weight in (0.0, 10.0):
        config = TrainConfig.preset(
            "accurate", start="random", minutes=options.minutes, border_weight=weight
        )
        model, steps = train_model(images, config)
        print(f"border weight {weight:g}: {steps} steps")
        panels.append(coloured_errors(sample, components(model, sample.image), crop))
    panels.append(coloured_errors(sample, as_predicted(model, sample.image), crop))
    save_rows([panels], TARGET)


def _most_crowded(labels: Labels) -> Region:
    """Find the part of an image in which most nuclei touch."""
    touching = uniform_filter(ridge_between(labels).astype(np.float64), _EDGE)
    half = _EDGE // 2
    inner = touching[half : 1 - half, half : 1 - half]
    top, left = np.unravel_index(inner.argmax(), inner.shape)
    return (slice(int(top), int(top) + _EDGE), slice(int(left), int(left) + _EDGE))


def grey_of(sample: Sample, crop: Region) -> Picture:
    """Show a part of an image; one in colour as the mean of its channels."""
    pixels = sample.image[crop].astype(np.float64)
    pixels = pixels.mean(axis=-1) if pixels.ndim == 3 else pixels
    low, high = np.percentile(pixels, (1, 99.8))
    grey = np.clip((pixels - low) / (high - low), 0, 1) ** 0.7
    return np.repeat(enlarged(grey)[..., np.newaxis], 3, axis=2)


def _outlined(sample: Sample, crop: Region) -> Picture:
    picture = grey_of(sample, crop)
    edges = find_boundaries(enlarged(sample.labels[crop]), mode="inner")
    picture[edges] = colour_of("#56B4E9")
    return picture


def coloured_errors(sample: Sample, objects: Labels, crop: Region) -> Picture:
    """Colour the objects by what is wrong with them, over the image."""
    errors = enlarged(error_map(objects, sample.labels)[crop])
    edges = find_boundaries(enlarged(objects[crop]), mode="inner")
    picture = grey_of(sample, crop)
    for value in ERROR_VALUES:
        where = errors == value.value
        picture[where] = 0.5 * picture[where] + 0.5 * colour_of(value.colour)
    picture[edges & (errors > 0)] = 1.0
    return picture


def colour_of(text: str) -> NDArray[np.float64]:
    """Return red, green and blue, 0 to 1."""
    return np.array([int(text[i : i + 2], 16) for i in (1, 3, 5)]) / 255


def enlarged(array: NDArray[Any]) -> NDArray[Any]:
    """Show each pixel as a square."""
    return array.repeat(_ENLARGED, axis=0).repeat(_ENLARGED, axis=1)


def save_rows(rows: Sequence[Sequence[Picture]], target: Path) -> None:
    """Write panels of one size in rows, with gaps between them."""
    lines = [_joined(row, axis=1) for row in rows]
    pixels = (_joined(lines, axis=0) * 255).round().astype(np.uint8)
    target.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(target, optimize=True)
    print(f"wrote {target}")


def _joined(panels: Sequence[Picture], axis: int) -> Picture:
    shape = list(panels[0].shape)
    shape[axis] = _GAP
    gap = np.ones(shape)
    return np.concatenate([p for panel in panels for p in (panel, gap)][:-1], axis=axis)


if __name__ == "__main__":
    main()
