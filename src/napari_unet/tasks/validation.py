"""Count how well held-back paint is predicted, and choose the threshold that suits it best."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage as ndi

from napari_unet.data.labels import DEFAULT_THRESHOLD, UNLABELLED
from napari_unet.evaluation.classes import (
    ClassCounts,
    count_classes,
    rand_error,
    scores_of_class,
    scores_of_classes,
)
from napari_unet.evaluation.objects import ObjectCounts, count_objects
from napari_unet.tasks.base import ValidationScore
from napari_unet.tasks.overlapping_classes import digits_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from napari_unet.data.labels import IntArray, Target
    from napari_unet.tasks.base import Decision
    from napari_unet.tasks.table import ClassTable

# The border weights draw the foreground in: objects are often best at less than one half.
_THRESHOLDS = (0.3, 0.35, 0.4, 0.45, DEFAULT_THRESHOLD, 0.55, 0.6)
# Of the second of two classes, where one is the membrane between cells: what is the best closes
# gaps, and depends on how thick membranes were drawn.
_MEMBRANE_THRESHOLDS = tuple(percent / 100 for percent in range(20, 85, 5))
# On fewer held-back objects or cells another threshold than the default is chance; on sparse paint,
# where objects may grow unpunished, it is bias.
_ENOUGH_OBJECTS = 10
_SSIM_WINDOW, _PERFECT_PSNR = 7, 100.0


class _Pixels:
    """The loss, and which class each painted pixel was given."""

    def __init__(self) -> None:
        self.counts: ClassCounts = Counter()
        self._loss_sum, self._n_painted = 0.0, 0

    def add(
        self, probabilities: NDArray[np.float32], target: Target, weights: NDArray[np.float32]
    ) -> None:
        painted = target.painted
        self.counts += count_classes(probabilities.argmax(axis=0), target.classes, painted)
        self._loss_sum += _loss_sum(probabilities, target.classes, weights)
        self._n_painted += int(painted.sum())

    @property
    def loss(self) -> float:
        return self._loss_sum / max(self._n_painted, 1)


class ObjectsFound:
    """The objects that are found at several thresholds, and the foreground's pixels."""

    def __init__(self, table: ClassTable, decision: Decision, dense: bool) -> None:
        self._table, self._decision = table, decision
        self._pixels = _Pixels()
        tried = _THRESHOLDS if dense else (DEFAULT_THRESHOLD,)
        self._objects = dict.fromkeys(tried, ObjectCounts())

    def add(
        self, probabilities: NDArray[np.float32], target: Target, weights: NDArray[np.float32]
    ) -> None:
        """Compare the objects of a block at every threshold."""
        self._pixels.add(probabilities, target, weights)
        for threshold in self._objects:
            decision = self._decision._replace(threshold=threshold)
            found = self._table.task.decode(probabilities, self._table, decision)
            for of_class, true in self._compared(found, target.objects):
                self._objects[threshold] += count_objects(of_class, true, target.painted)

    def _compared(self, found: IntArray, true: IntArray) -> Iterable[tuple[IntArray, IntArray]]:
        return ((found, true),)

    def scores(self) -> ValidationScore:
        """Return them with the threshold of the best mean AP."""
        threshold = self._best_threshold()
        counts = self._objects[threshold]
        f1 = counts.scores()["f1_50"] if counts.n_truth else None
        classes = range(1, self._table.n_classes)
        ious = [scores_of_class(self._pixels.counts, each)["iou"] for each in classes]
        return ValidationScore(self._pixels.loss, sum(ious) / len(ious), f1, threshold)

    def _best_threshold(self) -> float:
        """Choose the threshold of the best mean AP, averaged with its neighbours to tame chance."""
        objects = self._objects
        if len(objects) < 2 or objects[DEFAULT_THRESHOLD].n_truth < _ENOUGH_OBJECTS:
            return DEFAULT_THRESHOLD
        smooth = _with_neighbours([objects[t].scores()["map"] for t in _THRESHOLDS])
        return _THRESHOLDS[int(smooth.argmax())]


class ObjectsOfClassesFound(ObjectsFound):
    """The same, where an object is found only if it is of its class."""

    def _compared(self, found: IntArray, true: IntArray) -> Iterable[tuple[IntArray, IntArray]]:
        n_names, unpacked = len(self._table.names), self._table.task.unpacked
        return zip(unpacked(found, n_names), unpacked(true, n_names), strict=True)


