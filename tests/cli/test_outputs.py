"""Nothing that is there is overwritten unasked, and nothing that is read is overwritten at all."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from napari_unet.api.model import load_model
from napari_unet.api.training import train
from napari_unet.errors import FileProblemError
from napari_unet.io.files import read_labels, write_labels

from .builders import TINY, picture, run, training_folders, write_images

Capture = pytest.CaptureFixture[str]
IMAGE, LABELS = picture()
MASKS = np.where(LABELS > 1, LABELS, 0).astype(np.uint8)
HAND = np.full((9, 9), 7, np.uint8)
CPU = ["--device", "cpu"]


@pytest.fixture
def folder(tmp_path: Path, model: Path) -> Path:
    """What all commands read: images, labels, a movie, a model."""
    write_images(tmp_path / "raw", a=IMAGE)
    write_images(tmp_path / "painted", a=LABELS)
    write_images(tmp_path / "masks", a=MASKS)
    write_images(tmp_path / "movie", a=np.stack([MASKS] * 3))
    shutil.copyfile(model, tmp_path / "m.safetensors")
    return tmp_path


def commands(folder: Path) -> dict[str, tuple[list[object], Path]]:
    """Return each command that writes, and a file that it writes."""
    masks, model, train = folder / "masks", folder / "m.safetensors", training(folder)
    compare = ["evaluate", "--predictions", masks, "--truth", masks, "--kind", "objects"]
    convert = ["convert", masks, "--to"]
    demo = ["demo", "--no-window", "--steps", 1, *CPU]
    export = ["export", model, "--format", "torchscript", "--output"]
    out = folder / "out"
    return {
        "train": ([*train, "--output", folder / "n"], folder / "n.safetensors"),
        "history": ([*train, "--output", folder / "n", "--history", out / "h"], out / "h"),
        "predict": (["predict", model, folder / "raw", "--output", out, *CPU], out / "a.tif"),
        "errors": ([*compare, "--errors", out], out / "a.tif"),
        "link": (["link", folder / "movie", "--output", out], out / "a.tif"),
        "tracks": (["link", folder / "movie", "--output", out], out / "tracks.csv"),
        "convert": ([*convert, "roi", "--output", out / "c.zip"], out / "c.zip"),
        "ctc": (["convert", folder / "movie", "--to", "ctc", "--output", out], out / "mask000.tif"),
        "export": ([*export, out / "e.pt"], out / "e.pt"),
        "readme": ([*export, out / "e.pt"], out / "e.pt.md"),
        "demo": ([*demo, "--output", out], out / "overlay.png"),
    }


def training(folder: Path) -> list[object]:
    return ["train", "--images", folder / "raw", "--labels", folder / "painted", *TINY]


WRITERS = [*commands(Path())]


@pytest.mark.fault(65)
@pytest.mark.parametrize("writer", WRITERS)
def test_what_others_made_is_refused_unless_it_is_to_be_overwritten(
    capsys: Capture, folder: Path, writer: str
) -> None:
    command, target = commands(folder)[writer]
    target.parent.mkdir(exist_ok=True)
    target.write_bytes(b"drawn by hand")
    outcome = run(capsys, *command)
    assert outcome.code == 1
    assert f"{target} is " in outcome.error_line
    assert "--overwrite" in outcome.error_line
    assert target.read_bytes() == b"drawn by hand"
    if writer != "demo":  # which takes a while
        assert run(capsys, *command, "--overwrite").code == 0
        assert target.read_bytes() != b"drawn by hand"


@pytest.mark.fault(65)
def test_nothing_is_predicted_where_one_result_would_replace_what_was_drawn(
    capsys: Capture, model: Path, tmp_path: Path
) -> None:
    images = write_images(tmp_path / "raw", a=IMAGE, b=IMAGE, c=IMAGE)
    drawn = write_images(tmp_path / "ann", b=HAND, c=HAND)
    outcome = run(capsys, "predict", model, images, "--output", drawn, *CPU)
    assert outcome.code == 1
    assert f"{drawn / 'b.tif'} and 1 more are there already" in outcome.error_line
    assert sorted(each.name for each in drawn.iterdir()) == ["b.tif", "c.tif"]


@pytest.mark.fault(65)
def test_a_result_that_was_corrected_by_hand_is_told_and_kept_and_the_others_are_predicted(
    capsys: Capture, model: Path, tmp_path: Path
) -> None:
    images = write_images(tmp_path / "raw", a=IMAGE, b=IMAGE)
    command = ["predict", model, images, "--output", tmp_path / "out", *CPU]
    assert run(capsys, *command).code == 0
    write_labels(tmp_path / "out" / "a.tif", HAND, "YX")
    outcome = run(capsys, *command)
    assert outcome.code == 1
    assert f"{tmp_path / 'out' / 'a.tif'} is not what its run card tells of" in outcome.err
    assert "1 of 2 predicted" in outcome.out
    np.testing.assert_array_equal(read_labels(tmp_path / "out" / "a.tif"), HAND)


@pytest.mark.fault(65)
def test_a_model_of_an_earlier_training_is_replaced_with_a_note(
    capsys: Capture, tmp_path: Path
) -> None:
    command = ["train", *training_folders(tmp_path, IMAGE, LABELS), *TINY, "--output"]
    assert "will be replaced" not in run(capsys, *command, tmp_path / "m").err
    outcome = run(capsys, *command, tmp_path / "m")
    assert outcome.code == 0
    assert f"Note: {tmp_path / 'm.safetensors'} will be replaced" in outcome.err


@pytest.mark.fault(65)
def test_a_model_without_its_card_is_kept_and_the_ways_on_are_told(
    capsys: Capture, tmp_path: Path
) -> None:
    command = ["train", *training_folders(tmp_path, IMAGE, LABELS), *TINY, "--output"]
    run(capsys, *command, tmp_path / "m")
    (tmp_path / "m.run.json").unlink()
    outcome = run(capsys, *command, tmp_path / "m")
    assert outcome.code == 1
    assert all(f"--{way}" in outcome.error_line for way in ("resume", "overwrite", "output"))


@pytest.mark.fault(65)
def test_in_python_a_model_replaces_models_alone(tmp_path: Path, model: Path) -> None:
    trained = load_model(model)
    write_labels(tmp_path / "drawn.tif", HAND, "YX")
    with pytest.raises(FileProblemError, match="already and is no model file"):
        trained.save(tmp_path / "drawn.tif")
    with pytest.raises(FileProblemError, match="already and is no model file"):
        train(IMAGE, LABELS, output=tmp_path / "drawn.tif")
    np.testing.assert_array_equal(read_labels(tmp_path / "drawn.tif"), HAND)
    for _ in range(2):
        trained.save(tmp_path / "m.safetensors")


# --- what is read ----------------------------------------------------------------------------


def linked(name: Path, target: Path, how: str) -> Path:
    """Return another name of a file."""
    if how == "itself":
        return target
    name.parent.mkdir(exist_ok=True)
    (os.link if how == "hard link" else os.symlink)(target, name)
    return name


INPUTS = ("history", "history of labels", "train", "predict", "errors", "link", "convert")


@pytest.mark.fault(66)
@pytest.mark.parametrize("how", ["itself", "hard link", "symbolic link"])
@pytest.mark.parametrize("what", INPUTS)
def test_what_is_read_is_never_written_by_whatever_name(
    capsys: Capture, folder: Path, what: str, how: str
) -> None:
    before = {path: path.read_bytes() for path in folder.rglob("*.*") if path.is_file()}
    command = one_over_inputs(folder, what, how)
    outcome = run(capsys, *command, "--overwrite")
    assert outcome.code == 1
    assert "would overwrite what is read" in outcome.error_line
    assert {path: path.read_bytes() for path in before} == before


def one_over_inputs(folder: Path, what: str, how: str) -> list[object]:
    """Return a command that names what it reads as an output, by another name of it."""
    masks, model, train = folder / "masks", folder / "m.safetensors", training(folder)
    pairs: list[object] = ["--predictions", masks, "--truth", masks, "--kind", "objects"]
    read = {
        "history": folder / "raw" / "a.tif",
        "history of labels": folder / "painted" / "a.tif",
        "train": model,
        "predict": folder / "raw" / "a.tif",
        "link": folder / "movie" / "a.tif",
    }.get(what, masks / "a.tif")
    name = linked(folder / "other" / read.name, read, how)
    commands: dict[str, list[object]] = {
        "history": [*train, "--output", folder / "n", "--history", name],
        "train": [*train, "--previous", model, "--output", name],
        "predict": ["predict", model, folder / "raw", "--output", name.parent, *CPU],
        "errors": ["evaluate", *pairs, "--errors", name.parent],
        "link": ["link", folder / "movie", "--output", name.parent],
        "convert": ["convert", masks, "--to", "labels", "--output", name],
    }
    return commands[what.removesuffix(" of labels")]


@pytest.mark.fault(66)
def test_nothing_is_written_into_a_zarr_that_is_read(
    capsys: Capture, model: Path, tmp_path: Path
) -> None:
    import zarr

    stored: Any = zarr.create_array(tmp_path / "a.zarr", shape=(48, 48), dtype="uint8")
    stored[...] = IMAGE
    inside = tmp_path / "a.zarr" / "results"
    outcome = run(capsys, "predict", model, tmp_path / "a.zarr", "--output", inside, *CPU)
    assert outcome.code == 1
    assert "would overwrite what is read" in outcome.error_line


def test_two_results_of_one_name_are_refused(capsys: Capture, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", MASKS)
    np.save(tmp_path / "a.npy", MASKS)
    arguments = ["--to", "roi", "--output", tmp_path / "out"]
    outcome = run(capsys, "convert", tmp_path / "a.tif", tmp_path / "a.npy", *arguments)
    assert outcome.code == 1
    assert f"under the same name, {tmp_path / 'out' / 'a.zip'}" in outcome.error_line
