"""A training on another machine is noted in the recovery folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from napari_unet.project.elsewhere import Elsewhere, forget_note, noted_in

NOTE = Elsewhere("ssh://me@gpu1", False, "0" * 32, (("cells", (20, 30)),))


def test_what_is_noted_is_found(tmp_path: Path) -> None:
    NOTE.note(tmp_path)
    assert noted_in(tmp_path) == NOTE


def test_what_is_over_is_forgotten(tmp_path: Path) -> None:
    NOTE.note(tmp_path)
    forget_note(tmp_path)
    assert noted_in(tmp_path) is None


@pytest.mark.parametrize("text", ["", "{}", "[" * 10_000, '{"on": "x"}'])
def test_a_damaged_note_is_none(tmp_path: Path, text: str) -> None:
    NOTE.note(tmp_path)
    (written,) = tmp_path.iterdir()
    written.write_text(text)
    assert noted_in(tmp_path) is None


def test_a_run_is_never_a_path(tmp_path: Path) -> None:
    NOTE.note(tmp_path)
    (written,) = tmp_path.iterdir()
    written.write_text(written.read_text().replace("0" * 32, "../" * 10))
    assert noted_in(tmp_path) is None


def test_a_folder_that_is_gone_notes_nothing(tmp_path: Path) -> None:
    NOTE.note(tmp_path / "gone")
    assert noted_in(tmp_path / "gone") is None
