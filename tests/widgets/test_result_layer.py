"""One layer shows what is found: live and whole, below the paint, with what was there before."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from napari.layers import Labels
from numpy.typing import NDArray
from qtpy.QtCore import Qt

from napari_unet.data.axes import Region
from napari_unet.data.frames import Frame
from napari_unet.model.execution import Runner
from napari_unet.tasks import FILLED, OUTLINES, task_of
from napari_unet.training.events import ViewPredicted
from napari_unet.widgets.common.annotation import annotation_of
from napari_unet.widgets.common.dock import result_keys
from napari_unet.widgets.common.pairs import LayerPair
from napari_unet.widgets.common.result_layer import bright_colours, first_look, predicted_of
from napari_unet.widgets.common.session import session_of
from napari_unet.widgets.train.run import live_layer

from .conftest import HAND, Desk, disks, strokes_on
from .test_correct import take
from .test_predict import predict_with, untrained

SQUARES = (
    (slice(8, 24), slice(8, 24)),
    (slice(8, 24), slice(40, 56)),
    (slice(60, 76), slice(8, 24)),
)


def see(monkeypatch: pytest.MonkeyPatch, *boxes: tuple[slice, slice]) -> None:
    """Let each network find these boxes."""

    def compute(self: Runner, pixels: object, frame: Frame, region: Region) -> NDArray[Any]:
        seen = np.zeros((96, 96), np.float32)
        for box in boxes:
            seen[box] = 1
        inside = seen[region]
        return np.stack([1 - inside, inside])

    monkeypatch.setattr(Runner, "compute", compute)


@pytest.fixture(autouse=True)
def narrow_bands(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let an image have ten bands, as a large one has."""
    monkeypatch.setattr("napari_unet.data.labels._BAND_PIXELS", 10 * 96)


def result_of(desk: Desk) -> Labels:
    (found,) = (
        each
        for each in desk.viewer.layers
        if isinstance(each, Labels) and predicted_of(each) is not None
    )
    return found


def painted_layer(desk: Desk, kind: str = "objects") -> Labels:
    desk.annotate.target.kind_box.setCurrentIndex(desk.annotate.target.kind_box.findData(kind))
    desk.click(desk.annotate.new_button)
    layer = desk.annotate.target.annotation
    assert layer is not None
    return layer


def live(desk: Desk, annotation: Labels, labels: NDArray[Any]) -> None:
    """Let a training find labels in the upper left corner of the image."""
    box = tuple(slice(0, size) for size in labels.shape)
    event = ViewPredicted(1, 0, (), box, labels, 0.1)
    live_layer(desk.viewer, LayerPair(desk.image, annotation), 2).show_live(event)


def press(desk: Desk, key: str) -> None:
    result_keys(session_of(desk.viewer))[key]()


# --- one layer -----------------------------------------------------------------------------------


def test_live_and_whole_predictions_write_into_one_layer(desk: Desk) -> None:
    annotation = painted_layer(desk)
    live(desk, annotation, np.ones((9, 9), np.uint8))
    shown = result_of(desk)

    predict_with(desk, untrained())
    live(desk, annotation, np.ones((9, 9), np.uint8))

    assert result_of(desk) is shown
    assert shown.visible


def test_classes_have_a_layer_of_their_own(desk: Desk) -> None:
    predict_with(desk, untrained())

    live(desk, painted_layer(desk, "classes"), np.full((9, 9), 2, np.uint8))

    names = [each.name for each in desk.viewer.layers if "prediction" in each.name]
    assert names == ["disks prediction", "disks prediction [1]"]


def test_the_result_lies_between_image_and_paint(desk: Desk) -> None:
    annotation = painted_layer(desk)

    predict_with(desk, untrained())

    layers = list(desk.viewer.layers)
    assert layers == [desk.image, result_of(desk), annotation]


def test_a_result_above_the_paint_goes_below_it_when_predicted_again(desk: Desk) -> None:
    annotation = painted_layer(desk)
    predict_with(desk, untrained())
    desk.viewer.layers.move(1, 3)

    predict_with(desk, untrained())

    assert list(desk.viewer.layers) == [desk.image, result_of(desk), annotation]


def test_a_result_follows_its_image_when_predicted_again(desk: Desk) -> None:
    predict_with(desk, untrained())
    desk.image.scale = (2, 3)

    predict_with(desk, untrained())

    np.testing.assert_array_equal(result_of(desk).scale, (2, 3))


def test_a_hidden_result_is_shown_when_predicted_again(desk: Desk) -> None:
    predict_with(desk, untrained())
    result_of(desk).visible = False

    predict_with(desk, untrained())

    assert result_of(desk).visible


