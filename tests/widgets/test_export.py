"""The dialog that exports: by clicks, in the background, with its errors shown."""

from __future__ import annotations

from pathlib import Path

import pytest
from qtpy.QtWidgets import QLabel, QMessageBox

from napari_unet.export.config import ExportConfig
from napari_unet.settings import declared
from napari_unet.widgets.common.session import session_of
from napari_unet.widgets.models.dock import ModelsWidget
from napari_unet.widgets.models.export import ExportDialog

from .conftest import Desk
from .test_predict import untrained


@pytest.fixture
def models(desk: Desk) -> tuple[Desk, ModelsWidget]:
    widget = ModelsWidget(desk.viewer)
    desk.viewer.window.add_dock_widget(widget, name="Models", tabify=True)
    return desk, widget


@pytest.fixture
def dialog(models: tuple[Desk, ModelsWidget], tmp_path: Path) -> tuple[Desk, ExportDialog]:
    desk, widget = models
    session_of(desk.viewer).set_model(untrained(), "good cells")
    desk.click(widget.export_button)
    made = widget.export_dialog
    made.path_box.setText(str(tmp_path / "cells"))
    made.format_box.setCurrentIndex(made.format_box.findData("torchscript"))
    return desk, made


def export_with(desk: Desk, dialog: ExportDialog) -> str:
    desk.click(dialog.export_button)
    desk.wait_until_idle()
    return dialog.text.text()


def test_there_is_nothing_to_export_without_a_model(models: tuple[Desk, ModelsWidget]) -> None:
    desk, widget = models
    assert not widget.export_button.isEnabled()
    session_of(desk.viewer).set_model(untrained(), "good cells")
    assert widget.export_button.isEnabled()


def test_the_model_in_use_is_exported_and_the_figures_are_shown(
    dialog: tuple[Desk, ExportDialog], tmp_path: Path
) -> None:
    desk, widget = dialog
    text = export_with(desk, widget)
    assert (tmp_path / "cells.pt").exists()
    assert f"Exported {tmp_path / 'cells.pt'}" in text
    assert "100.00 % of" in text
    assert widget.export_button.isEnabled()


def test_it_is_checked_on_the_selected_image(dialog: tuple[Desk, ExportDialog]) -> None:
    desk, widget = dialog
    assert widget.checked_on is not None
    assert widget.checked_on.name == desk.image.name


def test_an_image_that_is_not_for_this_model_does_not_stop_it(
    dialog: tuple[Desk, ExportDialog], tmp_path: Path
) -> None:
    desk, widget = dialog
    session_of(desk.viewer).set_model(untrained(channels=3), "coloured")
    export_with(desk, widget)
    assert (tmp_path / "cells.pt").exists()


@pytest.mark.parametrize(
    ("authors", "licence", "words"),
    [("", "CC-BY-4.0", "--author"), ("Ada Lovelace, London", "", "--licence")],
    ids=["author", "licence"],
)
def test_a_package_without_author_or_licence_is_refused(
    authors: str, licence: str, words: str, dialog: tuple[Desk, ExportDialog]
) -> None:
    desk, widget = dialog
    widget.format_box.setCurrentIndex(widget.format_box.findData("bioimageio"))
    widget.authors_box.setPlainText(authors)
    widget.licence_box.setCurrentText(licence)
    assert words in export_with(desk, widget)


def test_a_folder_that_is_missing_is_told(
    dialog: tuple[Desk, ExportDialog], tmp_path: Path
) -> None:
    desk, widget = dialog
    widget.path_box.setText(str(tmp_path / "no" / "cells"))
    assert "Cannot write to" in export_with(desk, widget)


def test_authors_are_remembered(dialog: tuple[Desk, ExportDialog], own_data_folder: Path) -> None:
    desk, widget = dialog
    widget.authors_box.setPlainText("Ada Lovelace, London\nCharles Babbage")
    export_with(desk, widget)
    again = ExportDialog(desk.viewer, own_data_folder)
    desk.qtbot.addWidget(again)
    assert again.authors_box.toPlainText() == "Ada Lovelace, London\nCharles Babbage"


def test_every_control_has_a_tooltip(dialog: tuple[Desk, ExportDialog]) -> None:
    _, widget = dialog
    controls = (
        widget.format_box, widget.name_box, widget.authors_box, widget.licence_box,
        widget.description_box, widget.path_box, widget.browse_button, widget.export_button,
        widget.close_button,
    )  # fmt: skip
    assert all(control.toolTip() for control in controls)


def test_the_name_follows_the_model_until_one_is_typed(dialog: tuple[Desk, ExportDialog]) -> None:
    desk, widget = dialog
    session_of(desk.viewer).set_model(untrained(), "better cells")
    assert widget.name_box.text() == "better cells"
    widget.name_box.setText("my own name")
    session_of(desk.viewer).set_model(untrained(), "best cells")
    assert widget.name_box.text() == "my own name"
    assert "best cells" in widget.windowTitle()


@pytest.mark.parametrize("agreed", [True, False], ids=["yes", "no"])
def test_a_file_is_replaced_only_when_that_is_agreed_to(
    agreed: bool, dialog: tuple[Desk, ExportDialog], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk, widget = dialog
    (tmp_path / "cells.pt").write_text("mine")
    answer = QMessageBox.StandardButton.Yes if agreed else QMessageBox.StandardButton.No
    monkeypatch.setattr(QMessageBox, "question", lambda *_: answer)
    export_with(desk, widget)
    assert ((tmp_path / "cells.pt").read_bytes() == b"mine") != agreed


def test_a_place_that_is_no_whole_path_is_refused(dialog: tuple[Desk, ExportDialog]) -> None:
    desk, widget = dialog
    widget.path_box.setText("cells")
    assert "whole path" in export_with(desk, widget)


def test_only_packages_ask_for_authors_and_a_licence(dialog: tuple[Desk, ExportDialog]) -> None:
    _, widget = dialog
    assert not widget.authors_box.isEnabled()
    widget.format_box.setCurrentIndex(widget.format_box.findData("bioimageio"))
    assert widget.authors_box.isEnabled()
    assert widget.licence_box.isEnabled()


def test_each_setting_has_its_control_and_the_views_are_exported(
    dialog: tuple[Desk, ExportDialog],
) -> None:
    _, widget = dialog
    labels = {each.text() for each in widget.findChildren(QLabel)}
    for setting in declared(ExportConfig).values():
        assert (setting.label in labels) == ("window" not in setting.lacks)
    assert widget.config().views is None
    widget.form.editors["views"].show(8)
    assert widget.config().views == 8
