"""Objects for other programs, in whichever format these read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.data.axes import UNKNOWN_SIZE
from napari_unet.data.labels import check_labels
from napari_unet.errors import ARRAY, MAPPING, PATH, TEXT, LabelsError, accepting
from napari_unet.io.annotations.coco import coco
from napari_unet.io.annotations.ctc import write_ctc
from napari_unet.io.annotations.formats import ConvertConfig, axes_for, format_of
from napari_unet.io.annotations.geff import write_geff
from napari_unet.io.annotations.geojson import geojson
from napari_unet.io.annotations.rois import roi_zip
from napari_unet.io.disk import write_csv, write_file
from napari_unet.io.files import write_labels
from napari_unet.objects.measurements import measure

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from napari_unet.data.axes import ArrayLike, PixelSize
    from napari_unet.io.annotations.formats import ObjectFormat

_KEYS = "index", "frame"


@accepting(
    path=PATH, to=TEXT, axes=TEXT, names=MAPPING, colours=MAPPING, image=ARRAY, pixel_size=MAPPING,
    parents=MAPPING, classes=MAPPING,
)  # fmt: skip
def write_objects(
    path: str | os.PathLike[str],
    labels: NDArray[Any],
    to: ObjectFormat | None = None,
    *,
    axes: str | None = None,
    names: Mapping[int, str] | None = None,
    colours: Mapping[int, str] | None = None,
    image: ArrayLike | None = None,
    pixel_size: PixelSize | None = None,
    parents: Mapping[int, int] | None = None,
    classes: Mapping[str, NDArray[Any]] | None = None,
) -> None:
    """Write the objects of a label image for another program: a file at once or not at all.

    =========  ==================================================================================
    labels     TIFF of numbers: Fiji, CellProfiler, StarDist, Cellpose
    roi        ZIP of ROIs for ImageJ's ROI Manager, "0001" and on, each in its plane
    geojson    detections for QuPath, with the area of each where no image is given
    coco       COCO JSON: polygons, and run lengths for objects with holes
    csv        table of measurements
    ctc        result folder of the Cell Tracking Challenge: frames and ``res_track.txt``
    geff       tracks as a graph (Graph Exchange File Format): a Zarr folder
    =========  ==================================================================================

    Parameters
    ----------
    path : path
        The file; for "ctc" and "geff" the folder.
    labels : ndarray
        ``YX``, ``ZYX``, ``TYX`` or ``TZYX`` integers: objects, or classes; 0 is background.
    to : {"labels", "roi", "geojson", "coco", "csv", "ctc", "geff"}, optional
        The format; by the suffix of `path` by default.
    axes : str, optional
        Axes of `labels`; by their number by default.
    names, colours : mapping of int to str, optional
        Class of each number, and its colour as ``#rrggbb``.
    image : ArrayLike, optional
        Of the shape of `labels`, or with channels: its intensities are measured for "csv" and
        "geojson".
    pixel_size : mapping of str to float, optional
        Micrometres along "Z", "Y" and "X": written into TIFF, and a unit of measurements.
    parents : mapping of int to int, optional
        For "ctc" and "geff": mother of each daughter, as `link` finds them.
    classes : mapping of str to ndarray, optional
        For "csv" and "geojson", of objects that were classified: columns "index", where there are
        frames "frame", "class" and others, as of `classify_objects`; "colour" is that of the class.

    Raises
    ------
    ConfigError
        There is no such format or axes, or a pixel size is none.
    LabelsError
        The labels are no integers, some are negative, or the format cannot hold them.
    FileProblemError
        The file cannot be written.
    """
    path = Path(path).expanduser()
    to = to or format_of(path)
    sizes = pixel_size or UNKNOWN_SIZE
    ConvertConfig(to, axes=axes, pixel_size=sizes)
    labels = check_labels(labels)
    axes = axes_for(labels.shape, axes)
    found = _checked(classes or {})
    if to == "labels":
        write_labels(path, _small(labels), axes, sizes)
    elif to == "ctc":
        write_ctc(labels, path, parents)
    elif to == "geff":
        write_geff(labels, path, axes, parents or {}, sizes)
    elif to == "csv":
        write_csv(_joined(_table(labels, axes, image, sizes, names), found), path)
    elif to == "roi":
        write_file(path, roi_zip(labels, axes, names))
    elif to == "coco":
        write_file(path, coco(labels, axes, names, f"{path.stem}.tif"))
    else:
        table = _joined(_table(labels, axes, image, sizes), found)
        write_file(path, geojson(labels, axes, names, colours, table, _kinds(found)))


def _checked(classes: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """Return the columns of a table of objects with classes; refuse what is none."""
    found = {name: np.asarray(column) for name, column in classes.items()}
    lengths = {column.shape for column in found.values()}
    if found and not ({"index", "class"} <= found.keys() and len(lengths) == 1):
        raise LabelsError(
            f"classes has the columns {', '.join(map(repr, found))}; give 'index' and 'class', "
            "with a row for each object, as classify_objects returns them."
        )
    return found


def _small(labels: NDArray[np.integer[Any]]) -> NDArray[np.integer[Any]]:
    """Return labels in a type that other programs read: 16 bits where they hold all numbers."""
    largest = int(labels.max(initial=0))
    if largest <= np.iinfo(np.uint16).max:
        return labels.astype(np.uint16)
    return labels.astype(np.uint32) if largest <= np.iinfo(np.uint32).max else labels


def _table(
    labels: NDArray[np.integer[Any]],
    axes: str,
    image: ArrayLike | None,
    sizes: PixelSize,
    names: Mapping[int, str] | None = None,
) -> dict[str, NDArray[Any]]:
    table = measure(labels, image, axes=axes, pixel_size=sizes)
    if names:
        table["class"] = np.array([names.get(n, "") for n in table["index"].tolist()], object)
    return table


def _keys(table: Mapping[str, NDArray[Any]]) -> list[tuple[int, int]]:
    """Return number and frame of each row."""
    frames = table.get("frame", np.zeros(len(table["index"]), int))
    return list(zip(table["index"].tolist(), frames.tolist(), strict=True))


def _joined(
    table: dict[str, NDArray[Any]], classes: Mapping[str, NDArray[Any]]
) -> dict[str, NDArray[Any]]:
    """Add what is known of the class of each row; nothing of objects that came later."""
    if not classes:
        return table
    rows = {key: row for row, key in enumerate(_keys(classes))}
    at = [rows.get(key) for key in _keys(table)]
    others = {name: each for name, each in classes.items() if name not in (*_KEYS, "colour")}
    for name, column in others.items():
        none: object = "" if column.dtype == object else np.nan
        values = [none if row is None else column[row] for row in at]
        table[name] = np.array(values, column.dtype)
    return table


def _kinds(classes: Mapping[str, NDArray[Any]]) -> dict[tuple[int, int], tuple[str, str]]:
    """Return name and colour of the class of each object, by number and frame."""
    if not classes:
        return {}
    names, none = classes["class"].tolist(), np.full(len(classes["class"]), "", object)
    colours = classes.get("colour", none).tolist()
    return dict(zip(_keys(classes), zip(names, colours, strict=True), strict=True))
