"""Overlapping classes on the command line: ``--labels nucleus=DIR --labels cell=DIR``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
import tifffile

from napari_unet.io.files import read_image, read_labels
from napari_unet.model.trained import load_network

from .builders import TINY, run

if TYPE_CHECKING:
    from pathlib import Path

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def folders(tmp_path: Path) -> list[object]:
    """Arguments that name two images, and masks of their cells and nuclei."""
    for name in ("images", "nuclei", "cells"):
        (tmp_path / name).mkdir()
    for number in range(2):
        cell, nucleus = np.zeros((2, 48, 48), np.uint8)
        cell[8:40, 8 + number : 40], nucleus[16:30, 16 : 30 + number] = 255, 255
        image = (cell // 4 + nucleus // 2).astype(np.uint8)
        for name, array in {"images": image, "nuclei": nucleus, "cells": cell}.items():
            tifffile.imwrite(tmp_path / name / f"a{number}.tif", array)
    return [
        *("--images", tmp_path / "images"),
        *("--labels", f"nucleus={tmp_path / 'nuclei'}", "--labels", f"cell={tmp_path / 'cells'}"),
    ]


def train(capsys: Capture, folders: list[object], tmp_path: Path, *more: object) -> Path:
    model = tmp_path / "m.safetensors"
    given = (*TINY, "--unpainted", "background", "--output", model, *more)
    outcome = run(capsys, "train", *folders, *given)
    assert outcome.code == 0, outcome.err
    return model


def test_a_model_knows_its_classes_by_name(
    capsys: Capture, folders: list[object], tmp_path: Path
) -> None:
    model = train(capsys, folders, tmp_path)
    assert load_network(model).record.classes.names == ("nucleus", "cell")
    card = json.loads((tmp_path / "m.run.json").read_text())
    assert f"nucleus={tmp_path / 'nuclei' / 'a0.tif'}" in card["command"]


def test_a_training_is_resumed(capsys: Capture, folders: list[object], tmp_path: Path) -> None:
    train(capsys, folders, tmp_path)
    model = tmp_path / "m.safetensors"
    more = ("--output", model, "--resume", "--steps", "5")
    assert run(capsys, "train", *folders, *more).code == 0
    assert load_network(model).record.steps == 5


@pytest.mark.parametrize("form", ["tiff", "zarr"])
def test_predictions_are_masks_that_can_be_scored(
    capsys: Capture, folders: list[object], tmp_path: Path, form: str
) -> None:
    model = train(capsys, folders, tmp_path)
    given = ("--output", tmp_path / "found", "--device", "cpu", "--format", form)
    assert run(capsys, "predict", model, tmp_path / "images", *given).code == 0
    if form == "zarr":
        labels = [tmp_path / "found" / "a0.zarr" / "labels" / n for n in ("nucleus", "cell")]
        assert [read_labels(path).shape for path in labels] == [(48, 48)] * 2
        return
    found = read_image(tmp_path / "found" / "a0.tif")
    assert (found.axes, np.shape(found.array)) == ("CYX", (2, 48, 48))
    truth = (f"nucleus={tmp_path / 'nuclei'}", f"cell={tmp_path / 'cells'}")
    scored = run(
        capsys,
        *("evaluate", "--kind", "overlapping", "--predictions", tmp_path / "found"),
        *("--truth", *truth, "--errors", tmp_path / "errors", "--json"),
    )
    assert scored.code == 0, scored.err
    assert list(json.loads(scored.out)["iou_per_class"]) == ["nucleus", "cell"]
    assert read_image(tmp_path / "errors" / "a0.tif").axes == "CYX"


def test_masks_by_class_can_be_scored_against_each_other(
    capsys: Capture, folders: list[object], tmp_path: Path
) -> None:
    masks = (f"nucleus={tmp_path / 'nuclei'}", f"cell={tmp_path / 'cells'}")
    given = ("--kind", "overlapping", "--predictions", *masks, "--truth", *masks, "--json")
    scores = json.loads(run(capsys, "evaluate", *given).out)
    assert scores["iou_per_class"] == {"nucleus": 1.0, "cell": 1.0}


def test_paths_without_a_class_beside_others_are_refused(
    capsys: Capture, folders: list[object], tmp_path: Path
) -> None:
    more = ("--labels", tmp_path / "cells", "--output", tmp_path / "m")
    outcome = run(capsys, "train", *folders, *more)
    assert outcome.code == 2
    assert "does not say of which class it is" in outcome.error_line


def test_a_kind_that_has_no_layers_is_refused(
    capsys: Capture, folders: list[object], tmp_path: Path
) -> None:
    given = ("--kind", "classes", "--output", tmp_path / "m")
    outcome = run(capsys, "train", *folders, *given)
    assert outcome.code == 2
    assert "Labels by class (nucleus, cell) are of overlapping classes" in outcome.error_line


def test_scores_by_class_need_their_kind(
    capsys: Capture, folders: list[object], tmp_path: Path
) -> None:
    masks = f"cell={tmp_path / 'cells'}"
    outcome = run(capsys, "evaluate", "--kind", "objects", "--predictions", masks, "--truth", masks)
    assert outcome.code == 2
    assert "add --kind overlapping" in outcome.error_line
