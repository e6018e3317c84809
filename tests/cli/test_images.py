"""Images that are made of images, from the command line: ``train --targets``, and ``denoise``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
import tifffile

import napari_unet as nu
from napari_unet.cli.main import main
from napari_unet.errors import LabelsError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

TINY = ["--steps", "2", "--patch-size", "32", "--base-channels", "2", "--depth", "1"]


def picture(seed: int = 0) -> NDArray[np.float32]:
    wave = np.sin(np.arange(64) / 5)
    noise = np.random.default_rng(seed).normal(0, 20, (64, 64))
    return (1000 + 100 * (wave + wave[:, None]) + noise).astype(np.float32)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("noisy", "clean"):
        (tmp_path / name).mkdir()
        nu.write_image(tmp_path / name / "a.tif", picture(name == "noisy"), "YX")
    return tmp_path


def test_pairs_are_learned_and_the_result_is_an_image(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, out = str(folder / "m.safetensors"), folder / "out"
    given = ["--images", str(folder / "noisy"), "--targets", str(folder / "clean")]
    assert main(["train", *given, "--output", model, "--json", *TINY]) == 0
    assert json.loads(capsys.readouterr().out)["pairs"][0]["labels"].endswith("a.tif")
    assert main(["predict", model, str(folder / "noisy"), "--output", str(out)]) == 0
    made = nu.read_image(next(out.glob("*.tif"))).array
    assert np.asarray(made).dtype == np.float32
    assert np.asarray(made).shape == (64, 64)
    assert main(["predict", model, str(folder / "noisy"), "--output", str(folder / "zarr"),
                 "--format", "zarr"]) == 0  # fmt: skip
    stored = nu.read_image(next((folder / "zarr").glob("*.zarr"))).array
    assert np.array_equal(np.asarray(stored), np.asarray(made))


def test_denoise_writes_images_and_a_model_for_more(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    noisy, out = str(folder / "noisy"), folder / "out"
    assert main(["denoise", noisy, "--output", str(out), "--steps", "1"]) == 0
    result = np.asarray(nu.read_image(next(out.glob("*.tif"))).array)
    assert result.dtype == np.float32
    assert nu.load_model(out / "denoise.safetensors").record.classes.kind == "denoise"
    card = json.loads(next(out.glob("denoise*.json")).read_text())
    assert "--labels" not in card["command"]
    assert "--kind denoise" in card["command"]


def test_predictions_of_a_geotiff_lie_where_it_lies_on_the_map(folder: Path) -> None:
    scale = (33550, 12, 3, (10.0, 10.0, 0.0), True)
    field, out = str(folder / "field.tif"), str(folder / "out")
    tifffile.imwrite(field, picture(), extratags=[scale])
    assert main(["denoise", field, "--output", out, "--steps", "1"]) == 0
    with tifffile.TiffFile(folder / "out" / "field.tif") as result:
        assert result.pages.first.tags["ModelPixelScaleTag"].value == (10.0, 10.0, 0.0)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["--kind", "denoise", "--labels", "x"], "leave out --labels"),
        (["--kind", "image"], "give --targets PATH"),
        ([], "give --labels PATH"),
        (["--kind", "objects", "--targets", "x"], "give --labels PATH"),
    ],
)
def test_what_a_kind_does_not_learn_from_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str], given: list[str], words: str
) -> None:
    output = ["--output", str(folder / "m.safetensors")]
    assert main(["train", "--images", str(folder / "noisy"), *given, *output]) == 2
    assert words in capsys.readouterr().err


def test_python_denoises_in_one_call() -> None:
    config = nu.TrainConfig(steps=1, patch_size=32, base_channels=2, depth=1)
    result = nu.denoise(picture(), config)
    assert result.shape == (64, 64)
    assert result.dtype == np.float32


def test_python_wants_labels_where_they_are_learned_and_none_where_not() -> None:
    with pytest.raises(LabelsError, match="no labels to learn objects from"):
        nu.train(picture())
    with pytest.raises(LabelsError, match="leave out labels"):
        nu.train(picture(), picture(), nu.TrainConfig(kind="denoise"))
