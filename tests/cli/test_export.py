"""``napari-unet export``: wrong use, what it writes, what it says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .builders import picture, run, write_images

PACKAGE = ("--format", "bioimageio", "--output", "out")


def test_a_model_is_written_and_the_figures_are_told(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = write_images(tmp_path / "images", cells=picture(96)[0]) / "cells.tif"
    output = tmp_path / "cells"
    arguments = ("export", model, "--format", "torchscript", "--output", output, "--image", image)
    outcome = run(capsys, *arguments)
    assert outcome.code == 0
    assert (tmp_path / "cells.pt").exists()
    assert "cells.pt" in outcome.out
    assert "labels alike" in outcome.err


def test_json_holds_the_checks_and_nothing_else_is_printed(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "cells.pt"
    arguments = ("export", model, "--format", "torchscript", "--output", output, "--json")
    outcome = run(capsys, *arguments)
    report = json.loads(outcome.out)
    assert report["output"] == str(output)
    assert [check["way"] for check in report["checks"]] == ["whole image", "tiles"]
    assert outcome.err == ""


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("--licence", "CC-BY-4.0"), "--author"),
        (("--author", "Ada Lovelace, London"), "--licence"),
        (("--author", ", London", "--licence", "MIT"), "no author"),
        (("--author", "Ada", "--licence", "MIT", "--name", "a"), "name 'a'"),
    ],
    ids=["no author", "no licence", "an author without a name", "a name that is too short"],
)
def test_a_package_that_cannot_be_described_is_wrong_use(
    arguments: tuple[str, ...], word: str, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = run(capsys, "export", model, *PACKAGE, *arguments)
    assert outcome.code == 2
    assert word in outcome.error_line


def test_a_format_is_asked_for(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outcome = run(capsys, "export", model, "--output", "out")
    assert outcome.code == 2
    assert "--format" in outcome.error_line


def test_an_image_for_another_model_fails_and_nothing_is_written(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stack = picture(48)[0][None, None].repeat(3, axis=1)
    image = write_images(tmp_path / "images", cells=stack) / "cells.tif"
    arguments = ("export", model, "--format", "torchscript", "--output", tmp_path / "cells")
    outcome = run(capsys, *arguments, "--image", image, "--axes", "TCYX")
    assert outcome.code == 1
    assert "channel" in outcome.error_line
    assert not (tmp_path / "cells.pt").exists()
