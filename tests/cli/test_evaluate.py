"""`napari-unet evaluate`: the keys that other programs rely on."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from .builders import Outcome, picture, run, write_images

Capture = pytest.CaptureFixture[str]
MASKS = np.where(picture()[1] > 1, picture()[1], 0).astype(np.uint8)
PIXEL_KEYS = {"iou", "dice", "precision", "recall"}
OBJECT_KEYS = PIXEL_KEYS | {
    *("f1_50", "f1_75", "ap_50", "ap_75", "mean_f1", "map", "seg", "rand_error"),
    *("n_missed", "n_false", "n_merged", "n_split"),
}
CLASS_KEYS = PIXEL_KEYS | {"pixel_error"}


def evaluate(capsys: Capture, folder: Path, predictions: Any, truth: Any, *more: object) -> Outcome:
    """Compare images, given by name."""
    predicted = write_images(folder / "predictions", **predictions)
    true = write_images(folder / "truth", **truth)
    return run(capsys, "evaluate", "--predictions", predicted, "--truth", true, *more)


def scores(capsys: Capture, folder: Path, predicted: Any, true: Any, *more: object) -> Any:
    outcome = evaluate(capsys, folder, {"a": predicted}, {"a": true}, *more, "--json")
    assert (outcome.code, outcome.err, outcome.out.count("\n")) == (0, "", 1)
    return json.loads(outcome.out)


def test_objects_have_all_their_scores(capsys: Capture, tmp_path: Path) -> None:
    assert scores(capsys, tmp_path, MASKS, MASKS, "--kind", "objects").keys() >= OBJECT_KEYS


def test_classes_have_all_their_scores(capsys: Capture, tmp_path: Path) -> None:
    assert scores(capsys, tmp_path, MASKS, MASKS, "--kind", "classes").keys() >= CLASS_KEYS


def test_two_classes_have_rand_and_warping_errors(capsys: Capture, tmp_path: Path) -> None:
    two = (MASKS > 0).astype(np.uint8)
    found = scores(capsys, tmp_path, two, two, "--kind", "classes")
    assert (found["rand_error"], found["warping_error"]) == (0, 0)


@pytest.mark.parametrize("kind", ["objects", "classes"])
def test_the_truth_itself_is_perfect(capsys: Capture, tmp_path: Path, kind: str) -> None:
    found = scores(capsys, tmp_path, MASKS, MASKS, "--kind", kind)
    assert [found[key] for key in sorted(PIXEL_KEYS)] == [1, 1, 1, 1]


def test_a_missing_object_costs_recall(capsys: Capture, tmp_path: Path) -> None:
    found = scores(capsys, tmp_path, np.where(MASKS == 2, 0, MASKS), MASKS, "--kind", "objects")
    assert (found["ap_50"], found["precision"], found["recall"]) == (0.75, 1, 0.75)


def test_unlabelled_truth_is_not_counted(capsys: Capture, tmp_path: Path) -> None:
    truth = picture()[1]
    predicted = np.where(truth == 0, 77, MASKS)  # wrong only where nothing is painted
    arguments = ["--kind", "classes", "--unpainted", "unlabelled"]
    assert scores(capsys, tmp_path, predicted, truth, *arguments)["pixel_error"] == 0


def test_per_image_rows_name_their_file(capsys: Capture, tmp_path: Path) -> None:
    outcome = evaluate(
        capsys,
        tmp_path,
        {"a": MASKS, "b": 0 * MASKS},
        {"a": MASKS, "b": MASKS},
        *("--kind", "objects", "--per-image", "--json"),
    )
    rows = json.loads(outcome.out)["images"]
    assert [(row["file"], row["recall"]) for row in rows] == [("a.tif", 1), ("b.tif", 0)]


def test_images_are_pooled(capsys: Capture, tmp_path: Path) -> None:
    outcome = evaluate(
        capsys,
        tmp_path,
        {"a": MASKS, "b": 0 * MASKS},
        {"a": MASKS, "b": MASKS},
        *("--kind", "objects", "--json"),
    )
    assert json.loads(outcome.out)["recall"] == 0.5


def test_files_whose_numbers_differ_are_refused(capsys: Capture, tmp_path: Path) -> None:
    predictions, truth = {"001": MASKS, "002": MASKS}, {"003": MASKS, "004": MASKS}
    outcome = evaluate(capsys, tmp_path, predictions, truth, "--kind", "objects")
    assert "001.tif would go with 003.tif" in outcome.error_line


def test_what_is_paired_is_printed(capsys: Capture, tmp_path: Path) -> None:
    predictions, truth = {"a": MASKS, "a_2": 0 * MASKS}, {"a_mask": MASKS, "a_2_mask": 0 * MASKS}
    outcome = evaluate(capsys, tmp_path, predictions, truth, "--kind", "objects")
    assert "a.tif with a_mask.tif\na_2.tif with a_2_mask.tif\n" in outcome.out


def test_json_says_what_is_paired(capsys: Capture, tmp_path: Path) -> None:
    outcome = evaluate(
        capsys,
        tmp_path,
        {"a": MASKS, "a_2": 0 * MASKS},
        {"a_mask": MASKS, "a_2_mask": 0 * MASKS},
        *("--kind", "objects", "--json"),
    )
    report = json.loads(outcome.out)
    assert report["f1_50"] == 1
    assert [(Path(p["prediction"]).name, Path(p["truth"]).name) for p in report["pairs"]] == [
        ("a.tif", "a_mask.tif"),
        ("a_2.tif", "a_2_mask.tif"),
    ]


def test_a_mask_of_one_number_is_told(capsys: Capture, tmp_path: Path) -> None:
    truth = (MASKS > 0) * np.uint8(255)
    outcome = evaluate(capsys, tmp_path, {"a": MASKS}, {"a": truth}, "--kind", "objects")
    assert "255, covers 4 separate pieces" in outcome.err
    assert "--label-pieces" in outcome.err


def test_pieces_of_a_mask_can_be_labelled(capsys: Capture, tmp_path: Path) -> None:
    truth = (MASKS > 0) * np.uint8(255)
    arguments = ("--kind", "objects", "--label-pieces")
    assert scores(capsys, tmp_path, MASKS, truth, *arguments)["f1_50"] == 1


def test_a_reader_that_has_read_enough_is_no_error(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "truth", a=MASKS)
    command = f"evaluate --predictions {folder} --truth {folder} --kind objects"
    shell = f"{sys.executable} -m napari_unet {command} | true"
    done = subprocess.run(["/bin/sh", "-c", shell], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_files_of_one_number_and_two_words_are_paired_silently(
    capsys: Capture, tmp_path: Path
) -> None:
    predictions, truth = {"img_1": MASKS, "img_2": MASKS}, {"mask_1": MASKS, "mask_2": MASKS}
    assert not evaluate(capsys, tmp_path, predictions, truth, "--kind", "objects").err


def test_without_json_a_table_is_printed(capsys: Capture, tmp_path: Path) -> None:
    outcome = evaluate(
        capsys, tmp_path, {"a": MASKS}, {"a": MASKS}, "--kind", "objects", "--per-image"
    )
    lines = outcome.out.splitlines()
    assert "iou                    1.0000" in lines
    assert lines[-1].startswith("a.tif iou=1.0000")


@pytest.mark.parametrize(
    ("predictions", "truth", "text"),
    [
        ({"a": MASKS}, {"a": MASKS[:40]}, "(48, 48), its truth (40, 48)"),
        ({"a": MASKS, "b": MASKS}, {"a": MASKS}, "without a partner: b.tif"),
        ({"a": MASKS.astype(np.float32)}, {"a": MASKS}, "dtype float32"),
        ({}, {"a": MASKS}, "holds no image"),
    ],
    ids=["other shape", "odd number", "no integers", "empty folder"],
)
def test_what_cannot_be_compared_is_one_line(
    capsys: Capture, tmp_path: Path, predictions: Any, truth: Any, text: str
) -> None:
    outcome = evaluate(capsys, tmp_path, predictions, truth, "--kind", "objects", "--json")
    assert (outcome.code, outcome.out) == (1, "")
    assert text in outcome.error_line


def test_truth_without_paint_is_refused(capsys: Capture, tmp_path: Path) -> None:
    outcome = evaluate(
        capsys,
        tmp_path,
        {"a": MASKS},
        {"a": 0 * MASKS},
        *("--kind", "objects", "--unpainted", "unlabelled"),
    )
    assert outcome.code == 1
    assert "nothing is painted" in outcome.error_line


def test_errors_are_written_under_the_names_of_the_predictions(
    capsys: Capture, tmp_path: Path
) -> None:
    images = {"a": MASKS, "b": 0 * MASKS}
    arguments = ("--kind", "objects", "--errors", tmp_path / "new" / "errors", "--json")
    outcome = evaluate(capsys, tmp_path, images, {"a": MASKS, "b": MASKS}, *arguments)
    files = [tmp_path / "new" / "errors" / name for name in ("a.tif", "b.tif")]
    assert json.loads(outcome.out)["error_maps"] == [str(file) for file in files]
    found = [np.unique(tifffile.imread(file)).tolist() for file in files]
    assert found == [[0, 1], [0, 2]]


def test_errors_of_volumes_say_their_axes(capsys: Capture, tmp_path: Path) -> None:
    volume = np.stack([MASKS, MASKS, MASKS])
    arguments = ("--kind", "objects", "--errors", tmp_path / "errors")
    evaluate(capsys, tmp_path, {"a": volume}, {"a": volume}, *arguments)
    with tifffile.TiffFile(tmp_path / "errors" / "a.tif") as file:
        assert (file.series[0].axes, file.series[0].shape) == ("ZYX", volume.shape)


def test_errors_of_classes_tell_one_class_from_another(capsys: Capture, tmp_path: Path) -> None:
    arguments = ("--kind", "classes", "--errors", tmp_path / "errors")
    evaluate(capsys, tmp_path, {"a": MASKS}, {"a": np.where(MASKS == 2, 3, MASKS)}, *arguments)
    assert (tifffile.imread(tmp_path / "errors" / "a.tif")[MASKS == 2] == 6).all()


def test_the_table_ends_with_what_the_values_of_the_errors_mean(
    capsys: Capture, tmp_path: Path
) -> None:
    arguments = ("--kind", "objects", "--errors", tmp_path / "errors")
    outcome = evaluate(capsys, tmp_path, {"a": MASKS}, {"a": MASKS}, *arguments)
    assert "1 correct, 2 missed, 3 false, 4 merged, 5 split" in outcome.out.splitlines()[-1]


@pytest.mark.parametrize("folder", ["predictions", "truth"])
def test_errors_never_overwrite_what_is_compared(
    capsys: Capture, tmp_path: Path, folder: str
) -> None:
    arguments = ("--kind", "objects", "--errors", tmp_path / folder)
    outcome = evaluate(capsys, tmp_path, {"a": MASKS}, {"a": MASKS}, *arguments)
    assert (outcome.code, outcome.out) == (1, "")
    assert "would overwrite" in outcome.error_line


def test_frames_that_napari_saved_as_colours_are_compared_with_their_axes(
    capsys: Capture, tmp_path: Path
) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.stack([MASKS] * 3), photometric="rgb")
    arguments = ("evaluate", "--predictions", path, "--truth", path, "--kind", "objects")
    assert "name their axes if they are frames" in run(capsys, *arguments).error_line
    assert run(capsys, *arguments, "--axes", "TYX").code == 0


def test_a_folder_that_cannot_be_made_is_one_line(capsys: Capture, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    arguments = ("--kind", "objects", "--errors", tmp_path / "file" / "errors")
    outcome = evaluate(capsys, tmp_path, {"a": MASKS}, {"a": MASKS}, *arguments)
    assert (outcome.code, outcome.out) == (1, "")
    assert "Cannot write to" in outcome.error_line
