"""Correct a prediction with the mouse, undo it, teach it."""

from __future__ import annotations

import numpy as np
import pytest
from napari.layers import Labels

from napari_unet.widgets.common.annotation import annotation_of
from napari_unet.widgets.common.layers import METADATA_KEY
from napari_unet.widgets.common.result_layer import Predicted
from napari_unet.widgets.common.session import session_of

from .conftest import Desk, disks, strokes_on

pytestmark = pytest.mark.canvas


def predicted(desk: Desk, kind: str = "objects") -> Labels:
    """Three predicted objects, or classes: two squares that touch, and a bar."""
    labels = np.zeros((96, 96), np.int32)
    labels[10:30, 10:30] = 1
    labels[10:30, 30:50] = 2
    labels[60:70, 10:80] = 3
    result = Predicted(labels.copy(), 2, kind)
    result.image = desk.image
    layer = Labels(labels, name="disks prediction", metadata={METADATA_KEY: result})
    desk.viewer.add_layer(layer)
    desk.qtbot.wait(50)
    return layer


def take(desk: Desk, tool: str) -> None:
    desk.click(desk.predict.correct.buttons[tool])


def numbers(layer: Labels) -> set[int]:
    return set(np.unique(layer.data).tolist())


def test_a_clicked_object_is_deleted(desk: Desk) -> None:
    layer = predicted(desk)
    take(desk, "delete")

    desk.stroke((20, 20), (20, 20))

    assert numbers(layer) == {0, 2, 3}


def test_objects_are_merged_by_a_drag(desk: Desk) -> None:
    layer = predicted(desk)
    take(desk, "merge")

    desk.stroke((20, 20), (20, 40))

    assert numbers(layer) == {0, 1, 3}
    assert (layer.data[10:30, 10:50] == 1).all()


def test_an_object_is_split_along_a_line(desk: Desk) -> None:
    layer = predicted(desk)
    take(desk, "split")

    desk.stroke((52, 45), (78, 45))

    left, right = layer.data[65, 15], layer.data[65, 75]
    assert left != right
    assert 3 in (left, right)
    assert (layer.data[60:70, 10:80] > 0).all()


def test_an_object_grows_by_a_pixel(desk: Desk) -> None:
    layer = predicted(desk)
    take(desk, "grow")

    desk.stroke((65, 40), (65, 40))

    assert layer.data[59, 40] == 3
    assert layer.data[58, 40] == 0


@pytest.mark.parametrize(
    ("tool", "start", "end"),
    [
        ("delete", (20, 20), (20, 20)),
        ("merge", (20, 20), (20, 40)),
        ("split", (52, 45), (78, 45)),
        ("grow", (65, 40), (65, 40)),
    ],
)
def test_every_correction_is_undone_in_one_step(
    desk: Desk, tool: str, start: tuple[float, float], end: tuple[float, float]
) -> None:
    layer = predicted(desk)
    before = layer.data.copy()
    take(desk, tool)
    desk.stroke(start, end)
    assert not np.array_equal(layer.data, before)

    layer.undo()

    np.testing.assert_array_equal(layer.data, before)


def test_an_object_is_taken_over_into_the_annotation(desk: Desk) -> None:
    desk.click(desk.annotate.new_button)
    annotation = desk.annotate.target.annotation
    assert annotation is not None
    layer = predicted(desk)
    take(desk, "copy_object")

    desk.stroke((20, 20), (20, 20))

    np.testing.assert_array_equal(annotation.data > 1, layer.data == 1)
    annotation.undo()
    assert not annotation.data.any()


def test_the_brush_takes_over_what_it_touches_in_one_undo(desk: Desk) -> None:
    desk.click(desk.annotate.new_button)
    annotation = desk.annotate.target.annotation
    assert annotation is not None
    predicted(desk)
    take(desk, "copy")

    desk.stroke((35, 20), (20, 20))

    assert annotation.data[20, 20] > 1
    assert annotation.data[35, 20] == 1
    annotation.undo()
    assert not annotation.data.any()


def test_without_an_annotation_one_is_made(desk: Desk) -> None:
    predicted(desk)
    take(desk, "copy_object")

    desk.stroke((20, 20), (20, 20))

    assert (desk.viewer.layers["disks annotation"].data[20, 20]) > 1


def test_teaching_copies_corrected_objects_and_marks_them(desk: Desk) -> None:
    desk.click(desk.annotate.new_button)
    annotation = desk.annotate.target.annotation
    assert annotation is not None
    predicted(desk)
    take(desk, "delete")
    desk.stroke((65, 40), (65, 40))

    desk.click(desk.predict.correct.teach_button)

    assert (annotation.data[60:70, 10:80] == 1).all()
    corrected = annotation_of(annotation).corrected
    assert corrected is not None
    assert corrected[65, 40]
    assert not corrected[20, 20]


