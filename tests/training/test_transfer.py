from __future__ import annotations

import numpy as np
import pytest
import torch

from device import DEVICE_NAME
from napari_unet.errors import ModelMismatchError
from napari_unet.model.starting import load_starting_model
from napari_unet.model.unet import UNet
from napari_unet.tasks import ClassTable
from napari_unet.training.config import TrainConfig
from napari_unet.training.dataset import AnnotatedImage
from napari_unet.training.networks import carried_over
from napari_unet.training.preparation import prepare_training

from .builders import cells, painted_cells, run, tiny_config


def weights_of(n_classes: int, seed: int) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    return dict(UNet(tiny_config().network(1, n_classes)).state_dict())


def classes(*painted: int) -> ClassTable:
    return ClassTable("classes", "unlabelled", painted)


def test_known_classes_keep_their_outputs_wherever_they_stand() -> None:
    known, fresh = weights_of(2, 0), weights_of(3, 1)
    result = carried_over(known, classes(1, 5), classes(1, 3, 5), fresh)
    torch.testing.assert_close(result["output.weight"][0], known["output.weight"][0])
    torch.testing.assert_close(result["output.weight"][2], known["output.weight"][1])


def test_new_classes_begin_fresh() -> None:
    known, fresh = weights_of(2, 0), weights_of(3, 1)
    result = carried_over(known, classes(1, 5), classes(1, 3, 5), fresh)
    torch.testing.assert_close(result["output.weight"][1], fresh["output.weight"][1])


def test_everything_but_the_outputs_is_kept() -> None:
    known, fresh = weights_of(2, 0), weights_of(3, 1)
    result = carried_over(known, classes(1, 5), classes(1, 3, 5), fresh)
    assert all(result[name] is known[name] for name in known if "output" not in name)


def test_the_same_classes_change_nothing() -> None:
    known = weights_of(2, 0)
    assert carried_over(known, classes(1, 5), classes(1, 5), weights_of(2, 1)) is known


def test_objects_and_classes_do_not_mix() -> None:
    known = weights_of(2, 0)
    with pytest.raises(ModelMismatchError, match="trained on objects, the labels are classes"):
        carried_over(known, ClassTable("objects", "unlabelled"), classes(1, 5), known)


def test_another_network_is_refused() -> None:
    other = dict(UNet(tiny_config(base_channels=3).network(1, 2)).state_dict())
    table = ClassTable("objects", "unlabelled")
    with pytest.raises(ModelMismatchError, match="another network"):
        carried_over(weights_of(2, 0), table, table, other)


def test_a_starting_model_is_trained_further_on_any_number_of_channels() -> None:
    config = TrainConfig(steps=1, patch_size=32, batch_size=1, binning=1, device=DEVICE_NAME)
    image, labels = painted_cells()
    images = [AnnotatedImage("colours", np.stack([image] * 3), labels)]
    _, result = run(prepare_training(images, config), config, resume=load_starting_model("cells"))
    assert result.trained.record.network.in_channels == 3


@pytest.mark.parametrize(("depth", "known"), [(3, "cells"), (2, "")])
def test_a_model_tells_whether_its_network_began_with_the_starting_model(
    depth: int, known: str
) -> None:
    config = tiny_config(start="cells", base_channels=16, normalization="batch", depth=depth)
    trained = run(cells(config), config.changed(steps=1))[1].trained
    assert trained.record.starting_model == known
