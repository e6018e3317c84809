"""The data sets of the tables, and which of their images are trained on and which are scored.

All labels are turned into one convention, that of painting (0 unlabelled, 1 background, 2 and up
objects or classes), so that full labels and strokes are learned from with the same settings.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import tifffile
from scipy import ndimage as ndi

from napari_unet.errors import ConfigError, FileProblemError
from napari_unet.samples import load_nuclei_2d

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_unet.data.labels import Kind

    Labels = NDArray[np.integer[Any]]

# The Cell Tracking Challenge annotates no cell that lies wholly within this border of an image.
CTC_BORDER = 50
_FOLDS = 3
# (last frame of the training, first frame of the test): what lies between resembles both.
_HELA_PARTS = (31, 34)
_U373_PARTS = (75, 80)
_AXON_CLASS = 2
_AXON_CROP = 700


@dataclass(frozen=True)
class Sample:
    """An image with all its labels.

    Parameters
    ----------
    name : str
        Number of the file in its folder.
    image : ndarray
        ``YX``, or ``YXC`` in colour.
    labels : ndarray
        ``YX``; objects: 0 is background; classes: from 1, and 0 does not occur.
    gold : bool
        Whether people drew the labels; silver ones were made by a consensus of programs.
    """

    name: str
    image: NDArray[Any]
    labels: Labels
    gold: bool = True


@dataclass(frozen=True)
class Split:
    """A named division: what is trained on, and what is scored."""

    name: str
    train: tuple[Sample, ...]
    test: tuple[Sample, ...]


@dataclass(frozen=True)
class DataSet:
    """Images, what may be done with them, and their splits.

    Parameters
    ----------
    name : str
        Of its folder.
    licence : str
        One line.
    kind : {"objects", "classes"}
        What the labels mean.
    splits : tuple of Split
        One, or several that together test each image once.
    border : int
        Objects that lie wholly within so many pixels of the image's edge are not annotated.
    """

    name: str
    licence: str
    kind: Kind
    splits: tuple[Split, ...]
    border: int = 0


def load_dataset(name: str, data: Path) -> DataSet:
    """Read one of the data sets.

    Parameters
    ----------
    name : str
        One of `DATASETS`.
    data : Path
        The folder that holds the folders of the sets.

    Raises
    ------
    ConfigError
        There is no such set.
    FileProblemError
        Its folder is missing.
    """
    if name not in DATASETS:
        raise ConfigError(f"There is no data set {name!r}; choose {', '.join(DATASETS)}.")
    folder = data / name
    if name != "nuclei2d" and not (folder / "images").is_dir():
        raise FileProblemError(
            f"The data set {name} is not in {data}; give the folder that holds it with --data."
        )
    return DATASETS[name](folder)


def painted_labels(labels: Labels, kind: Kind, border: int = 0) -> Labels:
    """Turn full labels into those of painting: 0 unlabelled, 1 background, 2 and up the rest.

    Parameters
    ----------
    labels : ndarray
        ``YX``; see `Sample`.
    kind : {"objects", "classes"}
        Class labels are of that form already.
    border : int
        In this border of the image what is no object is unlabelled: cells may be missing there.

    Returns
    -------
    ndarray
        ``YX`` int32.
    """
    if kind == "classes":
        return labels.astype(np.int32)
    painted = labels.astype(np.int32) + 1
    outside = ~field_of_interest(labels.shape, border)
    painted[outside & (labels == 0)] = 0
    return painted


def field_of_interest(shape: Sequence[int], border: int) -> NDArray[np.bool_]:
    """Return where an image of this shape is farther than `border` pixels from its edge."""
    inside = np.zeros(tuple(shape), bool)
    inside[tuple(slice(border, size - border) for size in shape)] = True
    return inside


def entering_field(labels: Labels, border: int) -> Labels:
    """Drop the objects of ``YX`` labels that have no pixel in the field of interest."""
    entering = np.unique(labels[field_of_interest(labels.shape, border)])
    kept: Labels = np.where(np.isin(labels, entering), labels, np.zeros_like(labels))
    return kept


def cropped_to_field(sample: Sample, border: int) -> Sample:
    """Cut the border off a sample, so that all its pixels are labelled."""
    inner = (slice(border, -border or None),) * 2
    image, labels = (np.ascontiguousarray(a[inner]) for a in (sample.image, sample.labels))
    return Sample(sample.name, image, labels, sample.gold)


def fold_of_groups(groups: Sequence[str], folds: int) -> list[int]:
    """Deal groups out to folds in order of their appearance; return the fold of each member."""
    numbers = {group: i % folds for i, group in enumerate(dict.fromkeys(groups))}
    return [numbers[group] for group in groups]


def split_in_time(frames: Sequence[Sample], last_train: int, first_test: int) -> Split:
    """Train on the first frames, test on the last ones: of these the gold ones if there are any."""
    train = tuple(frame for frame in frames if int(frame.name) <= last_train)
    late = [frame for frame in frames if int(frame.name) >= first_test]
    test = tuple(frame for frame in late if frame.gold) or tuple(late)
    return Split(f"frames to {last_train} / gold frames from {first_test}", train, test)


def _read(folder: Path, gold: bool = True) -> list[Sample]:
    return [
        Sample(
            path.stem, tifffile.imread(path), tifffile.imread(folder / "labels" / path.name), gold
        )
        for path in sorted((folder / "images").glob("*.tif"))
    ]


def _dsb(folder: Path) -> DataSet:
    samples = _read(folder)
    with (folder / "manifest.csv").open(newline="") as file:
        groups = [row["mosaic_group"] for row in csv.DictReader(file)]
    folds = fold_of_groups(groups, _FOLDS)
    splits = tuple(
        Split(
            f"fold {fold} of {_FOLDS} tested",
            tuple(s for s, f in zip(samples, folds, strict=True) if f != fold),
            tuple(s for s, f in zip(samples, folds, strict=True) if f == fold),
        )
        for fold in range(_FOLDS)
    )
    return DataSet(folder.name, "CC0 (BBBC038v1, Data Science Bowl 2018)", "objects", splits)


def _ctc(folder: Path, parts: tuple[int, int]) -> DataSet:
    silver = {sample.name: sample for sample in _read(folder / "silver", gold=False)}
    frames = {**silver, **{sample.name: sample for sample in _read(folder)}}  # gold wins
    split = split_in_time([frames[name] for name in sorted(frames)], *parts)
    licence = "Cell Tracking Challenge terms, no open licence: numbers only"
    return DataSet(folder.name, licence, "objects", (split,), CTC_BORDER)


def _slices(folder: Path, first_test: int, end: int, licence: str) -> DataSet:
    samples = _read(folder)[:end]
    name = f"slices 0-{first_test - 1} / {first_test}-{end - 1}"
    split = Split(name, tuple(samples[:first_test]), tuple(samples[first_test:]))
    return DataSet(folder.name, licence, "classes", (split,))


def _bundled(folder: Path) -> DataSet:
    image, _, labels = load_nuclei_2d()
    sample = (Sample("0", image, labels),)
    licence = "see sample_data/README.md"
    return DataSet(folder.name, licence, "objects", (Split("one image", sample, sample),))


def _middle_slices(folder: Path) -> DataSet:
    volume = _read(folder)[0]
    slices = tuple(
        Sample(f"z{z}", volume.image[z], volume.labels[z])
        for z in (len(volume.image) // 3, len(volume.image) // 2)
    )
    licence = "BSD-3-Clause package, no data licence stated: numbers only"
    return DataSet(folder.name, licence, "objects", (Split("two slices", slices, slices),))


def _all_tested(folder: Path, licence: str) -> DataSet:
    """Read a set of objects of which no image is trained on."""
    split = Split("every image", (), tuple(_read(folder)))
    return DataSet(folder.name, licence, "objects", (split,))


def _axons(folder: Path) -> DataSet:
    """Make objects of the axons in the middle of each image; the myelin becomes background."""
    dataset = _all_tested(folder, "MIT")
    tested = tuple(_axons_of(_middle(sample, _AXON_CROP)) for sample in dataset.splits[0].test)
    return replace(dataset, splits=(Split("every image, the middle", (), tested),))


def _axons_of(sample: Sample) -> Sample:
    axons, _ = ndi.label(sample.labels == _AXON_CLASS)  # 4-connected
    return replace(sample, labels=axons.astype(np.uint16))


def _middle(sample: Sample, edge: int) -> Sample:
    """Cut out a square of this edge length, where the image is as large."""
    starts = [max(0, (size - edge) // 2) for size in sample.labels.shape]
    crop = tuple(slice(start, start + edge) for start in starts)
    image, labels = (np.ascontiguousarray(a[crop]) for a in (sample.image, sample.labels))
    return replace(sample, image=image, labels=labels)


_NON_COMMERCIAL = "free for testing non-commercial software, no open licence: numbers only"

DATASETS: dict[str, Callable[[Path], DataSet]] = {
    "dsb2018_fluo": _dsb,
    "dsb2018_other": lambda folder: _all_tested(folder, "CC0 (BBBC038v1, Data Science Bowl 2018)"),
    "ctc_dic_hela": lambda folder: _ctc(folder, _HELA_PARTS),
    "ctc_phc_u373": lambda folder: _ctc(folder, _U373_PARTS),
    "usiigaci_phc": lambda folder: _all_tested(folder, "MIT"),
    "axon_sem": _axons,
    "leaf_chloroplast_em": lambda folder: _all_tested(folder, "MIT"),
    "isbi2012_em": lambda folder: _slices(folder, 15, 20, _NON_COMMERCIAL),
    "vnc_sstem_semantic": lambda folder: _slices(
        folder, 9, 12, f"CC BY-NC-SA 3.0, {_NON_COMMERCIAL}"
    ),
    "cells3d_nuclei": _middle_slices,
    "nuclei2d": _bundled,
}
