"""What is painted and looked at here reaches a training on another machine while it runs."""

from __future__ import annotations

import os
import signal
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from napari_unet.errors import RemoteError
from napari_unet.remote.jobs import Told
from napari_unet.remote.painting import Sender, fill
from napari_unet.remote.parcels import pack, sendable, unpack
from napari_unet.remote.training import TrainedThere, name_of, train_on
from napari_unet.run import Run
from napari_unet.training.dataset import AnnotatedImage
from napari_unet.training.events import AnnotationsJoined, Inbox, StepDone, View, ViewPredicted
from napari_unet.training.preparation import prepare_training
from training.builders import painted_cells, tiny_config

from .test_training import worker_of

if TYPE_CHECKING:
    from pathlib import Path

    from napari_unet.training.config import TrainConfig

    Images = tuple[AnnotatedImage, ...]

CONFIG = tiny_config(device="cpu", steps=5000, validate_every=50)
ALL = (slice(0, 96), slice(0, 96))


def half_painted() -> Images:
    image, labels = painted_cells()
    return (AnnotatedImage("an image", image, np.where(np.arange(96) < 48, labels, 0)),)


def all_painted(before: Images) -> Images:
    return (replace(before[0], labels=painted_cells()[1]),)


def sender_of(images: Images, inbox: Inbox, config: TrainConfig = CONFIG) -> Sender:
    return Sender(inbox, images, sendable(prepare_training(images, config)), config)


def over_the_wire(value: Any) -> Any:
    recipe, pieces = pack(value)
    return unpack(recipe, lambda name: bytes(pieces[name]))


def test_what_is_painted_arrives() -> None:
    inbox, arrived, images = Inbox(), Inbox(), half_painted()
    sender = sender_of(images, inbox)
    there = over_the_wire(sender.images)
    inbox.annotate(all_painted(images))
    changes, _ = sender.news()
    told = Told()
    told.letters.extend(over_the_wire(changes))
    fill(arrived, told, there)
    (painted,) = arrived.take_annotations() or ()
    assert np.array_equal(painted.labels, painted_cells()[1])
    assert painted.corrected is None


def test_a_stroke_is_sent_as_a_small_patch() -> None:
    inbox = Inbox()
    image, labels = np.zeros((512, 512), np.float32), np.zeros((512, 512), np.uint16)
    labels[:40, :20], labels[:40, 20:40] = 1, 2
    images = (AnnotatedImage("an image", image, labels),)
    sender = sender_of(images, inbox)
    painted = labels.copy()
    painted[300:303, 300:310] = 2
    inbox.annotate((replace(images[0], labels=painted),))
    (change,), _ = sender.news()
    assert sum(values.size for _, values in change.labels) <= 32 * 32
    assert not change.pixels


def test_nothing_is_sent_where_nothing_is_new() -> None:
    inbox, images = Inbox(), half_painted()
    sender = sender_of(images, inbox)
    inbox.annotate(images)
    assert sender.news() == ([], None)


def test_a_slice_that_is_looked_at_is_sent_once() -> None:
    inbox = Inbox()
    image, labels = painted_cells()
    stack, paint = np.stack([image, image + 1]), np.stack([labels, np.zeros_like(labels)])
    sender = sender_of((AnnotatedImage("a stack", stack, paint, axes="ZYX"),), inbox)
    inbox.view = View(0, (1,), ALL)
    (change,), view = sender.news()
    assert [low[0] for low, _ in change.pixels] == [1]
    assert sender.news() == ([], view)


def test_a_slice_that_is_painted_for_the_first_time_is_sent() -> None:
    inbox = Inbox()
    image, labels = painted_cells()
    stack, paint = np.stack([image, image + 1]), np.stack([labels, np.zeros_like(labels)])
    images = (AnnotatedImage("a stack", stack, paint, axes="ZYX"),)
    sender = sender_of(images, inbox)
    inbox.annotate((replace(images[0], labels=np.stack([labels, labels])),))
    changes, _ = sender.news()
    assert any(low[0] == 1 for change in changes for low, _ in change.pixels)
    assert len(sender.data.frames) == 2
    assert sender.data.sources[0].image is stack


