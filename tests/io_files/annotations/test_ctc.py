"""Folders of the Cell Tracking Challenge."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tifffile

from napari_unet.errors import FileProblemError, LabelsError
from napari_unet.io.annotations.reading import read_annotations
from napari_unet.io.annotations.writing import write_objects
from napari_unet.objects.link_arrays import link

if TYPE_CHECKING:
    from pathlib import Path


def plane(number: int = 1) -> Any:
    labels = np.zeros((6, 8), np.uint16)
    labels[1:4, 2:5] = number
    return labels


def folder_of(folder: Path, **planes: Any) -> Path:
    folder.mkdir(parents=True)
    for name, labels in planes.items():
        tifffile.imwrite(folder / f"{name}.tif", labels)
    return folder


def test_frames_lie_where_their_numbers_say(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "01_GT" / "SEG", man_seg001=plane(3), man_seg003=plane(4))
    found = read_annotations(folder)
    assert [int(frame.max()) for frame in found.labels] == [0, 3, 0, 4]
    assert found.unlabelled == ((0,), (2,))
    assert found.notices == ("Frames without labels: 0, 2; nothing is labelled there.",)


def test_frames_behind_the_last_one_are_unlabelled(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "01_RES", mask000=plane())
    assert read_annotations(folder, (3, 6, 8)).unlabelled == ((1,), (2,))


def test_the_segmentation_comes_before_the_markers(tmp_path: Path) -> None:
    folder_of(tmp_path / "01_GT" / "TRA", man_track000=plane(1))
    folder_of(tmp_path / "01_GT" / "SEG", man_seg000=plane(2))
    assert read_annotations(tmp_path / "01_GT").labels.max() == 2


def test_markers_are_taken_where_there_is_no_segmentation(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "01_GT" / "TRA", man_track000=plane(5))
    (folder / "man_track.txt").write_text("5 0 0 0\n")
    assert read_annotations(tmp_path / "01_GT").labels.max() == 5


def test_single_planes_of_3d_frames(tmp_path: Path) -> None:
    planes = {"man_seg_000_002": plane(7), "man_seg_001_001": plane(8)}
    found = read_annotations(folder_of(tmp_path / "SEG", **planes), (2, 4, 6, 8))
    assert np.argwhere(found.labels.any(axis=(2, 3))).tolist() == [[0, 2], [1, 1]]
    assert len(found.unlabelled) == 6


@pytest.mark.parametrize(
    ("planes", "shape", "reason"),
    [
        ({}, None, "holds no man_seg"),
        ({"mask000": plane(), "mask001": plane()[:4]}, None, "not \\(6, 8\\) like the others"),
        ({"man_seg000": plane(), "man_seg_001_000": plane()}, None, "whole frames and single"),
        ({"mask004": plane()}, (3, 6, 8), "numbered up to 4"),
        ({"mask000": plane()}, (1, 6, 9), "Choose the folder of this movie"),
        ({"mask999999": np.zeros((300, 300), np.uint8)}, None, "Number them from 0"),
    ],
    ids=["none", "sizes differ", "mixed", "too many", "another movie", "numbered wildly"],
)
def test_folders_that_do_not_fit_are_refused(
    planes: Any, shape: Any, reason: str, tmp_path: Path
) -> None:
    folder = folder_of(tmp_path / "01_RES", **planes)
    with pytest.raises((FileProblemError, LabelsError), match=reason):
        read_annotations(folder, shape)


def rows_of(folder: Path) -> list[list[int]]:
    lines = (folder / "res_track.txt").read_text().splitlines()
    return [[int(word) for word in line.split()] for line in lines]


def test_what_is_linked_comes_back(tmp_path: Path) -> None:
    linked, result = link(np.stack([plane(4), plane(9), plane(2)]))
    write_objects(tmp_path / "01_RES", linked, "ctc", axes="TYX", parents=result.parents)
    np.testing.assert_array_equal(read_annotations(tmp_path / "01_RES").labels, linked)
    assert rows_of(tmp_path / "01_RES") == [[1, 0, 2, 0]]
    assert tifffile.imread(tmp_path / "01_RES" / "mask000.tif").dtype == np.uint16


def test_daughters_name_their_mother(tmp_path: Path) -> None:
    movie = np.stack([plane(10), plane(20)])
    movie[1, 1:4, 3] = 0
    movie[1, 1:4, 4] = 30
    write_objects(tmp_path / "01_RES", movie, "ctc", axes="TYX", parents={20: 10, 30: 10})
    assert rows_of(tmp_path / "01_RES") == [[1, 0, 0, 0], [2, 1, 1, 1], [3, 1, 1, 1]]


def test_behind_a_gap_a_track_goes_on_under_a_new_number(tmp_path: Path) -> None:
    movie = np.stack([plane(5), plane(0), plane(5)])
    write_objects(tmp_path / "01_RES", movie, "ctc", axes="TYX")
    assert rows_of(tmp_path / "01_RES") == [[1, 0, 0, 0], [2, 2, 2, 1]]
    assert read_annotations(tmp_path / "01_RES").labels.max(axis=(1, 2)).tolist() == [1, 0, 2]


def test_frames_of_a_longer_movie_do_not_stay(tmp_path: Path) -> None:
    write_objects(tmp_path, np.stack([plane(n) for n in (1, 2, 3, 4)]), "ctc", axes="TYX")
    with pytest.raises(
        FileProblemError, match=r"holds mask002.tif .*2 such frames.*an empty folder"
    ):
        write_objects(tmp_path, np.stack([plane(7), plane(8)]), "ctc", axes="TYX")
    assert len(read_annotations(tmp_path).labels) == 4
    write_objects(tmp_path, np.stack([plane(7)] * 4), "ctc", axes="TYX")
    assert (read_annotations(tmp_path).labels.max(axis=(1, 2)) == 1).all()


def test_a_plane_is_no_movie(tmp_path: Path) -> None:
    with pytest.raises(LabelsError, match="no movie"):
        write_objects(tmp_path / "01_RES", plane(), "ctc")
