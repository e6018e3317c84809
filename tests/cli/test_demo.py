"""`napari-unet demo`, on a corner of the sample image and with three steps."""

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
from napari_unet.cli import demo, main
from napari_unet.model.trained import load_network

from .builders import run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Capture = pytest.CaptureFixture[str]
CORNER = (slice(288, 448), slice(256, 416))
SAMPLE = tuple(array[CORNER] for array in samples.load_nuclei_2d())


@dataclass(frozen=True)
class Shown:
    """What the demo left."""

    report: Any
    folder: Path


@pytest.fixture(scope="module")
def corner() -> Iterator[None]:
    """The demo finds a small sample image."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(samples, "load_nuclei_2d", lambda: SAMPLE)
        yield


@pytest.fixture(scope="module")
def shown(corner: None, tmp_path_factory: pytest.TempPathFactory) -> Shown:
    folder = tmp_path_factory.mktemp("demo") / "made by it"
    arguments = ["demo", "--no-window", "--steps", "3", "--device", "cpu", "--json"]
    with contextlib.redirect_stdout(io.StringIO()) as out:
        assert main([*arguments, "--output", str(folder)]) == 0
    return Shown(json.loads(out.getvalue()), folder)


def test_the_corner_holds_strokes_of_cells_and_background() -> None:
    assert SAMPLE[1].max() > 1
    assert (SAMPLE[1] == 1).any()


def test_it_writes_labels_strokes_model_and_picture(shown: Shown) -> None:
    assert sorted(path.name for path in shown.folder.iterdir()) == [
        "model.safetensors",
        "overlay.png",
        "prediction.tif",
        "strokes.tif",
    ]


def test_its_labels_have_the_shape_of_the_image(shown: Shown) -> None:
    assert tifffile.imread(shown.folder / "prediction.tif").shape == SAMPLE[0].shape


def test_its_model_can_be_loaded(shown: Shown) -> None:
    assert load_network(shown.folder / "model.safetensors").record.steps == 3


def test_its_picture_shows_both_sides_enlarged(shown: Shown) -> None:
    with Image.open(shown.folder / "overlay.png") as picture:
        assert picture.size == (160 * 6, 160 * 3)


def test_its_report_tells_the_score_and_the_folder(shown: Shown) -> None:
    assert shown.report.keys() == {"f1_50", "nuclei", "found", "steps", "seconds", "files"}
    assert (shown.report["steps"], shown.report["files"]) == (3, str(shown.folder))


def test_its_numbers_agree_with_its_files(shown: Shown) -> None:
    labels = tifffile.imread(shown.folder / "prediction.tif")
    assert shown.report["found"] == labels.max()
    assert shown.report["nuclei"] == len(np.unique(SAMPLE[2])) - 1


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


def test_the_overlay_outlines_the_prediction_on_the_right() -> None:
    image = np.zeros((8, 8), np.uint8)
    prediction = np.zeros((8, 8), int)
    prediction[2:6, 2:6] = 1
    overlay = demo.draw_overlay(image, 0 * prediction, prediction)
    bright = overlay.max(axis=-1) > 0
    left, right = bright[:, :24], bright[:, 24:]
    assert not left.any()
    assert right[6, 6:18].all()
    assert not right[9:15, 9:15].any()


def test_the_overlay_colours_the_strokes_on_the_left() -> None:
    image = np.zeros((8, 8), np.uint8)
    strokes = np.zeros((8, 8), int)
    strokes[0, 0], strokes[4, 4] = 1, 2
    overlay = demo.draw_overlay(image, strokes, 0 * strokes)
    background, cell = overlay[1, 1], overlay[13, 13]
    assert background[2] > background[0]
    assert cell[0] > cell[2]
