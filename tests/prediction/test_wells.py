"""A plate is predicted field by field; each of its wells has one table of all its objects."""

from __future__ import annotations

import csv
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import zarr

from napari_unet.io.files import find_images
from napari_unet.model.config import UNetConfig
from napari_unet.model.record import ModelRecord
from napari_unet.model.trained import TrainedNetwork
from napari_unet.model.unet import UNet
from napari_unet.prediction.config import PredictConfig
from napari_unet.prediction.files import predict_files
from napari_unet.run import Run
from napari_unet.tasks import ClassTable

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def plate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two wells: A/1 with two fields, A/2 with one."""
    folder = tmp_path_factory.mktemp("plate") / "p.zarr"
    root = zarr.open_group(store=str(folder), mode="w", zarr_format=3)
    root.attrs["ome"] = {"plate": {"wells": [{"path": "A/1"}, {"path": "A/2"}]}}
    axes: Any = [{"name": name, "type": "space", "unit": "micrometer"} for name in "yx"]
    level: Any = {
        "path": "0",
        "coordinateTransformations": [{"type": "scale", "scale": [0.5, 0.5]}],
    }
    for number, fields in ((1, 2), (2, 1)):
        well = root.create_group(f"A/{number}")
        well.attrs["ome"] = {"well": {"images": [{"path": str(f)} for f in range(fields)]}}
        for field in range(fields):
            image = well.create_group(str(field))
            image.attrs["ome"] = {"multiscales": [{"axes": axes, "datasets": [level]}]}
            pixels = np.random.default_rng(field).integers(0, 255, (48, 48)).astype(np.uint8)
            image.create_array("0", shape=(48, 48), dtype="uint8", chunks=(16, 16))[...] = pixels
    return folder


def predict(path: Path, output: Path) -> list[str]:
    network = UNetConfig(ndim=2, base_channels=2, depth=1, padding="same")
    record = ModelRecord(network, ClassTable("objects", "background"))
    model = TrainedNetwork(UNet(network), record)
    config = PredictConfig(device="cpu", tile_size=64)
    Run(predict_files(model, find_images([path]), output, config, threading.Event())).finish()
    return sorted(each.name for each in output.iterdir())


def test_every_field_is_predicted_and_every_well_measured(plate: Path, tmp_path: Path) -> None:
    names = predict(plate, tmp_path / "out")
    assert names == ["A1.csv", "A1_0.zarr", "A1_1.zarr", "A2.csv", "A2_0.zarr"]
    with (tmp_path / "out" / "A1.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {row["field"] for row in rows} <= {"A1_0", "A1_1"}
    assert list(rows[0])[:2] == ["field", "index"]


def test_a_field_alone_has_no_table_of_its_well(plate: Path, tmp_path: Path) -> None:
    assert predict(plate / "A" / "1" / "0", tmp_path / "out") == ["A1_0.zarr"]


def test_one_well_after_the_other_leaves_both(plate: Path, tmp_path: Path) -> None:
    predict(plate / "A" / "1" / "0", tmp_path / "out")
    assert predict(plate / "A" / "2" / "0", tmp_path / "out") == [
        *("A1_0.zarr", "A2.csv", "A2_0.zarr")
    ]
