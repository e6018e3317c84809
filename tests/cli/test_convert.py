"""`napari-unet convert`: from the format of one program into that of another."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tifffile

from napari_unet.io.annotations.reading import read_annotations
from napari_unet.io.annotations.writing import write_objects
from napari_unet.io.files import read_image, write_image
from napari_unet.io.ome_zarr import create_store

from .builders import TINY, picture, run, write_images

if TYPE_CHECKING:
    from pathlib import Path

Capture = pytest.CaptureFixture[str]


def objects() -> Any:
    return np.maximum(picture()[1], 1) - 1


def convert(capsys: Capture, *arguments: object) -> Any:
    outcome = run(capsys, "convert", *arguments, "--json")
    assert (outcome.code, outcome.err, outcome.out.count("\n")) == (0, "", 1)
    return json.loads(outcome.out)["converted"]


@pytest.mark.parametrize(
    ("to", "name"),
    [("labels", "c.tif"), ("roi", "c.zip"), ("geojson", "c.geojson"), ("coco", "c.json")],
)
def test_a_label_image_becomes_every_format(
    to: str, name: str, capsys: Capture, tmp_path: Path
) -> None:
    folder = write_images(tmp_path / "in", c=objects())
    (row,) = convert(capsys, folder, "--output", tmp_path / "out", "--to", to)
    assert (row["output"], row["objects"]) == (str(tmp_path / "out" / name), 4)
    found = read_annotations(tmp_path / "out" / name, (48, 48))
    np.testing.assert_array_equal(found.labels, objects())


def test_outlines_become_labels_of_the_image_s_size(capsys: Capture, tmp_path: Path) -> None:
    images = write_images(tmp_path / "in", cells=picture()[0])
    write_objects(tmp_path / "cells.zip", objects())
    output = tmp_path / "cells.tif"
    arguments = (tmp_path / "cells.zip", "--to", "labels", "--output", output)
    convert(capsys, *arguments, "--image", images / "cells.tif")
    np.testing.assert_array_equal(tifffile.imread(output), objects())


def test_several_files_pair_with_their_images(capsys: Capture, tmp_path: Path) -> None:
    wide = np.zeros((48, 60), np.uint8)
    images = write_images(tmp_path / "images", a=picture()[0], b=wide)
    (tmp_path / "in").mkdir()
    for name in "ab":
        write_objects(tmp_path / "in" / f"{name}.geojson", objects())
    convert(
        capsys,
        *(tmp_path / "in", "--to", "labels", "--output", tmp_path / "out", "--image", images),
    )
    shapes = [tifffile.imread(tmp_path / "out" / f"{name}.tif").shape for name in "ab"]
    assert shapes == [(48, 48), (48, 60)]


def test_classes_are_named(capsys: Capture, tmp_path: Path) -> None:
    write_objects(tmp_path / "a.geojson", objects(), names={1: "x", 2: "y", 3: "x", 4: "x"})
    (row,) = convert(
        capsys,
        *(tmp_path / "a.geojson", "--classes", "--to", "labels", "--output", tmp_path / "a.tif"),
    )
    assert row["classes"] == {"1": "x", "2": "y"}
    assert row["objects"] == 2


def test_intensities_of_the_image_are_measured(capsys: Capture, tmp_path: Path) -> None:
    image, _ = picture()
    folder = write_images(tmp_path / "images", a=image)
    labels = write_images(tmp_path / "labels", a=objects())
    convert(capsys, labels, "--to", "csv", "--output", tmp_path / "a.csv", "--image", folder)
    header, first = (tmp_path / "a.csv").read_text().splitlines()[:2]
    row = dict(zip(header.split(","), first.split(","), strict=True))
    assert float(row["mean intensity"]) == pytest.approx(float(image[objects() == 1].mean()))


def test_intensities_of_all_channels_are_measured(capsys: Capture, tmp_path: Path) -> None:
    labels = write_images(tmp_path / "labels", c=objects())
    image = np.stack([picture()[0], picture()[0]])
    write_image(tmp_path / "c.tif", image, "CYX")
    arguments = (labels, "--image", tmp_path / "c.tif", "--to", "csv", "--output", tmp_path / "out")
    convert(capsys, *arguments)
    assert "mean intensity 1" in (tmp_path / "out" / "c.csv").read_text("utf-8").splitlines()[0]


def test_linked_frames_become_a_folder_with_their_mothers(capsys: Capture, tmp_path: Path) -> None:
    movie = np.stack([np.where(objects() == 1, 1, 0), np.where(objects() > 1, objects(), 0)])
    tifffile.imwrite(tmp_path / "m.tif", movie.astype(np.uint8), metadata={"axes": "TYX"})
    (tmp_path / "tracks.csv").write_text("id,t,y,x,parent\n1,0,9,9,0\n2,1,9,9,1\n3,1,9,9,1\n")
    (row,) = convert(
        capsys,
        *(tmp_path / "m.tif", "--to", "ctc", "--output", tmp_path / "01_RES"),
        *("--tracks", tmp_path / "tracks.csv"),
    )
    table = (tmp_path / "01_RES" / "res_track.txt").read_text().split("\n")
    assert table == ["1 0 0 0", "2 1 1 1", "3 1 1 1", "4 1 1 0", ""]
    assert row["output"] == str(tmp_path / "01_RES")


def test_a_folder_of_linked_frames_is_one_movie(capsys: Capture, tmp_path: Path) -> None:
    first = np.where(objects() == 1, 1, 0).astype(np.uint8)
    second = np.where(objects() > 1, objects(), 0).astype(np.uint8)
    folder = write_images(tmp_path / "linked", f2=first, f10=second)
    (folder / "tracks.csv").write_text("id,t,y,x,parent\n1,0,9,9,0\n2,1,9,9,1\n3,1,9,9,1\n")
    (row,) = convert(
        capsys,
        *(folder, "--sequence", "--to", "ctc", "--output", tmp_path / "01_RES"),
        *("--tracks", folder / "tracks.csv"),
    )
    table = (tmp_path / "01_RES" / "res_track.txt").read_text().split("\n")
    assert table == ["1 0 0 0", "2 1 1 1", "3 1 1 1", "4 1 1 0", ""]
    assert row["input"] == [str(folder / name) for name in ("f2.tif", "f10.tif")]


def test_a_folder_of_linked_frames_is_a_graph(capsys: Capture, tmp_path: Path) -> None:
    folder = write_images(tmp_path / "linked", f1=objects(), f2=objects())
    convert(capsys, folder, "--sequence", "--to", "geff", "--output", tmp_path / "t.geff")
    assert (tmp_path / "t.geff" / "nodes").is_dir()


def test_a_graph_of_tracks_is_replaced_only_on_demand(capsys: Capture, tmp_path: Path) -> None:
    write_image(tmp_path / "cells.tif", np.stack([objects(), objects()]), "TYX")
    order = ("--to", "geff", "--output", tmp_path / "t.geff")
    convert(capsys, tmp_path / "cells.tif", *order)
    (tmp_path / "t.geff" / "notes.txt").write_text("mine")
    again = run(capsys, "convert", tmp_path / "cells.tif", *order)
    assert again.code == 1
    assert "t.geff is already there; choose another name" in again.err
    assert (tmp_path / "t.geff" / "notes.txt").exists()
    convert(capsys, tmp_path / "cells.tif", *order, "--overwrite")
    assert not (tmp_path / "t.geff" / "cells.geff").exists()


def test_frames_of_other_sizes_are_no_movie(capsys: Capture, tmp_path: Path) -> None:
    folder = write_images(tmp_path / "linked", f1=objects(), f2=objects()[:9])
    arguments = ("convert", folder, "--sequence", "--to", "ctc", "--output", tmp_path / "out")
    outcome = run(capsys, *arguments)
    assert outcome.code == 1
    assert "f2.tif has shape (9, " in outcome.error_line


def test_words_for_people(capsys: Capture, tmp_path: Path) -> None:
    folder = write_images(tmp_path / "in", c=objects())
    outcome = run(capsys, "convert", folder, "--to", "roi", "--output", tmp_path / "c.zip")
    assert outcome.out == f"c.tif: 4 objects in {tmp_path / 'c.zip'}.\n"


def test_one_damaged_file_does_not_stop_the_others(capsys: Capture, tmp_path: Path) -> None:
    folder = write_images(tmp_path / "in", c=objects())
    (folder / "bad.tif").write_bytes(b"?")
    outcome = run(capsys, "convert", folder, "--to", "roi", "--output", tmp_path / "out")
    assert outcome.code == 1
    assert outcome.error_line.startswith("napari-unet: bad.tif: Cannot read")
    assert (tmp_path / "out" / "c.zip").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        (["--to", "xml", "--output", "a"], 2, "invalid choice"),
        (["--to", "roi"], 2, "--output"),
        (["--to", "labels", "--output", "in"], 1, "would overwrite what is read"),
        (["--to", "ctc", "--output", "out"], 1, "no movie"),
        (["--to", "ctc", "--output", "out", "--tracks", "in/c.tif"], 1, "columns id and parent"),
    ],
    ids=["format", "no output", "overwrite", "no movie", "no table"],
)
def test_wrong_use_is_one_line(
    arguments: list[str],
    code: int,
    reason: str,
    capsys: Capture,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    write_images(tmp_path / "in", c=objects())
    outcome = run(capsys, "convert", "in", *arguments)
    assert outcome.code == code
    assert reason in outcome.error_line


@pytest.mark.parametrize("name", ["cells.zip", "cells.geojson", "cells_seg.npy"])
def test_train_takes_annotations_of_other_programs(
    name: str, capsys: Capture, tmp_path: Path
) -> None:
    images = write_images(tmp_path / "images", cells=picture()[0])
    path = tmp_path / name
    if name.endswith(".npy"):
        np.save(path, {"masks": objects()}, allow_pickle=True)  # type: ignore[arg-type]
    else:
        write_objects(path, objects())
    arguments = ("--images", images, "--labels", path, "--output", tmp_path / "model", *TINY)
    outcome = run(capsys, "train", *arguments)
    assert outcome.code == 2
    assert "add --unpainted background" in outcome.error_line
    assert run(capsys, "train", *arguments, "--unpainted", "background", "--json").code == 0


@pytest.mark.parametrize("axes", ["YX", "ZYX", "CZYX", "TYX"])
def test_a_zarr_result_keeps_its_axes_and_pixel_size(
    axes: str, capsys: Capture, tmp_path: Path
) -> None:
    labels = objects() if axes == "YX" else np.stack([objects()] * 4)
    size = {axis: 0.5 for axis in "ZYX" if axis in axes}
    stored = labels[np.newaxis] if "C" in axes else labels
    array = create_store(tmp_path / "z.zarr", stored.shape, stored.dtype, stored.shape, axes, size)
    array[...] = stored
    convert(capsys, tmp_path / "z.zarr", "--to", "csv", "--output", tmp_path / "z.csv")
    header, first = (tmp_path / "z.csv").read_text("utf-8").splitlines()[:2]
    row = dict(zip(header.split(","), first.split(","), strict=True))
    measured = {"YX": "area", "TYX": "area"}.get(axes, "volume")
    assert row[measured] == ("100" if measured == "area" else "400")
    assert ("frame" in row) == ("T" in axes)
    assert any("µm" in name for name in row)


def test_a_label_image_keeps_its_pixel_size(capsys: Capture, tmp_path: Path) -> None:
    write_image(tmp_path / "a.tif", objects(), "YX", {"Y": 0.5, "X": 0.25})
    convert(capsys, tmp_path / "a.tif", "--to", "labels", "--output", tmp_path / "b.tif")
    assert read_image(tmp_path / "b.tif").pixel_size == {"Y": 0.5, "X": 0.25}


@pytest.mark.parametrize("n_frames", [3, 4])
def test_frames_that_napari_saved_as_colours_are_converted_with_their_axes(
    n_frames: int, capsys: Capture, tmp_path: Path
) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.stack([objects()] * n_frames), photometric="rgb")
    arguments = (path, "--axes", "TYX", "--to", "csv", "--output", tmp_path / "a.csv")
    convert(capsys, *arguments)
    assert "frame" in (tmp_path / "a.csv").read_text("utf-8").splitlines()[0]
