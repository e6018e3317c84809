"""Correct objects by their numbers: for who cannot point at them with a mouse."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.errors import LabelsError
from napari_unet.tasks import task_of
from napari_unet.widgets.common.result_layer import predicted_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.layers import Labels
    from napari.viewer import Viewer
    from numpy.typing import NDArray


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
    """Return the path that a mouse would take over objects of the plane on screen.

    Parameters
    ----------
    numbers : sequence of int
        Of objects in this plane.
    tool : str
        "split" takes the first object only, and crosses it where it is narrow: through its
        middle, across its longer side. Any other tool takes a pixel of each.

    Returns
    -------
    ndarray
        Shape (points, axes of the layer), in pixels.

    Raises
    ------
    LabelsError
        An object is not in this plane, or numbers stand for classes.
    """
    predicted = predicted_of(layer)
    if predicted is not None and task_of(predicted.kind).named:
        raise LabelsError(
            f"{layer.name} holds classes: their parts have no numbers. Use the mouse."
        )
    plane = _plane_on_screen(viewer, layer)
    labels = np.asarray(layer.data)[plane]
    places = []
    for number in numbers:
        pixels = np.argwhere(labels == number).astype(float)
        if not len(pixels):
            raise LabelsError(f"There is no object {number} in the plane on screen.")
        places.append(_across(pixels) if tool == "split" else _inside(pixels))
    points = places[0] if tool == "split" else np.concatenate(places)
    return np.hstack([np.tile(plane, (len(points), 1)).astype(float), points])


def _plane_on_screen(viewer: Viewer, layer: Labels) -> tuple[int, ...]:
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
