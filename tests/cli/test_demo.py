"""`napari-unet demo`, on a corner of a sample image and with three steps."""

from __future__ import annotations

import contextlib
import io
import json
import sys
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_unet import samples
from napari_unet.api.model import starting_model
from napari_unet.cli import demo, main
from napari_unet.evaluation.scores import evaluate
from napari_unet.model.trained import load_network

from .builders import run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Capture = pytest.CaptureFixture[str]
CORNER = (slice(320, 480), slice(160, 320))
NUCLEI_CORNER = (slice(288, 448), slice(256, 416))
SAMPLE = tuple(array[CORNER] for array in samples.load_phase_2d())
NUCLEI = tuple(array[NUCLEI_CORNER] for array in samples.load_nuclei_2d())
ARGUMENTS = ["demo", "--no-window", "--steps", "3", "--device", "cpu"]


@dataclass(frozen=True)
class Shown:
    """What the demo left."""

    report: Any
    folder: Path


@pytest.fixture(scope="module")
def corner() -> Iterator[None]:
    """The demo finds small sample images."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(samples, "load_phase_2d", lambda: SAMPLE)
        patch.setattr(samples, "load_nuclei_2d", lambda: NUCLEI)
        yield


@pytest.fixture(scope="module")
def shown(corner: None, tmp_path_factory: pytest.TempPathFactory) -> Shown:
    folder = tmp_path_factory.mktemp("demo") / "made by it"
    with contextlib.redirect_stdout(io.StringIO()) as out:
        assert main([*ARGUMENTS, "--json", "--output", str(folder)]) == 0
    return Shown(json.loads(out.getvalue()), folder)


def outlined(picture: Any) -> Any:
    """Return which pixels of a picture have a colour."""
    return picture.max(axis=-1) > picture.min(axis=-1)


def test_the_corner_holds_paint_of_cells_and_background() -> None:
    assert SAMPLE[1].max() > 1
    assert (SAMPLE[1] == 1).any()


def test_it_writes_labels_paint_model_and_picture(shown: Shown) -> None:
    assert sorted(path.name for path in shown.folder.iterdir()) == [
        "model.safetensors",
        "overlay.png",
        "paint.tif",
        "prediction.tif",
        "starting_model.tif",
    ]


@pytest.mark.parametrize("name", ["starting_model.tif", "prediction.tif", "paint.tif"])
def test_its_labels_have_the_shape_of_the_image(shown: Shown, name: str) -> None:
    assert tifffile.imread(shown.folder / name).shape == SAMPLE[0].shape


def test_its_model_can_be_loaded(shown: Shown) -> None:
    assert load_network(shown.folder / "model.safetensors").record.steps == 3


def test_its_picture_shows_paint_before_and_after_side_by_side(shown: Shown) -> None:
    with Image.open(shown.folder / "overlay.png") as picture:
        assert picture.size == (160 * 6, 160 * 2)


def test_its_report_tells_scores_before_and_after_and_the_folder(shown: Shown) -> None:
    both = {"f1_50", "f1_75", "objects", "found", "unpainted_found"}
    assert shown.report.keys() == {
        *both,
        *(f"{key}_before" for key in both),
        *("sample", "cells", "painted", "steps", "training_seconds", "seconds", "files"),
    }
    assert (shown.report["steps"], shown.report["files"]) == (3, str(shown.folder))


@pytest.mark.parametrize(
    ("name", "suffix"), [("starting_model.tif", "_before"), ("prediction.tif", "")]
)
def test_its_numbers_agree_with_its_files(shown: Shown, name: str, suffix: str) -> None:
    labels = tifffile.imread(shown.folder / name)
    scores = evaluate(labels, SAMPLE[2], "objects")
    assert shown.report[f"objects{suffix}"] == labels.max()
    assert shown.report[f"f1_50{suffix}"] == scores["f1_50"]
    assert shown.report[f"found{suffix}"] == round(scores["recall_50"] * scores["n_truth"])


def test_it_counts_the_cells_that_are_there_and_those_that_are_painted(shown: Shown) -> None:
    assert shown.report["cells"] == len(np.unique(SAMPLE[2])) - 1
    assert shown.report["painted"] == len(np.unique(SAMPLE[1])) - 2


def test_the_starting_model_alone_is_the_one_that_trainings_begin_with(shown: Shown) -> None:
    alone = starting_model("cells").predict(SAMPLE[0], device="cpu")
    np.testing.assert_array_equal(tifffile.imread(shown.folder / "starting_model.tif"), alone)


def test_it_prints_the_score_before_and_after(
    corner: None, capsys: Capture, tmp_path: Path
) -> None:
    report = json.loads(run(capsys, *ARGUMENTS, "--json", "--output", tmp_path).out)
    printed = run(capsys, *ARGUMENTS, "--output", tmp_path / "again").out.splitlines()[0]
    assert f"The starting model alone: F1 {report['f1_50_before']:.2f}" in printed
    assert "3 steps" in printed
    assert f"F1 {report['f1_50']:.2f}; {report['objects']} objects, {report['found']} of" in printed


def test_the_nuclei_are_the_other_sample(corner: None, capsys: Capture, tmp_path: Path) -> None:
    outcome = run(capsys, *ARGUMENTS, "--sample", "nuclei", "--output", tmp_path)
    count = len(np.unique(NUCLEI[2])) - 1
    assert f"of {count} nuclei found" in outcome.out


def test_another_sample_is_wrong_use(capsys: Capture) -> None:
    assert run(capsys, "demo", "--sample", "yeast").code == 2


def test_no_steps_are_wrong_use(capsys: Capture, tmp_path: Path) -> None:
    outcome = run(capsys, "demo", "--steps", 0, "--no-window", "--output", tmp_path)
    assert outcome.code == 2
    assert "steps is 0" in outcome.error_line


def test_a_folder_that_cannot_be_made_is_refused_before_training(
    corner: None, capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> None:
        raise AssertionError("it trains first")

    monkeypatch.setattr(demo, "train_network", fail)
    (tmp_path / "file").write_text("")
    arguments = ["demo", "--no-window", "--steps", 1, "--device", "cpu", "--json"]
    outcome = run(capsys, *arguments, "--output", tmp_path / "file" / "o")
    assert outcome.code == 1
    assert "Cannot write to" in outcome.err


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there always is a screen")
@pytest.mark.parametrize(
    ("display", "found", "screen"),
    [
        ("", True, False),
        (":0", True, True),
        (":0", False, False),
    ],
    ids=["no display", "display", "no napari"],
)
def test_a_window_needs_a_display_and_napari(
    monkeypatch: pytest.MonkeyPatch, display: str, found: bool, screen: bool
) -> None:
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setenv("DISPLAY", display)
    finder = SimpleNamespace(find_spec=lambda name: object() if found else None)
    monkeypatch.setattr(demo, "importlib", SimpleNamespace(util=finder))
    assert demo._has_screen() is screen


def test_the_overlay_outlines_the_starting_model_in_the_middle_and_the_result_on_the_right() -> (
    None
):
    image = np.zeros((8, 8), np.uint8)
    before, after = np.zeros((8, 8), int), np.zeros((8, 8), int)
    before[0:2, 0:2], after[2:6, 2:6] = 1, 1
    coloured = outlined(demo.draw_overlay(image, 0 * before, before, after))
    left, middle, right = coloured[:, :16], coloured[:, 16:32], coloured[:, 32:]
    assert not left.any()
    assert middle[3, :4].all()
    assert not middle[5:].any()
    assert right[4, 4:12].all()
    assert not right[6:10, 6:10].any()


def test_the_overlay_colours_the_paint_on_the_left() -> None:
    image = np.zeros((8, 8), np.uint8)
    paint = np.zeros((8, 8), int)
    paint[0, 0], paint[4, 4] = 1, 2
    overlay = demo.draw_overlay(image, paint, 0 * paint, 0 * paint)
    background, cell = overlay[1, 1], overlay[9, 9]
    assert background[2] > background[0]
    assert cell[0] > cell[2]


def test_the_overlay_brightens_only_what_is_mostly_dark() -> None:
    ramp = np.linspace(0, 255, 64).reshape(8, 8)
    dark = np.where(ramp < 200, ramp / 8, ramp)
    none = np.zeros((8, 8), int)
    even, brightened = (demo.draw_overlay(each, none, none, none) for each in (ramp, dark))
    assert abs(int(even[8, 0, 0]) - 128) < 10
    assert brightened[8, 0, 0] > 2 * dark[4, 0]
