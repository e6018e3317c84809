"""A folder of images: the table of its files."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from napari.layers import Image, Labels
from napari.utils.notifications import notification_manager
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFileDialog

from napari_unet.model.execution import Runner
from napari_unet.prediction.files import FileFailed
from napari_unet.prediction.results import TilePredicted
from napari_unet.widgets.common.layers import LayerComboBox
from napari_unet.widgets.common.session import session_of

from .conftest import HAND, Desk, disks
from .test_predict import untrained
from .test_scopes import eager


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two good images and a broken one; what the dialogs answer."""
    source = tmp_path / "in"
    source.mkdir()
    for name in ("a.tif", "c.tif"):
        tifffile.imwrite(source / name, disks())
    (source / "b.tif").write_bytes(b"nothing")
    chosen = iter([str(source), str(tmp_path / "out")])
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *a, **k: next(chosen))
    return source


def predict_folder(desk: Desk) -> None:
    session_of(desk.viewer).set_model(eager(), "eager")
    desk.click(desk.predict.folder_button)
    desk.wait_until_idle()


def rows_of(desk: Desk) -> list[tuple[str, str]]:
    table: Any = desk.predict.batch.table
    return [
        (table.item(row, 0).text(), table.item(row, 1).text()) for row in range(table.rowCount())
    ]


def test_there_is_no_table_before_there_is_a_folder(desk: Desk) -> None:
    assert not desk.predict.batch.isVisible()


def test_each_file_tells_how_it_went(desk: Desk, folder: Path) -> None:
    predict_folder(desk)

    (a, said_of_a), (b, said_of_b), (c, said_of_c) = rows_of(desk)
    assert (a, b, c) == ("a.tif", "b.tif", "c.tif")
    assert said_of_a == said_of_c == "✓ 1 object"
    assert said_of_b.startswith("✗ ")


def test_the_tooltip_has_the_whole_error(desk: Desk, folder: Path) -> None:
    predict_folder(desk)

    item: Any = desk.predict.batch.table.item(1, 1)
    assert str(folder / "b.tif") in item.toolTip()


def test_why_a_file_failed_is_said_in_full_below_the_table(desk: Desk, folder: Path) -> None:
    predict_folder(desk)
    batch = desk.predict.batch

    assert batch.reason.isVisibleTo(batch)
    assert str(folder / "b.tif") in batch.reason.text()
    batch.table.setCurrentCell(0, 0)
    assert not batch.reason.isVisibleTo(batch)
    batch.table.setCurrentCell(1, 0)
    assert batch.reason.isVisibleTo(batch)


def test_the_reason_that_is_being_read_stays_when_another_file_fails(
    desk: Desk, folder: Path
) -> None:
    (folder / "d.tif").write_bytes(b"nothing")
    predict_folder(desk)
    batch = desk.predict.batch

    assert "d.tif" in batch.reason.text()  # the newest, as none was chosen
    batch.table.setCurrentCell(1, 0)
    batch._on_event(FileFailed(folder / "c.tif", "It has three channels."))

    assert "b.tif" in batch.reason.text()
    batch.table.setCurrentCell(2, 0)
    assert batch.reason.text() == "c.tif: It has three channels."


def test_markup_in_a_file_name_is_shown_as_it_is_written(desk: Desk, tmp_path: Path) -> None:
    batch: Any = desk.predict.batch
    batch._list([tmp_path / "<b>x.tif"])
    batch._say(0, "failed", "Cannot read <b>x.tif")
    for column in (0, 1):
        assert "&lt;b&gt;x.tif" in batch.table.item(0, column).toolTip()


def test_one_summary_instead_of_a_notice_per_file(desk: Desk, folder: Path) -> None:
    before = len(notification_manager.records)

    predict_folder(desk)

    assert desk.predict.status.text() == "2 files written, 1 failed: choose it in the table."
    assert len(notification_manager.records) == before


def test_cancel_leaves_the_other_files(
    desk: Desk, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Runner.compute

    def slowly(self: Runner, *arguments: Any) -> Any:
        time.sleep(0.5)  # the window needs time to cancel before the last file
        return original(self, *arguments)

    monkeypatch.setattr(Runner, "compute", slowly)
    desk.predict.task.happened.connect(
        lambda event: desk.predict.cancel() if isinstance(event, TilePredicted) else None
    )

    predict_folder(desk)

    assert rows_of(desk)[2][1] == "not predicted"
    assert "cancelled" in desk.predict.status.text()


def double_click(desk: Desk, row: int) -> None:
    table: Any = desk.predict.batch.table
    centre = table.visualItemRect(table.item(row, 0)).center()
    HAND.mouseClick(table.viewport(), Qt.MouseButton.LeftButton, pos=centre)
    HAND.mouseDClick(table.viewport(), Qt.MouseButton.LeftButton, pos=centre)


def test_a_double_click_opens_image_and_result(desk: Desk, folder: Path) -> None:
    predict_folder(desk)

    double_click(desk, 2)

    assert [layer.name for layer in desk.viewer.layers[1:]] == ["c", "c prediction"]
    image, result = desk.viewer.layers[1:]
    assert isinstance(image, Image)
    assert isinstance(result, Labels)
    assert LayerComboBox(desk.viewer, Labels).count() == 0


def test_enter_opens_as_a_double_click_does(desk: Desk, folder: Path) -> None:
    predict_folder(desk)
    table = desk.predict.batch.table
    table.setCurrentCell(0, 0)

    HAND.keyClick(table, Qt.Key.Key_Return)

    assert [layer.name for layer in desk.viewer.layers[1:]] == ["a", "a prediction"]


def test_a_failed_file_opens_nothing(desk: Desk, folder: Path) -> None:
    predict_folder(desk)

    double_click(desk, 1)

    assert len(desk.viewer.layers) == 1


def test_axes_are_those_of_each_file(make_desk: Callable[..., Desk], tmp_path: Path) -> None:
    desk = make_desk(axis_labels=("y", "x"))
    (tmp_path / "in").mkdir()
    stack = np.stack([disks()] * 2)
    tifffile.imwrite(tmp_path / "in" / "t.tif", stack, imagej=True, metadata={"axes": "TYX"})
    session_of(desk.viewer).set_model(untrained(), "untrained")

    desk.predict.predict_folder(tmp_path / "in", tmp_path / "out")
    desk.wait_until_idle()

    assert tifffile.imread(tmp_path / "out" / "t.tif").shape == (2, 96, 96)


def test_a_folder_without_images_says_so(desk: Desk, tmp_path: Path) -> None:
    session_of(desk.viewer).set_model(untrained(), "untrained")

    desk.predict.predict_folder(tmp_path, tmp_path / "out")

    assert "holds no image" in desk.last_notice
    assert not desk.predict.batch.isVisible()
