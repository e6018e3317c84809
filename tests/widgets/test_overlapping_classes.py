"""Overlapping classes in the window: a layer of paint, and a layer of results, for each class."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from napari.layers import Labels

from napari_unet.data.intensity import IntensityNormalization
from napari_unet.errors import ConfigError
from napari_unet.model.config import UNetConfig
from napari_unet.model.record import ModelRecord
from napari_unet.model.trained import TrainedNetwork
from napari_unet.model.unet import UNet
from napari_unet.tasks import ClassTable
from napari_unet.tasks.overlapping_classes import painted_values
from napari_unet.widgets.common.annotation import annotation_of, new_annotation
from napari_unet.widgets.common.copy_to_annotation import AnnotationCopier
from napari_unet.widgets.common.pairs import annotated_images, ticked_pairs

from .conftest import Desk

NAMES = ("nucleus", "cell")


def paint(desk: Desk, name: str, boxes: dict[int, tuple[int, int]]) -> Labels:
    layer = new_annotation(desk.viewer, desk.image, "overlapping", name)
    for value, (start, stop) in boxes.items():
        layer.data[start:stop] = value
    layer.refresh()
    return layer


@pytest.fixture
def painted(make_desk: Callable[..., Desk]) -> Desk:
    desk = make_desk()
    paint(desk, "nucleus", {1: (0, 20), 2: (20, 30)})
    paint(desk, "cell", {1: (0, 10), 2: (10, 40)})
    desk.train.pairs.reset_choices()
    return desk


def test_layers_of_one_image_are_learned_together(painted: Desk) -> None:
    (pair,) = ticked_pairs(painted.viewer)
    (image,) = annotated_images(painted.viewer, (pair,))
    assert image.class_names == NAMES
    assert image.labels[[0, 15, 25, 35], 0].tolist() == [4, 7, 8, 6]
    assert painted.train.config().kind == "overlapping"


def test_a_new_layer_is_for_the_next_class(make_desk: Callable[..., Desk]) -> None:
    desk = make_desk()
    layers = [new_annotation(desk.viewer, desk.image, "overlapping") for _ in range(2)]
    assert [layer.name for layer in layers] == [
        f"{desk.image.name} class {number} annotation" for number in (1, 2)
    ]
    assert len({annotation_of(layer).colour_of(2) for layer in layers}) == 2


def test_two_classes_of_one_name_are_refused(painted: Desk) -> None:
    paint(painted, "cell", {2: (0, 5)})
    with pytest.raises(ConfigError, match="Two classes have one name"):
        annotated_images(painted.viewer, ticked_pairs(painted.viewer))


def predicted(desk: Desk) -> list[Labels]:
    config = UNetConfig(base_channels=2, depth=2, output="sigmoid")
    table = ClassTable("overlapping", "unlabelled", painted_values(2), names=NAMES)
    network = UNet(config).eval()
    network.output.bias.data[:] = 100.0  # both classes everywhere
    model = TrainedNetwork(network, ModelRecord(config, table, IntensityNormalization()))
    desk.predict._session.set_model(model, "untrained")
    desk.click(desk.predict.predict_button)
    desk.wait_until_idle()
    return [desk.viewer.layers[f"{desk.image.name} {name} prediction"] for name in NAMES]


def test_each_class_is_shown_in_a_layer_of_its_own(painted: Desk) -> None:
    nucleus, cell = predicted(painted)
    assert (np.unique(nucleus.data).tolist(), np.unique(cell.data).tolist()) == ([2], [3])


def test_a_correction_goes_to_the_paint_of_its_class(painted: Desk) -> None:
    _, cell = predicted(painted)
    nuclei, cells = (pair for pair in ticked_pairs(painted.viewer)[0].layers)
    before = nuclei.data.copy()
    cell.data[50:60, 50:60] = 0
    assert AnnotationCopier(painted.viewer).copy_corrections() == 100
    assert (cells.data[50:60, 50:60] == 1).all()
    np.testing.assert_array_equal(nuclei.data, before)


def test_what_is_learned_is_shown_class_by_class(painted: Desk) -> None:
    painted.train_tiny(2)
    painted.click(painted.train.train_button)
    painted.wait_until_idle()
    model = painted.train._session.model
    assert model is not None
    assert model.record.classes.names == NAMES
