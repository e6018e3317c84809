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
from napari_unet.data.labels import BOX_GRID, Target, marked_boxes, paint_box, pixels_per_number
from napari_unet.tasks import count_answers, target_of, task_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from napari_unet.data.axes import Region
    from napari_unet.data.labels import Unpainted
    from napari_unet.tasks import ClassTable
    from napari_unet.training.config import TrainConfig
    from napari_unet.training.dataset import TrainingData

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
    # The ridge between two objects lies on one of two neighbours; in a volume it is looked for
    # what lies between two objects twice as far away.
    reach = (labels.ndim - 1) * math.ceil(sliver) + 1
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


def weights_in_image(
    data: TrainingData, image: int, index: tuple[int, ...], shape: tuple[int, ...]
) -> NDArray[np.float32]:
    """Return what each pixel of a frame of an image counts in a training on these data.

    The frame has the sizes `shape` along ``[Z]YX``, and so has the result. Of data that are binned
    each pixel shows what that pixel of the network counts in which it lies. 0: nothing is learned.
    """
    shown = np.zeros(shape, np.float32)
    known = [f for f in data.frames if (f.image, f.frame.index) == (image, index)]
    for frame in known:
        learned = np.where(frame.held_back, np.float32(0), frame.weights)
        into, taken = [], []
        for axis, part in enumerate(frame.frame.bounds):
            factor = data.binning if axis >= len(shape) - 2 else 1
            at = ((np.arange(shape[axis]) + 0.5) / factor).astype(np.intp) - part.start
            into.append(np.flatnonzero((at >= 0) & (at < part.stop - part.start)))
            taken.append(at[into[-1]])
        shown[np.ix_(*into)] = learned[np.ix_(*taken)]
    return shown


# --- How small an object may be: objects that were painted are larger ----------------------------

# Dropped is what is smaller than this share of nearly the smallest object that was painted.
_SMALLEST_SHARE, _SMALLEST_PERCENTILE = 0.5, 5
# A ball of volume V has a largest section of area A: V = 4 / (3 sqrt(pi)) * A ** 1.5.
_BALL_OF_SECTION = 4 / (3 * np.sqrt(np.pi))


def smallest_painted_object(targets: Iterable[tuple[Target, float]], unpainted: Unpainted) -> int:
    """Return the number of pixels below which an object is dropped; 0 without objects.

    With each target comes how many times as long along Z as wide a voxel is. In volumes of which
    some slices are painted, an object that is seen in a single slice counts as the ball of which
    that is the section.
    """
    sizes: list[NDArray[Any]] = [np.zeros(0)]
    for target, anisotropy in targets:
        objects = target.objects
        if objects.ndim == 3 and unpainted == "unlabelled":
            sizes.append(_volumes(objects, target.painted, anisotropy))
        else:
            sizes.append(pixels_per_number(objects)[1:])
    painted = np.concatenate(sizes)
    painted = painted[painted > 0]
    if painted.size == 0:
        return 0
    return int(_SMALLEST_SHARE * np.percentile(painted, _SMALLEST_PERCENTILE))


def _volumes(
    objects: NDArray[np.int32], painted: NDArray[np.bool_], anisotropy: float
) -> NDArray[Any]:
    """Count the voxels of each object, and guess those of objects with one painted section."""
    sections = [np.bincount(plane.ravel(), minlength=objects.max() + 1) for plane in objects]
    areas = np.array(sections)[:, 1:]  # (Z, objects)
    volumes: NDArray[Any] = areas.sum(axis=0).astype(np.float64)
    for number in np.flatnonzero(np.count_nonzero(areas, axis=0) == 1):
        section = int(areas[:, number].argmax())
        inside = objects[section] == number + 1
        neighbours = [z for z in (section - 1, section + 1) if 0 <= z < len(objects)]
        if neighbours and not any(painted[z][inside].any() for z in neighbours):
            volumes[number] = _BALL_OF_SECTION * areas[section, number] ** 1.5 / anisotropy
    return volumes
