"""`napari-unet train --history FILE`: a table with a row per step."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

import numpy as np
import pytest

from .builders import TINY, picture, run, training_folders

if TYPE_CHECKING:
    from pathlib import Path

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def good(tmp_path: Path) -> list[object]:
    image, labels = picture()
    folders = training_folders(tmp_path, np.tile(image, (2, 2)), np.tile(labels, (2, 2)))
    return ["train", *folders, *TINY, "--output", tmp_path / "m", "--validate-every", 2]


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_each_step_is_a_row(capsys: Capture, good: list[object], tmp_path: Path) -> None:
    run(capsys, *good, "--history", tmp_path / "h.csv")
    assert [row["step"] for row in rows(tmp_path / "h.csv")] == ["1", "2", "3"]
    assert all(float(row["loss"]) > 0 for row in rows(tmp_path / "h.csv"))


def test_scores_stand_in_the_row_of_their_step(
    capsys: Capture, good: list[object], tmp_path: Path
) -> None:
    run(capsys, *good, "--unpainted", "background", "--history", tmp_path / "h.csv")
    scored = [row["step"] for row in rows(tmp_path / "h.csv") if row["iou"]]
    assert scored == ["2", "3"]


def test_the_share_of_painted_cells_found_stands_in_the_row_of_its_step(
    capsys: Capture, good: list[object], tmp_path: Path
) -> None:
    run(capsys, *good, "--history", tmp_path / "h.csv")
    shares = {row["step"]: row["painted_found"] for row in rows(tmp_path / "h.csv")}
    assert shares["1"] == ""
    assert 0 <= float(shares["2"]) <= 1


def test_a_table_of_an_earlier_version_keeps_its_columns(
    capsys: Capture, good: list[object], tmp_path: Path
) -> None:
    run(capsys, *good)
    (tmp_path / "h.csv").write_text("step,loss\n")
    run(capsys, *good, "--history", tmp_path / "h.csv", "--resume", "--steps", 5)
    assert [list(row) for row in rows(tmp_path / "h.csv")] == [["step", "loss"]] * 2


def test_a_resumed_training_goes_on_with_the_table(
    capsys: Capture, good: list[object], tmp_path: Path
) -> None:
    run(capsys, *good, "--history", tmp_path / "h.csv")
    run(capsys, *good, "--history", tmp_path / "h.csv", "--resume", "--steps", 5)
    assert [row["step"] for row in rows(tmp_path / "h.csv")] == list("12345")


def test_a_new_training_begins_a_new_table(
    capsys: Capture, good: list[object], tmp_path: Path
) -> None:
    for _ in range(2):
        run(capsys, *good, "--history", tmp_path / "h.csv")
    assert len(rows(tmp_path / "h.csv")) == 3


def test_a_table_that_cannot_be_written_is_told_before_the_training(
    capsys: Capture, good: list[object], tmp_path: Path
) -> None:
    outcome = run(capsys, *good, "--history", tmp_path)
    assert outcome.code == 1
    assert f"Cannot write to {tmp_path}" in outcome.error_line
    assert not (tmp_path / "m.safetensors").exists()
