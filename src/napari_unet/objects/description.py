"""Describe every object by numbers that tell kinds apart: size, shape, grey values, neighbours.

All objects of a frame are described at once, by sums over pixels: 10,000 take seconds. Texture is
how grey values differ between pixels of one object that lie 1, 2 and 4 apart, so that nothing
outside an object counts. All lengths are in pixels along x, as a network sees them.
"""

from __future__ import annotations

from itertools import combinations_with_replacement
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.ndimage import maximum_filter
from scipy.spatial import cKDTree

from napari_unet.objects.measurements import (
    SIZE,
    channels_in_frame,
    check_image_of_labels,
    intensities_of,
    numbered,
    one_table,
    places_of,
)
from napari_unet.run import PartsDone, Run

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from napari_unet.data.axes import ArrayLike
    from napari_unet.data.labels import IntArray

    Columns = dict[str, NDArray[Any]]
    Ranks = NDArray[np.intp]

CENTRES = "centroid z", "centroid y", "centroid x"
KEYS = "index", "frame", *CENTRES  # which object a row is, and where; all else describes it
_DISTANCES = (1, 2, 4)  # pixels between which grey values are compared
_FEWEST_INSIDE = 9  # pixels without those at the rim, else the rim counts too
_RIM = 3  # pixels around an object, with which it is compared
_NEAREST = 3  # neighbours
_NEIGHBOURHOOD = 2.5  # diameters of a usual object


def describe_objects(
    labels: IntArray,
    image: ArrayLike | None = None,
    channel_axis: int | None = None,
    scale: Sequence[float] = (),
    spatial_ndim: int = 2,
) -> Columns:
    """Describe every object of a label image, in each frame of its own.

    Parameters are those of `measure_objects`; of `scale` only the ratios count. One row per object
    and frame, ordered as there: "index", "frame" (flat), the centroid in pixels, and columns of
    floats that describe it, NaN where an object has no such property, for example a neighbour.
    """
    return one_table(Run(describing(labels, image, channel_axis, scale, spatial_ndim)).finish())


def describing(
    labels: IntArray,
    image: ArrayLike | None = None,
    channel_axis: int | None = None,
    scale: Sequence[float] = (),
    spatial_ndim: int = 2,
    known: Mapping[int, Columns] | None = None,
) -> Generator[PartsDone, None, list[Columns]]:
    """Do what `describe_objects` does, and tell how far it is; return a table of each frame.

    Those in `known`, by their flat index, are taken as they are.
    """
    check_image_of_labels(labels, image, channel_axis)
    lengths = np.array([abs(float(each)) for each in scale][-spatial_ndim:] or [1.0] * spatial_ndim)
    frames = list(np.ndindex(*labels.shape[: labels.ndim - spatial_ndim]))
    tables, known = [], known or {}
    for flat, frame in enumerate(frames):
        table = known.get(flat)
        if table is None:
            yield PartsDone(flat, len(frames))
            numbers, ranks = numbered(np.asarray(labels[frame]))
            channels = list(channels_in_frame(image, channel_axis, frame))
            parts = Run(_described(ranks, channels, lengths / lengths[-1]))
            for _ in parts:
                yield PartsDone(flat, len(frames))
            table = {"index": numbers, "frame": np.full(len(numbers), flat), **parts.result}
        tables.append(table)
    return tables


def _described(
    ranks: Ranks, channels: list[NDArray[Any]], pixel: NDArray[np.float64]
) -> Generator[None, None, Columns]:
    """Describe the objects 1..N of a frame; yields now and then, so that it can be left."""
    places = places_of(ranks)
    size = places[SIZE].astype(float)
    n_objects, rim = len(size), _at_rim(ranks)
    yield
    measured = intensities_of(ranks, channels)
    columns: Columns = {"size": size * np.prod(pixel)}
    columns |= _shape(ranks, size, pixel)
    yield
    n_rim = np.bincount(ranks[rim], minlength=n_objects + 1)[1:]
    columns["outline"] = n_rim / size ** ((ranks.ndim - 1) / ranks.ndim)
    large = np.concatenate([[False], size - n_rim >= _FEWEST_INSIDE])
    inner = np.where(rim & large[ranks], 0, ranks)
    around = (1,) * (ranks.ndim - 2) + (2 * _RIM + 1,) * 2
    outside = np.where(ranks > 0, 0, maximum_filter(ranks.astype(np.int32), around))
    for number, pixels in enumerate(channels):
        suffix = f" {number}" if len(channels) > 1 else ""
        grey = pixels.astype(np.float64)
        found = _greys(inner, grey, n_objects)
        mean = measured[f"mean intensity{suffix}"]
        found["contrast to outside"] = mean - _means(outside, grey, n_objects)
        columns |= {f"{name}{suffix}": column for name, column in found.items()}
        yield
    columns |= measured
    where = {name: places[name] for name in CENTRES[-ranks.ndim :]}
    centres = np.stack([*where.values()], axis=1)
    beside = {name: columns[name] for name in ("size", *measured) if name[:3] not in ("min", "max")}
    return where | columns | _neighbours(centres * pixel, beside, ranks.ndim)


def _at_rim(ranks: Ranks) -> NDArray[np.bool_]:
    """Return which pixels of objects lie beside others, in their plane."""
    rim = np.zeros(ranks.shape, bool)
    for here, there in _pairs(ranks.ndim, 1):
        differ = ranks[here] != ranks[there]
        rim[here] |= differ
        rim[there] |= differ
    return rim & (ranks > 0)


