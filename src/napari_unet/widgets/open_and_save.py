"""The readers and writers of napari.yaml; called without a file, as by a palette, they ask for one.

Qt and napari are imported only then: other programs read our files by npe2 without either.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

_IMAGES = "Images and tracks (*.ome.tif *.ome.tiff *tracks.csv)"
_ANNOTATIONS = "Annotations (*.roi *.zip *_seg.npy *.geojson)"
_OBJECTS = (
    "ROIs for ImageJ (*.zip);;GeoJSON for QuPath (*.geojson);;COCO (*.json);;Measurements (*.csv)"
)
_TIFF, _ZARR = "OME-TIFF (*.ome.tif)", "OME-Zarr (*.ome.zarr)"


def open_images(path: str | Sequence[str] | None = None) -> Any:
    """Return what reads OME-TIFF, OME-Zarr or a table of tracks; None where that is none."""
    from napari_unet.io.layers import get_reader

    return _ask_to_open(_IMAGES) if path is None else get_reader(path)


def open_annotations(path: str | Sequence[str] | None = None) -> Any:
    """Return what reads ROIs, masks of Cellpose or GeoJSON; None where that is none."""
    from napari_unet.io.layers import get_annotation_reader

    return _ask_to_open(_ANNOTATIONS) if path is None else get_annotation_reader(path)


def save_objects_as(path: str = "", data: Any = None, attributes: Any = None) -> list[str]:
    """Write objects for other programs, in the format of the suffix."""
    if not path:
        return _ask_to_save("labels", _OBJECTS)
    from napari_unet.widgets.predict.save_objects import write_layer

    return write_layer(path, data, attributes)


def save_image_as_tiff(path: str = "", data: Any = None, attributes: Any = None) -> list[str]:
    """Write an image as an OME-TIFF."""
    from napari_unet.io import layers

    if not path:
        return _ask_to_save("image", _TIFF)
    return layers.write_ome_tiff(path, data, attributes)


def save_labels_as_tiff(path: str = "", data: Any = None, attributes: Any = None) -> list[str]:
    """Write labels as an OME-TIFF."""
    from napari_unet.io import layers

    if not path:
        return _ask_to_save("labels", _TIFF)
    return layers.write_labels_ome_tiff(path, data, attributes)


def save_labels_as_zarr(path: str = "", data: Any = None, attributes: Any = None) -> list[str]:
    """Write labels as an OME-Zarr."""
    from napari_unet.io import layers

    if not path:
        return _ask_to_save("labels", _ZARR)
    return layers.write_labels_zarr(path, data, attributes)


def _ask_to_open(kinds: str) -> None:
    """Ask for files, and open each in the viewer by our reader."""
    from napari import current_viewer
    from napari.utils.notifications import show_error
    from qtpy.QtWidgets import QApplication, QFileDialog

    from napari_unet.errors import NapariUNetError
    from napari_unet.widgets.common.preferences import PLUGIN

    viewer = current_viewer()
    if viewer is None:
        return
    parent = QApplication.activeWindow()
    for name in QFileDialog.getOpenFileNames(parent, "Open", "", kinds)[0]:
        try:
            viewer.open(name, plugin=PLUGIN)
        except (ValueError, NapariUNetError) as error:  # napari's own errors are ValueErrors
            show_error(f"{name} was not opened: {error}")


def _ask_to_save(layer_type: str, kinds: str) -> list[str]:
    """Ask for a name, and save the selected layer there; return what was written."""
    from napari import current_viewer
    from napari.utils.notifications import show_error, show_info, show_warning
    from qtpy.QtWidgets import QApplication, QFileDialog

    from napari_unet.errors import NapariUNetError
    from napari_unet.widgets.common.preferences import PLUGIN

    viewer = current_viewer()
    layer = viewer.layers.selection.active if viewer is not None else None
    if layer is None or layer.as_layer_data_tuple()[2] != layer_type:
        show_warning(f"Select the {layer_type} layer to save first, in napari's list of layers.")
        return []
    parent = QApplication.activeWindow()
    name, kind = QFileDialog.getSaveFileName(parent, "Save", layer.name, kinds)
    if not name:
        return []
    suffix = kind.partition("*")[2].rstrip(")")
    path = name if Path(name).suffix else name + suffix
    try:
        written: list[str] = layer.save(path, plugin=PLUGIN)
    except NapariUNetError as error:
        show_error(str(error))
        return []
    if written:
        show_info(f"Wrote {path}.")
    else:
        show_error(f"{path} was not written: choose one of the formats that are listed.")
    return written
