"""`napari-unet train`: a model file, its state, a report; and one line for what is wrong."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tifffile

from napari_unet.cli import progress
from napari_unet.cli import train as train_command
from napari_unet.cli.progress import report_in_words
from napari_unet.errors import FileProblemError
from napari_unet.io.files import write_image
from napari_unet.io.locks import locked
from napari_unet.model.trained import load_network, save_network
from napari_unet.tasks import losses
from napari_unet.tasks.losses import weighted_cross_entropy
from napari_unet.training.checkpoint import load_state, save_checkpoint

from .builders import TINY, picture, run, training_folders, write_images

if TYPE_CHECKING:
    import argparse

    from torch import Tensor

Capture = pytest.CaptureFixture[str]
IMAGE, LABELS = picture()


@pytest.fixture
def good(tmp_path: Path) -> list[object]:
    """Arguments of a training that works."""
    return ["train", *training_folders(tmp_path, IMAGE, LABELS), *TINY]


# --- results -----------------------------------------------------------------------------------


def test_a_model_and_its_state_are_written(
    capsys: Capture, good: list[object], tmp_path: Path
) -> None:
    outcome = run(capsys, *good, "--output", tmp_path / "m.safetensors")
    assert outcome.code == 0
    assert load_network(tmp_path / "m.safetensors").record.steps == 3
    assert load_state(tmp_path / "m.state.safetensors").step == 3


def test_the_file_ending_is_added(capsys: Capture, good: list[object], tmp_path: Path) -> None:
    assert run(capsys, *good, "--output", tmp_path / "cells.v2").code == 0
    assert (tmp_path / "cells.v2.safetensors").is_file()


def test_folders_of_the_output_are_made(
    capsys: Capture, good: list[object], tmp_path: Path
) -> None:
    assert run(capsys, *good, "--output", tmp_path / "a" / "ü b" / "m").code == 0
    assert (tmp_path / "a" / "ü b" / "m.safetensors").is_file()


def test_json_reports_the_model_and_the_steps(
    capsys: Capture, good: list[object], tmp_path: Path
) -> None:
    outcome = run(capsys, *good, "--output", tmp_path / "m", "--json")
    report = json.loads(outcome.out)
    assert report["model"] == str(tmp_path / "m.safetensors")
    assert (report["steps"], report["stopped"]) == (3, False)


def test_without_json_the_result_is_one_sentence(
    capsys: Capture, good: list[object], tmp_path: Path
) -> None:
    outcome = run(capsys, *good, "--output", tmp_path / "m")
    pair, sentence = outcome.out.splitlines()
    assert pair == "cells.tif with cells.tif"
    assert "3 steps" in sentence


def test_the_best_validation_is_reported(capsys: Capture, tmp_path: Path) -> None:
    image, labels = picture()
    folders = training_folders(tmp_path, np.tile(image, (2, 2)), np.tile(labels, (2, 2)))
    outcome = run(
        capsys,
        "train",
        *folders,
        *TINY,
        "--unpainted",
        "background",
        "--validate-every",
        1,
        "--output",
        tmp_path / "m",
        "--json",
    )
    best = json.loads(outcome.out)["validation"]
    history = load_network(tmp_path / "m.safetensors").record.history
    assert len(history) == 3
    assert best in history


def test_json_says_how_many_painted_cells_are_found(
    capsys: Capture, good: list[object], tmp_path: Path
) -> None:
    report = json.loads(run(capsys, *good, "--output", tmp_path / "m", "--json").out)
    assert report["painted_cells"] == 4
    assert 0 <= report["painted_cells_found"] <= 4


def test_the_sentence_says_how_many_painted_cells_are_found(
    capsys: Capture, good: list[object], tmp_path: Path
) -> None:
    assert " of 4 painted cells found" in run(capsys, *good, "--output", tmp_path / "m").out


def test_the_sentence_says_why_few_painted_cells_have_no_score(
    capsys: Capture, good: list[object], tmp_path: Path
) -> None:
    said = run(capsys, *good, "--output", tmp_path / "m").out
    assert "no validation: of fewer than 20 painted cells none is held back." in said


def test_of_classes_the_sentence_counts_no_cells(
    capsys: Capture, good: list[object], tmp_path: Path
) -> None:
    said = run(capsys, *good, "--output", tmp_path / "m", "--kind", "classes").out
    assert said.endswith("no validation.\n")


def test_the_bar_says_how_many_painted_cells_are_found(
    capsys: Capture, good: list[object], tmp_path: Path
) -> None:
    arguments = ("--output", tmp_path / "m", "--validate-every", 1)
    assert "/4 painted cells" in run(capsys, *good, *arguments).err


def test_json_of_classes_has_no_painted_cells(
    capsys: Capture, good: list[object], tmp_path: Path
) -> None:
    outcome = run(capsys, *good, "--output", tmp_path / "m", "--kind", "classes", "--json")
    assert "painted_cells" not in json.loads(outcome.out)


def test_flags_reach_the_record(capsys: Capture, good: list[object], tmp_path: Path) -> None:
    run(capsys, *good, "--output", tmp_path / "m", "--no-flip", "--seed", 5, "--zoom", 0.3)
    training = load_network(tmp_path / "m.safetensors").record.training
    assert (training["flip"], training["seed"], training["zoom"]) == (False, 5, 0.3)


def test_a_preset_is_the_base_of_the_flags(
    capsys: Capture, good: list[object], tmp_path: Path
) -> None:
    assert run(capsys, *good, "--output", tmp_path / "m", "--preset", "accurate").code == 0
    training = load_network(tmp_path / "m.safetensors").record.training
    assert (training["elastic_sigma"], training["base_channels"]) == (6.0, 2)


def test_several_images_pair_by_name(capsys: Capture, tmp_path: Path) -> None:
    images = write_images(tmp_path / "i", b=IMAGE, a=IMAGE[:40])
    labels = write_images(tmp_path / "l", a=LABELS[:40], b=LABELS)
    outcome = run(
        capsys, "train", "--images", images, "--labels", labels, *TINY, "--output", tmp_path / "m"
    )
    assert outcome.code == 0
    record = load_network(tmp_path / "m.safetensors").record
    assert [(image.name, image.shape) for image in record.images] == [
        ("a.tif", (40, 48)),
        ("b.tif", (48, 48)),
    ]


def test_minutes_bound_the_training(capsys: Capture, good: list[object], tmp_path: Path) -> None:
    good = [a for a in good if a not in ("--steps", "3")]
    outcome = run(capsys, *good, "--output", tmp_path / "m", "--minutes", 0.02, "--json")
    assert json.loads(outcome.out)["seconds"] < 4
    assert json.loads(outcome.out)["steps"] > 3


def test_minutes_too_few_for_a_single_step_are_no_success(
    capsys: Capture, good: list[object], tmp_path: Path
) -> None:
    good = [a for a in good if a not in ("--steps", "3")]
    outcome = run(capsys, *good, "--output", tmp_path / "m", "--minutes", 1e-6)
    assert outcome.code != 0 or "Note" in outcome.err.replace("Note: The paint", "")


# --- resume ------------------------------------------------------------------------------------


def test_resume_goes_on_counting(capsys: Capture, good: list[object], tmp_path: Path) -> None:
    run(capsys, *good, "--output", tmp_path / "m")
    outcome = run(capsys, *good, "--steps", 5, "--output", tmp_path / "m", "--resume", "--json")
    assert json.loads(outcome.out)["steps"] == 5


def test_resume_tells_of_other_images(capsys: Capture, good: list[object], tmp_path: Path) -> None:
    run(capsys, *good, "--output", tmp_path / "m")
    images = write_images(tmp_path / "other", first=IMAGE, new=IMAGE + 1)
    labels = write_images(tmp_path / "painted", first=LABELS, new=LABELS)
    arguments = ("--images", images, "--labels", labels, "--steps", "4", "--resume")
    outcome = run(capsys, "train", *arguments, "--output", tmp_path / "m")
    assert outcome.code == 0
    assert "other images than it began with: new.tif added, 0 left out" in outcome.err


def test_resume_on_the_same_images_tells_nothing(
    capsys: Capture, good: list[object], tmp_path: Path
) -> None:
    run(capsys, *good, "--output", tmp_path / "m")
    outcome = run(capsys, *good, "--steps", "4", "--resume", "--output", tmp_path / "m")
    assert "other images" not in outcome.err


def test_json_says_what_is_paired(capsys: Capture, tmp_path: Path) -> None:
    images = write_images(tmp_path / "images", img1=IMAGE, img2=IMAGE, img10=IMAGE)
    labels = write_images(tmp_path / "labels", lbl01=LABELS, lbl02=LABELS, lbl10=LABELS)
    arguments = ("--images", images, "--labels", labels, *TINY, "--output", tmp_path / "m")
    report = json.loads(run(capsys, "train", *arguments, "--json").out)
    assert [(Path(p["image"]).stem, Path(p["labels"]).stem) for p in report["pairs"]] == [
        ("img1", "lbl01"),
        ("img2", "lbl02"),
        ("img10", "lbl10"),
    ]


def test_pieces_of_a_mask_can_be_labelled(capsys: Capture, tmp_path: Path) -> None:
    arguments = ["train", *training_folders(tmp_path, IMAGE, (LABELS > 1) * np.uint8(255)), *TINY]
    arguments += ["--unpainted", "background", "--output", tmp_path / "m"]
    assert "255, covers 4 separate pieces" in run(capsys, *arguments).err
    assert "separate pieces" not in run(capsys, *arguments, "--label-pieces").err


def test_resume_keeps_the_settings_of_the_training(
    capsys: Capture, good: list[object], tmp_path: Path
) -> None:
    run(capsys, *good, "--output", tmp_path / "m", "--zoom", 0.3)
    inputs = good[:5]
    run(capsys, *inputs, "--steps", 4, "--output", tmp_path / "m", "--resume")
    training = load_network(tmp_path / "m.safetensors").record.training
    assert (training["zoom"], training["depth"], training["steps"]) == (0.3, 2, 4)


def test_resume_after_an_interrupt_gives_what_would_have_been(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture, good: list[object], tmp_path: Path
) -> None:
    good = [a for a in good if a not in ("--steps", "3")] + ["--steps", 6]
    run(capsys, *good, "--output", tmp_path / "whole")
    interrupt_at(monkeypatch, 3)
    first = run(capsys, *good, "--output", tmp_path / "parts", "--json")
    assert (json.loads(first.out)["steps"], json.loads(first.out)["stopped"]) == (3, True)
    run(capsys, *good, "--output", tmp_path / "parts", "--resume")
    whole, parts = (
        load_network(tmp_path / f"{name}.safetensors").network.state_dict()
        for name in ("whole", "parts")
    )
    assert all(bool((whole[name] == parts[name]).all()) for name in whole)


def test_resume_with_steps_goes_on_after_a_training_by_minutes(
    capsys: Capture, good: list[object], tmp_path: Path
) -> None:
    by_time = [a for a in good if a not in ("--steps", "3")]
    first = run(capsys, *by_time, "--output", tmp_path / "m", "--minutes", 0.005, "--json")
    steps = json.loads(first.out)["steps"] + 2
    arguments = [*good[:5], "--output", tmp_path / "m", "--resume", "--steps", steps, "--json"]
    assert json.loads(run(capsys, *arguments).out)["steps"] == steps


def test_resume_needs_a_model(capsys: Capture, good: list[object], tmp_path: Path) -> None:
    outcome = run(capsys, *good, "--output", tmp_path / "m", "--resume")
    assert outcome.code == 1
    assert f"There is no model file {tmp_path / 'm.safetensors'}" in outcome.error_line


def test_resume_needs_the_state(capsys: Capture, good: list[object], tmp_path: Path) -> None:
    run(capsys, *good, "--output", tmp_path / "m")
    (tmp_path / "m.state.safetensors").unlink()
    outcome = run(capsys, *good, "--output", tmp_path / "m", "--resume")
    assert outcome.code == 1
    assert "m.state.safetensors" in outcome.error_line


def _train(capsys: Capture, good: list[object], output: Path, *more: object) -> None:
    assert run(capsys, *good, "--output", output, *more).code == 0


@pytest.mark.fault(34)
def test_resume_bears_a_state_that_is_older_than_the_model(
    capsys: Capture, good: list[object], tmp_path: Path
) -> None:
    _train(capsys, good, tmp_path / "m", "--steps", 3)
    older = (tmp_path / "m.state.safetensors").read_bytes()
    _train(capsys, good, tmp_path / "m", "--steps", 5, "--resume")
    (tmp_path / "m.state.safetensors").write_bytes(older)  # killed between model and state
    outcome = run(capsys, *good, "--output", tmp_path / "m", "--steps", 6, "--resume", "--json")
    assert json.loads(outcome.out)["steps"] == 6


@pytest.mark.fault(34)
@pytest.mark.parametrize("steps", [5, 2], ids=["longer", "shorter"])
def test_resume_refuses_the_state_of_a_previous_training(
    capsys: Capture, tmp_path: Path, steps: int
) -> None:
    image, labels = picture()
    inputs = training_folders(tmp_path, np.tile(image, (3, 3)), np.tile(labels, (3, 3)))
    command = ["train", *inputs, *TINY[2:], "--unpainted", "background"]
    command += ["--validate-every", "1"]  # the scores tell them apart
    _train(capsys, command, tmp_path / "m", "--steps", steps)
    previous = (tmp_path / "m.state.safetensors").read_bytes()
    _train(capsys, command, tmp_path / "m", "--steps", 3, "--seed", 7)
    (tmp_path / "m.state.safetensors").write_bytes(previous)  # killed between model and state
    outcome = run(capsys, *command, "--output", tmp_path / "m", "--steps", 9, "--resume")
    assert outcome.code == 1
    assert f"m.state.safetensors is the state of a previous training (step {steps}," in outcome.err


@pytest.mark.parametrize("name", ["m.safetensors", "m.state.safetensors"])
def test_resume_refuses_a_truncated_file(
    capsys: Capture, good: list[object], tmp_path: Path, name: str
) -> None:
    run(capsys, *good, "--output", tmp_path / "m")
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: len(content) // 2])
    outcome = run(capsys, *good, "--output", tmp_path / "m", "--resume")
    assert outcome.code == 1
    assert f"{name} is not a complete model file" in outcome.error_line


def test_resume_and_a_preset_exclude_each_other(
    capsys: Capture, good: list[object], tmp_path: Path
) -> None:
    outcome = run(capsys, *good, "--output", tmp_path / "m", "--resume", "--preset", "fast")
    assert outcome.code == 2
    assert "leave out --preset" in outcome.error_line


def test_resume_of_a_model_with_unknown_settings_is_refused(
    capsys: Capture, good: list[object], tmp_path: Path
) -> None:
    run(capsys, *good, "--output", tmp_path / "m")
    old = load_network(tmp_path / "m.safetensors")
    record = replace(old.record, training={**old.record.training, "of_a_later_version": 1})
    save_network(replace(old, record=record), tmp_path / "m.safetensors")
    outcome = run(capsys, *good, "--output", tmp_path / "m", "--resume")
    assert outcome.code == 1
    assert "of_a_later_version" in outcome.error_line


def test_resume_of_a_training_that_began_with_a_previous_starting_model_begins_with_cells(
    capsys: Capture, good: list[object], tmp_path: Path
) -> None:
    run(capsys, *good, "--output", tmp_path / "m")
    old = load_network(tmp_path / "m.safetensors")
    record = replace(old.record, training={**old.record.training, "start": "nuclei"})
    save_network(replace(old, record=record), tmp_path / "m.safetensors")
    outcome = run(capsys, *good[:5], "--steps", 4, "--output", tmp_path / "m", "--resume")
    assert outcome.code == 0, outcome.err
    assert load_network(tmp_path / "m.safetensors").record.training["start"] == "cells"


def test_an_unknown_start_is_wrong_use_that_names_the_choices(
    capsys: Capture, good: list[object], tmp_path: Path
) -> None:
    outcome = run(capsys, *good, "--output", tmp_path / "m", "--start", "nuclei")
    assert outcome.code == 2
    assert "nuclei" in outcome.error_line
    assert "cells" in outcome.error_line
    assert "random" in outcome.error_line


def test_resume_of_a_finished_training_says_how_to_go_on(
    capsys: Capture, good: list[object], tmp_path: Path
) -> None:
    run(capsys, *good, "--output", tmp_path / "m")
    outcome = run(capsys, *good, "--output", tmp_path / "m", "--resume")
    assert outcome.code == 2
    assert "already made 3 steps" in outcome.error_line


def test_a_model_is_trained_further(capsys: Capture, good: list[object], tmp_path: Path) -> None:
    _train(capsys, good, tmp_path / "m")
    before = (tmp_path / "m.safetensors").read_bytes()
    outcome = run(
        capsys,
        *(*good, "--previous", tmp_path / "m.safetensors", "--output", tmp_path / "n", "--json"),
    )
    assert json.loads(outcome.out)["steps"] == 6
    assert (tmp_path / "m.safetensors").read_bytes() == before
    card = json.loads((tmp_path / "n.run.json").read_text())
    assert "earlier model" in json.dumps(card)


@pytest.mark.parametrize("held_back", [True, False])
def test_a_model_that_was_trained_further_is_compared_with_the_previous_one(
    capsys: Capture, tmp_path: Path, held_back: bool
) -> None:
    tiles = (2, 2) if held_back else (1, 1)
    folders = training_folders(tmp_path, np.tile(IMAGE, tiles), np.tile(LABELS, tiles))
    more = [*TINY, "--unpainted", "background" if held_back else "unlabelled"]
    command = ["train", *folders, *more]
    run(capsys, *command, "--output", tmp_path / "m")
    further = [*command, "--previous", tmp_path / "m.safetensors", "--output", tmp_path / "n"]
    sentence = run(capsys, *further).out.splitlines()[-1]
    assert "the previous model" in sentence
    told = json.loads(run(capsys, *further, "--json").out)["previous"]
    assert (told["validation"] is not None) == held_back
    assert told["kept"] == ("which was kept" in sentence)


@pytest.mark.parametrize(
    ("before", "now", "words"),
    [
        (0.5, 0.6, "Better than the previous model: there its object F1 is 0.500."),
        (0.5, 0.503, "As good as the previous model: there its object F1 is 0.500."),
        (0.5, 0.49, "Worse than the previous model: there its object F1 is 0.500."),
    ],
)
def test_the_comparison_with_the_previous_model_is_in_words(
    before: float, now: float, words: str
) -> None:
    report = {
        "model": "m.safetensors",
        "steps": 3,
        "seconds": 1.0,
        "validation": {"step": 3, "iou": 0.9, "object_f1": now},
        "previous": {"validation": {"iou": 0.9, "object_f1": before}, "kept": False},
    }
    assert report_in_words(report).endswith(f"held-back paint. {words}")


def test_resume_with_another_network_is_refused(
    capsys: Capture, good: list[object], tmp_path: Path
) -> None:
    run(capsys, *good, "--output", tmp_path / "m", "--json")
    outcome = run(
        capsys,
        *good,
        "--output",
        tmp_path / "m",
        "--resume",
        "--steps",
        9,
        "--base-channels",
        3,
        "--json",
    )
    assert outcome.code == 1
    assert "another network" in outcome.error_line


# --- what is wrong -----------------------------------------------------------------------------


@pytest.mark.fault(18, 25, 26, 27)
@pytest.mark.parametrize(
    ("image", "labels", "text"),
    [
        (IMAGE[:47], LABELS, "Labels (48, 48) do not match image (47, 48)"),
        (IMAGE, 0 * LABELS, "Nothing is painted yet"),
        (IMAGE, np.minimum(LABELS, 1), "Paint at least two classes"),
        (IMAGE, LABELS.astype(np.float32), "dtype float32"),
        (IMAGE, -LABELS.astype(np.int16), "must not be negative"),
        (IMAGE.astype(np.complex64), LABELS, "dtype complex64"),
    ],
    ids=["other shape", "no paint", "one class", "no integers", "negative", "complex"],
)
def test_inputs_that_cannot_be_used_are_one_line(
    capsys: Capture, tmp_path: Path, image: Any, labels: Any, text: str
) -> None:
    folders = training_folders(tmp_path, image, labels)
    outcome = run(capsys, "train", *folders, *TINY, "--output", tmp_path / "m")
    assert outcome.code == 1
    assert text in outcome.error_line
    assert not (tmp_path / "m.safetensors").exists()


@pytest.mark.fault(19)
def test_an_empty_image_is_one_line(capsys: Capture, tmp_path: Path) -> None:
    np.save(tmp_path / "i.npy", np.zeros((0, 48)))
    np.save(tmp_path / "l.npy", np.zeros((0, 48), np.uint8))
    inputs = ["--images", tmp_path / "i.npy", "--labels", tmp_path / "l.npy"]
    outcome = run(capsys, "train", *inputs, *TINY, "--output", tmp_path / "m")
    assert outcome.code == 1
    assert "The image is empty" in outcome.error_line


def test_a_missing_folder_is_named(capsys: Capture, good: list[object], tmp_path: Path) -> None:
    good[2] = tmp_path / "nowhere"
    outcome = run(capsys, *good, "--output", tmp_path / "m")
    assert outcome.code == 1
    assert str(tmp_path / "nowhere") in outcome.error_line


def test_a_folder_without_images_is_named(
    capsys: Capture, good: list[object], tmp_path: Path
) -> None:
    good[2] = write_images(tmp_path / "empty")
    outcome = run(capsys, *good, "--output", tmp_path / "m")
    assert outcome.code == 1
    assert f"The folder {tmp_path / 'empty'} holds no image" in outcome.error_line


def test_images_without_a_partner_are_listed(capsys: Capture, tmp_path: Path) -> None:
    images = write_images(tmp_path / "i", a=IMAGE, b=IMAGE)
    labels = write_images(tmp_path / "l", a=LABELS)
    inputs = ["--images", images, "--labels", labels]
    outcome = run(capsys, "train", *inputs, *TINY, "--output", tmp_path / "m")
    assert outcome.code == 1
    assert "without a partner: b.tif" in outcome.error_line


def test_a_file_that_is_no_image_is_named(
    capsys: Capture, good: list[object], tmp_path: Path
) -> None:
    (tmp_path / "images" / "cells.tif").write_text("no image")
    outcome = run(capsys, *good, "--output", tmp_path / "m")
    assert outcome.code == 1
    assert f"Cannot read {tmp_path / 'images' / 'cells.tif'}" in outcome.error_line


@pytest.mark.parametrize(
    ("flag", "value", "text"),
    [
        ("--steps", 0, "steps is 0; choose 1 to"),
        ("--patch-size", 33, "patch_size is 33"),
        ("--depth", 99, "depth is 99; choose 1 to 6"),
        ("--zoom", -1.0, "zoom is -1.0; choose 0 to 0.9"),
    ],
)
def test_a_setting_out_of_bounds_is_wrong_use(
    capsys: Capture, good: list[object], tmp_path: Path, flag: str, value: object, text: str
) -> None:
    outcome = run(capsys, *good, "--output", tmp_path / "m", flag, value)
    assert outcome.code == 2
    assert text in outcome.error_line


def test_an_unknown_device_is_named(capsys: Capture, good: list[object], tmp_path: Path) -> None:
    outcome = run(capsys, *good, "--output", tmp_path / "m", "--device", "abacus", "--json")
    assert outcome.code == 1
    assert "'abacus'" in outcome.error_line


def test_an_output_that_is_a_folder_is_refused_before_training(
    capsys: Capture, good: list[object], tmp_path: Path
) -> None:
    (tmp_path / "m.safetensors").mkdir()
    outcome = run(capsys, *good, "--output", tmp_path / "m")
    assert outcome.code == 1
    assert "it is a folder" in outcome.error_line


def test_an_output_below_a_file_is_refused_before_training(
    capsys: Capture, good: list[object], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    outcome = run(capsys, *good, "--output", tmp_path / "file" / "m")
    assert outcome.code == 1
    assert "Choose another folder" in outcome.error_line


# --- Ctrl+C ------------------------------------------------------------------------------------


ends_on_windows = pytest.mark.skipif(sys.platform == "win32", reason="it would end the process")


def interrupt_at(monkeypatch: pytest.MonkeyPatch, step: int, number: int = signal.SIGINT) -> None:
    """Press Ctrl+C while the given step is computed, or send another signal."""
    right = weighted_cross_entropy
    steps = iter(range(1, 10_000))

    def loss(logits: Tensor, classes: Tensor, weights: Tensor) -> Tensor:
        if next(steps) == step:
            os.kill(os.getpid(), number)
        return right(logits, classes, weights)

    monkeypatch.setattr(losses, "weighted_cross_entropy", loss)


@pytest.mark.parametrize(
    "name",
    [
        "SIGINT",
        pytest.param("SIGTERM", marks=ends_on_windows),
        pytest.param("SIGHUP", marks=ends_on_windows),
    ],
)
def test_an_interrupt_keeps_what_is_done(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture, good: list[object], tmp_path: Path, name: str
) -> None:
    interrupt_at(monkeypatch, 2, getattr(signal, name))
    outcome = run(capsys, *good, "--output", tmp_path / "m", "--steps", 1000, "--json")
    report = json.loads(outcome.out)
    assert (outcome.code, report["steps"], report["stopped"]) == (0, 2, True)
    assert load_network(tmp_path / "m.safetensors").record.steps == 2


@ends_on_windows
def test_a_signal_that_nohup_ignores_stays_ignored(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture, good: list[object], tmp_path: Path
) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        interrupt_at(monkeypatch, 2, signal.SIGHUP)
        outcome = run(capsys, *good, "--output", tmp_path / "m", "--steps", 4, "--json")
    finally:
        signal.signal(signal.SIGHUP, before)
    report = json.loads(outcome.out)
    assert (report["steps"], report["stopped"]) == (4, False)


@pytest.mark.fault(63)
@ends_on_windows
def test_a_terminal_that_closes_and_its_shell_count_once(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture, good: list[object], tmp_path: Path
) -> None:
    right = os.kill
    monkeypatch.setattr(os, "kill", lambda *which: [right(*which), right(*which)])
    interrupt_at(monkeypatch, 2, signal.SIGHUP)
    outcome = run(capsys, *good, "--output", tmp_path / "m", "--steps", 1000, "--json")
    assert (outcome.code, json.loads(outcome.out)["steps"]) == (0, 2)


@ends_on_windows
def test_the_next_interrupt_ends_at_once(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture, good: list[object], tmp_path: Path
) -> None:
    monkeypatch.setattr(progress, "_AT_ONCE_SECONDS", -1.0)
    right = os.kill
    monkeypatch.setattr(os, "kill", lambda *which: [right(*which), right(*which)])
    interrupt_at(monkeypatch, 2)
    outcome = run(capsys, *good, "--output", tmp_path / "m", "--steps", 1000, "--json")
    assert (outcome.code, outcome.err.splitlines()[-1]) == (1, "napari-unet: interrupted")


@pytest.mark.fault(63)
@pytest.mark.skipif(sys.platform == "win32", reason="the words of a shell of Linux and macOS")
def test_a_training_whose_words_nobody_reads_is_saved(good: list[object], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "napari_unet", *good, "--output", tmp_path / "m"]
    words = shlex.join(map(str, command))
    script = f"{words} 2>&1 | head -1; echo ${{PIPESTATUS[0]}}"
    told = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert told.stdout.splitlines() == ["cells.tif with cells.tif", "0"]
    assert told.stderr == ""
    assert load_network(tmp_path / "m.safetensors").record.steps == 3


# --- where the model goes ----------------------------------------------------------------------


@pytest.mark.fault(64)
def test_a_second_training_into_the_same_file_is_refused(
    capsys: Capture, good: list[object], tmp_path: Path
) -> None:
    with locked(tmp_path / "m.safetensors"):
        outcome = run(capsys, *good, "--output", tmp_path / "m")
    assert outcome.code == 1
    assert f"m.safetensors is being written by process {os.getpid()} on " in outcome.error_line
    assert not (tmp_path / "m.safetensors").exists()


@pytest.mark.fault(63)
@pytest.mark.parametrize("full", ["the disk", "that of the library, too", "all disks"])
def test_a_model_that_does_not_fit_in_the_end_is_saved_elsewhere(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture, good: list[object], tmp_path: Path, full: str
) -> None:
    output = tmp_path / "out" / "m.safetensors"
    library, temporary = tmp_path / "data", tmp_path / "tmp"
    fits = {"the disk": library / "models", "that of the library, too": temporary}.get(full)

    def save(trained: Any, state: Any, path: Path) -> None:
        if path.parent != fits:
            raise FileProblemError(f"Disk full: {path.name}.")
        save_checkpoint(trained, state, path)

    monkeypatch.setattr(train_command, "save_checkpoint", save)
    monkeypatch.setattr("napari_unet.project.library.user_data_path", lambda _: library)
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(temporary))
    outcome = run(capsys, *good, "--output", output, "--json")
    told = outcome.err.splitlines()[-1]
    assert outcome.code == 1
    assert told.startswith("napari-unet: Disk full: m.safetensors. ")
    if fits is None:
        assert "What was saved last is kept" in told
        return
    assert f"The trained model is in {fits / 'm.safetensors'} instead" in told
    assert load_network(fits / "m.safetensors").record.steps == 3
    assert load_state(fits / "m.state.safetensors").step == 3


def test_afterwards_signals_work_as_before(
    capsys: Capture, good: list[object], tmp_path: Path
) -> None:
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(number) for number in numbers]
    run(capsys, *good, "--output", tmp_path / "m", "--json")
    assert [signal.getsignal(number) for number in numbers] == before


def test_time_counts_from_the_start_of_the_program(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture, good: list[object], tmp_path: Path
) -> None:
    seen: list[argparse.Namespace] = []
    right = train_command.run

    def spy(options: argparse.Namespace) -> Any:
        seen.append(options)
        return right(options)

    monkeypatch.setattr(train_command, "run", spy)
    run(capsys, *good, "--output", tmp_path / "m", "--json")
    assert seen[0].started > 0


# --- axes and sizes as files name them ---------------------------------------------------------


def on_disk(folder: Path, *images: tuple[Any, str]) -> list[Path]:
    """Write images with their axes, and return the paths."""
    folder.mkdir()
    paths = [folder / f"{number}.tif" for number in range(len(images))]
    for path, (pixels, axes) in zip(paths, images, strict=True):
        write_image(path, pixels, axes)
    return paths


def test_slices_do_not_become_channels(capsys: Capture, tmp_path: Path) -> None:
    paths = on_disk(tmp_path / "in", (np.stack([IMAGE] * 5), "ZYX"), (LABELS, "YX"))
    arguments = ["train", "--images", paths[0], "--labels", paths[1], *TINY]
    outcome = run(capsys, *arguments, "--output", tmp_path / "m")
    assert outcome.code == 1
    assert "with axes ZYX; they must have the shape (5, 48, 48)" in outcome.error_line
    assert "say C instead of Z if these are channels" in outcome.error_line
    outcome = run(capsys, *arguments, "--axes", "CYX", "--output", tmp_path / "m")
    assert outcome.code == 0


def test_axes_of_length_1_do_not_keep_labels_from_their_image(
    capsys: Capture, tmp_path: Path
) -> None:
    image = np.stack([IMAGE, IMAGE])[np.newaxis, :, np.newaxis]
    paths = on_disk(tmp_path / "in", (image, "TCZYX"), (LABELS[np.newaxis], "ZYX"))
    arguments = ["train", "--images", paths[0], "--labels", paths[1], *TINY]
    assert run(capsys, *arguments, "--output", tmp_path / "m").code == 0


def test_frames_that_a_file_calls_colours_are_labels_where_axes_are_named(
    capsys: Capture, tmp_path: Path
) -> None:
    """Three frames, as tifffile alone, and napari, write them."""
    for name, pixels in (("image", IMAGE), ("labels", LABELS)):
        tifffile.imwrite(tmp_path / f"{name}.tif", np.stack([pixels] * 3), photometric="rgb")
    paths = ("--images", tmp_path / "image.tif", "--labels", tmp_path / "labels.tif")
    outcome = run(capsys, "train", *paths, *TINY, "--output", tmp_path / "m")
    assert "name their axes if they are frames, such as TYX" in outcome.error_line
    outcome = run(capsys, "train", *paths, *TINY, "--axes", "TYX", "--output", tmp_path / "m")
    assert outcome.code == 0


def test_pixel_sizes_twenty_times_apart_are_refused(capsys: Capture, tmp_path: Path) -> None:
    for folder, pixels in (("images", IMAGE), ("labels", LABELS)):
        (tmp_path / folder).mkdir()
        for name, size in (("a", 0.5), ("b", 10.0)):
            path = tmp_path / folder / f"{name}.tif"
            write_image(path, pixels, "YX", {"Y": size, "X": size})
    folders = ("--images", tmp_path / "images", "--labels", tmp_path / "labels")
    outcome = run(capsys, "train", *folders, *TINY, "--output", tmp_path / "m")
    assert outcome.code == 1
    assert "pixel sizes from 0.5 to 10 micrometres" in outcome.error_line
