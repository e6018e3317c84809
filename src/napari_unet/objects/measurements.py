"""Measure the objects of a label image: size, place, shape and intensity."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.data.axes import UNKNOWN_SIZE, check_pixel_size, micrometres
from napari_unet.data.labels import check_labels
from napari_unet.errors import ARRAY, TEXT, ImageError, LabelsError, accepting

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from napari_unet.data.axes import ArrayLike, PixelSize
    from napari_unet.data.labels import IntArray

    Columns = dict[str, NDArray[Any]]

# Shapes need a convex hull per object: 5000 of them take some seconds.
_MOST_SHAPES = 5000
MEASURABLE_AXES = ("YX", "ZYX", "TYX", "TZYX")
SIZE = "size"  # a column, until it is an area or a volume
_POWER = {2: "²", 3: "³"}


@accepting(image=ARRAY, axes=TEXT)
def measure(
    labels: IntArray,
    image: ArrayLike | None = None,
    *,
    axes: str | None = None,
    pixel_size: PixelSize = UNKNOWN_SIZE,
) -> Columns:
    """Measure every object of a label image, and of a movie every object in each frame.

    Parameters
    ----------
    labels : ndarray
        ``YX``, ``ZYX``, ``TYX`` or ``TZYX`` integers; 0 is background.
    image : ArrayLike, optional
        Whose intensities are measured: of the shape of `labels`, or with a channel axis more.
    axes : str, optional
        Axes of `labels`; by their number YX, ZYX or TZYX by default.
    pixel_size : mapping of str to float, optional
        Micrometres along "Z", "Y" and "X".

    Returns
    -------
    dict of ndarray
        Columns, as for ``pandas.DataFrame``; see `measure_objects`.

    Raises
    ------
    ConfigError
        A pixel size is none.
    LabelsError
        The labels are no integers, some are negative, or the axes do not fit.
    ImageError
        The image has another shape than the labels.

    Examples
    --------
    >>> labels = np.zeros((8, 8), int)
    >>> labels[2:6, 2:5] = 1
    >>> nu.measure(labels, pixel_size={"Y": 0.5, "X": 0.5})["area (µm²)"]
    array([3.])
    """
    labels = check_labels(labels)
    axes = measurable_axes(labels, axes)
    check_pixel_size(pixel_size)
    return measure_objects(
        labels,
        image,
        None if image is None else channel_axis_beside(image.shape, labels.shape),
        scale=[pixel_size.get(axis, 1.0) for axis in axes],
        units=["µm" if axis in pixel_size else "pixel" for axis in axes],
        spatial_ndim=3 if "Z" in axes else 2,
    )


def measurable_axes(labels: IntArray, axes: str | None) -> str:
    """Return the axes of labels, by their number where none are named; see `measure`."""
    axes = axes or {2: "YX", 3: "ZYX", 4: "TZYX"}.get(labels.ndim, "")
    if axes not in MEASURABLE_AXES or len(axes) != labels.ndim:
        raise LabelsError(
            f"Labels of shape {labels.shape} and axes {axes!r} cannot be measured; use "
            f"{', '.join(MEASURABLE_AXES)}, without channels."
        )
    return axes


def channel_axis_beside(image_shape: Sequence[int], labels_shape: Sequence[int]) -> int | None:
    """Return which axis of an image its labels lack; None where there is none, or not just one."""
    shape, wanted = tuple(image_shape), tuple(labels_shape)
    axes = (axis for axis in range(len(shape)) if shape[:axis] + shape[axis + 1 :] == wanted)
    return next(axes, None)


def measure_objects(
    labels: IntArray,
    image: ArrayLike | None = None,
    channel_axis: int | None = None,
    scale: Sequence[float] = (),
    units: Sequence[str] = (),
    spatial_ndim: int = 2,
) -> Columns:
    """Measure every object of a label image, in each frame of its own.

    Parameters
    ----------
    labels : ndarray
        Frame axes, then ``[Z]YX``; 0 background.
    image : ArrayLike, optional
        Pixels whose intensity is measured: the shape of the labels, and a channel axis where
        `channel_axis` is given. Lazy arrays are read frame by frame.
    channel_axis : int, optional
        Axis of `image` that the labels do not have.
    scale : sequence of float, optional
        Size of a pixel along each axis of the labels, in `units`.
    units : sequence of str, optional
        Unit of each axis: lengths become micrometres, whatever unit they are given in.
    spatial_ndim : int
        2 or 3: how many of the last axes are space.

    Returns
    -------
    dict of ndarray
        One row per object and frame in each column, ascending by "index", the object's number,
        then by frame. "frame" (flat index) where there are frame axes; "area" or "volume" in
        pixels, and in physical units where there is a scale; "centroid y", "centroid x"
        ("centroid z") and "equivalent diameter" in pixels; "border": whether it touches the border
        of its frame; "mean intensity", "min intensity", "max intensity" of each channel; in 2D, for
        up to 5000 rows, "eccentricity" and "solidity".

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
    check_image_of_labels(labels, image, channel_axis)
    frame_shape = labels.shape[: labels.ndim - spatial_ndim]
    tables: list[Columns] = []
    n_rows = 0
    for flat, (frame, numbers, ranks) in enumerate(objects_by_frame(labels, spatial_ndim)):
        n_rows += len(numbers)
        table = {"index": numbers, "frame": np.full(len(numbers), flat), **places_of(ranks)}
        table |= intensities_of(ranks, list(channels_in_frame(image, channel_axis, frame)))
        if spatial_ndim == 2 and n_rows <= _MOST_SHAPES:
            table |= _shapes_of(ranks)
        tables.append(table)
    columns = one_table(tables)
    frame_numbers, size = columns.pop("frame"), columns.pop(SIZE)
    return {
        "index": columns.pop("index"),
        **({"frame": frame_numbers} if frame_shape else {}),
        **sizes_of(size, scale, units, spatial_ndim),
        **columns,
    }


