"""Link over time or z: in the pixels of a result, or beside labels of others; and tracks."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from napari.layers import Labels, Tracks
from numpy.typing import NDArray

from napari_unet.objects.linking import LinkConfig
from napari_unet.widgets.common.layers import METADATA_KEY
from napari_unet.widgets.common.result_layer import Predicted, predicted_of
from napari_unet.widgets.predict import correct
from napari_unet.widgets.predict.link import LinkPanel
from napari_unet.widgets.predict.link_work import ToLink, linking_events

from .conftest import Desk, disks

MakeDesk = Callable[..., Desk]


def movie() -> NDArray[np.int32]:
    """Two cells that move, in the size of the desk's image; the second divides at the end."""
    frames = np.zeros((4, 96, 96), np.int32)
    for time, (first, second) in enumerate([(1, 2), (8, 3), (2, 1), (5, 9)]):
        frames[time, 5:25, 5 + time : 25 + time] = first
        frames[time, 50:80, 30:60] = second
    frames[3, 50:80, 45:60] = 4
    frames[3, 50:80, 44] = 0
    return frames


@pytest.fixture
def filmed(make_desk: MakeDesk) -> Desk:
    """A viewer with a movie."""
    return make_desk(np.stack([disks()] * 4))


def add_prediction(desk: Desk, labels: NDArray[Any], kind: str = "objects", **more: Any) -> Labels:
    predicted = Predicted(labels.copy(), 2, kind)
    layer = Labels(labels, name="cells", metadata={METADATA_KEY: predicted}, **more)
    desk.viewer.add_layer(layer)
    return layer


def link(desk: Desk, axis: str | None = None) -> LinkPanel:
    panel = desk.predict.link
    box = panel.form.editors["axis"].widget
    box.setCurrentIndex(box.findData(axis))
    desk.click(panel.link_button)
    desk.wait_until_idle()
    return panel


def test_the_same_cell_has_the_same_number_and_colour(filmed: Desk) -> None:
    add_prediction(filmed, movie())
    link(filmed)
    layer = filmed.viewer.layers["cells"]
    assert layer.data[:, 15, 15].tolist() == [1, 1, 1, 1]
    assert layer.data[:, 60, 35].tolist()[:3] == [2, 2, 2]
    colours = [layer.get_color(int(number)) for number in layer.data[:, 15, 15]]
    np.testing.assert_array_equal(colours, [colours[0]] * 4)


def test_a_result_is_linked_in_its_own_pixels(filmed: Desk) -> None:
    source = add_prediction(filmed, movie())
    link(filmed)
    assert [each.name for each in filmed.viewer.layers if isinstance(each, Labels)] == ["cells"]
    assert source.visible
    assert predicted_of(source) is source.metadata[METADATA_KEY]


def test_separated_again_each_frame_has_the_cells_that_it_had(filmed: Desk) -> None:
    source = add_prediction(filmed, movie())
    link(filmed)
    filmed.predict.link.cells.separate(source)
    filmed.wait_until_idle()
    for own, before in zip(source.data, movie(), strict=True):
        pairs = np.unique(np.stack([own.ravel(), before.ravel()]), axis=1)
        assert len(pairs[0]) == len(set(pairs[0])) == len(set(pairs[1]))
        assert own.max() == len(np.unique(before)) - 1
    assert "cells tracks" not in filmed.viewer.layers


def test_linking_corrects_nothing(filmed: Desk) -> None:
    source = add_prediction(filmed, movie())
    source.data[1, 50:80, 30:60] = 0
    source.data[2, 5:25, 60:80] = 7
    corrected = source.data != source.metadata[METADATA_KEY].labels
    link(filmed)
    about = source.metadata[METADATA_KEY]
    np.testing.assert_array_equal(source.data != about.labels, corrected)


def test_tracks_know_their_mothers(filmed: Desk) -> None:
    add_prediction(filmed, movie())
    panel = link(filmed)
    tracks = filmed.viewer.layers["cells tracks"]
    assert isinstance(tracks, Tracks)
    assert {int(d): [int(m) for m in np.atleast_1d(ms)] for d, ms in tracks.graph.items()} == {
        3: [2],
        4: [2],
    }
    assert panel.text.text() == "cells: 4 objects, 1 of which divide."


