"""The images that starting models learn from: open data of many kinds, and drawn cells.

Every image is brought to a random size at which its cells are some 14 to 48 pixels wide, and each
kind gets its share of the pixels, however many images there are of it.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage as ndi
from skimage.transform import resize
from synthetic_cells import synthetic_cells

from napari_unet.data.binning import typical_diameter
from napari_unet.io.files import read_image, read_labels
from napari_unet.tasks import ClassTable
from napari_unet.training.dataset import AnnotatedImage

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    Labels = NDArray[np.integer[Any]]

# Each third group of images is left out, so that the weights can be scored on it.
LEFT_OUT_OF = 3
_DIAMETERS = (14.0, 48.0)
_LARGEST_CROP = 384
_AXON = 2
_INVERTED = 0.12  # share of the images that are turned dark for bright
_LEAST_CELLS = 2


@dataclass(frozen=True)
class Kind:
    """A folder of annotated images, and how much of what is learned comes from it.

    Parameters
    ----------
    folder : str
        Below the folder of all data: holds ``images/``, ``labels/`` and ``manifest.csv``.
    group : str
        Column of the manifest that says which images show the same; empty: each is its own.
    megapixels : float
        So many are learned from.
    """

    folder: str
    group: str
    megapixels: float


KINDS = (
    Kind("dsb2018_rest/fluo", "mosaic_group", 9),
    Kind("dsb2018_fluo", "mosaic_group", 5),
    Kind("dsb2018_rest/histology", "mosaic_group", 6),
    Kind("dsb2018_other", "mosaic_group", 2),
    Kind("dsb2018_rest/brightfield", "mosaic_group", 2),
    Kind("usiigaci_phc", "", 9),
    Kind("axon_sem", "", 3),
    Kind("leaf_chloroplast_em", "", 2),
)
SYNTHETIC_MEGAPIXELS = 20
MASKS = ClassTable("objects", "background")


@dataclass(frozen=True)
class Sample:
    """A grey image ``YX`` float32 with its labels, 0 background, cells from 1 up."""

    name: str
    image: NDArray[np.float32]
    labels: Labels


def left_out(data: Path, kind: Kind) -> list[tuple[Path, Path]]:
    """Return image and labels of what no starting model learns from."""
    return [pair for pair, fold in _folds(data / kind.folder, kind.group) if fold]


def learned_from(data: Path, kind: Kind) -> list[tuple[Path, Path]]:
    """Return image and labels of what starting models learn from."""
    return [pair for pair, fold in _folds(data / kind.folder, kind.group) if not fold]


def training_images(data: Path, seed: int) -> list[AnnotatedImage]:
    """Gather crops of all kinds, at random sizes."""
    rng = np.random.default_rng(seed)
    found = [sample for kind in KINDS for sample in _crops_of(data, kind, rng)]
    found += list(_synthetic(rng))
    return [AnnotatedImage(sample.name, sample.image, sample.labels) for sample in found]


def read_sample(image: Path, labels: Path, rng: np.random.Generator) -> Sample:
    """Read an image as grey: of colours a random mixture, since each is stained otherwise."""
    pixels = np.asarray(read_image(image).array, np.float32)
    found = np.asarray(read_labels(labels))
    if image.parent.parent.name == "axon_sem":
        found = ndi.label(found == _AXON)[0]
    if pixels.ndim == 3:
        low, high = np.percentile(pixels, (0.5, 99.5), axis=(0, 1))
        pixels = ((pixels - low) / np.maximum(high - low, 1)) @ rng.dirichlet((2.0,) * 3)
    return Sample(image.name, pixels.astype(np.float32), found)


def _folds(folder: Path, group: str) -> list[tuple[tuple[Path, Path], bool]]:
    with (folder / "manifest.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    names = [row[group] if group else row["index"] for row in rows]
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    files = [f"{int(row['index']):03}.tif" for row in rows]
    return [
        ((folder / "images" / file, folder / "labels" / file), numbers[name] % LEFT_OUT_OF == 2)
        for file, name in zip(files, names, strict=True)
    ]


def _crops_of(data: Path, kind: Kind, rng: np.random.Generator) -> Iterator[Sample]:
    pairs = learned_from(data, kind)
    wanted = kind.megapixels * 1e6
    while wanted > 0:
        for number in rng.permutation(len(pairs)):
            image, labels = pairs[number]
            sample = read_sample(image, labels, rng)
            if not sample.labels.any():
                continue
            crop = _cropped(_at_random_size(sample, rng), rng)
            if crop is None:
                continue
            wanted -= crop.labels.size
            yield crop
            if wanted <= 0:
                return


def _at_random_size(sample: Sample, rng: np.random.Generator) -> Sample:
    diameter = float(np.exp(rng.uniform(*np.log(_DIAMETERS))))
    factor = diameter / typical_diameter([sample.labels], "background")
    shape = [max(32, round(size * factor)) for size in sample.labels.shape]
    image = resize(sample.image, shape, order=1, anti_aliasing=factor < 1, preserve_range=True)
    labels = resize(sample.labels, shape, order=0, anti_aliasing=False, preserve_range=True).astype(
        np.int32
    )
    if rng.random() < _INVERTED:
        image = -image
    return Sample(sample.name, image.astype(np.float32), labels)


def _cropped(sample: Sample, rng: np.random.Generator) -> Sample | None:
    corner = [int(rng.integers(0, max(0, n - _LARGEST_CROP) + 1)) for n in sample.labels.shape]
    box = tuple(slice(start, start + _LARGEST_CROP) for start in corner)
    labels = sample.labels[box]
    if len(np.unique(labels)) <= _LEAST_CELLS:
        return None
    return Sample(sample.name, sample.image[box], labels)


def _synthetic(rng: np.random.Generator) -> Iterator[Sample]:
    wanted, number = SYNTHETIC_MEGAPIXELS * 1e6, 0
    while wanted > 0:
        image, labels = synthetic_cells(rng)
        if labels.any():
            wanted -= labels.size
            number += 1
            yield Sample(f"synthetic {number}", image, labels)
