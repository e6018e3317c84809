"""Plates, wells and series: each of their images is found, and has a name of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from napari_unet.io.annotations.reading import find_annotations, read_annotations
from napari_unet.io.files import find_images, read_labels, stem_of, tiff_beside
from napari_unet.io.zarr_files import well_of

from .zarrs import STACK, write_group, write_ome, write_plain

VERSIONS = pytest.mark.parametrize("version", ["0.4", "0.5"])


def write_plate(folder: Path, version: str, fields: dict[str, int]) -> Path:
    """Write a plate of wells (``A/1``), each with so many fields."""
    wells: list[dict[str, Any]] = [{"path": well} for well in fields]
    write_group(folder, version, {"plate": {"wells": wells}})
    for well, number in fields.items():
        images = [{"path": str(field)} for field in range(number)]
        write_group(folder / well, version, {"well": {"images": images}})
        for field in range(number):
            write_ome(folder / well / str(field), version)
    return folder


def stems(paths: list[Path]) -> list[str]:
    return [stem_of(path) for path in paths]


@VERSIONS
def test_a_plate_is_all_its_fields(tmp_path: Path, version: str) -> None:
    plate = write_plate(tmp_path / "p.zarr", version, {"A/10": 1, "A/2": 2, "B/1": 1})
    assert stems(find_images([plate])) == ["A2_0", "A2_1", "A10_0", "B1_0"]
    assert stems(find_images([plate / "A" / "2"])) == ["A2_0", "A2_1"]


def test_results_of_two_wells_have_names_of_their_own(tmp_path: Path) -> None:
    plate = write_plate(tmp_path / "p.zarr", "0.4", {"A/1": 1, "A/2": 1})
    names = [tiff_beside(plate / "A" / well / "0", Path("out")).name for well in "12"]
    assert names == ["A1_0.tif", "A2_0.tif"]


def test_levels_and_labels_of_a_field_have_its_name(tmp_path: Path) -> None:
    plate = write_plate(tmp_path / "p.zarr", "0.5", {"A/1": 1})
    inside = ["A/1/0", "A/1/0/1", "A/1/0/labels/nuclei"]
    assert stems([plate / each for each in inside]) == ["A1_0"] * 3


def test_series_have_names_of_their_own(tmp_path: Path) -> None:
    folder = write_group(tmp_path / "bf.zarr", "0.4", {"bioformats2raw.layout": 3}, "OME")
    for series in ("0", "1", "10"):
        write_ome(folder / series, "0.4")
    assert stems(find_images([folder / "1", folder / "0"])) == ["bf_0", "bf_1"]
    assert stems(find_images([folder])) == ["bf_0", "bf_1", "bf_10"]
    assert stem_of(folder / "1" / "0") == "bf_1"


def test_arrays_of_a_group_have_names_of_their_own(tmp_path: Path) -> None:
    folder = write_group(tmp_path / "g.zarr", "0.5", {})
    assert stems([write_plain(folder / "a", 3), write_plain(folder / "b", 3)]) == ["g_a", "g_b"]


@pytest.mark.parametrize(
    "about",
    [
        {"plate": {"wells": [{"path": "../other.zarr"}]}},
        {"plate": {"wells": [{}]}},
        {"plate": {}},
        {"well": "A1"},
    ],
)
def test_a_plate_that_makes_no_sense_is_left_to_who_reads_it(tmp_path: Path, about: Any) -> None:
    write_ome(tmp_path / "other.zarr", "0.4")
    folder = write_group(tmp_path / "p.zarr", "0.4", about)
    assert find_images([folder]) == [folder]


def test_a_field_knows_its_well(tmp_path: Path) -> None:
    plate = write_plate(tmp_path / "p.zarr", "0.4", {"A/1": 1})
    assert well_of(plate / "A/1/0") == well_of(plate / "A/1/0/0") == ("A1", plate / "A/1")


def test_other_images_are_in_no_well(tmp_path: Path) -> None:
    assert well_of(write_ome(tmp_path / "a.zarr", "0.4")) is None


@VERSIONS
@pytest.mark.parametrize("inside", ["labels/nuclei", "labels/nuclei/0"])
def test_labels_inside_of_a_zarr_are_labels(tmp_path: Path, version: str, inside: str) -> None:
    path = write_ome(tmp_path / "x.zarr", version) / inside
    assert find_annotations([path]) == [path]
    np.testing.assert_array_equal(read_annotations(path).labels, read_labels(path))


def test_an_image_group_inside_of_a_zarr_is_read_as_labels(tmp_path: Path) -> None:
    root = zarr.open_group(store=str(tmp_path / "im.zarr"), mode="w", zarr_format=3)
    axes: Any = [{"name": name, "type": "space"} for name in "yx"]
    datasets: Any = [
        {"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [1, 1]}]}
    ]
    image = root.create_group("0")
    image.attrs["ome"] = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": datasets}]}
    image.create_array("0", shape=(32, 48), dtype="uint16", chunks=(16, 16))[...] = STACK[0, 0]
    path = tmp_path / "im.zarr" / "0"
    assert find_annotations([path]) == [path]
    np.testing.assert_array_equal(read_annotations(path).labels, STACK[0, 0])