def test_tracks_know_their_areas_and_when_linked_cells_are_measured_all_else(filmed: Desk) -> None:
    add_prediction(filmed, movie())
    link(filmed)
    tracks = filmed.viewer.layers["cells tracks"]
    assert list(tracks.features["area"][:4]) == [400] * 4
    filmed.viewer.layers.selection.active = filmed.viewer.layers["cells"]
    filmed.click(filmed.predict.measure.measure_button)
    filmed.wait_until_idle()
    rows = filmed.viewer.layers["cells"].features
    assert list(rows["index"]) == [1] * 4 + [2] * 3 + [3, 4]
    assert list(rows["frame"]) == [0, 1, 2, 3, 0, 1, 2, 3, 3]
    assert list(tracks.features["centroid x"]) == list(rows["centroid x"])


def test_both_layers_lie_where_the_labels_lie(filmed: Desk) -> None:
    placement: dict[str, Any] = {
        "scale": (10, 0.5, 0.25),
        "translate": (0, 3, 4),
        "units": ("s", "um", "um"),
        "axis_labels": ("t", "y", "x"),
    }
    source = add_prediction(filmed, movie(), **placement)
    link(filmed)
    for name in ("cells", "cells tracks"):
        layer = filmed.viewer.layers[name]
        np.testing.assert_array_equal(layer.scale, source.scale)
        np.testing.assert_array_equal(layer.translate, source.translate)
        assert (layer.units, layer.axis_labels) == (source.units, source.axis_labels)


@pytest.mark.parametrize(
    ("labels", "axis"), [(("z", "y", "x"), None), (("t", "y", "x"), "Z")], ids=["named", "chosen"]
)
def test_through_z_there_are_objects_but_no_tracks(
    filmed: Desk, labels: tuple[str, ...], axis: str | None
) -> None:
    add_prediction(filmed, movie(), axis_labels=labels)
    panel = link(filmed, axis)
    assert "cells tracks" not in filmed.viewer.layers
    assert filmed.viewer.layers["cells"].data.max() == 3
    assert panel.text.text() == "cells: 3 objects."


def test_linked_labels_are_nothing_to_paint_in_or_to_train_on(filmed: Desk) -> None:
    add_prediction(filmed, movie())
    link(filmed)
    assert filmed.viewer.layers["cells"].metadata[METADATA_KEY].linked
    assert filmed.predict.compare.truth_box.layer is None


def test_selected_labels_of_any_origin_are_linked(filmed: Desk) -> None:
    add_prediction(filmed, movie())
    mine = filmed.viewer.add_labels(movie(), name="mine")
    filmed.viewer.layers.selection.active = mine
    link(filmed)
    assert "mine linked" in filmed.viewer.layers
    assert filmed.viewer.layers.selection.active is mine
    assert mine.visible


def test_each_setting_of_linking_counts(filmed: Desk) -> None:
    add_prediction(filmed, movie())
    filmed.predict.link.form.editors["divisions"].widget.setChecked(False)
    link(filmed)
    assert filmed.viewer.layers["cells"].data.max() == 3
    assert not filmed.viewer.layers["cells tracks"].graph


def test_a_gap_that_slices_cannot_have_is_told(filmed: Desk) -> None:
    add_prediction(filmed, movie())
    filmed.predict.link.form.editors["gap"].widget.setValue(5)
    panel = link(filmed, "Z")
    assert panel.text.text() == "gap is 5; choose 0 or 1 through slices."
    assert "cells linked" not in filmed.viewer.layers


def test_a_second_click_takes_the_layers_of_the_first(filmed: Desk) -> None:
    add_prediction(filmed, movie())
    link(filmed)
    names = {layer.name for layer in filmed.viewer.layers}
    filmed.predict.link.form.editors["minimum_overlap"].widget.setValue(1.0)
    link(filmed)
    assert {layer.name for layer in filmed.viewer.layers} == names
    assert filmed.viewer.layers["cells"].data.max() > 4


