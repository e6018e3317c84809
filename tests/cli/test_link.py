"""`napari-unet link`: the same object, the same number."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from napari_unet.io.files import read_image, write_image

from .builders import run, write_images

Capture = pytest.CaptureFixture[str]


def movie() -> NDArray[np.uint16]:
    """Two cells that move; the second divides in the last frame. Numbers change."""
    frames = np.zeros((3, 40, 60), np.uint16)
    for time, (first, second) in enumerate([(1, 2), (7, 3), (2, 9)]):
        frames[time, 5:15, 5 + time : 15 + time] = first
        frames[time, 20:36, 30:50] = second
    frames[2, 20:36, 40:50] = 4
    frames[2, 20:36, 39] = 0
    return frames


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def link(capsys: Capture, *arguments: object) -> Any:
    outcome = run(capsys, "link", *arguments, "--json")
    assert (outcome.code, outcome.err, outcome.out.count("\n")) == (0, "", 1)
    return json.loads(outcome.out)


def test_a_stack_keeps_its_name_and_says_its_axes(capsys: Capture, tmp_path: Path) -> None:
    folder = write_images(tmp_path / "in", cells=movie())
    link(capsys, folder, "--output", tmp_path / "out")
    with tifffile.TiffFile(tmp_path / "out" / "cells.tif") as file:
        assert file.series[0].axes == "TYX"
        linked = file.asarray()
    assert linked.dtype == np.int32
    assert linked[:, 10, 10].tolist() == [1, 1, 1]
    assert linked[:, 30, 32].tolist() == [2, 2, 3]


def test_the_table_names_mothers(capsys: Capture, tmp_path: Path) -> None:
    folder = write_images(tmp_path / "in", cells=movie())
    (row,) = link(capsys, folder, "--output", tmp_path / "out")["linked"]
    assert (row["axis"], row["tracks"], row["divisions"]) == ("T", 4, 1)
    table = rows_of(tmp_path / "out" / "tracks.csv")
    assert list(table[0]) == ["id", "t", "y", "x", "parent", "area", "equivalent diameter"]
    assert list(table[0].values())[:6] == ["1", "0", "9.5", "9.5", "0", "100"]
    assert [(line["id"], line["parent"]) for line in table[-2:]] == [("3", "2"), ("4", "2")]


def test_files_are_frames_of_one_movie(capsys: Capture, tmp_path: Path) -> None:
    frames = {f"t{time}": frame for time, frame in enumerate(movie())}
    folder = write_images(tmp_path / "in", **frames)
    (row,) = link(capsys, folder, "--sequence", "--output", tmp_path / "out")["linked"]
    linked = [tifffile.imread(tmp_path / "out" / f"t{time}.tif") for time in range(3)]
    assert [int(frame[10, 10]) for frame in linked] == [1, 1, 1]
    assert (len(row["outputs"]), row["tracks"]) == (3, 4)
    assert len(rows_of(tmp_path / "out" / "tracks.csv")) == 7


def test_files_of_a_sequence_come_in_the_order_given(capsys: Capture, tmp_path: Path) -> None:
    folder = write_images(tmp_path / "in", b=movie()[0], a=movie()[1])
    arguments = (folder / "b.tif", folder / "a.tif", "--sequence", "--output", tmp_path / "out")
    (row,) = link(capsys, *arguments)["linked"]
    assert [Path(path).name for path in row["inputs"]] == ["b.tif", "a.tif"]


@pytest.mark.parametrize("named", ["folder", "glob", "by the shell"])
def test_frames_of_a_sequence_are_counted_as_numbers(
    capsys: Capture, tmp_path: Path, named: str
) -> None:
    frames = {f"f{n}": movie()[0] for n in range(1, 12)}
    folder = write_images(tmp_path / "in", **frames)
    paths = {
        "folder": [folder],
        "glob": [folder / "*.tif"],
        "by the shell": sorted(folder.iterdir()),
    }
    (row,) = link(capsys, *paths[named], "--sequence", "--output", tmp_path / "out")["linked"]
    assert [Path(path).stem for path in row["inputs"]] == list(frames)


def test_planes_are_linked_through_z(capsys: Capture, tmp_path: Path) -> None:
    folder = write_images(tmp_path / "in", stack=movie())
    (row,) = link(capsys, folder, "--axis", "Z", "--output", tmp_path / "out")["linked"]
    assert (row["axis"], row["tracks"], row["divisions"]) == ("Z", 3, 0)
    assert list(rows_of(tmp_path / "out" / "tracks.csv")[0])[:5] == ["id", "z", "y", "x", "parent"]


def test_several_stacks_have_tables_of_their_own(capsys: Capture, tmp_path: Path) -> None:
    folder = write_images(tmp_path / "in", one=movie(), two=movie()[:2])
    link(capsys, folder, "--output", tmp_path / "out")
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"one.tif", "two.tif", "one_tracks.csv", "two_tracks.csv"}


def test_volumes_over_time_have_all_columns(capsys: Capture, tmp_path: Path) -> None:
    folder = write_images(tmp_path / "in", cells=np.stack([movie()] * 2))
    link(capsys, folder, "--output", tmp_path / "out")
    table = rows_of(tmp_path / "out" / "tracks.csv")
    assert list(table[0])[:7] == ["id", "t", "z", "y", "x", "parent", "volume"]


def test_settings_count(capsys: Capture, tmp_path: Path) -> None:
    folder = write_images(tmp_path / "in", cells=movie())
    arguments = (folder, "--no-divisions", "--minimum-overlap", "0.9", "--output", tmp_path / "out")
    (row,) = link(capsys, *arguments)["linked"]
    assert (row["tracks"], row["divisions"]) == (6, 0)


def test_without_json_a_sentence_says_it(capsys: Capture, tmp_path: Path) -> None:
    folder = write_images(tmp_path / "in", cells=movie())
    outcome = run(capsys, "link", folder, "--output", tmp_path / "out")
    assert outcome.out.startswith("cells.tif: 4 objects linked along T, 1 divisions; table in ")


def test_a_file_that_fails_does_not_stop_the_others(capsys: Capture, tmp_path: Path) -> None:
    folder = write_images(tmp_path / "in", bad=np.zeros((3, 4, 4), np.float32), good=movie())
    outcome = run(capsys, "link", folder, "--output", tmp_path / "out", "--json")
    report = json.loads(outcome.out)
    assert outcome.code == 1
    assert "bad.tif" in outcome.error_line
    assert (len(report["linked"]), len(report["failed"])) == (1, 1)


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["plane.tif", "--output", "out"], 1, "add --sequence"),
        (["cells.tif", "--output", "."], 1, "would overwrite"),
        (["none.tif", "--output", "out"], 1, "none.tif"),
        (["cells.tif", "--axes", "TYX", "--axis", "Z", "--output", "out"], 1, "have no Z"),
        (["cells.tif", "--gap", "-1", "--output", "out"], 2, "gap is -1"),
        (["cells.tif", "--axis", "C", "--output", "out"], 2, "'C'"),
        (["cells.tif", "plane.tif", "--sequence", "--output", "out"], 1, "of one size"),
    ],
    ids=["one plane", "overwrite", "no file", "no z", "gap", "axis", "sizes"],
)
def test_errors_are_one_line(
    capsys: Capture,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    code: int,
    text: str,
) -> None:
    monkeypatch.chdir(write_images(tmp_path, cells=movie(), plane=np.zeros((9, 9), np.uint8)))
    outcome = run(capsys, "link", *arguments, "--json")
    assert outcome.code == code
    assert text in outcome.error_line


def test_a_sequence_keeps_the_pixel_size_of_its_files(capsys: Capture, tmp_path: Path) -> None:
    for time, frame in enumerate(movie()):
        write_image(tmp_path / f"t{time}.tif", frame, "YX", {"Y": 0.5, "X": 0.25})
    link(capsys, tmp_path, "--sequence", "--output", tmp_path / "out")
    assert read_image(tmp_path / "out" / "t2.tif").pixel_size == {"Y": 0.5, "X": 0.25}
    assert rows_of(tmp_path / "out" / "tracks.csv")[0]["area (µm²)"] == "12.5"


def test_frames_that_napari_saved_as_colours_are_linked_with_their_axes(
    capsys: Capture, tmp_path: Path
) -> None:
    tifffile.imwrite(tmp_path / "a.tif", movie(), photometric="rgb")
    arguments = (tmp_path / "a.tif", "--axes", "TYX", "--output", tmp_path / "out")
    assert link(capsys, *arguments)["linked"][0]["tracks"] == 4
