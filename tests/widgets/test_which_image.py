"""Which image a labels layer is of: by name among equals, and only where it lies over it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Labels

from napari_unet.project.folder import load_project, save_project
from napari_unet.widgets.common.annotation import (
    annotation_of,
    covers,
    image_for,
    lay_on,
    new_annotation,
    question_about,
)
from napari_unet.widgets.common.copy_to_annotation import AnnotationCopier
from napari_unet.widgets.common.layers import METADATA_KEY
from napari_unet.widgets.common.pairs import LayerPair, PairsTable, annotated_image, every_pair
from napari_unet.widgets.common.regions import new_regions_layer, regions_of
from napari_unet.widgets.common.result_layer import Predicted
from napari_unet.widgets.models.projects import open_project, whole_project_of

from .conftest import Desk, disks, strokes_on

IMAGE = np.zeros((32, 40), np.uint8)
UNCLEAR = "Choose its image in the Train widget, under 'painted on'."


def paint(*shape: int) -> Any:
    labels = np.zeros(shape or IMAGE.shape, np.uint16)
    labels[4:8, 6:12] = 2
    return labels


def opened(images: dict[str, dict[str, Any]]) -> Any:
    viewer = ViewerModel()
    for name, placement in images.items():
        viewer.add_image(IMAGE, name=name, **placement)
    return viewer


def box_of(viewer: Any, layer: Labels) -> Any:
    table = PairsTable(viewer)
    row = [each for each in viewer.layers if isinstance(each, Labels)].index(layer)
    return table, table.cellWidget(row, 1)


# --- among equals the name decides ----------------------------------------------------------------


@pytest.mark.parametrize(
    "masks", [("a_mask", "b_mask"), ("b cells", "a cells"), ("mask of a", "mask of b")]
)
def test_two_masks_belong_to_the_images_whose_names_they_contain(masks: tuple[str, str]) -> None:
    viewer = opened({"a": {}, "b": {}})
    layers = [viewer.add_labels(paint(), name=name) for name in masks]

    found = {layer.name: image_for(viewer, layer) for layer in layers}

    assert {name: image and image.name for name, image in found.items()} == {
        name: next(each for each in "ab" if each in name.replace("mask", "").split(" cells")[0])
        for name in masks
    }


def test_two_masks_that_are_numbered_as_the_images_are_pair_by_number() -> None:
    viewer = opened({"img1": {}, "img10": {}})
    ten, one = (viewer.add_labels(paint(), name=name) for name in ("lbl010", "lbl001"))

    assert [image_for(viewer, each) for each in (one, ten)] == list(viewer.layers[:2])


def test_of_two_images_of_a_shape_none_is_taken_where_no_name_tells() -> None:
    viewer = opened({"red": {}, "green": {}})
    layer = viewer.add_labels(paint(), name="Labels")

    assert image_for(viewer, layer) is None
    assert question_about(viewer, layer) == (
        f"'Labels' may be painted on 'red' or 'green'. {UNCLEAR}"
    )


def test_an_image_that_is_chosen_for_a_layer_stays_so(qapp: object) -> None:
    viewer = opened({"red": {}, "green": {}})
    layer = viewer.add_labels(paint(), name="Labels")
    table, box = box_of(viewer, layer)
    assert box.currentIndex() == -1

    box.setCurrentIndex(0)

    assert image_for(viewer, layer) is viewer.layers["red"]
    assert table.pairs() == (LayerPair(viewer.layers["red"], layer),)


# --- it lies where its image lies -----------------------------------------------------------------


def test_of_two_images_side_by_side_a_mask_is_of_the_one_below_it() -> None:
    viewer = opened({"left": {}, "right": {"translate": (0, 40)}})
    right = viewer.add_labels(paint(), name="x", translate=(0, 40))
    left = viewer.add_labels(paint(), name="y")

    assert image_for(viewer, left) is viewer.layers["left"]
    assert image_for(viewer, right) is viewer.layers["right"]


@pytest.mark.parametrize(
    "placement",
    [{"translate": (12, 0)}, {"scale": (2, 2)}, {"rotate": 90}, {"translate": (0.5, 0)}],
    ids=lambda placement: next(iter(placement)),
)
def test_a_layer_that_lies_elsewhere_is_not_learned_by_index(placement: dict[str, Any]) -> None:
    viewer = opened({"cells": {}})
    layer = viewer.add_labels(paint(), name="Labels", **placement)

    assert every_pair(viewer) == ()
    assert question_about(viewer, layer) == (
        "'Labels' has the shape of 'cells', but lies elsewhere, or its pixels have another size. "
        f"{UNCLEAR}"
    )


def test_less_than_half_a_pixel_is_no_elsewhere() -> None:
    viewer = opened({"cells": {"scale": (0.5, 0.5)}})
    layer = viewer.add_labels(paint(), scale=(0.5, 0.5), translate=(0.2, 0))

    assert image_for(viewer, layer) is viewer.layers["cells"]


def test_the_same_place_in_another_unit_is_the_same_place() -> None:
    viewer = opened({"cells": {"scale": (0.5, 0.5), "units": ("um", "um")}})
    layer = viewer.add_labels(paint(), scale=(500, 500), units=("nm", "nm"))

    assert image_for(viewer, layer) is viewer.layers["cells"]


def test_what_is_seen_over_an_image_is_learned_there_when_that_is_chosen(qapp: object) -> None:
    viewer = opened({"cells": {"scale": (0.5, 0.5)}})
    layer = viewer.add_labels(paint(), scale=(0.5, 0.5), translate=(6, -1))
    _, box = box_of(viewer, layer)
    assert [box.itemText(n) for n in range(2)] == [
        "cells, where it is seen",
        "cells, pixel by pixel",
    ]

    box.setCurrentIndex(0)

    (pair,) = every_pair(viewer)
    expected = np.zeros_like(IMAGE)
    expected[16:20, 4:10] = 2
    np.testing.assert_array_equal(annotated_image(viewer, pair).labels, expected)


def test_a_mask_without_a_pixel_size_is_laid_on_its_image_pixel_by_pixel(qapp: object) -> None:
    viewer = opened({"cells": {"scale": (0.5, 0.5), "units": ("um", "um")}})
    layer = viewer.add_labels(paint(), name="mask")
    _, box = box_of(viewer, layer)

    box.setCurrentIndex(1)

    (pair,) = every_pair(viewer)
    np.testing.assert_array_equal(annotated_image(viewer, pair).labels, paint())
    assert tuple(layer.scale) == (0.5, 0.5)


@pytest.mark.parametrize(("placement", "turned"), [({"scale": (2, 2)}, 0), ({"rotate": 90}, 1)])
def test_labels_of_other_pixels_are_taken_from_the_nearest(
    placement: dict[str, Any], turned: int
) -> None:
    viewer = opened({"cells": {}})
    layer = viewer.add_labels(paint(), **placement)
    world = layer.data_to_world((5, 7))

    lay_on(viewer, layer, viewer.layers["cells"], as_seen=True)

    inside = all(0 <= at < size for at, size in zip(world, IMAGE.shape, strict=True))
    assert inside is not bool(turned)
    if inside:
        assert layer.data[tuple(int(at) for at in world)] == 2
        assert np.count_nonzero(layer.data) == 4 * 24


def test_paint_goes_along_when_its_image_gets_a_pixel_size() -> None:
    viewer = opened({"cells": {}})
    image = viewer.layers["cells"]
    layer = new_annotation(viewer, image)
    regions = new_regions_layer(viewer, layer)
    regions.add_rectangles(np.array([[2, 2], [2, 9], [9, 9], [9, 2]]))
    before = regions_of(viewer, layer)
    assert image_for(viewer, layer) is image

    viewer.layers["cells"].scale = (0.25, 0.25)

    assert image_for(viewer, layer) is image
    assert tuple(layer.scale) == (0.25, 0.25)
    assert regions_of(viewer, layer) == before


def test_paint_that_was_moved_off_its_image_is_asked_about() -> None:
    viewer = opened({"cells": {}})
    layer = new_annotation(viewer, viewer.layers["cells"])
    assert image_for(viewer, layer) is viewer.layers["cells"]

    layer.translate = (12, 0)

    assert image_for(viewer, layer) is None
    assert "lies elsewhere" in question_about(viewer, layer)


# --- every tool that lets labels meet an image ----------------------------------------------------


def test_a_training_tells_of_paint_that_it_leaves_out(desk: Desk) -> None:
    desk.viewer.add_labels(strokes_on(disks()), name="paint")
    desk.viewer.add_labels(strokes_on(disks()), name="elsewhere", translate=(12, 0))
    desk.train_tiny(2)

    desk.click(desk.train.train_button)
    assert desk.last_notice.startswith("Not learned yet: 'elsewhere' has the shape of 'disks'")
    desk.wait_until_idle()


def test_a_training_on_nothing_else_asks_for_the_image(desk: Desk) -> None:
    desk.viewer.add_labels(strokes_on(disks()), name="elsewhere", translate=(12, 0))

    desk.click(desk.train.train_button)

    assert desk.last_notice.endswith(UNCLEAR)


def test_corrections_do_not_go_into_paint_that_lies_elsewhere(desk: Desk) -> None:
    elsewhere = desk.viewer.add_labels(np.zeros((96, 96), np.uint16), translate=(12, 0))
    predicted = Predicted(np.zeros((96, 96), np.int32), 2)
    predicted.image = desk.image
    labels = np.zeros((96, 96), np.int32)
    labels[10:20, 10:20] = 1
    desk.viewer.add_layer(Labels(labels, metadata={METADATA_KEY: predicted}))

    assert AnnotationCopier(desk.viewer).copy_corrections() == 100
    assert not elsewhere.data.any()


def test_the_docks_do_not_paint_by_index_in_a_layer_that_lies_elsewhere(desk: Desk) -> None:
    desk.viewer.add_labels(strokes_on(disks()), name="elsewhere", translate=(12, 0))
    target = desk.annotate.target

    assert target.annotation is None
    desk.qtbot.waitUntil(lambda: "lies elsewhere" in target.coverage.text(), timeout=5000)

    target.image_box.activated.emit(0)

    assert target.annotation is desk.viewer.layers["elsewhere"]
    assert covers(desk.viewer.layers["elsewhere"], desk.image)


def test_paint_of_a_closed_image_is_not_learned_on_another_one_of_its_size(qapp: object) -> None:
    viewer = ViewerModel()
    image = viewer.add_image(disks(), name="mine")
    paint = new_annotation(viewer, image)
    paint.name = "paint"
    viewer.layers.remove(image)

    viewer.add_image(disks()[::-1], name="other")
    assert image_for(viewer, paint) is None
    assert "may be painted on 'other'" in question_about(viewer, paint)

    again = viewer.add_image(disks(), name="mine")
    assert image_for(viewer, paint) is again


def test_another_image_is_painted_in_its_own_layer(desk: Desk) -> None:
    other = desk.viewer.add_image(disks(), name="other")
    layers = [new_annotation(desk.viewer, image) for image in (desk.image, other)]
    target = desk.annotate.target

    for image, layer in zip((desk.image, other), layers, strict=True):
        target.image_box.layer = image
        assert target.annotation is layer


def test_a_layer_that_is_chosen_to_paint_in_shows_its_image(desk: Desk) -> None:
    other = desk.viewer.add_image(disks(), name="other")
    layers = [new_annotation(desk.viewer, image) for image in (desk.image, other)]
    target = desk.annotate.target

    for image, layer in zip((desk.image, other), layers, strict=True):
        target.annotation_box.layer = layer
        assert (target.image, target.annotation) == (image, layer)


def test_labels_are_not_compared_with_a_truth_that_lies_elsewhere(desk: Desk) -> None:
    desk.viewer.add_labels(strokes_on(disks()), name="truth", translate=(12, 0))
    predicted = Predicted(np.zeros((96, 96), np.int32), 2)
    desk.viewer.add_layer(
        Labels(predicted.labels.copy(), name="found", metadata={METADATA_KEY: predicted})
    )

    desk.click(desk.predict.compare.compare_button)

    assert desk.predict.compare.text.text().startswith("truth lies elsewhere than found")


def test_objects_that_lie_elsewhere_are_measured_without_intensities(desk: Desk) -> None:
    layer = desk.viewer.add_labels(strokes_on(disks()), name="elsewhere", translate=(12, 0))

    desk.predict.measure.measure_layer(layer)
    assert desk.last_notice.startswith("Measured without intensities: 'elsewhere' has the shape")
    desk.wait_until_idle()

    assert len(layer.features)
    assert not [name for name in layer.features.columns if "intensity" in name]


def test_paint_on_an_image_with_channels_lies_over_it_in_a_reopened_project(
    tmp_path: Path, make_viewer: Callable[[], Any]
) -> None:
    viewer = make_viewer()
    names = ("c", "y", "x")
    image = viewer.add_image(np.zeros((2, 32, 40)), axis_labels=names, scale=(1, 0.5, 0.5))
    new_annotation(viewer, image).data = paint()
    save_project(whole_project_of(viewer), tmp_path)

    other = make_viewer()
    open_project(other, load_project(tmp_path))

    (pair,) = every_pair(other)
    assert tuple(pair.annotation.scale) == (0.5, 0.5)


def test_paint_of_no_clear_image_is_in_the_project(
    tmp_path: Path, make_viewer: Callable[[], Any]
) -> None:
    viewer = make_viewer()
    viewer.add_image(IMAGE, name="red")
    viewer.add_labels(paint(), name="Labels", translate=(12, 3))
    save_project(whole_project_of(viewer), tmp_path)

    other = make_viewer()
    open_project(other, load_project(tmp_path))

    assert [type(each) for each in other.layers] == [Image, Labels]
    assert tuple(other.layers["Labels"].translate) == (12, 3)
    np.testing.assert_array_equal(other.layers["Labels"].data, paint())
    assert annotation_of(other.layers["Labels"]).image is None