def test_linked_labels_of_others_that_were_painted_in_are_not_overwritten(filmed: Desk) -> None:
    mine = filmed.viewer.add_labels(movie(), name="mine")
    link(filmed)
    edited = filmed.viewer.layers["mine linked"]
    edited.paint((0, 90, 90), 77)
    filmed.viewer.layers.selection.active = mine
    link(filmed)
    assert edited.data[0, 90, 90] == 77
    assert "mine linked [1]" in filmed.viewer.layers


@pytest.mark.parametrize(
    ("labels", "kind", "text"),
    [(movie()[0], "objects", "2 axes"), (movie(), "classes", "holds classes")],
    ids=["one plane", "classes"],
)
def test_what_cannot_be_linked_is_told(
    filmed: Desk, labels: NDArray[Any], kind: str, text: str
) -> None:
    add_prediction(filmed, labels, kind)
    n_layers = len(filmed.viewer.layers)
    assert text in link(filmed).text.text()
    assert len(filmed.viewer.layers) == n_layers


def test_objects_that_are_whole_in_z_are_not_linked_through_it(filmed: Desk) -> None:
    source = add_prediction(filmed, movie())
    source.metadata[METADATA_KEY].ndim = 3
    assert "whole in z already" in link(filmed).text.text()


def test_without_labels_it_says_what_to_do(filmed: Desk) -> None:
    assert "select a labels layer" in link(filmed).text.text()


def test_stop_adds_no_layer(filmed: Desk) -> None:
    add_prediction(filmed, np.tile(movie(), (100, 1, 1)))
    panel = filmed.predict.link
    filmed.click(panel.link_button)
    filmed.click(panel.stop_button)
    filmed.wait_until_idle()
    assert panel.text.text() == "Stopped; nothing was linked."
    assert "cells linked" not in filmed.viewer.layers


def test_the_buttons_follow_the_work(filmed: Desk) -> None:
    panel = filmed.predict.link
    assert (panel.link_button.isEnabled(), panel.stop_button.isEnabled()) == (True, False)
    add_prediction(filmed, movie())
    filmed.click(panel.link_button)
    assert (panel.link_button.isEnabled(), panel.stop_button.isEnabled()) == (False, True)
    filmed.wait_until_idle()
    assert (panel.link_button.isEnabled(), panel.stop_button.isEnabled()) == (True, False)


def test_a_layer_that_is_closed_meanwhile_is_told(filmed: Desk) -> None:
    source = add_prediction(filmed, movie())
    panel = filmed.predict.link
    filmed.click(panel.link_button)
    filmed.viewer.layers.remove(source)
    filmed.wait_until_idle()
    assert panel.text.text() == "cells was closed meanwhile."


def test_a_layer_that_changes_meanwhile_is_linked_when_that_is_done(filmed: Desk) -> None:
    source = add_prediction(filmed, movie())
    told: list[str] = []
    panel = filmed.predict.link
    panel.cells.told.connect(told.append)
    source.metadata[METADATA_KEY].live = True
    filmed.click(panel.link_button)
    source.data[0, :2, :2] = 77
    filmed.wait_until_idle()
    assert told[-1] == "cells is still being found: it is linked when that is done."


@pytest.mark.parametrize(("axes", "axis", "n"), [("TZYX", "Z", 6), ("TZYX", "T", 2)])
def test_progress_counts_planes(axes: str, axis: Any, n: int) -> None:
    task = ToLink(np.zeros((2, 3, 8, 8), np.uint8), axes, LinkConfig(axis))
    events = list(linking_events(task, threading.Event()))
    assert [(each.number, each.total) for each in events] == [(k + 1, n) for k in range(n)]


# --- Correcting what is linked -------------------------------------------------------------------


