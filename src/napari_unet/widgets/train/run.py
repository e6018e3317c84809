"""One training in the window: new strokes go to it, its live predictions come back."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from napari.utils.notifications import show_warning
from qtpy.QtCore import QObject, QTimer

from napari_unet.data.labels import same_paint
from napari_unet.errors import ConfigError
from napari_unet.training.events import AnnotationsJoined, Inbox, PaintJudged, View, ViewPredicted
from napari_unet.widgets.common.annotation import annotation_of
from napari_unet.widgets.common.copy_to_annotation import AnnotationCopier
from napari_unet.widgets.common.layers import (
    METADATA_KEY,
    labels_of,
    paint_events,
    pixels_of,
    placement_from_labels,
    plain_layers,
)
from napari_unet.widgets.common.pairs import (
    LayerPair,
    annotated_image,
    annotated_images,
    ticked_pairs,
    what_is_missing,
)
from napari_unet.widgets.common.recovery import keeper_of
from napari_unet.widgets.common.regions import regions_of
from napari_unet.widgets.common.result_layer import Predicted
from napari_unet.widgets.common.result_writing import ResultLayer, labels_of_parts
from napari_unet.widgets.common.session import session_of
from napari_unet.widgets.common.visible import frame_and_region, label_axes, look_at, visible_box
from napari_unet.widgets.train.work import training_events

if TYPE_CHECKING:
    from napari.viewer import Viewer
    from numpy.typing import NDArray

    from napari_unet.data.axes import Region
    from napari_unet.model.trained import TrainedNetwork
    from napari_unet.project.elsewhere import Elsewhere
    from napari_unet.training.config import TrainConfig
    from napari_unet.training.dataset import AnnotatedImage
    from napari_unet.training.state import TrainingState
    from napari_unet.training.validation import PaintedCell
    from napari_unet.widgets.common.session import Session
    from napari_unet.widgets.common.task import BackgroundTask

_JOIN_DELAY_MS = 1500  # after the last stroke
_VIEW_INTERVAL_MS = 300


class TrainingRun(QObject):
    """Ties a running training to the layers, until it ends; it belongs to the session.

    `images` are the pairs as they were at the start.
    """

    def __init__(
        self,
        viewer: Viewer,
        pairs: tuple[LayerPair, ...],
        images: tuple[AnnotatedImage, ...],
        ndim: int,
        parent: QObject,
    ) -> None:
        super().__init__(parent)
        self.inbox: Final = Inbox()
        self.pairs = pairs
        self.live = True
        self.continues = False  # whether a previous model is trained further
        # For docks that are opened later.
        self.judged: PaintJudged | None = None
        self.joined: AnnotationsJoined | None = None
        self._viewer, self._ndim = viewer, ndim
        self._images = list(images)
        self._changed: set[int] = set()
        self._on_screen: dict[int, object] = {}
        self._join_timer = self._timer(_JOIN_DELAY_MS, self.join_now)
        self._join_timer.setSingleShot(True)
        self._view_timer = self._timer(_VIEW_INTERVAL_MS, self.share_view)

    def follow(self, task: BackgroundTask) -> None:
        """Begin; ends by itself when the task has ended, but goes on noticing paint."""
        self._task = task
        dims = self._viewer.dims
        task.happened.connect(self._on_event)
        task.ended.connect(self._end)
        for number, pair in enumerate(self.pairs):
            self._on_screen[number] = dims.point, dims.order, dims.ndisplay
            for emitter in chain.from_iterable(map(paint_events, pair.layers)):
                emitter.connect(self._note_paint)
        self.share_view()
        self._view_timer.start()

    def share_view(self) -> None:
        """Send the training what is on screen: the topmost visible image that it learns from."""
        self._note_regions()
        if not self.live:
            self.inbox.view = None
            return
        layers = plain_layers(self._viewer)
        for number, pair in reversed(list(enumerate(self.pairs))):
            shown = pair.image in layers and pair.image.visible and pair.annotation in layers
            if shown and self._same_pixels(number):
                box = visible_box(self._viewer, pair.image, labels_of(pair.annotation).shape)
                self.inbox.view = View(number, *frame_and_region(box, self._ndim))
                return
        self.inbox.view = None

    def look_at(self, cell: PaintedCell) -> bool:
        """Move camera and sliders to a painted cell; False where its layers are not there."""
        pair, layers = self.pairs[cell.image], plain_layers(self._viewer)
        if pair.image not in layers or not self._same_pixels(cell.image):
            return False
        keep = label_axes(pair.image, self._images[cell.image].labels.shape)
        look_at(self._viewer, pair.image, keep, (*cell.frame, *cell.centre))
        return True

    def join_now(self) -> None:
        """Send what is painted now to the training; only layers that changed are copied."""
        news = self._news()
        for number in news:
            self._images[number] = annotated_image(self._viewer, self.pairs[number])
        if news:
            self.inbox.annotate(tuple(self._images))
        self._changed.clear()

    @property
    def has_its_layers(self) -> bool:
        """Whether all images and paint that it learns from are still open."""
        layers = plain_layers(self._viewer)
        needed = chain.from_iterable((pair.image, *pair.layers) for pair in self.pairs)
        return all(each in layers for each in needed)

    @property
    def outdated(self) -> bool:
        """Whether something is painted now that this training has not learned from."""
        self._changed = self._news()
        return bool(self._changed)

    def _news(self) -> set[int]:
        """List the pairs whose paint or regions are others; only what was changed is compared."""
        return {
            number
            for number in filter(self._same_pixels, self._changed)
            if self._regions_of(number) != self._images[number].regions
            or not same_paint(self._paint_of(number), self._images[number].labels)
        }

    def _paint_of(self, number: int) -> NDArray[Any]:
        """Return what is painted now; of overlapping classes that of all."""
        pair, viewer = self.pairs[number], self._viewer
        packed = self._images[number].class_names
        return annotated_image(viewer, pair).labels if packed else labels_of(pair.annotation)

    def _regions_of(self, number: int) -> tuple[Region, ...]:
        packed = self._images[number].class_names  # which are filled already
        return () if packed else regions_of(self._viewer, self.pairs[number].annotation)

    def _same_pixels(self, number: int) -> bool:
        """Return whether a pair has the shapes of the start; else its pixels were replaced."""
        pair, known = self.pairs[number], self._images[number]
        return tuple(pixels_of(pair.image).shape) == tuple(known.image.shape) and {
            tuple(labels_of(layer).shape) for layer in pair.layers
        } == {known.labels.shape}

    def _note_paint(self, event: Any) -> None:
        for number, pair in enumerate(self.pairs):
            ours = any(event.source is layer for layer in pair.layers)
            if ours and not self._is_moved(number, event.type):
                self._changed.add(number)
                if self._task.running:
                    self._join_timer.start()

    def _is_moved(self, number: int, event: str) -> bool:
        """Return whether an event is of a slider: that fires what undoing a stroke fires."""
        dims = self._viewer.dims
        on_screen = dims.point, dims.order, dims.ndisplay
        before, self._on_screen[number] = self._on_screen[number], on_screen
        return event == "set_data" and before != on_screen

    def _note_regions(self) -> None:
        """Look for new rectangles: their layer may have been added meanwhile."""
        for number, image in enumerate(self._images):
            if number not in self._changed and self._regions_of(number) != image.regions:
                self._changed.add(number)
                self._join_timer.start()

    def _on_event(self, event: object) -> None:
        if isinstance(event, PaintJudged):
            self.judged = event
        elif isinstance(event, AnnotationsJoined):
            self.joined = event
        if isinstance(event, ViewPredicted) and self.live:
            pair, names = self.pairs[event.image], self._images[event.image].class_names
            task = annotation_of(pair.annotation).task
            parts = labels_of_parts(event.labels, task, names).items()
            for paint, (part, labels) in zip(pair.layers, parts, strict=True):
                if paint in plain_layers(self._viewer):
                    shown = live_layer(self._viewer, LayerPair(pair.image, paint), self._ndim, part)
                    shown.show_live(replace(event, labels=labels))

    def _end(self, outcome: object) -> None:
        self._view_timer.stop()
        self._join_timer.stop()
        self._task.happened.disconnect(self._on_event)
        self._task.ended.disconnect(self._end)
        for layer in plain_layers(self._viewer):
            if isinstance(about := layer.metadata.get(METADATA_KEY), Predicted):
                about.end_live()

    def _timer(self, interval: int, slot: Any) -> QTimer:
        timer = QTimer(self)
        timer.setInterval(interval)
        timer.timeout.connect(slot)
        return timer


def live_layer(viewer: Viewer, pair: LayerPair, ndim: int, part: str = "") -> ResultLayer:
    """Return where it is shown what a network of `ndim` dimensions finds in an image.

    Of classes in layers each has one of its own: `part` is its name.
    """
    paint, task = pair.annotation, annotation_of(pair.annotation).task
    return ResultLayer(
        viewer,
        pair.image,
        task.layer_kind if part else task.kind,
        ndim,
        tuple(labels_of(paint).shape),
        placement_from_labels(paint),
        paint,
        part=part,
        largest=int(labels_of(paint).max(initial=0)) if labels_of(paint).dtype.itemsize > 2 else 0,
    )


def painted_pairs(viewer: Viewer) -> tuple[LayerPair, ...]:
    """List what there is to learn from, corrections copied into it; warn where there is nothing.

    Raises NapariUNetError where the layers do not fit.
    """
    AnnotationCopier(viewer).copy_corrections()
    pairs = ticked_pairs(viewer)
    if not pairs:
        show_warning(what_is_missing(viewer))
    return pairs


def begin_training(
    viewer: Viewer,
    pairs: tuple[LayerPair, ...],
    config: TrainConfig,
    previous: TrainingState | TrainedNetwork | None,
    live: bool = True,
    taken_up: Elsewhere | None = None,
) -> None:
    """Train on a snapshot of images and paint, in the background, here or on another machine.

    Raises ConfigError if it is not said which.
    """
    session = session_of(viewer)
    if session.on == "":
        raise ConfigError("Another machine is to train: give its address, as ssh://me@gpu1.")
    if session.on is not None:
        config = config.changed(device="auto")  # over there others are there
    images = annotated_images(viewer, pairs)
    continues = previous is not None
    run = TrainingRun(viewer, pairs, images, config.ndim, session)
    run.live, run.continues = live, continues
    work = partial(
        training_events,
        images,
        config,
        run.inbox,
        previous=previous,
        previous_data=session.trained.data if continues and session.trained else None,
        held_back=session.interrupted.held_back if continues and session.interrupted else (),
        checkpoint=keeper_of(viewer).model_path,
        files=tuple(pair.image.source.path for pair in pairs),
        on=session.on,
        trusted=session.trusted,
        taken_up=taken_up,
    )
    if session.run is not None:
        session.run.setParent(None)
    session.run = run
    run.follow(session.training)
    session.training.start(work)
    keeper_of(viewer).save_now()


def take_up_training(viewer: Viewer, note: Elsewhere) -> None:
    """Go on listening to a training on another machine, with the layers it learns from.

    Raises ConfigError if these are not open.
    """
    pairs = {
        (pair.image.name, tuple(labels_of(pair.annotation).shape)): pair
        for pair in ticked_pairs(viewer)
    }
    if not set(note.images) <= pairs.keys():
        names = ", ".join(name for name, _ in note.images)
        raise ConfigError(
            f"The training that goes on on {note.on} learns from {names}; not all of it is open "
            "and ticked, so it is left there."
        )
    session = session_of(viewer)
    session.choose_machine(note.on, note.trusted)
    found = tuple(pairs[each] for each in note.images)
    config = session.settings.changed(kind=annotation_of(found[0].annotation).kind)
    begin_training(viewer, found, config, None, taken_up=note)


def what_to_continue(
    session: Session, config: TrainConfig
) -> tuple[TrainConfig, TrainingState | TrainedNetwork]:
    """Return the settings under which the model in use is trained further, and where it goes on.

    A training that was stopped goes on exactly where it was. Raises ConfigError where the settings
    do not fit the model.
    """
    from napari_unet.training.checkpoint import settings_to_continue  # torch, as the model

    model, state = session.model, session.interrupted
    assert model is not None
    config = settings_to_continue(config, model.record)
    if state is not None and state.step - state.cycle_start < config.steps + state.extra_steps:
        return config, state
    return config, model
