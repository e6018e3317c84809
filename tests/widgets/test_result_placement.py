"""Whatever is made of an image lies on it: scaled, moved, turned, sheared, and in its units."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from napari.layers import Layer, Shapes

from napari_unet.training.events import ViewPredicted
from napari_unet.widgets.common.pairs import LayerPair
from napari_unet.widgets.common.regions import regions_of
from napari_unet.widgets.common.session import session_of
from napari_unet.widgets.train.run import live_layer

from .conftest import Desk, disks, strokes_on
from .test_predict import untrained

pytestmark = pytest.mark.fault(24)

PLACEMENT: dict[str, Any] = {
    "scale": (0.5, 0.25),
    "translate": (3, 4),
    "rotate": 30,
    "shear": [0.2],
    "affine": np.array([[1.5, 0.1, 5], [0, 2, 6], [0, 0, 1]]),
    "units": ("um", "um"),
    "axis_labels": ("y", "x"),
}


def predicted(desk: Desk, name: str, result: str | None = None) -> Layer:
    box = desk.predict.options.form.editors["result"].widget
    if result is not None:
        box.setCurrentIndex(box.findData(result))
    session_of(desk.viewer).set_model(untrained(), "untrained")
    desk.click(desk.predict.predict_button)
    desk.wait_until_idle()
    layer: Layer = desk.viewer.layers[name]
    return layer


def labels(desk: Desk) -> Layer:
    return predicted(desk, "disks prediction")


def probabilities(desk: Desk) -> Layer:
    return predicted(desk, "disks prediction, probability of class 1", "probabilities")


def uncertainty(desk: Desk) -> Layer:
    session_of(desk.viewer).set_model(untrained(), "unsure")
    desk.click(desk.predict.spots.show_button)
    desk.wait_until_idle()
    layer: Layer = desk.viewer.layers["disks uncertainty"]
    return layer


def annotation(desk: Desk) -> Layer:
    desk.click(desk.annotate.new_button)
    assert desk.annotate.target.annotation is not None
    return desk.annotate.target.annotation


def weights(desk: Desk) -> Layer:
    painted: Any = annotation(desk)
    painted.data = strokes_on(disks())
    desk.click(desk.annotate.weights_button)
    desk.wait_until_idle()
    (layer,) = (each for each in desk.viewer.layers if "weights" in each.name)
    return layer


def live(desk: Desk) -> Layer:
    painted: Any = annotation(desk)
    shown = live_layer(desk.viewer, LayerPair(desk.image, painted), 2)
    region = (slice(0, 9), slice(0, 9))
    shown.show_live(ViewPredicted(1, 0, (), region, np.ones((9, 9), np.uint8), 0.1))
    assert shown.layer is not None
    return shown.layer


def regions(desk: Desk) -> Layer:
    annotation(desk)
    desk.click(desk.annotate.region_button)
    layer: Any = desk.viewer.layers.selection.active
    assert isinstance(layer, Shapes)
    return layer


@pytest.mark.parametrize(
    "made",
    [labels, probabilities, uncertainty, annotation, weights, live, regions],
    ids=lambda f: f.__name__,
)
def test_a_layer_lies_on_its_image(
    make_desk: Callable[..., Desk], made: Callable[[Desk], Layer]
) -> None:
    desk = make_desk(**PLACEMENT)
    layer = made(desk)
    for corner in ((0, 0), (0, 95), (95, 0), (50, 7)):
        np.testing.assert_allclose(
            layer.data_to_world(corner), desk.image.data_to_world(corner), atol=1e-9
        )
    np.testing.assert_allclose(layer.scale, desk.image.scale)
    np.testing.assert_allclose(layer.translate, desk.image.translate)
    np.testing.assert_allclose(layer.affine.affine_matrix, desk.image.affine.affine_matrix)
    assert layer.units == desk.image.units
    assert layer.axis_labels == desk.image.axis_labels


def test_a_rectangle_drawn_on_a_turned_image_is_that_rectangle(
    make_desk: Callable[..., Desk],
) -> None:
    desk = make_desk(**PLACEMENT)
    layer: Any = regions(desk)
    layer.add_rectangles(np.array([[10, 20], [40, 60]]))

    assert desk.annotate.target.annotation is not None
    assert regions_of(desk.viewer, desk.annotate.target.annotation) == (
        (slice(10, 41), slice(20, 61)),
    )
