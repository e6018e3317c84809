"""Images seen on the network's own grid: cells of any size come to one that it knows.

A network sees some 70 to 140 pixels around each pixel, and knows cells of some 14 to 36 pixels
best. Larger cells come to that size by averaging pixels in the plane, at a fourth, a ninth ... of
the work; smaller ones by interpolating between them. Results come back at the full resolution.

*Binning* is how many pixels of the image a pixel of the network is long: any number, below 1 the
image is enlarged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy import ndimage as ndi
from skimage.measure import label as label_parts

from napari_unet.data.frames import grown, scaled_frame
from napari_unet.data.labels import BACKGROUND_VALUE, marked_boxes
from napari_unet.data.rescaling import plane_factors, scaled_size

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from napari_unet.data.axes import Region
    from napari_unet.data.frames import Frame
    from napari_unet.data.labels import Unpainted

# Cells of these diameters in pixels are seen as they are.
SMALLEST_COMFORTABLE, LARGEST_COMFORTABLE = 14.0, 36.0
# The starting models know these best, and smaller ones are brought there.
BEST_DIAMETER = 30.0
# Larger ones lose detail on the way. Ten painted cells at 38 and at 34 pixels, two images and two
# draws each, mean and worst F1: HeLa 0.87, 0.86 and 0.85, 0.69; U373 0.94, 0.88 and 0.89, 0.75. But
# T98G cells of 40 pixels, one image and two draws: 0.70 reduced by one step, 0.55 as they are.
REDUCED_DIAMETER = 38.0
# What is chosen for smaller cells, and the steps of what is chosen for larger ones.
ENLARGING = (0.25, 0.33, 0.5, 0.67)
REDUCING_STEP = 0.25
LARGEST_AUTOMATIC = 8.0

# What fills less of the square around it is a stroke, and cells are longer than their strokes.
_STROKE_FILL, _CELL_PER_STROKE = 0.3, 1.6
# A painted part is a whole cell where at least this share of what lies so near to it is painted;
# elsewhere it may be a dab or a stroke of the brush in a larger one.
_NEAR, _NEAR_SHARE = 3, 0.25
# So many parts of a plane, and up to twice as many, tell the typical size as well as all.
_MOST_PARTS = 1000


def binned_frame(frame: Frame, factor: float) -> Frame:
    """Return a frame on the network's grid; itself for 1."""
    return scaled_frame(frame, plane_factors(frame.ndim, factor))


def binned_labels(
    labels: NDArray[Any], factor: float, unpainted: Unpainted, box: Region | None = None
) -> NDArray[Any]:
    """Bring painted labels to the grid: each pixel of it takes the value of most paint in it.

    Where 0 is unlabelled, a pixel with any paint is painted. `box` is what to return of the grid.
    """
    if factor == 1:
        return labels if box is None else labels[box]
    samples = _samples(labels, factor, box)  # (m * m, [Z], Y, X)
    if len(samples) == 1:
        nearest: NDArray[Any] = samples[0]
        return nearest
    votes = np.zeros(samples.shape, np.uint8)
    for candidate in range(len(samples)):
        votes[candidate] = (samples == samples[candidate]).sum(axis=0)
    if unpainted == "unlabelled":
        votes[samples == 0] = 0
    winner = votes.argmax(axis=0)
    binned: NDArray[Any] = np.take_along_axis(samples, winner[np.newaxis], axis=0)[0]
    return binned


def binned_mask(
    mask: NDArray[np.bool_], factor: float, box: Region | None = None
) -> NDArray[np.bool_]:
    """Bring a mask to the grid, or a box of it: marked is what holds any marked pixel."""
    if factor == 1:
        return mask if box is None else mask[box]
    return np.asarray(_samples(mask, factor, box).any(axis=0), bool)


def typical_diameter(labels: Iterable[NDArray[Any]], unpainted: Unpainted) -> float:
    """Measure how large the painted objects are, in pixels of the labels; 0 where that is unclear.

    Each connected part counts by its width: by the diameter of the circle that is as large, which
    long cells have as well as round ones. Of strokes the cell is guessed that they lie in. Volumes
    are measured plane by plane.
    """
    parts = [part for plane in _planes(labels) for part in _parts(plane, unpainted)]
    known = [(part, size) for part in parts if (size := _diameter(part)) > 0]
    if not known:
        return 0.0
    # By length and not by area: one giant among three cells is not the typical one.
    return _weighted_median([size for _, size in known], [part.area**0.5 for part, _ in known])


def choose_binning(diameter: float, largest: float = LARGEST_AUTOMATIC) -> float:
    """Choose the binning, up to `largest`, at which cells have the best size; 1 if comfortable.

    `diameter` is that of a typical cell, in pixels of the image; 0: unknown.
    """
    if diameter == 0 or SMALLEST_COMFORTABLE <= diameter <= LARGEST_COMFORTABLE:
        return 1.0
    if diameter < SMALLEST_COMFORTABLE:
        return enlarging_for(diameter)
    stepped = round(diameter / REDUCED_DIAMETER / REDUCING_STEP) * REDUCING_STEP
    return float(min(max(stepped, 1.0 + REDUCING_STEP), largest))


