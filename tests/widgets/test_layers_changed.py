"""Layers that are removed, renamed or given other pixels while a worker is at it: nothing is lost.

pytest-qt fails a test in which a slot raises, so each of these also says that nothing did.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from typing import Any

import numpy as np
import pytest
from napari.layers import Labels

from napari_unet.prediction import predictor
from napari_unet.prediction.results import TilePredicted
from napari_unet.run import Run
from napari_unet.training.events import AnnotationsJoined, StepDone, ViewPredicted
from napari_unet.widgets.common.layers import plain_layers, write_pixels
from napari_unet.widgets.common.result_layer import predicted_of
from napari_unet.widgets.common.session import session_of
from napari_unet.widgets.train import run as training_run

from .conftest import Desk, disks, strokes_on
from .test_live import stop, train_on, wait_for
from .test_predict import predict_with, untrained
from .test_scopes import eager

Painted = tuple[Desk, Labels]
Change = Callable[[Desk, Labels], None]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_unet.training.live._PAUSE_SECONDS", 0.1)
    monkeypatch.setattr(training_run, "_JOIN_DELAY_MS", 50)


def remove_image(desk: Desk, labels: Labels) -> None:
    desk.viewer.layers.remove(desk.image)


def remove_labels(desk: Desk, labels: Labels) -> None:
    desk.viewer.layers.remove(labels)


def remove_all(desk: Desk, labels: Labels) -> None:
    desk.viewer.layers.clear()


def rename_both(desk: Desk, labels: Labels) -> None:
    desk.image.name, labels.name = "others", "else"


def reorder(desk: Desk, labels: Labels) -> None:
    desk.viewer.layers.reverse()


def hide(desk: Desk, labels: Labels) -> None:
    desk.image.visible = labels.visible = False


def smaller_image(desk: Desk, labels: Labels) -> None:
    desk.image.data = disks(48)


def smaller_labels(desk: Desk, labels: Labels) -> None:
    labels.data = strokes_on(disks())[:48, :40]


def deeper_labels(desk: Desk, labels: Labels) -> None:
    labels.data = np.stack([strokes_on(disks())] * 3)


def other_numbers(desk: Desk, labels: Labels) -> None:
    labels.data = labels.data.astype(np.int64)


CHANGES = [
    remove_image,
    remove_labels,
    remove_all,
    rename_both,
    reorder,
    hide,
    smaller_image,
    smaller_labels,
    deeper_labels,
    other_numbers,
]


@pytest.mark.fault(5)
@pytest.mark.parametrize("change", CHANGES)
def test_a_training_goes_on_with_its_snapshot(painted: Painted, change: Change) -> None:
    desk, labels = painted
    events = train_on(desk)
    wait_for(desk, events, ViewPredicted)

    change(desk, labels)
    desk.qtbot.wait(500)  # a join and a view are due meanwhile
    events.clear()
    wait_for(desk, events, StepDone, 5)
    stop(desk)

    assert desk.train.shown.status.text().startswith("Stopped after ")
    assert session_of(desk.viewer).model is not None


@pytest.mark.fault(5)
def test_pixels_of_another_shape_are_not_joined_to_a_training(painted: Painted) -> None:
    desk, labels = painted
    events = train_on(desk)
    wait_for(desk, events, StepDone)

    smaller_labels(desk, labels)
    desk.qtbot.wait(500)
    wait_for(desk, events, StepDone, 5)

    assert not any(isinstance(event, AnnotationsJoined) for event in events)
    stop(desk)


# --- predictions -----------------------------------------------------------------------------


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Predictions wait after each tile until this is set, or until they are stopped."""
    go, real = threading.Event(), predictor.predict_image

    def waiting(
        model: Any, image: Any, config: Any, stop: threading.Event, *file: Any, **kept: Any
    ) -> Generator[object, None, Any]:
        run = Run(real(model, image, config, stop, *file, **kept))
        for event in run:
            yield event
            while isinstance(event, TilePredicted) and not go.wait(0.01) and not stop.is_set():
                yield "waiting"
        return run.result

    monkeypatch.setattr(predictor, "predict_image", waiting)
    return go


def predict_until_the_first_tile(desk: Desk) -> list[object]:
    events: list[object] = []
    session = session_of(desk.viewer)
    session.set_model(eager(), "eager")
    session.prediction.happened.connect(events.append)
    desk.click(desk.predict.predict_button)
    desk.qtbot.waitUntil(lambda: any(isinstance(e, TilePredicted) for e in events), timeout=60_000)
    return events


def result_of(desk: Desk) -> Labels:
    found = [each for each in plain_layers(desk.viewer) if isinstance(each, Labels)]
    return next(each for each in reversed(found) if predicted_of(each) is not None)


@pytest.mark.fault(5)
@pytest.mark.parametrize("change", CHANGES)
def test_a_prediction_goes_on_with_its_snapshot(
    painted: Painted, gate: threading.Event, change: Change
) -> None:
    desk, labels = painted
    predict_until_the_first_tile(desk)

    change(desk, labels)
    gate.set()
    desk.wait_until_idle()

    assert result_of(desk).data.shape == (96, 96)
    assert result_of(desk).data.any()
    assert desk.predict.status.text().startswith("Done.")


def other_pixels(layer: Labels) -> None:
    layer.data = np.full((30, 40), 7)


def other_type(layer: Labels) -> None:
    layer.data = layer.data.astype(np.uint8)


