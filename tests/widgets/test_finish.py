"""The last row of Paint & Segment: count, table, save; and what a project brings back."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from napari._qt.qt_viewer import QtViewer
from napari.layers import Tracks
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QFileDialog, QMessageBox

from napari_unet.project.contents import Project
from napari_unet.project.folder import load_project, save_project
from napari_unet.training.config import TrainConfig
from napari_unet.widgets.common.layers import METADATA_KEY
from napari_unet.widgets.common.result_layer import KeptResult, Predicted, predicted_of
from napari_unet.widgets.common.result_writing import ResultLayer
from napari_unet.widgets.common.session import session_of
from napari_unet.widgets.common.task import BackgroundTask
from napari_unet.widgets.models.save_project import ProjectPlace, place_of
from napari_unet.widgets.predict.measure import MeasurePanel
from napari_unet.widgets.segment import suggest
from napari_unet.widgets.segment.dock import SegmentWidget

from .scenes import disks, strokes_on
from .test_predict import untrained

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from napari.layers import Labels
    from pytestqt.qtbot import QtBot

CELL = (slice(5, 15), slice(5, 15))
OTHER = (slice(40, 50), slice(40, 60))


@dataclass(frozen=True)
class Bench:
    """A viewer with the dock."""

    viewer: Any
    dock: SegmentWidget
    qtbot: QtBot

    def wait(self) -> None:
        """Let the window live until nothing is under way."""
        tasks = session_of(self.viewer).findChildren(BackgroundTask)
        self.qtbot.wait(20)
        self.qtbot.waitUntil(lambda: not any(task.running for task in tasks), timeout=60_000)
        self.qtbot.wait(20)

    @property
    def count(self) -> str:
        """What the row says."""
        self.qtbot.wait(250)
        self.wait()
        return self.dock.finish.count.text()

    def open(self, folder: Path) -> None:
        """Open a project."""
        place_of(self.viewer).open(folder)
        self.wait()


@pytest.fixture
def make_bench(
    make_viewer: Callable[[], Any], qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], Bench]:
    def make() -> Bench:
        monkeypatch.setattr(suggest, "_DELAY_MS", 10_000_000)
        viewer = make_viewer()
        dock = SegmentWidget(viewer)
        viewer.window.add_dock_widget(dock, name="Paint & Segment")
        session_of(viewer).settings = TrainConfig(start="random")
        return Bench(viewer, dock, qtbot)

    return make


@pytest.fixture
def bench(make_bench: Callable[[], Bench]) -> Bench:
    """An image of disks, two cells found in it, and no paint."""
    bench = make_bench()
    image = bench.viewer.add_image(disks(), name="disks")
    found = np.zeros(disks().shape, np.int32)
    found[CELL], found[OTHER] = 1, 2
    add_result(bench.viewer, image, found, 2)
    return bench


def add_result(viewer: Any, image: Any, found: Any, ndim: int) -> Labels:
    """Show what was found in an image."""
    frames = np.ndindex(found.shape[:-2])
    places = tuple((at, tuple(slice(0, n) for n in found.shape[-2:])) for at in frames)
    made = ResultLayer(viewer, image, "objects", ndim, found.shape, {}, None)
    return made.show_saved(
        KeptResult(found, found.copy(), None, places), f"{image.name} prediction"
    )


def result_of(bench: Bench) -> Labels:
    layer: Labels = bench.viewer.layers["disks prediction"]
    return layer


# --- How many cells ----------------------------------------------------------------------------


def test_the_row_says_how_many_cells_there_are(bench: Bench) -> None:
    assert bench.count == "2 cells"


def test_the_count_follows_corrections(bench: Bench) -> None:
    assert bench.count == "2 cells"
    layer = result_of(bench)
    layer.data_setitem(np.nonzero(layer.data == 2), 0)
    assert bench.count == "1 cell"
    layer.undo()
    assert bench.count == "2 cells"


def test_the_count_goes_with_the_result(bench: Bench) -> None:
    assert bench.count
    bench.viewer.layers.remove("disks prediction")
    assert bench.count == ""


def test_of_a_stack_the_cells_on_screen_are_counted_as_well(bench: Bench) -> None:
    bench.viewer.layers.clear()
    stack = bench.viewer.add_image(np.stack([disks(), disks()]), name="stack")
    found = np.zeros((2, *disks().shape), np.int32)
    found[0][CELL], found[1][CELL], found[1][OTHER] = 1, 1, 2
    add_result(bench.viewer, stack, found, 2)
    bench.viewer.dims.set_current_step(0, 0)
    assert bench.count == "1 cell here, 3 in all"
    bench.viewer.dims.set_current_step(0, 1)
    assert bench.count == "2 cells here, 3 in all"


# --- A table -----------------------------------------------------------------------------------


def test_a_table_is_written_without_measuring_first(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "table"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_, **__: (str(target), ""))
    bench.dock.finish.csv_button.click()
    bench.wait()
    rows = list(csv.DictReader((tmp_path / "table.csv").read_text().splitlines()))
    assert [float(row["area"]) for row in rows] == [100, 200]
    assert "Wrote 2 cells to" in bench.dock.finish.text.text()


def test_a_table_knows_corrections_made_since_the_last_one(bench: Bench, tmp_path: Path) -> None:
    layer = result_of(bench)
    bench.dock.finish.export(layer, tmp_path / "a.csv")
    bench.wait()
    layer.data_setitem(np.nonzero(layer.data == 2), 0)
    bench.dock.finish.export(layer, tmp_path / "b.csv")
    bench.wait()
    assert len((tmp_path / "b.csv").read_text().splitlines()) == 2


def test_what_is_measured_is_the_result_and_not_the_paint(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.viewer.add_labels(strokes_on(disks()), name="paint")  # is selected now
    path = tmp_path / "a.csv"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(path), ""))
    bench.dock.finish.csv_button.click()
    bench.wait()
    n_cells = len(np.unique(result_of(bench).data)) - 1
    assert len(path.read_text().splitlines()) == n_cells + 1


def test_what_one_dock_measures_is_not_written_to_what_another_has_measured(
    bench: Bench, tmp_path: Path
) -> None:
    other = MeasurePanel(bench.viewer)
    bench.qtbot.addWidget(other)
    layer = bench.viewer.add_labels(np.ones((96, 96), int), name="all of it")
    other.measure_layer(layer)
    bench.wait()
    assert list(layer.features["area"]) == [96 * 96]
    bench.dock.finish.export(result_of(bench), tmp_path / "a.csv")
    bench.wait()
    assert list(layer.features["area"]) == [96 * 96]


# --- Saving ------------------------------------------------------------------------------------


def test_saving_asks_for_a_new_folder_once(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def ask(*arguments: Any, **_: Any) -> tuple[str, str]:
        asked.append(arguments[2])
        return str(tmp_path / "new" / "mine"), ""

    monkeypatch.setattr(QFileDialog, "getSaveFileName", ask)
    session_of(bench.viewer).set_model(untrained(), "good cells")
    for _ in range(2):
        bench.dock.finish.save_button.click()
        bench.wait()
    assert len(asked) == 1
    assert asked[0].endswith("disks project")
    assert {path.name for path in (tmp_path / "new" / "mine").iterdir()} == {
        "project.json", "disks.tif", "disks result.tif", "model.safetensors"
    }  # fmt: skip
    said = bench.dock.finish.text.text()
    assert said.startswith("Saved 1 image, 1 result, the model and settings in")


def test_another_project_is_replaced_only_if_the_user_agrees(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_project(Project((), {"steps": 5}), tmp_path)
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_, **__: (str(tmp_path), ""))
    answers = [QMessageBox.StandardButton.No, QMessageBox.StandardButton.Yes]
    monkeypatch.setattr(QMessageBox, "question", lambda *_: answers.pop(0))
    for n_images in (0, 1):
        bench.dock.finish.save_button.click()
        bench.wait()
        assert len(load_project(tmp_path).images) == n_images


def test_a_save_that_fails_is_told_and_asks_again(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    place_of(bench.viewer).save_to(tmp_path / "file" / "project")
    bench.wait()
    assert "Cannot write" in bench.dock.finish.text.text()
    assert place_of(bench.viewer).folder is None


@pytest.mark.canvas
def test_ctrl_s_saves_the_project_while_the_dock_is_on_screen(
    make_napari_viewer: Callable[..., Any], qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved, asked = [], []
    monkeypatch.setattr(ProjectPlace, "save", lambda *_: saved.append(1))
    monkeypatch.setattr(QtViewer, "_save_layers_dialog", lambda *_, **__: asked.append(1))
    viewer = make_napari_viewer(show=True)
    viewer.add_image(disks(), name="disks")
    dock = SegmentWidget(viewer)
    viewer.window.add_dock_widget(dock, name="Paint & Segment")
    window = viewer.window._qt_window
    window.activateWindow()
    qtbot.wait(100)

    def press() -> None:
        canvas = viewer.window._qt_viewer.canvas.native
        click: Any = QTest.keyClick
        click(canvas, Qt.Key.Key_S, Qt.KeyboardModifier.ControlModifier)
        qtbot.wait(50)

    press()
    assert (saved, asked) == ([1], [])
    dock.finish.hide()
    press()
    assert (saved, asked) == ([1], [1])


# --- What comes back ---------------------------------------------------------------------------


def saved_and_opened(bench: Bench, folder: Path, make_bench: Callable[[], Bench]) -> Bench:
    place_of(bench.viewer).save_to(folder)
    bench.wait()
    other = make_bench()
    other.open(folder)
    return other


def test_a_result_comes_back_as_a_result(
    bench: Bench, tmp_path: Path, make_bench: Callable[[], Bench]
) -> None:
    layer = result_of(bench)
    layer.data_setitem(np.nonzero(layer.data == 2), 0)
    layer.contour, layer.opacity = 3, 0.5

    back = result_of(saved_and_opened(bench, tmp_path, make_bench))

    about = predicted_of(back)
    assert about is not None
    np.testing.assert_array_equal(back.data, layer.data)
    np.testing.assert_array_equal(np.unique(about.labels), [0, 1, 2])
    assert (back.contour, back.opacity) == (3, 0.5)
    assert about.image is not None
    assert about.image.name == "disks"
    assert about.places == layer.metadata[METADATA_KEY].places


def test_corrections_of_a_project_that_was_opened_are_learned(
    bench: Bench, tmp_path: Path, make_bench: Callable[[], Bench]
) -> None:
    bench.viewer.add_labels(strokes_on(disks()), name="paint")
    layer = result_of(bench)
    layer.data_setitem(np.nonzero(layer.data == 2), 0)
    other = saved_and_opened(bench, tmp_path, make_bench)

    taught = other.dock.tools.correct.copier.copy_corrections()

    assert taught > 0
    assert set(np.unique(other.viewer.layers["paint"].data[OTHER])) == {1}  # background


def test_corrections_that_were_learned_before_are_not_learned_again(
    bench: Bench, tmp_path: Path, make_bench: Callable[[], Bench]
) -> None:
    bench.viewer.add_labels(strokes_on(disks()), name="paint")
    layer = result_of(bench)
    layer.data_setitem(np.nonzero(layer.data == 2), 0)
    bench.dock.tools.correct.copier.copy_corrections()
    other = saved_and_opened(bench, tmp_path, make_bench)
    assert other.dock.tools.correct.copier.copy_corrections() == 0


def test_a_new_prediction_goes_into_the_result_that_was_opened(
    bench: Bench, tmp_path: Path, make_bench: Callable[[], Bench]
) -> None:
    other = saved_and_opened(bench, tmp_path, make_bench)
    image = other.viewer.layers["disks"]
    made = ResultLayer(other.viewer, image, "objects", 2, disks().shape, {}, None)
    made.begin()
    assert made.layer is result_of(other)


def test_a_result_that_was_renamed_stays_the_users(
    bench: Bench, tmp_path: Path, make_bench: Callable[[], Bench]
) -> None:
    result_of(bench).name = "the good one"
    other = saved_and_opened(bench, tmp_path, make_bench)
    image = other.viewer.layers["disks"]
    made = ResultLayer(other.viewer, image, "objects", 2, disks().shape, {}, None)
    made.begin()
    assert made.layer is not other.viewer.layers["the good one"]


def filmed(bench: Bench) -> Labels:
    """Two cells in three frames."""
    stack = bench.viewer.add_image(np.stack([disks()] * 3), name="stack")
    found = np.zeros((3, *disks().shape), np.int32)
    found[(slice(None), *CELL)], found[(slice(None), *OTHER)] = 1, 2
    found[1] = np.array([0, 2, 1])[found[1]]
    layer = add_result(bench.viewer, stack, found, 2)
    bench.viewer.layers.selection.active = layer
    bench.qtbot.wait(250)
    return layer


def press_link(bench: Bench) -> None:
    bench.dock.finish.link_button.click()
    bench.wait()


def test_link_is_there_where_there_is_time_or_depth(bench: Bench) -> None:
    bench.qtbot.wait(250)
    assert bench.dock.finish.link_button.isHidden()
    filmed(bench)
    assert not bench.dock.finish.link_button.isHidden()


def test_link_on_and_off(bench: Bench) -> None:
    layer, button = filmed(bench), bench.dock.finish.link_button
    n_results = len(bench.viewer.layers)
    press_link(bench)
    assert button.isChecked()
    assert layer.data[:, 10, 10].tolist() == [1, 1, 1]
    assert len(bench.viewer.layers) == n_results + 1  # the tracks
    press_link(bench)
    assert not button.isChecked()
    assert len(bench.viewer.layers) == n_results


@pytest.mark.parametrize("writing", ["in_progress", "live"])
def test_a_link_that_is_asked_for_early_is_made_when_the_result_is_there(
    bench: Bench, writing: str
) -> None:
    layer = filmed(bench)
    about = predicted_of(layer)
    setattr(about, writing, True)
    press_link(bench)
    assert bench.dock.finish.link_button.isChecked()
    assert "linked when that is done" in bench.dock.link.text.text()
    assert layer.data[:, 10, 10].tolist() == [1, 2, 1]
    setattr(about, writing, False)
    bench.dock.link.cells.refresh()  # as it does where a training or a prediction ends
    bench.wait()
    assert layer.data[:, 10, 10].tolist() == [1, 1, 1]


def test_a_link_that_is_asked_for_early_can_be_taken_back(bench: Bench) -> None:
    layer = filmed(bench)
    about = predicted_of(layer)
    assert about is not None
    about.in_progress = True
    press_link(bench)
    press_link(bench)
    assert not bench.dock.finish.link_button.isChecked()
    about.in_progress = False
    bench.dock.link.cells.refresh()
    bench.wait()
    assert layer.data[:, 10, 10].tolist() == [1, 2, 1]


def test_tools_for_links_come_and_go_with_link(bench: Bench) -> None:
    filmed(bench)
    assert bench.dock.tools.buttons["break"].isHidden()
    press_link(bench)
    assert not bench.dock.tools.buttons["break"].isHidden()
    bench.viewer.layers.selection.active = result_of(bench)  # a plane has no links
    bench.qtbot.wait(250)
    assert bench.dock.tools.buttons["break"].isHidden()


def test_the_dock_says_what_became_of_a_link(bench: Bench) -> None:
    layer = filmed(bench)
    press_link(bench)
    bench.dock.tools.take("break")
    assert bench.dock.tools.buttons["break"].isChecked()
    bench.dock.tools.correct.apply_once(layer, "break", np.array([[1.0, 10, 10]]))
    text = bench.dock.tools.text.text()
    assert text == "Cell 1 is from frame 1 on cell 3. Ctrl+Z takes it back."
    layer.undo()
    assert bench.dock.tools.text.text() == "Links are as before."


def test_linked_cells_tracks_and_what_was_corrected_of_links_come_back(
    bench: Bench, tmp_path: Path, make_bench: Callable[[], Bench]
) -> None:
    layer = filmed(bench)
    press_link(bench)
    bench.dock.tools.correct.apply_once(layer, "break", np.array([[1.0, 10, 10]]))
    bench.qtbot.wait(250)
    tracks = bench.viewer.layers["stack prediction tracks"]

    other = saved_and_opened(bench, tmp_path, make_bench)

    linked, back = (other.viewer.layers[f"stack prediction{each}"] for each in ("", " tracks"))
    about = predicted_of(linked)
    assert about is not None
    assert about.linked
    assert about.memory == predicted_of(layer).memory  # type: ignore[union-attr]
    assert linked.data[:, 10, 10].tolist() == [1, 3, 3]
    assert isinstance(back, Tracks)
    np.testing.assert_allclose(back.data, tracks.data)
    other.viewer.layers.selection.active = linked
    other.qtbot.wait(250)
    press_link(other)
    press_link(other)
    assert linked.data[0, 10, 10] != linked.data[1, 10, 10] == linked.data[2, 10, 10]
    linked.data_setitem(tuple(np.array([[0], [1], [1]])), 9)
    assert not np.array_equal(about.labels, linked.data)  # which is known as a correction


def test_cells_that_were_linked_in_a_layer_of_their_own_come_back_so(
    bench: Bench, tmp_path: Path, make_bench: Callable[[], Bench]
) -> None:
    mine = bench.viewer.add_labels(np.ones((3, *disks().shape), np.int32), name="mine")
    bench.viewer.layers.selection.active = mine
    bench.dock.link.link()
    bench.wait()
    other = saved_and_opened(bench, tmp_path, make_bench)
    about = predicted_of(other.viewer.layers["mine linked"])
    assert about is not None
    assert about.linked


def test_the_folder_that_was_opened_is_where_saving_goes(
    bench: Bench, tmp_path: Path, make_bench: Callable[[], Bench]
) -> None:
    other = saved_and_opened(bench, tmp_path, make_bench)
    layer = result_of(other)
    layer.data_setitem(np.nonzero(layer.data == 1), 0)
    other.dock.finish.save_button.click()
    other.wait()
    (result,) = load_project(tmp_path).results
    assert result.shown is not None
    assert set(np.unique(result.shown)) == {0, 2}


def test_a_result_whose_image_is_gone_is_shown_without_it(
    bench: Bench, tmp_path: Path, make_bench: Callable[[], Bench]
) -> None:
    place_of(bench.viewer).save_to(tmp_path)
    bench.wait()
    (tmp_path / "disks.tif").unlink()
    other = make_bench()
    other.open(tmp_path)
    assert not isinstance(result_of(other).metadata[METADATA_KEY], Predicted)


def test_no_cells_are_suggested_over_a_result_that_was_opened(
    bench: Bench, tmp_path: Path, make_bench: Callable[[], Bench]
) -> None:
    other = saved_and_opened(bench, tmp_path, make_bench)
    assert not other.dock.suggestions._is_welcome()
