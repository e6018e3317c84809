"""COCO JSON: polygons, run lengths as lists and as texts."""

from __future__ import annotations

import json
import tracemalloc
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from napari_unet.errors import FileProblemError, LabelsError
from napari_unet.io.annotations.reading import read_annotations
from napari_unet.io.annotations.writing import write_objects

from .builders import ring_and_neighbour

if TYPE_CHECKING:
    from pathlib import Path

IMAGE = {"id": 5, "file_name": "images/cells.png", "height": 4, "width": 6}
SQUARE = [1, 1, 3, 1, 3, 3, 1, 3]
# Columns 1 and 2, rows 1 and 2: 5 pixels before, runs of 2, 2 between, the rest.
COUNTS = [5, 2, 2, 2, 13]


def expected() -> Any:
    labels = np.zeros((4, 6), int)
    labels[1:3, 1:3] = 1
    return labels


def write(path: Path, *segmentations: Any, images: Any = (IMAGE,)) -> Path:
    annotations = [
        {"id": 900 + n, "image_id": 5, "category_id": 3, "segmentation": each, "iscrowd": 0}
        for n, each in enumerate(segmentations)
    ]
    categories = [{"id": 3, "name": "cell", "supercategory": "none"}]
    content = {"images": list(images), "annotations": annotations, "categories": categories}
    path.write_text(json.dumps(content))
    return path


def packed(counts: list[int]) -> str:
    """Pack run lengths as COCO's own tools do."""
    text = ""
    for at, count in enumerate(counts):
        value = count - (counts[at - 2] if at > 2 else 0)
        while True:
            bits, value = value & 0x1F, value >> 5
            more = value != (-1 if bits & 0x10 else 0)
            text += chr(48 + bits + (0x20 if more else 0))
            if not more:
                break
    return text


@pytest.mark.parametrize(
    "segmentation",
    [
        [SQUARE],
        {"size": [4, 6], "counts": COUNTS},
        {"size": [4, 6], "counts": packed(COUNTS)},
    ],
    ids=["polygon", "run lengths", "packed run lengths"],
)
def test_segmentations_are_read(segmentation: Any, tmp_path: Path) -> None:
    path = write(tmp_path / "coco.json", segmentation)
    found = read_annotations(path, (4, 6))
    np.testing.assert_array_equal(found.labels, expected())
    assert found.names == {1: "cell"}


def test_large_runs_are_unpacked(tmp_path: Path) -> None:
    image = IMAGE | {"height": 1000, "width": 1000}
    counts = [100_000, 1000, 3000, 7, 895_993]
    path = write(tmp_path / "coco.json", {"size": [1000, 1000], "counts": packed(counts)},
                 images=[image])  # fmt: skip
    labels = read_annotations(path).labels
    assert labels.shape == (1000, 1000)
    assert labels[:, 100].all()
    assert labels.sum() == 1007


def test_polygons_of_one_object_are_united(tmp_path: Path) -> None:
    corner = [2, 2, 5, 2, 5, 4, 2, 4]
    found = read_annotations(write(tmp_path / "coco.json", [SQUARE, corner]), (4, 6)).labels
    both = expected()
    both[2:4, 2:5] = 1
    np.testing.assert_array_equal(found, both)


def test_runs_take_no_more_memory_than_their_plane(tmp_path: Path) -> None:
    image = IMAGE | {"height": 1000, "width": 1000}
    path = write(tmp_path / "coco.json", {"size": [1000, 1000], "counts": [0, 10**6]},
                 images=[image])  # fmt: skip
    tracemalloc.start()
    try:
        assert read_annotations(path, (1000, 1000)).labels.all()
        assert tracemalloc.get_traced_memory()[1] < 12 * 10**6
    finally:
        tracemalloc.stop()


def test_too_little_memory_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> None:
        raise MemoryError

    monkeypatch.setattr("napari_unet.io.annotations.drawn.fill_object", full)
    with pytest.raises(LabelsError, match=r"coco.json: its objects need more memory"):
        read_annotations(write(tmp_path / "coco.json", [SQUARE]), (4, 6))


def test_the_file_tells_the_size(tmp_path: Path) -> None:
    assert read_annotations(write(tmp_path / "coco.json", [SQUARE])).labels.shape == (4, 6)


def test_the_name_picks_the_image(tmp_path: Path) -> None:
    images = [{**IMAGE, "id": 6, "file_name": "others.png"}, IMAGE]
    path = write(tmp_path / "coco.json", [SQUARE], images=images)
    found = read_annotations(path, (4, 6), image_name="cells.tif")
    np.testing.assert_array_equal(found.labels, expected())
    with pytest.raises(FileProblemError, match=r"holds 2 images \(others.png, images/cells.png\)"):
        read_annotations(path, (4, 6), image_name="unknown.tif")


@pytest.mark.parametrize(
    ("segmentation", "reason"),
    [
        ({"size": [4, 6], "counts": [5, 2]}, "add up to 7, the image has 24"),
        ({"size": [4, 6], "counts": [-1, 25]}, "greater than or equal"),
        ({"size": [4, 6], "counts": "~~"}, "no run length"),
        ({"size": [4, 6], "counts": "P" * 100}, "no run length"),
        ({"size": [4], "counts": [24]}, "at least 2 items"),
        ({"size": [10**5, 10**5], "counts": [0, 10**10]}, r"size of \(100000, 100000\), the im"),
        ([[1, 2, 3, 4, 5, 6, 7]], "odd number"),
        ([[1, 2, "3"]], "valid"),
    ],
    ids=["short", "negative", "letters", "endless", "size", "vast", "odd", "texts"],
)
def test_damaged_segmentations_are_refused(segmentation: Any, reason: str, tmp_path: Path) -> None:
    with pytest.raises(FileProblemError, match=reason):
        read_annotations(write(tmp_path / "coco.json", segmentation), (4, 6))


@pytest.mark.parametrize(
    "segmentation", [[SQUARE], {"size": [4, 6], "counts": COUNTS}], ids=["polygon", "run lengths"]
)
def test_an_image_of_another_size_is_refused(segmentation: Any, tmp_path: Path) -> None:
    path = write(tmp_path / "coco.json", segmentation)
    with pytest.raises(LabelsError, match=r"width \(4, 6\), yours has \(8, 12\); choose the image"):
        read_annotations(path, (8, 12))


def test_boxes_alone_are_left_out_and_counted(tmp_path: Path) -> None:
    found = read_annotations(write(tmp_path / "coco.json", [SQUARE], None), (4, 6))
    assert found.notices == (
        "Annotations without an outline (boxes, points): 1; they are left out.",
    )


def test_others_get_polygons_run_lengths_areas_and_boxes(tmp_path: Path) -> None:
    write_objects(tmp_path / "coco.json", ring_and_neighbour())
    content = json.loads((tmp_path / "coco.json").read_text())
    ring, inner, parts = content["annotations"]
    assert ring["segmentation"]["size"] == [12, 16]
    assert sum(ring["segmentation"]["counts"]) == 12 * 16
    assert inner["segmentation"] == [[3, 3, 6, 3, 6, 6, 3, 6]]
    assert (inner["area"], inner["bbox"]) == (9, [3, 3, 3, 3])
    assert isinstance(parts["segmentation"], dict)
    assert content["categories"] == [{"id": 1, "name": "object"}]
