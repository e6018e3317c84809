"""napari opens images, results and tracks with their scale, and saves layers with it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tifffile
from napari.components import ViewerModel
from napari.layers import Image, Labels, Layer, Tracks
from napari.plugins._npe2 import get_readers
from napari.settings import get_settings
from npe2 import PluginManifest

from napari_unet.io.files import read_image, write_image, write_labels
from napari_unet.io.layers import get_reader
from napari_unet.io.ome_zarr import add_pyramid, create_store

if TYPE_CHECKING:
    from npe2._pytest_plugin import TestPluginManager

MANIFEST = PluginManifest.from_file(Path(__file__).parents[2] / "napari.yaml")
NAME = "napari-unet-paint"
SIZE = {"Z": 2.0, "Y": 0.5, "X": 0.25}
STACK = np.arange(3 * 20 * 30).reshape(3, 20, 30).astype(np.uint16)


@pytest.fixture
def plugin(npe2pm: TestPluginManager) -> Any:
    with npe2pm.tmp_plugin(manifest=MANIFEST):
        yield


def _manifest_of_napari() -> PluginManifest:
    return PluginManifest.from_distribution("napari")


def opened(path: Path) -> Any:
    (layer,) = ViewerModel().open(path, plugin=NAME)
    return layer


def store(path: Path, about: Any = None, pixels: Any = STACK) -> Path:
    given = {} if about is None else {"about": about}
    array = create_store(path, pixels.shape, pixels.dtype, (1, 900, 900), "ZYX", SIZE, **given)
    array[...] = pixels
    add_pyramid(path)
    return path


def assert_placed(layer: Layer) -> None:
    np.testing.assert_allclose(layer.scale, [2, 0.5, 0.25])
    assert [str(unit) for unit in layer.units] == ["micrometer"] * 3
    assert layer.axis_labels == ("z", "y", "x")


@pytest.mark.usefixtures("plugin")
@pytest.mark.parametrize("name", ["cells.tif", "CELLS.TIF", "cells.tiff", "cells.csv", "cells.png"])
def test_napari_has_no_question_about_files_that_it_opens_itself(name: str) -> None:
    assert NAME not in get_readers(name)


@pytest.mark.usefixtures("plugin")
def test_a_script_opens_a_tiff_without_naming_a_plugin(
    npe2pm: TestPluginManager, tmp_path: Path
) -> None:
    with npe2pm.tmp_plugin(manifest=_manifest_of_napari()):
        get_settings().reset()
        write_image(tmp_path / "cells.tif", STACK, "ZYX", SIZE)

        (layer,) = ViewerModel().open(tmp_path / "cells.tif")

    assert isinstance(layer, Image)
    np.testing.assert_array_equal(layer.data, STACK)


@pytest.mark.usefixtures("plugin")
@pytest.mark.parametrize("name", ["cells.ome.tif", "cells.OME.TIFF"])
def test_an_image_opens_with_scale_units_and_axes(name: str, tmp_path: Path) -> None:
    write_image(tmp_path / name, STACK, "ZYX", SIZE)
    layer = opened(tmp_path / name)
    assert isinstance(layer, Image)
    assert layer.name == "cells"
    assert_placed(layer)
    np.testing.assert_array_equal(layer.data, STACK)


@pytest.mark.usefixtures("plugin")
def test_our_labels_open_as_labels(tmp_path: Path) -> None:
    write_labels(tmp_path / "cells.ome.tif", STACK, "ZYX", SIZE)
    layer = opened(tmp_path / "cells.ome.tif")
    assert isinstance(layer, Labels)
    assert_placed(layer)


@pytest.mark.usefixtures("plugin")
def test_a_zarr_result_opens_as_labels_of_all_levels(tmp_path: Path) -> None:
    large = np.zeros((2, 1500, 1200), np.uint16)
    layer = opened(store(tmp_path / "cells.zarr", pixels=large))
    assert isinstance(layer, Labels)
    assert [level.shape for level in layer.data] == [(2, 1500, 1200), (2, 750, 600)]
    assert layer.name == "cells"
    assert_placed(layer)


@pytest.mark.usefixtures("plugin")
def test_intensities_in_a_zarr_open_as_an_image(tmp_path: Path) -> None:
    layer = opened(store(tmp_path / "cells.ome.zarr", {}))
    assert isinstance(layer, Image)
    assert_placed(layer)


@pytest.mark.usefixtures("plugin")
def test_colours_open_as_colours(tmp_path: Path) -> None:
    colours = np.zeros((20, 30, 3), np.uint8)
    tifffile.imwrite(tmp_path / "x.ome.tif", colours, photometric="rgb")
    layer = opened(tmp_path / "x.ome.tif")
    assert (layer.rgb, layer.axis_labels) == (True, ("y", "x"))


@pytest.mark.usefixtures("plugin")
def test_a_table_of_tracks_opens_as_tracks_on_its_labels(tmp_path: Path) -> None:
    rows = ["id,t,y,x,parent,area", "1,0,5,6,0,9", "1,1,5,7,0,9", "2,2,5,7,1,4"]
    (tmp_path / "tracks.csv").write_text("\n".join(rows))
    write_labels(tmp_path / "cells.tif", STACK, "TYX", {"Y": 0.5, "X": 0.25})
    layer = opened(tmp_path / "tracks.csv")
    assert isinstance(layer, Tracks)
    np.testing.assert_array_equal(layer.data[:, 0], [1, 1, 2])
    assert layer.graph == {2: [1]}
    assert list(layer.features["area"]) == [9, 9, 4]
    np.testing.assert_allclose(layer.scale[-3:], [1, 0.5, 0.25])


@pytest.mark.parametrize("name", ["missing.tif", "damaged.tif", "table_tracks.csv", "plate.zarr"])
def test_what_we_cannot_read_is_left_to_others(name: str, tmp_path: Path) -> None:
    if name == "plate.zarr":
        (tmp_path / name).mkdir()
    elif not name.startswith("missing"):
        (tmp_path / name).write_text("a,b\n1,2\n")
    assert get_reader(str(tmp_path / name)) is None


def test_several_files_are_left_to_napari_which_makes_them_a_stack(tmp_path: Path) -> None:
    write_image(tmp_path / "a.tif", STACK, "ZYX")
    assert get_reader([str(tmp_path / "a.tif")] * 2) is None


@pytest.mark.usefixtures("plugin")
@pytest.mark.parametrize("suffix", [".ome.tif", ".ome.zarr", ".zarr"])
@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.int64])
def test_labels_are_saved_with_scale_and_come_back(suffix: str, dtype: Any, tmp_path: Path) -> None:
    viewer = ViewerModel()
    labels = (STACK % 7).astype(dtype)
    viewer.add_labels(labels, scale=(2, 0.5, 0.25), units="um", axis_labels=("z", "y", "x"))
    path = tmp_path / f"cells{suffix}"
    assert viewer.layers.save(str(path)) == [str(path)]
    layer = opened(path)
    assert isinstance(layer, Labels)
    assert_placed(layer)
    np.testing.assert_array_equal(np.asarray(layer.data), labels)


@pytest.mark.usefixtures("plugin")
def test_an_image_is_saved_with_scale_and_comes_back(tmp_path: Path) -> None:
    viewer = ViewerModel()
    viewer.add_image(STACK, scale=(2, 0.5, 0.25), units="um", axis_labels=("z", "y", "x"))
    viewer.layers.save(str(tmp_path / "cells.ome.tif"))
    layer = opened(tmp_path / "cells.ome.tif")
    assert isinstance(layer, Image)
    assert_placed(layer)


def test_what_is_called_ome_tiff_is_one(tmp_path: Path) -> None:
    write_image(tmp_path / "a.ome.tif", STACK, "ZYX")
    with tifffile.TiffFile(tmp_path / "a.ome.tif") as file:
        assert file.is_ome
    assert read_image(tmp_path / "a.ome.tif").axes == "ZYX"
