from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from napari_unet.data.labels import ClassTable
from napari_unet.errors import ConfigError, ModelFileError
from napari_unet.model.config import UNetConfig
from napari_unet.model.tensor_file import read_tensors, write_tensors
from napari_unet.model.trained import (
    ModelRecord,
    TrainedNetwork,
    TrainingImageRecord,
    load_network,
    save_network,
)
from napari_unet.model.unet import UNet

CONFIG = UNetConfig(out_channels=3, base_channels=2, depth=2, normalization="batch")
RECORD = ModelRecord(
    network=CONFIG,
    classes=ClassTable("classes", "unlabelled", (1, 2, 7)),
    smallest_object=4,
    training={"seed": 1},
    history=[{"step": 5, "iou": 0.5, "object_f1": None}],
    images=(TrainingImageRecord("a.tif", (10, 12), "aa", "bb"),),
    versions={"torch": "2.13"},
    created="2026-11-21T10:00:00+00:00",
    steps=5,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    save_network(TrainedNetwork(UNet(CONFIG).eval(), RECORD), tmp_path / "m.safetensors")
    return tmp_path / "m.safetensors"


def test_the_record_comes_back_as_it_was(path: Path) -> None:
    assert load_network(path).record == RECORD


def test_the_network_comes_back_in_evaluation_mode(path: Path) -> None:
    assert not load_network(path).network.training


def test_a_loaded_network_answers_as_the_saved_one(tmp_path: Path) -> None:
    network = UNet(CONFIG).eval()
    save_network(TrainedNetwork(network, RECORD), tmp_path / "m.safetensors")
    image = torch.rand(1, 1, 44, 44)

    with torch.inference_mode():
        answer = load_network(tmp_path / "m.safetensors").network(image)
        assert torch.equal(answer, network(image))


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        pytest.param({"format_version": 99}, "Update napari-unet-paint", id="newer format"),
        pytest.param({"arch": "os.system"}, "does not fit", id="unknown field"),
        pytest.param({"steps": "many"}, "does not fit", id="wrong type"),
        pytest.param({"network": {"depth": 10**9}}, "depth", id="absurd network"),
        pytest.param({"network": {"base_channels": 1024, "depth": 7}}, "weights", id="huge"),
        pytest.param({"classes": {"kind": "classes", "unpainted": "x"}}, "fit", id="bad table"),
    ],
)
def test_metadata_that_do_not_fit_are_refused_in_one_line(
    path: Path, changes: dict[str, Any], text: str
) -> None:
    tensors, content = read_tensors(path)
    for key, value in changes.items():
        both = isinstance(value, dict) and isinstance(content.get(key), dict)
        content[key] = {**content[key], **value} if both else value
    write_tensors(path, tensors, content)

    with pytest.raises(ModelFileError, match=text) as caught:
        load_network(path)
    assert "\n" not in str(caught.value)


def test_weights_of_another_shape_are_refused(path: Path) -> None:
    tensors, content = read_tensors(path)
    tensors["output.bias"] = torch.zeros(9)
    write_tensors(path, tensors, content)

    with pytest.raises(ModelFileError, match=r"output\.bias"):
        load_network(path)


def test_a_table_with_other_classes_than_the_network_is_refused() -> None:
    with pytest.raises(ConfigError, match="2 classes"):
        ModelRecord(network=CONFIG, classes=ClassTable("objects", "unlabelled"))
