"""The whole object under a click, from kept foreground probabilities: no network runs.

Most clicks mean an object as it is found. Where they do not, the threshold is moved for this
object alone, in a window around it; further clicks add objects, or take parts away.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from scipy import ndimage as ndi
from skimage.segmentation import watershed

from napari_unet.data.labels import DEFAULT_THRESHOLD
from napari_unet.data.rescaling import size_of_cell
from napari_unet.objects.separation import separate_objects

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

Point: TypeAlias = tuple[float, float]
Box: TypeAlias = tuple[slice, slice]

_STEPS = 255
# What has less than this share of a typical cell is no answer to a click.
_SMALLEST_SHARE = 0.05
# A step of the wheel divides or multiplies the odds of the threshold by this.
_WHEEL = 1.6
# The window in which a moved threshold acts reaches so many diameters of a cell to each side.
_REACH = 2.0
# Where nothing is above the threshold an object's core is: this share of its most probable pixel.
_FAINT, _FAINT_SHARE, _FAINT_REACH = 0.1, 0.6, 0.15


def confidences(foreground: NDArray[np.uint8], labels: NDArray[Any]) -> NDArray[np.float64]:
    """Return the mean probability of each object, by its number; 0 for the background."""
    flat = labels.ravel()
    means = np.bincount(flat, foreground.ravel()) / np.maximum(np.bincount(flat), 1) / _STEPS
    means[0] = 0
    return np.asarray(means)


@dataclass(frozen=True, eq=False)
class Clickable:
    """A view whose objects can be clicked on."""

    foreground: NDArray[np.uint8]
    """``YX``, the probability in steps of 1/255."""
    cell_size: float
    """Diameter of a cell in pixels of the view."""
    threshold: float = DEFAULT_THRESHOLD
    """Probability above which a pixel is of an object, until the wheel moves it."""
    binning: float = 1
    """Pixels of the view per pixel of the network."""

    @cached_property
    def objects(self) -> NDArray[np.int32]:
        """All objects, ``YX``; the first use takes a moment."""
        return self._separated(self.foreground, self.threshold)

    def at(self, point: Point) -> Selection:
        """Select the object under a point ``(y, x)``; nothing beyond the view."""
        return Selection(self).add(point)

    def in_box(self, corner: Point, opposite: Point) -> Selection:
        """Select the object that lies in a box: the one that most of its area belongs to."""
        box = self._clipped(corner, opposite)
        inside = self.objects[box]
        areas = np.bincount(inside.ravel())
        areas[0] = 0
        found = inside == areas.argmax() if areas.any() else self.foreground[box] > 0
        if not found.any():
            return Selection(self, box=box)
        deepest = np.unravel_index(np.where(found, self.foreground[box], 0).argmax(), found.shape)
        point = tuple(float(i + part.start) for i, part in zip(deepest, box, strict=True))
        return replace(self.at((point[0], point[1])), box=box)

    def object_at(self, point: Point, threshold: float) -> tuple[Box, NDArray[np.bool_]]:
        """Return the object under a point of the view as a box of it and a mask in that box."""
        y, x = (int(i) for i in point)
        if threshold == self.threshold and self.objects[y, x]:
            number = int(self.objects[y, x])
            box = self._boxes[number - 1]
            return box, ndi.binary_fill_holes(self.objects[box] == number)
        box = self._window(y, x)
        foreground, at = self.foreground[box], (y - box[0].start, x - box[1].start)
        labels = self._separated(foreground, threshold)
        number = int(labels[at])
        if not number:
            labels = self._faint(foreground, at)
            number = int(labels[at])
        return box, ndi.binary_fill_holes(labels == number) if number else labels > labels.max()

    @cached_property
    def _boxes(self) -> list[Box]:
        boxes: list[Box] = ndi.find_objects(self.objects)
        return boxes

    def _faint(self, foreground: NDArray[np.uint8], at: tuple[int, int]) -> NDArray[np.int32]:
        """Look for an object whose pixels are all below the threshold, or that begins beside."""
        reach = max(1, round(_FAINT_REACH * self.cell_size))
        near = tuple(slice(max(0, i - reach), i + reach + 1) for i in at)
        peak = float(foreground[near].max()) / _STEPS
        if peak < _FAINT:
            return np.zeros(foreground.shape, np.int32)
        labels = self._separated(foreground, min(self.threshold, peak * _FAINT_SHARE))
        numbers = labels[near]
        if not labels[at] and numbers.any():  # the click missed it by a little
            best = numbers.ravel()[np.where(numbers > 0, foreground[near], 0).argmax()]
            labels[at] = best
        return labels

    def _separated(self, foreground: NDArray[np.uint8], threshold: float) -> NDArray[np.int32]:
        typical = size_of_cell(self.cell_size, 2)
        least = round(_SMALLEST_SHARE * typical)
        return separate_objects(foreground, least, threshold, self.binning, typical)

    def _window(self, y: int, x: int) -> Box:
        reach = int(np.ceil(_REACH * self.cell_size)) + 1
        return slice(max(0, y - reach), y + reach), slice(max(0, x - reach), x + reach)

    def _clipped(self, corner: Point, opposite: Point) -> Box:
        bounds: Iterator[tuple[float, float]] = zip(corner, opposite, strict=True)
        rows, columns = (
            slice(max(0, int(min(ends))), max(0, int(np.ceil(max(ends))))) for ends in bounds
        )
        return rows, columns


@dataclass(frozen=True, eq=False)
class Selection:
    """What has been clicked on; each further click gives a new one."""

    view: Clickable
    inside: tuple[Point, ...] = ()
    """Points of what is wanted."""
    outside: tuple[Point, ...] = ()
    """Points of what is not."""
    wheel: int = 0
    """Steps by which the objects have grown."""
    box: Box | None = None
    """Nothing outside of it is selected."""

    def add(self, point: Point) -> Selection:
        """Add the object under another point."""
        return replace(self, inside=(*self.inside, point)) if self._holds(point) else self

    def remove(self, point: Point) -> Selection:
        """Take away the part around a point, up to the ridge between it and what is wanted."""
        return replace(self, outside=(*self.outside, point)) if self._holds(point) else self

    def turned(self, steps: int) -> Selection:
        """Move the threshold by steps of the wheel: objects grow with positive ones."""
        return replace(self, wheel=self.wheel + steps)

    @property
    def threshold(self) -> float:
        """Above this probability a pixel is of an object."""
        of_view = self.view.threshold
        if not self.wheel:
            return of_view
        odds = of_view / (1 - of_view) / _WHEEL**self.wheel
        return odds / (1 + odds)

    @cached_property
    def mask(self) -> NDArray[np.bool_]:
        """What is selected, ``YX`` of the view."""
        mask = np.zeros(self.view.foreground.shape, bool)
        for point in self.inside:
            box, found = self.view.object_at(point, self.threshold)
            mask[box] |= found
        if self.box is not None:
            within = np.zeros_like(mask)
            within[self.box] = mask[self.box]
            mask = within
        return self._without_parts(mask) if self.outside and mask.any() else mask

    def _without_parts(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        box = ndi.find_objects(mask.view(np.uint8))[0]
        seeds = np.zeros(mask.shape, np.int32)
        for number, points in ((1, self.inside), (2, self.outside)):
            for y, x in points:
                seeds[int(y), int(x)] = number
        ridges = _STEPS - self.view.foreground[box]
        parts = watershed(ridges, seeds[box], mask=mask[box])
        left = np.zeros_like(mask)
        left[box] = parts == 1
        return left

    def _holds(self, point: Point) -> bool:
        shape = self.view.foreground.shape
        return all(0 <= at < size for at, size in zip(point, shape, strict=True))
