"""A pixel classifier is shown first, then both together; it teaches the network meanwhile."""

from __future__ import annotations

import threading
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from napari_unet.errors import UnreadableError
from napari_unet.run import Run
from napari_unet.tasks import TASKS
from napari_unet.training.events import Inbox, StepDone, View, ViewPredicted
from napari_unet.training.live import LiveView
from napari_unet.training.loop import train_network
from napari_unet.training.patches import Batch, PatchSampler
from napari_unet.training.pixel_classifier import (
    CLASSIFIER_IOU,
    PixelClassifier,
    Together,
    offsets_of_paint,
    share_of_network,
    trust_after,
)
from napari_unet.training.trainer import Trainer
from napari_unet.training.update import add_gradients

from .builders import (
    UNDEFORMED,
    cells,
    data_of,
    of_type,
    painted_classes,
    run,
    same_weights,
    tiny_config,
)

CPU = torch.device("cpu")


def scored(network: float, classifier: float | None) -> list[dict[str, float | bool | None]]:
    return [{"step": 10, "best": True, "iou": network, CLASSIFIER_IOU: classifier}]


def unreadable(*args: object) -> None:
    raise UnreadableError("The disk is gone.")


@cache
def sparse() -> Any:
    image, labels = painted_classes(64)
    labels[:, 24:] = 0
    return data_of(image, labels, config())


def config(**changes: Any) -> Any:
    return tiny_config(kind="classes", validation_share=0.0, **changes)


@cache
def teacher() -> PixelClassifier:
    return PixelClassifier.fitted(sparse(), seed=0)


# --- what counts how much in what is shown -----------------------------------------------------


def test_a_network_counts_ever_more_in_what_is_shown_until_it_is_ripe() -> None:
    shares = [share_of_network(step, []) for step in (0, 50, 100, 200, 900)]
    assert shares == pytest.approx([0, 1 / 6, 1 / 3, 2 / 3, 2 / 3])


def test_scores_that_scatter_do_not_change_what_is_shown() -> None:
    assert share_of_network(100, scored(0.2, 0.5)) == share_of_network(100, scored(0.55, 0.5))
    assert share_of_network(100, [*scored(0.4, 0.5), *scored(0.65, 0.5)]) < 1


def test_a_network_that_is_clearly_better_is_shown_alone() -> None:
    assert share_of_network(100, scored(0.61, 0.5)) == 1
    assert share_of_network(100, scored(0.61, None)) < 1


def test_only_the_last_three_scores_count() -> None:
    assert share_of_network(100, [*scored(0.1, 0.5), *scored(0.65, 0.5) * 3]) == 1


def test_a_classifier_is_trusted_less_the_better_the_network_is() -> None:
    trusts = [trust_after(0, scored(iou, 0.5)) for iou in (0.4, 0.5, 0.55, 0.6, 0.7)]
    assert trusts == pytest.approx([1, 1, 0.5, 0, 0])


def test_a_classifier_is_trusted_less_with_time() -> None:
    assert trust_after(150, []) == pytest.approx(trust_after(0, []) / 2)


# --- what it teaches ---------------------------------------------------------------------------


def test_a_guess_is_the_likeliest_class_and_how_sure_that_is() -> None:
    frame = sparse().frames[0]
    region = (slice(3, 40), slice(10, 21))
    probabilities = teacher().probabilities(frame.frame, frame.intensity, region)
    guessed = teacher().guess(frame, region)
    assert guessed is not None
    classes, weights = guessed
    sure = np.abs(probabilities[0] - probabilities[1]) > 0.01
    assert np.array_equal(classes[sure], probabilities.argmax(axis=0)[sure])
    np.testing.assert_allclose(weights, -probabilities.max(axis=0), atol=0.01)


def test_patches_keep_the_paint_and_show_guesses_elsewhere() -> None:
    settings = config(**UNDEFORMED)
    plain = PatchSampler(sparse(), settings).of_step(1)
    taught = PatchSampler(sparse(), settings, guess=teacher().guess).of_step(1)
    painted = plain.classes >= 0
    assert torch.equal(taught.classes[painted], plain.classes[painted])
    assert torch.equal(taught.weights[painted], plain.weights[painted])
    assert (taught.weights[~painted] <= 0).all()
    assert (taught.weights < 0).any()


