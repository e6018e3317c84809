"""``napari-unet import-model``, and predictions with models of other programs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile

from external.networks import IncDownUpOutc, with_weights
from external.packages import package_files, picture, write_zip
from napari_unet.cli import main


@pytest.fixture
def package(tmp_path: Path) -> Path:
    tifffile.imwrite(tmp_path / "cells.tif", picture(40, 50))
    return write_zip(tmp_path / "their.zip", package_files(with_weights(IncDownUpOutc())))


def test_a_package_predicts_as_its_model_file_does(
    package: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = str(tmp_path / "cells.tif")
    assert main(["predict", str(package), image, "--output", str(tmp_path / "a")]) == 0
    assert "Note: Their model, from another program" in capsys.readouterr().err

    assert main(["import-model", str(package), "--output", str(tmp_path / "m"), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert main(["predict", report["model"], image, "--output", str(tmp_path / "b")]) == 0

    one, other = (tifffile.imread(tmp_path / folder / "cells.tif") for folder in "ab")
    np.testing.assert_array_equal(one, other)
    assert report["kind"] == "objects"


def test_workers_are_refused_a_package_with_the_remedy(
    package: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = str(tmp_path / "cells.tif")
    asked = ["predict", str(package), image, "--output", str(tmp_path / "a"), "--workers", "2"]
    assert main(asked) == 2
    assert "import-model" in capsys.readouterr().err


def test_what_is_no_external_model_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["import-model", str(tmp_path / "no.zip"), "--output", str(tmp_path / "m")]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1