class Watching:
    """Trains on another machine, with an inbox."""

    def __init__(self, address: str, config: TrainConfig = CONFIG) -> None:
        self.inbox, self.stop, self.images = Inbox(), threading.Event(), half_painted()
        self._address, self._config = address, config

    def until_done(self, watch: Any, run: str = "") -> TrainedThere:
        data = prepare_training(self.images, self._config)
        about = data, self._config, self.stop, None, self.inbox, self.images, run
        return Run(train_on(self._address, True, *about)).finish(watch)

    @property
    def name(self) -> str:
        """What the training is called over there."""
        return name_of(prepare_training(self.images, self._config), self._config, None)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
class TestOverThere:
    def test_new_paint_joins_and_is_learned_from(self, address: str) -> None:
        training = Watching(address)
        joined: list[AnnotationsJoined] = []

        def paint(event: object) -> None:
            if isinstance(event, StepDone) and event.step == 5:
                training.inbox.annotate(all_painted(training.images))
            if isinstance(event, AnnotationsJoined):
                joined.append(event)
                training.stop.set()

        result = training.until_done(paint)
        assert joined[0].painted == np.count_nonzero(painted_cells()[1])
        assert result.data.painted == joined[0].painted

    def test_the_view_is_predicted_there(self, address: str) -> None:
        training = Watching(address)
        training.inbox.view = View(0, (), ALL)
        seen: list[ViewPredicted] = []

        def look(event: object) -> None:
            if isinstance(event, ViewPredicted):
                seen.append(event)
                training.stop.set()

        training.until_done(look)
        assert seen[0].labels.shape == (96, 96)

    def test_who_leaves_stops_nothing(self, address: str) -> None:
        training = Watching(address, CONFIG.changed(steps=300, seed=3))
        with pytest.raises(RemoteError, match="goes on on"):
            training.until_done(lambda event: training.inbox.left.set())
        again = Watching(address, CONFIG.changed(steps=300, seed=3))
        assert again.until_done(lambda event: None).state.step == 300

    def test_who_takes_it_up_tells_it_what_is_painted_since(self, address: str) -> None:
        begun, later = Watching(address), Watching(address)
        with pytest.raises(RemoteError, match="goes on on"):
            begun.until_done(lambda event: begun.inbox.left.set())
        later.images = all_painted(begun.images)
        joined: list[AnnotationsJoined] = []

        def note(event: object) -> None:
            if isinstance(event, AnnotationsJoined):
                joined.append(event)
                later.stop.set()

        later.until_done(note, begun.name)
        assert joined[0].painted == np.count_nonzero(painted_cells()[1])

    def test_what_is_not_there_any_more_is_not_taken_up(self, address: str) -> None:
        with pytest.raises(RemoteError, match="Nothing of that training is on"):
            Watching(address).until_done(lambda event: None, "0" * 32)

    def test_paint_is_kept_where_the_worker_is_killed(self, address: str, there: Path) -> None:
        training = Watching(address, CONFIG.changed(steps=1500, seed=5))
        killed: list[int] = []

        def act(event: object) -> None:
            if isinstance(event, StepDone) and event.step == 5:
                training.inbox.annotate(all_painted(training.images))
            joined = list(there.glob("*/letter-0.json"))
            if not killed and joined and list(there.glob("*/model.state.safetensors")):
                killed.append(worker_of(address))
                os.kill(killed[0], signal.SIGKILL)

        result = training.until_done(act)
        assert killed
        assert result.trained.record.images[0].labels_sha256 == result.data.images[0].labels_sha256
        assert result.data.painted == np.count_nonzero(painted_cells()[1])