def test_guesses_are_learned_as_far_as_the_classifier_is_trusted() -> None:
    scores = torch.zeros(1, 2, 1, 2, requires_grad=True)
    batch = Batch(torch.zeros(1, 1, 1, 2), torch.tensor([[[0, 1]]]), torch.tensor([[[1.0, -0.5]]]))
    whole = batch.counted
    assert whole.tolist() == [1, 1]

    def losses(trust: float) -> list[float]:
        network = nn.Identity()
        parts, loss_of = (
            [Batch(scores.clone(), batch.classes, batch.weights)],
            TASKS["classes"].loss,
        )
        found = add_gradients(
            network, parts, lambda part: torch.ones(2), loss_of, None, torch.float32, trust
        )
        return [float(loss) for loss in found]

    assert losses(0.0) == pytest.approx([np.log(2), 0])
    assert losses(0.5) == pytest.approx([np.log(2), 0.25 * np.log(2)])


def test_where_an_image_cannot_be_read_nothing_is_guessed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PixelClassifier, "probabilities", unreadable)
    fresh = PixelClassifier(teacher().network, sparse(), teacher().shares)
    assert fresh.guess(sparse().frames[0], (slice(0, 8), slice(0, 8))) is None


@pytest.mark.parametrize("painted", ["alike", "as in the image"])
def test_paint_raises_what_it_shows_too_often(painted: str) -> None:
    rare = replace(teacher(), shares=torch.tensor([0.8, 0.2]))
    n_first = {"alike": 500, "as in the image": 800}[painted]
    classes = torch.tensor([0] * n_first + [1] * (1000 - n_first)).reshape(1, 1, -1)
    batch = Batch(torch.zeros(1, 1, 1, 1000), classes, torch.ones(1, 1, 1000))
    expected = {"alike": [np.log(0.5 / 0.8), np.log(0.5 / 0.2)], "as in the image": [0, 0]}[painted]
    np.testing.assert_allclose(offsets_of_paint(rare, [batch]), expected, atol=0.01)


def test_a_class_that_is_painted_too_often_wins_only_where_it_is_seen() -> None:
    batch = Batch(torch.zeros(1, 1, 1, 2), torch.tensor([[[0, 1]]]), torch.ones(1, 1, 2))
    offsets = torch.log(torch.tensor([0.5 / 0.8, 0.5 / 0.2]))
    network = nn.Conv2d(1, 2, 1)  # it sees nothing that tells the two apart
    optimiser = torch.optim.Adam(network.parameters(), lr=0.1)
    for _ in range(100):
        optimiser.zero_grad()
        add_gradients(
            network,
            [batch],
            lambda part: torch.ones(2),
            TASKS["classes"].loss,
            None,
            torch.float32,
            offsets_of_paint=offsets,
        )
        optimiser.step()
    learned = network(batch.images).softmax(dim=1)[0, :, 0, 0]
    np.testing.assert_allclose(learned.detach(), [0.8, 0.2], atol=0.01)


# --- in a training -----------------------------------------------------------------------------


def test_objects_have_no_pixel_classifier() -> None:
    settings = tiny_config()
    assert Trainer(cells(settings), settings, CPU, None).classifier is None


def test_where_most_is_painted_there_is_none_either() -> None:
    settings = config()
    data = data_of(*painted_classes(64), settings)
    assert Trainer(data, settings, CPU, None).classifier is None


def test_a_training_goes_on_where_the_classifier_cannot_learn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(PixelClassifier, "fitted", unreadable)
    trainer = Trainer(sparse(), config(), CPU, None)
    assert trainer.classifier is None
    assert [notice.text for notice in trainer.take_notices()] == [
        "There is no pixel classifier: The disk is gone."
    ]


