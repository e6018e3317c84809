"""Paint & Segment: the whole loop in one dock, as a person goes through it."""

from __future__ import annotations

import threading
import tracemalloc
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from napari.layers import Labels
from napari.utils.notifications import notification_manager

from napari_unet.objects.clicking import Clickable
from napari_unet.training.config import TrainConfig
from napari_unet.training.events import PaintJudged, ViewPredicted
from napari_unet.training.validation import PaintedCell
from napari_unet.widgets.annotate.coverage import shown_plane
from napari_unet.widgets.common import session as common_session
from napari_unet.widgets.common.annotation import annotation_of, painted_around, stroke_goes_on
from napari_unet.widgets.common.layers import METADATA_KEY
from napari_unet.widgets.common.pairs import ticked_pairs
from napari_unet.widgets.common.result_layer import Predicted, predicted_of
from napari_unet.widgets.common.session import session_of
from napari_unet.widgets.common.task import BackgroundTask, Finished
from napari_unet.widgets.predict.spots import (
    BETWEEN,
    EDGE,
    MISSED,
    NO_CELL,
    TWO_IN_ONE,
    Doubt,
    doubt_at,
)
from napari_unet.widgets.segment import click, learn, suggest, tools
from napari_unet.widgets.segment.accept import sure_cells
from napari_unet.widgets.segment.click import ClickableView
from napari_unet.widgets.segment.dock import SegmentWidget
from napari_unet.widgets.segment.menu import PromptModelMenu
from napari_unet.widgets.train.work import save_model

from .conftest import Desk
from .scenes import TINY, disks, strokes_on
from .test_predict import untrained

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytestqt.qtbot import QtBot


