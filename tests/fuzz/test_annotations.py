"""Damaged and forged annotations of other programs: read, or refused by an error of our own."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_unet.io.annotations.reading import read_annotations
from napari_unet.io.annotations.writing import write_objects

from .mutations import changed_bytes, changed_text
from .test_readers import try_all

if TYPE_CHECKING:
    import random
    from pathlib import Path

pytestmark = [pytest.mark.fuzz, pytest.mark.fault(35), pytest.mark.fault(37)]

LABELS = np.zeros((12, 16), np.uint16)
LABELS[1:8, 1:8] = 1
LABELS[3:6, 3:6] = 2


def try_bytes(path: Path, cases: int, shape: tuple[int, ...] | None = LABELS.shape) -> None:
    whole = path.read_bytes()

    def case(chance: random.Random) -> None:
        path.write_bytes(changed_bytes(whole, chance))
        read_annotations(path, shape)

    try_all(cases, case)


def test_cellpose_s_files_of_changed_bytes(tmp_path: Path) -> None:
    content = {"masks": LABELS, "filename": "a", "flows": [np.ones((2, 3)), None]}
    np.save(tmp_path / "a_seg.npy", content, allow_pickle=True)  # type: ignore[arg-type]
    try_bytes(tmp_path / "a_seg.npy", 500)


def test_roi_archives_of_changed_bytes(tmp_path: Path) -> None:
    write_objects(tmp_path / "a.zip", LABELS)
    try_bytes(tmp_path / "a.zip", 300)


def test_rois_of_changed_bytes(tmp_path: Path) -> None:
    from roifile import roiread

    write_objects(tmp_path / "a.zip", LABELS, names={2: "nucleus"})
    rois = roiread(tmp_path / "a.zip")
    assert isinstance(rois, list)
    for number, roi in enumerate(rois):
        roi.tofile(tmp_path / f"{number}.roi")
        try_bytes(tmp_path / f"{number}.roi", 400)


@pytest.mark.parametrize("suffix", [".geojson", ".json"])
def test_changed_documents(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    write_objects(path, LABELS, names={1: "a"}, colours={1: "#ff0000"})
    whole = json.loads(path.read_text())

    def case(chance: random.Random) -> None:
        path.write_text(changed_text(whole, chance), errors="surrogatepass")
        read_annotations(path, LABELS.shape)
        read_annotations(path)

    try_all(400, case)
