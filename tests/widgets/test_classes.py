"""Classes, keys, regions, masks and the weight map: what the Annotate widget offers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from napari.layers import Image, Labels, Shapes
from qtpy.QtCore import Qt

from napari_unet.training.preparation import prepare_training
from napari_unet.training.targets import weights_in_image
from napari_unet.widgets.annotate.coverage import shown_regions
from napari_unet.widgets.common.annotation import annotation_of, next_object
from napari_unet.widgets.common.pairs import annotated_images, ticked_pairs
from napari_unet.widgets.common.regions import regions_of

from .conftest import HAND, Desk, disks, strokes_on

pytestmark = pytest.mark.canvas


def paint_classes(desk: Desk) -> Labels:
    box = desk.annotate.target.kind_box
    box.setCurrentIndex(box.findData("classes"))
    desk.click(desk.annotate.new_button)
    layer = desk.annotate.target.annotation
    assert layer is not None
    return layer


def key(desk: Desk, name: str) -> None:
    """Press a key while the mouse is over the canvas, as one does while painting."""
    canvas = desk.viewer.window._qt_viewer.canvas.native
    canvas.setFocus()
    HAND.keyClick(canvas, getattr(Qt.Key, f"Key_{name}"))


def row_of(desk: Desk, value: int) -> list[str]:
    table: Any = desk.annotate.target.table
    row = table.values.index(value)
    return [table.item(row, column).text() for column in range(table.columnCount())]


# --- the table ---------------------------------------------------------------------------------


def test_the_table_counts_painted_pixels_and_objects(painted: tuple[Desk, Labels]) -> None:
    desk, labels = painted
    desk.annotate.target.painter.changed.emit()

    assert row_of(desk, 1)[3] == f"{np.count_nonzero(labels.data == 1):,}"
    assert row_of(desk, 2)[3:] == [f"{np.count_nonzero(labels.data > 1):,}", "8"]


def test_the_table_follows_a_stroke(desk: Desk) -> None:
    desk.click(desk.annotate.new_button)

    desk.stroke((12, 12), (12, 30))

    desk.qtbot.waitUntil(lambda: row_of(desk, 2)[4] == "1")


def test_a_class_is_added_and_painted_with(desk: Desk) -> None:
    layer = paint_classes(desk)

    desk.click(desk.annotate.add_button)
    desk.stroke((12, 12), (12, 30))

    assert layer.data[12, 20] == 3
    assert desk.annotate.target.table.values == (1, 2, 3)


def test_a_class_is_renamed_in_the_table(desk: Desk) -> None:
    layer = paint_classes(desk)

    name: Any = desk.annotate.target.table.item(1, 2)
    name.setText("membrane")

    assert annotation_of(layer).names[2] == "membrane"


def test_a_class_is_recoloured_in_layer_and_table(desk: Desk) -> None:
    layer = paint_classes(desk)

    desk.annotate.target.table.recoloured.emit(2, "#ff0000")

    np.testing.assert_allclose(layer.get_color(2), (1, 0, 0, 1))
    swatch: Any = desk.annotate.target.table.item(1, 1)
    assert swatch.data(Qt.ItemDataRole.DecorationRole).name() == "#ff0000"


@pytest.mark.parametrize("kind", ["objects", "classes"])
def test_a_layer_is_not_drawn_anew_in_the_colours_that_it_has(desk: Desk, kind: str) -> None:
    desk.annotate.target.kind_box.setCurrentIndex(desk.annotate.target.kind_box.findData(kind))
    desk.click(desk.annotate.new_button)
    layer = desk.annotate.target.annotation
    assert layer is not None
    drawn: list[object] = []
    layer.events.colormap.connect(drawn.append)

    desk.annotate.target.painter.take_brush(2)
    desk.annotate.target.painter.take_brush(1)
    desk.annotate.target.painter.show_classes(layer)

    assert not drawn


def test_a_removed_class_takes_its_paint_along_and_undo_brings_it_back(desk: Desk) -> None:
    layer = paint_classes(desk)
    desk.click(desk.annotate.add_button)
    desk.stroke((12, 12), (12, 30))
    desk.annotate.target.table.setCurrentCell(2, 0)

    desk.click(desk.annotate.remove_button)

    assert not layer.data.any()
    layer.undo()
    assert layer.data[12, 20] == 3


def test_a_click_on_a_row_paints_with_it(desk: Desk) -> None:
    layer = paint_classes(desk)
    layer.mode = "erase"

    desk.annotate.target.table.cellClicked.emit(0, 0)

    assert (layer.mode, layer.selected_label) == ("paint", 1)


def test_background_shows_in_its_own_colour_among_objects(desk: Desk) -> None:
    desk.click(desk.annotate.new_button)
    layer = desk.annotate.target.annotation
    assert layer is not None

    desk.annotate.target.table.recoloured.emit(1, "#00ff00")

    np.testing.assert_allclose(layer.get_color(1), (0, 1, 0, 1), atol=0.01)


@pytest.mark.parametrize("largest", [0, 1, 48, 49, 97, 98, 500])
def test_the_next_object_never_has_the_colour_of_the_background(largest: int) -> None:
    number = next_object(np.array([largest]))
    assert number > max(1, largest)
    assert number % 49 != 1


# --- keys --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "mode", "value"),
    [
        pytest.param("B", "paint", 1, id="background"),
        pytest.param("N", "paint", 3, id="next object"),
        pytest.param("1", "paint", 1, id="first class"),
        pytest.param("E", "erase", 2, id="eraser"),
    ],
)
def test_keys_work_while_painting(desk: Desk, name: str, mode: str, value: int) -> None:
    desk.viewer.window._qt_window.activateWindow()
    dock: Any = desk.annotate.parent()
    dock.raise_()
    desk.click(desk.annotate.new_button)
    desk.stroke((12, 12), (12, 16))
    layer = desk.annotate.target.annotation
    assert layer is not None

    key(desk, name)

    desk.qtbot.waitUntil(lambda: (layer.mode, layer.selected_label) == (mode, value))


def test_number_keys_pick_classes(desk: Desk) -> None:
    desk.viewer.window._qt_window.activateWindow()
    dock: Any = desk.annotate.parent()
    dock.raise_()
    layer = paint_classes(desk)
    desk.stroke((12, 12), (12, 30))

    key(desk, "1")
    desk.qtbot.waitUntil(lambda: layer.selected_label == 1)
    key(desk, "2")
    desk.qtbot.waitUntil(lambda: layer.selected_label == 2)


# --- regions -----------------------------------------------------------------------------------


def test_a_drawn_rectangle_is_a_fully_annotated_region(desk: Desk) -> None:
    desk.click(desk.annotate.new_button)
    layer = desk.annotate.target.annotation
    assert layer is not None

    desk.click(desk.annotate.region_button)
    assert isinstance(desk.viewer.layers.selection.active, Shapes)
    desk.stroke((10, 20), (40, 60))

    ((rows, columns),) = regions_of(desk.viewer, layer)
    assert (rows.start, rows.stop) == pytest.approx((10, 41), abs=2)
    assert (columns.start, columns.stop) == pytest.approx((20, 61), abs=2)


def test_a_region_of_a_scaled_stack_lies_in_its_plane(make_desk: Callable[..., Desk]) -> None:
    desk = make_desk(np.stack([disks()] * 4), scale=(2, 0.5, 0.5))
    desk.click(desk.annotate.new_button)
    layer = desk.annotate.target.annotation
    assert layer is not None
    desk.viewer.dims.set_current_step(0, 1)
    desk.click(desk.annotate.region_button)

    desk.stroke((10, 20), (40, 60))

    ((planes, rows, _),) = regions_of(desk.viewer, layer)
    assert (planes.start, planes.stop) == (1, 2)
    assert (rows.start, rows.stop) == pytest.approx((10, 41), abs=2)


def test_what_is_unpainted_in_a_drawn_rectangle_counts_as_painted_background(desk: Desk) -> None:
    desk.click(desk.annotate.new_button)
    desk.click(desk.annotate.region_button)

    desk.stroke((10, 20), (40, 60))

    layer = desk.annotate.target.annotation
    assert layer is not None
    ((rows, columns),) = regions_of(desk.viewer, layer)
    pixels = (rows.stop - rows.start) * (columns.stop - columns.start)
    table: Any = desk.annotate.target.table
    desk.qtbot.waitUntil(lambda: table.item(0, 3).text() == f"{pixels:,}")

    desk.viewer.layers.remove(desk.viewer.layers.selection.active)
    desk.qtbot.waitUntil(lambda: table.item(0, 3).text() == "0")


def test_a_rectangle_counts_in_its_own_plane_only(make_desk: Callable[..., Desk]) -> None:
    desk = make_desk(np.stack([disks()] * 4))
    desk.click(desk.annotate.new_button)
    layer = desk.annotate.target.annotation
    assert layer is not None
    desk.viewer.dims.set_current_step(0, 1)
    desk.click(desk.annotate.region_button)
    desk.stroke((10, 20), (40, 60))

    assert len(shown_regions(desk.viewer, layer)) == 1
    desk.viewer.dims.set_current_step(0, 2)
    assert not shown_regions(desk.viewer, layer)


# --- masks -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("zero", "where_zero"), [("background", 1), ("unlabelled", 0)])
def test_a_mask_becomes_an_annotation(desk: Desk, zero: str, where_zero: int) -> None:
    mask = desk.viewer.add_labels((strokes_on(disks()) > 1).astype(np.uint8), name="mask")

    desk.annotate.take_mask(mask, zero)  # type: ignore[arg-type]

    layer = desk.annotate.target.annotation
    assert layer is not None
    np.testing.assert_array_equal(layer.data, np.where(mask.data > 0, 2, where_zero))


def test_the_mask_itself_stays_as_it_was(desk: Desk) -> None:
    mask = desk.viewer.add_labels(strokes_on(disks()), name="mask")
    before = mask.data.copy()

    desk.annotate.take_mask(mask, "background")

    np.testing.assert_array_equal(mask.data, before)


# --- the weight map ----------------------------------------------------------------------------


def test_the_weight_map_appears_as_an_image_layer(painted: tuple[Desk, Labels]) -> None:
    desk, labels = painted

    desk.click(desk.annotate.weights_button)
    desk.wait_until_idle()

    layer = desk.viewer.layers["paint: weights"]
    assert isinstance(layer, Image)
    assert (layer.data[labels.data == 0] == 0).all()
    assert layer.data.max() > 1
    assert desk.viewer.layers.selection.active is labels


@pytest.mark.parametrize(
    "changes", [{"binning": 2.0}, {"border_sigma": 1.5}, {"class_balance": 1.0}], ids=str
)
def test_the_weight_map_is_that_of_a_training_with_the_settings_of_train(
    painted: tuple[Desk, Labels], changes: dict[str, Any]
) -> None:
    desk, labels = painted
    corrected = annotation_of(labels).corrected = np.zeros(labels.data.shape, bool)
    corrected[20:40, 20:40] = True
    desk.train.form.set_value(desk.train.config().changed(**changes))

    desk.click(desk.annotate.weights_button)
    desk.wait_until_idle()

    config = desk.train.config()
    assert {name: getattr(config, name) for name in changes} == changes
    pairs = ticked_pairs(desk.viewer)
    data = prepare_training(annotated_images(desk.viewer, pairs), config)
    expected = weights_in_image(data, 0, (), labels.data.shape)
    np.testing.assert_array_equal(desk.viewer.layers["paint: weights"].data, expected)
    assert expected[20:40, 20:40].max() > expected[50:].max()


def test_a_second_map_takes_the_layer_of_the_first(painted: tuple[Desk, Labels]) -> None:
    desk, _ = painted
    for _ in range(2):
        desk.click(desk.annotate.weights_button)
        desk.wait_until_idle()

    assert sum("weights" in layer.name for layer in desk.viewer.layers) == 1
