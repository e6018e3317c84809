"""ROIs as ImageJ writes them."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from roifile import ROI_SUBTYPE, ROI_TYPE, ImagejRoi, roiread, roiwrite

from napari_unet.errors import FileProblemError, LabelsError
from napari_unet.io.annotations import rois
from napari_unet.io.annotations.reading import read_annotations
from napari_unet.io.annotations.writing import write_objects

from .builders import ring_and_neighbour

if TYPE_CHECKING:
    from pathlib import Path

    from napari_unet.io.annotations.drawn import Annotations


def roi_of(points: Any, name: str = "cell", **attributes: Any) -> ImagejRoi:
    roi = ImagejRoi.frompoints(np.array(points), name=name)
    for key, value in attributes.items():
        setattr(roi, key, value)
    return roi


def box(kind: ROI_TYPE, left: int, top: int, right: int, bottom: int) -> ImagejRoi:
    return ImagejRoi(roitype=kind, left=left, top=top, right=right, bottom=bottom, name="box")


def read(tmp_path: Path, *rois: ImagejRoi, shape: Any = (8, 10), **how: Any) -> Annotations:
    roiwrite(tmp_path / "rois.zip", rois, mode="w", name=[f"{n:02d}" for n in range(len(rois))])
    return read_annotations(tmp_path / "rois.zip", shape, **how)


SQUARE = [(2, 1), (6, 1), (6, 4), (2, 4)]


def square_pixels(shape: tuple[int, ...] = (8, 10)) -> Any:
    expected = np.zeros(shape, int)
    expected[..., 1:4, 2:6] = 1
    return expected


@pytest.mark.parametrize(
    "roi",
    [
        roi_of(SQUARE),
        roi_of(SQUARE, roitype=ROI_TYPE.POLYGON),
        roi_of(SQUARE, roitype=ROI_TYPE.TRACED),
        roi_of(np.array(SQUARE) + 0.25),
        box(ROI_TYPE.RECT, 2, 1, 6, 4),
    ],
    ids=["freehand", "polygon", "traced", "sub-pixel", "rectangle"],
)
def test_areas_hold_the_pixels_whose_centres_are_inside(roi: ImagejRoi, tmp_path: Path) -> None:
    np.testing.assert_array_equal(read(tmp_path, roi).labels, square_pixels())


def test_an_oval_is_round(tmp_path: Path) -> None:
    labels = read(tmp_path, box(ROI_TYPE.OVAL, 1, 1, 7, 7)).labels
    rows, columns = np.indices((8, 10)) + 0.5
    np.testing.assert_array_equal(labels, (rows - 4) ** 2 + (columns - 4) ** 2 < 9)


def test_one_roi_file_is_read(tmp_path: Path) -> None:
    roi_of(SQUARE).tofile(tmp_path / "cell.roi")
    labels = read_annotations(tmp_path / "cell.roi", (8, 10)).labels
    np.testing.assert_array_equal(labels, square_pixels())


@pytest.mark.parametrize(
    "place",
    [{"position": 3}, {"z_position": 3, "c_position": 1, "t_position": 1}, {"t_position": 3}],
    ids=["stack", "hyperstack", "movie"],
)
def test_positions_count_from_1(place: dict[str, Any], tmp_path: Path) -> None:
    labels = read(tmp_path, roi_of(SQUARE, **place), shape=(4, 8, 10)).labels
    np.testing.assert_array_equal(labels[2], square_pixels())
    assert not labels[[0, 1, 3]].any()


def test_slice_and_frame_are_told_apart(tmp_path: Path) -> None:
    roi = roi_of(SQUARE, z_position=2, t_position=3)
    labels = read(tmp_path, roi, shape=(3, 4, 8, 10)).labels
    assert np.argwhere(labels.any(axis=(2, 3))).tolist() == [[2, 1]]


def test_a_name_of_imagej_tells_the_plane(tmp_path: Path) -> None:
    labels = read(tmp_path, roi_of(SQUARE, name="0002-0003-0004"), shape=(3, 8, 10)).labels
    assert labels.any(axis=(1, 2)).tolist() == [False, True, False]


def test_rois_without_a_position_are_in_all_planes(tmp_path: Path) -> None:
    found = read(tmp_path, roi_of(SQUARE), shape=(2, 8, 10))
    np.testing.assert_array_equal(found.labels, square_pixels((2, 8, 10)))
    assert "name no plane: 1" in found.notices[0]


def test_the_later_one_lies_on_top_and_that_is_said(tmp_path: Path) -> None:
    found = read(tmp_path, roi_of(SQUARE), box(ROI_TYPE.RECT, 4, 0, 9, 9))
    assert found.labels[2, [3, 4]].tolist() == [1, 2]
    assert found.notices == ("Objects that lie partly on others: 1; the later ones count.",)


@pytest.mark.parametrize(
    ("rois", "notice"),
    [
        ([box(ROI_TYPE.RECT, 20, 20, 25, 25)], "outside of the image: 1"),
        ([roi_of([(3.6, 3.6), (4.2, 3.6), (4.2, 4.2)])], "centre of no pixel: 1"),
        ([roi_of(SQUARE, position=9)], "planes that the image does not have: 1"),
        ([ImagejRoi(roitype=ROI_TYPE.LINE)], "without an area (lines, points, texts): 1"),
        ([roi_of(SQUARE, roitype=ROI_TYPE.POINT)], "without an area (lines, points, texts): 1"),
    ],
    ids=["outside", "too small", "elsewhere", "a line", "points"],
)
def test_what_is_left_out_is_counted(rois: Any, notice: str, tmp_path: Path) -> None:
    shape = (2, 8, 10) if "planes" in notice else (8, 10)
    found = read(tmp_path, box(ROI_TYPE.RECT, 0, 0, 1, 1), *rois, shape=shape)
    assert any(notice in text for text in found.notices)
    assert set(np.unique(found.labels)) == {0, 1}


@pytest.mark.parametrize(
    ("names", "groups", "classes"),
    [
        (["nucleus-1", "nucleus-2", "debris"], [0, 0, 0], {1: "debris", 2: "nucleus"}),
        (["CD3+-1", "CD3-2", "2-cell"], [0, 0, 0], {1: "2-cell", 2: "CD3", 3: "CD3+"}),
        (["T1-1", "T1-2", "Stage 2"], [0, 0, 0], {1: "Stage 2", 2: "T1"}),
        (["0001-0002", "0003-0004", "0005-0006"], [2, 2, 1], {1: "group 1", 2: "group 2"}),
        (["1", "2", "cell"], [0, 0, 0], {1: "cell", 2: "unnamed"}),
    ],
    ids=["names", "signs", "digits", "groups", "some"],
)
def test_names_or_groups_are_classes(
    names: list[str], groups: list[int], classes: dict[int, str], tmp_path: Path
) -> None:
    rois = [roi_of(SQUARE, name, group=group) for name, group in zip(names, groups, strict=True)]
    assert read(tmp_path, *rois, kind="classes").names == classes


def test_without_a_shape_the_labels_reach_as_far_as_the_objects(tmp_path: Path) -> None:
    assert read(tmp_path, roi_of(SQUARE), shape=None).labels.shape == (4, 6)


def test_imagej_s_reader_finds_numbers_positions_and_kinds(tmp_path: Path) -> None:
    labels = np.stack([np.zeros((12, 16), int), ring_and_neighbour()])
    write_objects(tmp_path / "cells.zip", labels, names={2: "nucleus"})
    rois = roiread(tmp_path / "cells.zip")
    assert isinstance(rois, list)
    assert [roi.name for roi in rois] == ["0001-z0002", "0002-z0002-nucleus", "0007-z0002"]
    assert [roi.position for roi in rois] == [2, 2, 2]
    assert [roi.group for roi in rois] == [0, 1, 0]
    assert [roi.composite for roi in rois] == [True, False, True]
    assert (rois[1].roitype, rois[1].subtype) == (ROI_TYPE.TRACED, ROI_SUBTYPE.UNDEFINED)
    assert rois[1].coordinates().tolist() == [[3, 3], [6, 3], [6, 6], [3, 6]]  # type: ignore[union-attr]


def test_planes_beyond_imagej_s_format_are_refused(tmp_path: Path) -> None:
    with pytest.raises(LabelsError, match="too large for ImageJ's ROIs"):
        write_objects(tmp_path / "cells.zip", np.ones((1, 70_000), np.uint8))


@pytest.mark.fault(38)
@pytest.mark.parametrize("limit", ["_LARGEST_ENTRY", "_LARGEST_ALL"])
def test_a_bomb_is_refused_before_it_is_unpacked(
    limit: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rois, limit, 1000)
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.roi", bytes(10**6))
    with pytest.raises(FileProblemError, match="unpacks to more than"):
        read_annotations(tmp_path / "bomb.zip", (8, 8))


@pytest.mark.fault(38)
def test_an_archive_of_too_many_files_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rois, "_MOST_ENTRIES", 3)
    with pytest.raises(FileProblemError, match="holds 4 files"):
        read(tmp_path, *[roi_of(SQUARE)] * 4)


@pytest.mark.fault(38)
def test_names_that_lead_elsewhere_lead_nowhere(tmp_path: Path) -> None:
    folder = tmp_path / "inside"
    folder.mkdir()
    with zipfile.ZipFile(folder / "slip.zip", "w") as archive:
        archive.writestr("../../cell.roi", roi_of(SQUARE).tobytes())
    labels = read_annotations(folder / "slip.zip", (8, 10)).labels
    np.testing.assert_array_equal(labels, square_pixels())
    assert [path.name for path in tmp_path.iterdir()] == ["inside"]


def test_other_files_in_the_archive_do_not_matter(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "rois.zip", "w") as archive:
        archive.writestr("__MACOSX/x", b"?")
        archive.writestr("cell.roi", roi_of(SQUARE).tobytes())
    assert read_annotations(tmp_path / "rois.zip", (8, 10)).labels.max() == 1


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "cannot read"), (b"PK\x03\x04 and no more", "cannot read"), (None, "no object")],
    ids=["empty", "broken", "no ROI"],
)
def test_archives_without_rois_are_refused(
    content: bytes | None, reason: str, tmp_path: Path
) -> None:
    path = tmp_path / "rois.zip"
    if content is None:
        zipfile.ZipFile(path, "w").close()
    else:
        path.write_bytes(content)
    with pytest.raises((FileProblemError, LabelsError), match=f"(?i){reason}"):
        read_annotations(path, (8, 10))


def test_coordinates_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    roi = roi_of(np.array(SQUARE) + 0.25)
    assert roi.subpixel_coordinates is not None
    roi.subpixel_coordinates[1, 0] = np.nan
    with pytest.raises(LabelsError, match="no finite number"):
        read(tmp_path, roi)


def test_a_million_corners_are_read(tmp_path: Path) -> None:
    angle = np.linspace(0, 2 * np.pi, 10**6, endpoint=False)
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1) * 40 + 50
    roi = roi_of(circle)
    labels = read(tmp_path, roi, shape=(100, 100)).labels
    assert labels.sum() == pytest.approx(np.pi * 1600, rel=0.01)
