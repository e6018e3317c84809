"""One odd file among many: it is told and counted, the others are done, the exit code is 1."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from napari_unet.io import files
from napari_unet.io.files import read_image
from napari_unet.model.execution import Runner

from .builders import picture, run, write_images

Capture = pytest.CaptureFixture[str]
MASKS = np.where(picture()[1] > 1, picture()[1], 0).astype(np.uint8)
MOVIE = np.stack([MASKS] * 3)
NO_UTF_8 = os.fsdecode(b"odd\xff.tif")
COMMANDS = ["predict", "evaluate", "convert", "link"]

pytestmark = pytest.mark.fault(68)


def command_on(inputs: Path, model: Path, command: str) -> list[object]:
    output = inputs.parent / "out"
    return {
        "predict": ["predict", model, inputs, "--output", output, "--device", "cpu"],
        "evaluate": ["evaluate", "--predictions", inputs, "--truth", inputs, "--kind", "objects"],
        "convert": ["convert", inputs, "--output", output, "--to", "roi"],
        "link": ["link", inputs, "--output", output],
    }[command]


def without_chunks(path: Path) -> None:
    """Write a Zarr whose chunks have no size."""
    about = {"zarr_format": 2, "shape": [48, 48], "chunks": [0, 0], "dtype": "|u1", "order": "C"}
    path.mkdir()
    more = {"compressor": None, "fill_value": 0, "filters": None}
    (path / ".zarray").write_text(json.dumps(about | more))


def done(report: dict[str, Any]) -> int:
    rows = [report[key] for key in ("predictions", "converted", "linked", "pairs") if key in report]
    return len(rows[0])


def outcome_of(capsys: Capture, command: list[object], named: str) -> None:
    """Run a command on two good files and an odd one."""
    outcome = run(capsys, *command, "--json")
    assert outcome.code == 1
    assert f"napari-unet: {named}: " in outcome.err
    report = json.loads(outcome.out)
    assert (done(report), len(report["failed"])) == (2, 1)
    assert "Traceback" not in outcome.err


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    return write_images(tmp_path / "in", a=MOVIE, c=MOVIE)


@pytest.mark.parametrize("command", COMMANDS)
def test_chunks_without_a_size(capsys: Capture, model: Path, inputs: Path, command: str) -> None:
    without_chunks(inputs / "b.zarr")
    outcome_of(capsys, command_on(inputs, model, command), "b.zarr")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_file_that_needs_too_much_memory(
    capsys: Capture, model: Path, inputs: Path, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_images(inputs, b=MOVIE)

    def greedy(path: Path) -> Any:
        if path.name == "b.tif":
            raise MemoryError
        return read_tiff(path)

    from napari_unet.io.tiff_files import read_tiff

    monkeypatch.setattr(files, "read_tiff", greedy)
    monkeypatch.setattr(files, "short_reason", _raised)
    outcome_of(capsys, command_on(inputs, model, command), "b.tif")


def _raised(error: BaseException) -> str:
    raise error


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere names are Unicode")
@pytest.mark.parametrize("command", COMMANDS)
def test_a_name_that_is_no_utf_8_is_as_good_as_any(
    capsys: Capture, model: Path, inputs: Path, command: str
) -> None:
    tifffile.imwrite(inputs / NO_UTF_8, MOVIE, photometric="minisblack")
    outcome = run(capsys, *command_on(inputs, model, command))
    assert outcome.code == 0, outcome.err
    outcome = run(capsys, *command_on(inputs, model, command), "--json", "--overwrite")
    assert outcome.code == 0, outcome.err
    assert done(json.loads(outcome.out)) == 3


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere names are Unicode")
def test_a_model_is_trained_on_a_file_whose_name_is_no_utf_8(
    capsys: Capture, tmp_path: Path
) -> None:
    from .builders import TINY

    image, labels = picture()
    for folder, pixels in (("images", image), ("labels", labels)):
        (tmp_path / folder).mkdir()
        tifffile.imwrite(tmp_path / folder / NO_UTF_8, pixels)
    paths = ["--images", tmp_path / "images", "--labels", tmp_path / "labels"]
    outcome = run(capsys, "train", *paths, *TINY, "--output", tmp_path / "m")
    assert outcome.code == 0, outcome.err


def test_an_error_in_the_middle_of_a_prediction(
    capsys: Capture, model: Path, inputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_images(inputs, b=MOVIE[:, :40])
    compute = Runner.compute

    def failing(self: Runner, *arguments: Any) -> Any:
        if arguments[2][0].stop == 40:
            raise ZeroDivisionError("division by zero")
        return compute(self, *arguments)

    monkeypatch.setattr(Runner, "compute", failing)
    outcome_of(capsys, command_on(inputs, model, "predict"), "b.tif")
    assert read_image(inputs.parent / "out" / "c.tif").array.shape == MOVIE.shape


def test_scores_say_that_a_pair_is_not_in_them(capsys: Capture, model: Path, inputs: Path) -> None:
    without_chunks(inputs / "b.zarr")
    outcome = run(capsys, *command_on(inputs, model, "evaluate"))
    assert "1 of 3 pairs could not be compared: not in these scores." in outcome.out