def objects_by_frame(
    labels: IntArray, spatial_ndim: int
) -> Iterator[tuple[tuple[int, ...], IntArray, NDArray[np.intp]]]:
    """Yield where each frame is, and what `numbered` returns of it."""
    for frame in np.ndindex(*labels.shape[: labels.ndim - spatial_ndim]):
        yield frame, *numbered(labels[frame])


def numbered(plane: IntArray) -> tuple[IntArray, NDArray[np.intp]]:
    """Return the numbers of the objects of a frame, and its pixels counted from 1 in their order.

    Numbers may be sparse and huge.
    """
    numbers = np.unique(plane)
    numbers = numbers[numbers > 0]
    return numbers, np.where(plane > 0, np.searchsorted(numbers, plane) + 1, 0)


def check_image_of_labels(
    labels: IntArray, image: ArrayLike | None, channel_axis: int | None
) -> None:
    """Refuse, by ImageError, an image of another shape than the labels."""
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


def places_of(ranks: NDArray[np.intp]) -> Columns:
    """Return size, centroid, and whether it touches the border, of the objects 1..N of a frame."""
    where = np.nonzero(ranks)
    of = ranks[where] - 1
    size = np.bincount(of)
    columns: Columns = {SIZE: size}
    edge = np.zeros(of.shape, bool)
    names = "zyx"[-ranks.ndim :]
    for name, coordinate, length in zip(names, where, ranks.shape, strict=True):
        columns[f"centroid {name}"] = np.bincount(of, coordinate) / size
        if length > 1 or ranks.ndim == 2:  # a single plane is no border in z
            edge |= (coordinate == 0) | (coordinate == length - 1)
    columns["border"] = np.bincount(of, edge) > 0
    return columns


def intensities_of(ranks: NDArray[np.intp], channels: Sequence[NDArray[Any]]) -> Columns:
    """Return mean, least and largest grey value of the objects 1..N of a frame, per channel."""
    inside = ranks > 0
    of = ranks[inside] - 1
    n_objects = int(ranks.max(initial=0))
    columns: Columns = {}
    for channel, pixels in enumerate(channels):
        values = pixels[inside].astype(np.float64)
        low, high = np.full(n_objects, np.inf), np.full(n_objects, -np.inf)
        with np.errstate(invalid="ignore"):  # NaN stays NaN
            np.minimum.at(low, of, values)
            np.maximum.at(high, of, values)
        suffix = f" {channel}" if len(channels) > 1 else ""
        columns[f"mean intensity{suffix}"] = np.bincount(of, values) / np.bincount(of)
        columns[f"min intensity{suffix}"] = low
        columns[f"max intensity{suffix}"] = high
    return columns


def channels_in_frame(
    image: ArrayLike | None, channel_axis: int | None, frame: tuple[int, ...]
) -> Iterator[NDArray[Any]]:
    """Yield the channels of one frame of an image, each of the shape of the frame's labels."""
    if image is None:
        return
    if channel_axis is None:
        yield np.asarray(image[frame])
        return
    index: list[Any] = list(frame)
    index.insert(channel_axis, slice(None))  # behind the frame where it is among the axes of space
    yield from np.moveaxis(np.asarray(image[tuple(index)]), max(channel_axis - len(frame), 0), 0)


def sizes_of(pixels: IntArray, scale: Sequence[float], units: Sequence[str], ndim: int) -> Columns:
    """Return area or volume and diameter of objects of so many pixels; see `measure_objects`."""
    name = "area" if ndim == 2 else "volume"
    columns: Columns = {name: pixels, "equivalent diameter": _diameter(pixels.astype(float), ndim)}
    lengths = [abs(float(s)) for s in scale][-ndim:]  # negative where the layer is mirrored
    names = [str(unit) for unit in units[-ndim:]] or ["pixel"] * ndim
    sizes = [micrometres(length, unit) for length, unit in zip(lengths, names, strict=False)]
    unit, known = "µm", [size for size in sizes if size is not None]
    if not known and len(set(names)) == 1 and any(length != 1 for length in lengths):
        unit, known = names[0].replace("pixel", "scaled"), lengths
    if len(known) == ndim and all(known):
        physical = pixels * float(np.prod(known))
        columns[f"{name} ({unit}{_POWER[ndim]})"] = physical
        columns[f"equivalent diameter ({unit})"] = _diameter(physical, ndim)
    return columns


def _diameter(size: NDArray[np.floating[Any]], ndim: int) -> NDArray[Any]:
    diameter: NDArray[Any] = 2 * np.sqrt(size / np.pi) if ndim == 2 else np.cbrt(6 * size / np.pi)
    return diameter


def _shapes_of(ranks: NDArray[np.intp]) -> Columns:
    if not ranks.any():
        return {"eccentricity": np.zeros(0), "solidity": np.zeros(0)}
    from skimage.measure import regionprops_table  # on use: windows open without it

    with warnings.catch_warnings():  # objects of a few pixels have no hull: NaN says so
        warnings.simplefilter("ignore")
        table: Columns = regionprops_table(ranks, properties=("eccentricity", "solidity"))
    return table


def one_table(tables: Sequence[Columns]) -> Columns:
    """Join the rows of all frames, by object; columns that one of them lacks are left out."""
    common = [name for name in tables[0] if all(name in table for table in tables)]
    columns = {name: np.concatenate([table[name] for table in tables]) for name in common}
    order = np.argsort(columns["index"], kind="stable")
    return {name: column[order] for name, column in columns.items()}
