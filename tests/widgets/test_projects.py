"""Models kept, projects reopened, annotations recovered."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from napari import Viewer
from napari.layers import Labels, Layer
from napari.utils.notifications import notification_manager
from qtpy.QtCore import QEvent

from napari_unet.model.starting import STARTING_MODELS
from napari_unet.project import folder as folder_module
from napari_unet.project import recovery
from napari_unet.project.contents import MODEL_FILE, Project
from napari_unet.project.folder import load_project, save_project
from napari_unet.training.checkpoint import load_state, state_path
from napari_unet.widgets.annotate.dock import AnnotateWidget
from napari_unet.widgets.common.annotation import annotation_of
from napari_unet.widgets.common.layers import METADATA_KEY
from napari_unet.widgets.common.recovery import WindowGuard, keeper_of
from napari_unet.widgets.common.result_layer import Predicted, predicted_of
from napari_unet.widgets.common.session import session_of
from napari_unet.widgets.models import projects
from napari_unet.widgets.models.dock import ModelsWidget
from napari_unet.widgets.models.projects import open_folder, project_to_recover
from napari_unet.widgets.models.save_project import place_of

from .conftest import Desk, disks, strokes_on
from .test_predict import untrained

Painted = tuple[Desk, Labels]
CELLS = STARTING_MODELS["cells"]


@pytest.fixture
def models(painted: Painted) -> tuple[Desk, ModelsWidget]:
    desk, _ = painted
    widget = ModelsWidget(desk.viewer)
    desk.viewer.window.add_dock_widget(widget, name="Models", tabify=True)
    session_of(desk.viewer).set_model(untrained(), "good cells")
    return desk, widget


def first_text(widget: ModelsWidget) -> str:
    item: Any = widget.list.item(0)
    return str(item.text())


# --- models ------------------------------------------------------------------------------------


def test_the_model_in_use_is_added_to_the_library(models: tuple[Desk, ModelsWidget]) -> None:
    desk, widget = models

    desk.click(widget.add_button)
    desk.wait_until_idle()

    assert len(widget.library.entries()) == 1
    assert first_text(widget).startswith("good cells")


def test_a_kept_model_shows_a_picture_score_and_images(painted: Painted) -> None:
    desk, labels = painted
    desk.annotate.target.annotation_box.layer = labels
    widget = ModelsWidget(desk.viewer)
    desk.viewer.window.add_dock_widget(widget, name="Models", tabify=True)
    desk.click(desk.train.train_button)
    desk.wait_until_idle()

    desk.click(widget.add_button)
    desk.wait_until_idle()

    entry = widget.library.entries()[0]
    assert entry.thumbnail is not None
    assert entry.images == ("disks",)
    assert entry.score_text in first_text(widget)


def test_a_chosen_model_is_loaded(models: tuple[Desk, ModelsWidget]) -> None:
    desk, widget = models
    desk.click(widget.add_button)
    desk.wait_until_idle()
    session_of(desk.viewer).set_model(untrained(), "another")
    widget.list.setCurrentRow(0)

    desk.click(widget.load_button)
    desk.wait_until_idle()

    assert session_of(desk.viewer).model_name == "good cells"


def test_a_model_is_renamed(models: tuple[Desk, ModelsWidget]) -> None:
    desk, widget = models
    desk.click(widget.add_button)
    desk.wait_until_idle()

    widget.rename(widget.library.entries()[0], "better cells")

    assert first_text(widget).startswith("better cells")


def test_a_model_is_deleted(models: tuple[Desk, ModelsWidget]) -> None:
    desk, widget = models
    desk.click(widget.add_button)
    desk.wait_until_idle()

    widget.delete(widget.library.entries()[0])

    assert widget.library.entries() == ()


@pytest.fixture
def bundled(models: tuple[Desk, ModelsWidget]) -> tuple[Desk, ModelsWidget]:
    """The Models widget with the bundled model "cells" chosen."""
    _, widget = models
    rows = [row for row in range(widget.list.count()) if _title(widget, row) == CELLS.title]
    widget.list.setCurrentRow(rows[0])
    return models


def _title(widget: ModelsWidget, row: int) -> str:
    item: Any = widget.list.item(row)
    return str(item.text()).splitlines()[0]


def test_a_bundled_model_shows_its_card(bundled: tuple[Desk, ModelsWidget]) -> None:
    _, widget = bundled
    assert widget.card_note.text() == str(CELLS)


def test_a_bundled_model_is_neither_renamed_nor_deleted(
    bundled: tuple[Desk, ModelsWidget],
) -> None:
    _, widget = bundled
    assert not widget.rename_button.isEnabled()
    assert not widget.delete_button.isEnabled()


def test_a_bundled_model_is_loaded_like_any_other(bundled: tuple[Desk, ModelsWidget]) -> None:
    desk, widget = bundled
    desk.click(widget.load_button)
    desk.wait_until_idle()
    assert session_of(desk.viewer).model_name == CELLS.title


# --- projects ----------------------------------------------------------------------------------


@pytest.mark.canvas
@pytest.mark.slow
def test_a_project_comes_back_as_it_was(
    painted: Painted, make_napari_viewer: Callable[..., Viewer], tmp_path: Path
) -> None:
    desk, labels = painted
    annotation_of(labels).names[1] = "outside"
    desk.annotate.target.annotation_box.layer = labels
    desk.click(desk.annotate.region_button)
    desk.stroke((2, 2), (20, 20))
    desk.click(desk.train.train_button)
    desk.wait_until_idle()
    place_of(desk.viewer).save_to(tmp_path / "project")
    desk.wait_until_idle()

    other = make_napari_viewer()
    open_folder(other, tmp_path / "project")
    session = session_of(other)
    desk.qtbot.waitUntil(lambda: session.model is not None, timeout=30_000)

    assert np.array_equal(other.layers["disks"].data, desk.image.data)
    assert np.array_equal(other.layers["paint"].data, labels.data)
    assert annotation_of(other.layers["paint"]).names[1] == "outside"
    assert "paint: fully annotated" in other.layers
    assert session.settings.base_channels == 4
    assert session.model_name == "disks model"


def test_a_project_that_names_a_previous_starting_model_opens(desk: Desk, tmp_path: Path) -> None:
    save_project(Project((), {"start": "nuclei", "steps": 5}), tmp_path)
    open_folder(desk.viewer, tmp_path)
    settings = session_of(desk.viewer).settings
    assert (settings.start, settings.steps) == ("cells", 5)


def test_an_image_file_is_opened_again_from_where_it_lies(
    make_napari_viewer: Callable[..., Viewer], tmp_path: Path
) -> None:
    tifffile.imwrite(tmp_path / "cells.tif", disks())
    viewer = make_napari_viewer()
    viewer.open(tmp_path / "cells.tif", plugin="napari")
    viewer.add_labels(strokes_on(disks()), name="paint")
    place_of(viewer).save_to(tmp_path / "project")
    _wait(place_of(viewer).task)

    other = make_napari_viewer()
    open_folder(other, tmp_path / "project")

    assert np.array_equal(other.layers["cells"].data, disks())
    assert not (tmp_path / "project" / "cells.tif").exists()


def test_a_missing_image_is_named_and_the_annotation_opens(
    make_napari_viewer: Callable[..., Viewer], tmp_path: Path
) -> None:
    tifffile.imwrite(tmp_path / "cells.tif", disks())
    viewer = make_napari_viewer()
    viewer.open(tmp_path / "cells.tif", plugin="napari")
    viewer.add_labels(strokes_on(disks()), name="paint")
    place_of(viewer).save_to(tmp_path / "project")
    _wait(place_of(viewer).task)
    (tmp_path / "cells.tif").unlink()

    other = make_napari_viewer()
    open_folder(other, tmp_path / "project")

    assert "paint" in other.layers


def _wait(task: object) -> None:
    from qtpy.QtWidgets import QApplication

    while task.running:  # type: ignore[attr-defined]
        QApplication.processEvents()


# --- recovery ----------------------------------------------------------------------------------


def crash(folder: Path) -> None:
    """Make a recovery folder look as if its program had ended."""
    recovery._let_go(folder)


@pytest.mark.fault(47)
def test_paint_is_saved_for_recovery(painted: Painted) -> None:
    desk, labels = painted
    keeper = keeper_of(desk.viewer)

    keeper.save_now()
    desk.wait_until_idle()

    saved = load_project(keeper.folder).images[0].labels
    assert saved is not None
    np.testing.assert_array_equal(saved, labels.data)


@pytest.mark.canvas
@pytest.mark.fault(47)
def test_a_stroke_is_saved_after_a_while(painted: Painted, monkeypatch: pytest.MonkeyPatch) -> None:
    desk, labels = painted
    keeper = keeper_of(desk.viewer)
    keeper._timer.setInterval(50)
    desk.viewer.layers.selection.active = labels
    labels.selected_label, labels.mode = 40, "paint"

    desk.stroke((60, 10), (60, 14))

    desk.qtbot.waitUntil(lambda: (keeper.folder / "project.json").exists(), timeout=10_000)


@pytest.mark.fault(47)
def test_after_a_crash_the_annotations_are_offered_and_restored(
    painted: Painted, make_napari_viewer: Callable[..., Viewer]
) -> None:
    desk, labels = painted
    keeper = keeper_of(desk.viewer)
    keeper.save_now()
    desk.wait_until_idle()
    crash(keeper.folder)

    other = make_napari_viewer()
    annotate = AnnotateWidget(other)
    assert not annotate.recovery.isHidden()
    assert "disks" in annotate.recovery.text.text()
    annotate.recovery.restore()

    np.testing.assert_array_equal(other.layers["paint"].data, labels.data)
    assert annotate.recovery.isHidden()


def test_what_a_crash_left_is_offered_without_reading_its_arrays(
    painted: Painted, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk, _ = painted
    keeper = keeper_of(desk.viewer)
    keeper.save_now()
    desk.wait_until_idle()
    crash(keeper.folder)
    monkeypatch.setattr(folder_module, "read_array", None)

    assert "disks were saved" in AnnotateWidget(desk.viewer).recovery.text.text()


@pytest.fixture
def corrected(desk: Desk) -> Labels:
    """A result of two cells, one of which was deleted; nothing is painted."""
    labels = np.zeros((96, 96), np.int32)
    labels[10:20, 10:20], labels[40:50, 40:50] = 1, 2
    predicted = Predicted(labels.copy(), 2, name="disks prediction")
    predicted.image = desk.image
    layer = Labels(labels, name="disks prediction", metadata={METADATA_KEY: predicted})
    desk.viewer.add_layer(layer)
    layer.data_setitem(np.nonzero(layer.data == 2), 0)
    return layer


@pytest.mark.fault(47)
def test_after_a_crash_a_corrected_result_is_restored_with_its_corrections(
    desk: Desk, corrected: Labels, make_viewer: Callable[[], Viewer]
) -> None:
    keeper = keeper_of(desk.viewer)
    keeper.save_now()
    desk.wait_until_idle()
    crash(keeper.folder)

    other = make_viewer()
    annotate = AnnotateWidget(other)
    assert "disks, corrected results were saved" in annotate.recovery.text.text()
    annotate.recovery.restore()

    restored = other.layers["disks prediction"]
    about = predicted_of(restored)
    assert about is not None
    np.testing.assert_array_equal(restored.data, corrected.data)
    assert np.count_nonzero(about.labels != restored.data) == 100
    assert about.image is other.layers["disks"]


def test_a_correction_is_saved_soon_and_once(desk: Desk, corrected: Labels) -> None:
    keeper = keeper_of(desk.viewer)
    assert keeper._timer.isActive()
    keeper._timer.stop()

    corrected.data_setitem(np.nonzero(corrected.data == 1), 0)
    assert keeper._timer.isActive()
    keeper.save_now()
    desk.wait_until_idle()

    assert keeper._unsaved() is None


def test_a_result_that_no_one_corrected_is_not_saved_for_recovery(
    desk: Desk, corrected: Labels
) -> None:
    corrected.undo()

    assert project_to_recover(desk.viewer).results == ()


def test_of_results_too_large_to_copy_the_topmost_are_saved(
    desk: Desk, corrected: Labels, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, state, kind = corrected.as_layer_data_tuple()
    above = Layer.create(data.copy(), {**state, "name": "above"}, kind)
    desk.viewer.add_layer(above)
    monkeypatch.setattr(projects, "_LARGEST_RESULTS", 96 * 96)

    (saved,) = project_to_recover(desk.viewer).results

    assert saved.name == "above"


def two_images_left_behind(folder: Path, make_viewer: Callable[..., Viewer]) -> Path:
    """Two images from files, paint on both, autosaved, and then a crash."""
    viewer = make_viewer()
    for name in "ab":
        tifffile.imwrite(folder / f"{name}.tif", disks())
        image = viewer.open(folder / f"{name}.tif", plugin="napari")[0]
        paint = viewer.add_labels(strokes_on(disks()), name=f"{name} paint")
        annotation_of(paint).image = image
    keeper = keeper_of(viewer)
    keeper.save_now()
    _wait(session_of(viewer).saving)
    crash(keeper.folder)
    return keeper.folder


@pytest.mark.fault(35)
# The readers behind napari leave a damaged file open.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("size", [0, 200], ids=["empty", "cut off"])
def test_annotations_are_restored_although_an_image_file_is_damaged(
    make_napari_viewer: Callable[..., Viewer], tmp_path: Path, size: int
) -> None:
    two_images_left_behind(tmp_path, make_napari_viewer)
    (tmp_path / "a.tif").write_bytes((tmp_path / "a.tif").read_bytes()[:size])

    other = make_napari_viewer()
    annotate = AnnotateWidget(other)
    annotate.recovery.restore()

    assert [layer.name for layer in other.layers] == ["a paint", "b", "b paint"]
    told = str(notification_manager.records[-1].message)
    assert "Not found, damaged, or of no known image format" in told
    assert str(tmp_path / "a.tif") in told
    assert str(tmp_path / "b.tif") not in told
    assert annotate.recovery.isHidden()


def test_what_cannot_be_restored_is_offered_on(
    make_napari_viewer: Callable[..., Viewer], tmp_path: Path
) -> None:
    folder = two_images_left_behind(tmp_path, make_napari_viewer)
    (folder / "project.json").write_text("{")

    annotate = AnnotateWidget(make_napari_viewer())
    annotate.recovery.restore()

    assert "is damaged" in str(notification_manager.records[-1].message)
    assert not annotate.recovery.isHidden()
    assert annotate.recovery.folder == folder


def test_a_running_session_is_not_offered(painted: Painted) -> None:
    desk, _ = painted
    keeper_of(desk.viewer).save_now()
    desk.wait_until_idle()

    assert AnnotateWidget(desk.viewer).recovery.isHidden()


def test_discarded_annotations_are_gone(painted: Painted) -> None:
    desk, _ = painted
    keeper = keeper_of(desk.viewer)
    keeper.save_now()
    desk.wait_until_idle()
    folder = keeper.folder  # asked for later, it would be made anew
    crash(folder)
    annotate = AnnotateWidget(desk.viewer)

    annotate.recovery.discard()

    assert not folder.exists()
    assert annotate.recovery.isHidden()


def test_a_crashed_training_resumes_in_a_new_session(
    painted: Painted,
    make_napari_viewer: Callable[..., Viewer],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("napari_unet.training.loop._CHECKPOINT_SECONDS", 0.0)
    desk, _ = painted
    desk.train.steps_box.setValue(50)
    keeper = keeper_of(desk.viewer)
    keeper.save_now()
    desk.wait_until_idle()
    desk.click(desk.train.train_button)
    desk.qtbot.waitUntil(lambda: (keeper.folder / MODEL_FILE).exists(), timeout=60_000)
    desk.click(desk.train.stop_button)
    desk.wait_until_idle()
    crash(keeper.folder)

    other = make_napari_viewer()
    open_folder(other, keeper.folder)
    session = session_of(other)
    desk.qtbot.waitUntil(lambda: session.model is not None, timeout=30_000)

    assert session.interrupted is not None
    assert 0 < session.interrupted.step < 50


@pytest.mark.canvas
def test_closing_the_window_saves_unsaved_strokes_and_the_training(painted: Painted) -> None:
    desk, labels = painted
    desk.train.steps_box.setValue(100_000)
    desk.click(desk.train.train_button)
    desk.qtbot.waitUntil(lambda: "Step" in desk.train.shown.status.text(), timeout=60_000)
    desk.viewer.layers.selection.active = labels
    labels.selected_label, labels.mode = 40, "paint"
    desk.stroke((60, 10), (60, 14))
    keeper = keeper_of(desk.viewer)

    window = desk.viewer.window._qt_window
    window.findChild(WindowGuard).eventFilter(window, QEvent(QEvent.Type.Close))

    project = load_project(keeper.folder)
    saved = project.images[0].labels
    assert saved is not None
    np.testing.assert_array_equal(saved, labels.data)
    assert project.has_state
    desk.click(desk.train.stop_button)
    desk.wait_until_idle()


def test_the_state_of_a_stopped_training_is_saved_at_once(painted: Painted) -> None:
    desk, _ = painted
    desk.click(desk.train.train_button)
    desk.wait_until_idle()

    assert load_state(state_path(keeper_of(desk.viewer).folder / MODEL_FILE)).step == 30


@pytest.mark.fault(47)
def test_no_stroke_waits_for_longer_than_half_a_minute(desk: Desk) -> None:
    assert keeper_of(desk.viewer)._timer.interval() <= 30_000


@pytest.mark.canvas
def test_the_main_window_is_guarded(desk: Desk) -> None:
    assert desk.viewer.window._qt_window.findChild(WindowGuard) is not None
