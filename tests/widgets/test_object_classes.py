"""Objects of several classes in the window: a layer of each, painted and found."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from napari.layers import Labels

import napari_unet as nu
from napari_unet.widgets.common.annotation import new_annotation
from napari_unet.widgets.common.copy_to_annotation import AnnotationCopier
from napari_unet.widgets.common.pairs import annotated_images, ticked_pairs
from napari_unet.widgets.predict.measure import MeasurePanel
from napari_unet.widgets.predict.save_objects import writer_of
from training.test_object_classes import QUICK, touching_cells

from .conftest import Desk

NAMES = ("smooth", "striped")


@pytest.fixture
def desk(make_desk: Callable[..., Desk]) -> Desk:
    """Give a window with touching cells of two looks, all painted but for a part."""
    image, layers = touching_cells()
    desk = make_desk(image=image)
    for name, labels in layers.items():
        paint = new_annotation(desk.viewer, desk.image, "object-classes", name)
        paint.data[:] = np.where(labels > 0, labels + 1, 0)
    background = ~np.any([labels > 0 for labels in layers.values()], axis=0)
    paint.data[background] = 1
    paint.refresh()
    desk.train.pairs.reset_choices()
    return desk


def layer_of(desk: Desk, name: str, what: str) -> Labels:
    found = desk.viewer.layers[f"{desk.image.name} {name} {what}"]
    assert isinstance(found, Labels)
    return found


def predicted(desk: Desk) -> list[Labels]:
    image, layers = touching_cells()
    model = nu.train(image, layers, QUICK.changed(steps=100))
    desk.predict._session.set_model(model.trained, "trained")
    desk.click(desk.predict.predict_button)
    desk.wait_until_idle()
    return [layer_of(desk, name, "prediction") for name in NAMES]


def test_layers_of_one_image_are_learned_together(desk: Desk) -> None:
    (image,) = annotated_images(desk.viewer, ticked_pairs(desk.viewer))
    assert image.class_names == NAMES
    assert set(np.unique(image.labels & 15)) == {1, 2}
    assert desk.train.config().kind == "object-classes"


def test_what_is_learned_is_shown_class_by_class(desk: Desk) -> None:
    desk.train_tiny(2)
    desk.click(desk.train.train_button)
    desk.wait_until_idle()
    model = desk.train._session.model
    assert model is not None
    assert model.record.classes.names == NAMES


def test_objects_are_found_class_by_class_measured_and_saved(desk: Desk, tmp_path: Path) -> None:
    smooth, striped = predicted(desk)
    assert np.unique(smooth.data).size == np.unique(striped.data).size == 17
    assert not (smooth.data.astype(bool) & striped.data.astype(bool)).any()

    panel = MeasurePanel(desk.viewer)
    panel.measure_layer(striped)
    desk.wait_until_idle()
    assert set(striped.features["class"]) == {"striped"}
    assert len(striped.features) == 16

    writer_of(desk.viewer, striped)(tmp_path / "cells.geojson")
    written = json.loads((tmp_path / "cells.geojson").read_text())
    features = written["features"] if isinstance(written, dict) else written
    names = {each["properties"]["classification"]["name"] for each in features}
    assert names == {"striped"}


def test_a_correction_goes_to_the_paint_of_its_class(desk: Desk) -> None:
    smooth, _ = predicted(desk)
    inside = smooth.data == smooth.data.max()
    smooth.data[inside] = 0
    assert AnnotationCopier(desk.viewer).copy_corrections() > 0
    assert (layer_of(desk, "smooth", "annotation").data[inside] == 1).all()


def test_a_key_gives_the_object_under_the_mouse_the_next_class(desk: Desk) -> None:
    smooth, striped = (layer_of(desk, name, "annotation") for name in NAMES)
    inside = smooth.data == 2
    desk.annotate.target.annotation_box.layer = smooth
    desk.viewer.cursor.position = tuple(np.argwhere(inside)[0].astype(float))
    before = striped.data.max()
    desk.annotate.change_class()
    assert (smooth.data[inside] == 0).all()
    assert len(np.unique(striped.data[inside])) == 1
    assert striped.data[inside].max() > before
    assert desk.last_notice == "Object 2 is striped now; C again gives it the next class."
    desk.annotate.change_class()
    assert (striped.data[inside] == 0).all()
    assert (smooth.data[inside] > 1).all()


def test_where_no_object_is_pointed_at_nothing_changes(desk: Desk) -> None:
    smooth = layer_of(desk, "smooth", "annotation")
    desk.annotate.target.annotation_box.layer = smooth
    desk.viewer.cursor.position = (0.0, 0.0)
    desk.annotate.change_class()
    assert "Point at a painted object" in desk.last_notice


def test_the_key_is_told_only_where_objects_have_classes(desk: Desk) -> None:
    kinds = desk.annotate.target.kind_box
    assert "next class" in desk.annotate.keys.text()
    kinds.setCurrentIndex(kinds.findData("objects"))
    assert "next class" not in desk.annotate.keys.text()
