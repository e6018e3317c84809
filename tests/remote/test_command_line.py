"""`train --on`, and `on=` in Python: as without it, on another machine."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import torch

import napari_unet as nu
from cli.builders import TINY, picture, run, training_folders
from napari_unet.model.trained import load_network
from training.builders import same_weights, tiny_config

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
Capture = pytest.CaptureFixture[str]


@pytest.fixture
def good(tmp_path: Path) -> list[object]:
    return ["train", *training_folders(tmp_path, *picture()), *TINY]


def weights_of(path: Path) -> dict[str, torch.Tensor]:
    return load_network(path).network.state_dict()


def test_the_command_line_writes_the_same_model(
    capsys: Capture, good: list[object], tmp_path: Path, address: str
) -> None:
    here, there = tmp_path / "here.safetensors", tmp_path / "there.safetensors"
    assert run(capsys, *good, "--output", here).code == 0
    outcome = run(capsys, *good, "--output", there, "--on", address, "--trust-cluster", "--json")
    assert outcome.code == 0
    assert json.loads(outcome.out)["steps"] == 3
    assert same_weights(weights_of(here), weights_of(there))


def test_a_run_card_names_what_has_computed(
    capsys: Capture, good: list[object], tmp_path: Path, address: str
) -> None:
    where = ["--on", address, "--trust-cluster", "--json"]
    assert run(capsys, *good, "--output", tmp_path / "m.safetensors", *where).code == 0
    card = json.loads((tmp_path / "m.run.json").read_text())
    assert card["environment"]["device"] == "cpu"


def test_it_says_where_it_trains(
    capsys: Capture, good: list[object], tmp_path: Path, address: str
) -> None:
    where = ["--on", address, "--trust-cluster"]
    outcome = run(capsys, *good, "--output", tmp_path / "m.safetensors", *where)
    assert ": CPU, " in outcome.err
    assert f"GB free, {nu.__version__}" in outcome.err


def test_an_address_needs_trust(capsys: Capture, good: list[object], tmp_path: Path) -> None:
    outcome = run(capsys, *good, "--output", tmp_path / "m", "--on", "tcp://127.0.0.1:9")
    assert outcome.code == 2
    assert "--trust-cluster" in outcome.error_line


def test_python_gives_the_same_model(address: str) -> None:
    image, labels = picture()
    config = tiny_config(device="cpu", steps=4)
    there = nu.train(image, labels, config, on=address, trust_cluster=True)
    here = nu.train(image, labels, config)
    assert same_weights(there.trained.network.state_dict(), here.trained.network.state_dict())
