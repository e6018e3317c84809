"""The Classify objects dock: a few objects are clicked, and all get a class."""

from __future__ import annotations

import csv
import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from napari.components import ViewerModel
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

from napari_unet.io.classifiers import load_classifier
from napari_unet.project.folder import load_project, save_project
from napari_unet.widgets.classify.dock import ClassifyWidget
from napari_unet.widgets.classify.shown import CLASSES, EXAMPLES, shown_of
from napari_unet.widgets.common.layers import METADATA_KEY
from napari_unet.widgets.common.object_classes import object_classes_in
from napari_unet.widgets.common.result_layer import Predicted
from napari_unet.widgets.common.session import session_of
from napari_unet.widgets.models.projects import open_project, whole_project_of
from napari_unet.widgets.predict.measure import MeasurePanel
from napari_unet.widgets.predict.save_objects import writer_of

if TYPE_CHECKING:
    from pathlib import Path

    from napari.layers import Labels
    from numpy.typing import NDArray
    from pytestqt.qtbot import QtBot

SIDE, STEP = 6, 12  # objects along a side, pixels between them
NARROW, WIDE = (1, 11, 21, 31, 35), (2, 12, 22, 26, 36)  # examples, in the middle and at the rim
HAND: Any = QTest


def objects() -> NDArray[np.int32]:
    """Squares in rows, numbered from 1; every other one is twice as wide."""
    labels = np.zeros((SIDE * STEP, SIDE * STEP), np.int32)
    for number in range(SIDE * SIDE):
        row, column = divmod(number, SIDE)
        y, x, width = row * STEP + 2, column * STEP + 2, 4 + 4 * (number % 2)
        labels[y : y + width, x : x + width] = number + 1
    return labels


def place_of(number: int, *frame: int) -> tuple[int, ...]:
    row, column = divmod(number - 1, SIDE)
    return (*frame, row * STEP + 3, column * STEP + 3)


def grey(labels: NDArray[np.int32]) -> NDArray[np.float32]:
    noise = np.random.default_rng(0).normal(0, 1, labels.shape)
    return (100 * (labels > 0) + noise).astype(np.float32)


class Window:
    """A dock on some labels, and a hand."""

    def __init__(self, qtbot: QtBot, viewer: ViewerModel) -> None:
        self.qtbot, self.viewer = qtbot, viewer
        self.dock = ClassifyWidget(viewer)
        qtbot.addWidget(self.dock)

    @property
    def labels(self) -> Labels:
        layer = self.dock.classifying.layer
        assert layer is not None
        return layer

    @property
    def state(self) -> Any:
        return object_classes_in(self.labels)

    def drag(self, *places: tuple[int, ...]) -> None:
        """Press at the first place, move to the others, release."""
        layer = self.labels
        event = SimpleNamespace(
            type="mouse_press", button=1, position=(), dims_displayed=(0, 1), view_direction=None
        )
        event.position = layer.data_to_world(places[0])
        for callback in list(layer.mouse_drag_callbacks):
            going = callback(layer, event)
            next(going, None)
            event.type = "mouse_move"
            for place in places[1:]:
                event.position = layer.data_to_world(place)
                next(going, None)
            event.type = "mouse_release"
            next(going, None)

    def give(self, value: int, *numbers: int) -> None:
        """Click objects with a class in hand."""
        if self.dock.brush.value != value:
            self.dock.take(value)
        for number in numbers:
            self.drag(place_of(number))

    def settle(self) -> None:
        """Wait until nothing is measured or classified."""
        going = self.dock.classifying
        self.qtbot.waitUntil(
            lambda: not going.describing.running and not going.finding.running, timeout=60_000
        )

    def give_both(self) -> None:
        self.give(1, *NARROW)
        self.give(2, *WIDE)
        self.settle()

    def classes(self) -> list[str]:
        return [str(each) for each in self.labels.features["class"]]


@pytest.fixture
def window(qtbot: QtBot) -> Window:
    viewer = ViewerModel()
    viewer.add_image(grey(objects()), name="cells")
    viewer.add_labels(objects(), name="objects")
    return Window(qtbot, viewer)


# --- From clicks to classes ---------------------------------------------------------------------


