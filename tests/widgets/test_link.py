"""Link over time or z: linked labels in a layer of their own, and tracks."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from napari.layers import Labels, Tracks
from numpy.typing import NDArray

from napari_unet.objects.linking import LinkConfig
from napari_unet.widgets.common.layers import METADATA_KEY
from napari_unet.widgets.common.result_layer import Predicted
from napari_unet.widgets.predict.link import LinkPanel, ToLink, linking_events

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
    layer = filmed.viewer.layers["cells linked"]
    assert layer.data[:, 15, 15].tolist() == [1, 1, 1, 1]
    assert layer.data[:, 60, 35].tolist()[:3] == [2, 2, 2]
    colours = [layer.get_color(int(number)) for number in layer.data[:, 15, 15]]
    np.testing.assert_array_equal(colours, [colours[0]] * 4)


def test_what_was_linked_stays_as_it_was(filmed: Desk) -> None:
    source = add_prediction(filmed, movie())
    link(filmed)
    np.testing.assert_array_equal(source.data, movie())
    assert not source.visible


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
    filmed.viewer.layers.selection.active = filmed.viewer.layers["cells linked"]
    filmed.click(filmed.predict.measure.measure_button)
    filmed.wait_until_idle()
    rows = filmed.viewer.layers["cells linked"].features
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
    for name in ("cells linked", "cells tracks"):
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
    assert filmed.viewer.layers["cells linked"].data.max() == 3
    assert panel.text.text() == "cells: 3 objects."


def test_linked_labels_are_nothing_to_paint_in_or_to_train_on(filmed: Desk) -> None:
    add_prediction(filmed, movie())
    link(filmed)
    assert filmed.viewer.layers["cells linked"].metadata[METADATA_KEY].linked
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
    assert filmed.viewer.layers["cells linked"].data.max() == 3
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
    assert filmed.viewer.layers["cells linked"].data.max() > 4


def test_what_was_painted_in_linked_labels_is_not_overwritten(filmed: Desk) -> None:
    add_prediction(filmed, movie())
    link(filmed)
    edited = filmed.viewer.layers["cells linked"]
    edited.paint((0, 90, 90), 77)
    filmed.viewer.layers.selection.active = filmed.viewer.layers["cells"]
    link(filmed)
    assert edited.data[0, 90, 90] == 77
    assert "cells linked [1]" in filmed.viewer.layers


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


@pytest.mark.parametrize(("axes", "axis", "n"), [("TZYX", "Z", 6), ("TZYX", "T", 2)])
def test_progress_counts_planes(axes: str, axis: Any, n: int) -> None:
    task = ToLink(np.zeros((2, 3, 8, 8), np.uint8), axes, LinkConfig(axis))
    events = list(linking_events(task, threading.Event()))
    assert [(each.number, each.total) for each in events] == [(k + 1, n) for k in range(n)]


# --- Correcting what is linked -------------------------------------------------------------------


def test_tools_act_on_the_linked_cells_that_are_shown(filmed: Desk) -> None:
    hidden = add_prediction(filmed, movie())
    link(filmed)
    tools = filmed.predict.correct.tools
    layer = tools.ready()
    assert layer is filmed.viewer.layers["cells linked"]
    tools.apply(layer, "delete", np.array([[1.0, 60, 40]]))
    assert not layer.data[1, 60, 40]
    assert layer.data[0, 60, 40]
    assert hidden.data[1, 60, 40]


def test_a_tool_in_hand_goes_on_with_the_linked_cells(filmed: Desk) -> None:
    add_prediction(filmed, movie())
    filmed.predict.correct.tools.take("delete")
    link(filmed)
    assert filmed.predict.correct.buttons["delete"].isChecked()
    assert filmed.viewer.layers.selection.active is filmed.viewer.layers["cells linked"]


def test_where_all_cells_are_hidden_a_tool_says_so(filmed: Desk) -> None:
    add_prediction(filmed, movie())
    link(filmed)
    filmed.viewer.layers["cells linked"].visible = False
    assert filmed.predict.correct.tools.ready() is None
    assert "press H" in filmed.predict.correct.text.text()


def test_a_part_of_a_linked_cell_gets_a_number_that_no_other_frame_has(filmed: Desk) -> None:
    add_prediction(filmed, movie())
    link(filmed)
    layer = filmed.viewer.layers["cells linked"]
    known = set(np.unique(layer.data))
    line = np.array([[0.0, 65, 25], [0, 65, 65]])
    filmed.predict.correct.tools.apply(layer, "split", line)
    assert int(layer.data.max()) == max(known) + 1


def test_linking_again_keeps_linked_cells_that_were_corrected(filmed: Desk) -> None:
    source = add_prediction(filmed, movie())
    link(filmed)
    layer = filmed.viewer.layers["cells linked"]
    filmed.predict.correct.tools.apply(layer, "delete", np.array([[1.0, 60, 40]]))
    filmed.viewer.layers.selection.active = source
    link(filmed)
    assert layer in filmed.viewer.layers
    assert not layer.data[1, 60, 40]
