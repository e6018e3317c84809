from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from napari import Viewer
from napari.layers import Labels
from pytestqt.qtbot import QtBot

from napari_unet.model.trained import load_network
from napari_unet.training.config import PRESET_HELP, TrainConfig
from napari_unet.widgets.common.session import session_of
from napari_unet.widgets.train.dock import TrainWidget

from .conftest import TINY, Desk, disks, strokes_on

Painted = tuple[Desk, Labels]


def test_train_ends_with_a_model_that_the_session_shares(painted: Painted) -> None:
    desk, _ = painted

    desk.click(desk.train.train_button)
    desk.wait_until_idle()

    assert desk.train.shown.status.text().startswith("Finished after 30 steps.")
    assert "disks model" in desk.predict.model_note.text()


def test_train_shows_steps_score_and_progress_while_it_runs(painted: Painted) -> None:
    desk, _ = painted
    desk.train.steps_box.setValue(100_000)

    desk.click(desk.train.train_button)
    shown = desk.train.shown
    desk.qtbot.waitUntil(lambda: "painted cell" in shown.cells.text.text(), timeout=60_000)

    assert desk.train.shown.status.text().startswith("Step ")
    assert "left" in desk.train.shown.status.text()
    desk.click(desk.train.stop_button)
    desk.wait_until_idle()


def test_stop_keeps_the_model(painted: Painted) -> None:
    desk, _ = painted
    desk.train.steps_box.setValue(100_000)
    desk.click(desk.train.train_button)
    desk.qtbot.waitUntil(lambda: "Step" in desk.train.shown.status.text(), timeout=60_000)

    desk.click(desk.train.stop_button)
    desk.wait_until_idle(timeout=5_000)

    assert desk.train.shown.status.text().startswith("Stopped after ")
    assert desk.train.save_button.isEnabled()


def test_a_start_that_nothing_scored_better_than_is_told(painted: Painted) -> None:
    desk, _ = painted
    desk.train.steps_box.setValue(60)
    desk.click(desk.train.train_button)
    desk.wait_until_idle()
    desk.train.form.set_value(desk.train.config().changed(learning_rate=0.5))
    desk.train.steps_box.setValue(10)

    desk.click(desk.train.continue_button)
    desk.wait_until_idle()

    said = "Nothing scored better than the model that it began with; it is kept."
    assert desk.train.shown.status.text().endswith(said)


def test_a_start_that_was_outdone_is_not_told(painted: Painted) -> None:
    desk, _ = painted
    desk.click(desk.train.train_button)
    desk.wait_until_idle()

    assert desk.train.shown.status.text() == "Finished after 30 steps."


def test_a_training_too_short_for_a_score_says_that_its_start_is_kept(desk: Desk) -> None:
    desk.viewer.add_labels(strokes_on(disks()), name="paint")
    desk.train.start_box.setCurrentIndex(desk.train.start_box.findData("cells"))
    desk.click(desk.train.train_button)
    desk.qtbot.waitUntil(lambda: "Step" in desk.train.shown.status.text(), timeout=60_000)

    desk.click(desk.train.stop_button)
    desk.wait_until_idle()

    said = "It was too short to be scored: the starting model is kept."
    assert desk.train.shown.status.text().endswith(said)


@pytest.mark.canvas
def test_the_window_can_be_painted_in_while_it_trains(painted: Painted) -> None:
    desk, labels = painted
    desk.train.steps_box.setValue(100_000)
    desk.click(desk.train.train_button)
    desk.qtbot.waitUntil(lambda: "Step" in desk.train.shown.status.text(), timeout=60_000)
    desk.viewer.layers.selection.active = labels
    labels.selected_label, labels.mode = 40, "paint"

    desk.stroke((80, 20), (80, 60))

    assert labels.data[80, 40] == 40
    desk.click(desk.train.stop_button)
    desk.wait_until_idle()


def test_layers_removed_while_training_do_not_disturb_it(painted: Painted) -> None:
    desk, _ = painted
    desk.click(desk.train.train_button)
    desk.viewer.layers.clear()

    desk.wait_until_idle()

    assert desk.train.shown.status.text().startswith("Finished")


