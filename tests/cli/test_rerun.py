"""`napari-unet rerun`: the same again, or a sentence that says why not."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch

from napari_unet.data.pixel_hashes import hash_pixels
from napari_unet.model.trained import load_network, save_network

from .builders import TINY, picture, run, training_folders, write_images

Capture = pytest.CaptureFixture[str]
IMAGE, LABELS = picture()
CPU = ["--device", "cpu"]


@pytest.fixture
def trained(capsys: Capture, tmp_path: Path) -> Path:
    """A run card of a training, beside its model."""
    folders = training_folders(tmp_path, IMAGE, LABELS)
    assert run(capsys, "train", *folders, *TINY, "--output", tmp_path / "cells").code == 0
    return tmp_path / "cells.run.json"


@pytest.fixture
def predicted(capsys: Capture, model: Path, tmp_path: Path) -> Path:
    """A run card of a prediction, beside its result."""
    images = write_images(tmp_path / "images", one=IMAGE)
    own = shutil.copy(model, tmp_path / "own.safetensors")
    assert run(capsys, "predict", own, images, "--output", tmp_path / "o", *CPU).code == 0
    return tmp_path / "o" / "one.tif.run.json"


def changed(card: Path, **fields: Any) -> Path:
    """Write other values into a card."""
    content = json.loads(card.read_text(encoding="utf-8"))
    card.write_text(json.dumps(content | fields), encoding="utf-8")
    return card


# --- the same again ----------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["trained", "predicted"])
def test_the_same_is_identical(capsys: Capture, what: str, request: pytest.FixtureRequest) -> None:
    outcome = run(capsys, "rerun", request.getfixturevalue(what))
    assert (outcome.out, outcome.code) == ("Identical, bit for bit.\n", 0), outcome.err


def test_one_of_several_images_in_a_tiff_is_found_again(
    capsys: Capture, model: Path, tmp_path: Path
) -> None:
    with tifffile.TiffWriter(tmp_path / "x.tif") as file:
        for image in (IMAGE[:30], IMAGE):
            file.write(image, metadata=None)
    own = shutil.copy(model, tmp_path / "own.safetensors")
    arguments = (own, f"{tmp_path / 'x.tif'}#2", "--output", tmp_path / "o", *CPU)
    assert run(capsys, "predict", *arguments).code == 0
    assert tifffile.imread(tmp_path / "o" / "x_2.tif").shape == IMAGE.shape
    outcome = run(capsys, "rerun", tmp_path / "o" / "x_2.tif.run.json")
    assert (outcome.out, outcome.code) == ("Identical, bit for bit.\n", 0), outcome.err


def test_json_is_one_object(capsys: Capture, predicted: Path) -> None:
    report = json.loads(run(capsys, "rerun", predicted, "--json").out)
    assert (report["run"], report["identical"], report["output"]) == ("predict", True, None)


def test_output_keeps_the_new_model(capsys: Capture, trained: Path, tmp_path: Path) -> None:
    run(capsys, "rerun", trained, "--output", tmp_path / "again")
    first, again = (load_network(p / "cells.safetensors") for p in (tmp_path, tmp_path / "again"))
    for name, tensor in first.network.state_dict().items():
        assert torch.equal(tensor, again.network.state_dict()[name])


def test_without_output_nothing_is_left(capsys: Capture, predicted: Path) -> None:
    before = sorted(predicted.parent.iterdir())
    run(capsys, "rerun", predicted)
    assert sorted(predicted.parent.iterdir()) == before


def test_what_is_there_is_never_overwritten(capsys: Capture, predicted: Path) -> None:
    before = (predicted.parent / "one.tif").read_bytes()
    outcome = run(capsys, "rerun", predicted, "--output", predicted.parent)
    assert "is there already" in outcome.error_line
    assert (predicted.parent / "one.tif").read_bytes() == before


def test_moved_together_they_are_found(capsys: Capture, trained: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "moved"
    elsewhere.mkdir()
    for name in ("images", "labels", "cells.safetensors", "cells.run.json"):
        shutil.move(tmp_path / name, elsewhere / name)
    assert run(capsys, "rerun", elsewhere / "cells.run.json").code == 0


def test_a_prediction_into_zarr_is_compared_too(
    capsys: Capture, model: Path, tmp_path: Path
) -> None:
    images = write_images(tmp_path / "images", one=IMAGE)
    into = ["--output", tmp_path / "o", "--format", "zarr"]
    run(capsys, "predict", model, images, *into, *CPU)
    outcome = run(capsys, "rerun", tmp_path / "o" / "one.zarr.run.json")
    assert outcome.out.startswith("Identical")


def test_a_starting_model_is_used_again(capsys: Capture, tmp_path: Path) -> None:
    images = write_images(tmp_path / "images", one=IMAGE)
    run(capsys, "predict", "cells", images, "--output", tmp_path / "o", *CPU)
    assert run(capsys, "rerun", tmp_path / "o" / "one.tif.run.json").code == 0


def test_the_cell_size_is_used_again(capsys: Capture, tmp_path: Path) -> None:
    images = write_images(tmp_path / "images", one=IMAGE)
    run(capsys, "predict", "cells", images, "--output", tmp_path / "o", *CPU, "--cell-size", 12)
    card = tmp_path / "o" / "one.tif.run.json"
    assert json.loads(card.read_text(encoding="utf-8"))["settings"]["cell_size"] == 12
    assert run(capsys, "rerun", card).code == 0


def test_the_command_of_a_card_does_the_same(
    capsys: Capture, trained: Path, tmp_path: Path
) -> None:
    first = load_network(tmp_path / "cells.safetensors").network.state_dict()
    arguments = shlex.split(json.loads(trained.read_text(encoding="utf-8"))["command"])
    assert run(capsys, *arguments[1:]).code == 0
    again = load_network(tmp_path / "cells.safetensors").network.state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)


def test_as_many_steps_as_time_allowed_are_made_again(capsys: Capture, tmp_path: Path) -> None:
    folders = training_folders(tmp_path, IMAGE, LABELS)
    tiny = [each for each in TINY if each not in ("--steps", "3")]
    run(capsys, "train", *folders, *tiny, "--minutes", 0.01, "--output", tmp_path / "m")
    steps = load_network(tmp_path / "m.safetensors").record.steps
    outcome = run(capsys, "rerun", tmp_path / "m.run.json", "--output", tmp_path / "again")
    assert load_network(tmp_path / "again" / "m.safetensors").record.steps == steps
    assert outcome.code == 0 or "bounded by time" in outcome.out


# --- different ---------------------------------------------------------------------------------


def test_how_far_weights_differ_is_said(capsys: Capture, trained: Path) -> None:
    changed(trained, weights_sha256="0" * 64)
    outcome = run(capsys, "rerun", trained)
    assert outcome.code == 1
    assert outcome.out.startswith("Different: its weights differ")


def test_a_starting_model_that_is_gone_is_named_as_a_cause(capsys: Capture, trained: Path) -> None:
    settings = json.loads(trained.read_text(encoding="utf-8"))["settings"]
    changed(trained, settings=settings | {"start": "nuclei"}, weights_sha256="0" * 64)
    outcome = run(capsys, "rerun", trained)
    assert outcome.code == 1
    assert "began with 'nuclei', which is gone: here with 'cells'" in outcome.out


def test_versions_and_threads_are_named_as_causes(capsys: Capture, predicted: Path) -> None:
    content = json.loads(predicted.read_text(encoding="utf-8"))
    environment = content["environment"]
    environment["versions"]["torch"] = "1.0"
    first = predicted.parent / "one.tif"
    labels = tifffile.imread(first)
    labels[0, :5] += 1
    tifffile.imwrite(first, labels)
    digest = hash_pixels(labels).sha256
    pixels = content["result_pixels"] | {"sha256": digest}
    changed(predicted, environment=environment, result_pixels=pixels)
    outcome = run(capsys, "rerun", predicted)
    assert outcome.code == 1
    assert "5 of 2304 pixels differ" in outcome.out
    assert "torch 1.0 then" in outcome.out


# --- what cannot be done again -----------------------------------------------------------------


def test_a_changed_image_is_named(capsys: Capture, trained: Path, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "images" / "cells.tif", IMAGE + 1)
    outcome = run(capsys, "rerun", trained)
    assert outcome.code == 2
    assert f"{tmp_path / 'images' / 'cells.tif'} has changed since" in outcome.error_line
    assert outcome.error_line.endswith("Restore it, or train anew.")


def test_a_changed_image_to_predict_is_named(
    capsys: Capture, predicted: Path, tmp_path: Path
) -> None:
    image = tmp_path / "images" / "one.tif"
    tifffile.imwrite(image, IMAGE + 1)
    outcome = run(capsys, "rerun", predicted)
    assert outcome.code == 2
    assert f"{image} has changed since" in outcome.error_line
    assert outcome.error_line.endswith("Restore it, or predict anew.")


def test_changed_labels_are_named(capsys: Capture, trained: Path, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "labels" / "cells.tif", np.flipud(LABELS))
    outcome = run(capsys, "rerun", trained)
    assert "its labels are not those" in outcome.error_line


def test_a_missing_image_is_named(capsys: Capture, predicted: Path, tmp_path: Path) -> None:
    (tmp_path / "images" / "one.tif").unlink()
    outcome = run(capsys, "rerun", predicted)
    assert outcome.code == 2
    assert "one.tif is missing" in outcome.error_line


def test_a_starting_model_that_is_gone_is_named(capsys: Capture, predicted: Path) -> None:
    model = json.loads(predicted.read_text(encoding="utf-8"))["model"]
    changed(predicted, model=model | {"place": None, "starting": "nuclei"})
    outcome = run(capsys, "rerun", predicted)
    assert outcome.code == 1
    assert "There is no starting model 'nuclei'" in outcome.error_line


def test_a_changed_model_is_named(capsys: Capture, predicted: Path, tmp_path: Path) -> None:
    path = tmp_path / "own.safetensors"
    trained = load_network(path)
    with torch.no_grad():
        next(trained.unet.parameters()).add_(1)
    save_network(trained, path)
    outcome = run(capsys, "rerun", predicted)
    assert outcome.code == 2
    assert f"{path} has changed since" in outcome.error_line
    assert outcome.error_line.endswith("Restore it, or predict anew.")


def test_a_resumed_training_is_refused(capsys: Capture, trained: Path, tmp_path: Path) -> None:
    folders = ["--images", tmp_path / "images", "--labels", tmp_path / "labels"]
    model = tmp_path / "cells.safetensors"
    run(capsys, "train", *folders, "--output", model, "--resume", "--steps", 4, *CPU)
    outcome = run(capsys, "rerun", trained)
    assert outcome.code == 2
    assert "went on from an earlier one" in outcome.error_line


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b'{"what": "cook"}', b"\xff\xfe", b"[" * 10_000, b'{"what": "train"}'],
    ids=["empty", "list", "another run", "no text", "deep", "without fields"],
)
def test_what_is_no_card_is_refused_in_one_line(
    capsys: Capture, tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "x.run.json"
    path.write_bytes(content)
    outcome = run(capsys, "rerun", path)
    assert outcome.code == 2
    assert "x.run.json" in outcome.error_line


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("format_version", 2),
        ("steps", -1),
        ("weights_sha256", "no hash"),
        ("extra", 1),
        ("settings", {"steps": "many"}),
        ("settings", {"colour": 1}),
    ],
)
def test_fields_that_do_not_fit_are_refused(
    capsys: Capture, trained: Path, field: str, value: object
) -> None:
    outcome = run(capsys, "rerun", changed(trained, **{field: value}))
    assert outcome.code == 2
    assert "cells.run.json" in outcome.error_line


# --- beside the result -------------------------------------------------------------------------


def test_a_card_that_cannot_be_written_costs_no_result(
    capsys: Capture, model: Path, tmp_path: Path
) -> None:
    images = write_images(tmp_path / "images", one=IMAGE)
    (tmp_path / "o" / "one.tif.run.json").mkdir(parents=True)
    outcome = run(capsys, "predict", model, images, "--output", tmp_path / "o", *CPU)
    assert outcome.code == 0
    assert "not its run card" in outcome.err


def test_cards_are_no_images(capsys: Capture, predicted: Path) -> None:
    first, truth = predicted.parent / "one.tif", predicted.parent / "one*"
    arguments = ["--predictions", first, predicted, "--truth", truth, "--kind", "objects"]
    assert run(capsys, "evaluate", *arguments).code == 0
