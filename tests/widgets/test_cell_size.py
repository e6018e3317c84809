"""The size of a cell, typed in, circled or painted, in the Predict dock."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from napari.layers import Image, Labels, Shapes

from napari_unet.model.starting import load_starting_model
from napari_unet.widgets.predict.cell_size import circled_diameter, painted_diameter

from .conftest import Desk, disks
from .test_predict import predict_with
from .test_predict_options import use

Array = Any


def box(height: float, width: float, at: float = 10) -> Array:
    """The corners of a box, in which an ellipse may lie."""
    return np.array([[at, at], [at, at + width], [at + height, at + width], [at + height, at]])


# --- measured without a window -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "corners", "diameter"),
    [
        ("ellipse", box(20, 20), 20),
        ("ellipse", box(40, 10), 20),
        ("rectangle", box(20, 20), 20),
        ("line", np.array([[0, 0], [30, 40]]), 50),
        ("polygon", box(10, 10), 2 * (100 / np.pi) ** 0.5),
    ],
    ids=["circle", "ellipse", "rectangle", "line", "polygon"],
)
def test_a_shape_counts_as_the_circle_that_is_as_large(
    kind: str, corners: Array, diameter: float
) -> None:
    layer = Shapes([corners], shape_type=kind)
    assert circled_diameter(layer, Image(np.zeros((99, 99)))) == pytest.approx(diameter)


def test_of_several_circles_the_median_counts() -> None:
    layer = Shapes([box(n, n) for n in (10, 12, 40)], shape_type="ellipse")
    assert circled_diameter(layer, Image(np.zeros((99, 99)))) == pytest.approx(12)


def test_no_circle_has_no_size() -> None:
    assert circled_diameter(Shapes(), Image(np.zeros((9, 9)))) == 0


def test_circles_are_measured_in_pixels_of_the_image() -> None:
    image = Image(np.zeros((5, 99, 99)), scale=(3, 0.5, 0.5))
    layer = Shapes([box(20, 20)], shape_type="ellipse")
    assert circled_diameter(layer, image) == pytest.approx(40)


def test_a_small_painted_cell_is_taken_for_a_cell() -> None:
    labels = np.zeros((40, 40), int)
    labels[10:16, 10:16] = 2
    assert painted_diameter(labels, "unlabelled") == pytest.approx(6.8, abs=0.1)


def test_painted_background_is_no_cell() -> None:
    assert painted_diameter(np.ones((40, 40), int), "unlabelled") == 0


# --- in the dock -------------------------------------------------------------------------------


def test_zero_means_as_trained(desk: Desk) -> None:
    assert desk.predict.options.cell_size.box.text() == "as trained"
    assert desk.predict.options.config(desk.image).cell_size == 0


def test_the_size_in_the_box_is_that_of_the_prediction(desk: Desk) -> None:
    desk.predict.options.cell_size.box.setValue(42.5)
    assert desk.predict.options.config(desk.image).cell_size == 42.5


def test_arrows_and_wheel_change_the_size_by_a_pixel(desk: Desk) -> None:
    box = desk.predict.options.cell_size.box
    box.stepUp()
    assert desk.predict.options.config(desk.image).cell_size == 1
    box.stepUp()
    box.stepDown()
    assert desk.predict.options.config(desk.image).cell_size == 1


def test_with_nothing_painted_a_circle_can_be_drawn_at_once(desk: Desk) -> None:
    desk.click(desk.predict.options.cell_size.from_cell)

    layer = desk.viewer.layers.selection.active
    assert isinstance(layer, Shapes)
    assert layer.mode == "add_ellipse"
    assert desk.predict.status.text() == "Draw a circle over one cell."


@pytest.mark.canvas
def test_the_box_follows_the_circle(desk: Desk) -> None:
    desk.click(desk.predict.options.cell_size.from_cell)

    desk.stroke((20, 20), (44, 44))

    assert desk.predict.options.cell_size.value == pytest.approx(24, abs=2)
    assert (
        desk.predict.status.text() == f"Cell size: {desk.predict.options.cell_size.value:g} pixels."
    )


def test_a_circle_in_the_selected_layer_counts(desk: Desk) -> None:
    desk.viewer.add_shapes([box(18, 18)], shape_type="ellipse")

    desk.click(desk.predict.options.cell_size.from_cell)

    assert desk.predict.options.cell_size.value == pytest.approx(18)


def test_a_painted_cell_counts(painted: tuple[Desk, Labels]) -> None:
    desk, annotation = painted
    annotation.data = np.zeros_like(annotation.data)
    annotation.data[10:30, 10:30] = 2
    desk.viewer.layers.selection.active = desk.image

    desk.click(desk.predict.options.cell_size.from_cell)

    assert desk.predict.options.cell_size.value == pytest.approx(22.6, abs=0.1)


def test_no_second_layer_is_made_for_circles(desk: Desk) -> None:
    for _ in range(2):
        desk.click(desk.predict.options.cell_size.from_cell)

    assert sum(isinstance(layer, Shapes) for layer in desk.viewer.layers) == 1


def test_a_prediction_says_that_cells_are_seen_larger(desk: Desk) -> None:
    desk.predict.options.cell_size.box.setValue(12)

    predict_with(desk, load_starting_model("cells"))

    assert "Cells of 12 pixels are seen as large as the model expects" in desk.predict.status.text()


def test_a_model_that_knows_no_size_says_so(desk: Desk) -> None:
    model = load_starting_model("cells")
    desk.predict.options.cell_size.box.setValue(12)

    unknown = replace(model.record, steps=model.record.steps + 1, cell_size=0.0)
    predict_with(desk, replace(model, record=unknown))

    assert "the model does not know how large the cells are" in desk.predict.status.text()


def test_colours_are_predicted_with_a_starting_model(make_desk: Callable[..., Desk]) -> None:
    grey = (255 * np.clip(disks(), 0, 1)).astype(np.uint8)
    desk = make_desk(np.stack([grey] * 3, axis=-1), rgb=True)
    use(desk, load_starting_model("cells"), "cells")

    predict_with(desk, load_starting_model("cells"))

    assert desk.viewer.layers["disks prediction"].data.shape == grey.shape