def test_corrections_are_taught_once(desk: Desk) -> None:
    desk.click(desk.annotate.new_button)
    predicted(desk)
    take(desk, "delete")
    desk.stroke((65, 40), (65, 40))
    desk.click(desk.predict.correct.teach_button)

    desk.click(desk.predict.correct.teach_button)

    assert "Nothing was corrected" in desk.last_notice


@pytest.mark.slow
def test_continue_learns_the_corrections(painted: tuple[Desk, Labels]) -> None:
    desk, labels = painted
    desk.click(desk.train.train_button)
    desk.wait_until_idle()
    predicted(desk)
    take(desk, "delete")
    desk.stroke((65, 40), (65, 40))

    desk.click(desk.train.continue_button)
    desk.wait_until_idle()

    trained = session_of(desk.viewer).trained
    assert trained is not None
    frame = trained.data.frames[0]
    assert frame.corrected is not None
    assert labels.data[65, 40] == 1
    assert frame.weights[65, 40] > 1


def test_a_tool_is_put_down_by_a_second_click(desk: Desk) -> None:
    layer = predicted(desk)
    take(desk, "delete")
    take(desk, "delete")

    desk.stroke((20, 20), (20, 20))

    assert numbers(layer) == {0, 1, 2, 3}


def test_taking_the_brush_of_napari_puts_the_tool_down(desk: Desk) -> None:
    layer = predicted(desk)
    take(desk, "delete")

    layer.mode = "paint"

    assert not any(button.isChecked() for button in desk.predict.correct.buttons.values())


def test_a_click_beside_all_objects_says_so(desk: Desk) -> None:
    predicted(desk)
    take(desk, "delete")

    desk.stroke((90, 90), (90, 90))

    assert "no cell under the mouse" in desk.predict.correct.text.text()


def test_without_a_prediction_it_says_what_to_click(desk: Desk) -> None:
    desk.viewer.add_labels(strokes_on(disks()), name="paint")

    take(desk, "delete")

    assert "no cells to correct" in desk.predict.correct.text.text()


def test_of_a_class_only_the_part_under_the_mouse_is_deleted(desk: Desk) -> None:
    layer = predicted(desk, "classes")
    layer.data[80:90, 10:20] = 3
    take(desk, "delete")

    desk.stroke((65, 40), (65, 40))

    assert not layer.data[60:70].any()
    assert (layer.data[80:90, 10:20] == 3).all()


def test_classes_are_taught_with_the_values_they_have(desk: Desk) -> None:
    box = desk.annotate.target.kind_box
    box.setCurrentIndex(box.findData("classes"))
    desk.click(desk.annotate.new_button)
    annotation = desk.annotate.target.annotation
    assert annotation is not None
    layer = predicted(desk, "classes")
    layer.data_setitem((np.array([0, 1]), np.array([0, 0])), 3)

    desk.click(desk.predict.correct.teach_button)

    assert annotation.data[0, 0] == 3
    assert np.count_nonzero(annotation.data) == 2


def test_the_prediction_of_a_closed_image_says_to_open_it(desk: Desk) -> None:
    predicted(desk)
    desk.viewer.layers.remove(desk.image)
    take(desk, "copy_object")

    desk.stroke((20, 20), (20, 20))

    assert "is closed: open it again" in desk.predict.correct.text.text()


def test_what_is_still_being_predicted_is_neither_taught_nor_corrected(desk: Desk) -> None:
    desk.click(desk.annotate.new_button)
    annotation = desk.annotate.target.annotation
    assert annotation is not None
    layer = predicted(desk)
    layer.metadata[METADATA_KEY].in_progress = True
    layer.data[:] = 1

    desk.click(desk.predict.correct.teach_button)
    take(desk, "delete")

    assert not annotation.data.any()
    assert "still being found" in desk.predict.correct.text.text()


def test_a_cancelled_second_prediction_teaches_nothing(painted: tuple[Desk, Labels]) -> None:
    desk, labels = painted
    desk.click(desk.train.train_button)
    desk.wait_until_idle()
    before = labels.data.copy()
    desk.click(desk.predict.predict_button)
    desk.wait_until_idle()
    desk.click(desk.predict.predict_button)
    desk.predict.cancel()
    desk.wait_until_idle()

    desk.click(desk.predict.correct.teach_button)

    np.testing.assert_array_equal(labels.data, before)


def test_corrections_never_go_to_the_annotation_of_another_image(desk: Desk) -> None:
    desk.click(desk.annotate.new_button)
    annotation = desk.annotate.target.annotation
    assert annotation is not None
    layer = predicted(desk)
    layer.metadata[METADATA_KEY].image = desk.viewer.add_image(disks(), name="other")
    take(desk, "delete")
    desk.stroke((65, 40), (65, 40))

    desk.click(desk.predict.correct.teach_button)

    assert not annotation.data.any()
    assert desk.viewer.layers["other annotation"].data.any()


def test_a_hidden_panel_holds_no_tool(desk: Desk) -> None:
    layer = predicted(desk)
    take(desk, "delete")

    desk.predict.hide()

    assert layer.mouse_pan
