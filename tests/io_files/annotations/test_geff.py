"""Tracks as a graph, in the Graph Exchange File Format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from numpy.typing import NDArray

from napari_unet.errors import FileProblemError, LabelsError
from napari_unet.io.annotations.writing import write_objects


def movie() -> NDArray[np.uint8]:
    """A mother that divides, and a cell that is missing in one frame."""
    labels = np.zeros((4, 20, 30), np.uint8)
    labels[:2, 2:8, 4:14] = 1
    labels[2:, 2:8, 4:8], labels[2:, 2:8, 10:14] = 2, 3
    labels[[0, 1, 3], 12:16, 20:26] = 4
    return labels


def written(path: Path, **more: Any) -> Any:
    write_objects(path, movie(), "geff", axes="TYX", parents={2: 1, 3: 1}, **more)
    return zarr.open_group(str(path), mode="r")


def column(group: Any, name: str) -> Any:
    return group[f"nodes/props/{name}/values"][:]


def test_each_object_of_each_frame_is_a_node(tmp_path: Path) -> None:
    group = written(tmp_path / "t.geff")
    assert group["nodes/ids"][:].tolist() == list(range(9))
    assert column(group, "track").tolist() == [1, 1, 2, 2, 3, 3, 4, 4, 4]
    assert column(group, "t").tolist() == [0, 1, 2, 3, 2, 3, 0, 1, 3]
    assert (column(group, "y")[0], column(group, "x")[0]) == (4.5, 8.5)
    assert column(group, "area")[0] == 60


def test_edges_go_on_over_gaps_and_from_mothers_to_daughters(tmp_path: Path) -> None:
    group = written(tmp_path / "t.geff")
    edges = {tuple(edge) for edge in group["edges/ids"][:].tolist()}
    assert edges == {(0, 1), (1, 2), (2, 3), (1, 4), (4, 5), (6, 7), (7, 8)}


def test_the_graph_says_what_its_axes_are(tmp_path: Path) -> None:
    about: Any = written(tmp_path / "t.geff", pixel_size={"Y": 0.5, "X": 0.5}).attrs["geff"]
    assert about["directed"]
    assert [(each["name"], each["type"], each["unit"]) for each in about["axes"]] == [
        ("t", "time", "frame"),
        ("y", "space", "micrometer"),
        ("x", "space", "micrometer"),
    ]
    assert about["axes"][1]["min"] == 2.25
    assert set(about["node_props_metadata"]) == {"t", "y", "x", "track", "area"}


def test_stacks_over_time_have_depth(tmp_path: Path) -> None:
    write_objects(tmp_path / "t.geff", np.stack([movie()] * 2), "geff", axes="TZYX")
    group: Any = zarr.open_group(str(tmp_path / "t.geff"), mode="r")
    assert column(group, "z")[0] == 0.5
    assert column(group, "volume")[0] == 120


def test_its_own_program_reads_it(tmp_path: Path) -> None:
    geff = pytest.importorskip("geff", reason="needs geff")
    written(tmp_path / "t.geff")
    geff.validate_structure(tmp_path / "t.geff")
    graph, _ = geff.read(tmp_path / "t.geff")
    assert (graph.number_of_nodes(), graph.number_of_edges()) == (9, 7)


def test_a_movie_without_objects_is_a_graph_too(tmp_path: Path) -> None:
    write_objects(tmp_path / "t.geff", np.zeros((2, 5, 5), np.uint8), axes="TYX")
    group: Any = zarr.open_group(str(tmp_path / "t.geff"), mode="r")
    assert group["nodes/ids"].shape == (0,)
    assert group["edges/ids"].shape == (0, 2)


def test_without_time_there_are_no_tracks(tmp_path: Path) -> None:
    with pytest.raises(LabelsError, match="no movie"):
        write_objects(tmp_path / "t.geff", movie(), "geff")


def test_it_replaces_its_own_but_nothing_else(tmp_path: Path) -> None:
    written(tmp_path / "t.geff")
    assert written(tmp_path / "t.geff")["nodes/ids"].shape == (9,)
    (tmp_path / "mine.geff").mkdir()
    with pytest.raises(FileProblemError, match="not written by"):
        written(tmp_path / "mine.geff")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["mine.geff", "t.geff"]