def _pairs(ndim: int, distance: int) -> Iterator[tuple[tuple[Any, ...], tuple[Any, ...]]]:
    """Yield what selects the first and the second pixel of pairs along y, and along x."""
    for axis in (ndim - 2, ndim - 1):
        whole: list[Any] = [slice(None)] * ndim
        first, second = whole.copy(), whole.copy()
        first[axis], second[axis] = slice(None, -distance), slice(distance, None)
        yield tuple(first), tuple(second)


def _shape(ranks: Ranks, size: NDArray[Any], pixel: NDArray[np.float64]) -> Columns:
    """Return the axes of the ellipses that objects are nearest to, and how full these are."""
    where = np.nonzero(ranks)
    of, n_objects, ndim = ranks[where] - 1, len(size), ranks.ndim
    places = [each * length for each, length in zip(where, pixel, strict=True)]
    for each in places:
        each -= (np.bincount(of, each, n_objects) / size)[of]
    spread = np.zeros((n_objects, ndim, ndim))
    for a, b in combinations_with_replacement(range(ndim), 2):
        own = pixel[a] ** 2 / 12 if a == b else 0  # a pixel is no point
        moment = np.bincount(of, places[a] * places[b], n_objects) / size + own
        spread[:, a, b] = spread[:, b, a] = moment
    lengths = 2 * np.sqrt((ndim + 2) * np.linalg.eigvalsh(spread).clip(min=0))
    ellipse = np.prod(lengths, axis=1) * (np.pi / 4 if ndim == 2 else np.pi / 6)
    return {
        "length": lengths[:, -1],
        "width": lengths[:, 0],
        "roundness": lengths[:, 0] / lengths[:, -1],
        "fullness": size * np.prod(pixel) / ellipse,
    }


def _greys(ranks: Ranks, grey: NDArray[np.float64], n_objects: int) -> Columns:
    """Return how the grey values inside objects are spread, and their texture."""
    inside = ranks > 0
    of, values = ranks[inside] - 1, grey[inside]
    count = np.bincount(of, minlength=n_objects)
    with np.errstate(invalid="ignore", divide="ignore"):
        values = values - (np.bincount(of, values, n_objects) / count)[of]
        powers = [np.bincount(of, values**power, n_objects) / count for power in (2, 3, 4)]
        deviation = np.sqrt(powers[0])
        columns: Columns = {
            "deviation": deviation,
            "skewness": powers[1] / deviation**3,
            "peaks": powers[2] / deviation**4,
        }
        for distance in _DISTANCES:
            along = [
                _mean_of_pairs(ranks, grey, here, there, n_objects)
                for here, there in _pairs(ranks.ndim, distance)
            ]
            columns[f"roughness {distance}"] = (along[0] + along[1]) / (2 * deviation)
            columns[f"stripes {distance}"] = abs(along[0] - along[1]) / (along[0] + along[1])
    return columns


def _mean_of_pairs(
    ranks: Ranks, grey: NDArray[np.float64], here: Any, there: Any, n_objects: int
) -> NDArray[np.float64]:
    """Return how much grey values differ between two pixels of one object, of all such pairs."""
    same = (ranks[here] == ranks[there]) & (ranks[here] > 0)
    of = ranks[here][same]
    differences = np.abs(grey[there][same] - grey[here][same])
    total = np.bincount(of, differences, n_objects + 1)[1:]
    mean: NDArray[np.float64] = total / np.bincount(of, minlength=n_objects + 1)[1:]
    return mean


def _means(ranks: Ranks, grey: NDArray[np.float64], n_objects: int) -> NDArray[np.float64]:
    inside = ranks > 0
    total = np.bincount(ranks[inside], grey[inside], n_objects + 1)[1:]
    with np.errstate(invalid="ignore", divide="ignore"):
        means: NDArray[np.float64] = total / np.bincount(ranks[inside], minlength=n_objects + 1)[1:]
    return means


def _neighbours(centres: NDArray[np.float64], of_each: Columns, ndim: int) -> Columns:
    """Return how far and how many neighbours are, and how an object differs from the nearest."""
    n_objects = len(centres)
    names = [f"{name} beside neighbours" for name in of_each]
    if n_objects < 2:
        unknown = np.full(n_objects, np.nan)
        named = ("neighbour distance", "neighbourhood", *names)
        return {"neighbours": np.zeros(n_objects), **dict.fromkeys(named, unknown)}
    tree = cKDTree(centres)
    distances, nearest = tree.query(centres, k=min(_NEAREST, n_objects - 1) + 1)
    distances, nearest = distances[:, 1:], nearest[:, 1:]
    usual = np.median(of_each["size"])
    diameter = 2 * np.sqrt(usual / np.pi) if ndim == 2 else np.cbrt(6 * usual / np.pi)
    near = tree.query_ball_point(centres, _NEIGHBOURHOOD * diameter, return_length=True)
    columns: Columns = {
        "neighbours": near.astype(float) - 1,
        "neighbour distance": distances[:, 0],
        "neighbourhood": distances.mean(axis=1),
    }
    for name, (what, column) in zip(names, of_each.items(), strict=True):
        others = column[nearest].mean(axis=1)
        columns[name] = column / others if what == "size" else column - others
    return columns
