"""A model of another program is imported by the button of the Models widget."""

from __future__ import annotations

from pathlib import Path

import pytest
from qtpy.QtWidgets import QFileDialog

from external.networks import IncDownUpOutc, with_weights
from external.packages import package_files, write_zip
from napari_unet.widgets.common.session import session_of
from napari_unet.widgets.models.dock import ModelsWidget

from .conftest import Desk


@pytest.fixture
def models(desk: Desk) -> tuple[Desk, ModelsWidget]:
    widget = ModelsWidget(desk.viewer)
    desk.viewer.window.add_dock_widget(widget, name="Models", tabify=True)
    return desk, widget


def choose(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(path), ""))


def test_an_imported_model_is_in_the_library_and_in_use(
    models: tuple[Desk, ModelsWidget], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk, widget = models
    files = package_files(with_weights(IncDownUpOutc()))
    choose(monkeypatch, write_zip(tmp_path / "their.zip", files))

    desk.click(widget.model_import.button)
    desk.wait_until_idle()

    model = session_of(desk.viewer).model
    assert model is not None
    assert "from another program" in model.record.origin
    assert [entry.name for entry in widget.library.entries()] == ["Their model"]
    assert "from another program" in widget.text.text()
    assert widget.model_import.button.isEnabled()


def test_what_cannot_be_imported_is_told_and_leaves_nothing(
    models: tuple[Desk, ModelsWidget], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk, widget = models
    (tmp_path / "their.zip").write_bytes(b"no zip")
    choose(monkeypatch, tmp_path / "their.zip")

    desk.click(widget.model_import.button)
    desk.wait_until_idle()

    assert "no whole zip archive" in widget.text.text()
    assert not widget.library.entries()
    assert session_of(desk.viewer).model is None