def test_tools_act_on_linked_cells(filmed: Desk) -> None:
    add_prediction(filmed, movie())
    link(filmed)
    tools = filmed.predict.correct.tools
    layer = tools.ready()
    assert layer is filmed.viewer.layers["cells"]
    tools.apply(layer, "delete", np.array([[1.0, 60, 40]]))
    assert not layer.data[1, 60, 40]
    assert layer.data[0, 60, 40]


def test_where_all_cells_are_hidden_a_tool_says_so(filmed: Desk) -> None:
    add_prediction(filmed, movie())
    link(filmed)
    filmed.viewer.layers["cells"].visible = False
    assert filmed.predict.correct.tools.ready() is None
    assert "press H" in filmed.predict.correct.text.text()


def test_a_part_of_a_linked_cell_gets_a_number_that_no_other_frame_has(filmed: Desk) -> None:
    add_prediction(filmed, movie())
    link(filmed)
    layer = filmed.viewer.layers["cells"]
    known = set(np.unique(layer.data))
    line = np.array([[0.0, 65, 25], [0, 65, 65]])
    filmed.predict.correct.tools.apply(layer, "split", line)
    assert int(layer.data.max()) == max(known) + 1


def test_linking_again_keeps_what_was_corrected(filmed: Desk) -> None:
    add_prediction(filmed, movie())
    link(filmed)
    layer = filmed.viewer.layers["cells"]
    filmed.predict.correct.tools.apply(layer, "delete", np.array([[1.0, 60, 40]]))
    link(filmed)
    assert not layer.data[1, 60, 40]


# --- Correcting links ----------------------------------------------------------------------------

FIRST, SECOND = (15, 20), (60, 35)  # pixels that two cells have in all frames


class Reel:
    """Two cells that stay where they are for five frames, linked."""

    def __init__(self, desk: Desk) -> None:
        labels = np.zeros((5, 96, 96), np.int32)
        labels[:, 5:25, 5:25], labels[:, 50:80, 30:60] = 1, 2
        self.desk, self.layer = desk, add_prediction(desk, labels)
        link(desk)
        self.tools = desk.predict.correct.tools
        self.about: Predicted = self.layer.metadata[METADATA_KEY]

    def numbers(self, at: tuple[int, int] = FIRST) -> list[int]:
        """What a cell is called in each frame."""
        found: list[int] = self.layer.data[(slice(None), *at)].tolist()
        return found

    def click(self, tool: str, *places: tuple[int, tuple[int, int]]) -> None:
        """Click cells, one after the other."""
        for frame, at in places:
            self.tools.apply_once(self.layer, tool, np.array([[frame, *at]], float))
        self.desk.qtbot.wait(250)
        self.desk.wait_until_idle()

    def link_anew(self) -> None:
        """Separate the cells, and link them again."""
        self.tools.cells.separate(self.layer)
        self.desk.wait_until_idle()
        link(self.desk)

    @property
    def tracks(self) -> Tracks:
        """The layer of tracks."""
        layer: Tracks = self.desk.viewer.layers["cells tracks"]
        return layer


@pytest.fixture
def reel(make_desk: MakeDesk) -> Reel:
    return Reel(make_desk(np.stack([disks()] * 5)))


CORRECTIONS: list[tuple[str, list[tuple[int, tuple[int, int]]], list[int], list[int]]] = [
    ("break", [(2, FIRST)], [1, 1, 3, 3, 3], [2, 2, 2, 2, 2]),
    ("reassign", [(2, FIRST), (0, SECOND)], [1, 1, 2, 1, 1], [2, 2, 1, 2, 2]),
    ("exchange", [(3, FIRST), (3, SECOND)], [1, 1, 1, 2, 2], [2, 2, 2, 1, 1]),
]


@pytest.mark.parametrize(("tool", "places", "first", "second"), CORRECTIONS)
def test_a_corrected_link_is_one_step_of_undo(
    reel: Reel,
    tool: str,
    places: list[tuple[int, tuple[int, int]]],
    first: list[int],
    second: list[int],
) -> None:
    reel.click(tool, *places)
    assert (reel.numbers(FIRST), reel.numbers(SECOND)) == (first, second)
    assert "Ctrl+Z" in reel.desk.predict.correct.text.text()
    reel.layer.undo()
    assert (reel.numbers(FIRST), reel.numbers(SECOND)) == ([1] * 5, [2] * 5)
    assert not reel.about.memory.known.cannot
    reel.layer.redo()
    assert (reel.numbers(FIRST), reel.numbers(SECOND)) == (first, second)
    assert reel.about.memory.known.cannot


