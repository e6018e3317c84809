"""What the formats have in common: objects that are drawn, painted into labels.

What does not fit is left out, with a word about it.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.errors import LabelsError
from napari_unet.io.annotations.formats import axes_for
from napari_unet.io.annotations.outlines import fill, surrounded_box
from napari_unet.io.disk import megabytes
from napari_unet.io.limits import free_memory
from napari_unet.tasks import task_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_unet.data.labels import Kind

    Ring = NDArray[np.floating[Any]]
    Filled = tuple[int, int, NDArray[np.bool_]]

_UNNAMED = "unnamed"
_MOST_WITHOUT_IMAGE = 2**30  # pixels
# Pixels in the boxes around all objects, and how many times those of the image: some minutes.
_MOST_PAINTED, _MOST_LAYERS = 2**32, 20


@dataclass(frozen=True)
class Annotations:
    """Labels that came out of a file of another program."""

    labels: NDArray[np.integer[Any]]
    """``YX``, ``ZYX``, ``TYX`` or ``TZYX`` integers: 0 is what is not drawn, and objects or classes
    count from 1.
    """
    kind: Kind
    """What a number stands for."""
    names: dict[int, str] = field(default_factory=dict)
    """Class of each number, where the file names it."""
    colours: dict[int, str] = field(default_factory=dict)
    """Colour of each number as ``#rrggbb``, where the file has one."""
    unlabelled: tuple[tuple[int, ...], ...] = ()
    """Positions on the axes before ``YX`` of planes (or before ``ZYX`` of frames) that the file
    says nothing about: 0 means unlabelled there, whatever it means elsewhere.
    """
    notices: tuple[str, ...] = ()
    """What the user should know: what was left out, or lies on top of something else."""


@dataclass(frozen=True)
class Drawn:
    """One object, or a part of one, in one plane."""

    parts: tuple[tuple[Ring, ...], ...] = ()
    """Parts that may overlap, each of rings: closed lines of shape (points, 2), x and y. (0, 0) is
    the outer corner of the first pixel, whose centre is (0.5, 0.5). Inside of a part is what an
    odd number of its rings surrounds.
    """
    runs: NDArray[np.integer[Any]] | None = None
    """In place of parts: (first, length) of runs of pixels, column after column of a plane of
    `run_height` rows, as COCO has them.
    """
    run_height: int = 0
    number: int | None = None
    """The object's own number, where the file has one."""
    name: str = ""
    """Its class; empty where the file has none."""
    colour: str = ""
    """That of its class as ``#rrggbb``; empty where the file has none."""
    z: int | None = None
    """Plane, counted from 0."""
    t: int | None = None
    """Frame, counted from 0."""

    @property
    def rings(self) -> tuple[Ring, ...]:
        """Those of all parts."""
        return tuple(ring for part in self.parts for ring in part)


def paint(
    drawn: Sequence[Drawn], shape: Sequence[int] | None, axes: str | None, kind: Kind
) -> Annotations:
    """Paint objects one after the other; a later one lies on top.

    Where there is no `shape` of an image without channels, the labels surround all objects. Each
    object gets a number, or each class. Raises LabelsError if there is nothing to paint, the axes
    do not fit, or coordinates are no numbers.
    """
    if not drawn:
        raise LabelsError("The file holds no object with an area; draw or export some first.")
    if shape is None:
        shape = _extent(drawn)
        check_extent(shape)
    axes = axes_for(shape, axes)
    names = _class_names(drawn) if task_of(kind).named else {}
    if names:
        numbers = [names[each.name or _UNNAMED] for each in drawn]
    else:
        numbers = _numbers_of_objects(drawn)
    canvas = _Canvas(tuple(shape), axes, max(numbers))
    canvas.check_effort(drawn)
    for each, number in zip(drawn, numbers, strict=True):
        canvas.add(each, number)
    told = {n: each.name for n, each in zip(numbers, drawn, strict=True) if each.name}
    colours = {n: each.colour for n, each in zip(numbers, drawn, strict=True) if each.colour}
    classes = {number: name for name, number in names.items()}
    return Annotations(canvas.labels, kind, classes or told, colours, notices=canvas.notices())