def test_a_result_hidden_while_training_stays_hidden(desk: Desk) -> None:
    annotation = painted_layer(desk)
    live(desk, annotation, np.ones((9, 9), np.uint8))
    result_of(desk).visible = False

    live(desk, annotation, np.ones((9, 9), np.uint8))

    assert not result_of(desk).visible


def test_a_live_object_has_a_number_that_no_other_has(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    annotation = painted_layer(desk)
    see(monkeypatch, *SQUARES)
    predict_with(desk, untrained())
    found = np.zeros((30, 30), np.uint8)
    found[0:4, 0:4], found[8:24, 8:24] = 1, 2

    live(desk, annotation, found)

    shown = result_of(desk).data
    assert len(np.unique(shown)) == 5
    assert shown[2, 2] == 4
    assert shown[10, 10] == 1  # the number, and so the colour, that it had


# --- corrections ---------------------------------------------------------------------------------


def test_a_deleted_object_stays_away_when_predicted_again(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    see(monkeypatch, *SQUARES)
    predict_with(desk, untrained())
    layer = result_of(desk)
    layer.data[SQUARES[0]] = 0

    predict_with(desk, untrained())

    assert not layer.data[SQUARES[0]].any()
    assert layer.data[SQUARES[1]].all()


def test_kept_corrections_can_still_be_taught(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    annotation = painted_layer(desk)
    see(monkeypatch, *SQUARES)
    predict_with(desk, untrained())
    result_of(desk).data[SQUARES[0]] = 0
    predict_with(desk, untrained())

    desk.click(desk.predict.correct.teach_button)

    assert (annotation.data[SQUARES[0]] == 1).all()


def test_what_was_taught_is_not_taught_again_after_a_prediction(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    painted_layer(desk)
    see(monkeypatch, *SQUARES)
    predict_with(desk, untrained())
    result_of(desk).data[SQUARES[0]] = 0
    desk.click(desk.predict.correct.teach_button)
    predict_with(desk, untrained())

    desk.click(desk.predict.correct.teach_button)

    assert "Nothing was corrected" in desk.last_notice


@pytest.mark.canvas
@pytest.mark.parametrize("tool", ["delete", "merge", "split", "copy_object"])
def test_no_tool_is_taken_for_hidden_cells(desk: Desk, tool: str) -> None:
    predict_with(desk, untrained())
    result_of(desk).visible = False

    take(desk, tool)

    assert not desk.predict.correct.buttons[tool].isChecked()
    assert desk.predict.correct.text.text().startswith("The cells are hidden")


@pytest.mark.canvas
def test_a_tool_in_hand_does_nothing_once_the_cells_are_hidden(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    see(monkeypatch, *SQUARES)
    predict_with(desk, untrained())
    take(desk, "delete")
    press(desk, "H")
    press(desk, "H")

    desk.stroke((12, 12), (12, 12))

    assert result_of(desk).data[12, 12] > 0
    assert desk.predict.correct.text.text().startswith("The cells are hidden")


@pytest.mark.canvas
def test_undo_after_taking_over_undoes_that(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    annotation = painted_layer(desk)
    see(monkeypatch, *SQUARES)
    predict_with(desk, untrained())
    take(desk, "delete")
    desk.stroke((12, 12), (12, 12))
    take(desk, "copy_object")
    desk.stroke((12, 48), (12, 48))
    assert annotation.data.any()

    native = desk.viewer.window._qt_viewer.canvas.native
    HAND.keyClick(native, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    desk.qtbot.wait(50)

    assert not annotation.data.any()
    assert not result_of(desk).data[SQUARES[0]].any()  # the deletion stays


# --- results that were there before --------------------------------------------------------------


@pytest.fixture
def two_results(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """Three objects were found, then one."""
    see(monkeypatch, *SQUARES)
    predict_with(desk, untrained())
    see(monkeypatch, SQUARES[1])
    predict_with(desk, untrained())
    return desk


def test_a_second_result_tells_what_changed_and_the_way_back(two_results: Desk) -> None:
    text = two_results.predict.status.text()
    assert text.startswith("Done. 3 → 1 objects. The comma key brings the earlier result back.")


def test_comma_and_full_stop_go_through_the_results(two_results: Desk) -> None:
    layer = result_of(two_results)
    press(two_results, ",")
    earlier = layer.data.max()
    told = two_results.predict.status.text()
    press(two_results, ".")

    assert (earlier, layer.data.max()) == (3, 1)
    assert told == "Result 1 of 2: 1 → 3 objects."


def test_before_the_first_result_there_is_nothing(two_results: Desk) -> None:
    press(two_results, ",")
    press(two_results, ",")

    assert result_of(two_results).data.max() == 3
    assert two_results.predict.status.text().startswith("There is no earlier result")


def test_a_result_that_was_gone_back_to_is_not_lost_by_the_next(
    two_results: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    press(two_results, ",")
    see(monkeypatch, *SQUARES[:2])
    predict_with(two_results, untrained())

    press(two_results, ",")
    counts = [result_of(two_results).data.max()]
    press(two_results, ",")
    counts.append(result_of(two_results).data.max())

    assert sorted(counts) == [1, 3]


def test_corrections_come_back_with_their_result(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    see(monkeypatch, *SQUARES)
    predict_with(desk, untrained())
    layer = result_of(desk)
    layer.data[SQUARES[0]] = 0
    predict_with(desk, untrained())
    layer.data[SQUARES[1]] = 0

    press(desk, ",")

    predicted = predicted_of(layer)
    assert predicted is not None
    assert layer.data[SQUARES[1]].all()
    assert (predicted.labels != layer.data)[SQUARES[0]].all()


def test_a_training_does_not_lose_the_result_before_it(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    annotation = painted_layer(desk)
    see(monkeypatch, *SQUARES)
    predict_with(desk, untrained())
    live(desk, annotation, np.zeros((30, 96), np.uint8))
    live(desk, annotation, np.zeros((30, 96), np.uint8))
    layer = result_of(desk)
    predicted = predicted_of(layer)
    assert predicted is not None
    press(desk, ",")
    assert "stop that first" in desk.predict.status.text()

    predicted.end_live()  # as at its end
    press(desk, ",")

    assert layer.data.max() == 3
    assert not predicted.earlier


def test_what_a_training_writes_over_is_copied_part_by_part(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    annotation = painted_layer(desk)
    see(monkeypatch, *SQUARES)
    predict_with(desk, untrained())
    layer = result_of(desk)
    layer.data[SQUARES[2]] = 0  # a correction
    before = np.array(layer.data)
    predicted = predicted_of(layer)
    assert predicted is not None
    as_predicted = predicted.labels.copy()

    for _ in range(2):
        live(desk, annotation, np.zeros((15, 96), np.uint8))
    assert predicted.replaced is not None
    assert len(predicted.replaced._left) == 6  # of ten: two are written over, and one each time
    predicted.end_live()

    kept = predicted.earlier[-1]
    np.testing.assert_array_equal(kept.shown, before)
    np.testing.assert_array_equal(kept.predicted, as_predicted)


@pytest.mark.parametrize("corrected", [False, True])
def test_what_was_written_over_comes_back_where_a_prediction_fails(
    corrected: bool, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    annotation = painted_layer(desk)
    see(monkeypatch, *SQUARES)
    predict_with(desk, untrained())
    layer = result_of(desk)
    if corrected:
        layer.data[SQUARES[0]] = 0
    predicted = predicted_of(layer)
    assert predicted is not None
    before, as_predicted = np.array(layer.data), predicted.labels.copy()
    writing = live_layer(desk.viewer, LayerPair(desk.image, annotation), 2)

    writing.begin()
    writing.settle((), (slice(0, 45), slice(0, 96)), np.full((45, 96), 7, np.int32))
    assert not np.array_equal(layer.data, before)
    writing.undo()

    np.testing.assert_array_equal(layer.data, before)
    np.testing.assert_array_equal(predicted.labels, as_predicted)
    assert layer.editable


def test_few_results_are_kept(desk: Desk) -> None:
    for _ in range(7):
        predict_with(desk, untrained())

    predicted = predicted_of(result_of(desk))
    assert predicted is not None
    assert len(predicted.earlier) == 4


def test_undo_never_reaches_into_another_result(two_results: Desk) -> None:
    layer = result_of(two_results)
    layer.data_setitem((np.array([1]), np.array([1])), 9)
    press(two_results, ",")

    layer.undo()

    assert layer.data.max() == 3
    assert layer.data[1, 1] == 0


# --- looks ---------------------------------------------------------------------------------------


def test_objects_come_as_outlines_of_two_pixels(desk: Desk) -> None:
    predict_with(desk, untrained())
    assert (result_of(desk).contour, result_of(desk).opacity) == (2, 1)


def test_classes_come_filled_at_40_percent(desk: Desk) -> None:
    live(desk, painted_layer(desk, "classes"), np.full((9, 9), 2, np.uint8))
    assert (result_of(desk).contour, result_of(desk).opacity) == (0, 0.4)


def test_classes_come_in_16_bits_whose_colours_napari_need_not_look_up(desk: Desk) -> None:
    live(desk, painted_layer(desk, "classes"), np.full((9, 9), 65535, np.int32))
    assert result_of(desk).data.dtype == np.uint16
    assert result_of(desk).data[4, 4] == 65535


def test_a_class_with_a_larger_number_keeps_it(desk: Desk) -> None:
    paint = painted_layer(desk, "classes")
    paint.data = np.where(np.indices(paint.data.shape)[0] < 9, 70_000, 0)
    live(desk, paint, np.full((9, 9), 70_000, np.int32))
    assert result_of(desk).data[4, 4] == 70_000


def test_of_a_large_plane_no_outlines_are_computed() -> None:
    objects, plane = task_of("objects"), (2048, 2049)
    assert first_look(objects, plane) == FILLED
    assert first_look(objects, (90, 2048, 2048)) == OUTLINES


def test_h_goes_from_outlines_to_filled_to_hidden(desk: Desk) -> None:
    predict_with(desk, untrained())
    looks = []
    for _ in range(3):
        press(desk, "H")
        layer = result_of(desk)
        looks.append((layer.visible, layer.contour, layer.opacity))

    assert looks == [(True, 0, 0.4), (False, 0, 0.4), (True, 2, 1)]


def test_keys_without_a_result_say_so(desk: Desk) -> None:
    press(desk, "H")
    assert desk.predict.status.text() == "There is no result yet."


@pytest.mark.canvas
def test_the_keys_work_on_the_canvas(desk: Desk) -> None:
    predict_with(desk, untrained())

    desk.viewer.window._qt_window.activateWindow()
    native = desk.viewer.window._qt_viewer.canvas.native
    desk.qtbot.waitUntil(native.isActiveWindow)
    native.setFocus()
    HAND.keyClick(native, Qt.Key.Key_H)
    desk.qtbot.wait(50)

    assert result_of(desk).contour == 0


def test_outlines_are_seen_on_black_and_on_white() -> None:
    colours = bright_colours().colors[1:, :3].astype(float)
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    luminance = linear @ [0.2126, 0.7152, 0.0722]
    assert ((luminance + 0.05) / 0.05).min() >= 5.9
    assert (1.05 / (luminance + 0.05)).min() >= 1.6


def test_a_class_that_was_not_named_yet_has_its_colour(desk: Desk) -> None:
    annotation = painted_layer(desk, "classes")
    assert 5 not in annotation_of(annotation).names

    live(desk, annotation, np.full((9, 9), 5, np.uint8))

    np.testing.assert_allclose(
        result_of(desk).get_color(5), to_rgba(annotation_of(annotation).colour_of(5)), atol=1e-3
    )


def test_a_class_that_is_recoloured_is_so_in_the_result(desk: Desk) -> None:
    annotation = painted_layer(desk, "classes")
    live(desk, annotation, np.full((9, 9), 2, np.uint8))

    desk.annotate.target.painter.recolour(2, "#ff0000")

    np.testing.assert_allclose(result_of(desk).get_color(2), (1, 0, 0, 1), atol=1e-3)


def to_rgba(colour: str) -> tuple[float, ...]:
    return (*(int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)), 1)


@pytest.mark.canvas
def test_the_second_round_shows_both_stroke_and_live_outline(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After Everything, what is painted and what is found live are both seen in the window."""
    annotation = painted_layer(desk)
    see(monkeypatch, (slice(0, 96), slice(0, 96)))
    predict_with(desk, untrained())
    desk.image.visible = False
    found = np.zeros((96, 96), np.uint8)
    found[SQUARES[1]] = 1

    live(desk, annotation, found)
    annotation.data[60:76, 8:24] = 1
    annotation.refresh()
    desk.qtbot.wait(100)

    picture = desk.viewer.screenshot(canvas_only=True, flash=False)[..., :3].astype(int)
    blue = np.asarray(annotation.get_color(1))[:3] * 255 * annotation.opacity
    outline = np.asarray(result_of(desk).get_color(result_of(desk).data[10, 50]))[:3] * 255
    for colour in (blue, outline):
        assert (np.abs(picture - colour).max(axis=-1) < 12).sum() > 20


def test_the_result_of_a_stack_goes_back_in_all_planes(
    make_desk: Callable[..., Desk], monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = make_desk(np.stack([disks()] * 3))
    see(monkeypatch, *SQUARES)
    predict_with(desk, untrained())
    see(monkeypatch, SQUARES[0])
    desk.click(desk.predict.slice_button)
    desk.wait_until_idle()
    counts = [[len(np.unique(plane)) - 1 for plane in result_of(desk).data]]

    press(desk, ",")
    counts.append([len(np.unique(plane)) - 1 for plane in result_of(desk).data])

    assert sorted(counts[0]) == [1, 3, 3]
    assert counts[1] == [3, 3, 3]


def test_the_result_comes_above_labels_from_a_file(desk: Desk, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "truth.tif", strokes_on(disks()))
    (truth,) = desk.viewer.open(tmp_path / "truth.tif", layer_type="labels", plugin="napari")

    predict_with(desk, untrained())

    assert list(desk.viewer.layers) == [desk.image, truth, result_of(desk)]
