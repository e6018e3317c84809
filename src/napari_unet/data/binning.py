"""Images seen at a lower resolution: large cells fit the network's field of view, and go fast.

A network sees some 70 to 140 pixels around each pixel. Cells that are larger than that it cannot
know as a whole. Averaging blocks of 2x2, 3x3 ... pixels in the plane brings them to the size that
it can, at a fourth, a ninth ... of the work. Results come back at the full resolution.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage as ndi
from skimage.measure import label as label_parts

from napari_unet.data.labels import BACKGROUND_VALUE
from napari_unet.data.paint import paint_box
from napari_unet.data.rescaling import plane_factors, scaled_frame

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

    from napari_unet.data.axes import Region
    from napari_unet.data.frames import Frame
    from napari_unet.data.labels import ClassTable, Unpainted

# The longer side of a typical object after binning, in pixels.
_COMFORTABLE_EXTENT = 44
# What fills less of the square around it is a stroke, and cells are longer than their strokes.
_STROKE_FILL, _CELL_PER_STROKE = 0.3, 1.6


def binned_frame(frame: Frame, factor: int) -> Frame:
    """Return a frame binned in the plane by a factor; itself for 1."""
    return scaled_frame(frame, plane_factors(frame.ndim, factor))


def binned_labels(labels: NDArray[Any], factor: int, table: ClassTable) -> NDArray[Any]:
    """Bin painted labels: each block takes the value that most of its painted pixels have.

    Parameters
    ----------
    labels : ndarray
        ``[Z]YX``, any integer dtype.
    factor : int
        Edge length of the blocks along Y and X.
    table : ClassTable
        Whether 0 is unlabelled: then a block with any paint is painted.
    """
    if factor == 1:
        return labels
    blocks = _blocks(labels, factor)  # (k * k, [Z], Y, X)
    votes = np.zeros(blocks.shape, np.uint8)
    for candidate in range(len(blocks)):
        votes[candidate] = (blocks == blocks[candidate]).sum(axis=0)
    if table.unpainted == "unlabelled":
        votes[blocks == 0] = 0
    winner = votes.argmax(axis=0)
    binned: NDArray[Any] = np.take_along_axis(blocks, winner[np.newaxis], axis=0)[0]
    return binned


def binned_mask(mask: NDArray[np.bool_], factor: int) -> NDArray[np.bool_]:
    """Bin a mask: a block is marked where any of its pixels is."""
    if factor == 1:
        return mask
    return np.asarray(_blocks(mask, factor).any(axis=0), bool)


def choose_binning(
    labels: Iterable[NDArray[Any]], table: ClassTable, ndim: int, largest: int
) -> int:
    """Choose the binning at which the painted objects have a comfortable size.

    The longer side of the bounding box of each connected part counts, by its area: strokes along
    a cell tell its size as well.

    Parameters
    ----------
    labels : iterable of ndarray
        Painted labels, frame axes then ``[Z]YX``.
    table : ClassTable
        With classes the size of objects is unknown: 1.
    ndim : int
        Spatial dimensions; volumes are left alone, since they are small along Z already.
    largest : int
        The binning is 1 to this.
    """
    if table.kind != "objects" or ndim != 2:
        return 1
    extent = painted_extent(labels, table)
    return int(np.clip(round(extent / _COMFORTABLE_EXTENT), 1, largest)) if extent else 1


def painted_diameter(labels: Iterable[NDArray[Any]], table: ClassTable) -> float:
    """Return the diameter of the painted objects in pixels: of the circle as large; 0: unknown."""
    return _painted_size(labels, table, _diameter)


def painted_extent(labels: Iterable[NDArray[Any]], table: ClassTable) -> float:
    """Return the longer side of the painted objects in pixels; 0: unknown."""
    return _painted_size(labels, table, _cell_size)


def _painted_size(
    labels: Iterable[NDArray[Any]],
    table: ClassTable,
    size_of: Callable[[Region, int, Unpainted], float],
) -> float:
    """Return the size of a typical connected part, by area."""
    if table.kind != "objects":
        return 0.0
    sizes: list[float] = []
    areas: list[int] = []
    for image in labels:
        if not image.size:
            continue
        for plane in image.reshape(-1, *image.shape[-2:]):
            boxes, found = _parts(plane, BACKGROUND_VALUE[table.unpainted])
            sizes += [
                size_of(box, area, table.unpainted) for box, area in zip(boxes, found, strict=True)
            ]
            areas += found
    return _weighted_median(sizes, areas) if sizes else 0.0


def _diameter(box: Region, area: int, unpainted: Unpainted) -> float:
    """Estimate the diameter of the cell that a painted part belongs to."""
    extent = float(max(side.stop - side.start for side in box))
    if area < _STROKE_FILL * extent**2 and unpainted == "unlabelled":
        return extent  # a stroke of a cell, which may be longer than wide
    return float(2 * np.sqrt(area / np.pi))


def _cell_size(box: Region, area: int, unpainted: Unpainted) -> float:
    """Estimate the longer side of the cell that a painted part belongs to."""
    extent = float(max(side.stop - side.start for side in box))
    if area >= _STROKE_FILL * extent**2:
        return extent
    if unpainted == "unlabelled":  # a stroke; thin cells are no wider than one
        return extent * _CELL_PER_STROKE
    return float(np.sqrt(area))  # a rod or a thread, which must not become too thin


def _parts(plane: NDArray[Any], background: int) -> tuple[list[Region], list[int]]:
    """Find boxes and areas of the connected parts: one number may be painted in many places."""
    box = paint_box(plane)  # parts are the same there, and much of a plane may be empty
    if box is None:
        return [], []
    plane = plane[box]
    painted = np.where(plane > background, plane, 0)
    if not painted.any():
        return [], []
    _, numbers = np.unique(painted, return_inverse=True)
    parts = label_parts(numbers.reshape(plane.shape), background=0, connectivity=1)
    areas = np.bincount(parts.ravel())[1:]
    return ndi.find_objects(parts), areas.tolist()


def _weighted_median(values: Sequence[float], weights: Sequence[int]) -> float:
    """Return the value at which half of the weight is reached: debris counts little."""
    order = np.argsort(values)
    reached = np.cumsum(np.asarray(weights)[order])
    return float(np.asarray(values)[order][np.searchsorted(reached, reached[-1] / 2)])


def _blocks(labels: NDArray[Any], factor: int) -> NDArray[Any]:
    """Return shape (factor * factor, [Z], Y, X); cut blocks see the edge repeated."""
    height, width = labels.shape[-2:]
    rest = [(0, 0)] * (labels.ndim - 2) + [(0, -height % factor), (0, -width % factor)]
    padded = np.pad(labels, rest, mode="edge")
    return np.stack(
        [
            padded[..., row::factor, column::factor]
            for row in range(factor)
            for column in range(factor)
        ]
    )
