"""The whole object under a click or a line, from kept foreground probabilities: no network runs.

Most clicks mean an object as it is found. Where they do not, the threshold is moved for this
object alone, in a window around it; further clicks add objects, or take parts away.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from scipy import ndimage as ndi
from skimage.segmentation import watershed

from napari_unet.data.labels import DEFAULT_THRESHOLD
from napari_unet.data.rescaling import size_of_cell
from napari_unet.objects.separation import separate_objects

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

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
# An object that holds a smaller share of a line was only grazed. Where a smaller share of the line
# is in objects at all, its pixels say themselves how probable the cell under it is.
_GRAZED, _COVERED = 0.1, 0.5
# Where a line connects parts it does so by so many diameters of a cell to each side.
_BRIDGE = 0.1


class PromptedView:
    """A view of an image in which prompts select objects."""

    adjustable = False
    """Whether objects grow and shrink by the wheel."""

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        raise NotImplementedError

    def mask_of(self, selection: Selection) -> NDArray[np.bool_]:
        """Return what the prompts of a selection mean, ``YX``."""
        raise NotImplementedError

    def at(self, point: Point) -> Selection:
        """Select the object under a point ``(y, x)``; nothing beyond the view."""
        return Selection(self).add(point)

    def along(self, path: Sequence[Point]) -> Selection:
        """Select what lies under a line through points as one object."""
        return Selection(self, line=pixels_along(path, self.shape))

    def in_box(self, corner: Point, opposite: Point) -> Selection:
        """Select the object that lies in a box."""
        bounds: Iterator[tuple[float, float]] = zip(corner, opposite, strict=True)
        rows, columns = (
            slice(max(0, int(min(ends))), max(0, int(np.ceil(max(ends))))) for ends in bounds
        )
        return Selection(self, box=(rows, columns))


@dataclass(frozen=True, eq=False)
class Clickable(PromptedView):
    """A view whose objects are known by their foreground."""

    foreground: NDArray[np.uint8]
    """``YX``, the probability in steps of 1/255."""
    cell_size: float
    """Diameter of a cell in pixels of the view."""
    threshold: float = DEFAULT_THRESHOLD
    """Probability above which a pixel is of an object, until the wheel moves it."""
    binning: float = 1
    """Pixels of the view per pixel of the network."""

    adjustable = True

    @cached_property
    def objects(self) -> NDArray[np.int32]:
        """All objects, ``YX``; the first use takes a moment."""
        return self._separated(self.foreground, self.threshold)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        height, width = self.foreground.shape
        return height, width

    def mask_of(self, selection: Selection) -> NDArray[np.bool_]:
        """Return the objects at the points and under the line of a selection, within its box."""
        mask = np.zeros(self.shape, bool)
        for point in selection.inside:
            box, found = self.object_at(point, selection.threshold)
            mask[box] |= found
        if len(selection.line):
            box, found = self._under(selection.line, selection.threshold)
            mask[box] |= found
        if selection.box is not None:
            within = np.zeros_like(mask)
            within[selection.box] = mask[selection.box]
            mask = within
        return self._without_parts(mask, selection) if selection.outside and mask.any() else mask

    def in_box(self, corner: Point, opposite: Point) -> Selection:
        """Select the object that lies in a box: the one that most of its area belongs to."""
        box = super().in_box(corner, opposite).box
        assert box is not None
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
        box = self._window(y, x, y, x)
        foreground, at = self.foreground[box], (y - box[0].start, x - box[1].start)
        labels = self._separated(foreground, threshold)
        number = int(labels[at])
        if not number:
            labels = self._faint(foreground, at)
            number = int(labels[at])
        return box, ndi.binary_fill_holes(labels == number) if number else labels > labels.max()

    def _under(self, line: NDArray[np.intp], threshold: float) -> tuple[Box, NDArray[np.bool_]]:
        """Return what lies under a line as one object: a box of the view, and a mask in it."""
        covered = np.count_nonzero(self.objects[tuple(line.T)]) / len(line)
        probable = float(np.median(self.foreground[tuple(line.T)])) / _STEPS
        if covered < _COVERED and probable >= _FAINT:
            threshold = min(threshold, probable * _FAINT_SHARE)
        ends = np.array([line.min(axis=0), line.max(axis=0)])
        if threshold == self.threshold:
            met = np.unique(self.objects[tuple(line.T)])
            around = [self._boxes[number - 1] for number in met[met > 0]]
            corners = [[(y.start, x.start), (y.stop, x.stop)] for y, x in around]
            ends = np.concatenate([ends, *corners])
            box = self._window(*ends.min(axis=0), *ends.max(axis=0))
            labels = self.objects[box]
        else:
            box = self._window(*ends[0], *ends[1])
            labels = self._separated(self.foreground[box], threshold)
        at = line - [part.start for part in box]
        counts = np.bincount(labels[tuple(at.T)])
        counts[0] = 0
        under = np.flatnonzero(counts > _GRAZED * counts.sum())
        found = np.isin(labels, under)
        inside = np.flatnonzero(found[tuple(at.T)])
        if not len(inside):
            return box, found
        # The ridges between parts of one object go, and the line connects what lies apart.
        drawn = np.zeros_like(found)
        drawn[tuple(at[inside[0] : inside[-1] + 1].T)] = True
        width = max(1, round(_BRIDGE * self.cell_size))
        found |= ndi.binary_dilation(drawn & ~found, iterations=width)
        ridge = int(np.ceil(self.binning))
        closed = ndi.binary_closing(np.pad(found, ridge + 1), iterations=ridge)
        inner = slice(ridge + 1, -ridge - 1)
        return box, ndi.binary_fill_holes(closed[inner, inner])

    def _without_parts(self, mask: NDArray[np.bool_], selection: Selection) -> NDArray[np.bool_]:
        box = ndi.find_objects(mask.view(np.uint8))[0]
        seeds = np.zeros(mask.shape, np.int32)
        seeds[tuple(selection.line.T)] = 1
        for number, points in ((1, selection.inside), (2, selection.outside)):
            for y, x in points:
                seeds[int(y), int(x)] = number
        ridges = _STEPS - self.foreground[box]
        parts = watershed(ridges, seeds[box], mask=mask[box])
        left = np.zeros_like(mask)
        left[box] = parts == 1
        return left

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

    def _window(self, top: int, left: int, bottom: int, right: int) -> Box:
        reach = int(np.ceil(_REACH * self.cell_size)) + 1
        height, width = self.shape
        return (
            slice(max(0, top - reach), min(height, bottom + reach)),
            slice(max(0, left - reach), min(width, right + reach)),
        )


@dataclass(frozen=True, eq=False)
class Selection:
    """What is wanted of a view; each further prompt gives a new one."""

    view: PromptedView
    inside: tuple[Point, ...] = ()
    """Points of what is wanted."""
    outside: tuple[Point, ...] = ()
    """Points of what is not."""
    line: NDArray[np.intp] = field(default_factory=lambda: np.zeros((0, 2), np.intp))
    """Pixels of a line over what is wanted, shape (pixels, 2)."""
    wheel: int = 0
    """Steps by which the objects have grown."""
    box: Box | None = None
    """Nothing outside of it is selected."""

    def add(self, *points: Point) -> Selection:
        """Add the objects under further points."""
        return replace(self, inside=(*self.inside, *filter(self._holds, points)))

    def remove(self, *path: Point) -> Selection:
        """Take away the part around a point or a line, up to the ridge before what is wanted."""
        taken = ((float(y), float(x)) for y, x in pixels_along(path, self.view.shape))
        return replace(self, outside=(*self.outside, *taken))

    def turned(self, steps: int) -> Selection:
        """Move the threshold by steps of the wheel: objects grow with positive ones."""
        return replace(self, wheel=self.wheel + steps)

    @property
    def threshold(self) -> float:
        """Above this probability a pixel is of an object."""
        of_view = getattr(self.view, "threshold", DEFAULT_THRESHOLD)
        if not self.wheel:
            return float(of_view)
        odds = of_view / (1 - of_view) / _WHEEL**self.wheel
        return float(odds / (1 + odds))

    @cached_property
    def mask(self) -> NDArray[np.bool_]:
        """What is selected, ``YX`` of the view."""
        return self.view.mask_of(self)

    def _holds(self, point: Point) -> bool:
        return all(0 <= at < size for at, size in zip(point, self.view.shape, strict=True))


def pixels_along(path: Sequence[Point], shape: tuple[int, int]) -> NDArray[np.intp]:
    """Return the pixels of a plane on the way through points, shape (pixels, 2), without gaps."""
    points = np.asarray(path, float).reshape(-1, 2)
    steps = [np.empty((0, 2)), points[:1]]
    for one, next_one in pairwise(points):
        n_steps = max(1, int(np.ceil(np.abs(next_one - one).max())))
        steps.append(np.linspace(one, next_one, n_steps + 1)[1:])
    pixels = np.floor(np.concatenate(steps)).astype(np.intp)
    inside: NDArray[np.bool_] = ((pixels >= 0) & (pixels < shape)).all(axis=1)
    return np.asarray(pixels[inside])
