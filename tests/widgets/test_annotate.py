from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_unet.tasks.objects import OBJECTS
from napari_unet.widgets.annotate.coverage import coverage_text, measure_coverage

from .conftest import Desk, disks, strokes_on

pytestmark = pytest.mark.canvas


@pytest.mark.fault(24)
def test_a_new_annotation_covers_an_image_that_is_scaled_and_moved(
    make_desk: Callable[..., Desk],
) -> None:
    desk = make_desk(scale=(0.5, 0.25), translate=(3, 4), units=("um", "um"))

    desk.click(desk.annotate.new_button)

    layer = desk.annotate.target.annotation
    assert layer is not None
    assert layer.data.shape == desk.image.data.shape
    np.testing.assert_array_equal(layer.scale, desk.image.scale)
    np.testing.assert_array_equal(layer.translate, desk.image.translate)
    assert layer.units == desk.image.units


@pytest.mark.fault(22)
def test_a_new_annotation_of_a_colour_image_has_no_channel_axis(
    make_desk: Callable[..., Desk],
) -> None:
    desk = make_desk(np.stack([disks()] * 3, axis=-1), rgb=True)

    desk.click(desk.annotate.new_button)

    assert desk.annotate.target.annotation is not None
    assert desk.annotate.target.annotation.data.shape == (96, 96)


def test_a_new_annotation_takes_the_brush_with_the_first_object(desk: Desk) -> None:
    desk.click(desk.annotate.new_button)

    layer = desk.viewer.layers.selection.active
    assert (layer.mode, layer.selected_label) == ("paint", 2)


def test_a_stroke_of_the_mouse_paints_the_chosen_number(desk: Desk) -> None:
    desk.click(desk.annotate.new_button)

    desk.stroke((12, 12), (12, 30))

    assert desk.annotate.target.annotation is not None
    assert desk.annotate.target.annotation.data[12, 20] == 2


def test_next_object_paints_with_a_number_of_its_own(desk: Desk) -> None:
    desk.click(desk.annotate.new_button)
    desk.stroke((12, 12), (12, 16))

    desk.click(desk.annotate.next_button)
    desk.stroke((60, 12), (60, 16))

    assert desk.annotate.target.annotation is not None
    assert desk.annotate.target.annotation.data[60, 14] == 3


def test_background_is_painted_with_one(desk: Desk) -> None:
    desk.click(desk.annotate.new_button)

    desk.click(desk.annotate.background_button)
    desk.stroke((24, 10), (24, 60))

    assert desk.annotate.target.annotation is not None
    assert set(np.unique(desk.annotate.target.annotation.data)) == {0, 1}


def test_the_eraser_makes_paint_unlabelled_again(desk: Desk) -> None:
    # room for all docks: in a window that is too small the canvas gives way while it is used
    desk.viewer.window._qt_window.resize(1600, 900)
    desk.qtbot.wait(20)
    desk.click(desk.annotate.new_button)
    desk.stroke((12, 12), (12, 16))

    desk.click(desk.annotate.erase_button)
    desk.stroke((12, 8), (12, 20))

    assert desk.annotate.target.annotation is not None
    assert not desk.annotate.target.annotation.data.any()


def test_the_coverage_follows_a_stroke_and_its_undo(desk: Desk) -> None:
    desk.click(desk.annotate.new_button)
    desk.stroke((12, 12), (12, 16))
    desk.qtbot.waitUntil(lambda: "1 objects" in desk.annotate.target.coverage.text())

    assert desk.annotate.target.annotation is not None
    desk.annotate.target.annotation.undo()

    desk.qtbot.waitUntil(lambda: "0 objects" in desk.annotate.target.coverage.text())


def test_without_an_image_a_warning_says_what_to_do(desk: Desk) -> None:
    desk.viewer.layers.clear()

    desk.annotate.target.create()

    assert "Open an image first" in desk.annotate.target.coverage.text()