class ClassesFound:
    """The pixels of each class; of membranes also the cells between them."""

    def __init__(self, table: ClassTable, membrane: int | None) -> None:
        self._pixels = _Pixels()
        self._membranes = None if membrane is None else _Membranes(table, membrane)

    def add(
        self, probabilities: NDArray[np.float32], target: Target, weights: NDArray[np.float32]
    ) -> None:
        """Compare the classes of a block, each pixel with its most probable one."""
        self._pixels.add(probabilities, target, weights)
        if self._membranes is not None:
            self._membranes.add(probabilities, target.classes)

    def scores(self) -> ValidationScore:
        """Return them, with membranes with the threshold of the least Rand error."""
        membranes = self._membranes
        threshold = DEFAULT_THRESHOLD if membranes is None else membranes.best_threshold()
        iou = float(scores_of_classes(self._pixels.counts)["iou"])
        return ValidationScore(self._pixels.loss, iou, None, threshold)


class OverlappingFound:
    """The pixels of each overlapping class, where something is painted for it."""

    def __init__(self, n_classes: int) -> None:
        self._counts: list[ClassCounts] = [Counter() for _ in range(n_classes)]
        self._loss_sum, self._n_painted = 0.0, 0

    def add(
        self, probabilities: NDArray[np.float32], target: Target, weights: NDArray[np.float32]
    ) -> None:
        """Compare each class of a block by itself."""
        self._n_painted += int(target.painted.sum())
        for number, of_class in enumerate(probabilities):
            digits = digits_of(target.classes, number)
            painted, true = digits > 0, digits > 1
            found = (of_class > DEFAULT_THRESHOLD).astype(np.uint8)
            self._counts[number] += count_classes(found, true.astype(np.uint8), painted)
            two = np.where(painted, true, UNLABELLED).astype(np.int16)
            weighted = np.where(painted, weights, 0)
            self._loss_sum += _loss_sum(np.stack([1 - of_class, of_class]), two, weighted)

    def scores(self) -> ValidationScore:
        """Return the mean over the classes."""
        ious = [scores_of_class(counts, 1)["iou"] for counts in self._counts]
        return ValidationScore(
            self._loss_sum / max(self._n_painted, 1), sum(ious) / len(ious), None
        )


class GreyValues:
    """How far grey values are from those of the held-back images, in the range of the network.

    The structural similarity is the mean of planes, each with a window of 7 pixels.
    """

    def __init__(self) -> None:
        self._squared, self._n = 0.0, 0
        self._similar: list[float] = []

    def add(
        self, probabilities: NDArray[np.float32], target: Target, weights: NDArray[np.float32]
    ) -> None:
        """Compare the grey values of a block."""
        assert target.values is not None
        known = target.painted
        error = (probabilities[0] - target.values)[known].astype(np.float64)
        self._squared, self._n = self._squared + float((error**2).sum()), self._n + error.size
        if known.all() and min(known.shape[-2:]) >= _SSIM_WINDOW:
            sides = known.shape[-2:]
            found, wanted = (v.reshape(-1, *sides) for v in (probabilities[0], target.values))
            self._similar += [ssim_of(*planes) for planes in zip(found, wanted, strict=True)]

    def scores(self) -> ValidationScore:
        """Return them; the error of a perfect image counts as a hundred dB."""
        squared = self._squared / max(self._n, 1)
        psnr = min(-10 * math.log10(max(squared, 1e-30)), _PERFECT_PSNR)
        ssim = float(np.mean(self._similar)) if self._similar else None
        return ValidationScore(squared, None, None, psnr=psnr, ssim=ssim)


def ssim_of(found: NDArray[np.float32], wanted: NDArray[np.float32], span: float = 1.0) -> float:
    """Return the structural similarity of two planes of at least 7 pixels along each axis."""
    from skimage.metrics import structural_similarity

    return float(structural_similarity(found, wanted, data_range=span))


