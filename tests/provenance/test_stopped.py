"""A stopped training, done again, is stopped after the same step."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import numpy as np
import pytest

from napari_unet.errors import ConfigError
from napari_unet.io.files import write_image
from napari_unet.model.devices import choose_device
from napari_unet.model.trained import save_network
from napari_unet.provenance.card import (
    Environment,
    Place,
    TrainingCard,
    TrainingOrigin,
    card_beside_model,
    now,
    read_card,
    write_card,
)
from napari_unet.provenance.rerun import RerunReport
from napari_unet.provenance.training_card import card_of_training, train_again
from napari_unet.run import Run
from napari_unet.training.config import TrainConfig
from napari_unet.training.dataset import AnnotatedImage
from napari_unet.training.events import StepDone, Validated
from napari_unet.training.loop import train_network
from napari_unet.training.preparation import prepare_training

from .builders import picture

CONFIG = TrainConfig(
    steps=9, base_channels=2, depth=2, patch_size=32, batch_size=2, validate_every=2, device="cpu"
)


Stopping = type[StepDone] | type[Validated]


def stopped_training(folder: Path, after: Stopping, step: int) -> Path:
    """Train on files, stop after an event of a step; return the card beside the model."""
    image, labels = (np.tile(each, (2, 2)) for each in picture())
    write_image(folder / "i.tif", image, "YX")
    write_image(folder / "l.tif", labels, "YX")
    stop = threading.Event()
    data = prepare_training([AnnotatedImage("i", image, labels, axes="YX")], CONFIG)
    training = Run(train_network(data, CONFIG, stop))
    for event in training:
        if isinstance(event, after) and event.step == step:
            stop.set()
    result = training.result
    model = folder / "m.safetensors"
    save_network(result.trained, model)
    environment = Environment.of(choose_device("cpu"))
    files = [(folder / "i.tif", folder / "l.tif")]
    origin = TrainingOrigin(CONFIG, files, environment, now(), now())
    card = card_beside_model(model)
    write_card(card_of_training(result, origin, model, card), card)
    return card


def repeated(card: Path, folder: Path) -> RerunReport:
    found = read_card(card)
    assert isinstance(found, TrainingCard)
    return Run(train_again(found, card, folder, threading.Event())).finish()


@pytest.mark.parametrize(
    ("after", "step"),
    [(StepDone, 5), (StepDone, 4), (Validated, 4)],
    ids=["between validations", "before one", "after one"],
)
def test_it_is_stopped_where_it_was(tmp_path: Path, after: Stopping, step: int) -> None:
    card = stopped_training(tmp_path, after, step)
    (tmp_path / "again").mkdir()
    assert repeated(card, tmp_path / "again").identical


def test_a_file_is_found_from_the_card_before_the_path_that_was_given(tmp_path: Path) -> None:
    (tmp_path / "new" / "images").mkdir(parents=True)
    (tmp_path / "new" / "images" / "a.tif").touch()
    place = Place(path=str(tmp_path / "old" / "a.tif"), relative="images/a.tif")
    found = place.found_from(tmp_path / "new" / "m.run.json")
    assert found == tmp_path / "new" / "images" / "a.tif"


def test_a_card_that_is_too_large_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_unet.provenance.card._LARGEST_CARD", 10)
    path = tmp_path / "m.run.json"
    path.write_text(json.dumps({"what": "train"}), encoding="utf-8")
    with pytest.raises(ConfigError, match="a run card has at most"):
        read_card(path)