@dataclass(frozen=True)
class Bench:
    """A viewer with an image, and the dock."""

    viewer: Any
    dock: SegmentWidget
    qtbot: QtBot

    def wait(self) -> None:
        """Let the window live until nothing is under way."""
        tasks = session_of(self.viewer).findChildren(BackgroundTask)
        self.qtbot.wait(20)
        self.qtbot.waitUntil(lambda: not any(task.running for task in tasks), timeout=180_000)
        self.qtbot.wait(20)

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Let the window live until something is so."""
        self.qtbot.waitUntil(condition, timeout=180_000)

    @property
    def results(self) -> list[Labels]:
        """The layers that show results."""
        layers = [each for each in self.viewer.layers if isinstance(each, Labels)]
        return [layer for layer in layers if predicted_of(layer) is not None]

    @property
    def annotation(self) -> Labels:
        """The layer that is painted in."""
        layer = self.dock.target.annotation
        assert layer is not None
        return layer

    @property
    def session(self) -> Any:
        """What is shared by the docks."""
        return session_of(self.viewer)


@pytest.fixture
def make_bench(
    make_viewer: Callable[[], Any], qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Bench]:
    """Give a function that opens the dock on an image; it looks for cells only if it `looks`."""

    def make(*, looks: bool = False, paint: bool = False, image: Any = None) -> Bench:
        monkeypatch.setattr(suggest, "_DELAY_MS", 10 if looks else 10_000_000)
        monkeypatch.setattr(learn, "_PAUSE_MS", 10)
        viewer = make_viewer()
        viewer.add_image(disks() if image is None else image, name="disks")
        if paint:
            viewer.add_labels(strokes_on(disks()), name="paint")
        dock = SegmentWidget(viewer)
        viewer.window.add_dock_widget(dock, name="Paint & Segment")
        session_of(viewer).settings = TrainConfig().changed(**TINY, start="random", steps=20)
        return Bench(viewer, dock, qtbot)

    return make


@pytest.fixture
def bench(make_bench: Callable[..., Bench]) -> Bench:
    return make_bench()


@pytest.fixture
def painted(make_bench: Callable[..., Bench]) -> Bench:
    return make_bench(paint=True)


@pytest.fixture
def suggested(make_bench: Callable[..., Bench]) -> Bench:
    """The dock some seconds after an image was opened."""
    bench = make_bench(looks=True)
    bench.wait_for(lambda: "cells found" in bench.dock.suggestions.text.text())
    bench.wait()
    return bench


def whole(layer: Labels) -> bool:
    """Return whether all of the image was predicted in a layer."""
    predicted = predicted_of(layer)
    return predicted is not None and predicted.places == (((), (slice(0, 96), slice(0, 96))),)


# --- On opening an image -----------------------------------------------------------------------


def test_an_image_that_is_opened_is_searched_without_a_click(suggested: Bench) -> None:
    assert len(suggested.results) == 1
    assert len(np.unique(suggested.results[0].data)) > 8
    assert suggested.session.model is None


def test_the_sliders_change_what_is_shown_without_the_network(suggested: Bench) -> None:
    before = np.array(suggested.results[0].data)
    suggested.dock.suggestions.smallest.setValue(100)
    suggested.dock.suggestions.sensitivity.setValue(6)
    suggested.wait()
    assert np.count_nonzero(suggested.results[0].data) < np.count_nonzero(before)


def test_using_what_is_found_makes_its_model_and_size_those_in_use(suggested: Bench) -> None:
    said = suggested.dock.suggestions.text.text()
    size = float(said.split("about ")[1].split()[0])
    suggested.dock.suggestions.use_button.click()
    suggested.wait()
    assert suggested.session.model_name == "General cells"
    assert suggested.dock.options.cell_size.value == pytest.approx(size, abs=0.5)
    assert whole(suggested.results[0])


def test_using_what_is_found_in_all_of_an_image_gives_just_that(suggested: Bench) -> None:
    before = np.array(suggested.results[0].data)
    suggested.dock.suggestions.use_button.click()
    suggested.wait()
    np.testing.assert_array_equal(suggested.results[0].data, before)


def test_small_cells_that_were_found_are_learned_enlarged_as_well(suggested: Bench) -> None:
    suggested.dock.suggestions.use_button.click()
    suggested.wait()
    suggested.dock.tools.take("cell")
    suggested.annotation.data[:] = strokes_on(disks())
    config, _ = suggested.dock.learn._plan(ticked_pairs(suggested.viewer))
    assert (config.start, config.binning) == ("cells", 0.67)
    suggested.dock.options.cell_size.box.setValue(5)  # what is painted is much larger
    config, _ = suggested.dock.learn._plan(ticked_pairs(suggested.viewer))
    assert config.binning == 0


def test_the_first_brush_suits_the_cells_that_were_found(suggested: Bench) -> None:
    suggested.dock.suggestions.use_button.click()
    suggested.wait()
    suggested.dock.tools.take("cell")
    assert suggested.annotation.brush_size == round(0.4 * suggested.dock.options.cell_size.value)


def test_what_is_not_wanted_goes(suggested: Bench) -> None:
    suggested.dock.suggestions.dismiss_button.click()
    assert suggested.results == []
    assert not suggested.dock.suggestions.isVisible()


def test_who_has_painted_is_not_disturbed(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(looks=True, paint=True)
    bench.qtbot.wait(100)
    bench.wait()
    assert bench.results == []


def test_who_paints_while_it_searches_is_left_alone(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(looks=True)
    bench.wait_for(lambda: bench.dock.suggestions._task.running)
    bench.dock.tools.take("cell")
    bench.annotation.paint((36, 36), 2)
    bench.wait()
    assert bench.results == []
    assert not bench.dock.suggestions.isVisible()


def test_closing_the_image_ends_the_search(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(looks=True)
    bench.wait_for(lambda: bench.dock.suggestions._task.running)
    bench.viewer.layers.clear()
    bench.wait()
    assert not bench.dock.suggestions.isVisible()


# --- Tools -------------------------------------------------------------------------------------


def test_the_first_tool_makes_the_layer_to_paint_in(bench: Bench) -> None:
    bench.dock.tools.take("cell")
    layer = bench.annotation
    assert (layer.mode, layer.selected_label) == ("paint", 2)
    assert bench.dock.tools.buttons["cell"].isChecked()


def test_without_an_image_a_tool_makes_no_layer(bench: Bench) -> None:
    bench.viewer.layers.clear()
    bench.dock.tools.take("cell")
    assert bench.dock.target.annotation is None
    assert not bench.dock.tools.buttons["cell"].isChecked()


def test_background_is_not_painted_over_cells(painted: Bench) -> None:
    painted.dock.tools.take("background")
    layer = painted.annotation
    cells = np.array(layer.data) > 1
    layer.paint((12, 12), 1)
    assert (layer.data[cells] > 1).all()


def test_after_the_background_a_cell_may_be_painted_over_anything(painted: Bench) -> None:
    painted.dock.tools.take("background")
    painted.dock.tools.take("cell")
    layer = painted.annotation
    assert not layer.preserve_labels


@pytest.mark.parametrize(("size", "larger", "smaller"), [(40, 48, 33), (2, 3, 1), (1, 2, 1)])
def test_the_brush_changes_by_a_fifth(bench: Bench, size: int, larger: int, smaller: int) -> None:
    bench.dock.tools.take("cell")
    layer = bench.annotation
    layer.brush_size = size
    bench.dock.tools.keys["]"]()
    assert layer.brush_size == larger
    layer.brush_size = size
    bench.dock.tools.keys["["]()
    assert layer.brush_size == smaller


def stroke(bench: Bench, *points: tuple[float, ...]) -> int:
    """Begin a stroke as the mouse does, paint it, and return the number that it got."""
    bench.dock.tools.begin_stroke(points[0])
    layer = bench.annotation
    for point in points:
        layer.paint(point, layer.selected_label)
    return int(layer.selected_label)


def test_a_stroke_beside_the_last_cell_is_the_next_cell_without_a_key(bench: Bench) -> None:
    bench.dock.tools.take("cell")
    assert [stroke(bench, (12, 12 + 24 * n)) for n in range(3)] == [2, 3, 4]


def test_a_stroke_that_begins_on_a_painted_cell_goes_on_with_it(bench: Bench) -> None:
    bench.dock.tools.take("cell")
    for n in range(3):
        stroke(bench, (12, 12 + 24 * n))
    assert stroke(bench, (13, 12)) == 2
    assert stroke(bench, (13, 36)) == 3


def test_the_key_begins_a_cell_that_touches_the_last_one(bench: Bench) -> None:
    bench.dock.tools.take("cell")
    assert stroke(bench, (12, 12)) == 2
    bench.dock.tools.take("cell")
    assert stroke(bench, (12, 15)) == 3


def test_a_number_that_was_chosen_in_napari_stays(bench: Bench) -> None:
    bench.dock.tools.take("cell")
    stroke(bench, (12, 12))
    stroke(bench, (12, 60))
    bench.annotation.selected_label = 2
    assert stroke(bench, (60, 60)) == 2


def test_classes_go_on_wherever_a_stroke_begins(bench: Bench) -> None:
    bench.dock.target.kind_box.setCurrentIndex(1)
    bench.dock.tools.take("cell")
    assert [stroke(bench, (12, 12)), stroke(bench, (60, 60))] == [2, 2]


def test_a_cell_goes_on_in_the_next_plane_of_a_stack(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(image=stack())
    bench.dock.tools.take("cell")
    assert stroke(bench, (0, 12, 12)) == 2
    assert stroke(bench, (0, 60, 60)) == 3
    bench.viewer.dims.set_current_step(0, 1)
    assert stroke(bench, (1, 12, 12)) == 2
    assert stroke(bench, (1, 40, 80)) == 4


def painted_twice(make_bench: Callable[..., Bench]) -> Bench:
    """A cell in the first and in the last of five slices, painted one after the other."""
    bench = make_bench(image=np.stack([disks()] * 5))
    bench.dock.tools.take("cell")
    for plane in (0, 4):
        bench.viewer.dims.set_current_step(0, plane)
        stroke(bench, (plane, 12, 12))
    return bench


def test_a_key_fills_the_slices_between_and_joins_what_lies_over_each_other(
    make_bench: Callable[..., Bench],
) -> None:
    bench = painted_twice(make_bench)
    bench.dock.tools.keys["F"]()
    assert set(np.unique(bench.annotation.data)) == {0, 2}
    assert all((plane == 2).any() for plane in bench.annotation.data)
    assert "Filled in 3 slices" in bench.dock.tools.text.text()


def test_one_undo_takes_the_filled_slices_back(make_bench: Callable[..., Bench]) -> None:
    bench = painted_twice(make_bench)
    before = bench.annotation.data.copy()
    bench.dock.tools.fill_button.click()
    bench.annotation.undo()
    np.testing.assert_array_equal(bench.annotation.data, before)


def test_filling_between_is_offered_in_stacks_alone(
    make_bench: Callable[..., Bench], bench: Bench
) -> None:
    bench.dock.tools.take("cell")
    assert bench.dock.tools.fill_button.isHidden()
    stacked = painted_twice(make_bench)
    assert not stacked.dock.tools.fill_button.isHidden()
    axes = stacked.viewer.layers[-1]
    axes.axis_labels = ("t", "y", "x")
    stacked.dock.tools.show_task(stacked.dock.target.task)
    assert stacked.dock.tools.fill_button.isHidden()


def test_coverage_is_that_of_the_plane_on_screen_from_the_side_too(
    make_bench: Callable[..., Bench],
) -> None:
    bench = painted_twice(make_bench)
    bench.viewer.dims.order = (1, 0, 2)
    bench.viewer.dims.set_current_step(1, 12)
    assert shown_plane(bench.viewer, bench.annotation).shape == (5, 96)
    assert set(np.unique(shown_plane(bench.viewer, bench.annotation))) == {0, 2, 3}


def test_with_nothing_to_fill_it_says_what_to_paint(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(image=stack())
    bench.dock.tools.take("cell")
    bench.dock.tools.fill_button.click()
    assert "paint a cell in two slices" in bench.dock.tools.text.text()


@pytest.mark.canvas
def test_in_the_window_each_stroke_of_the_mouse_is_a_cell_of_its_own(
    make_viewer: Callable[[], Any], qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(suggest, "_DELAY_MS", 10_000_000)
    viewer = make_viewer()
    image = viewer.add_image(disks(), name="disks")
    _, dock = viewer.window.add_plugin_dock_widget("napari-unet-paint", "Paint & Segment")
    hand: Any = Desk(viewer, image, *(dock,) * 3, qtbot)
    dock.tools.take("cell")
    dock.target.annotation.brush_size = 4
    qtbot.wait(200)
    for number in range(12):
        y, x = 12 + 24 * (number // 4), 12 + 24 * (number % 4)
        hand.stroke((y, x - 2), (y, x + 2))
    assert np.unique(dock.target.annotation.data).tolist() == [0, *range(2, 14)]


def ring() -> Any:
    """An outline of a cell, number 2."""
    plane = np.zeros((40, 40), np.uint16)
    plane[5:25, 5:25] = 2
    plane[8:22, 8:22] = 0
    return plane


@pytest.mark.parametrize(
    ("start", "size", "found"),
    [
        ((6, 6), 0, 2),  # on it
        ((14, 14), 0, 2),  # inside of the outline
        ((14, 27), 0, 2),  # so near that the brush overlaps it
        ((14, 30), 0, 0),  # the next cell, which touches it
        ((14, 30), 60, 2),  # of a cell three times as large it is a part
        ((14, 30), 20, 0),
    ],
)
def test_where_a_stroke_goes_on(start: tuple[int, int], size: float, found: int) -> None:
    assert stroke_goes_on(np.argwhere(ring() == 2), start, 8, size) == bool(found)


def test_a_cell_is_found_as_far_as_it_goes_on_from_where_a_stroke_began() -> None:
    painted = np.argwhere(ring() == 2)
    np.testing.assert_array_equal(painted_around(ring(), [(6, 6)], 2, 2), painted)
    np.testing.assert_array_equal(painted_around(ring(), [(6, 6), (22, 20)], 2, 2), painted)
    assert not len(painted_around(ring(), [(35, 35)], 2, 2))


def test_a_stroke_does_not_wait_for_a_look_at_all_of_the_paint(
    make_bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = make_bench(image=np.zeros((2048, 2048), np.uint8))
    bench.dock.tools.take("cell")
    assert [stroke(bench, (100, 100)), stroke(bench, (1900, 1900))] == [2, 3]
    looked_at: list[int] = []

    def next_after(seen: Any) -> int:
        looked_at.append(seen.size)
        return 4

    monkeypatch.setattr(tools, "next_object", next_after)
    tracemalloc.start()
    bench.dock.tools.begin_stroke((1000, 1000))
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert bench.annotation.selected_label == 4
    assert sum(looked_at) == 1
    assert most < 2**20  # bytes; a comparison of all pixels alone takes four times as many


def test_a_number_that_a_correction_has_painted_meanwhile_is_not_given_again(bench: Bench) -> None:
    bench.dock.tools.take("cell")
    stroke(bench, (12, 12))
    bench.annotation.data_setitem((np.array([60]), np.array([60])), 7)
    assert stroke(bench, (12, 60)) == 8
    paint = np.zeros((96, 96), np.uint16)
    paint[12, 60], paint[90, 90] = 8, 20
    bench.annotation.data = paint
    assert stroke(bench, (60, 12)) == 21


# --- Train and Pause ---------------------------------------------------------------------------


def test_a_training_that_ends_fills_in_the_whole_image(painted: Bench) -> None:
    painted.dock.learn.button.click()
    assert painted.session.training.running
    assert painted.dock.learn.button.text().startswith("Pause")
    painted.wait_for(lambda: not painted.session.training.running)
    painted.wait()
    assert painted.session.model is not None
    (layer,) = painted.results
    assert whole(layer)


def test_a_pause_keeps_the_model_and_does_not_go_on_by_itself(painted: Bench) -> None:
    painted.session.settings = painted.session.settings.changed(steps=100_000, patience=0)
    painted.dock.learn.start()
    painted.wait_for(lambda: painted.session.run.judged is not None)
    painted.dock.learn.toggle()
    painted.wait()
    painted.annotation.paint((60, 60), 2)
    painted.qtbot.wait(400)
    assert not painted.session.training.running
    assert painted.session.model is not None


def test_it_goes_on_by_itself_where_something_new_is_painted(painted: Bench) -> None:
    painted.dock.learn.start()
    painted.wait_for(lambda: not painted.session.training.running)
    painted.wait()
    steps = painted.session.model.record.steps
    painted.annotation.paint((60, 60), 12)
    painted.wait_for(lambda: painted.session.training.running)
    painted.wait()
    assert painted.session.model.record.steps > steps


def test_a_dock_that_is_opened_again_says_what_the_training_said(painted: Bench) -> None:
    painted.session.settings = painted.session.settings.changed(steps=100_000, patience=0)
    painted.dock.learn.start()
    painted.wait_for(lambda: painted.session.run.judged is not None)
    again = SegmentWidget(painted.viewer)
    assert again.learn.button.text().startswith("Pause")
    assert "painted cells" in again.learn.cells.text.text()
    painted.dock.learn.toggle()
    painted.wait()


def test_a_training_that_starts_takes_back_what_was_said_of_the_last_result(
    painted: Bench,
) -> None:
    painted.dock.progress.end("Done. 9 objects.")
    painted.dock.learn.start()
    assert painted.dock.progress.line.text() == ""
    painted.wait()


def test_it_says_where_the_outlines_are_those_of_an_earlier_version(bench: Bench) -> None:
    shown = ViewPredicted(60, 0, (), (slice(0, 9), slice(0, 9)), np.zeros((9, 9), np.uint8), 0.1)
    bench.session.training.happened.emit(replace(shown, by_best=True))
    assert "an earlier one is shown" in bench.dock.learn.text.text()
    bench.session.training.happened.emit(shown)
    assert "earlier" not in bench.dock.learn.text.text()


def test_all_of_the_image_is_segmented_by_what_was_shown_while_it_trained(
    make_bench: Callable[..., Bench], tmp_path: Path
) -> None:
    bench = make_bench(paint=True)
    annotation_of(bench.annotation).kind = "classes"
    bench.annotation.data = np.minimum(bench.annotation.data, 2)
    kinds = bench.dock.target.kind_box
    kinds.setCurrentIndex(kinds.findData("classes"))
    bench.session.settings = bench.session.settings.changed(steps=2, patience=0)
    bench.dock.learn.start()
    bench.wait_for(lambda: not bench.session.training.running)
    bench.wait()

    assert "goes on helping in this window" in bench.dock.learn.text.text()
    assert "results in files, are the network alone" in bench.dock.progress.line.text()
    (layer,) = bench.results
    painted = bench.annotation.data
    right = np.where(painted == 2, layer.data == 2, layer.data == 0)
    # After two steps the network knows nothing, the guess does.
    assert right[painted > 0].mean() > 0.9
    save_model(bench.session, tmp_path / "classes.safetensors")
    assert "It is the network alone" in str(notification_manager.records[-1].message)
    bench.session.load_model(bench.session.model, "the same, from elsewhere")
    assert bench.session.beside(bench.session.model) is None


@pytest.mark.parametrize(
    ("share", "words"),
    [(0.0, "a quick guess from single pixels"), (0.4, "say together"), (1.0, "")],
)
def test_it_says_whose_classes_are_shown(bench: Bench, share: float, words: str) -> None:
    shown = ViewPredicted(60, 0, (), (slice(0, 9), slice(0, 9)), np.zeros((9, 9), np.uint8), 0.1)
    bench.session.training.happened.emit(replace(shown, share_of_network=share))
    told = bench.dock.learn.text.text()
    assert words in told if words else told == ""


def test_it_says_that_paint_was_deleted_under_a_training(painted: Bench) -> None:
    painted.session.settings = painted.session.settings.changed(steps=100_000, patience=0)
    painted.dock.learn.start()
    painted.wait_for(lambda: painted.session.run.judged is not None)
    painted.viewer.layers.remove(painted.annotation)
    assert "pause and train again" in painted.dock.learn.text.text()
    painted.dock.learn.toggle()
    painted.wait()


def test_that_there_are_no_cells_is_said_once_and_until_there_are(bench: Bench) -> None:
    bench.dock.tools.take("delete")
    assert "no cells to correct yet" in bench.dock.tools.text.text()
    assert bench.dock.progress.line.text() == ""
    labels = np.zeros((96, 96), np.int32)
    predicted = Predicted(labels.copy(), 2, name="found")
    bench.viewer.add_layer(Labels(labels, name="found", metadata={METADATA_KEY: predicted}))
    assert bench.dock.tools.text.text() == ""


def test_the_cells_that_are_counted_are_those_on_screen(bench: Bench) -> None:
    found = PaintedCell(0, (), (5, 5), 0.8, "found")
    missed = replace(found, iou=0.1, verdict="missed")
    bench.session.training.happened.emit(PaintJudged(10, (found,), best=True))
    bench.session.training.happened.emit(PaintJudged(25, (missed,)))  # which is not kept
    assert bench.dock.learn.cells.text.text() == "The model finds the painted cell."


def test_moving_about_is_nothing_new(painted: Bench) -> None:
    painted.dock.learn.start()
    painted.wait()
    painted.annotation.refresh()
    painted.qtbot.wait(400)
    assert not painted.session.training.running


def test_another_kind_begins_a_new_model(painted: Bench) -> None:
    painted.dock.learn.start()
    painted.wait()
    painted.dock.target.kind_box.setCurrentIndex(1)
    painted.dock.learn.start()
    painted.wait()
    assert painted.session.model.record.classes.kind == "classes"


def test_what_was_learned_knows_its_cells_itself(painted: Bench) -> None:
    painted.dock.options.cell_size.box.setValue(40)
    painted.dock.learn.start()
    painted.wait()
    assert painted.dock.options.cell_size.value == 0


# --- Correcting is teaching --------------------------------------------------------------------


def squares() -> Any:
    """Two squares that touch, a bar, and a square alone."""
    labels = np.zeros((96, 96), np.int32)
    labels[10:30, 10:30] = 1
    labels[10:30, 30:50] = 2
    labels[60:70, 10:80] = 3
    labels[75:93, 10:28] = 4
    return labels


def shown(bench: Bench, kind: str = "objects") -> Labels:
    """Show a result of the image."""
    about = Predicted(squares(), 2, kind)
    about.image = bench.viewer.layers["disks"]
    layer = Labels(squares(), name="cells", metadata={METADATA_KEY: about})
    bench.viewer.add_layer(layer)
    bench.qtbot.wait(20)
    return layer


def correct(bench: Bench, tool: str, *points: tuple[float, float]) -> None:
    layer = bench.results[-1]
    bench.dock.tools.correct.apply(layer, tool, np.array(points, float))


CORRECTIONS: list[tuple[Any, ...]] = [
    ("delete", (65, 40)),
    ("merge", (20, 20), (20, 40)),
    ("split", (52, 45), (78, 45)),
    ("grow", (65, 40)),
]


def test_what_is_deleted_is_learned_as_background(bench: Bench) -> None:
    layer = shown(bench)
    correct(bench, "delete", (65, 40))
    assert layer.data[65, 40] == 0
    assert bench.annotation.data[65, 40] == 1


@pytest.mark.parametrize("correction", CORRECTIONS, ids=[c[0] for c in CORRECTIONS])
@pytest.mark.parametrize("where", ["result", "paint"])
def test_one_undo_in_either_layer_takes_both_back(
    bench: Bench, correction: tuple[Any, ...], where: str
) -> None:
    layer = shown(bench)
    correct(bench, *correction)
    assert bench.annotation.data.any()
    (layer if where == "result" else bench.annotation).undo()
    np.testing.assert_array_equal(layer.data, squares())
    assert not bench.annotation.data.any()


@pytest.mark.parametrize("where", ["result", "paint"])
def test_redo_in_either_layer_brings_both_again(bench: Bench, where: str) -> None:
    layer = shown(bench)
    correct(bench, "delete", (65, 40))
    layer.undo()
    (layer if where == "result" else bench.annotation).redo()
    assert not layer.data[60:70].any()
    assert (bench.annotation.data[60:70, 10:80] == 1).all()


def test_corrections_are_undone_one_by_one(bench: Bench) -> None:
    layer = shown(bench)
    correct(bench, "grow", (65, 40))
    after_one = np.array(bench.annotation.data)
    correct(bench, "delete", (65, 40))
    layer.undo()
    assert layer.data[59, 40] == 3
    np.testing.assert_array_equal(bench.annotation.data, after_one)
    bench.annotation.undo()
    np.testing.assert_array_equal(layer.data, squares())
    assert not bench.annotation.data.any()


def test_strokes_after_a_correction_stay_when_it_is_undone(bench: Bench) -> None:
    layer = shown(bench)
    correct(bench, "delete", (65, 40))
    bench.annotation.paint((90, 60), 7)
    layer.undo()
    assert set(np.unique(bench.annotation.data)) == {0, 7}


def test_what_is_undone_is_not_learned_later(bench: Bench) -> None:
    layer = shown(bench)
    correct(bench, "delete", (65, 40))
    layer.undo()
    assert bench.dock.tools.correct.copier.copy_corrections() == 0
    assert not np.any(annotation_of(bench.annotation).corrected)


def test_another_result_of_earlier_undoes_no_paint(bench: Bench) -> None:
    layer = shown(bench)
    predicted = predicted_of(layer)
    assert predicted is not None
    before = predicted.as_it_is(layer)
    correct(bench, "delete", (65, 40))
    predicted.restore(before, layer)
    assert (bench.annotation.data[60:70, 10:80] == 1).all()


def test_corrections_are_counted_and_the_count_of_cells_follows(bench: Bench) -> None:
    layer = shown(bench)
    correct(bench, "delete", (65, 40))
    correct(bench, "merge", (20, 20), (20, 40))
    assert "2 corrections" in bench.dock.tools.text.text()
    assert "2 objects now" in bench.dock.progress.line.text()
    layer.undo()
    assert "1 correction:" in bench.dock.tools.text.text()
    assert "3 objects now" in bench.dock.progress.line.text()


@pytest.mark.parametrize(
    ("steps", "joined", "words"),
    [
        (5, True, "1 correction learned."),
        (5, False, "1 correction: Train learns them."),
        (0, True, "1 correction: Train learns them."),
    ],
)
def test_a_pause_says_what_became_of_corrections(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, steps: int, joined: bool, words: str
) -> None:
    shown(bench)
    monkeypatch.setattr(bench.session.training, "_running", True)
    correct(bench, "delete", (65, 40))
    said = bench.dock.tools.text
    assert said.text() == "1 correction, learning…"
    monkeypatch.setattr(bench.session.training, "_running", False)
    bench.session.run = SimpleNamespace(outdated=not joined)
    bench.dock.tools._end_corrections(Finished(SimpleNamespace(state=SimpleNamespace(step=steps))))
    bench.session.run = None
    assert said.text() == words


def test_what_was_corrected_flashes_and_changes_no_selection(bench: Bench) -> None:
    shown(bench)
    chosen = bench.viewer.layers.selection.active
    correct(bench, "delete", (65, 40))
    flash = bench.dock.tools._flash
    np.testing.assert_array_equal(flash.at, np.nonzero(squares() == 3))
    bench.wait_for(lambda: not flash.at)
    assert bench.viewer.layers.selection.active is chosen


def test_a_right_click_offers_to_delete_and_to_accept_the_cell(bench: Bench) -> None:
    layer = shown(bench)
    menu = bench.dock.tools.cell_menu
    menu.open_at((65.0, 40.0))
    actions = {each.text(): each for each in menu.menu.actions()}
    actions["Accept this cell"].trigger()
    assert bench.annotation.data[65, 40] == 2
    actions["Delete this cell"].trigger()
    assert layer.data[65, 40] == 0
    menu.menu.close()


def test_a_right_click_beside_all_cells_offers_nothing(bench: Bench) -> None:
    shown(bench)
    bench.dock.tools.cell_menu.open_at((55.0, 90.0))
    assert not bench.dock.tools.cell_menu.menu.isVisible()


def test_with_nothing_to_correct_it_is_said_in_the_dock_alone(bench: Bench) -> None:
    told = len(notification_manager.records)
    for _ in range(3):
        bench.dock.tools.take("delete")
    assert "no cells to correct" in bench.dock.tools.text.text()
    assert len(notification_manager.records) == told


# --- Accept all that look right ----------------------------------------------------------------


def sure(*surenesses: float) -> ClickableView:
    """Let the model be so sure of objects 1, 2, ... of the result."""
    foreground = np.zeros((96, 96), np.uint8)
    for number, share in enumerate(surenesses, start=1):
        foreground[squares() == number] = round(255 * share)
    cells = Clickable(foreground, 20.0)
    return ClickableView((), (slice(0, 96), slice(0, 96)), cells)


def test_cells_that_look_right_are_whole_unpainted_and_of_usual_size() -> None:
    painted = np.zeros((96, 96), bool)
    painted[75:90, 10:28] = True
    view = sure(0.9, 0.6, 0.9, 0.9)
    found = sure_cells(squares(), view, painted)
    assert found == {1: pytest.approx(0.9, abs=0.01), 2: pytest.approx(0.6, abs=0.01)}


def test_cells_that_end_beyond_the_view_are_left_out() -> None:
    foreground = np.full((96, 40), 255, np.uint8)
    view = ClickableView((), (slice(0, 96), slice(0, 40)), Clickable(foreground, 20.0))
    assert set(sure_cells(squares(), view, np.zeros((96, 96), bool))) == {1, 4}


@pytest.fixture
def looked(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """The dock after a look at which cells look right."""

    def events(*_: object) -> Any:
        yield from ()
        return sure(0.9, 0.7, 0.9, 0.95)

    monkeypatch.setattr(click, "clickable_events", events)
    bench.dock.tools.take("cell")
    shown(bench)
    bench.dock.tools.accept_all.button.click()
    bench.wait()
    return bench


def test_what_looks_right_is_shown_with_a_count_first(looked: Bench) -> None:
    panel = looked.dock.tools.accept_all
    assert "2 of 3 cells" in panel.text.text()
    assert looked.dock.tools.accept_all._marked.at
    assert not looked.annotation.data.any()


def test_the_slider_chooses_how_sure(looked: Bench) -> None:
    panel = looked.dock.tools.accept_all
    panel.slider.setValue(60)
    assert panel.accept_button.text() == "Accept these 3"


def test_one_click_paints_them_and_one_undo_takes_them_back(looked: Bench) -> None:
    looked.dock.tools.accept_all.accept_button.click()
    labels = looked.annotation.data
    np.testing.assert_array_equal(labels > 1, np.isin(squares(), (1, 4)))
    assert len(np.unique(labels)) == 3
    looked.annotation.undo()
    assert not looked.annotation.data.any()
    assert not looked.dock.tools.accept_all._marked.at


def test_paint_stays_where_all_are_accepted(looked: Bench) -> None:
    looked.annotation.data[20:30, 10:14] = 9
    looked.dock.tools.accept_all.accept()
    assert (looked.annotation.data[20:30, 10:14] == 9).all()


# --- Next unsure -------------------------------------------------------------------------------


def test_next_unsure_goes_there_and_takes_up_a_tool(painted: Bench) -> None:
    painted.dock.learn.start()
    painted.wait()
    painted.dock.next_unsure()
    painted.wait()
    assert painted.dock.spots.list.currentRow() == 0
    assert painted.dock.tools.text.text().startswith("Unsure: ")
    assert any(made.isChecked() for made in painted.dock.tools.buttons.values())
    assert not [each.name for each in painted.viewer.layers if "unsure" in each.name.lower()]


def test_without_a_model_next_unsure_says_so(bench: Bench) -> None:
    bench.dock.next_unsure()
    assert "no model yet" in bench.dock.tools.text.text()


@pytest.mark.parametrize(
    ("place", "doubt"),
    [
        ((20, 30), BETWEEN),
        ((65, 45), TWO_IN_ONE),
        ((84, 14), EDGE),
        ((84, 70), NO_CELL),
        ((30, 80), MISSED),
    ],
    ids=lambda each: each.words if isinstance(each, Doubt) else "",
)
def test_what_is_unsure_decides_the_tool(place: tuple[int, int], doubt: Doubt) -> None:
    labels = squares()
    labels[84:88, 70:74] = 5
    assert doubt_at(labels, place, 350.0) == doubt


# --- Click a cell ------------------------------------------------------------------------------


@pytest.fixture
def clickable(bench: Bench) -> Bench:
    bench.dock.tools.take("click")
    bench.wait()
    return bench


def proposed(bench: Bench) -> Any:
    at = bench.dock.tools.click._preview.at
    if not at:
        return None
    mask = np.zeros((96, 96), bool)
    mask[at] = True
    return mask


def test_a_click_proposes_the_whole_cell(clickable: Bench) -> None:
    clickable.dock.tools.click.propose([(36.0, 36.0)])
    disk = np.hypot(*(np.indices((96, 96)) - 36)) < 7
    mask = proposed(clickable)
    assert (mask & disk).sum() / (mask | disk).sum() > 0.75
    assert not np.any(clickable.annotation.data)


def test_enter_paints_it_as_one_step_of_undo(clickable: Bench) -> None:
    clickable.dock.tools.click.propose([(36.0, 36.0)])
    mask = proposed(clickable)
    clickable.dock.tools.click.accept()
    layer = clickable.annotation
    np.testing.assert_array_equal(layer.data == 2, mask)
    assert proposed(clickable) is None
    layer.undo()
    assert not layer.data.any()


@pytest.mark.fault(75)
def test_a_stroke_on_paint_of_which_a_line_is_on_screen_keeps_its_number(bench: Bench) -> None:
    bench.dock.tools.take("cell")
    layer = bench.annotation
    bench.viewer.add_points(np.zeros((1, 3)))
    bench.viewer.layers.selection.active = layer
    bench.viewer.dims.order = (1, 0, 2)
    number = layer.selected_label
    layer.data[40:50, 40:50] = number
    bench.dock.tools.begin_stroke((0.0, 45.0, 70.0))
    assert layer.selected_label == number


@pytest.mark.fault(73)
def test_paint_that_was_hidden_is_shown_when_a_cell_is_painted_in_it(clickable: Bench) -> None:
    clickable.dock.tools.click.propose([(36.0, 36.0)])
    clickable.annotation.visible = False
    clickable.dock.tools.click.accept()
    assert clickable.annotation.visible
    assert clickable.annotation.data[36, 36] == 2


def test_the_next_click_paints_the_one_before(clickable: Bench) -> None:
    for place in ((36.0, 36.0), (60.0, 60.0), (36.0, 60.0)):
        clickable.dock.tools.click.propose([place])
    assert np.unique(clickable.annotation.data).tolist() == [0, 2, 3]


def test_shift_adds_and_escape_drops(clickable: Bench) -> None:
    click = clickable.dock.tools.click
    click.propose([(36.0, 36.0)])
    one = proposed(clickable).sum()
    click.propose([(36.0, 60.0)], {"Shift"})
    assert proposed(clickable).sum() > 1.5 * one
    click.drop()
    assert proposed(clickable) is None
    assert not clickable.annotation.data.any()


def test_a_cell_that_is_painted_stays_as_it_is(clickable: Bench) -> None:
    layer = clickable.annotation
    layer.data[30:43, 30:36] = 9
    layer.refresh()
    clickable.dock.tools.click.propose([(36.0, 38.0)])
    clickable.dock.tools.click.accept()
    assert (layer.data[30:43, 30:36] == 9).all()
    assert (layer.data == 10).any()


def test_a_box_proposes_what_is_in_it(clickable: Bench) -> None:
    clickable.dock.tools.click.propose_box((26.0, 26.0), (46.0, 46.0))
    assert proposed(clickable)[36, 36]
    assert not proposed(clickable)[36, 60]


def drag(bench: Bench, path: list[tuple[float, float]], *modifiers: str) -> None:
    """Drag as the mouse does, with the tool in hand."""
    event = SimpleNamespace(type="mouse_press", position=path[0], modifiers=modifiers)
    moves = bench.dock.tools.click._drag(bench.annotation, event)
    next(moves)
    for position in path[1:]:
        event.type, event.position = "mouse_move", position
        next(moves)
    event.type = "mouse_release"
    for _ in moves:
        pass


def test_a_line_through_a_cell_proposes_it(clickable: Bench) -> None:
    clickable.dock.tools.click.propose([(36.0, 36.0)])
    by_click = proposed(clickable)
    clickable.dock.tools.click.drop()
    drag(clickable, [(33.0, 33.0), (36.0, 36.0), (39.0, 39.0)])
    np.testing.assert_array_equal(proposed(clickable), by_click)


def test_a_line_through_two_cells_paints_them_as_one(clickable: Bench) -> None:
    drag(clickable, [(36.0, 34.0), (36.0, 60.0)])
    clickable.dock.tools.click.accept()
    painted = clickable.annotation.data
    assert painted[36, 36] == painted[36, 60] == painted[36, 48] == 2


def test_alt_and_a_line_take_away_and_shift_and_a_drag_are_a_box(clickable: Bench) -> None:
    drag(clickable, [(36.0, 34.0), (36.0, 60.0)])
    both = proposed(clickable)
    drag(clickable, [(30.0, 58.0), (42.0, 62.0)], "Alt")
    assert proposed(clickable)[36, 36]
    assert proposed(clickable).sum() < both.sum()
    drag(clickable, [(26.0, 26.0), (46.0, 46.0)], "Shift")
    assert proposed(clickable)[36, 36]
    assert not proposed(clickable)[:, 49:].any()


def test_another_tool_puts_it_down(clickable: Bench) -> None:
    clickable.dock.tools.click.propose([(36.0, 36.0)])
    clickable.dock.tools.take("background")
    assert proposed(clickable) is None
    assert clickable.annotation.mode == "paint"
    assert not clickable.dock.tools.buttons["click"].isChecked()


# --- A prompt model that the user has installed ------------------------------------------------

_ENTRY_POINTS = """[napari_unet.prompt_models]
square = squares_of_mine:square
broken = squares_of_mine:broken
small = squares_of_mine:small
gone = no_such_module:anything
"""
_MODULE = """
import numpy as np
def square(image, points, box):
    mask = np.zeros(image.shape[:2], np.uint8)
    for y, x, wanted in points:
        mask[int(y) - 5 : int(y) + 6, int(x) - 5 : int(x) + 6] = wanted
    if box:
        mask[int(box[0]) : int(box[2]), int(box[1]) : int(box[3])] = 1
    return mask
