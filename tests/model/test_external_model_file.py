"""Model files that hold networks of other programs are checked as strictly as our own."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from napari_unet.errors import ConfigError, ModelFileError, ModelMismatchError
from napari_unet.model.config import UNetConfig
from napari_unet.model.external import ExternalNetwork, ReadyExternal, meant
from napari_unet.model.record import (
    ExternalConfig,
    LayersConfig,
    ModelRecord,
    record_from_json,
    record_to_json,
)
from napari_unet.model.trained import TrainedNetwork, load_network, save_network, write_tensors
from napari_unet.tasks import ClassTable

CONFIG = ExternalConfig("layers", 2, 1, 1, (4, 4), (8, 8), (8, 8), layers=LayersConfig())
RECORD = ModelRecord(UNetConfig(1, 2), ClassTable("objects", "background"), external=CONFIG)
ONNX = replace(CONFIG, engine="onnx", layers=None)


def file_of(path: Path, record: ModelRecord, **tensors: torch.Tensor) -> Path:
    write_tensors(path, tensors, record_to_json(record))
    return path


@pytest.mark.parametrize(
    "wrong",
    [
        {"steps": (0, 4)}, {"halos": (6, 8)}, {"smallest": (8,)}, {"input_axes": "bcxy"},
        {"output_axes": "bccyx"}, {"raw_channels": 2}, {"boundary": 1}, {"ndim": 4},
        {"layers": None}, {"in_channels": 10**9}, {"fixed": True, "smallest": (16, 16)},
    ],
    ids=lambda wrong: "-".join(wrong),
)  # fmt: skip
def test_an_impossible_network_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        replace(CONFIG, **wrong)


def test_a_record_whose_networks_differ_is_refused() -> None:
    with pytest.raises(ConfigError, match="other channels"):
        replace(RECORD, network=UNetConfig(2, 2))


def test_a_record_with_an_unknown_field_is_refused(tmp_path: Path) -> None:
    content = record_to_json(RECORD)
    content["external"]["source"] = "net.py"
    write_tensors(tmp_path / "m", {"a": torch.zeros(1)}, content)
    with pytest.raises(ModelFileError, match="source"):
        load_network(tmp_path / "m")


def test_a_file_of_version_0_1_calls_them_foreign() -> None:
    content = record_to_json(RECORD)
    content["foreign"] = content.pop("external")
    assert record_from_json(json.loads(json.dumps(content)), "a file") == RECORD


@pytest.mark.parametrize(
    "tensors",
    [{"a": torch.zeros(1)}, {"onnx": torch.zeros(4)}, {"onnx": torch.zeros(2, 2).byte()}],
    ids=["none", "float", "plane"],
)
def test_a_graph_that_is_none_is_refused_on_load(
    tmp_path: Path, tensors: dict[str, torch.Tensor]
) -> None:
    record = replace(RECORD, external=ONNX)
    with pytest.raises(ModelFileError):
        load_network(file_of(tmp_path / "m", record, **tensors))


def test_a_damaged_graph_is_refused_before_it_predicts(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    path = file_of(tmp_path / "m", replace(RECORD, external=ONNX), onnx=torch.ones(99).byte())
    network = load_network(path).network
    assert isinstance(network, ExternalNetwork)
    with pytest.raises(ModelFileError):
        ReadyExternal(network, torch.device("cpu"))


def test_weights_that_lack_a_layer_are_told_in_one_line(tmp_path: Path) -> None:
    path = file_of(
        tmp_path / "m", RECORD, **{"contracting.0.0.conv.weight": torch.ones(1, 1, 3, 3)}
    )
    network = load_network(path).network
    assert isinstance(network, ExternalNetwork)
    with pytest.raises(ModelMismatchError, match="cannot take"):
        ReadyExternal(network, torch.device("cpu")).probabilities(torch.zeros(1, 1, 24, 24))


def test_outlines_are_taken_off_and_probabilities_stay_probabilities() -> None:
    config = replace(CONFIG, raw_channels=2, meaning="boundary", boundary=1)
    raw = torch.tensor([[0.9, 0.3], [0.2, 0.8]])[None, :, :, None]
    maps = meant(raw, config)[0, :, :, 0]
    torch.testing.assert_close(maps, torch.tensor([[0.3, 1.0], [0.7, 0.0]]))


def test_it_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    weights = {"output.conv.weight": torch.ones(1, 1, 1, 1)}
    save_network(TrainedNetwork(ExternalNetwork(CONFIG, weights), RECORD), tmp_path / "m")
    again = load_network(tmp_path / "m")
    assert again.record == RECORD
    assert again.network.state_dict().keys() == weights.keys()