def test_the_first_view_comes_before_the_first_step_and_from_the_classifier() -> None:
    inbox = Inbox()
    inbox.view = View(0, (), (slice(0, 64), slice(0, 64)))
    settings = config(steps=1)
    events = list(Run(train_network(sparse(), settings, threading.Event(), inbox=inbox)))
    kinds = [type(event) for event in events]
    assert kinds.index(ViewPredicted) < kinds.index(StepDone)
    first = of_type(events, ViewPredicted)[0]
    assert first.share_of_network == 0
    truth = np.where(painted_classes(64)[1] > 1, 5, 0)
    known = painted_classes(64)[1] > 0
    assert np.mean((first.labels == truth)[known]) > 0.9


def test_a_network_that_has_taken_over_is_shown() -> None:
    settings = config()
    trainer = Trainer(sparse(), settings, CPU, None)
    assert trainer.classifier is not None
    trainer.best.history = scored(0.7, 0.5)
    assert trainer.classifier is None


def test_later_classifier_and_network_are_shown_together() -> None:
    trainer = Trainer(sparse(), config(), CPU, None)
    trainer.step = 100
    inbox = Inbox()
    inbox.view = View(0, (), (slice(0, 64), slice(0, 64)))
    event = next(LiveView(trainer, inbox).update(threading.Event()))
    assert isinstance(event, ViewPredicted)
    assert event.share_of_network == pytest.approx(1 / 3)


class Undecided:
    """A network that gives all classes the same probability."""

    def probabilities(self, frame: Any, intensity: Any, region: tuple[slice, ...]) -> Any:
        return np.full((2, *(part.stop - part.start for part in region)), 0.5, np.float32)


def test_both_together_say_what_one_says_where_the_other_is_undecided() -> None:
    frame = sparse().frames[0]
    arguments = frame.frame, frame.intensity, (slice(3, 40), slice(10, 21))
    both = Together(teacher(), Undecided(), 0.5).probabilities(*arguments)
    alone = teacher().probabilities(*arguments)
    np.testing.assert_allclose(both.sum(axis=0), 1, atol=1e-5)
    sure = np.abs(alone[0] - alone[1]) > 0.01
    assert np.array_equal(both.argmax(axis=0)[sure], alone.argmax(axis=0)[sure])
    assert (both.max(axis=0) <= alone.max(axis=0) + 1e-3).all()


def test_what_was_shown_beside_the_network_is_left_with_it() -> None:
    _, result = run(sparse(), config(steps=4))
    frame = sparse().frames[0]
    arguments = frame.frame, frame.intensity, (slice(3, 40), slice(10, 21))
    said = Undecided().probabilities(*arguments)

    assert result.beside is not None
    np.testing.assert_allclose(
        result.beside(said, *arguments),
        Together(teacher(), Undecided(), share_of_network(4, ())).probabilities(*arguments),
        atol=1e-6,
    )


def test_a_network_that_has_taken_over_is_left_alone() -> None:
    trainer = Trainer(sparse(), config(), CPU, None)
    trainer.best.history = scored(0.7, 0.5)
    assert trainer.beside is None


def test_a_resumed_training_is_the_uninterrupted_one() -> None:
    settings = config(steps=4)
    _, whole = run(sparse(), settings)
    stop = threading.Event()

    def after_two(event: object) -> None:
        if isinstance(event, StepDone) and event.step == 2:
            stop.set()

    _, part = run(sparse(), settings, stop=stop, watch=after_two)
    _, resumed = run(sparse(), settings, resume=part.state)
    assert same_weights(resumed.state.last, whole.state.last)


def test_scores_of_the_classifier_are_kept_in_the_history() -> None:
    image, labels = painted_classes(160)
    labels[:, 60:] = 0
    settings = tiny_config(kind="classes", validation_share=0.3, steps=3)
    data = data_of(image, labels, settings)
    assert data.blocks
    trainer = Trainer(data, replace(settings), CPU, None)
    trainer.assess()
    assert 0 < float(trainer.best.history[-1][CLASSIFIER_IOU] or 0) <= 1
