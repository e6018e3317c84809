"""Results that lie in files, shown as layers that read only what is on screen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Labels, Layer

from napari_unet.data.axes import layer_placement
from napari_unet.io.files import ImageFile, read_image
from napari_unet.io.ome_zarr import labels_of_store
from napari_unet.io.zarr_files import levels_of
from napari_unet.prediction.results import RESULT_TYPES
from napari_unet.widgets.common.layers import METADATA_KEY, plain_layers

if TYPE_CHECKING:
    from pathlib import Path

    from napari.viewer import Viewer

    from napari_unet.prediction.config import ResultKind

_FILE = "napari-unet-paint file"
STORED = "stored"  # the metadata of layers that show a result file


def show_stored(viewer: Viewer, path: Path, kind: ResultKind, axes: str, placement: Any) -> Layer:
    """Show a result that lies in an OME-Zarr, in place of an older one of the same file.

    `placement` is where it lies, see `placement_along`; probabilities have no C there. Of several
    layers the last one is returned.
    """
    for layer in plain_layers(viewer):
        if layer.metadata.get(_FILE) == (str(path), layer.unique_id):  # no copy of one
            viewer.layers.remove(layer)
    about = {"metadata": {METADATA_KEY: STORED}, **placement}
    if not RESULT_TYPES[kind].is_labels:
        return _show_bands(viewer, path, levels_of(path), axes, about)
    groups = labels_of_store(path) if RESULT_TYPES[kind].is_packed else [path]
    for group in groups:
        levels, part = levels_of(group), "" if group == path else f" {group.name}"
        added = Labels(
            levels if len(levels) > 1 else levels[0],
            multiscale=len(levels) > 1,
            name=f"{path.stem}{part}",
            **{**about, "metadata": dict(about["metadata"])},
        )
        added.editable = False  # painting there would be lost
        _add(viewer, added, path)
    return added


def _show_bands(viewer: Viewer, path: Path, levels: list[Any], axes: str, about: Any) -> Layer:
    """Show intensities, one layer per channel; slices of dask arrays read nothing yet."""
    import dask.array as da

    from_zarr: Any = da.from_zarr
    lazy = [from_zarr(level) for level in levels]
    bands = lazy[0].shape[axes.index("C")] if "C" in axes else 1
    for number in range(bands):
        band = [a[_of_channel(axes, number)] for a in lazy]
        name = path.stem if bands == 1 else f"{path.stem}, probability of class {number}"
        layer = Image(
            band if len(band) > 1 else band[0],
            multiscale=len(band) > 1,
            name=name,
            contrast_limits=(0, 1),
            **about,
        )
        _add(viewer, layer, path)
    return layer


def _add(viewer: Viewer, layer: Layer, path: Path) -> None:
    layer.metadata[_FILE] = str(path), layer.unique_id
    viewer.add_layer(layer)


def _of_channel(axes: str, number: int) -> tuple[Any, ...]:
    return tuple(number if letter == "C" else slice(None) for letter in axes)


def open_pair(viewer: Viewer, path: Path, target: Path, kind: ResultKind, axes: str) -> None:
    """Open an image file and its result as layers; FileProblemError if one cannot be read."""
    file = read_image(path)
    viewer.add_layer(_image_layer(file, path.stem))
    placement = layer_placement(axes.replace("C", ""), file.pixel_size)
    if target.is_dir():
        show_stored(viewer, target, kind, axes, placement)
        return
    result = read_image(target).array
    about = {"metadata": {METADATA_KEY: STORED}, **placement}
    name = f"{path.stem} prediction"
    is_labels = RESULT_TYPES[kind].is_labels
    if is_labels and "C" not in axes:
        viewer.add_layer(Labels(result, name=name, **about))
        return
    for number in range(result.shape[axes.index("C")] if "C" in axes else 1):
        band = np.asarray(result[_of_channel(axes, number)])
        if is_labels:
            viewer.add_layer(Labels(band, name=f"{name}, class {number + 1}", **about))
        else:
            viewer.add_layer(Image(band, name=f"{name}, class {number}", **about))


def _image_layer(file: ImageFile, name: str) -> Image:
    shape = file.array.shape
    axes = file.axes if file.axes and len(file.axes) == len(shape) else ""
    rgb = axes.endswith("YXC") and shape[-1] in (3, 4)
    placement = layer_placement(axes[:-1] if rgb else axes, file.pixel_size)
    return Image(file.array, name=name, rgb=rgb, **placement)
