"""Which of the painted cells come out right: what the painter looks at first."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy.ndimage import center_of_mass

from napari_unet.data.labels import marked_boxes
from napari_unet.objects.separation import separate_objects
from napari_unet.training.dataset import grown, origin_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from napari_unet.data.axes import Region
    from napari_unet.model.execution import Runner
    from napari_unet.training.dataset import TrainingData, TrainingFrame

Verdict = Literal["found", "missed", "merged"]

FOUND_IOU = 0.5
# Around painted cells so much is predicted too: objects are cut at the edge of what is predicted.
_MARGIN = 48
# Of much paint a part tells as much, and takes no longer than a few training steps.
_MOST_PIXELS = {2: 2**20, 3: 2**21}


@dataclass(frozen=True)
class PaintedCell:
    """One painted cell, and what became of it."""

    image: int
    """Number of the annotated image."""
    frame: tuple[int, ...]
    """Index on its frame axes."""
    centre: tuple[int, ...]
    """A pixel of the cell in ``[Z]YX`` of the image."""
    iou: float
    """IoU with the object that overlaps it most, on painted pixels."""
    verdict: Verdict
    """Merged: one object covers most of this cell and of another painted one."""


def judge_painted_cells(
    runner: Runner, data: TrainingData, threshold: float
) -> tuple[PaintedCell, ...]:
    """Predict the painted cells, undeformed and with their surroundings, and compare.

    Empty where cells are not judged one by one.
    """
    if not data.classes.judged_singly:
        return ()
    cells: dict[tuple[int, int], PaintedCell] = {}  # boxes overlap: each cell counts once
    for frame, box in _boxes(data.frames):
        for number, cell in _judge(runner, data, frame, box, threshold):
            cells.setdefault((id(frame), number), cell)
    return tuple(cells.values())


def mean_iou(cells: Sequence[PaintedCell]) -> float:
    """Return the mean IoU of cells, a merged one counting nothing."""
    return float(np.mean([0.0 if cell.verdict == "merged" else cell.iou for cell in cells]))


def mean_iou_of_found(cells: Sequence[PaintedCell]) -> float:
    """Return the mean IoU of cells; one that is not found counts nothing, why ever it is not."""
    return float(np.mean([cell.iou if cell.verdict == "found" else 0.0 for cell in cells]))


def was_painted(cell: PaintedCell, data: TrainingData) -> bool:
    """Return whether the middle of a cell is painted as one in data, which may be older."""
    for frame in data.frames:
        if (frame.image, frame.frame.index) == (cell.image, cell.frame):
            factors = (1,) * (len(cell.centre) - 2) + (data.binning,) * 2
            at = tuple(
                int(position / k) - start
                for position, k, start in zip(
                    cell.centre, factors, origin_of(frame.frame), strict=True
                )
            )
            objects = frame.target.objects
            inside = all(0 <= i < n for i, n in zip(at, objects.shape, strict=True))
            return inside and bool(objects[at])
    return False


def _boxes(frames: Sequence[TrainingFrame]) -> Iterator[tuple[TrainingFrame, Region]]:
    """Choose what to predict: boxes around cells, evenly among all as long as they are few."""
    found = [
        (frame, grown(box, (_MARGIN,) * len(box), frame.target.objects.shape))
        for frame in frames
        for box in marked_boxes(frame.target.objects > 0)
    ]
    sizes = [math.prod(part.stop - part.start for part in box) for _, box in found]
    most = _MOST_PIXELS[frames[0].frame.ndim]
    every = max(1, math.ceil(sum(sizes) / most))
    for frame, box in found[::every]:
        yield frame, _first_pixels(box, most)


def _first_pixels(box: Region, pixels: int) -> Region:
    """Shorten a box along its longest axis to at most so many pixels."""
    sizes = [part.stop - part.start for part in box]
    axis = int(np.argmax(sizes))
    kept = min(sizes[axis], pixels * sizes[axis] // math.prod(sizes))
    return (*box[:axis], slice(box[axis].start, box[axis].start + kept), *box[axis + 1 :])


def _judge(
    runner: Runner, data: TrainingData, frame: TrainingFrame, box: Region, threshold: float
) -> Iterator[tuple[int, PaintedCell]]:
    """Judge the cells that lie in a box as a whole; yields their numbers too."""
    foreground = runner.probabilities(frame.frame, frame.intensity, box)[1]
    found = separate_objects(
        foreground, data.smallest_object, threshold, typical=data.typical_object
    )
    painted = frame.target.painted[box]
    objects = frame.target.objects
    whole = np.bincount(objects[box].ravel(), minlength=int(objects.max()) + 1)
    whole = (whole > 0) & (whole == np.bincount(objects.ravel()))
    whole[0] = False
    numbers = np.flatnonzero(whole).astype(np.int32)
    if not numbers.size:
        return
    truth = np.where(whole[objects[box]], objects[box], 0)
    seen = np.where(painted, found, 0)
    best, ious = _best_objects(seen, truth, numbers)
    held_by = np.bincount(best[best > 0], minlength=int(found.max()) + 1)
    start = np.array(origin_of(frame.frame)) + [part.start for part in box]
    centres = _centres(truth, numbers)
    for number, cell, iou, centre in zip(numbers, best, ious, centres, strict=True):
        merged = cell > 0 and held_by[cell] > 1
        verdict: Verdict = "merged" if merged else "found" if iou >= FOUND_IOU else "missed"
        at = [int(position) for position in (start + centre)]
        at[-2:] = [int((position + 0.5) * data.binning) for position in at[-2:]]
        judged = PaintedCell(frame.image, frame.frame.index, tuple(at), float(iou), verdict)
        yield int(number), judged


def _best_objects(
    found: NDArray[np.int32], truth: NDArray[np.int32], numbers: NDArray[np.int32]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return, per painted cell, the object over most of it, 0 for none, and its IoU."""
    position = np.searchsorted(numbers, truth)  # of cells; others are left out below
    inside = truth > 0
    shared = np.zeros((len(numbers), int(found.max()) + 1), np.int64)
    np.add.at(shared, (position[inside], found[inside]), 1)
    areas, found_areas = shared.sum(axis=1), np.bincount(found.ravel(), minlength=shared.shape[1])
    shared[:, 0] = 0
    best = shared.argmax(axis=1)
    common = shared[np.arange(len(numbers)), best]
    ious = common / np.maximum(areas + found_areas[best] - common, 1)
    over_most = 2 * common > areas
    return np.where(over_most, best, 0), np.where(common > 0, ious, 0.0)


def _centres(truth: NDArray[np.int32], numbers: NDArray[np.int32]) -> list[NDArray[np.int64]]:
    """Return a pixel of each cell, near its middle: that of a bent stroke lies outside of it."""
    centres = []
    for number, middle in zip(numbers, center_of_mass(truth > 0, truth, numbers), strict=True):
        centre = np.array(middle).astype(np.int64)
        if truth[tuple(centre)] != number:
            pixels = np.argwhere(truth == number)
            centre = pixels[((pixels - middle) ** 2).sum(axis=1).argmin()]
        centres.append(centre)
    return centres
