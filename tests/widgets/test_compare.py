"""Compare with: scores of a prediction against a layer, and its errors in colours."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from napari.layers import Labels
from numpy.typing import NDArray
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

from napari_unet.errors import EvaluationError
from napari_unet.evaluation.scores import EvaluateConfig
from napari_unet.widgets.common.annotation import annotation_of, new_annotation
from napari_unet.widgets.common.layers import METADATA_KEY
from napari_unet.widgets.common.result_layer import Predicted
from napari_unet.widgets.predict.compare import (
    ComparePanel,
    Comparison,
    ScoreTable,
    compare_labels,
    score_rows,
)

from .conftest import Desk

HAND: Any = QTest


def four_squares() -> NDArray[np.int32]:
    """Squares of one number each, in the size of the desk's image."""
    labels = np.zeros((96, 96), np.int32)
    for number, (row, column) in enumerate([(8, 8), (8, 28), (40, 8), (40, 40)], start=1):
        labels[row : row + 20, column : column + 20] = number
    return labels


def flawed() -> NDArray[np.int32]:
    """The first two in one, the third in two, the fourth missed, one where there is none."""
    labels = four_squares()
    labels[labels == 2] = 1
    labels[50:60, 8:28] = 7
    labels[labels == 4] = 0
    labels[70:80, 70:80] = 9
    return labels


def add_prediction(
    desk: Desk, labels: NDArray[Any], ndim: int = 2, kind: str = "objects", **placement: Any
) -> Labels:
    predicted = Predicted(labels.copy(), ndim, kind)
    layer = Labels(labels, name="disks prediction", metadata={METADATA_KEY: predicted}, **placement)
    desk.viewer.add_layer(layer)
    return layer


def open_truth(desk: Desk, labels: NDArray[Any], folder: Path) -> Labels:
    """Open a finished mask as a user does."""
    path = folder / "truth.tif"
    tifffile.imwrite(path, labels)
    (layer,) = desk.viewer.open(path, layer_type="labels", plugin="napari")
    assert isinstance(layer, Labels)
    return layer


def compare(desk: Desk, truth: Labels) -> ComparePanel:
    panel = desk.predict.compare
    panel.truth_box.layer = truth
    desk.click(panel.compare_button)
    desk.wait_until_idle()
    return panel


def scores_in(table: ScoreTable) -> dict[str, str]:
    """What the table says, by name."""
    cells = {}
    for line in range(table.rowCount()):
        for column in (0, 2):
            name, value = table.item(line, column), table.item(line, column + 1)
            if name is not None and value is not None:
                cells[name.text()] = value.text()
    return cells


@pytest.fixture
def compared(desk: Desk, tmp_path: Path) -> tuple[Desk, ComparePanel]:
    add_prediction(desk, flawed())
    return desk, compare(desk, open_truth(desk, four_squares(), tmp_path))


def test_the_table_holds_the_scores(compared: tuple[Desk, ComparePanel]) -> None:
    _, panel = compared
    found = scores_in(panel.table)
    mistakes = [found[name] for name in ("Merged", "Split", "Missed", "False")]
    assert mistakes == ["2", "1", "1", "1"]
    assert {"F1 at 0.5", "AP at 0.5", "AP at 0.75", "Mean AP", "SEG", "IoU", "Dice"} <= set(found)


def test_the_errors_are_a_layer_of_named_colours(compared: tuple[Desk, ComparePanel]) -> None:
    desk, panel = compared
    errors = desk.viewer.layers["disks prediction errors"]
    at = [errors.data[row, column] for row, column in ((10, 10), (45, 10), (45, 45), (75, 75))]
    names = errors.features.set_index("index")["error"]
    assert [names[value] for value in at] == ["merged", "split", "missed", "false"]
    assert "merged" in panel.legend.text()


@pytest.mark.fault(24)
def test_the_errors_lie_where_the_prediction_lies(desk: Desk) -> None:
    placement: dict[str, Any] = {"scale": (0.5, 0.25), "translate": (3, 4), "units": ("um", "um")}
    prediction = add_prediction(desk, flawed(), **placement)
    compare(desk, desk.viewer.add_labels(four_squares(), **placement))
    errors = desk.viewer.layers["disks prediction errors"]
    np.testing.assert_array_equal(errors.scale, prediction.scale)
    np.testing.assert_array_equal(errors.translate, prediction.translate)
    assert errors.units == prediction.units


