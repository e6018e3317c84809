"""From the path of the mouse, or the numbers of objects, to an edit of a frame of a prediction."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage as ndi

from napari_unet.errors import LabelsError
from napari_unet.objects.corrections import (
    Edit,
    delete_object,
    grow_object,
    merge_objects,
    split_object,
)
from napari_unet.tasks import task_of
from napari_unet.widgets.common.layers import labels_of, write_pixels
from napari_unet.widgets.common.linked_undo import Change
from napari_unet.widgets.common.result_layer import predicted_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.layers import Labels
    from napari.viewer import Viewer
    from numpy.typing import NDArray


@dataclass(frozen=True)
class FramePath:
    """Where the mouse went in one frame of a prediction."""

    frame: tuple[int, ...]
    """Position along the axes that come before the spatial ones."""
    labels: NDArray[Any]
    """``[Z]YX``: the predicted objects of this frame, 0 background."""
    points: NDArray[np.floating[Any]]
    """Shape (points, spatial axes), in pixels."""
    classes: NDArray[np.integer[Any]] | None = None
    """Where classes were predicted, `labels` are their connected parts, and this is the class of
    each.
    """
    largest: int = 0
    """The largest number of all frames, where a number is one object in all of them."""

    def of_all_frames(self, edit: Edit) -> Edit:
        """Give new parts numbers that are new in all frames."""
        known = int(self.labels.max(initial=0))
        more = np.where(edit.values > known, max(0, self.largest - known), 0)
        return Edit(edit.indices, (edit.values + more).astype(edit.values.dtype))

    def in_classes(self, edit: Edit, number: int) -> Edit:
        """Write classes in place of their parts; new parts are of the class of `number`."""
        if self.classes is None:
            return edit
        known = edit.values < len(self.classes)
        values = self.classes[np.where(known, edit.values, number)]
        return Edit(edit.indices, values)


def path_in_frame(layer: Labels, path: NDArray[np.floating[Any]]) -> FramePath:
    """Find the frame of a prediction in which a path, (points, axes of the layer), begins."""
    predicted = predicted_of(layer)
    ndim = predicted.ndim if predicted else 2
    lead = layer.ndim - ndim
    frame = tuple(
        int(np.clip(round(float(at)), 0, size - 1))
        for at, size in zip(path[0, :lead], layer.data.shape, strict=False)
    )
    labels = np.asarray(layer.data)[frame]
    if predicted is None or not task_of(predicted.kind).named:
        linked = predicted is not None and predicted.linked
        largest = int(np.max(layer.data)) if linked else 0
        return FramePath(frame, labels, path[:, lead:], largest=largest)
    parts, classes = _connected_parts(labels)
    return FramePath(frame, parts, path[:, lead:], classes)


def _connected_parts(classes: NDArray[Any]) -> tuple[NDArray[np.int32], NDArray[np.integer[Any]]]:
    """Give a number to each connected part of a class; also return the class of each number."""
    parts = np.zeros(classes.shape, np.int32)
    class_of = [0]
    for value in np.unique(classes[classes > 0]):
        found, n_found = ndi.label(classes == value)
        parts[found > 0] = found[found > 0] + len(class_of) - 1
        class_of += [int(value)] * n_found
    return parts, np.array(class_of, classes.dtype)


def numbers_along(path: FramePath) -> list[int]:
    """Return the objects under a path, in the order in which it meets them."""
    found: dict[int, None] = {}
    points, labels = path.points, path.labels
    for a, b in zip(points, [*points[1:], points[-1]], strict=True):
        steps = max(1, int(np.ceil(np.abs(b - a).max())))
        for point in np.linspace(a, b, steps + 1):
            pixel = tuple(np.round(point).astype(int))
            inside = all(0 <= p < size for p, size in zip(pixel, labels.shape, strict=True))
            if inside and labels[pixel] > 0:
                found[int(labels[pixel])] = None
    return list(found)


def edit_along(tool: str, path: FramePath, numbers: list[int]) -> Edit:
    """Return what a tool changes along a path that crosses objects of these numbers, one at least.

    "split" parts the object that the path crosses longest; "delete" and "grow" take the first.
    """
    labels, number = path.labels, numbers[0]
    if tool == "delete":
        edit = delete_object(labels, number)
    elif tool == "merge":
        edit = merge_objects(labels, numbers)
    elif tool == "grow":
        edit = grow_object(labels, number)
    else:
        number = number if len(numbers) == 1 else _longest_under(path, numbers)
        edit = split_object(labels, number, path.points)
    return path.in_classes(path.of_all_frames(edit), number)


def _longest_under(path: FramePath, numbers: list[int]) -> int:
    """Return the object that a path crosses longest."""
    a, b = path.points[0], path.points[-1]
    points = np.linspace(a, b, max(2, int(np.ceil(np.abs(b - a).max())) + 1))
    pixels = np.round(points).astype(int).clip(0, np.array(path.labels.shape) - 1)
    under = path.labels[tuple(pixels.T)]
    return max(numbers, key=lambda number: int(np.count_nonzero(under == number)))


def disk(
    centre: NDArray[np.floating[Any]], radius: float, shape: tuple[int, ...]
) -> tuple[NDArray[np.intp], ...]:
    """Return the pixels within a radius of a ``[Z]YX`` position, in its plane, as indices per axis.

    Pixels outside the shape are left out.
    """
    y, x = centre[-2:]
    rows = np.arange(max(0, int(y - radius)), min(shape[-2], int(y + radius) + 2))
    columns = np.arange(max(0, int(x - radius)), min(shape[-1], int(x + radius) + 2))
    grid = np.meshgrid(rows, columns, indexing="ij")
    near = (grid[0] - y) ** 2 + (grid[1] - x) ** 2 <= radius**2
    plane = (grid[0][near], grid[1][near])
    if len(shape) == 2:
        return plane
    z = int(np.clip(round(float(centre[0])), 0, shape[0] - 1))
    return (np.full(plane[0].size, z), *plane)


def write_edit(layer: Labels, frame: tuple[int, ...], edit: Edit) -> Change:
    """Make an edit of one frame as one step of napari's undo; return what became other."""
    leading = tuple(np.full(edit.values.size, at) for at in frame)
    at = (*leading, *edit.indices)
    before = np.asarray(labels_of(layer)[at])
    other = before != edit.values
    change = Change(tuple(each[other] for each in at), before[other], edit.values[other])
    if not change.empty:
        write_pixels(layer, change.at, change.after)
    return change


