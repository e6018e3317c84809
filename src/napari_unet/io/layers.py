"""What napari calls to open images, results, tracks and annotations, and to save layers."""

from __future__ import annotations

import csv
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.data.axes import ArrayLike, PixelSize, axes_of_names, known_sizes, layer_placement
from napari_unet.errors import FileProblemError, LabelsError, NapariUNetError
from napari_unet.io.annotations.cellpose import is_seg
from napari_unet.io.annotations.reading import read_annotations
from napari_unet.io.annotations.rois import names_in
from napari_unet.io.annotations.writing import write_objects
from napari_unet.io.disk import folder_beside, writing
from napari_unet.io.files import find_images, read_image, stem_of, write_image, write_labels
from napari_unet.io.limits import check_regular
from napari_unet.io.ome_zarr import (
    add_pyramid,
    check_replaceable,
    create_store,
    finish,
    regions_of_chunks,
)
from napari_unet.io.outputs import make_output_folder
from napari_unet.io.zarr_files import levels_of, split_zarr

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari_unet.io.files import ImageFile

    LayerData = tuple[Any, dict[str, Any], str]
    Reader = Callable[[Any], list[LayerData]]

_CHUNK = 1024  # along Y and X
_PLACES = ("t", "z", "y", "x")  # columns of a table of tracks


def get_reader(path: str | Sequence[str]) -> Reader | None:
    """Return what reads a TIFF or OME-Zarr with its axes, scale and units, or a table of tracks.

    None for several files, which are to be one stack, and for what we cannot read: another plugin
    may be able to. FileProblemError for what is no file.
    """
    paths = [path] if isinstance(path, str) else list(path)
    if len(paths) != 1:
        return None
    file = Path(paths[0])
    check_regular(file)  # another reader would wait for a pipe
    if file.suffix.lower() == ".csv":
        return (lambda _: [_tracks(file)]) if _is_tracks(file) else None
    try:
        image = read_image(file)
    except NapariUNetError:
        return None
    return lambda _: [_layer(image)]


def _layer(image: ImageFile) -> LayerData:
    for text in image.notices:
        warnings.warn(text, UserWarning, stacklevel=2)  # napari shows it
    levels = [image.array] if split_zarr(image.path) is None else levels_of(image.path)
    several = len(levels) > 1
    about: dict[str, Any] = {"name": stem_of(image.path), "multiscale": several}
    axes = image.axes
    if image.holds_labels:
        about |= layer_placement(axes, image.pixel_size)
        return (levels if several else levels[0]), about, "labels"
    rgb = axes is not None and axes.endswith("C") and image.array.shape[-1] == 3
    about |= {"rgb": rgb, **layer_placement(axes[:-1] if axes and rgb else axes, image.pixel_size)}
    return (levels if several else levels[0]), about, "image"


# --- tracks ------------------------------------------------------------------------------------


