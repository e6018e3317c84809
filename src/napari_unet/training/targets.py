"""What the paint of a frame asks for, and how much each pixel counts.

It is computed anew only where the paint has changed: a stroke on a large image changes targets and
border weights in its surroundings alone, as far as the border weight of an object reaches.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.data.border_weights import DEFAULT_SIGMA, border_weight_map
from napari_unet.data.frames import box_within, grown
from napari_unet.data.labels import BOX_GRID, Target, marked_boxes, paint_box
from napari_unet.tasks import count_answers, target_of, task_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_unet.data.axes import Region
    from napari_unet.tasks import ClassTable
    from napari_unet.training.config import TrainConfig

# Where the boxes are larger than this share of the frame all of it is as quick.
_MOST = 0.5


def frame_target(
    labels: NDArray[Any], table: ClassTable, config: TrainConfig, anisotropy: float
) -> Target:
    """Compute what the paint of a whole frame asks for, ``[Z]YX`` of any integer dtype.

    The anisotropy is how many times as long along Z as wide a voxel is.
    """
    target = target_of(labels, table, sliver_of(config), anisotropy)
    return replace(target, border=_border_of(labels, target, table, config, anisotropy))


def updated_target(
    known: Target,
    before: NDArray[Any],
    labels: NDArray[Any],
    table: ClassTable,
    config: TrainConfig,
    anisotropy: float,
) -> Target:
    """Return the target of other paint on the same frame, with the same settings.

    Known is that of the paint `before`; itself where nothing has changed. Arguments and result
    otherwise as of :func:`frame_target`.
    """
    alike = labels.shape == before.shape and labels.dtype == before.dtype
    changed = marked_boxes(before != labels) if alike else None
    if changed == []:
        return known
    # Long ids are numbered anew: an object has another number then wherever it lies.
    if changed is None or known.border is None or labels.dtype.itemsize > 2:
        return frame_target(labels, table, config, anisotropy)
    reach = border_reach(config, labels.ndim, anisotropy)
    # To a pixel as far away as the weight reaches matters what is as far away from that.
    needed = [grown(box, [2 * pixels + 2 for pixels in reach], labels.shape) for box in changed]
    if sum(labels[box].size for box in needed) > _MOST * labels.size:
        return frame_target(labels, table, config, anisotropy)
    target = _target_with(known, changed, labels, table, sliver_of(config), anisotropy)
    border = known.border.copy()
    for box, around in zip(changed, needed, strict=True):
        seen = Target(target.classes[around], target.objects[around])
        into = grown(box, [pixels + 1 for pixels in reach], labels.shape)
        updated = _border_of(labels[around], seen, table, config, anisotropy)
        assert updated is not None
        border[into] = updated[box_within(into, around)]
    return replace(target, border=border)


def _target_with(
    known: Target,
    changed: Sequence[Region],
    labels: NDArray[Any],
    table: ClassTable,
    sliver: float,
    anisotropy: float,
) -> Target:
    classes, objects = known.classes.copy(), known.objects.copy()
    reach = math.ceil(sliver) + 1  # the ridge between two objects lies on one of two neighbours
    for box in changed:
        around, into = (grown(box, [n * reach] * labels.ndim, labels.shape) for n in (2, 1))
        part = target_of(labels[around], table, sliver, anisotropy)
        classes[into] = part.classes[box_within(into, around)]
        objects[into] = part.objects[box_within(into, around)]
    return Target(classes, objects)


def _border_of(
    labels: NDArray[Any],
    target: Target,
    table: ClassTable,
    config: TrainConfig,
    anisotropy: float,
) -> NDArray[np.float32] | None:
    """Compute the border weights; a border that slivers imply counts as one of touching cells."""
    border = border_term(target, config, anisotropy)
    if border is not None and table.unpainted == "unlabelled":
        implied = (labels == 0) & target.painted
        border[implied] = np.maximum(border[implied], ridge_weight(config))
    return border


def with_short_ids(labels: NDArray[Any]) -> NDArray[Any]:
    """Store numbers in two bytes where they fit: those are kept as they are."""
    if labels.dtype.itemsize <= 2 or not labels.size or labels.dtype.kind == "f":
        return labels
    return labels.astype(np.uint16) if labels.max() < 2**16 else labels


# --- How much each pixel counts in the loss: equation 2 of the paper, times what is painted ------

# No class counts more than this many times its share.
_LARGEST_BALANCE = 20.0
# Border weights below this are left out.
_SMALLEST_BORDER = 1e-6
_SIGMA_PER_DIAMETER, _LEAST_SIGMA = 0.1, 0.7
# A fifth of a cell's diameter; hands leave two pixels, and seldom more than six.
_SLIVER_PER_SIGMA, _SLIVERS = 2.0, (2.0, 6.0)


def pixel_weights(
    target: Target,
    balance: NDArray[np.float32],
    config: TrainConfig,
    corrected: NDArray[np.bool_] | None = None,
    anisotropy: float = 1.0,
) -> NDArray[np.float32]:
    """Compute the paper's weight map (equation 2), ``[Z]YX`` float32; 0 where unlabelled.

    The balance is a weight per class; pixels that the user `corrected` count more. The anisotropy
    is how many times as long along Z as wide a voxel is: distances between objects are in pixels of
    the plane.
    """
    border = target.border
    if border is None:
        border = border_term(target, config, anisotropy)
    painted = target.painted
    counted = task_of(config.kind).weights(target.classes[painted], balance)
    if border is not None:
        counted += border[painted]
    if corrected is not None:
        counted[corrected[painted]] *= np.float32(config.correction_weight)
    weights = np.zeros(painted.shape, np.float32)  # what is not painted takes no memory
    weights[painted] = counted
    return weights


def border_term(
    target: Target, config: TrainConfig, anisotropy: float = 1.0
) -> NDArray[np.float32] | None:
    """Compute the border weights: ``[Z]YX`` float32, 0 where unlabelled; None with classes."""
    if not task_of(config.kind).border_weighted:
        return None
    border = np.zeros(target.objects.shape, np.float32)
    for box in _apart(target.objects, border_reach(config, border.ndim, anisotropy)):
        seen = target.within(box)
        weights = border_weight_map(
            # The ridge between touching objects is background, where the weight is highest.
            np.where(seen.classes == 0, 0, seen.objects),
            config.border_weight,
            sigma_of(config),
            (anisotropy,) * (border.ndim - 2) + (1.0, 1.0),
        )
        np.maximum(border[box], weights, out=border[box], where=seen.painted)
    return border


def _apart(objects: NDArray[np.int32], reach: Sequence[int]) -> list[Region]:
    """Return boxes that can be looked at one by one: a few cells on a huge image cost little.

    Between objects of two boxes more pixels lie than the border weight reaches, and what lies off a
    box by more than half of that is not between two of its objects.
    """
    box = paint_box(objects) if max(reach) > BOX_GRID else None
    boxes = marked_boxes(objects > 0) if box is None else [box]
    return [grown(box, [pixels // 2 + 1 for pixels in reach], objects.shape) for box in boxes]


def sigma_of(config: TrainConfig, cell_size: float = 0.0) -> float:
    """Return the width of the border weight for cells of a diameter.

    Both are in network pixels; a diameter of 0 is not known. The paper's cells were some ten times
    as wide as its sigma of 5 pixels, which covers a nucleus of ten pixels as a whole.
    """
    if config.border_sigma or not cell_size:
        return config.border_sigma or DEFAULT_SIGMA
    return min(max(_SIGMA_PER_DIAMETER * cell_size, _LEAST_SIGMA), DEFAULT_SIGMA)


def sliver_of(config: TrainConfig) -> float:
    """Return up to how many pixels between two painted cells are no room for another cell."""
    return min(max(_SLIVER_PER_SIGMA * sigma_of(config), _SLIVERS[0]), _SLIVERS[1])


def ridge_weight(config: TrainConfig) -> float:
    """Return the border weight of a pixel between two cells that both touch it."""
    return config.border_weight * math.exp(-2 / sigma_of(config) ** 2)


def border_reach(config: TrainConfig, ndim: int, anisotropy: float = 1.0) -> tuple[int, ...]:
    """Return how many pixels away along ``[Z]YX`` an object may be that a border weight heeds."""
    if config.border_weight <= _SMALLEST_BORDER:
        return (0,) * ndim
    reach = sigma_of(config) * math.sqrt(2 * math.log(config.border_weight / _SMALLEST_BORDER))
    return (math.ceil(reach / anisotropy),) * (ndim - 2) + (math.ceil(reach),) * 2


def class_balance(
    classes: Sequence[NDArray[np.int16]],
    held_back: Sequence[NDArray[np.bool_]],
    table: ClassTable,
    config: TrainConfig,
) -> NDArray[np.float32]:
    """Weight per class (or answer): its inverse frequency to the power of the balance.

    Full balance, as in the paper, lets rare classes win at every doubtful pixel: cells come out
    too large. Patches are drawn from all classes alike, so that rare ones are met without it.
    """
    counts = np.zeros(1, np.int64)
    for frame_classes, held in zip(classes, held_back, strict=True):
        counts = counts + count_answers(frame_classes[~held], table)
    by_question = counts.reshape(table.task.questions(table), -1)
    present = np.count_nonzero(by_question, axis=1, keepdims=True)
    total = by_question.sum(axis=1, keepdims=True)
    share = total / np.maximum(present * np.maximum(by_question, 1), 1)
    balance = share**config.class_balance
    limited: NDArray[np.float32] = np.minimum(balance, _LARGEST_BALANCE).astype(np.float32)
    return limited.ravel()