def test_a_second_comparison_takes_the_layer_of_the_first(
    compared: tuple[Desk, ComparePanel],
) -> None:
    desk, _ = compared
    desk.viewer.layers["disks prediction"].data = four_squares()
    n_layers = len(desk.viewer.layers)
    compare(desk, desk.viewer.layers["truth"])
    assert len(desk.viewer.layers) == n_layers
    assert set(np.unique(desk.viewer.layers["disks prediction errors"].data)) == {0, 1}


def test_the_selected_layer_stays_selected(compared: tuple[Desk, ComparePanel]) -> None:
    desk, _ = compared
    assert desk.viewer.layers.selection.active is desk.viewer.layers["truth"]


def test_predictions_and_errors_are_no_truth(compared: tuple[Desk, ComparePanel]) -> None:
    _, panel = compared
    assert [panel.truth_box.itemText(i) for i in range(panel.truth_box.count())] == ["truth"]


def test_an_annotation_is_read_as_painted(desk: Desk) -> None:
    add_prediction(desk, flawed())
    painted = new_annotation(desk.viewer, desk.image)
    painted.data = np.where(four_squares() == 4, 2, 0)
    found = scores_in(compare(desk, painted).table)
    assert (found["Missed"], found["Objects"], found["False"]) == ("1", "1", "0")


def test_a_mask_is_read_as_finished(desk: Desk, tmp_path: Path) -> None:
    panel = desk.predict.compare
    panel.truth_box.layer = new_annotation(desk.viewer, desk.image)
    assert panel.unpainted_editor.read() == "unlabelled"
    panel.truth_box.layer = open_truth(desk, four_squares(), tmp_path)
    assert panel.unpainted_editor.read() == "background"


def test_opened_class_masks_are_compared_as_classes(desk: Desk, tmp_path: Path) -> None:
    mine = desk.viewer.add_labels(np.where(flawed() > 0, 2, 1), name="mine")
    truth = open_truth(desk, np.where(four_squares() > 0, 2, 1), tmp_path)
    desk.viewer.layers.selection.active = mine
    desk.predict.compare.kind_editor.show("classes")
    assert "Mean IoU" in scores_in(compare(desk, truth).table)


def test_what_0_means_can_be_corrected(desk: Desk, tmp_path: Path) -> None:
    add_prediction(desk, flawed())
    panel = desk.predict.compare
    panel.truth_box.layer = open_truth(desk, four_squares() + (four_squares() > 0), tmp_path)
    panel.unpainted_editor.show("unlabelled")
    desk.click(panel.compare_button)
    desk.wait_until_idle()
    assert scores_in(panel.table)["False"] == "0"


def test_frames_are_images_of_their_own(desk: Desk, tmp_path: Path) -> None:
    add_prediction(desk, np.stack([four_squares(), flawed()]))
    truth = open_truth(desk, np.stack([four_squares()] * 2), tmp_path)
    found = scores_in(compare(desk, truth).table)
    assert (found["Objects"], found["Merged"]) == ("8", "2")


def test_classes_have_their_names_and_their_own_scores(desk: Desk) -> None:
    add_prediction(desk, np.where(flawed() > 0, 2, 0), kind="classes")
    truth = new_annotation(desk.viewer, desk.image, "classes")
    annotation_of(truth).names[2] = "nucleus"
    truth.data = np.where(four_squares() > 0, 2, 1)
    found = scores_in(compare(desk, truth).table)
    assert {"Mean IoU", "IoU background", "IoU nucleus", "Pixel error", "Warping error"} <= set(
        found
    )


def test_other_labels_can_be_compared_where_nothing_is_predicted(desk: Desk) -> None:
    truth = desk.viewer.add_labels(four_squares(), name="truth")
    desk.viewer.layers.selection.active = desk.viewer.add_labels(flawed(), name="elsewhere made")
    compare(desk, truth)
    assert "elsewhere made errors" in desk.viewer.layers


def test_without_a_prediction_the_panel_says_what_to_do(desk: Desk) -> None:
    panel = compare(desk, desk.viewer.add_labels(four_squares()))
    assert "click Everything" in panel.text.text()


def test_without_a_truth_the_panel_says_what_to_do(desk: Desk) -> None:
    add_prediction(desk, flawed())
    desk.click(desk.predict.compare.compare_button)
    assert "There is no truth" in desk.predict.compare.text.text()


def test_a_truth_of_another_size_is_refused_with_both_shapes(desk: Desk) -> None:
    add_prediction(desk, flawed())
    panel = compare(desk, desk.viewer.add_labels(four_squares()[:50], name="half"))
    assert "shape (96, 96), half (50, 96)" in panel.text.text()


