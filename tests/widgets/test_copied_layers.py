"""What napari's *Duplicate* makes is a layer of its own: what becomes of one, the other keeps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.components import LayerList
from napari.layers import Labels, Layer

from napari_unet.widgets.common.annotation import annotation_of, annotations_in
from napari_unet.widgets.common.copy_to_annotation import AnnotationCopier
from napari_unet.widgets.common.result_layer import (
    newest_prediction,
    predicted_of,
    result_to_correct,
    shown_result,
)
from napari_unet.widgets.common.stored_layers import show_stored

from .conftest import Desk
from .test_predict import predict_with, untrained
from .test_result_layer import SQUARES, painted_layer, result_of, see


def copy_of(desk: Desk, layer: Layer) -> Any:
    """Do what napari's *Duplicate* does, by what anybody may call."""
    data, state, kind = layer.as_layer_data_tuple()
    copied = Layer.create(np.copy(data), {**state, "name": f"{layer.name} copy"}, kind)
    desk.viewer.layers.insert(desk.viewer.layers.index(layer) + 1, copied)
    return copied


def test_no_one_has_corrected_a_copied_result_when_another_model_finds_others(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    see(monkeypatch, SQUARES[0])
    predict_with(desk, untrained())
    copied = copy_of(desk, result_of(desk))
    see(monkeypatch, *SQUARES[1:])

    predict_with(desk, untrained())

    assert copied.data[SQUARES[0]].all()
    assert AnnotationCopier(desk.viewer).copy_corrections() == 0
    assert annotations_in(desk.viewer) == []


def test_what_is_corrected_in_a_copied_result_is_taught(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    see(monkeypatch, *SQUARES)
    predict_with(desk, untrained())
    copied = copy_of(desk, result_of(desk))

    copied.data_setitem(np.nonzero(copied.data == copied.data[10, 10]), 0)

    assert AnnotationCopier(desk.viewer).copy_corrections() == 16 * 16


def test_a_copied_result_lies_there_in_outlines_and_the_original_is_the_one_that_is_shown(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    see(monkeypatch, *SQUARES)
    predict_with(desk, untrained())
    original = result_of(desk)
    copied = copy_of(desk, original)
    desk.viewer.layers.selection.active = desk.image
    assert copied.contour == original.contour > 0
    assert shown_result(desk.viewer) is newest_prediction(desk.viewer) is original
    assert result_to_correct(desk.viewer) is original


def test_a_result_copied_while_it_is_found_holds_no_corrections(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    see(monkeypatch, *SQUARES)
    predict_with(desk, untrained())
    result = result_of(desk)
    about = predicted_of(result)
    assert about is not None
    about.in_progress, about.labels = True, np.zeros_like(about.labels)

    copied = predicted_of(copy_of(desk, result))

    assert copied is not None
    assert not copied.in_progress
    assert np.array_equal(copied.labels, result.data)


def test_a_copied_annotation_begins_equal_and_is_ticked_for_itself(desk: Desk) -> None:
    original = painted_layer(desk, "classes")
    annotation_of(original).names[2] = "cells"
    copied = copy_of(desk, original)

    desk.train.pairs.tick(copied, used=False)
    annotation_of(copied).names[2] = "nuclei"

    assert annotation_of(copied).image is desk.image
    assert annotation_of(copied).kind == "classes"
    assert annotation_of(original).used
    assert annotation_of(original).names[2] == "cells"


def test_a_copied_layer_of_a_file_stays_when_the_file_is_written_anew(
    desk: Desk, tmp_path: Path
) -> None:
    zarr = pytest.importorskip("zarr")
    zarr.save_array(tmp_path / "a.zarr", np.ones((9, 9), np.uint8))
    copied = copy_of(desk, show_stored(desk.viewer, tmp_path / "a.zarr", "objects", "YX", {}))

    show_stored(desk.viewer, tmp_path / "a.zarr", "objects", "YX", {})

    assert copied in desk.viewer.layers


def test_the_menu_of_napari_copies_as_these_tests_do(desk: Desk) -> None:
    from napari.layers import _layer_actions

    original = painted_layer(desk)
    layers: LayerList = desk.viewer.layers
    layers.selection = {original}

    _layer_actions._duplicate_layer(layers)

    (copied,) = (each for each in layers if isinstance(each, Labels) and each is not original)
    assert annotation_of(copied) is not annotation_of(original)
    assert annotation_of(copied).image is desk.image
