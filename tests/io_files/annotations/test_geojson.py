"""GeoJSON as QuPath writes it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from napari_unet.errors import FileProblemError, LabelsError
from napari_unet.io.annotations.reading import read_annotations
from napari_unet.io.annotations.writing import write_objects

from .builders import feature, ring_and_neighbour, square, write_geojson

if TYPE_CHECKING:
    from pathlib import Path


def test_polygons_with_holes_and_classes_are_read(tmp_path: Path) -> None:
    tumour = feature([square(1, 1, 6), square(3, 3, 2)], "Tumor")
    path = write_geojson(tmp_path / "q.geojson", tumour, feature([square(8, 0, 3)], "Stroma"))
    found = read_annotations(path, (8, 12), kind="classes")
    assert found.names == {1: "Stroma", 2: "Tumor"}
    assert found.colours == {1: "#0a14ff", 2: "#0a14ff"}
    assert (found.labels == 2).sum() == 32
    assert found.labels[3, 3] == 0


@pytest.mark.parametrize("wrap", [lambda f: f, lambda f: [f]], ids=["one feature", "a list"])
def test_older_forms_are_read(wrap: Any, tmp_path: Path) -> None:
    (tmp_path / "q.geojson").write_text(json.dumps(wrap(feature([square(0, 0, 2)]))))
    assert read_annotations(tmp_path / "q.geojson", (4, 4)).labels.sum() == 4


def test_older_colours_are_read(tmp_path: Path) -> None:
    old = feature([square(0, 0, 2)])
    old["properties"]["classification"] = {"name": "Tumor", "colorRGB": -3670016}
    found = read_annotations(write_geojson(tmp_path / "q.geojson", old), (4, 4), kind="classes")
    assert found.colours == {1: "#c80000"}


def test_planes_count_from_0(tmp_path: Path) -> None:
    path = write_geojson(
        tmp_path / "q.geojson", feature([square(0, 0, 2)], plane={"c": -1, "z": 2, "t": 0})
    )
    labels = read_annotations(path, (3, 4, 4)).labels
    assert labels.any(axis=(1, 2)).tolist() == [False, False, True]


def test_points_and_lines_are_left_out_and_counted(tmp_path: Path) -> None:
    point = feature([]) | {"geometry": {"type": "Point", "coordinates": [1, 2]}}
    path = write_geojson(tmp_path / "q.geojson", feature([square(0, 0, 2)]), point)
    assert read_annotations(path, (4, 4)).notices == (
        "Features without an area (points, lines): 1; they are left out.",
    )


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "as GeoJSON: Invalid JSON"),
        ("[" * 100_000, "as GeoJSON"),
        ('{"type": "FeatureCollection"}', "features"),
        ('{"type": "FeatureCollection", "features": [{"type": "Feature", "geometry": {"type": '
         '"Polygon", "coordinates": [[[0, 0], [1, NaN], [1, 1]]]}}]}', "finite"),
        ('{"type": "FeatureCollection", "features": [{"type": "Feature", "geometry": {"type": '
         '"Polygon", "coordinates": [[["0", "0"]]]}}]}', "valid number"),
    ],
    ids=["empty", "deep", "no features", "NaN", "texts"],
)  # fmt: skip
def test_damaged_files_are_refused(text: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "q.geojson").write_text(text)
    with pytest.raises(FileProblemError, match=reason):
        read_annotations(tmp_path / "q.geojson", (4, 4))


def test_a_file_without_objects_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LabelsError, match=r"q.geojson: .*no object with an area"):
        read_annotations(write_geojson(tmp_path / "q.geojson"), (4, 4))


@pytest.mark.parametrize("at", [-1e300, 1e300], ids=["far left", "far right"])
def test_outlines_far_outside_cost_nothing(at: float, tmp_path: Path) -> None:
    far = feature([[[at, 0], [at, 2], [2, 2], [2, 0], [at, 0]]])
    found = read_annotations(write_geojson(tmp_path / "q.geojson", far), (4, 4))
    assert set(np.unique(found.labels[:2])) <= {0, 1}


def test_an_extent_without_end_is_refused(tmp_path: Path) -> None:
    path = write_geojson(tmp_path / "q.geojson", feature([square(0, 0, 1e12)]))
    with pytest.raises(LabelsError, match="no image is that large"):
        read_annotations(path)


def test_qupath_gets_valid_rings_detections_and_measurements(tmp_path: Path) -> None:
    write_objects(tmp_path / "q.geojson", ring_and_neighbour(), names={1: "membrane"})
    first, _, third = json.loads((tmp_path / "q.geojson").read_text())["features"]
    assert first["properties"]["objectType"] == "detection"
    assert first["properties"]["classification"] == {"name": "membrane"}
    assert first["properties"]["measurements"]["area"] == 40
    outer, hole = first["geometry"]["coordinates"]
    assert outer[0] == outer[-1]
    assert len(hole) == 5
    assert third["geometry"]["type"] == "MultiPolygon"
    assert len(third["geometry"]["coordinates"]) == 2
