"""Tiny models, a way to run an export, and whether packages can be written here."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from scipy import ndimage as ndi

from napari_unet.errors import ConfigError
from napari_unet.export.config import ExportConfig, read_author
from napari_unet.export.writing import export_network
from napari_unet.model.config import UNetConfig
from napari_unet.model.record import ModelRecord
from napari_unet.model.trained import TrainedNetwork
from napari_unet.model.unet import UNet
from napari_unet.run import Run
from napari_unet.tasks import ClassTable

if TYPE_CHECKING:
    from pathlib import Path

OBJECTS = ClassTable("objects", "unlabelled")
CLASSES = ClassTable("classes", "unlabelled", (1, 3, 7))
AUTHORS = (read_author("Ada Lovelace, London"),)


def a_model(
    classes: ClassTable = OBJECTS, record: dict[str, Any] | None = None, **network: Any
) -> TrainedNetwork:
    """A tiny network with random weights, and random running statistics."""
    settings: dict[str, Any] = {
        "base_channels": 2,
        "depth": 2,
        "padding": "same",
        "normalization": "batch",
        "out_channels": classes.n_classes,
    }
    config = UNetConfig(**{**settings, **network})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        unet = UNet(config)
        for name, tensor in unet.state_dict().items():
            if name.endswith("running_mean"):
                tensor.normal_(0, 0.2)
            elif name.endswith("running_var"):
                tensor.uniform_(0.5, 2)
    return TrainedNetwork(unet.eval(), replace(ModelRecord(config, classes), **(record or {})))


def export(
    model: TrainedNetwork,
    path: Path,
    format: Any,
    stop: threading.Event | None = None,
    **config: Any,
) -> tuple[list[Any], Any]:
    """Export a model; return all events and the result."""
    if format == "bioimageio":
        config = {"authors": AUTHORS, "licence": "CC-BY-4.0", **config}
    settings = ExportConfig(format, **config)
    events = export_network(model, path, settings, stop or threading.Event())
    run = Run(events)
    return list(run), run.result


def blobs(*shape: int) -> Any:
    """Bright blobs on dark ground, as a camera with 16 bits gives them."""
    fine = np.random.default_rng(1).normal(size=shape)
    smooth = ndi.gaussian_filter(fine, [0] * (len(shape) - 2) + [3, 3])
    return (1000 + 300 * smooth / smooth.std()).clip(0).astype(np.uint16)


def needs_packages() -> None:
    """Skip where bioimageio.spec does not work with the installed pydantic."""
    pytest.importorskip("bioimageio.core")
    from napari_unet.export.package import check_libraries

    try:
        check_libraries()
    except ConfigError as error:
        pytest.skip(str(error))
