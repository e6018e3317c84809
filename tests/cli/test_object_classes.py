"""Objects of several classes on the command line: the objects of each class in a folder."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
import tifffile

from napari_unet.io.files import read_image, read_labels
from training.test_object_classes import touching_cells

from .builders import run

if TYPE_CHECKING:
    from pathlib import Path

Capture = pytest.CaptureFixture[str]
NAMES = ("smooth", "striped")


@pytest.fixture
def model(tmp_path: Path, capsys: Capture) -> Path:
    for seed in range(3):
        image, layers = touching_cells(seed)
        for name, array in [("images", image), *layers.items()]:
            (tmp_path / name).mkdir(exist_ok=True)
            tifffile.imwrite(tmp_path / name / f"a{seed}.tif", np.asarray(array))
    given = [f"--labels={name}={tmp_path / name}" for name in NAMES]
    given += ["--kind", "object-classes", "--unpainted", "background", "--start", "random"]
    given += ["--steps", "150", "--base-channels", "8", "--depth", "2", "--patch-size", "48"]
    given += ["--learning-rate", "1e-2", "--batch-size", "2", "--device", "cpu"]
    path = tmp_path / "m.safetensors"
    outcome = run(capsys, "train", "--images", tmp_path / "images", *given, "--output", path)
    assert outcome.code == 0, outcome.err
    return path


@pytest.mark.slow
def test_touching_cells_of_two_looks_are_found_measured_and_scored(
    capsys: Capture, model: Path, tmp_path: Path
) -> None:
    found = tmp_path / "found"
    given = (tmp_path / "images", "--output", found, "--device", "cpu")
    assert run(capsys, "predict", model, *given).code == 0
    result = read_image(found / "a2.tif")
    assert (result.axes, np.shape(result.array)) == ("CYX", (2, 128, 128))
    with (found / "a2.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {row["class"] for row in rows} == set(NAMES)
    assert sorted(int(row["index"]) for row in rows) == list(range(1, 1 + len(rows)))

    truth = [f"{name}={tmp_path / name}" for name in NAMES]
    scored = ("--kind", "object-classes", "--predictions", found, "--truth", *truth)
    assert "f1_50_per_class" in run(capsys, "evaluate", *scored).out
    scores = json.loads(run(capsys, "evaluate", *scored, "--json").out)
    assert min(scores["f1_50_per_class"][name] for name in NAMES) > 0.9

    zarr = (tmp_path / "images", "--output", tmp_path / "zarr", "--format", "zarr")
    assert run(capsys, "predict", model, *zarr, "--device", "cpu").code == 0
    stored = [read_labels(tmp_path / "zarr" / "a2.zarr" / "labels" / name) for name in NAMES]
    np.testing.assert_array_equal(stored, np.asarray(result.array))
    assert (tmp_path / "zarr" / "a2.csv").read_text() == (found / "a2.csv").read_text()
