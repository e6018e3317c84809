"""Import…: files of other programs become annotations that cover the image."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.utils.notifications import notification_manager
from qtpy.QtWidgets import QFileDialog, QMenu

from napari_unet.io.annotations.writing import write_objects
from napari_unet.widgets.common.annotation import annotation_of, is_annotation

from .conftest import Desk, disks

MakeDesk = Callable[..., Desk]


def masks() -> Any:
    labels = np.zeros((96, 96), np.uint16)
    labels[5:20, 5:20], labels[30:50, 40:60] = 1, 2
    return labels


def import_file(desk: Desk, path: Path, zero: Any = "background") -> Any:
    desk.annotate.import_button.take(path, zero)
    desk.wait_until_idle()
    return desk.annotate.target.annotation


@pytest.mark.parametrize(
    ("zero", "outside"), [("background", 1), ("unlabelled", 0)], ids=["finished", "partial"]
)
@pytest.mark.parametrize("suffix", [".zip", ".geojson", ".json", ".tif"])
def test_a_file_becomes_paint(
    suffix: str, zero: str, outside: int, desk: Desk, tmp_path: Path
) -> None:
    write_objects(tmp_path / f"cells{suffix}", masks())
    layer = import_file(desk, tmp_path / f"cells{suffix}", zero)
    expected = np.array([outside, 2, 3])[masks()]
    np.testing.assert_array_equal(layer.data, expected)
    assert is_annotation(layer)
    assert annotation_of(layer).image is desk.image
    assert layer.name == "cells as annotation"


def test_classes_keep_names_and_colours(desk: Desk, tmp_path: Path) -> None:
    names, colours = {1: "nucleus", 2: "debris"}, {1: "#ff0000", 2: "#00ff00"}
    write_objects(tmp_path / "q.geojson", masks(), names=names, colours=colours)
    desk.annotate.target.kind_box.setCurrentIndex(desk.annotate.target.kind_box.findData("classes"))
    layer = import_file(desk, tmp_path / "q.geojson")
    annotation = annotation_of(layer)
    assert annotation.kind == "classes"
    assert (annotation.name_of(1), annotation.name_of(2)) == ("background", "debris")
    assert (annotation.name_of(3), annotation.colour_of(3)) == ("nucleus", "#ff0000")
    assert layer.data[10, 10] == 3


def test_the_annotation_lies_where_the_image_lies(make_desk: MakeDesk, tmp_path: Path) -> None:
    desk = make_desk(None, scale=(0.5, 0.25), translate=(3, 4))
    write_objects(tmp_path / "cells.zip", masks())
    layer = import_file(desk, tmp_path / "cells.zip")
    np.testing.assert_array_equal(layer.scale, desk.image.scale)
    np.testing.assert_array_equal(layer.translate, desk.image.translate)


def test_frames_that_a_folder_does_not_have_stay_unlabelled(
    make_desk: MakeDesk, tmp_path: Path
) -> None:
    desk = make_desk(np.stack([disks()] * 3))
    write_objects(tmp_path / "01_RES", np.stack([masks(), masks()]), "ctc", axes="TYX")
    layer = import_file(desk, tmp_path / "01_RES")
    assert [int(frame.min()) for frame in layer.data] == [1, 1, 0]
    assert not layer.data[2].any()
    assert desk.last_notice == "Frames without labels: 2; nothing is labelled there."


def test_notices_are_shown(desk: Desk, tmp_path: Path) -> None:
    wide = np.zeros((96, 200), np.uint16)
    wide[:, :96] = masks()
    wide[3:9, 150:160] = 3
    write_objects(tmp_path / "cells.zip", wide)
    import_file(desk, tmp_path / "cells.zip")
    assert desk.last_notice == "Objects outside of the image: 1; they are left out."


@pytest.mark.parametrize(
    ("write", "reason"),
    [
        (lambda path: path.write_bytes(b"?"), "Cannot read"),
        (lambda path: write_objects(path, masks()[:50], "labels"), "choose the file of this image"),
    ],
    ids=["damaged", "another image"],
)
def test_what_cannot_be_imported_is_told_and_adds_nothing(
    write: Any, reason: str, desk: Desk, tmp_path: Path
) -> None:
    path = tmp_path / "cells.tif"
    write(path)
    before = list(desk.viewer.layers)
    desk.annotate.import_button.take(path, "background")
    desk.wait_until_idle()
    assert reason in desk.last_notice
    assert list(desk.viewer.layers) == before
    notification_manager.records.clear()


def test_the_menu_asks_for_a_file_and_what_0_means(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "cells.zip"
    write_objects(path, masks())
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(path), ""))
    menu = desk.annotate.import_button.menu()
    assert menu is not None
    files = menu.findChildren(QMenu)[0]  # not that of its action: PySide6 forgets it at once
    texts = [action.text() for action in files.actions()]
    assert texts == ["0 is background: everything is labelled…", "0 is ignored…"]
    files.actions()[1].trigger()
    desk.wait_until_idle()
    assert desk.annotate.target.annotation is not None
    assert desk.annotate.target.annotation.data.min() == 0


def test_without_an_image_it_says_so(desk: Desk, tmp_path: Path) -> None:
    desk.viewer.layers.clear()
    desk.annotate.import_button.take(tmp_path / "cells.zip", "background")
    assert "Open the image first" in desk.last_notice
