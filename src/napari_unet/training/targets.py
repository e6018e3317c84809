"""What the paint of a frame asks for, computed anew only where the paint has changed.

A stroke on a large image changes targets and border weights in its surroundings alone: as far as
the border weight of an object reaches.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.data.labels import Target, marked_boxes
from napari_unet.tasks import target_of
from napari_unet.training.pixel_weights import border_reach, border_term, ridge_weight, sliver_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_unet.data.axes import Region
    from napari_unet.tasks import ClassTable
    from napari_unet.training.config import TrainConfig

# Where the boxes are larger than this share of the frame all of it is as quick.
_MOST = 0.5


@dataclass(frozen=True)
class FrameTarget:
    """What is painted on a frame, and what follows from it alone."""

    labels: NDArray[Any]
    """The paint, ``[Z]YX``."""
    target: Target
    border: NDArray[np.float32] | None
    """Border weight of each pixel, ``[Z]YX`` float32; None with classes."""

    @classmethod
    def of(
        cls, labels: NDArray[Any], table: ClassTable, config: TrainConfig, anisotropy: float
    ) -> FrameTarget:
        """Compute it of the paint of a whole frame, ``[Z]YX`` of any integer dtype.

        The anisotropy is how many times as long along Z as wide a voxel is.
        """
        labels = _with_short_ids(labels)
        target = target_of(labels, table, sliver_of(config), anisotropy)
        return cls(labels, target, _border_of(labels, target, table, config, anisotropy))

    def updated(
        self, labels: NDArray[Any], table: ClassTable, config: TrainConfig, anisotropy: float
    ) -> FrameTarget:
        """Return that of other paint on the same frame, with the same settings.

        Itself where nothing has changed; arguments and result otherwise as of :meth:`of`.
        """
        labels = _with_short_ids(labels)
        alike = labels.shape == self.labels.shape and labels.dtype == self.labels.dtype
        changed = changed_boxes(self.labels, labels) if alike else None
        if changed == []:
            return self
        # Long ids are numbered anew: an object has another number then wherever it lies.
        if changed is None or self.border is None or labels.dtype.itemsize > 2:
            return FrameTarget.of(labels, table, config, anisotropy)
        reach = border_reach(config, labels.ndim, anisotropy)
        # To a pixel as far away as the weight reaches matters what is as far away from that.
        needed = [_grown(box, [2 * pixels + 2 for pixels in reach], labels) for box in changed]
        if sum(labels[box].size for box in needed) > _MOST * labels.size:
            return FrameTarget.of(labels, table, config, anisotropy)
        target = self._target_with(changed, labels, table, sliver_of(config), anisotropy)
        border = self.border.copy()
        for box, around in zip(changed, needed, strict=True):
            seen = Target(target.classes[around], target.objects[around])
            into = _grown(box, [pixels + 1 for pixels in reach], labels)
            updated = _border_of(labels[around], seen, table, config, anisotropy)
            assert updated is not None
            border[into] = updated[_inside(into, around)]
        return FrameTarget(labels, target, border)

    def _target_with(
        self,
        changed: Sequence[Region],
        labels: NDArray[Any],
        table: ClassTable,
        sliver: float,
        anisotropy: float,
    ) -> Target:
        classes, objects = self.target.classes.copy(), self.target.objects.copy()
        reach = math.ceil(sliver) + 1  # the ridge between two objects lies on one of two neighbours
        for box in changed:
            around, into = (_grown(box, [n * reach] * labels.ndim, labels) for n in (2, 1))
            part = target_of(labels[around], table, sliver, anisotropy)
            classes[into] = part.classes[_inside(into, around)]
            objects[into] = part.objects[_inside(into, around)]
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


def changed_boxes(before: NDArray[Any], now: NDArray[Any]) -> list[Region]:
    """Find boxes that hold all pixels in which two arrays of one shape differ."""
    return marked_boxes(before != now)


def _with_short_ids(labels: NDArray[Any]) -> NDArray[Any]:
    """Store numbers in two bytes where they fit: those are kept as they are."""
    if labels.dtype.itemsize <= 2 or not labels.size:
        return labels
    return labels.astype(np.uint16) if labels.max() < 2**16 else labels


def _grown(box: Region, pixels: Sequence[int], labels: NDArray[Any]) -> Region:
    return tuple(
        slice(max(0, part.start - more), min(part.stop + more, size))
        for part, more, size in zip(box, pixels, labels.shape, strict=True)
    )


def _inside(box: Region, around: Region) -> Region:
    """Return a box in the coordinates of one around it."""
    return tuple(
        slice(part.start - whole.start, part.stop - whole.start)
        for part, whole in zip(box, around, strict=True)
    )