def test_a_second_start_is_refused_with_the_state_of_the_first(painted: Painted) -> None:
    desk, _ = painted
    desk.train.steps_box.setValue(100_000)
    desk.click(desk.train.train_button)

    desk.train.start_training()

    assert "Training is already running" in desk.last_notice

    desk.train.stop_training()
    desk.wait_until_idle()


def test_the_model_arrives_although_the_dock_was_closed(
    make_napari_viewer: Callable[..., Viewer], qtbot: QtBot
) -> None:
    viewer = make_napari_viewer()
    viewer.add_image(disks())
    viewer.add_labels(strokes_on(disks()))
    train = TrainWidget(viewer)
    dock = viewer.window.add_dock_widget(train, name="Train")
    session = session_of(viewer)
    train.form.set_value(train.config().changed(**TINY))
    train.steps_box.setValue(10)
    train.start_training()

    dock.destroyOnClose()
    del dock, train
    gc.collect()

    qtbot.waitUntil(lambda: session.model is not None, timeout=60_000)


def test_a_stop_before_the_first_step_keeps_the_previous_model(painted: Painted) -> None:
    desk, _ = painted
    desk.click(desk.train.train_button)
    desk.wait_until_idle()

    desk.train.task.started.connect(desk.train.stop_training)  # before its thread begins
    desk.train.start_training()
    desk.wait_until_idle()

    model = session_of(desk.viewer).model
    assert model is not None
    assert model.record.steps == 30


@pytest.mark.fault(27)
def test_a_layer_without_paint_gives_an_error_that_says_what_to_paint(desk: Desk) -> None:
    desk.click(desk.annotate.new_button)
    desk.train_tiny()

    desk.train.start_training()
    _wait_for_error(desk, "Paint at least two classes")


@pytest.mark.fault(25)
def test_labels_that_fit_no_image_are_named_with_both_shapes(desk: Desk) -> None:
    desk.viewer.add_labels(np.ones((96, 97), int), name="other")

    desk.train.start_training()

    assert "Labels (96, 97) of 'other' do not match image (96, 96) of 'disks'" in desk.last_notice
    assert not desk.train.task.running


def test_without_labels_a_warning_says_what_is_needed(desk: Desk) -> None:
    desk.train.start_training()

    assert "needs an image and paint on it" in desk.last_notice


def test_settings_that_do_not_fit_are_reported_before_anything_starts(desk: Desk) -> None:
    desk.click(desk.annotate.new_button)
    desk.train.form.editors["patch_size"].show(33)

    desk.train.start_training()

    assert "patch_size is 33" in desk.last_notice


@pytest.mark.parametrize("name", list(PRESET_HELP))
def test_the_form_shows_exactly_the_preset(desk: Desk, name: str) -> None:
    box = desk.train.preset_box

    box.setCurrentIndex(box.findData(name))

    assert desk.train.config() == TrainConfig.preset(name)  # type: ignore[arg-type]


def test_train_follows_the_kind_that_is_chosen_while_painting(desk: Desk) -> None:
    box = desk.annotate.target.kind_box

    box.setCurrentIndex(box.findData("classes"))

    assert desk.train.config().kind == "classes"


def test_a_saved_model_loads_with_its_settings(painted: Painted, tmp_path: Path) -> None:
    desk, _ = painted
    desk.click(desk.train.train_button)
    desk.wait_until_idle()

    desk.train.save_model(tmp_path / "my cells")

    record = load_network(tmp_path / "my cells.safetensors").record
    assert record.training["base_channels"] == 4


def _wait_for_error(desk: Desk, text: str) -> None:
    desk.qtbot.waitUntil(lambda: text in desk.train.shown.status.text(), timeout=60_000)
    assert text in desk.last_notice


def test_what_a_training_starts_from_is_among_the_main_settings(desk: Desk) -> None:
    desk.train.start_box.setCurrentIndex(desk.train.start_box.findData("random"))
    assert desk.train.config().start == "random"