@pytest.mark.parametrize(("tool", "places", "first", "second"), CORRECTIONS)
def test_a_corrected_link_stays_when_linked_anew_and_teaches_nothing(
    reel: Reel,
    tool: str,
    places: list[tuple[int, tuple[int, int]]],
    first: list[int],
    second: list[int],
) -> None:
    reel.click(tool, *places)
    np.testing.assert_array_equal(reel.layer.data, reel.about.labels)
    reel.link_anew()
    pairs = {*zip(reel.numbers(FIRST), first, strict=True)}
    pairs |= {*zip(reel.numbers(SECOND), second, strict=True)}
    assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})


def test_two_tracks_are_joined_and_what_was_broken_is_forgotten(reel: Reel) -> None:
    reel.click("break", (2, FIRST))
    reel.click("join", (0, FIRST), (4, FIRST))
    assert reel.numbers() == [1] * 5
    assert not reel.about.memory.known.cannot
    reel.layer.undo()
    assert reel.numbers() == [1, 1, 3, 3, 3]
    reel.layer.undo()
    assert reel.numbers() == [1] * 5


def test_cells_of_one_frame_are_no_track(reel: Reel) -> None:
    reel.click("join", (1, FIRST), (3, SECOND))
    assert "Both cells are in frame 0" in reel.desk.predict.correct.text.text()
    assert reel.numbers() == [1] * 5


def test_tracks_and_measurements_follow_at_once(reel: Reel) -> None:
    reel.click("break", (2, FIRST))
    assert reel.tracks.data[:, 0].astype(int).tolist() == [1] * 2 + [2] * 5 + [3] * 3
    reel.desk.viewer.layers.selection.active = reel.layer
    reel.desk.click(reel.desk.predict.measure.measure_button)
    reel.desk.wait_until_idle()
    assert list(reel.layer.features["index"]) == [1] * 2 + [2] * 5 + [3] * 3
    assert list(reel.tracks.features["index"]) == [1] * 2 + [2] * 5 + [3] * 3
    reel.layer.undo()
    reel.desk.qtbot.wait(250)
    assert reel.tracks.data[:, 0].astype(int).tolist() == [1] * 5 + [2] * 5


def test_tracks_follow_a_cell_that_is_deleted(reel: Reel) -> None:
    reel.click("delete", (4, FIRST))
    assert reel.tracks.data[:, 0].astype(int).tolist() == [1] * 4 + [2] * 5


def test_the_first_of_two_cells_is_marked_until_the_second_is_clicked(reel: Reel) -> None:
    reel.click("join", (0, FIRST))
    marked = reel.tools.cells._marked
    assert marked is not None
    assert set(marked.at[0]) == {0}
    assert "now click the other one" in reel.desk.predict.correct.text.text()
    reel.tools.put_down()
    assert not marked.at


def test_a_drag_takes_both_cells(reel: Reel) -> None:
    path = np.array([[3.0, *FIRST], [3, *SECOND]])
    reel.tools.apply(reel.layer, "exchange", path)
    assert reel.numbers() == [1, 1, 1, 2, 2]


def test_a_drag_that_is_too_quick_for_the_window_ends_where_the_mouse_is_released(
    reel: Reel,
) -> None:
    reel.tools.take("exchange")
    event = SimpleNamespace(type="mouse_press", button=1, position=(3.0, *FIRST))
    drag = reel.layer.mouse_drag_callbacks[-1](reel.layer, event)
    next(drag)
    event.type, event.position = "mouse_release", (3.0, *SECOND)
    assert not list(drag)
    assert reel.numbers() == [1, 1, 1, 2, 2]