class _Membranes:
    """How well the cells between membranes are parted at several thresholds."""

    def __init__(self, table: ClassTable, membrane: int) -> None:
        self._table, self._inside = table, 1 - membrane
        self._n_cells = self._n_blocks = 0
        self._errors = dict.fromkeys(_MEMBRANE_THRESHOLDS, 0.0)

    def add(self, probabilities: NDArray[np.float32], classes: NDArray[np.int16]) -> None:
        """Compare the cells of a block; what is unpainted parts the true and the found ones."""
        truth = classes == self._inside
        if not truth.any():
            return
        self._n_cells += cells_between(classes, 1 - self._inside)[1]
        self._n_blocks += 1
        for threshold in self._errors:
            found = self._table.decide(probabilities, threshold) == self._inside
            self._errors[threshold] += rand_error(found & (classes != UNLABELLED), truth)

    def best_threshold(self) -> float:
        """Choose the threshold of the least Rand error, averaged with its neighbours."""
        if self._n_cells < _ENOUGH_OBJECTS:
            return DEFAULT_THRESHOLD
        errors = [error / self._n_blocks for error in self._errors.values()]
        smooth = _with_neighbours(errors).round(6)
        least = [t for t, error in zip(self._errors, smooth, strict=True) if error == smooth.min()]
        return min(least, key=lambda threshold: abs(threshold - DEFAULT_THRESHOLD))


def cells_between(classes: NDArray[np.int16], membrane: int) -> tuple[NDArray[np.int32], int]:
    """Give numbers to the cells, connected pieces of what is no membrane; and return how many.

    What is unlabelled (-1) parts no cells: it may be their inside. Classes are ``[Z]YX``; so are
    the cells, int32: 0 on membranes; 4-connected, in 3D 6-connected.
    """
    return ndi.label(classes != membrane)  # type: ignore[no-any-return]


def _with_neighbours(scores: Sequence[float]) -> NDArray[np.float64]:
    """Average the scores of thresholds with those of the next ones."""
    padded = np.pad(np.asarray(scores, np.float64), 1, mode="edge")
    return (padded[:-2] + padded[1:-1] + padded[2:]) / 3


def _loss_sum(
    probabilities: NDArray[np.float32],
    classes: NDArray[np.int16],
    weights: NDArray[np.float32],
) -> float:
    wanted = np.take_along_axis(probabilities, classes.clip(min=0)[np.newaxis], axis=0)[0]
    entropy = -np.log(np.maximum(wanted, np.float32(1e-7)))
    return float((entropy * weights).sum())


# --- Two classes that are cells and the membranes between them: what makes them so ---------------
#
# Of such classes not the single pixel matters but whether membranes are closed: one gap joins two
# cells. So the threshold is chosen by the cells, and the cells can be predicted as objects.

# Of all pixels of the frames so many are painted: cells between strokes have no outlines.
_DENSE = 0.5
# A membrane is the smaller part, and nearly all of it lies within so many pixels of a cell, in the
# plane.
_THIN, _NEARLY_ALL = 8, 0.9
# There are so many cells of at least so many pixels ...
_MANY, _SMALLEST = 10, 50
# ... and the largest of each frame hold at most this share: ground with holes is no tissue.
_LARGEST_SHARE = 0.5


def membrane_class(targets: Sequence[Target], table: ClassTable) -> int | None:
    """Find the class that is a thin network whose removal parts the other one into many cells.

    None unless there are two classes. Where both would do it is class 1: `evaluate`, too, takes the
    class of the lower value for the inside of cells.
    """
    if not table.may_hold_membrane or not targets:
        return None
    painted = sum(int(target.painted.sum()) for target in targets)
    if painted < _DENSE * sum(target.classes.size for target in targets):
        return None
    for number in (1, 0):
        if _parts_cells(number, targets) and _is_thin(number, targets):
            return number
    return None


def _parts_cells(number: int, targets: Sequence[Target]) -> bool:
    n_cells, largest, pixels = 0, 0, 0
    for target in targets:
        cells, _ = cells_between(target.classes, number)
        areas = np.bincount(cells.ravel())[1:]
        n_cells += int(np.count_nonzero(areas >= _SMALLEST))
        largest += int(areas.max(initial=0))
        pixels += int(areas.sum())
    return n_cells >= _MANY and largest <= _LARGEST_SHARE * pixels


def _is_thin(number: int, targets: Sequence[Target]) -> bool:
    near = pixels = painted = 0
    for target in targets:
        membrane = target.classes == number
        around = (1,) * (membrane.ndim - 2) + (2 * _THIN + 1,) * 2
        reached = ndi.maximum_filter(target.classes == 1 - number, around)
        near += int(np.count_nonzero(membrane & reached))
        pixels += int(np.count_nonzero(membrane))
        painted += int(np.count_nonzero(target.painted))
    return 0 < pixels <= painted / 2 and near >= _NEARLY_ALL * pixels
