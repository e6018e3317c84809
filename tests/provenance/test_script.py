"""Command lines and Python lines of a run: quoted, short, and complete."""

from __future__ import annotations

import ast
import shlex
from typing import Any

import pytest

from napari_unet.cli.main import build_parser
from napari_unet.prediction.config import PredictConfig
from napari_unet.provenance import script as script_module
from napari_unet.provenance.script import PredictionScript, TrainingScript
from napari_unet.training.config import TrainConfig

AWKWARD = '/data/it\'s $HOME; "a" ü.tif'


def training(config: TrainConfig, **more: Any) -> TrainingScript:
    return TrainingScript((AWKWARD,), ("/data/l.tif",), "/data/m.safetensors", config, **more)


def prediction(config: PredictConfig, **more: Any) -> PredictionScript:
    return PredictionScript("cells", AWKWARD, "/data/out", config, "YX", starting=True, **more)


def test_the_shell_reads_names_as_they_are() -> None:
    assert AWKWARD in shlex.split(training(TrainConfig()).command())


def test_python_reads_names_as_they_are() -> None:
    texts = [
        node.value
        for node in ast.walk(ast.parse(training(TrainConfig()).python()))
        if isinstance(node, ast.Constant)
    ]
    assert AWKWARD in texts


def test_windows_gets_its_own_quoting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(script_module, "_ON_WINDOWS", True)
    assert '"/data/a b.tif"' in script_module.quoted(["napari-unet", "/data/a b.tif"])


def test_the_preset_fast_needs_no_words() -> None:
    assert training(TrainConfig()).arguments()[-2:] == ["--output", "/data/m.safetensors"]


@pytest.mark.parametrize(
    "changes",
    [
        {"flip": False, "zoom": 0.1, "seed": 7, "channels": "0,2", "flat_levels": -1},
        {"minutes": 1.5},
        {"ndim": 3, "flat_levels": 1, "start": "random", "patch_size": 48},
    ],
    ids=["of each type", "minutes", "3D"],
)
def test_the_command_line_understands_what_was_copied(changes: dict[str, Any]) -> None:
    config = TrainConfig(**changes)
    options = build_parser().parse_args(shlex.split(training(config).command())[1:])
    assert {name: getattr(options, name, None) for name in changes if name != "flat_levels"} == {
        name: value for name, value in changes.items() if name != "flat_levels"
    }


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (PredictConfig(), []),
        (PredictConfig(axes="TYX"), ["--axes", "TYX"]),
        (PredictConfig(used_channels=(0, 2)), ["--channels", "0,2"]),
        (PredictConfig(pixel_size={"X": 0.2, "Y": 0.1}), ["--pixel-size", "0.1", "0.2"]),
        (PredictConfig("probabilities", views=8), ["--result", "probabilities", "--views", "8"]),
        (PredictConfig(rescale=False), ["--no-rescale"]),
        (PredictConfig(cell_size=42.5), ["--cell-size", "42.5"]),
        (PredictConfig(precision="float32"), ["--precision", "float32"]),
    ],
)
def test_only_what_differs_is_said_of_a_prediction(config: PredictConfig, words: list[str]) -> None:
    assert prediction(config).arguments()[6:] == words


def test_what_the_file_says_itself_is_not_repeated() -> None:
    size = {"Y": 1.0, "X": 1.0}
    script = prediction(PredictConfig(axes="YX", pixel_size=size), file_axes="YX")
    assert "--axes" not in script.arguments()


def test_a_pixel_size_that_the_layer_does_not_have_is_not_used() -> None:
    script = prediction(PredictConfig(), file_pixel_size={"Y": 1.0, "X": 1.0})
    assert script.arguments()[-1] == "--no-rescale"


def test_a_note_stays_a_comment_whatever_names_it_holds() -> None:
    script = training(TrainConfig(), notes=("a layer\nrm -rf x",))
    assert script.command().splitlines()[0] == "# a layer rm -rf x"
    assert script.python().splitlines()[0] == "# a layer rm -rf x"