def test_a_few_clicks_give_all_objects_a_class(window: Window) -> None:
    window.give_both()
    assert window.classes() == ["A", "B"] * (SIDE * SIDE // 2)
    assert window.dock.counts.text() == "A 18, B 18 of 36 objects."


def test_class_and_probability_of_each_object_are_features_of_its_layer(window: Window) -> None:
    window.labels.features = {"index": [1, 2], "seen": [True, False]}
    window.give_both()
    features = window.labels.features
    assert list(features["index"]) == list(range(1, SIDE * SIDE + 1))
    assert features["probability"].between(0.5, 1).all()
    assert list(features["example"][:3]) == ["A", "B", ""]
    assert list(features["seen"][:2]) == [True, False]


def test_one_labels_layer_shows_the_classes_in_their_colours(window: Window) -> None:
    window.give_both()
    shown = shown_of(window.viewer, window.labels, CLASSES)
    assert shown is not None
    assert shown.name == "objects classes"
    assert (shown.data[place_of(7)], shown.data[place_of(8)], shown.data[0, 0]) == (1, 2, 0)
    assert not np.array_equal(shown.get_color(1), shown.get_color(2))


def test_examples_are_outlined(window: Window) -> None:
    window.give(2, 5)
    shown = shown_of(window.viewer, window.labels, EXAMPLES)
    assert shown is not None
    assert shown.contour
    np.testing.assert_array_equal(shown.data == 2, window.labels.data == 5)


def test_layers_of_ours_leave_the_objects_chosen(window: Window) -> None:
    window.give_both()
    assert window.viewer.layers.selection.active is window.labels
    assert window.dock.brush.value == 2
    assert window.dock.labels_box.count() == 1


def test_a_drag_gives_all_objects_under_it_a_class_in_one_step(window: Window) -> None:
    window.dock.take(1)
    window.drag(place_of(1), place_of(3))
    assert window.dock.classifying.counts == {1: 3}
    window.dock.undo_button.click()
    assert window.dock.classifying.counts == {}


def test_the_last_class_that_an_object_was_given_counts(window: Window) -> None:
    window.give(1, 1)
    window.give(2, 1)
    assert window.dock.classifying.counts == {2: 1}


def test_erase_takes_a_class_away(window: Window) -> None:
    window.give(1, 1, 2)
    window.dock.erase_button.click()
    window.drag(place_of(2))
    assert window.dock.classifying.counts == {1: 1}


def test_undo_goes_back_click_by_click(window: Window) -> None:
    window.give(1, 1, 3)
    window.give(0, 3)
    window.drag((0, 0))  # where no object is
    counts = []
    for _ in range(3):
        window.dock.undo()
        counts.append(window.dock.classifying.counts)
    assert counts == [{1: 2}, {1: 1}, {}]


def test_one_class_alone_asks_for_a_second_one(window: Window) -> None:
    window.give(1, 1)
    window.settle()
    assert "second class" in window.dock.status.text()
    assert "class" not in window.labels.features


def test_without_the_second_class_no_object_has_one_any_more(window: Window) -> None:
    window.give_both()
    window.give(0, *WIDE)
    window.settle()
    assert "class" not in window.labels.features
    shown = shown_of(window.viewer, window.labels, CLASSES)
    assert shown is not None
    assert not shown.data.any()


def test_a_click_beside_all_objects_says_so(window: Window) -> None:
    window.dock.take(1)
    window.drag((0, 0))
    assert window.dock.status.text() == "There is no object under the mouse."


# --- Classes ------------------------------------------------------------------------------------


def test_classes_are_added_renamed_and_removed(window: Window) -> None:
    window.dock.add_button.click()
    assert window.state.names == {1: "A", 2: "B", 3: "C"}
    window.dock.rename(3, "dead")
    window.give(3, 5)
    window.dock.table.mark(3)
    window.dock.remove_button.click()
    assert window.state.names == {1: "A", 2: "B"}
    assert not window.state.examples
    window.dock.undo()
    assert window.state.names[3] == "dead"
    assert window.dock.classifying.counts == {3: 1}


def test_two_classes_have_two_names(window: Window) -> None:
    window.dock.rename(2, "A")
    assert window.state.names == {1: "A", 2: "B"}
    assert "already" in window.dock.status.text()


def test_a_renamed_class_has_its_new_name_everywhere(window: Window) -> None:
    window.give_both()
    window.dock.rename(1, "small")
    window.settle()
    assert set(window.classes()) == {"small", "B"}


# --- Unsure objects, and work without a mouse ---------------------------------------------------


def test_next_unsure_goes_from_the_least_certain_on(window: Window) -> None:
    window.give_both()
    features = window.labels.features.set_index("index")
    least = features[features["example"] == ""]["certainty"].min()
    window.dock.next_button.click()
    first = int(window.dock.numbers_edit.text())
    assert features.loc[first, "certainty"] == least
    assert f"Object {first}" in window.dock.status.text()
    window.dock.next_unsure()
    assert int(window.dock.numbers_edit.text()) != first


def test_objects_get_a_class_by_their_numbers(window: Window) -> None:
    window.dock.take(2)
    window.dock.numbers_edit.setText("3, 7")
    window.dock.give_button.click()
    assert window.dock.classifying.counts == {2: 2}
    assert window.dock.classifying.class_at(place_of(7)) == 2


@pytest.mark.parametrize("text", ["", "x", "99"])
def test_what_is_no_number_of_an_object_is_said(window: Window, text: str) -> None:
    window.dock.take(1)
    window.dock.numbers_edit.setText(text)
    window.dock.give_numbers()
    assert window.dock.status.text()
    assert window.dock.classifying.counts == {}


# --- What happens to layers ---------------------------------------------------------------------


def test_examples_stay_where_they_are_when_objects_get_other_numbers(window: Window) -> None:
    window.give_both()
    labels = window.labels
    labels.data = np.where(labels.data, SIDE * SIDE + 1 - labels.data, 0)
    window.dock.classifying.look_again()
    window.settle()
    assert window.classes() == ["B", "A"] * (SIDE * SIDE // 2)
    assert list(labels.features["example"][-3:]) == ["", "B", "A"]


def test_an_edited_object_is_measured_again(window: Window) -> None:
    window.give_both()
    window.labels.data_setitem(np.nonzero(window.labels.data == 8), 0)
    window.qtbot.waitUntil(lambda: len(window.classes()) == SIDE * SIDE - 1, timeout=30_000)
    assert 8 not in set(window.labels.features["index"])


def test_an_example_whose_object_is_gone_is_told(window: Window) -> None:
    window.give_both()
    window.labels.data_setitem(np.nonzero(window.labels.data == 1), 0)
    window.dock.classifying.look_again()
    window.settle()
    assert "1 example lies where no object is any more" in window.dock.counts.text()


def test_a_renamed_layer_keeps_its_classes(window: Window) -> None:
    window.give_both()
    window.labels.name = "mine"
    window.give(2, 6)
    window.settle()
    names = [layer.name for layer in window.viewer.layers]
    assert names == ["cells", "mine", "objects classes", "objects examples"]


def test_a_layer_that_is_closed_while_it_is_measured_does_no_harm(window: Window) -> None:
    window.give(1, 1)
    window.viewer.layers.remove("objects")
    window.settle()
    assert window.dock.classifying.layer is None
    assert window.dock.status.text() == "Open or predict labels of objects first."
    for each in (window.dock.undo, window.dock.next_unsure, window.dock.give_numbers):
        each()


def test_closed_layers_of_ours_are_made_again(window: Window) -> None:
    window.give_both()
    for role in (CLASSES, EXAMPLES):
        window.viewer.layers.remove(shown_of(window.viewer, window.labels, role))
    window.give(1, 5)
    window.settle()
    assert shown_of(window.viewer, window.labels, CLASSES) is not None
    shown = shown_of(window.viewer, window.labels, EXAMPLES)
    assert shown is not None
    assert np.count_nonzero(np.unique(window.labels.data[shown.data > 0])) == 11


def test_a_copy_of_the_layer_has_examples_of_its_own(window: Window) -> None:
    window.give_both()
    window.viewer.add_labels(
        window.labels.data.copy(), name="copy", metadata=dict(window.labels.metadata)
    )
    copy = window.viewer.layers["copy"]
    window.give(1, 5)
    state = object_classes_in(copy)
    assert state is not None
    assert len(state.examples) == 10
    assert len(window.state.examples) == 11


def test_another_layer_begins_with_the_same_classes_and_no_examples(window: Window) -> None:
    window.dock.rename(1, "dead")
    window.give(1, 1)
    other = window.viewer.add_labels(objects(), name="other")
    window.dock.labels_box.layer = other
    assert window.dock.brush.value is None
    assert window.state.names == {1: "dead", 2: "B"}
    assert not window.state.examples
    window.settle()


def test_the_choice_of_another_layer_gives_the_mouse_back(window: Window) -> None:
    window.dock.take(1)
    window.viewer.layers.selection.active = window.viewer.layers["cells"]
    window.qtbot.waitUntil(lambda: window.dock.brush.value is None)
    assert window.labels.mouse_pan


def test_without_an_image_sizes_and_shapes_count(window: Window) -> None:
    window.dock.image_box.setCurrentIndex(0)
    window.give_both()
    assert window.classes() == ["A", "B"] * (SIDE * SIDE // 2)
    assert "mean intensity" not in window.state.described.columns


def test_another_image_is_measured_anew(window: Window) -> None:
    window.give_both()
    window.viewer.add_image(np.zeros((*objects().shape, 3), np.uint8), name="colour")
    window.dock.image_box.layer = window.viewer.layers["colour"]
    window.settle()
    assert "mean intensity 2" in window.state.described.columns


def test_an_image_of_other_pixels_is_refused_in_words(window: Window) -> None:
    window.viewer.add_image(np.zeros((5, 5)), name="small")
    window.dock.image_box.layer = window.viewer.layers["small"]
    window.give(1, 1)
    assert "small does not have the pixels of objects" in window.dock.status.text()


def test_a_dock_that_is_opened_again_goes_on(window: Window, qtbot: QtBot) -> None:
    window.give_both()
    window.dock.close()
    again = Window(qtbot, window.viewer)
    assert again.dock.counts.text() == "A 18, B 18 of 36 objects."
    again.give(1, 5)
    again.settle()
    assert again.dock.classifying.counts == {1: 6, 2: 5}


def test_two_viewers_have_classes_of_their_own(window: Window, qtbot: QtBot) -> None:
    viewer = ViewerModel()
    viewer.add_labels(objects(), name="objects")
    other = Window(qtbot, viewer)
    window.give(1, 1)
    assert not other.state.examples
    window.settle()


def test_no_labels_at_all_is_said(qtbot: QtBot) -> None:
    window = Window(qtbot, ViewerModel())
    assert window.dock.status.text() == "Open or predict labels of objects first."
    window.dock.take(1)
    window.dock.add_class()
    window.dock.undo()


def test_where_people_paint_one_is_background(window: Window) -> None:
    from napari_unet.widgets.common.annotation import new_annotation

    paint = new_annotation(window.viewer, window.viewer.layers["cells"])
    paint.data = np.where(objects() > 0, objects() + 1, 1)
    window.dock.labels_box.layer = paint
    window.dock.take(1)
    window.drag((0, 0))
    assert not window.state.examples
    window.give_both()
    assert list(paint.features["index"]) == list(range(2, SIDE * SIDE + 2))
    assert "its number 1 is background" in window.dock.counts.text()


# --- Time, depth, stopping ----------------------------------------------------------------------


def test_in_a_time_series_each_frame_has_objects_of_its_own(qtbot: QtBot) -> None:
    viewer = ViewerModel()
    viewer.add_labels(np.stack([objects(), np.fliplr(objects())]), name="movie")
    window = Window(qtbot, viewer)
    window.dock.take(1)
    window.drag(place_of(1, 0))
    window.dock.take(2)
    window.drag(place_of(2, 0))
    window.settle()
    features = window.labels.features
    assert len(features) == 2 * SIDE * SIDE
    assert set(features["frame"]) == {0, 1}
    assert list(features[features["frame"] == 1]["class"]) == ["A", "B"] * (SIDE * SIDE // 2)


def test_only_frames_that_were_edited_are_measured_again(qtbot: QtBot) -> None:
    viewer = ViewerModel()
    viewer.add_labels(np.stack([objects(), objects()]), name="movie")
    window = Window(qtbot, viewer)
    window.dock.take(1)
    window.drag(place_of(1, 0))
    window.settle()
    before = window.state.described.frames
    window.labels.data_setitem(tuple(np.full(1, at) for at in place_of(1, 1)), 0)
    window.dock.classifying.look_again()
    window.settle()
    after = window.state.described.frames
    assert after[0] is before[0]
    assert after[1] is not before[1]


def test_in_volumes_an_object_goes_on_from_slice_to_slice(qtbot: QtBot) -> None:
    viewer = ViewerModel()
    viewer.add_labels(np.stack([objects()] * 3), name="stack")
    window = Window(qtbot, viewer)
    window.dock.stacks_box.setCurrentIndex(1)
    window.dock.stacks_box.activated.emit(1)
    window.dock.take(1)
    window.drag(place_of(1, 0))
    window.dock.take(2)
    window.drag(place_of(2, 2))
    window.settle()
    assert len(window.labels.features) == SIDE * SIDE
    assert "frame" not in window.labels.features


def test_stop_leaves_examples_and_the_next_one_begins_anew(
    window: Window, monkeypatch: pytest.MonkeyPatch
) -> None:
    window.dock.classifying.describing.started.connect(window.dock.classifying.describing.stop)
    window.give(1, 1)
    window.settle()
    assert "Stopped" in window.dock.status.text()
    assert window.state.described is None
    window.dock.classifying.describing.started.disconnect()
    window.give_both()
    assert len(window.classes()) == SIDE * SIDE


def test_clicks_while_objects_are_measured_count(window: Window) -> None:
    window.give(1, *NARROW)
    assert window.dock.classifying.describing.running
    window.give(2, *WIDE)
    window.settle()
    assert window.dock.counts.text() == "A 18, B 18 of 36 objects."


# --- Files --------------------------------------------------------------------------------------


def test_a_saved_classifier_knows_the_same_elsewhere(
    window: Window, qtbot: QtBot, tmp_path: Path
) -> None:
    window.give_both()
    window.dock.rename(1, "small")
    window.settle()
    window.dock.save(tmp_path / "kinds")
    assert load_classifier(tmp_path / "kinds.json").names == ("small", "B")
    viewer = ViewerModel()
    viewer.add_image(grey(objects()), name="cells")
    viewer.add_labels(objects(), name="objects")
    other = Window(qtbot, viewer)
    other.dock.load(tmp_path / "kinds.json")
    other.settle()
    assert other.classes() == ["small", "B"] * (SIDE * SIDE // 2)
    assert other.dock.classifying.counts == {}


def test_a_classifier_of_other_channels_is_refused_in_words(window: Window, tmp_path: Path) -> None:
    window.give_both()
    window.dock.save(tmp_path / "kinds.json")
    window.dock.image_box.setCurrentIndex(0)
    window.dock.load(tmp_path / "kinds.json")
    window.settle()
    assert "channel" in window.dock.status.text()


def test_what_is_no_classifier_is_refused_in_words(window: Window, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("{}")
    window.dock.load(tmp_path / "x.json")
    assert "x.json" in window.dock.status.text()


def test_nothing_can_be_saved_without_examples(window: Window, tmp_path: Path) -> None:
    window.dock.save(tmp_path / "kinds.json")
    assert not (tmp_path / "kinds.json").exists()
    assert "no examples" in window.dock.status.text()


def test_the_table_of_the_objects_holds_class_and_probability(
    window: Window, tmp_path: Path
) -> None:
    window.give_both()
    writer_of(window.viewer, window.labels)(tmp_path / "objects.csv")
    rows = list(csv.DictReader((tmp_path / "objects.csv").read_text("utf-8").splitlines()))
    assert [row["class"] for row in rows] == window.classes()
    assert float(rows[4]["probability"]) > 0.5
    assert rows[0]["example"] == "A"
    assert float(rows[0]["area"]) == 16
    assert "colour" not in rows[0]


def test_measuring_keeps_the_classes(window: Window) -> None:
    window.give_both()
    panel = MeasurePanel(window.viewer)
    window.qtbot.addWidget(panel)
    with window.qtbot.waitSignal(session_of(window.viewer).measuring.ended, timeout=60_000):
        panel.measure_layer(window.labels)
    assert window.classes() == ["A", "B"] * (SIDE * SIDE // 2)
    assert window.labels.features["area"].tolist() == [16, 64] * (SIDE * SIDE // 2)
    window.give(1, 5)
    window.settle()
    assert window.labels.features["area"].tolist() == [16, 64] * (SIDE * SIDE // 2)


def test_qupath_gets_class_colour_and_probability(qtbot: QtBot, tmp_path: Path) -> None:
    viewer = ViewerModel()
    movie = np.stack([objects(), np.where(objects(), SIDE * SIDE + 1 - objects(), 0)])
    viewer.add_labels(movie, name="movie")
    window = Window(qtbot, viewer)
    for value, numbers in ((1, NARROW), (2, WIDE)):
        window.dock.take(value)
        for number in numbers:
            window.drag(place_of(number, 0))
    window.settle()
    writer_of(viewer, window.labels)(tmp_path / "movie.geojson", axes="TYX")
    features = json.loads((tmp_path / "movie.geojson").read_text())["features"]
    found = {
        (each["properties"]["name"], each["geometry"]["plane"]["t"]): each["properties"]
        for each in features
    }
    first, other = found["1", 0], found["1", 1]  # another object in each frame
    assert first["classification"] == {"name": "A", "color": [0x00, 0x72, 0xB2]}
    assert other["classification"]["name"] == "B"
    assert first["measurements"]["probability"] > 0.5


def test_layers_of_ours_are_known_as_such(window: Window) -> None:
    window.give_both()
    for role in (CLASSES, EXAMPLES):
        shown = shown_of(window.viewer, window.labels, role)
        assert shown is not None
        assert METADATA_KEY in shown.metadata


@pytest.mark.parametrize("predicted", [False, True])
def test_a_project_keeps_classes_and_examples(
    window: Window, qtbot: QtBot, tmp_path: Path, predicted: bool
) -> None:
    if predicted:
        about = Predicted(window.labels.data.copy(), 2, name="objects")
        about.image = window.viewer.layers["cells"]
        window.labels.metadata[METADATA_KEY] = about
    window.give_both()
    window.dock.save(tmp_path / "kinds.json")
    window.dock.load(tmp_path / "kinds.json")
    window.dock.rename(1, "small")
    window.dock.recolour(2, "#112233")
    window.settle()
    save_project(whole_project_of(window.viewer), tmp_path / "project")
    viewer = ViewerModel()
    open_project(viewer, load_project(tmp_path / "project"))
    again = Window(qtbot, viewer)
    again.settle()
    assert again.state.examples == window.state.examples
    assert again.state.colour_of(2) == "#112233"
    assert len(again.state.learned.values) == len(NARROW + WIDE)
    assert again.classes() == ["small", "B"] * (SIDE * SIDE // 2)
    assert again.dock.image_box.currentText() == "cells"


# --- In a real window ---------------------------------------------------------------------------


@pytest.mark.canvas
def test_keys_choose_the_class_and_clicks_on_the_canvas_give_it(
    make_desk: Any, qtbot: QtBot
) -> None:
    desk = make_desk(grey(objects()))  # whose Annotate dock, behind this one, has the same keys
    numbered = np.where(objects(), objects() + 1, 0)  # 1 is background where people paint
    labels = desk.viewer.add_labels(numbered, name="objects")
    dock = ClassifyWidget(desk.viewer)
    desk.viewer.window.add_dock_widget(dock, name="Classify objects", tabify=True)
    dock.labels_box.layer = labels
    window: Any = dock.window()
    window.activateWindow()
    dock.bring_to_front()
    canvas = desk.viewer.window._qt_viewer.canvas.native
    canvas.setFocus()
    qtbot.waitUntil(window.isActiveWindow)
    qtbot.wait(300)
    desk.viewer.reset_view()
    for key, numbers in ((Qt.Key.Key_1, NARROW), (Qt.Key.Key_2, WIDE)):
        HAND.keyClick(canvas, key)
        assert dock.brush.value is not None
        for number in numbers:
            desk.stroke(place_of(number), place_of(number))
    desk.wait_until_idle()
    assert dock.counts.text().startswith("A 18, B 18 of 36 objects.")
    HAND.keyClick(canvas, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert dock.classifying.counts == {1: 5, 2: 4}
    HAND.keyClick(canvas, Qt.Key.Key_Escape)
    assert dock.brush.value is None
    assert labels.mouse_pan
    desk.wait_until_idle()