def test_painting_without_a_layer_says_what_to_click(desk: Desk) -> None:
    desk.annotate.target.painter.paint_background()

    assert "click New annotation" in desk.annotate.target.coverage.text()


@pytest.mark.parametrize(
    ("values", "hint"),
    [
        pytest.param([0], "Paint a few objects", id="nothing"),
        pytest.param([1], "Paint a few objects", id="background only"),
        pytest.param([2, 3], "Background: nothing painted yet", id="objects only"),
        pytest.param([1, 2], "A few more objects", id="one object"),
        pytest.param([1, 2, 3, 4], "Enough to train", id="enough"),
    ],
)
def test_the_coverage_hint_names_what_helps_most(values: list[int], hint: str) -> None:
    assert hint in coverage_text(measure_coverage(np.array([values], np.uint16), OBJECTS), OBJECTS)


def test_unpainted_pixels_of_regions_are_counted_as_background_in_huge_planes_too() -> None:
    labels = np.zeros((3000, 3000), np.uint16)
    labels[100:200, 100:200] = 2

    coverage = measure_coverage(labels, OBJECTS, [(slice(0, 1000), slice(0, 500))])

    assert coverage.step > 1
    assert coverage.pixels_of(1) == pytest.approx(1000 * 500 - 100 * 100, rel=0.01)
    assert coverage.pixels_of(2) == pytest.approx(100 * 100, rel=0.05)


def test_switching_between_annotations_leaves_nothing_behind(desk: Desk) -> None:
    first, second = (desk.viewer.add_labels(strokes_on(disks()), name=name) for name in "ab")
    box = desk.annotate.target.annotation_box
    box.layer = first
    before = len(first.events.paint.callbacks), len(second.events.paint.callbacks)

    for _ in range(5):
        box.layer = second
        box.layer = first

    assert (len(first.events.paint.callbacks), len(second.events.paint.callbacks)) == before


def test_ten_slices_that_nothing_names_may_be_bands_and_are_painted_once(
    make_desk: Callable[..., Desk],
) -> None:
    desk = make_desk(np.stack([disks()] * 10))
    annotate = desk.annotate
    assert annotate.axes_row.currentText() == "TYX (guessed)"
    assert "10 planes, taken for timepoints because nothing names them" in annotate.axes_note.text()

    annotate.axes_row.setCurrentIndex(annotate.axes_row.findData("CYX"))
    annotate.axes_row.activated.emit(annotate.axes_row.currentIndex())
    assert "10 channels, so they are named" in annotate.axes_note.text()
    desk.click(annotate.new_button)

    assert annotate.target.annotation is not None
    assert annotate.target.annotation.data.shape == (96, 96)
    assert not annotate.axes_note.text()


def test_the_axes_that_a_plain_tiff_names_are_asked_for_by_annotate(
    make_desk: Callable[..., Desk], tmp_path: Path
) -> None:
    tifffile.imwrite(
        tmp_path / "bands.tif", np.stack([disks()] * 10), imagej=True, metadata={"axes": "CYX"}
    )
    desk = make_desk()
    (image,) = desk.viewer.open(tmp_path / "bands.tif", plugin="napari")
    desk.annotate.target.image_box.layer = image
    desk.qtbot.waitUntil(lambda: image.axis_labels == ("c", "y", "x"), timeout=60_000)
    assert "choose ZYX or TYX as Axes first" in desk.annotate.axes_note.text()


def test_a_new_annotation_does_not_outrun_what_the_file_says(
    make_desk: Callable[..., Desk], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "bands.tif"
    tifffile.imwrite(path, np.stack([disks()] * 10), imagej=True, metadata={"axes": "CYX"})
    desk = make_desk()
    monkeypatch.setattr(desk.annotate._file_axes._task, "start", lambda work: True)  # never answers
    (image,) = desk.viewer.open(path, plugin="napari")
    desk.annotate.target.image_box.layer = image
    desk.click(desk.annotate.new_button)
    assert desk.annotate.target.annotation is not None
    assert desk.annotate.target.annotation.data.shape == (96, 96)