def broken(image, points, box):
    raise KeyError("weights")
def small(image, points, box):
    return image[:3, :4]
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install a package that offers prompt models."""
    about = tmp_path / "squares_of_mine-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: squares-of-mine\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(_ENTRY_POINTS)
    (tmp_path / "squares_of_mine.py").write_text(_MODULE)
    monkeypatch.syspath_prepend(tmp_path)


def prompt_menu(bench: Bench) -> PromptModelMenu:
    menu = bench.dock.findChild(PromptModelMenu)
    assert menu is not None
    menu.refresh()
    return menu


def choose(bench: Bench, name: str) -> None:
    """Choose a prompt model in the menu, and click a cell."""
    next(each for each in prompt_menu(bench).actions() if each.text() == name).trigger()
    bench.dock.tools.take("click")
    bench.dock.tools.click.propose([(36.0, 36.0)])
    bench.wait()


def test_without_a_prompt_model_there_is_no_such_menu(bench: Bench) -> None:
    action = prompt_menu(bench).menuAction()
    assert action is not None
    assert not action.isVisible()


@pytest.mark.usefixtures("installed")
def test_a_prompt_model_that_is_chosen_while_another_gets_ready_answers(bench: Bench) -> None:
    bench.dock.tools.take("click")
    choose(bench, "square")
    bench.wait()
    assert proposed(bench).sum() == 11 * 11


@pytest.mark.usefixtures("installed")
def test_a_prompt_model_that_is_installed_answers_clicks_once_it_is_chosen(bench: Bench) -> None:
    choose(bench, "square")
    assert proposed(bench).sum() == 11 * 11
    bench.dock.tools.click.propose([(36.0, 36.0)], {"Alt"})
    bench.wait()
    assert proposed(bench) is None
    bench.dock.tools.click.propose_box((10.0, 20.0), (14.0, 26.0))
    bench.wait()
    assert proposed(bench).sum() == 4 * 6
    choose(bench, "the model in use")
    assert proposed(bench).sum() != 11 * 11


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("broken", "failed: KeyError"),
        ("small", "mask of shape (3, 4) for an image of (96, 96)"),
        ("gone", "cannot be imported"),
    ],
)
def test_what_goes_wrong_in_a_prompt_model_is_told(bench: Bench, name: str, words: str) -> None:
    choose(bench, name)
    assert proposed(bench) is None
    assert words in bench.dock.tools.text.text()


# --- Words where something is missing ----------------------------------------------------------


def test_who_has_painted_only_cells_is_handed_the_background_brush(painted: Bench) -> None:
    layer = painted.annotation
    layer.data[layer.data == 1] = 0
    layer.refresh()
    painted.dock.learn.button.click()
    assert not painted.session.training.running
    assert "background too" in painted.dock.learn.text.text()
    assert (layer.mode, layer.selected_label) == ("paint", 1)


# --- A stack -----------------------------------------------------------------------------------


def stack() -> Any:
    """Three planes, of which the middle one shows disks elsewhere."""
    return np.stack([disks(), disks().T[::-1], disks()])


def frames_shown(layer: Labels) -> set[tuple[int, ...]]:
    predicted = predicted_of(layer)
    assert predicted is not None
    return {frame for frame, _ in predicted.places}


@pytest.fixture
def stacked(make_bench: Callable[..., Bench]) -> Bench:
    """The dock some seconds after a stack was opened, with its middle plane on screen."""
    bench = make_bench(looks=True, image=stack())
    bench.viewer.dims.set_current_step(0, 1)
    bench.wait_for(lambda: "cells found" in bench.dock.suggestions.text.text())
    bench.wait()
    return bench


def test_of_a_stack_the_plane_on_screen_is_searched(stacked: Bench) -> None:
    (layer,) = stacked.results
    assert frames_shown(layer) == {(1,)}
    assert stacked.dock.slice_button.isVisible()


def test_using_what_is_found_fills_in_the_whole_stack(stacked: Bench) -> None:
    stacked.dock.suggestions.use_button.click()
    stacked.wait()
    (layer,) = stacked.results
    assert frames_shown(layer) == {(0,), (1,), (2,)}
    assert all(np.any(plane) for plane in layer.data)


def test_a_cell_of_a_stack_is_painted_in_its_plane(stacked: Bench) -> None:
    stacked.dock.tools.take("click")
    stacked.wait()
    stacked.dock.tools.click.propose([(1.0, 36.0, 36.0)])
    stacked.dock.tools.click.accept()
    assert np.unique(np.nonzero(stacked.annotation.data)[0]).tolist() == [1]


def test_a_click_in_another_plane_gets_ready_for_it(stacked: Bench) -> None:
    stacked.dock.tools.take("click")
    stacked.wait()
    stacked.viewer.dims.set_current_step(0, 2)
    stacked.dock.tools.click.propose([(2.0, 36.0, 36.0)])
    stacked.wait()
    assert set(stacked.dock.tools.click._preview.at[0]) == {2}
    stacked.dock.tools.click.accept()
    assert np.unique(np.nonzero(stacked.annotation.data)[0]).tolist() == [2]


def test_a_stack_that_is_seen_from_the_side_is_searched_when_its_planes_are_shown(
    make_bench: Callable[..., Bench],
) -> None:
    bench = make_bench(looks=True, image=stack())
    bench.viewer.dims.order = (1, 0, 2)
    bench.qtbot.wait(100)
    bench.wait()
    assert bench.results == []
    bench.viewer.dims.order = (0, 1, 2)
    bench.wait_for(lambda: "cells found" in bench.dock.suggestions.text.text())
    bench.wait()
    assert len(bench.results) == 1


def test_a_click_from_another_side_is_refused_in_words(stacked: Bench) -> None:
    stacked.dock.tools.take("click")
    stacked.wait()
    stacked.viewer.dims.order = (1, 0, 2)
    stacked.dock.tools.click.propose([(1.0, 36.0, 36.0)])
    stacked.wait()
    assert proposed(stacked) is None
    assert "roll the axes" in stacked.dock.tools.text.text()


def test_a_stack_is_learned_and_filled_in(stacked: Bench) -> None:
    stacked.dock.suggestions.dismiss()
    stacked.dock.tools.take("cell")
    layer = stacked.annotation
    layer.data[1] = strokes_on(disks())
    layer.refresh()
    stacked.dock.learn.button.click()
    stacked.wait_for(lambda: not stacked.session.training.running)
    stacked.wait()
    (found,) = stacked.results
    assert frames_shown(found) == {(0,), (1,), (2,)}


# --- Classes -----------------------------------------------------------------------------------


@pytest.fixture
def classes(bench: Bench) -> Bench:
    """Two classes painted beside the background."""
    bench.dock.target.kind_box.setCurrentIndex(1)
    bench.dock.tools.take("cell")
    layer = bench.annotation
    strokes = strokes_on(disks())
    layer.data[:] = np.where(strokes > 1, 2 + strokes % 2, strokes)
    layer.refresh()
    return bench


def test_classes_have_a_table_and_no_tools_for_cells(classes: Bench) -> None:
    tools = classes.dock.tools.buttons
    assert classes.dock.target.table.isVisible()
    assert not tools["click"].isEnabled()
    assert not tools["split"].isEnabled()


def test_a_class_that_is_chosen_by_its_key_is_painted_in_a_colour_of_its_own(
    classes: Bench,
) -> None:
    classes.dock.tools.keys["4"]()
    layer = classes.annotation
    assert layer.selected_label == 4
    assert layer.get_color(4)[:3].max() > 0
    assert layer.get_color(4)[:3].min() < 0.99  # not white


def test_a_new_class_is_a_click(classes: Bench) -> None:
    classes.dock.class_button.click()
    assert classes.annotation.selected_label == 4
    assert classes.dock.class_button.isVisible()


def test_classes_are_shown_filled_in_their_colours(classes: Bench) -> None:
    classes.dock.learn.button.click()
    classes.wait_for(lambda: not classes.session.training.running)
    classes.wait()
    (layer,) = classes.results
    assert layer.contour == 0
    assert set(np.unique(layer.data)) <= {0, 2, 3}
    np.testing.assert_allclose(layer.get_color(2), classes.annotation.get_color(2), atol=0.01)


def test_nothing_is_suggested_where_classes_are_wanted(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(looks=True)
    bench.dock.target.kind_box.setCurrentIndex(1)
    bench.qtbot.wait(100)
    bench.wait()
    assert bench.results == []


# --- a model that is being loaded ------------------------------------------------------------


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Keep models from being loaded before this is set."""
    opened = threading.Event()

    def load(path: Path, name: str, stop: threading.Event) -> Any:
        opened.wait(30)
        return untrained(), name, None

    monkeypatch.setattr(common_session, "loading_events", load)
    return opened


def test_that_a_model_is_being_loaded_is_said_at_once(
    make_bench: Callable[..., Bench], gate: threading.Event
) -> None:
    bench = make_bench()
    bench.session.begin_loading(Path("model"), "Cells")
    assert bench.dock.model_note.text() == "Loading Cells…"
    gate.set()
    bench.wait()
    assert bench.dock.model_note.text() == "Model in use: Cells."


def test_a_click_meanwhile_happens_when_it_is_loaded(
    make_bench: Callable[..., Bench], gate: threading.Event
) -> None:
    bench = make_bench()
    bench.session.begin_loading(Path("model"), "Cells")
    bench.dock.whole_button.click()
    assert "It begins then." in bench.dock.progress.line.text()
    gate.set()
    bench.wait_for(lambda: bool(bench.results))
    bench.wait()
    assert bench.dock.progress.line.text().startswith("Done.")
