"""Annotations are found and paired with their images by name; whatever is odd is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import tifffile

from napari_unet.errors import ConfigError, FileProblemError, LabelsError
from napari_unet.io.annotations.reading import find_annotations, read_annotations
from napari_unet.io.annotations.writing import write_objects
from napari_unet.io.files import pair_files

from .builders import ring_and_neighbour, write_cellpose

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("name", ["a.zip", "a.geojson", "a_seg.npy", "a_cp_masks.tif", "a.tif"])
def test_annotations_pair_with_their_image(name: str, tmp_path: Path) -> None:
    labels = ring_and_neighbour()
    image = tmp_path / "images" / "a.tif"
    image.parent.mkdir()
    tifffile.imwrite(image, labels)
    (tmp_path / "labels").mkdir()
    path = tmp_path / "labels" / name
    if name.endswith(".npy"):
        write_cellpose(path, labels)
    else:
        write_objects(path, labels)
    (pair,) = pair_files([image], find_annotations([tmp_path / "labels"]))
    assert pair == (image, path)
    np.testing.assert_array_equal(read_annotations(path, labels.shape).labels, labels)


def test_beside_images_cellpose_s_files_are_the_annotations(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", ring_and_neighbour())
    path = write_cellpose(tmp_path / "a_seg.npy", ring_and_neighbour())
    assert find_annotations([tmp_path]) == [path]


def test_other_files_beside_label_images_do_not_matter(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", ring_and_neighbour())
    (tmp_path / "dataset.json").write_text("{}")
    assert [path.name for path in find_annotations([tmp_path])] == ["a.tif"]


def test_a_glob_finds_label_images_beside_outlines(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", ring_and_neighbour())
    write_objects(tmp_path / "b.zip", ring_and_neighbour())
    assert [path.name for path in find_annotations([tmp_path / "*"])] == ["a.tif", "b.zip"]


@pytest.mark.parametrize("expanded", [False, True], ids=["by us", "by the shell"])
def test_run_cards_that_a_glob_names_are_no_annotations(expanded: bool, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", ring_and_neighbour())
    (tmp_path / "a.tif.run.json").write_text("{}")
    named = sorted(tmp_path.iterdir()) if expanded else [tmp_path / "*"]
    assert [path.name for path in find_annotations(named)] == ["a.tif"]


def test_odd_ones_are_listed(tmp_path: Path) -> None:
    with pytest.raises(FileProblemError, match=r"without a partner: b.tif, a.zip, c.zip"):
        pair_files([tmp_path / "b.tif"], [tmp_path / "a.zip", tmp_path / "c.zip"])


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileProblemError, match=r"no file or folder .*gone.zip"):
        read_annotations(tmp_path / "gone.zip")


def test_an_unknown_format_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text("<a/>")
    with pytest.raises(FileProblemError, match=r"unknown format; use one of .tif"):
        read_annotations(tmp_path / "a.xml")


@pytest.mark.parametrize(
    ("shape", "axes"), [((4,), None), ((2, 2, 2, 4, 4), None), ((3, 4, 4), "CYX")], ids=str
)
def test_axes_that_labels_cannot_have_are_refused(
    shape: tuple[int, ...], axes: str | None, tmp_path: Path
) -> None:
    write_objects(tmp_path / "a.zip", ring_and_neighbour())
    with pytest.raises(LabelsError, match="cannot be drawn"):
        read_annotations(tmp_path / "a.zip", shape, axes)


def test_a_name_that_tells_no_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"a.xyz tells no format; end it in .tif, .zip"):
        write_objects(tmp_path / "a.xyz", ring_and_neighbour())


def test_what_cannot_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(FileProblemError, match="Choose another place"):
        write_objects(tmp_path / "gone" / "a.zip", ring_and_neighbour())


def test_a_failed_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.zip"
    write_objects(path, ring_and_neighbour())
    before = path.read_bytes()

    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("napari_unet.io.disk.os.replace", full)
    with pytest.raises(FileProblemError, match="Disk full"):
        write_objects(path, ring_and_neighbour() * 2)
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["a.zip"]


def test_label_images_called_mask_are_no_movie(tmp_path: Path) -> None:
    for name in ("mask_001", "mask_002", "mask_3"):
        tifffile.imwrite(tmp_path / f"{name}.tif", ring_and_neighbour())
    assert [path.name for path in find_annotations([tmp_path])] == [
        *("mask_001.tif", "mask_002.tif", "mask_3.tif")
    ]


def test_masks_with_a_table_of_tracks_are_a_movie(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "mask000.tif", ring_and_neighbour())
    (tmp_path / "res_track.txt").write_text("1 0 0 0")
    assert find_annotations([tmp_path]) == [tmp_path]


def test_masks_of_the_names_of_a_movie_alone_are_no_movie(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "mask000.tif", ring_and_neighbour())
    assert find_annotations([tmp_path]) == [tmp_path / "mask000.tif"]
