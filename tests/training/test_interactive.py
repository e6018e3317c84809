"""A training that is told things while it runs: new paint, what is on screen, a model to go on."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from device import DEVICE
from napari_unet.errors import ModelMismatchError
from napari_unet.run import Notice, Run
from napari_unet.tasks.objects import OBJECTS
from napari_unet.training import loop
from napari_unet.training.checkpoint import load_state, save_state, saving_checkpoints
from napari_unet.training.dataset import AnnotatedImage
from napari_unet.training.events import (
    AnnotationsJoined,
    Checkpoint,
    Inbox,
    PaintJudged,
    StepDone,
    TrainingStarted,
    Validated,
    View,
    ViewPredicted,
)
from napari_unet.training.live import LiveView
from napari_unet.training.loop import train_network
from napari_unet.training.preparation import prepare_training
from napari_unet.training.trainer import Trainer
from napari_unet.training.validation import PaintedCell

from .builders import (
    cells,
    data_of,
    of_type,
    painted_cells,
    painted_classes,
    run,
    stop_after,
    tiny_config,
)

if TYPE_CHECKING:
    from pathlib import Path

IMAGE, LABELS = painted_cells()


def half_painted() -> np.ndarray:
    labels = LABELS.copy()
    labels[:, 64:] = 0
    return labels


def told(
    labels_before: Any, labels_after: Any, config: Any, at_step: int = 3
) -> tuple[list[Any], Any]:
    """Train, and let new labels arrive after a step."""
    inbox = Inbox()
    image = IMAGE
    data = data_of(image, labels_before, config)
    training = Run(train_network(data, config, threading.Event(), inbox=inbox))
    events: list[Any] = []
    for event in training:
        events.append(event)
        if isinstance(event, StepDone) and event.step == at_step:
            inbox.annotate((AnnotatedImage("an image", image, labels_after),))
    return events, training.result


# --- the inbox ---------------------------------------------------------------------------------


def test_of_what_is_painted_the_newest_is_taken_once() -> None:
    inbox, newest = Inbox(), (AnnotatedImage("an image", IMAGE, LABELS),)
    inbox.annotate((AnnotatedImage("an image", IMAGE, half_painted()),))
    inbox.annotate(newest)
    assert inbox.take_annotations() is newest
    assert inbox.take_annotations() is None


# --- new paint ---------------------------------------------------------------------------------


def test_new_paint_joins_before_the_next_step() -> None:
    events, _ = told(half_painted(), LABELS, tiny_config(steps=8))
    joined = of_type(events, AnnotationsJoined)
    assert [event.step for event in joined] == [3]
    assert joined[0].painted == np.count_nonzero(LABELS)


def test_a_joined_training_lasts_half_its_steps_from_there() -> None:
    events, result = told(half_painted(), LABELS, tiny_config(steps=8), at_step=7)
    assert result.state.step == 7 + 4
    assert of_type(events, StepDone)[-1].progress == 1.0


def test_labels_that_cannot_be_learned_from_change_nothing() -> None:
    events, result = told(LABELS, np.zeros_like(LABELS), tiny_config(steps=5))
    assert any("previous labels" in notice.text for notice in of_type(events, Notice))
    assert result.state.step == 5


def test_a_new_class_gives_the_network_a_new_output() -> None:
    _, labels = painted_classes()
    more = np.where((labels == 5) & (np.arange(96) > 48), 7, labels).astype(labels.dtype)
    events, result = told(labels, more, tiny_config(kind="classes", steps=8))
    assert result.trained.record.classes.painted == (1, 5, 7)
    assert result.trained.network.output.weight.shape[0] == 3
    assert len(of_type(events, StepDone)) == 8


def test_a_class_that_was_erased_stays_known() -> None:
    _, labels = painted_classes()
    two = np.where((labels == 5) & (np.arange(96) > 48), 7, labels).astype(labels.dtype)
    _, result = told(two, labels, tiny_config(kind="classes", steps=6))
    assert result.trained.record.classes.painted == (1, 5, 7)


def test_held_back_blocks_stay_held_back() -> None:
    config = tiny_config(validation_share=0.3)
    previous = data_of(IMAGE, half_painted(), config)
    data = prepare_training([AnnotatedImage("an image", IMAGE, LABELS)], config, previous)
    assert set(previous.blocks) <= set(data.blocks)
    assert previous.blocks


@pytest.mark.parametrize("seed", range(5))
def test_what_was_learned_from_is_never_held_back_later(seed: int) -> None:
    config = tiny_config(validation_share=0.4, seed=seed)
    previous = data_of(IMAGE, half_painted(), config)
    data = prepare_training([AnnotatedImage("an image", IMAGE, LABELS)], config, previous)
    assert not np.any(previous.frames[0].trained_on & data.frames[0].held_back)


def test_unchanged_paint_keeps_its_weights() -> None:
    config = tiny_config()
    previous = cells(config)
    data = prepare_training(previous.sources, config, previous)
    assert data.frames[0].weights is previous.frames[0].weights


def test_changed_paint_gets_the_weights_it_would_get_anew() -> None:
    config = tiny_config()
    previous = data_of(IMAGE, half_painted(), config)
    data = prepare_training([AnnotatedImage("an image", IMAGE, LABELS)], config, previous)
    np.testing.assert_array_equal(data.frames[0].weights, cells(config).frames[0].weights)


def test_a_fully_annotated_region_makes_unpainted_pixels_background() -> None:
    config = tiny_config(validation_share=0.0)
    region = (slice(0, 32), slice(0, 32))
    image = AnnotatedImage("an image", IMAGE, LABELS, regions=(region,))
    classes = prepare_training([image], config).frames[0].target.classes
    assert np.all(classes[region] >= 0)
    np.testing.assert_array_equal(classes[32:] >= 0, LABELS[32:] > 0)


def test_a_region_leaves_the_callers_labels_alone() -> None:
    labels = LABELS.copy()
    region = (slice(0, 32), slice(0, 32))
    prepare_training([AnnotatedImage("i", IMAGE, labels, regions=(region,))], tiny_config())
    np.testing.assert_array_equal(labels, LABELS)


def corrected_corner() -> np.ndarray:
    corrected = np.zeros(LABELS.shape, bool)
    corrected[:10, :10] = True
    return corrected


def test_corrected_pixels_weigh_more() -> None:
    config = tiny_config(correction_weight=4.0)
    corrected = corrected_corner()
    image = AnnotatedImage("an image", IMAGE, LABELS, corrected=corrected)
    weights = prepare_training([image], config).frames[0].weights
    plain = cells(config).frames[0].weights
    np.testing.assert_allclose(weights[corrected], 4 * plain[corrected])
    np.testing.assert_array_equal(weights[~corrected], plain[~corrected])


# --- the view ----------------------------------------------------------------------------------


def watch_view(view: View, config: Any, monkeypatch: pytest.MonkeyPatch) -> list[ViewPredicted]:
    inbox = Inbox()
    inbox.view = view
    training = train_network(cells(config), config, threading.Event(), inbox=inbox)
    return of_type(list(training), ViewPredicted)


def test_the_view_is_predicted_while_training(monkeypatch: pytest.MonkeyPatch) -> None:
    region = (slice(10, 50), slice(20, 90))
    found = watch_view(View(0, (), region), tiny_config(steps=3), monkeypatch)
    assert found[0].region == region
    assert found[0].labels.shape == (40, 70)


def test_a_view_beyond_the_image_is_clipped(monkeypatch: pytest.MonkeyPatch) -> None:
    region = (slice(-500, 50), slice(20, 900))
    found = watch_view(View(0, (), region), tiny_config(steps=3), monkeypatch)
    assert found[0].region == (slice(0, 50), slice(20, 96))


def test_of_a_huge_view_the_middle_is_predicted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_unet.training.live._LARGEST_VIEW", {2: 32})
    found = watch_view(View(0, (), (slice(0, 96), slice(0, 96))), tiny_config(steps=3), monkeypatch)
    assert found[0].region == (slice(32, 64), slice(32, 64))


def test_the_view_of_classes_holds_the_painted_values(monkeypatch: pytest.MonkeyPatch) -> None:
    config = tiny_config(kind="classes", steps=3)
    inbox = Inbox()
    inbox.view = View(0, (), (slice(0, 64), slice(0, 64)))
    data = data_of(*painted_classes(), config)
    events = list(train_network(data, config, threading.Event(), inbox=inbox))
    assert set(np.unique(of_type(events, ViewPredicted)[0].labels)) <= {0, 5}


def test_an_unpainted_frame_can_be_viewed(monkeypatch: pytest.MonkeyPatch) -> None:
    config = tiny_config(steps=3)
    stack, labels = np.stack([IMAGE, IMAGE]), np.stack([LABELS, np.zeros_like(LABELS)])
    inbox = Inbox()
    inbox.view = View(0, (1,), (slice(0, 64), slice(0, 64)))
    training = train_network(data_of(stack, labels, config), config, threading.Event(), inbox=inbox)
    assert of_type(list(training), ViewPredicted)[0].frame == (1,)


def test_in_the_view_painted_cells_and_background_are_as_they_were_painted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def merged(task: Any, probabilities: Any, *_: object) -> Any:
        return np.ones(probabilities.shape[1:], np.int32)

    monkeypatch.setattr(type(OBJECTS), "decode", merged)
    config = tiny_config(unpainted="unlabelled", steps=2)
    inbox, region = Inbox(), (slice(8, 80), slice(4, 92))
    inbox.view = View(0, (), region)
    data = data_of(IMAGE, LABELS, config)
    events = list(train_network(data, config, threading.Event(), inbox=inbox))
    shown, painted = of_type(events, ViewPredicted)[0].labels, LABELS[region]
    assert not shown[painted == 1].any()
    numbers = [set(shown[painted == cell].tolist()) for cell in np.unique(painted[painted > 1])]
    assert all(len(of_cell) == 1 for of_cell in numbers)
    assert len(set.union(*numbers)) == len(numbers)


def test_the_view_changes_no_weight(monkeypatch: pytest.MonkeyPatch) -> None:
    config = tiny_config(steps=4)
    plain = run(cells(config), config)[1].state
    inbox = Inbox()
    inbox.view = View(0, (), (slice(0, 96), slice(0, 96)))
    training = train_network(cells(config), config, threading.Event(), inbox=inbox)
    viewed = Run(training).finish().state
    assert all(bool((plain.last[name] == viewed.last[name]).all()) for name in plain.last)


def test_a_model_is_seen_before_it_learns() -> None:
    config = tiny_config(steps=2)
    model = run(cells(config), config)[1].trained
    inbox = Inbox()
    inbox.view = View(0, (), (slice(0, 96), slice(0, 96)))
    training = train_network(cells(config), config, threading.Event(), model, inbox=inbox)
    kinds = [type(event) for event in training if not isinstance(event, Notice)]
    assert kinds[:2] == [TrainingStarted, ViewPredicted]


def test_random_weights_are_not_shown() -> None:
    config = tiny_config(steps=2)
    inbox = Inbox()
    inbox.view = View(0, (), (slice(0, 96), slice(0, 96)))
    training = train_network(cells(config), config, threading.Event(), inbox=inbox)
    assert of_type(list(training), ViewPredicted)[0].step == 1


def test_the_best_weights_are_seen_where_the_newest_are_worse(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = tiny_config(steps=2)
    data = cells(config)
    trainer = Trainer(data, config, torch.device("cpu"), None)
    trainer.assess()
    inbox = Inbox()
    inbox.view = View(0, (), (slice(0, 96), slice(0, 96)))
    monkeypatch.setattr("napari_unet.training.live._PAUSE_SECONDS", 0.0)
    monkeypatch.setattr("napari_unet.training.live._PAUSE_PER_SECOND", 0.0)
    live, stop = LiveView(trainer, inbox), threading.Event()
    (of_best,) = of_type(list(live.update(stop)), ViewPredicted)
    assert not of_best.by_best  # the newest ones are the best
    with torch.no_grad():
        trainer.averaged_network.output.bias += torch.tensor([-50.0, 50.0])  # all is cells
    trainer.best.value = 2.0  # no score comes up to it
    trainer.assess()

    (shown,) = of_type(list(live.update(stop)), ViewPredicted)

    assert shown.by_best
    np.testing.assert_array_equal(shown.labels, of_best.labels)
    assert not (of_best.labels > 0).all()


# --- going on ----------------------------------------------------------------------------------


def test_a_model_trained_further_counts_its_steps_on() -> None:
    config = tiny_config(steps=4)
    model = run(cells(config), config)[1].trained
    events, result = run(cells(config), config, resume=model)
    assert [event.step for event in of_type(events, StepDone)] == [5, 6, 7, 8]
    assert result.trained.record.steps == 8


def test_the_first_step_does_not_wait_for_the_score_of_the_previous_model() -> None:
    config = tiny_config(steps=4)
    model = run(cells(config), config)[1].trained
    events, _ = run(cells(config), config, resume=model)
    kinds = [type(event) for event in events if not isinstance(event, Notice)]
    assert kinds[:4] == [TrainingStarted, StepDone, PaintJudged, Validated]
    assert (of_type(events, StepDone)[0].step, of_type(events, Validated)[0].step) == (5, 4)


def test_scored_is_the_previous_model_and_not_what_the_first_step_made_of_it() -> None:
    config = tiny_config(steps=4)
    model, data = run(cells(config), config)[1].trained, cells(config)
    events, _ = run(data, config.changed(learning_rate=0.5), resume=model)
    alone = Trainer(data, config, torch.device("cpu"), model)
    assert of_type(events, Validated)[0].loss == of_type(alone.assess(), Validated)[0].loss


def test_a_model_whose_score_is_not_known_yet_is_kept_by_a_stop() -> None:
    config = tiny_config(steps=4)
    model, stop = run(cells(config), config)[1].trained, threading.Event()
    events, result = run(cells(config), config, stop=stop, watch=stop_after(stop, 5), resume=model)
    assert not of_type(events, PaintJudged)
    assert result.start_kept
    kept, before = result.trained.unet.state_dict(), model.unet.state_dict()
    assert all(bool((kept[name] == before[name]).all()) for name in before)


def test_a_model_that_cannot_be_scored_stands_in_nobodys_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = tiny_config(steps=4, validation_share=0.0)
    model = run(cells(config), config)[1].trained
    monkeypatch.setattr("napari_unet.training.validation.judge_painted_cells", lambda *_: ())
    _, result = run(cells(config), config, resume=model)
    assert not result.start_kept
    assert result.trained.record.steps == 8


def test_a_model_that_only_gets_worse_is_kept() -> None:
    config = tiny_config(steps=60)
    model = run(cells(config), config)[1].trained
    ruinous = config.changed(steps=10, learning_rate=0.1)
    _, result = run(cells(config), ruinous, resume=model)
    assert result.start_kept


def test_a_model_that_gets_better_is_not_kept() -> None:
    config = tiny_config(steps=2)
    model = run(cells(config), config)[1].trained
    _, result = run(cells(config), config.changed(steps=60), resume=model)
    assert not result.start_kept


def judged_as(monkeypatch: pytest.MonkeyPatch, *scores: float) -> None:
    """Let painted cells be found as well as said, score after score."""
    left = list(scores)

    def judge(*_: Any) -> tuple[PaintedCell, ...]:
        return (PaintedCell(0, (), (0, 0), left.pop(0) if len(left) > 1 else left[0], "found"),)

    monkeypatch.setattr("napari_unet.training.validation.judge_painted_cells", judge)


@pytest.mark.parametrize(("gain", "kept"), [(0.01, True), (0.05, False)])
def test_scores_of_what_was_learned_must_gain_clearly(
    monkeypatch: pytest.MonkeyPatch, gain: float, kept: bool
) -> None:
    config = tiny_config(steps=6, validation_share=0.0)
    model = run(cells(config), config)[1].trained
    judged_as(monkeypatch, 0.8, 0.8 + gain)
    _, result = run(cells(config), config, resume=model)
    assert result.start_kept == kept


def test_a_gain_too_small_to_be_kept_does_not_count_again(monkeypatch: pytest.MonkeyPatch) -> None:
    config = tiny_config(steps=100, validation_share=0.0, patience=2)
    model = run(cells(config), tiny_config(steps=6))[1].trained
    judged_as(monkeypatch, 0.8, 0.81)
    _, result = run(cells(config), config, resume=model)
    assert result.settled


def test_a_training_that_began_with_random_weights_keeps_no_start() -> None:
    config = tiny_config(steps=2)
    assert not run(cells(config), config)[1].start_kept


def test_a_model_of_other_labels_is_refused() -> None:
    config = tiny_config(steps=1)
    model = run(cells(config), config)[1].trained
    classes = tiny_config(kind="classes", steps=1)
    with pytest.raises(ModelMismatchError, match="trained on objects"):
        run(data_of(*painted_classes(), classes), classes, resume=model)


def test_a_model_of_another_network_is_refused() -> None:
    config = tiny_config(steps=1)
    model = run(cells(config), config)[1].trained
    other = tiny_config(steps=1, base_channels=3)
    with pytest.raises(ModelMismatchError, match="another network"):
        run(cells(other), other, resume=model)


def test_a_prolonged_training_resumes_with_its_length(tmp_path: Path) -> None:
    _, result = told(half_painted(), LABELS, tiny_config(steps=8), at_step=7)
    save_state(result.state, tmp_path / "s.safetensors")
    state = load_state(tmp_path / "s.safetensors")
    assert state.extra_steps == 3
    assert state.classes == result.state.classes
    assert state.held_back == result.state.held_back


def test_stop_keeps_best_and_last_weights() -> None:
    config = tiny_config(steps=5)
    result = run(cells(config), config)[1]
    assert result.latest.record.steps == result.trained.record.steps == 5


# --- checkpoints -------------------------------------------------------------------------------


def test_checkpoints_are_written_and_not_passed_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_unet.training.loop._CHECKPOINT_SECONDS", 0.0)
    config = tiny_config(steps=2)
    events = train_network(cells(config), config, threading.Event())
    passed = list(saving_checkpoints(events, tmp_path / "m.safetensors"))
    assert not of_type(passed, Checkpoint)
    assert load_state(tmp_path / "m.state.safetensors").step == 2


def test_a_checkpoint_that_cannot_be_written_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_unet.training.loop._CHECKPOINT_SECONDS", 0.0)
    config = tiny_config(steps=2)
    events = train_network(cells(config), config, threading.Event())
    passed = list(saving_checkpoints(events, tmp_path / "missing" / "m.safetensors"))
    assert len(of_type(passed, StepDone)) == 2
    assert any("was not saved" in notice.text for notice in of_type(passed, Notice))


def checkpoints_at(
    monkeypatch: pytest.MonkeyPatch, steps: int, cost: float, started: float | None = None
) -> list[float]:
    """Train by a clock on which a step takes half a second; return when checkpoints come."""
    now, came = 0.0, []
    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=lambda: now))
    config = tiny_config(steps=steps, validate_every=1000)
    for event in train_network(cells(config), config, threading.Event(), started=started):
        if isinstance(event, StepDone):
            now += 0.5
        elif isinstance(event, Checkpoint):
            came.append(now)
            now += cost
    return came


@pytest.mark.fault(72)
def test_the_first_checkpoint_comes_within_three_seconds_however_long_it_takes_to_write(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert checkpoints_at(monkeypatch, steps=8, cost=30.0)[0] <= 3.0


@pytest.mark.fault(72)
def test_where_the_program_took_long_to_start_the_first_step_is_saved_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert checkpoints_at(monkeypatch, steps=8, cost=0.1, started=-18.0)[0] == 0.5


@pytest.mark.fault(72)
@pytest.mark.parametrize("cost", [0.0, 0.05, 0.5, 1.5])
def test_checkpoints_take_a_twentieth_of_the_time_at_most(
    monkeypatch: pytest.MonkeyPatch, cost: float
) -> None:
    first, *others = checkpoints_at(monkeypatch, steps=140, cost=cost)
    assert others
    assert cost * len(others) <= 0.05 * (others[-1] + cost - first)


# --- two annotations of one image --------------------------------------------------------------


def test_what_one_annotation_holds_back_the_other_does_not_teach() -> None:
    config = tiny_config(validation_share=0.3)
    images = [AnnotatedImage(name, IMAGE, LABELS) for name in ("one", "two")]
    data = prepare_training(images, config)
    held_back = data.frames[0].held_back
    assert held_back.any()
    assert not np.any(data.frames[1].trained_on & held_back)


def test_new_paint_in_a_held_back_block_asks_anew() -> None:
    config = tiny_config(validation_share=0.3)
    previous = data_of(IMAGE, half_painted(), config)
    labels = half_painted()
    labels[previous.blocks[0].region][0] = 0
    data = prepare_training([AnnotatedImage("an image", IMAGE, labels)], config, previous)
    assert data.blocks[: len(previous.blocks)] == previous.blocks
    assert not data.asks_the_same_as(previous)
    assert previous.asks_the_same_as(previous)


def test_after_new_paint_the_weights_that_come_can_be_the_best() -> None:
    config = tiny_config()
    trainer = Trainer(data_of(IMAGE, half_painted(), config), config, DEVICE, None)
    trainer.best.value = 0.99
    trainer.adopt(data_of(IMAGE, LABELS, config))
    assert trainer.best.value == -np.inf


def test_after_new_paint_the_best_weights_stay_until_better_ones_come() -> None:
    config = tiny_config(start="cells", base_channels=16, depth=3)
    trainer = Trainer(data_of(IMAGE, half_painted(), config), config, DEVICE, None)
    trainer.assess()
    best = trainer.best.weights
    assert best
    trainer.adopt(data_of(IMAGE, LABELS, config))
    judged = of_type(trainer.score_best_anew(0), PaintJudged)
    assert len(judged[0].cells) == len(np.unique(LABELS)) - 2
    with torch.no_grad():
        for parameter in trainer.averaged_network.parameters():
            parameter.zero_()
    trainer.assess()
    assert trainer.best.weights is best


def test_a_state_of_other_paint_brings_no_score_to_beat() -> None:
    config = tiny_config(validation_share=0.0)
    state = run(data_of(IMAGE, half_painted(), config), config)[1].state
    resumed = Trainer(data_of(IMAGE, LABELS, config), config, DEVICE, state)
    assert state.best_value >= 0
    assert resumed.best.value == -np.inf


def test_cells_that_cannot_be_judged_are_learned_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("no memory to look at cells")

    monkeypatch.setattr(Trainer, "judge_new_cells", fail)
    events, result = told(half_painted(), LABELS, tiny_config())
    assert any("no memory to look at cells" in n.text for n in of_type(events, Notice))
    assert result.state.step > 3


def test_a_live_prediction_that_fails_is_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("no memory for previews")

    monkeypatch.setattr("napari_unet.training.live.LiveView._predict", fail)
    config = tiny_config(steps=4)
    inbox = Inbox()
    inbox.view = View(0, (), (slice(0, 64), slice(0, 64)))
    events = list(train_network(cells(config), config, threading.Event(), inbox=inbox))
    assert sum("live prediction is off" in n.text for n in of_type(events, Notice)) == 1
    assert len(of_type(events, StepDone)) == 4
