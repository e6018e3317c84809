"""Measure the objects of a label image: size, place, shape and intensity."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.errors import ImageError, LabelsError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from napari_unet.data.axes import ArrayLike

    Columns = dict[str, NDArray[Any]]

# Shapes need a convex hull per object: 5000 of them take some seconds.
_MOST_SHAPES = 5000
_POWER = {2: "²", 3: "³"}


def measure_objects(
    labels: NDArray[np.integer[Any]],
    image: ArrayLike | None = None,
    channel_axis: int | None = None,
    scale: Sequence[float] = (),
    units: Sequence[str] = (),
    spatial_ndim: int = 2,
) -> Columns:
    """Measure every object of a label image.

    Parameters
    ----------
    labels : ndarray
        Frame axes, then ``[Z]YX``; 0 background. A number that occurs in several frames is
        measured as one object, and listed in its first frame.
    image : ArrayLike, optional
        Pixels whose intensity is measured: the shape of the labels, and a channel axis where
        `channel_axis` is given. Lazy arrays are read frame by frame.
    channel_axis : int, optional
        Axis of `image` that the labels do not have.
    scale : sequence of float, optional
        Size of a pixel along each axis of the labels, in `units`.
    units : sequence of str, optional
        Unit of each axis; sizes are given in it where space has the same unit along all axes.
    spatial_ndim : int
        2 or 3: how many of the last axes are space.

    Returns
    -------
    dict of ndarray
        One entry per object in each column, ascending by "index", the object's number. "area" or
        "volume" in pixels, and in physical units where there is a scale; "frame" (flat index)
        where there are frame axes; "centroid y", "centroid x" ("centroid z") and "equivalent
        diameter" in pixels; "border": whether it touches the border of its frame; "mean
        intensity", "min intensity", "max intensity" of each channel; in 2D, for up to 5000
        objects, "eccentricity" and "solidity".

    Raises
    ------
    LabelsError
        The labels have fewer axes than space has.
    ImageError
        The image has another shape than the labels.
    """
    if labels.ndim < spatial_ndim:
        raise LabelsError(
            f"Labels {labels.shape} have too few axes for {spatial_ndim}D objects; measure in "
            f"{labels.ndim}D."
        )
    numbers = np.unique(labels)
    numbers = numbers[numbers > 0]
    _check_image(labels, image, channel_axis)
    tally = _Tally(numbers, spatial_ndim)
    frame_shape = labels.shape[: labels.ndim - spatial_ndim]
    shapes: list[Columns] = []
    for flat, frame in enumerate(np.ndindex(*frame_shape)):
        position = np.searchsorted(numbers, labels[frame])
        inside = labels[frame] > 0
        tally.add_places(flat, position, inside)
        for channel, pixels in enumerate(_channels_of(image, channel_axis, frame)):
            tally.add_intensities(channel, position[inside], pixels[inside])
        if spatial_ndim == 2 and len(numbers) <= _MOST_SHAPES:
            # Numbers may be sparse and huge; the table has a row for each number up to the largest.
            shapes.append(_shapes_of(np.where(inside, position + 1, 0)))
    columns: Columns = {"index": numbers}
    if frame_shape:
        columns["frame"] = tally.frame
    columns |= _sizes(tally.area, scale, units, spatial_ndim)
    for axis, name in enumerate("zyx"[-spatial_ndim:]):
        columns[f"centroid {name}"] = tally.sums[axis] / np.maximum(tally.area, 1)
    columns["border"] = tally.border
    return columns | tally.intensities() | _joined(shapes, len(numbers))


def _check_image(
    labels: NDArray[np.integer[Any]], image: ArrayLike | None, channel_axis: int | None
) -> None:
    if image is None:
        return
    shape = tuple(image.shape)
    if channel_axis is not None:
        shape = shape[:channel_axis] + shape[channel_axis + 1 :]
    if shape != labels.shape:
        raise ImageError(
            f"Image {tuple(image.shape)} does not match labels {labels.shape}; measure with the "
            "image that they belong to."
        )


class _Tally:
    """Sums over the pixels of each object, frame by frame; `numbers` are sorted."""

    def __init__(self, numbers: NDArray[Any], ndim: int) -> None:
        n = len(numbers)
        self._n = n
        self._channels: dict[int, tuple[NDArray[Any], ...]] = {}
        self.area = np.zeros(n, np.int64)
        self.sums = np.zeros((ndim, n))
        self.frame = np.full(n, -1)
        self.border = np.zeros(n, bool)

    def add_places(self, frame: int, position: NDArray[np.intp], inside: NDArray[np.bool_]) -> None:
        where = np.nonzero(inside)
        of = position[inside]
        count = np.bincount(of, minlength=self._n)
        self.area += count
        for axis, coordinate in enumerate(where):
            self.sums[axis] += np.bincount(of, coordinate, self._n)
        self.frame[(self.frame < 0) & (count > 0)] = frame
        edge = np.zeros(of.shape, bool)
        for coordinate, size in zip(where, inside.shape, strict=True):
            if size > 1 or len(where) == 2:  # a single plane is no border in z
                edge |= (coordinate == 0) | (coordinate == size - 1)
        self.border[of[edge]] = True

    def add_intensities(self, channel: int, of: NDArray[np.intp], pixels: NDArray[Any]) -> None:
        values = pixels.astype(np.float64)
        fresh = (np.zeros(self._n), np.full(self._n, np.inf), np.full(self._n, -np.inf))
        total, low, high = self._channels.setdefault(channel, fresh)
        total += np.bincount(of, values, self._n)
        np.minimum.at(low, of, values)
        np.maximum.at(high, of, values)

    def intensities(self) -> Columns:
        columns: Columns = {}
        for channel, (total, low, high) in self._channels.items():
            suffix = f" {channel}" if len(self._channels) > 1 else ""
            columns[f"mean intensity{suffix}"] = total / np.maximum(self.area, 1)
            columns[f"min intensity{suffix}"] = low
            columns[f"max intensity{suffix}"] = high
        return columns


def _channels_of(
    image: ArrayLike | None, channel_axis: int | None, frame: tuple[int, ...]
) -> Iterator[NDArray[Any]]:
    if image is None:
        return
    if channel_axis is None:
        yield np.asarray(image[frame])
        return
    index: list[Any] = list(frame)
    index.insert(channel_axis, slice(None))  # behind the frame where it is among the axes of space
    yield from np.moveaxis(np.asarray(image[tuple(index)]), max(channel_axis - len(frame), 0), 0)


def _sizes(
    area: NDArray[np.int64], scale: Sequence[float], units: Sequence[str], ndim: int
) -> Columns:
    name = "area" if ndim == 2 else "volume"
    diameter = _diameter(area.astype(float), ndim)
    columns: Columns = {name: area, "equivalent diameter": diameter}
    lengths = [abs(float(s)) for s in scale][-ndim:]  # negative where the layer is mirrored
    names = {str(u) for u in units[-ndim:]} or {"pixel"}
    unscaled = all(s == 1 for s in lengths) and names == {"pixel"}
    if len(lengths) == ndim and len(names) == 1 and not unscaled and np.all(lengths):
        unit = names.pop().replace("pixel", "scaled")
        physical = area * float(np.prod(lengths))
        columns[f"{name} ({unit}{_POWER[ndim]})"] = physical
        columns[f"equivalent diameter ({unit})"] = _diameter(physical, ndim)
    return columns


def _diameter(size: NDArray[np.floating[Any]], ndim: int) -> NDArray[Any]:
    diameter: NDArray[Any] = 2 * np.sqrt(size / np.pi) if ndim == 2 else np.cbrt(6 * size / np.pi)
    return diameter


def _shapes_of(labels: NDArray[np.integer[Any]]) -> Columns:
    if not labels.any():
        return {}
    from skimage.measure import regionprops_table  # on use: windows open without it

    with warnings.catch_warnings():  # objects of a few pixels have no hull: NaN says so
        warnings.simplefilter("ignore")
        names = ("label", "eccentricity", "solidity")
        table: Columns = regionprops_table(labels, properties=names)
    return table


def _joined(shapes: Sequence[Columns], n_objects: int) -> Columns:
    """Sort the shapes of all frames by object; where a number recurs the first frame counts."""
    columns: Columns = {}
    for table in shapes:
        for name in ("eccentricity", "solidity"):
            column = columns.setdefault(name, np.full(n_objects, np.nan))
            if table:
                at = table["label"] - 1
                column[at] = np.where(np.isnan(column[at]), table[name], column[at])
    return columns