def test_without_a_mouse_links_are_corrected_by_numbers(reel: Reel) -> None:
    panel = reel.desk.predict.correct
    reel.desk.viewer.dims.set_current_step(0, 2)
    panel.numbers_edit.setText("1")
    panel.take_tool("break")
    assert reel.numbers() == [1, 1, 3, 3, 3]
    panel.numbers_edit.setText("3, 1")
    panel.take_tool("join")
    assert reel.numbers() == [1] * 5
    panel.numbers_edit.setText("1, 2")
    panel.take_tool("exchange")
    assert reel.numbers() == [1, 1, 2, 2, 2]


@pytest.mark.parametrize(
    ("tool", "numbers", "told"),
    [
        ("join", "1, 9", "no cell 9"),
        ("reassign", "8, 9", "no cell 8 in frame 2"),
        ("exchange", "3, 4", "Neither cell is in frame 4"),
    ],
)
def test_numbers_that_no_cell_has_correct_nothing(
    reel: Reel, tool: str, numbers: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    warnings: list[str] = []
    monkeypatch.setattr(correct, "show_warning", warnings.append)
    panel, memory = reel.desk.predict.correct, reel.about.memory
    reel.layer.data[:2, 85:90, 85:90], reel.layer.data[0, 85:90, 5:10] = 3, 4
    reel.desk.viewer.dims.set_current_step(0, 4 if tool == "exchange" else 2)
    panel.numbers_edit.setText(numbers)
    panel.take_tool(tool)
    assert told in warnings[0]
    assert (reel.numbers(), reel.about.memory) == ([1] * 5, memory)


def test_tools_for_links_are_there_where_cells_are_linked(filmed: Desk) -> None:
    buttons = filmed.predict.correct.buttons
    source = add_prediction(filmed, movie())
    assert buttons["break"].isHidden()
    filmed.predict.correct.tools.take("break")
    assert "not linked" in filmed.predict.correct.text.text()
    link(filmed)
    assert not buttons["break"].isHidden()
    filmed.predict.link.cells.separate(source)
    filmed.wait_until_idle()
    assert buttons["break"].isHidden()


def test_undoing_a_correction_of_a_cell_and_one_of_links_keeps_both_apart(reel: Reel) -> None:
    reel.tools.edited.connect(lambda layer, tool, change: reel.tools.copier.teach(layer, change))
    reel.click("delete", (3, FIRST))
    reel.click("break", (2, FIRST))
    reel.layer.undo()
    assert reel.numbers() == [1, 1, 1, 0, 1]
    np.testing.assert_array_equal(reel.about.labels[:, 15, 20], [1] * 5)
    reel.layer.undo()
    assert reel.numbers() == [1] * 5


def test_what_is_predicted_anew_is_linked_anew(reel: Reel) -> None:
    reel.click("break", (2, FIRST))
    reel.layer.data[...] = reel.about.labels[...] = 0
    reel.layer.data[:, 5:25, 5:25], reel.layer.data[:, 50:80, 30:60] = 2, 1
    np.copyto(reel.about.labels, reel.layer.data)
    reel.about.stale = True
    reel.layer.refresh()
    reel.desk.qtbot.wait(300)
    reel.desk.wait_until_idle()
    assert not reel.about.stale
    assert reel.numbers(FIRST) == [1, 1, 3, 3, 3]
    assert reel.numbers(SECOND) == [2] * 5


def test_planes_that_were_predicted_one_by_one_are_linked_through_z_and_then_over_time(
    make_desk: MakeDesk,
) -> None:
    desk = make_desk(np.stack([np.stack([disks()] * 3)] * 2))
    labels = np.zeros((2, 3, 96, 96), np.int32)
    labels[:, :, 5:25, 5:25], labels[:, 1, 50:80, 30:60] = 2, 1
    labels[:, 0, 5:25, 5:25] = 1
    source = add_prediction(desk, labels)
    link(desk)
    assert np.unique(source.data[:, :, 15, 15]).tolist() == [1]
    assert np.unique(source.data[:, 1, 60, 40]).tolist() == [2]
