"""The frame of the command line: help, exit codes, and nothing heavy before it is needed."""

from __future__ import annotations

import argparse
import importlib
import json
import subprocess
import sys
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import pytest

from napari_unet import __version__
from napari_unet.cli.main import build_parser
from napari_unet.errors import ConfigError, ModelFileError
from napari_unet.training.config import TrainConfig

from .builders import run

if TYPE_CHECKING:
    from collections.abc import Callable

COMMANDS = ["train", "predict", "evaluate", "demo", "doctor"]
TRAIN = ["train", "--images", "i", "--labels", "l", "--output", "m"]


def fail_with(error: BaseException) -> Callable[[argparse.Namespace], Any]:
    def command(options: argparse.Namespace) -> Any:
        raise error

    return command


def test_the_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    outcome = run(capsys, "--help")
    assert outcome.code == 0
    assert all(f"\n    {command} " in outcome.out for command in COMMANDS)


def test_the_help_says_what_flags_of_a_prediction_take(capsys: pytest.CaptureFixture[str]) -> None:
    text = " ".join(run(capsys, "predict", "--help").out.split())
    assert "--threshold P " in text
    assert "float32 is exact" in text
    assert "15 % of the area of such a cell (default: 0, as trained)" in text
    assert "as if its pixels were as large as those of the training images" in text


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_and_json(capsys: pytest.CaptureFixture[str], command: str) -> None:
    outcome = run(capsys, command, "--help")
    assert outcome.code == 0
    assert "--json" in outcome.out


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "--version").out.strip() == f"napari-unet-paint {__version__}"


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ([], "COMMAND"),
        (["paint"], "paint"),
        (["train"], "--images, --output"),
        ([*TRAIN, "--colour"], "--colour"),
        ([*TRAIN, "--steps", "many"], "many"),
        ([*TRAIN, "--kind", "cells"], "cells"),
        ([*TRAIN, "--preset", "best"], "best"),
        ([*TRAIN, "--steps", "3", "--minutes", "1"], "--minutes"),
        (["predict", "m"], "PATH"),
        (["predict", "m", "i", "--output", "o", "--result", "cells"], "cells"),
        (["predict", "m", "i", "--output", "o", "--tile-size", "big"], "big"),
        (["evaluate", "--predictions", "p", "--truth", "t"], "--kind"),
        (["demo", "--steps", "x"], "x"),
        (["doctor", "--heal"], "--heal"),
    ],
    ids=" ".join,
)
def test_wrong_use_is_one_line_that_names_it(
    capsys: pytest.CaptureFixture[str], arguments: list[str], named: str
) -> None:
    outcome = run(capsys, *arguments)
    assert outcome.code == 2
    assert named in outcome.error_line
    assert "--help" in outcome.error_line
    assert outcome.out == ""


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (ConfigError("depth is 9; choose 1 to 6."), 2, "napari-unet: depth is 9; choose 1 to 6."),
        (ModelFileError("It is broken."), 1, "napari-unet: It is broken."),
        (KeyboardInterrupt(), 1, "napari-unet: interrupted"),
    ],
    ids=["wrong setting", "failure", "interrupt"],
)
def test_errors_become_exit_codes_and_one_line(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    code: int,
    line: str,
) -> None:
    doctor = importlib.import_module("napari_unet.cli.doctor")
    monkeypatch.setattr(doctor, "run", fail_with(error))
    outcome = run(capsys, "doctor", "--json")
    assert (outcome.code, outcome.error_line, outcome.out) == (code, line, "")


def test_json_is_one_line_on_stdout(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    doctor = importlib.import_module("napari_unet.cli.doctor")
    monkeypatch.setattr(doctor, "run", lambda options: ({"a": [1, None]}, 1))
    outcome = run(capsys, "doctor", "--json")
    assert (outcome.code, outcome.out.count("\n")) == (1, 1)
    assert json.loads(outcome.out) == {"a": [1, None]}


# --- flags -------------------------------------------------------------------------------------


@pytest.mark.parametrize("setting", fields(TrainConfig), ids=lambda setting: setting.name)
def test_every_setting_is_a_flag(setting: Any) -> None:
    flag = "--" + setting.name.replace("_", "-")
    arguments = [*TRAIN, flag] + ([] if setting.default is True else [str(setting.default)])
    options = build_parser().parse_args(arguments)
    assert getattr(options, setting.name) == setting.default


@pytest.mark.parametrize("name", ["flip", "rotate"])
def test_switches_can_be_turned_off(name: str) -> None:
    options = build_parser().parse_args([*TRAIN, "--no-" + name.replace("_", "-")])
    assert getattr(options, name) is False


def test_flags_that_are_not_given_leave_the_preset_alone() -> None:
    options = build_parser().parse_args(TRAIN)
    assert not any(setting.name in options for setting in fields(TrainConfig))


def test_several_paths_follow_one_flag_and_one_that_is_repeated_adds_to_them() -> None:
    options = build_parser().parse_args([*TRAIN, "--images", "a", "b"])
    assert options.images == ["i", "a", "b"]


# --- a fresh interpreter -----------------------------------------------------------------------

PROGRAM = """
import sys
from napari_unet.cli import main
try:
    main(sys.argv[1:])
except SystemExit as end:
    print("code", end.code)
heavy = {"torch", "scipy", "skimage", "zarr", "numba", "tifffile", "qtpy", "napari", "magicgui"}
print("imported", sorted(heavy & set(sys.modules)))
"""


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(["--help"], 0), (["train", "--help"], 0), ([*TRAIN, "--colour"], 2)],
    ids=["help", "help of a command", "wrong option"],
)
def test_help_and_wrong_use_import_nothing_heavy(arguments: list[str], code: int) -> None:
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, check=True
    )
    assert result.stdout.splitlines()[-2:] == [f"code {code}", "imported []"]


def test_the_package_runs_as_a_program() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "napari_unet", "paint"], capture_output=True, text=True, check=False
    )
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1
