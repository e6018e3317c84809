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

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    LayerData = tuple[Any, dict[str, Any], str]

_SPACE = {"z": "Z", "y": "Y", "x": "X", "t": "T"}


def get_reader(path: str | Sequence[str]) -> Callable[[Any], list[LayerData]] | None:
    """Return what reads a path, or None where its content is not ours.

    Ours are ROI files and ZIP files of them, Cellpose's ``_seg.npy`` and GeoJSON.
    """
    paths = [path] if isinstance(path, str) else list(path)
    return _read if paths and all(_is_ours(Path(each)) for each in paths) else None


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


def _read(path: str | Sequence[str]) -> list[LayerData]:
    paths = [path] if isinstance(path, str) else list(path)
    return [_layer(Path(each)) for each in paths]


def _layer(path: Path) -> LayerData:
    found = read_annotations(path)
    for text in found.notices:
        warnings.warn(text, UserWarning, stacklevel=2)  # napari shows it
    name = path.name.removesuffix(path.suffix).removesuffix("_seg")
    return np.asarray(found.labels), {"name": name}, "labels"


def write_labels(path: str, labels: Any, attributes: dict[str, Any]) -> list[str]:
    """Write a Labels layer: ROI zip, GeoJSON, COCO or a table, by the suffix; return the paths.

    Of several levels the finest is written. Axis labels, scale and units are taken from the layer's
    attributes.
    """
    finest = (
        labels[0] if isinstance(labels, list | tuple) or attributes.get("multiscale") else labels
    )
    array = np.asarray(finest)
    write_objects(path, array, axes=_axes_of(attributes, array.ndim))
    return [path]


def _axes_of(attributes: dict[str, Any], ndim: int) -> str | None:
    labels = [str(label).lower() for label in attributes.get("axis_labels") or ()]
    letters = "".join(
        _SPACE.get(label[:1] if label in ("time",) else label, "?") for label in labels
    )
    return letters if len(letters) == ndim and letters in ("YX", "ZYX", "TYX", "TZYX") else None
