"""What would take hours to read, or all memory for its list, is told of with its number."""

from __future__ import annotations

import json
import struct
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tifffile

from napari_unet.errors import FileProblemError, LabelsError
from napari_unet.io import tiff_files, tiff_sets
from napari_unet.io.annotations.reading import read_annotations
from napari_unet.io.files import read_image

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.fault(58)


def write_pages(path: Path, count: int) -> Path:
    """Write a TIFF of so many pages without anything in them."""
    pages = (struct.pack("<HI", 0, 8 + 6 * (n + 1) if n + 1 < count else 0) for n in range(count))
    path.write_bytes(struct.pack("<2sHI", b"II", 42, 8) + b"".join(pages))
    return path


def test_a_tiff_of_two_million_pages_is_told_of_in_seconds(tmp_path: Path) -> None:
    path = write_pages(tmp_path / "x.tif", 2_000_000)
    begin = time.process_time()
    with pytest.raises(FileProblemError, match=r"more than 200000 pages.*save it as OME-Zarr"):
        read_image(path)
    assert time.process_time() - begin < 15


@pytest.mark.parametrize("attribute", ["PlaneCount", "SizeT"])
def test_an_ome_tiff_that_claims_billions_of_planes_is_told_of(
    tmp_path: Path, attribute: str
) -> None:
    tifffile.imwrite(tmp_path / "x.ome.tif", np.ones((3, 8, 9), np.uint8), metadata={"axes": "TYX"})
    with tifffile.TiffFile(tmp_path / "x.ome.tif") as file:
        about = file.ome_metadata or ""
    assert f'{attribute}="3"' in about
    about = about.replace(f'{attribute}="3"', f'{attribute}="4000000000"')
    tifffile.imwrite(
        tmp_path / "x.ome.tif", np.ones((8, 9), np.uint8), description=about, metadata=None
    )
    with pytest.raises(FileProblemError, match=r"more than 200000 pages"):
        read_image(tmp_path / "x.ome.tif")


def test_a_tiff_of_as_many_pages_as_are_read_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiff_files, "MOST_PAGES", 5)
    monkeypatch.setattr(tiff_sets, "MOST_PAGES", 5)
    for count in (5, 6):
        with tifffile.TiffWriter(tmp_path / f"{count}.tif") as file:
            for _ in range(count):
                file.write(np.ones((8, 9), np.uint8), contiguous=False, metadata=None)
    assert read_image(tmp_path / "5.tif").array.shape == (5, 8, 9)
    with pytest.raises(FileProblemError, match=r"more than 5 pages"):
        read_image(tmp_path / "6.tif")


def coco(size: int, segmentation: Any, count: int = 1) -> str:
    image = {"id": 1, "file_name": "a.tif", "height": size, "width": size}
    annotations = [{"image_id": 1, "segmentation": segmentation}] * count
    return json.dumps({"images": [image], "annotations": annotations})


def test_run_lengths_of_a_plane_that_nobody_has_are_told_of(tmp_path: Path) -> None:
    size, runs = 100_000, [10**6] * 10_000
    (tmp_path / "x.json").write_text(coco(size, {"size": [size, size], "counts": runs}))
    begin = time.process_time()
    with pytest.raises(LabelsError, match=r"100000 x 100000 pixels; .* 1024 million .*Give the"):
        read_annotations(tmp_path / "x.json")
    assert time.process_time() - begin < 5


@pytest.mark.parametrize("kind", ["polygons", "runs"])
def test_thousands_of_objects_that_each_fill_the_image_are_told_of(
    tmp_path: Path, kind: str
) -> None:
    size = 2048
    square: Any = [[0, 0, size, 0, size, size, 0, size]]
    if kind == "runs":
        square = {"size": [size, size], "counts": [0, size * size]}
    (tmp_path / "x.json").write_text(coco(size, square, count=3000))
    begin = time.process_time()
    with pytest.raises(LabelsError, match=r"3000 objects fill 12\.6 billion pixels .* Remove"):
        read_annotations(tmp_path / "x.json")
    assert time.process_time() - begin < 5


def test_many_objects_that_lie_on_each_other_are_painted(tmp_path: Path) -> None:
    square = [[0, 0, 64, 0, 64, 64, 0, 64]]
    (tmp_path / "x.json").write_text(coco(64, square, count=3000))
    assert read_annotations(tmp_path / "x.json").labels.min() == 3000
