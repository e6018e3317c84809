"""napari opens and saves the formats as Labels layers."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Labels
from npe2 import PluginManifest

from napari_unet.io.annotations.reading import read_annotations
from napari_unet.io.annotations.writing import write_objects
from napari_unet.io.layers import get_annotation_reader

from .builders import cellpose_content, ring_and_neighbour, write_cellpose

if TYPE_CHECKING:
    from npe2._pytest_plugin import TestPluginManager

MANIFEST = PluginManifest.from_file(Path(__file__).parents[3] / "napari.yaml")
NAME = "napari-unet-paint"


@pytest.mark.parametrize("name", ["cells.zip", "cells.geojson", "cells_seg.npy"])
def test_napari_opens_a_file(name: str, tmp_path: Path, npe2pm: TestPluginManager) -> None:
    path, labels = tmp_path / name, ring_and_neighbour()
    if name.endswith(".npy"):
        write_cellpose(path, labels)
    else:
        write_objects(path, labels)
    viewer = ViewerModel()
    with npe2pm.tmp_plugin(manifest=MANIFEST):
        (layer,) = viewer.open(path, plugin=NAME)
    assert isinstance(layer, Labels)
    assert layer.name == "cells"
    np.testing.assert_array_equal(layer.data, labels)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("data.zip", b""),
        ("numbers_seg.npy", np.zeros((2, 2))),
        ("numbers.npy", cellpose_content(ring_and_neighbour())),
        ("notes.json", b"{}"),
        ("missing.roi", None),
    ],
    ids=["no ROIs", "numbers", "another name", "JSON", "missing"],
)
def test_what_is_not_ours_is_left_to_others(name: str, content: Any, tmp_path: Path) -> None:
    path = tmp_path / name
    if name == "data.zip":
        import zipfile

        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("image.png", b"?")
    elif isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        np.save(path, content, allow_pickle=True)
    assert get_annotation_reader(str(path)) is None
    assert get_annotation_reader([]) is None


def test_notices_are_told(tmp_path: Path) -> None:
    write_objects(tmp_path / "a.geojson", ring_and_neighbour())
    text = (tmp_path / "a.geojson").read_text()
    double = text.replace('"features":[', '"features":[' + text.split('"features":[')[1][:-2] + ",")
    (tmp_path / "a.geojson").write_text(double)
    read = get_annotation_reader(str(tmp_path / "a.geojson"))
    assert read is not None
    with pytest.warns(UserWarning, match="lie partly on others"):
        read(str(tmp_path / "a.geojson"))


@pytest.mark.parametrize("suffix", [".zip", ".geojson", ".json", ".csv"])
def test_napari_saves_a_layer(suffix: str, tmp_path: Path, npe2pm: TestPluginManager) -> None:
    labels = np.stack([ring_and_neighbour(), 0 * ring_and_neighbour()])
    viewer = ViewerModel()
    layer = Labels(labels, name="cells", axis_labels=("t", "y", "x"))
    viewer.add_layer(layer)
    path = tmp_path / f"cells{suffix}"
    with npe2pm.tmp_plugin(manifest=MANIFEST), warnings.catch_warnings():
        written = viewer.layers.save(str(path), plugin=NAME)
    assert written == [str(path)]
    if suffix == ".csv":
        assert "frame" in path.read_text().splitlines()[0]
        return
    np.testing.assert_array_equal(read_annotations(path, labels.shape, "TYX").labels, labels)


def test_the_menu_to_save_offers_all_of_them(npe2pm: TestPluginManager) -> None:
    writers = MANIFEST.contributions.writers or []
    offered = {(writer.display_name, *writer.filename_extensions) for writer in writers}
    assert offered == {
        ("ROIs for ImageJ", ".zip"),
        ("GeoJSON for QuPath", ".geojson"),
        ("COCO", ".json"),
        ("Measurements", ".csv"),
        ("OME-TIFF", ".ome.tif", ".ome.tiff"),
        ("OME-Zarr", ".ome.zarr", ".zarr"),
    }