# --- Objects by their numbers: for who cannot point at them with a mouse ------------------------


def numbers_in(text: str) -> list[int]:
    """Read numbers of objects, as in ``3, 7``; LabelsError where the text holds something else."""
    words = [word for word in re.split(r"[\s,;]+", text.strip()) if word]
    odd = [word for word in words if not word.isascii() or not word.isdigit() or int(word) == 0]
    if odd:
        raise LabelsError(f"{odd[0][:40]!r} is no number of an object: write them as in 3, 7.")
    return [int(word) for word in words]


def path_through(
    viewer: Viewer, layer: Labels, numbers: Sequence[int], tool: str
) -> NDArray[np.float64]:
    """Return the path, (points, axes), that a mouse would take over objects of the plane on screen.

    "split" takes the first object only, and crosses it where it is narrow: through its middle,
    across its longer side. Any other tool takes a pixel of each. LabelsError if an object is not in
    this plane, or numbers stand for classes.
    """
    predicted = predicted_of(layer)
    if predicted is not None and task_of(predicted.kind).named:
        raise LabelsError(
            f"{layer.name} holds classes: their parts have no numbers. Use the mouse."
        )
    plane = plane_on_screen(viewer, layer)
    labels = np.asarray(layer.data)[plane]
    places = []
    for number in numbers:
        pixels = np.argwhere(labels == number).astype(float)
        if not len(pixels):
            raise LabelsError(f"There is no object {number} in the plane on screen.")
        places.append(_across(pixels) if tool == "split" else _inside(pixels))
    points = places[0] if tool == "split" else np.concatenate(places)
    return np.hstack([np.tile(plane, (len(points), 1)).astype(float), points])


def plane_on_screen(viewer: Viewer, layer: Labels) -> tuple[int, ...]:
    """Return which plane of a layer is on screen: its position along the other axes."""
    steps: Sequence[Any] = viewer.dims.current_step[-layer.ndim :]
    sizes = layer.data.shape[: layer.ndim - 2]
    return tuple(int(min(step, size - 1)) for step, size in zip(steps, sizes, strict=False))


def _inside(pixels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the pixel of an object that is nearest to its middle."""
    distance = ((pixels - pixels.mean(axis=0)) ** 2).sum(axis=1)
    return pixels[[int(distance.argmin())]]


def _across(pixels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a line through the middle of an object, across its longer side."""
    middle = pixels.mean(axis=0)
    _, directions = np.linalg.eigh(np.cov((pixels - middle).T) + 1e-9 * np.eye(2))
    reach = np.abs(pixels - middle).sum(axis=1).max() + 2
    line: NDArray[np.float64] = middle + reach * np.array([[-1.0], [1.0]]) * directions[:, 0]
    return line