def _is_tracks(path: Path) -> bool:
    """Return whether a table is one of tracks, as linking writes it."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return {"id", "y", "x", "parent"} <= set(next(csv.reader(file), []))
    except (OSError, UnicodeDecodeError, csv.Error):
        return False


def _tracks(path: Path) -> LayerData:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            names, *rows = csv.reader(file)
        values = np.array(rows, float).reshape(len(rows), len(names))
    except (OSError, ValueError, csv.Error) as error:
        raise FileProblemError(
            f"Cannot read {path} as a table of tracks; link again to write it anew."
        ) from error
    columns = dict(zip(names, values.T, strict=True))
    places = [name for name in _PLACES if name in columns]
    mothers = zip(columns["id"].astype(int), columns["parent"].astype(int), strict=True)
    others = {name: column for name, column in columns.items() if name not in ("id", *places)}
    about = {
        "name": path.stem,
        "graph": {int(child): [int(mother)] for child, mother in mothers if mother > 0},
        "features": others,
        **layer_placement("".join(places).upper(), _pixel_size_beside(path)),
    }
    return np.stack([columns[name] for name in ("id", *places)], axis=1), about, "tracks"


def _pixel_size_beside(table: Path) -> PixelSize:
    """Return the pixel size of the labels that were written with a table of tracks."""
    of = table.stem.removesuffix("tracks").rstrip("_")
    try:
        found = [file for file in find_images([table.parent]) if of in ("", stem_of(file))]
        return read_image(found[0]).pixel_size if found else {}
    except NapariUNetError:
        return {}


# --- annotations of other programs ---------------------------------------------------------------


def get_annotation_reader(path: str | Sequence[str]) -> Reader | None:
    """Return what reads a path, or None where its content is not ours.

    Ours are ROI files and ZIP files of them, Cellpose's ``_seg.npy`` and GeoJSON.
    """
    paths = [path] if isinstance(path, str) else list(path)
    if not paths or not all(_is_annotation(Path(each)) for each in paths):
        return None
    return lambda _: [_annotations(Path(each)) for each in paths]


def _is_annotation(path: Path) -> bool:
    suffix = path.suffix.lower()
    if not path.is_file():
        return False
    if suffix == ".zip":
        try:
            return any(name.lower().endswith(".roi") for name in names_in(path))
        except NapariUNetError:
            return False
    return is_seg(path) if suffix == ".npy" else suffix in (".roi", ".geojson")


def _annotations(path: Path) -> LayerData:
    found = read_annotations(path)
    for text in found.notices:
        warnings.warn(text, UserWarning, stacklevel=2)  # napari shows it
    name = path.name.removesuffix(path.suffix).removesuffix("_seg")
    return np.asarray(found.labels), {"name": name}, "labels"


# --- saving ------------------------------------------------------------------------------------


def write_ome_tiff(path: str, data: Any, attributes: dict[str, Any]) -> list[str]:
    """Write an Image layer as an OME-TIFF with its axes, scale and units."""
    array = _finest(data, attributes)
    rgb = bool(attributes.get("rgb"))
    axes, pixel_size = axes_and_size(attributes, len(array.shape) - rgb)
    write_image(path, np.asarray(array), axes + "C" * rgb, pixel_size)
    return [path]


def write_labels_ome_tiff(path: str, data: Any, attributes: dict[str, Any]) -> list[str]:
    """Write a Labels layer as an OME-TIFF with its axes, scale and units."""
    labels = np.asarray(_finest(data, attributes))
    axes, pixel_size = axes_and_size(attributes, labels.ndim)
    write_labels(path, _narrowed(labels), axes, pixel_size)
    return [path]


def write_labels_zarr(path: str, data: Any, attributes: dict[str, Any]) -> list[str]:
    """Write a Labels layer as an OME-Zarr with a pyramid, its axes, scale and units."""
    labels = _finest(data, attributes)
    axes, pixel_size = axes_and_size(attributes, len(labels.shape))
    final = Path(path)
    check_replaceable(final)
    make_output_folder(final.parent)
    chunks = [_CHUNK if axis in "YX" else 1 for axis in axes]
    with writing(final, "Choose another place."), folder_beside(final) as partial:
        store = create_store(partial, labels.shape, labels.dtype, chunks, axes, pixel_size)
        for region in regions_of_chunks(store.shape, store.chunks):
            store[region] = np.asarray(labels[region])
        add_pyramid(partial)
        finish(partial, final)
    return [path]


def write_annotations(path: str, data: Any, attributes: dict[str, Any]) -> list[str]:
    """Write a Labels layer: ROI zip, GeoJSON, COCO or a table, by the suffix."""
    labels = np.asarray(_finest(data, attributes))
    axes, pixel_size = axes_and_size(attributes, labels.ndim)
    write_objects(path, labels, axes=axes, pixel_size=pixel_size)
    return [path]


def _finest(data: Any, attributes: dict[str, Any]) -> ArrayLike:
    several = isinstance(data, list | tuple) or attributes.get("multiscale")
    finest: ArrayLike = data[0] if several else data
    return finest


def _narrowed(labels: Any) -> Any:
    """Return labels in a type that OME knows; 64 bits only where they are needed."""
    fits = labels.dtype.itemsize < 8 or labels.max(initial=0) > np.iinfo(np.int32).max
    return labels if fits else labels.astype(np.int32)


def axes_and_size(attributes: dict[str, Any], ndim: int) -> tuple[str, PixelSize]:
    """Return the axes that a layer names, else the usual ones, and its micrometres per pixel."""
    usual = {2: "YX", 3: "ZYX", 4: "TZYX", 5: "TCZYX"}
    axes = axes_of_names(attributes.get("axis_labels") or (), ndim) or usual.get(ndim)
    if axes is None:
        raise LabelsError(f"Layers of {ndim} axes cannot be saved with their scale; name the axes.")
    lengths = zip(axes, attributes.get("scale", ()), attributes.get("units") or (), strict=False)
    sizes = {axis: (abs(float(k)), str(unit)) for axis, k, unit in lengths if axis in "ZYX"}
    return axes, known_sizes(sizes)
