"""`napari-unet train --history FILE`: a table with a row per step."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from napari_unet.cli.progress import COLUMNS, begin_history, logging_steps
from napari_unet.training.events import Checkpoint, StepDone, Validated
from napari_unet.training.state import TrainingState

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
    outcome = run(capsys, *good, "--history", tmp_path / "labels")
    assert outcome.code == 1
    assert f"Cannot write to {tmp_path / 'labels'}" in outcome.error_line
    assert not (tmp_path / "m.safetensors").exists()


# --- after a kill: the table holds each step once, in order --------------------------------------

HEAD = ",".join(COLUMNS) + "\r\n"


def row(step: object, loss: float = 0.5) -> str:
    return f"{step},{loss},0.1{',' * (len(COLUMNS) - 3)}\r\n"


def state_of(step: int) -> TrainingState:
    return TrainingState(
        step=step, seconds=1.0, last={}, averaged={}, optimiser={}, best={}, best_value=0.0,
        history=(),
    )  # fmt: skip


@pytest.mark.fault(71)
@pytest.mark.parametrize(
    ("found", "kept"),
    [
        (HEAD + row(1) + row(2) + row(3) + row(4), HEAD + row(1) + row(2)),
        (HEAD + row(1) + "2,0.", HEAD + row(1)),
        (HEAD + row(1) + "2,0.5,0.1\r\n", HEAD + row(1)),
        (HEAD + row(1) + row(2) + row(1, 9.0) + row(2, 9.0), HEAD + row(1) + row(2)),
        (HEAD + row(1) + row("\0x") + row(2), HEAD + row(1) + row(2)),
        (HEAD, HEAD),
        (HEAD[:20], HEAD),
        ("step,loss\r\n1,0.5\r\n7,0.1\r\n", "step,loss\r\n1,0.5\r\n"),
    ],
    ids=["beyond", "torn", "short", "twice", "zeros", "empty", "torn head", "fewer columns"],
)
def test_a_table_goes_on_behind_the_step_that_was_saved(
    tmp_path: Path, found: str, kept: str
) -> None:
    (tmp_path / "h.csv").write_bytes(found.encode())
    begin_history(tmp_path / "h.csv", state_of(2))
    assert (tmp_path / "h.csv").read_bytes().decode() == kept


def test_scores_of_what_it_began_with_stand_in_no_row(tmp_path: Path) -> None:
    path = tmp_path / "h.csv"
    begin_history(path, None)
    told = StepDone(8, 0.5, 0.1, 9.0), Validated(7, 0.5, 0.5, None, True)
    list(logging_steps((event for event in told), path))
    assert [found["iou"] for found in rows(path)] == [""]


@pytest.mark.fault(71)
def test_the_row_of_a_step_is_written_before_its_state(tmp_path: Path) -> None:
    path = tmp_path / "h.csv"
    begin_history(path, None)
    done = StepDone(1, 0.5, 0.1, 9.0, 0.1, 0)
    saved: Any = Checkpoint(None, None)  # type: ignore[arg-type]
    events = logging_steps((event for event in (done, saved)), path)
    for event in events:
        if event is saved:
            assert [found["step"] for found in rows(path)] == ["1"]
    assert [found["step"] for found in rows(path)] == ["1"]