def enlarging_for(diameter: float) -> float:
    """Return the enlargement at which a starting model is shown cells of a diameter; 1: none."""
    wanted = diameter / BEST_DIAMETER
    return min((*ENLARGING, 1.0), key=lambda factor: abs(np.log(factor / wanted)))


class _Part(NamedTuple):
    extent: int
    """The longer side of the box around it."""
    area: int
    outlined: bool
    """Whether one sees where the cell ends, and not only where the brush did."""


def _planes(labels: Iterable[NDArray[Any]]) -> Iterator[NDArray[Any]]:
    for image in labels:
        if image.size:
            yield from image.reshape(-1, *image.shape[-2:])


def _parts(plane: NDArray[Any], unpainted: Unpainted) -> Iterator[_Part]:
    """Find the connected parts, of very many a choice: one number may be painted in many places."""
    background = BACKGROUND_VALUE[unpainted]
    boxes = marked_boxes(plane > background)  # much of a plane may be empty
    boxes = boxes[:: max(1, len(boxes) // _MOST_PARTS)]
    for box in boxes:
        around = plane[grown(box, (_NEAR, _NEAR), plane.shape)]
        parts = label_parts(np.where(around > background, around, 0), background=0, connectivity=1)
        areas = np.bincount(parts.ravel())
        found = ndi.find_objects(parts)
        for number in range(1, len(found) + 1, max(1, len(found) * len(boxes) // _MOST_PARTS)):
            inside = found[number - 1]
            extent = max(side.stop - side.start for side in inside)
            outlined = unpainted == "background" or _is_surrounded(around, parts, number, inside)
            yield _Part(extent, int(areas[number]), outlined)


def _is_surrounded(
    plane: NDArray[Any], parts: NDArray[np.intp], number: int, inside: Region
) -> bool:
    """Return whether much of what lies near to a part is painted, as background or as others."""
    near = tuple(slice(max(0, side.start - _NEAR), side.stop + _NEAR) for side in inside)
    part = parts[near] == number
    ring = ndi.binary_dilation(part, iterations=_NEAR) & ~part
    return bool((plane[near][ring] > 0).sum() >= max(1, _NEAR_SHARE * ring.sum()))


def _diameter(part: _Part) -> float:
    """Estimate the diameter of the cell that a painted part belongs to; 0 where that is unclear."""
    round_one = float(2 * np.sqrt(part.area / np.pi))
    if part.outlined:  # rods and threads must not become too thin
        return min(round_one, 2 * part.area / part.extent)
    if part.extent < SMALLEST_COMFORTABLE:  # a small cell, or a dab in a large one
        return 0.0
    if part.area >= _STROKE_FILL * part.extent**2:
        return round_one
    return part.extent * _CELL_PER_STROKE  # a stroke; thin cells are no wider than one


def _weighted_median(values: Sequence[float], weights: Sequence[float]) -> float:
    """Return the value at which half of the weight is reached: crumbs count little."""
    order = np.argsort(values)
    reached = np.cumsum(np.asarray(weights)[order])
    return float(np.asarray(values)[order][np.searchsorted(reached, reached[-1] / 2)])


def _samples(labels: NDArray[Any], factor: float, box: Region | None) -> NDArray[Any]:
    """Return pixels that each pixel of the grid covers, shape (N, [Z], Y, X).

    They lie less than a pixel apart, so that none is missed; of whole factors they are all. Of
    others the one in the middle is there twice, and first: it decides where there is a tie.
    """
    if box is not None:
        labels = labels[tuple(box[:-2])]
    per_axis = max(1, int(np.ceil(factor)))
    shares = [(i + 0.5) / per_axis for i in range(per_axis)]
    places = [(y, x) for y in shares for x in shares]
    if factor > 1 and factor != int(factor):
        places.insert(0, (0.5, 0.5))
    parts = [None, None] if box is None else list(box[-2:])
    at = [
        {share: _positions(size, factor, share, part) for share in (0.5, *shares)}
        for size, part in zip(labels.shape[-2:], parts, strict=True)
    ]
    return np.stack([labels.take(at[0][y], -2).take(at[1][x], -1) for y, x in places])


def _positions(size: int, factor: float, share: float, part: slice | None) -> NDArray[np.intp]:
    """Return which pixels of an axis lie at a share of the pixels of the grid."""
    part = slice(0, scaled_size(size, factor)) if part is None else part
    positions = ((np.arange(part.start, part.stop) + share) * factor).astype(np.intp)
    return np.minimum(positions, size - 1)  # beyond the edge it is repeated