def test_an_empty_annotation_is_refused_and_previous_scores_go(
    compared: tuple[Desk, ComparePanel],
) -> None:
    desk, panel = compared
    compare(desk, new_annotation(desk.viewer, desk.image))
    assert "nothing is painted" in panel.text.text()
    assert scores_in(panel.table) == {}
    assert panel.compare_button.isEnabled()


def test_a_prediction_under_way_is_not_compared(desk: Desk) -> None:
    prediction = add_prediction(desk, flawed())
    prediction.metadata[METADATA_KEY].in_progress = True
    panel = compare(desk, desk.viewer.add_labels(four_squares()))
    assert "still being predicted" in panel.text.text()


def test_the_keyboard_reaches_everything(desk: Desk) -> None:
    panel = desk.predict.compare
    add_prediction(desk, flawed())
    panel.truth_box.layer = desk.viewer.add_labels(four_squares())
    for each in (panel.truth_box, panel.unpainted_editor.widget, panel.compare_button):
        assert each.focusPolicy() & Qt.FocusPolicy.TabFocus
        assert each.toolTip()
    HAND.keyClick(panel.compare_button, Qt.Key.Key_Space)
    desk.wait_until_idle()
    assert scores_in(panel.table)


def test_it_fits_into_a_narrow_dock(compared: tuple[Desk, ComparePanel]) -> None:
    _, panel = compared
    assert panel.minimumSizeHint().width() <= 320


def test_a_widget_that_is_opened_again_shares_the_work(desk: Desk) -> None:
    assert ComparePanel(desk.viewer).task is desk.predict.compare.task


def test_a_stopped_comparison_has_no_result() -> None:
    stop = threading.Event()
    stop.set()
    assert compare_labels(flawed(), four_squares(), 2, EvaluateConfig(), (), stop) is None


def test_what_cannot_be_compared_is_an_error_of_ours() -> None:
    nothing, config = np.zeros((4, 4), int), EvaluateConfig("objects", "unlabelled")
    with pytest.raises(EvaluationError, match="nothing is painted"):
        compare_labels(nothing, nothing, 2, config, (), threading.Event())


@pytest.mark.parametrize(
    ("value", "text"), [(3, "3"), (0.5, "0.500"), (1.0, "1.000"), (0.000353, "0.00035")]
)
def test_numbers_are_short(value: float, text: str) -> None:
    rows = score_rows(Comparison("classes", {"warping_error": value}), {})
    assert [row.text for row in rows] == [text]


def test_a_class_without_a_name_is_called_by_its_number() -> None:
    rows = score_rows(Comparison("classes", {"iou_per_class": {"0": 1.0, "7": 0.5}}), {})
    assert [row.name for row in rows] == ["IoU background", "IoU class 7"]


def test_only_what_was_predicted_is_compared(desk: Desk, tmp_path: Path) -> None:
    labels = four_squares()
    labels[:, 48:] = 0
    labels[36:] = 0
    layer = add_prediction(desk, labels)
    layer.metadata[METADATA_KEY].places = (((), (slice(0, 36), slice(0, 48))),)
    panel = compare(desk, open_truth(desk, four_squares(), tmp_path))
    found = scores_in(panel.table)
    assert (found["F1 at 0.5"], found["Missed"]) == ("1.000", "0")
    assert "on the 19% predicted" in panel.text.text()


def test_a_frame_that_was_not_predicted_is_not_missed() -> None:
    truth = np.stack([four_squares(), four_squares()])
    prediction = np.stack([four_squares(), np.zeros_like(four_squares())])
    whole = (slice(0, 96), slice(0, 96))
    places = (((0,), whole),)
    comparison = compare_labels(prediction, truth, 2, EvaluateConfig(), places, threading.Event())
    assert comparison is not None
    assert (comparison.scores["n_missed"], comparison.share) == (0, 0.5)
    assert not comparison.errors[1].any()


def test_scores_go_when_their_prediction_goes(compared: tuple[Desk, ComparePanel]) -> None:
    desk, panel = compared
    desk.viewer.layers.remove("disks prediction")
    assert scores_in(panel.table) == {}
    assert panel.text.text() == ""


def test_scores_go_when_another_prediction_begins(compared: tuple[Desk, ComparePanel]) -> None:
    _, panel = compared
    panel.forget()
    assert not panel.table.isVisible()
