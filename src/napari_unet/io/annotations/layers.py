"""What napari calls to open and to save our formats as Labels layers. No screen is needed."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.errors import NapariUNetError
from napari_unet.io.annotations.cellpose import is_seg
from napari_unet.io.annotations.reading import read_annotations
from napari_unet.io.annotations.rois import names_in
from napari_unet.io.annotations.writing import write_objects
from napari_unet.io.layers import axes_and_size

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    LayerData = tuple[Any, dict[str, Any], str]


def get_reader(path: str | Sequence[str]) -> Callable[[Any], list[LayerData]] | None:
    """Return what reads a path, or None where its content is not ours.

    Ours are ROI files and ZIP files of them, Cellpose's ``_seg.npy`` and GeoJSON.
    """
    paths = [path] if isinstance(path, str) else list(path)
    if not paths or not all(_is_ours(Path(each)) for each in paths):
        return None
    return lambda _: [_layer(Path(each)) for each in paths]


def _is_ours(path: Path) -> bool:
    suffix = path.suffix.lower()
    if not path.is_file():
        return False
    if suffix == ".zip":
        try:
            return any(name.lower().endswith(".roi") for name in names_in(path))
        except NapariUNetError:
            return False
    return is_seg(path) if suffix == ".npy" else suffix in (".roi", ".geojson")


def _layer(path: Path) -> LayerData:
    found = read_annotations(path)
    for text in found.notices:
        warnings.warn(text, UserWarning, stacklevel=2)  # napari shows it
    name = path.name.removesuffix(path.suffix).removesuffix("_seg")
    return np.asarray(found.labels), {"name": name}, "labels"


def write_labels(path: str, labels: Any, attributes: dict[str, Any]) -> list[str]:
    """Write a Labels layer: ROI zip, GeoJSON, COCO or a table, by the suffix; return the paths.

    Of several levels the finest is written. Axes and sizes are those that the layer names.
    """
    finest = (
        labels[0] if isinstance(labels, list | tuple) or attributes.get("multiscale") else labels
    )
    array = np.asarray(finest)
    axes, pixel_size = axes_and_size(attributes, array.ndim)
    write_objects(path, array, axes=axes, pixel_size=pixel_size)
    return [path]