@pytest.mark.fault(5)
@pytest.mark.fault(7)
@pytest.mark.parametrize("change", [other_pixels, other_type])
def test_a_result_layer_given_other_pixels_is_left_alone(
    desk: Desk, gate: threading.Event, change: Callable[[Labels], None]
) -> None:
    predict_until_the_first_tile(desk)
    layer = result_of(desk)

    change(layer)
    mine = layer.data.copy()
    gate.set()
    desk.wait_until_idle()

    np.testing.assert_array_equal(layer.data, mine)
    assert result_of(desk) is not layer
    assert result_of(desk).data.shape == (96, 96)
    assert result_of(desk).name == "disks prediction [1]"


@pytest.mark.fault(5)
def test_a_result_layer_removed_on_the_way_comes_back_whole(
    desk: Desk, gate: threading.Event
) -> None:
    predict_until_the_first_tile(desk)
    desk.viewer.layers.remove(result_of(desk))

    gate.set()
    desk.wait_until_idle()

    assert result_of(desk).data.any()


@pytest.mark.fault(5)
def test_a_result_layer_removed_before_cancelling_stays_away(
    make_desk: Callable[..., Desk], gate: threading.Event
) -> None:
    desk = make_desk(np.stack([disks()] * 5))
    predict_until_the_first_tile(desk)
    desk.viewer.layers.remove(result_of(desk))

    desk.click(desk.predict.cancel_button)
    desk.wait_until_idle()

    assert "disks prediction" not in desk.viewer.layers


# --- what the user has made is never written to ------------------------------------------------


@pytest.mark.fault(7)
def test_a_labels_layer_of_the_same_name_is_the_users(desk: Desk) -> None:
    mine = desk.viewer.add_labels(np.full((96, 96), 9), name="disks prediction")

    predict_with(desk, untrained())

    assert (mine.data == 9).all()
    assert result_of(desk) is not mine


@pytest.mark.fault(7)
def test_a_layer_of_the_name_of_the_live_prediction_is_the_users(painted: Painted) -> None:
    desk, _ = painted
    mine = desk.viewer.add_labels(np.full((96, 96), 9), name="disks prediction")
    desk.train.pairs.tick(mine, False)
    events = train_on(desk)
    wait_for(desk, events, ViewPredicted, 2)
    stop(desk)

    assert (mine.data == 9).all()


@pytest.mark.canvas
@pytest.mark.fault(7)
def test_what_was_painted_on_a_live_prediction_stays(painted: Painted) -> None:
    desk, _ = painted
    events = train_on(desk)
    wait_for(desk, events, ViewPredicted)
    live = desk.viewer.layers["disks prediction"]
    desk.viewer.layers.selection.active = live
    live.selected_label, live.mode = 77, "paint"

    desk.stroke((60, 10), (60, 40))
    mine = live.data == 77
    events.clear()
    wait_for(desk, events, ViewPredicted, 2)
    stop(desk)

    assert mine.any()
    assert (live.data[mine] == 77).all()
    assert result_of(desk) is live


@pytest.mark.canvas
@pytest.mark.fault(7)
def test_what_was_painted_on_a_result_stays(desk: Desk) -> None:
    predict_with(desk, eager())
    first = result_of(desk)
    desk.viewer.layers.selection.active = first
    first.selected_label, first.mode = 77, "paint"
    desk.stroke((60, 10), (60, 40))
    mine = first.data == 77

    predict_with(desk, eager())

    assert mine.any()
    assert (first.data[mine] == 77).all()
    assert result_of(desk) is first


@pytest.mark.fault(73)
def test_a_layer_that_was_never_on_screen_is_written_as_one_step_of_undo(desk: Desk) -> None:
    layer = desk.viewer.add_labels(np.zeros((20, 30), np.uint16), visible=False)
    write_pixels(layer, (np.array([15, 16]), np.array([25, 25])), 3)
    assert np.argwhere(layer.data == 3).tolist() == [[15, 25], [16, 25]]
    layer.undo()
    assert not layer.data.any()


@pytest.mark.fault(7)
def test_a_result_that_was_renamed_is_left_alone(desk: Desk) -> None:
    predict_with(desk, eager())
    first = result_of(desk)
    first.name = "the good one"

    predict_with(desk, untrained())

    assert first.data.any()
    assert result_of(desk) is not first


@pytest.mark.fault(7)
def test_a_result_cannot_be_painted_on_until_it_is_whole(desk: Desk, gate: threading.Event) -> None:
    predict_until_the_first_tile(desk)
    layer = result_of(desk)
    on_the_way = layer.editable
    gate.set()
    desk.wait_until_idle()

    assert not on_the_way
    assert layer.editable


# --- strokes while a worker reads --------------------------------------------------------------


@pytest.mark.fault(6)
def test_a_training_never_sees_paint_that_changes_under_it(
    painted: Painted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The layer is written to in place all the time; what joins is whole, and nothing else."""
    desk, labels = painted
    seen: list[Any] = []
    events = train_on(desk)
    run = session_of(desk.viewer).run
    assert run is not None
    annotate = run.inbox.annotate

    def annotate_and_remember(images: Any) -> None:
        seen.append(images)
        annotate(images)

    monkeypatch.setattr(run.inbox, "annotate", annotate_and_remember)
    wait_for(desk, events, StepDone)
    for value in range(60, 66):
        labels.data[48:] = value  # as a plugin would; then it tells napari
        labels.refresh()
        desk.qtbot.wait(120)
    wait_for(desk, events, AnnotationsJoined)
    stop(desk)

    assert seen
    for (image,) in seen:
        assert not np.shares_memory(image.labels, labels.data)
        assert len(np.unique(image.labels[48:])) == 1