def check_extent(shape: Sequence[int]) -> None:
    """Refuse, by LabelsError, labels of a size that a file alone claims, beyond what is quick."""
    if math.prod(shape) > _MOST_WITHOUT_IMAGE:
        raise LabelsError(
            f"Its objects reach over {' x '.join(map(str, shape))} pixels; without an image "
            f"{_MOST_WITHOUT_IMAGE >> 20} million are drawn at most. Give the image that they are "
            "of, or crop them."
        )


def _class_names(drawn: Sequence[Drawn]) -> dict[str, int]:
    """Return a number for each class, in the order of their names; what has none comes last."""
    found = {each.name or _UNNAMED for each in drawn}
    return {name: n for n, name in enumerate(sorted(found, key=lambda n: (n == _UNNAMED, n)), 1)}


def _numbers_of_objects(drawn: Sequence[Drawn]) -> list[int]:
    """Return the objects' own numbers, where all have one that is theirs alone in its plane."""
    own = [each.number for each in drawn if each.number]
    places = {(each.number, each.z, each.t) for each in drawn}
    return own if len(own) == len(places) == len(drawn) else list(range(1, len(drawn) + 1))


def _extent(drawn: Sequence[Drawn]) -> tuple[int, ...]:
    """Return the size of the smallest plane or stack that holds all objects."""
    heights, widths = [1.0], [1.0]
    for each in drawn:
        if each.runs is not None:
            heights.append(each.run_height)
            widths.append(int((each.runs.sum(axis=1).max(initial=1) - 1) // each.run_height) + 1)
        for ring in each.rings:
            widths.append(float(ring[:, 0].max()))
            heights.append(float(ring[:, 1].max()))
    plane = (_whole(max(heights)), _whole(max(widths)))
    z = 1 + max((each.z or 0 for each in drawn), default=0)
    t = 1 + max((each.t or 0 for each in drawn), default=0)
    if z > 1 and t > 1:
        return (t, z, *plane)
    return (max(z, t), *plane) if max(z, t) > 1 else plane


def _whole(size: float) -> int:
    if not size < 2**31:  # infinite and NaN too
        raise LabelsError(f"An outline reaches to {size} pixels; no image is that large.")
    return int(np.ceil(size))


class _Canvas:
    """Labels that are painted, and a count of what does not fit."""

    def __init__(self, shape: tuple[int, ...], axes: str, largest: int) -> None:
        dtype = np.min_scalar_type(max(largest, 2**15))
        needed, free = math.prod(shape) * dtype.itemsize, free_memory()
        if needed > free:
            raise LabelsError(
                f"Labels of shape {shape} need {megabytes(needed)}, {megabytes(free)} are free; "
                "crop the image."
            )
        self.labels: NDArray[np.integer[Any]] = np.zeros(shape, dtype)
        self._before = axes[:-2]
        self._told: Counter[str] = Counter()

    def check_effort(self, drawn: Sequence[Drawn]) -> None:
        """Refuse objects that would take hours, before the first is painted."""
        height, width = self.labels.shape[-2:]
        planes = math.prod(self.labels.shape[:-2])
        effort = sum(
            _effort(each, height, width) * (planes if each.z is each.t is None else 1)
            for each in drawn
        )
        most = _MOST_PAINTED + _MOST_LAYERS * self.labels.size
        if effort > most:
            raise LabelsError(
                f"Its {len(drawn)} objects fill {effort / 1e9:.1f} billion pixels in an image of "
                f"{self.labels.size / 1e6:.1f} million; {most / 1e9:.1f} billion are painted at "
                "most. Remove objects that cover the whole image, or crop it."
            )

    def add(self, drawn: Drawn, number: int) -> None:
        height, width = self.labels.shape[-2:]
        filled = fill_object(drawn, height, width)
        if filled is None:
            self._told["outside" if _is_outside(drawn, height, width) else "small"] += 1
            return
        top, left, inside = filled
        for plane in self._planes(drawn):
            here = plane[top : top + inside.shape[0], left : left + inside.shape[1]]
            beneath = here[inside]
            self._told["overlap"] += bool(((beneath > 0) & (beneath != number)).any())
            here[inside] = number

    def _planes(self, drawn: Drawn) -> list[NDArray[Any]]:
        """Return the plane that an object lies in; all planes where the file names none."""
        told = {"Z": drawn.z, "T": drawn.t}
        if len(self._before) == 1:  # a stack is a stack, whatever its axis is called
            known = [at for at in told.values() if at is not None]
            told[self._before] = max(known) if known else None
        sizes = self.labels.shape[:-2]
        index: list[Any] = []
        for letter, size in zip(self._before, sizes, strict=True):
            at = told[letter]
            if at is not None and not 0 <= at < size:
                self._told["elsewhere"] += 1
                return []
            index.append(range(size) if at is None else (at,))
        if any(len(each) > 1 for each in index):
            self._told["everywhere"] += 1
        return [self.labels[at] for at in product(*index)]

    def notices(self) -> tuple[str, ...]:
        texts = {
            "overlap": "Objects that lie partly on others: {}; the later ones count.",
            "outside": "Objects outside of the image: {}; they are left out.",
            "small": "Objects that hold the centre of no pixel: {}; they are left out.",
            "elsewhere": "Objects in planes that the image does not have: {}; they are left out.",
            "everywhere": "Objects that name no plane: {}; they are drawn in all of them.",
        }
        return tuple(
            text.format(self._told[what]) for what, text in texts.items() if self._told[what]
        )


def _effort(drawn: Drawn, height: int, width: int) -> int:
    """Return how many pixels are looked at to paint an object into a plane."""
    if drawn.runs is not None:
        ends = drawn.runs.sum(axis=1).max(initial=0) - drawn.runs[:, 0].min(initial=2**62)
        return min(max(0, int(ends)) + drawn.run_height, drawn.run_height * width)
    boxes = (surrounded_box(part, height, width) for part in drawn.parts)
    return sum((box[2] - box[0]) * (box[3] - box[1]) for box in boxes if box is not None)


def _is_outside(drawn: Drawn, height: int, width: int) -> bool:
    if drawn.runs is not None or not drawn.rings:
        return drawn.runs is not None and bool(drawn.runs.size)
    corners = np.concatenate(drawn.rings)
    low, high = corners.min(axis=0), corners.max(axis=0)
    return bool((high <= 0).any() or low[0] >= width or low[1] >= height)


def fill_object(drawn: Drawn, height: int, width: int) -> Filled | None:
    """Return the pixels of a drawn object in a plane; what lies outside the plane is left out.

    See `fill`; runs may be made for a plane of another size.
    """
    if drawn.runs is not None:
        return _of_runs(drawn.runs, drawn.run_height, height, width)
    box = surrounded_box(drawn.rings, height, width)
    if box is None:
        return None
    top, left, bottom, right = box
    inside = np.zeros((bottom - top, right - left), np.bool_)
    for part in drawn.parts:  # one after the other is in memory
        filled = fill(part, height, width)
        if filled is not None:
            y, x, pixels = filled[0] - top, filled[1] - left, filled[2]
            inside[y : y + pixels.shape[0], x : x + pixels.shape[1]] |= pixels
    return (top, left, inside) if inside.any() else None


def _of_runs(
    runs: NDArray[np.integer[Any]], run_height: int, height: int, width: int
) -> Filled | None:
    if not runs.size:
        return None
    first = runs[:, 0].astype(np.int64)
    last = np.minimum(first + runs[:, 1], run_height * width)
    first, last = first[first < last], last[first < last]
    if not first.size:
        return None
    left, right = int(first[0]) // run_height, -(-int(last[-1]) // run_height)
    toggles = np.zeros((right - left) * run_height + 1, np.bool_)
    toggles[first - left * run_height] = True
    toggles[last - left * run_height] ^= True  # a run may begin where the one before it ends
    columns = np.logical_xor.accumulate(toggles)[:-1].reshape(-1, run_height)[:, :height]
    rows = np.flatnonzero(columns.any(axis=0))
    if not rows.size:
        return None
    top, bottom = int(rows[0]), int(rows[-1]) + 1
    return top, left, columns[:, top:bottom].T
