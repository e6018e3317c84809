"""What lies in memory becomes files, and the script of them does the same."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from napari_unet.api.model import load_model
from napari_unet.cli import main
from napari_unet.errors import FileProblemError
from napari_unet.io.files import read_image, read_labels, write_image
from napari_unet.model.starting import load_starting_model
from napari_unet.prediction.config import PredictConfig
from napari_unet.provenance import script_bundle
from napari_unet.provenance.script import TrainingScript
from napari_unet.provenance.script_bundle import bundle_prediction, bundle_training
from napari_unet.training.config import TrainConfig
from napari_unet.training.dataset import AnnotatedImage

from .builders import picture

IMAGE, LABELS = picture()
CONFIG = TrainConfig(steps=3, base_channels=2, depth=2, patch_size=32, batch_size=2, device="cpu")


def bundled(
    folder: Path, *images: AnnotatedImage, files: tuple[Path | None, ...] = ()
) -> TrainingScript:
    return bundle_training(folder, images, files or (None,) * len(images), CONFIG, "fast")


def test_images_and_labels_are_written_as_they_are(tmp_path: Path) -> None:
    image = AnnotatedImage("a cell", IMAGE, LABELS, pixel_size={"Y": 0.5, "X": 0.5})
    script = bundled(tmp_path, image)
    written = read_image(script.images[0])
    np.testing.assert_array_equal(written.array, IMAGE)
    np.testing.assert_array_equal(read_labels(script.labels[0]), LABELS)
    assert (written.axes, dict(written.pixel_size)) == ("YX", {"Y": 0.5, "X": 0.5})


def test_a_file_that_holds_the_image_is_named(tmp_path: Path) -> None:
    write_image(tmp_path / "cells.tif", IMAGE, "YX")
    image = AnnotatedImage("renamed", IMAGE, LABELS)
    script = bundled(tmp_path / "s", image, files=(tmp_path / "cells.tif",))
    assert script.images == (str(tmp_path / "cells.tif"),)


@pytest.mark.parametrize(
    ("array", "axes", "size"),
    [(IMAGE + 1, "YX", {}), (IMAGE, "YX", {"Y": 1.0, "X": 1.0}), (IMAGE[None], "ZYX", {})],
    ids=["other pixels", "another pixel size", "another shape"],
)
def test_a_file_that_holds_something_else_is_not_named(
    tmp_path: Path, array: Any, axes: str, size: dict[str, float]
) -> None:
    write_image(tmp_path / "cells.tif", array, axes, size)
    script = bundled(
        tmp_path / "s", AnnotatedImage("cells", IMAGE, LABELS), files=(tmp_path / "cells.tif",)
    )
    np.testing.assert_array_equal(read_image(script.images[0]).array, IMAGE)


def test_images_keep_their_order(tmp_path: Path) -> None:
    images = [AnnotatedImage(name, IMAGE, LABELS) for name in ("b", "a", "a")]
    script = bundled(tmp_path, *images)
    assert [Path(path).name for path in script.images] == ["1 b.tif", "2 a.tif", "3 a.tif"]


def test_fully_annotated_regions_are_written_as_background(tmp_path: Path) -> None:
    region = (slice(20, 30), slice(0, 5))
    script = bundled(tmp_path, AnnotatedImage("a", IMAGE, LABELS, (region,)))
    assert (read_labels(script.labels[0])[region] == 1).all()


def test_names_that_no_file_can_have_are_changed(tmp_path: Path) -> None:
    script = bundled(tmp_path, AnnotatedImage("../a/b:c\n*", IMAGE, LABELS))
    assert Path(script.images[0]).parent == tmp_path / "script" / "images"
    assert Path(script.images[0]).is_file()


def test_that_corrections_count_more_is_said(tmp_path: Path) -> None:
    image = AnnotatedImage("a", IMAGE, LABELS, corrected=LABELS > 2)
    script = bundled(tmp_path, image)
    assert script.command().startswith("# In the window, pixels that were corrected count 3 times")
    assert script.python().startswith("# In the window")


def test_an_image_too_large_for_a_copy_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(script_bundle, "_LARGEST", 100)
    with pytest.raises(FileProblemError, match="save it as an OME-Zarr"):
        bundled(tmp_path, AnnotatedImage("a", IMAGE, LABELS))
    assert not any(tmp_path.iterdir())


def test_nothing_in_the_chosen_folder_is_replaced(tmp_path: Path) -> None:
    own = [
        tmp_path / name for name in ("labels/cells.tif", "images/cells.tif", "model.safetensors")
    ]
    for path in own:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"mine")
    image = AnnotatedImage("cells", IMAGE, LABELS)
    training = bundled(tmp_path, image)
    model = load_starting_model("cells")
    model = replace(model, record=replace(model.record, training={"steps": 1}))
    config = PredictConfig(None, "YX", device="cpu")
    prediction = bundle_prediction(tmp_path, model, "cells", IMAGE, None, config)
    assert {path.read_bytes() for path in own} == {b"mine"}
    assert training.output == str(tmp_path / "script" / "model.safetensors")
    assert prediction.model == str(tmp_path / "script 2" / "model.safetensors")


def test_only_what_differs_from_the_preset_is_named(tmp_path: Path) -> None:
    image = AnnotatedImage("a", IMAGE, LABELS)
    config = TrainConfig.preset("accurate", flip=False, minutes=2.0)
    script = bundle_training(tmp_path, (image,), (None,), config, "accurate")
    found = script.arguments()
    assert found[found.index("--preset") :] == [
        *("--preset", "accurate", "--minutes", "2.0", "--no-flip")
    ]
    assert "nu.TrainConfig.preset('accurate', minutes=2.0, flip=False)" in script.python()


def test_command_and_python_give_the_same_weights(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = [
        AnnotatedImage("b", IMAGE, LABELS, pixel_size={"Y": 0.5, "X": 0.5}),
        AnnotatedImage("a", np.stack([IMAGE] * 2), np.stack([LABELS] * 2), axes="TYX"),
    ]
    script = bundled(tmp_path, *images)
    assert main(shlex.split(script.command())[1:]) == 0
    first = load_model(script.output).trained.network.state_dict()
    exec(script.python(), {})
    again = load_model(script.output).trained.network.state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)


@pytest.mark.parametrize("result", [None, "probabilities"])
def test_command_and_python_give_the_same_pixels(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], result: Any
) -> None:
    config = PredictConfig(result, "YX", device="cpu", views=1, pixel_size={"Y": 0.4, "X": 0.4})
    model = load_starting_model("cells")
    script = bundle_prediction(tmp_path, model, "a cell", IMAGE, None, config)
    assert main(shlex.split(script.command())[1:]) == 0
    (target,) = (tmp_path / "script" / "results").glob("*.tif")
    first = read_image(target)
    exec(script.python(), {})
    again = read_image(target)
    np.testing.assert_array_equal(first.array, again.array)
    assert (first.axes, first.pixel_size) == (again.axes, again.pixel_size)


def test_a_part_is_said_to_need_python(tmp_path: Path) -> None:
    region = (slice(0, 16), slice(0, 16))
    config = PredictConfig(None, "YX", region=region, device="cpu")
    model = load_starting_model("cells")
    script = bundle_prediction(tmp_path, model, "a", IMAGE, None, config)
    assert script.command().startswith("# The command line predicts the whole image")
    exec(script.python(), {})
    assert not read_image(tmp_path / "script" / "results" / "a.tif").array[16:].any()
