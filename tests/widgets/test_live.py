"""Paint while it trains, see it learn, stop, go on."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from napari.layers import Labels

from napari_unet.training.events import AnnotationsJoined, StepDone, ViewPredicted
from napari_unet.widgets.common.annotation import annotation_of
from napari_unet.widgets.common.session import session_of
from napari_unet.widgets.common.visible import camera_of
from napari_unet.widgets.train import run as training_run

from .conftest import Desk, disks, strokes_on

Painted = tuple[Desk, Labels]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_unet.training.live._PAUSE_SECONDS", 0.2)
    monkeypatch.setattr(training_run, "_JOIN_DELAY_MS", 100)


def train_on(desk: Desk) -> list[object]:
    """Start a training that does not end by itself; return its events as they come."""
    events: list[object] = []
    desk.train.task.happened.connect(events.append)
    desk.train.steps_box.setValue(100_000)
    desk.click(desk.train.train_button)
    return events


def stop(desk: Desk) -> None:
    desk.click(desk.train.stop_button)
    desk.wait_until_idle()


def wait_for(desk: Desk, events: list[object], kind: type, number: int = 1) -> None:
    desk.qtbot.waitUntil(
        lambda: sum(isinstance(event, kind) for event in events) >= number, timeout=60_000
    )


def test_what_is_on_screen_is_predicted_while_training(painted: Painted) -> None:
    desk, labels = painted
    events = train_on(desk)
    wait_for(desk, events, ViewPredicted, 2)

    live = desk.viewer.layers["disks prediction"]
    assert isinstance(live, Labels)
    assert live.data.shape == labels.data.shape
    stop(desk)


def test_what_the_starting_model_sees_is_shown_before_the_first_step(desk: Desk) -> None:
    desk.viewer.add_labels(strokes_on(disks()), name="paint")
    desk.train.start_box.setCurrentIndex(desk.train.start_box.findData("cells"))
    events = train_on(desk)
    wait_for(desk, events, ViewPredicted)
    shown = "disks prediction" in desk.viewer.layers
    stop(desk)

    kinds = [type(event) for event in events]
    assert shown
    assert StepDone not in kinds[: kinds.index(ViewPredicted)]


def test_the_live_layer_lies_below_the_paint_and_takes_no_focus(painted: Painted) -> None:
    desk, labels = painted
    desk.viewer.layers.selection.active = labels
    events = train_on(desk)
    wait_for(desk, events, ViewPredicted)

    names = [layer.name for layer in desk.viewer.layers]
    assert names.index("disks prediction") < names.index("paint")
    assert desk.viewer.layers.selection.active is labels
    stop(desk)


@pytest.mark.canvas
def test_only_what_is_on_screen_is_predicted(painted: Painted) -> None:
    desk, _ = painted
    camera = camera_of(desk.viewer)
    camera.zoom *= 4
    camera.center = (20, 20)
    desk.qtbot.wait(200)
    events = train_on(desk)
    wait_for(desk, events, ViewPredicted)

    view = next(event for event in events if isinstance(event, ViewPredicted))
    assert all(part.stop <= 60 for part in view.region)
    stop(desk)


def test_the_slider_decides_which_plane_is_predicted(make_desk: Callable[..., Desk]) -> None:
    desk = make_desk(np.stack([disks()] * 3))
    labels = np.zeros((3, 96, 96), np.uint16)
    labels[1] = strokes_on(disks())
    desk.viewer.add_labels(labels, name="paint")
    desk.train_tiny()
    desk.viewer.dims.set_current_step(0, 2)
    events = train_on(desk)
    wait_for(desk, events, ViewPredicted)

    assert next(event for event in events if isinstance(event, ViewPredicted)).frame == (2,)
    stop(desk)


def test_without_live_prediction_no_layer_appears(painted: Painted) -> None:
    desk, _ = painted
    desk.click(desk.train.live_box)
    events = train_on(desk)
    wait_for(desk, events, StepDone, 10)

    assert "disks prediction" not in desk.viewer.layers
    stop(desk)


@pytest.mark.canvas
@pytest.mark.fault(6)
def test_a_new_stroke_joins_the_running_training(painted: Painted) -> None:
    desk, labels = painted
    events = train_on(desk)
    wait_for(desk, events, StepDone)
    desk.viewer.layers.selection.active = labels
    labels.selected_label, labels.mode = 40, "paint"

    desk.stroke((60, 10), (60, 14))

    wait_for(desk, events, AnnotationsJoined)
    joined = next(event for event in events if isinstance(event, AnnotationsJoined))
    assert joined.painted == np.count_nonzero(labels.data)
    stop(desk)


@pytest.mark.canvas
def test_an_undone_stroke_leaves_the_training_again(painted: Painted) -> None:
    desk, labels = painted
    before = np.count_nonzero(labels.data)
    events = train_on(desk)
    wait_for(desk, events, StepDone)
    desk.viewer.layers.selection.active = labels
    labels.selected_label, labels.mode = 40, "paint"
    desk.stroke((60, 10), (60, 14))
    wait_for(desk, events, AnnotationsJoined)

    labels.undo()

    wait_for(desk, events, AnnotationsJoined, 2)
    joined = [event for event in events if isinstance(event, AnnotationsJoined)]
    assert joined[-1].painted == before
    stop(desk)


def test_moving_the_slider_joins_nothing(make_desk: Callable[..., Desk]) -> None:
    desk = make_desk(np.stack([disks()] * 3))
    labels = np.zeros((3, 96, 96), np.uint16)
    labels[1] = strokes_on(disks())
    desk.viewer.add_labels(labels, name="paint")
    desk.train_tiny()
    events = train_on(desk)
    wait_for(desk, events, StepDone)

    desk.viewer.dims.set_current_step(0, 2)
    desk.qtbot.wait(500)

    assert not any(isinstance(event, AnnotationsJoined) for event in events)
    stop(desk)


def test_moving_the_slider_after_a_training_compares_no_paint(
    make_desk: Callable[..., Desk], monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = make_desk(np.stack([disks()] * 3))
    labels = np.zeros((3, 96, 96), np.uint16)
    labels[1] = strokes_on(disks())
    desk.viewer.add_labels(labels, name="paint")
    desk.train_tiny()
    events = train_on(desk)
    wait_for(desk, events, StepDone)
    stop(desk)
    compared: list[object] = []
    monkeypatch.setattr(training_run, "same_paint", lambda *both: compared.append(both))

    desk.viewer.dims.set_current_step(0, 2)

    run = session_of(desk.viewer).run
    assert run is not None
    assert not run.outdated
    assert compared == []


def test_a_stroke_after_a_training_is_new_until_it_is_undone(painted: Painted) -> None:
    desk, labels = painted
    events = train_on(desk)
    wait_for(desk, events, StepDone)
    stop(desk)
    run = session_of(desk.viewer).run
    assert run is not None

    labels.paint((60, 10), 40)
    assert run.outdated

    labels.undo()
    assert not run.outdated


def test_a_stopped_training_continues_where_it_was(painted: Painted) -> None:
    desk, _ = painted
    events = train_on(desk)
    wait_for(desk, events, StepDone, 5)
    stop(desk)
    last = max(event.step for event in events if isinstance(event, StepDone))
    events.clear()

    desk.click(desk.train.continue_button)
    wait_for(desk, events, StepDone)

    assert next(event.step for event in events if isinstance(event, StepDone)) == last + 1
    stop(desk)


def test_a_finished_model_is_trained_further(painted: Painted) -> None:
    desk, _ = painted
    desk.click(desk.train.train_button)
    desk.wait_until_idle()

    desk.click(desk.train.continue_button)
    desk.wait_until_idle()

    model = session_of(desk.viewer).model
    assert model is not None
    assert model.record.steps == 60


def test_continuing_tells_whether_it_got_better(painted: Painted) -> None:
    desk, _ = painted
    desk.click(desk.train.train_button)
    desk.wait_until_idle()

    desk.click(desk.train.continue_button)
    desk.wait_until_idle()

    assert desk.train.shown.score.text().startswith("Found before the first step: ")


def test_best_and_last_weights_can_be_chosen(painted: Painted) -> None:
    desk, _ = painted
    desk.click(desk.train.train_button)
    desk.wait_until_idle()
    session = session_of(desk.viewer)
    assert session.trained is not None

    desk.train.shown.weights_box.setCurrentIndex(1)

    assert session.model is session.trained.latest


def test_two_images_are_learned_from_together(painted: Painted) -> None:
    desk, _ = painted
    second = desk.viewer.add_image(255 - disks(), name="inverted")
    other = desk.viewer.add_labels(strokes_on(disks()), name="paint 2")
    annotation_of(other).image = second
    desk.train.pairs.reset_choices()

    desk.click(desk.train.train_button)
    desk.wait_until_idle()

    model = session_of(desk.viewer).model
    assert model is not None
    assert [image.name for image in model.record.images] == ["disks", "inverted"]


def test_an_unticked_annotation_is_not_learned_from(painted: Painted) -> None:
    desk, _ = painted
    other = desk.viewer.add_labels(strokes_on(disks()), name="paint 2")

    desk.train.pairs.tick(other, False)

    assert [pair.annotation.name for pair in desk.train.pairs.pairs()] == ["paint"]


def test_predictions_are_not_offered_as_annotations(painted: Painted) -> None:
    desk, _ = painted
    events = train_on(desk)
    wait_for(desk, events, ViewPredicted)
    stop(desk)

    assert [pair.annotation.name for pair in desk.train.pairs.pairs()] == ["paint"]
    assert desk.train.pairs.rowCount() == 1


def test_facts_name_device_time_and_memory(painted: Painted) -> None:
    desk, _ = painted
    events = train_on(desk)
    wait_for(desk, events, StepDone, 2)

    text = desk.train.shown.facts.text()
    assert "s per step" in text
    assert "GB" in text
    stop(desk)


@pytest.mark.canvas
def test_a_region_drawn_in_the_image_teaches_background(painted: Painted) -> None:
    desk, labels = painted
    desk.annotate.target.annotation_box.layer = labels
    desk.click(desk.annotate.region_button)
    desk.stroke((2, 2), (46, 90))
    session = session_of(desk.viewer)

    desk.click(desk.train.train_button)
    desk.wait_until_idle()

    assert session.trained is not None
    assert session.trained.data.painted > np.count_nonzero(labels.data)
