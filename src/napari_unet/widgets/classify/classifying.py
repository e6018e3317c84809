"""What goes on whether the dock is open or not: examples, description, classes of all objects."""

from __future__ import annotations

import weakref
from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np
from qtpy.QtCore import QObject, QTimer, Signal

from napari_unet.errors import ConfigError, ImageError
from napari_unet.run import PartsDone
from napari_unet.widgets.classify.shown import redraw_examples, show_classes, show_examples
from napari_unet.widgets.common.annotation import image_for, was_painted_here
from napari_unet.widgets.common.layers import (
    channels_beside,
    follow,
    labels_of,
    paint_events,
    plain_layers,
)
from napari_unet.widgets.common.object_classes import (
    OBJECT_CLASSES_KEY,
    ObjectClasses,
    features_of_found,
    features_with_classes,
    object_classes_in,
)
from napari_unet.widgets.common.object_table import (
    Setup,
    describing_labels,
    find_classes,
    objects_at,
)
from napari_unet.widgets.common.placement import named_axes_of
from napari_unet.widgets.common.result_layer import predicted_of
from napari_unet.widgets.common.task import BackgroundTask, Cancelled, Failed, Outcome

if TYPE_CHECKING:
    from napari.layers import Image, Labels

    from napari_unet.widgets.common.object_table import Key
    from napari_unet.widgets.common.session import Session

    Place = tuple[int, ...]

_SETTLED_MS = 400  # from a change of the labels until they are looked at
_MEASURING = "Measuring all objects, once…"
_MORE = "Give examples of a second class: then all objects get theirs."
_NONE = "Choose a class, by its row or its key, and click objects of it."
NO_LAYER = "Open or predict labels of objects first."


def classifying_of(session: Session) -> Classifying:
    """Return what classifies the objects of a session; the same for all its docks."""
    return next(iter(session.findChildren(Classifying)), None) or Classifying(session)


class Classifying(QObject):
    """Keeps the classes of a layer's objects up to date with examples, objects and image."""

    changed: Final = Signal()
    told: Final = Signal(str)

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._session = session
        self.describing: Final = BackgroundTask("Measuring objects to classify", session)
        self.finding: Final = BackgroundTask("Classifying objects", session)
        self.said: str = ""
        self._layer: weakref.ref[Labels] | None = None
        self._described_layer: weakref.ref[Labels] | None = None
        self._found_layer: weakref.ref[Labels] | None = None
        self._followed: weakref.WeakSet[Labels] = weakref.WeakSet()
        self._find_again, self._anew = False, False
        self._settled = QTimer(self)
        self._settled.setSingleShot(True)
        self._settled.setInterval(_SETTLED_MS)
        self._settled.timeout.connect(self.look_again)
        self.describing.happened.connect(self._tell_progress)
        self.describing.ended.connect(self._on_described)
        self.finding.ended.connect(self._on_found)
        for task in (session.prediction, session.training):
            task.ended.connect(self._changed_soon)

    @property
    def layer(self) -> Labels | None:
        """The layer whose objects get classes, while it is in the viewer."""
        layer, viewer = self._layer() if self._layer else None, self._session.viewer
        there = viewer is not None and layer is not None and layer in plain_layers(viewer)
        return layer if there else None

    @property
    def state(self) -> ObjectClasses | None:
        """What is known of the classes of its objects."""
        layer = self.layer
        return None if layer is None else object_classes_in(layer)

    # --- What is classified -----------------------------------------------------------------------

    def choose(self, layer: Labels | None) -> None:
        """Go on with the objects of this layer; a new one begins with the classes of the last."""
        before = self.state
        self._layer = None if layer is None else weakref.ref(layer)
        if layer is not None:
            if object_classes_in(layer) is None:
                layer.metadata[OBJECT_CLASSES_KEY] = self._new_state(layer, before)
            if layer not in self._followed:
                self._followed.add(layer)
                for emitter in paint_events(layer):
                    follow(self, emitter, self._changed_soon)
        self.update()

    def _new_state(self, layer: Labels, before: ObjectClasses | None) -> ObjectClasses:
        state = ObjectClasses()
        if before is not None:
            state.names, state.colours = dict(before.names), dict(before.colours)
        predicted = predicted_of(layer)
        image = predicted.image if predicted else image_for(self._session.viewer, layer)
        if image is not None:
            state.image = image
        # Once for all: of what comes from a project nobody knows any more who has made it.
        unknown = self._session.settings.unpainted == "unlabelled"
        state.first = 2 if unknown and was_painted_here(layer) else 1
        return state

    def use_image(self, image: Image | None) -> None:
        """Let the grey values of this image count; None: sizes and shapes alone."""
        state = self.state
        if state is None or image is self.image:
            return
        state.without_image = image is None
        if image is not None:
            state.image = image
        self.update()

    @property
    def image(self) -> Image | None:
        """Whose grey values count."""
        state, viewer = self.state, self._session.viewer
        image = None if state is None or state.without_image else state.image
        return image if viewer is not None and image in plain_layers(viewer) else None

    def extend_along(self, ndim: int) -> None:
        """Let objects be planes of their own (2), or go on in depth (3)."""
        state, layer = self.state, self.layer
        if state is not None and layer is not None and ndim != self.ndim:
            state.ndim = ndim
            redraw_examples(self._session.viewer, layer)
            self.update()

    @property
    def ndim(self) -> int:
        """Along how many axes an object extends."""
        layer, state = self.layer, self.state
        if layer is None or layer.ndim < 3:
            return 2
        predicted = predicted_of(layer)
        usual = predicted.ndim if predicted else 2 + ("Z" in (named_axes_of(layer) or ""))
        return state.ndim if state is not None and state.ndim else usual

    @property
    def first(self) -> int:
        """The lowest number of an object: where people paint, 1 is background."""
        return 1 if self.state is None else self.state.first

    @property
    def refusal(self) -> str:
        """Why the objects of the layer cannot get classes; nothing where they can."""
        layer = self.layer
        if layer is None:
            return NO_LAYER
        predicted = predicted_of(layer)
        if predicted is not None and predicted.task.named:
            return f"{layer.name} holds classes, not objects: choose a layer of objects."
        if predicted is not None and (predicted.in_progress or predicted.live):
            return f"{layer.name} is still being found: wait until that is done, or stop it."
        if layer.ndim not in (2, 3, 4):
            return f"{layer.name} has {layer.ndim} axes: objects of 2 to 4 axes get classes."
        return ""

    # --- Examples ---------------------------------------------------------------------------------

    def object_at(self, place: Place) -> Key | None:
        """Return the number and the flat frame of the object at a pixel."""
        layer = self.layer
        if layer is None:
            return None
        return next(iter(objects_at(labels_of(layer), {place: 1}, self.ndim, self.first)), None)

    def class_at(self, place: Place) -> int:
        """Return the class that the object at a pixel was given; 0 where it has none."""
        return self._given().get(self.object_at(place) or (0, 0), 0)

    def _given(self) -> dict[Key, int]:
        layer, state = self.layer, self.state
        if layer is None or state is None:
            return {}
        return objects_at(labels_of(layer), state.examples, self.ndim, self.first)

    def give(self, place: Place, value: int) -> bool:
        """Give the object at a pixel a class, or none (0); return whether that changes anything.

        What happens between two calls of `begin_step` is one step of undo.
        """
        state, key = self.state, self.object_at(place)
        if state is None or key is None or self.class_at(place) == value:
            return False
        for at in [at for at in state.examples if self.object_at(at) == key]:
            del state.examples[at]
        if value:
            state.examples[place] = value
        self.update()
        return True

    def begin_step(self) -> None:
        """Remember the examples as they are: one undo comes back to them."""
        if self.state is not None:
            self.state.remember()

    def undo(self) -> None:
        """Take back the last step."""
        if self.state is None or not self.state.undo():
            self.tell("There is nothing to undo.")
        else:
            self.update()

    @property
    def counts(self) -> dict[int, int]:
        """How many examples there are of each class, of objects that are still there."""
        values = list(self._given().values())
        return {value: values.count(value) for value in set(values)}

    @property
    def asleep(self) -> int:
        """How many examples lie where no object is any more."""
        state = self.state
        examples = {} if state is None else state.examples
        return sum(self.object_at(place) is None for place in examples)

    def next_unsure(self) -> int | None:
        """Return the row of the least certain object not shown yet; None where there is none."""
        state = self.state
        if state is None or state.found is None or state.described is None:
            return None
        columns, given = state.described.columns, self._given()
        keys = {
            row: (int(columns["index"][row]), int(columns["frame"][row]))
            for row in state.found.unsure
        }
        left = {row: key for row, key in keys.items() if key not in given}
        if all(key in state.visited for key in left.values()):
            state.visited.clear()
        row = next((row for row, key in left.items() if key not in state.visited), None)
        if row is not None:
            state.visited.add(left[row])
        return row

    # --- Work -------------------------------------------------------------------------------------

    def tell(self, text: str) -> None:
        """Say how it stands."""
        self.said = text
        self.told.emit(text)

    def update(self) -> None:
        """Bring all that is shown up to date, and begin the work that this takes."""
        layer, state = self.layer, self.state
        if layer is None or state is None or self.refusal:
            self.tell(self.refusal)
        else:
            show_examples(self._session.viewer, layer, state, self.ndim, self.first)
            try:
                self._work_on(layer, state)
            except (ConfigError, ImageError) as error:
                self._forget(layer, state)
                self.tell(str(error))
        self.changed.emit()

    def _work_on(self, layer: Labels, state: ObjectClasses) -> None:
        setup = self._setup(layer)
        if not state.examples and state.learned is None:
            self._forget(layer, state)
            self.tell(_NONE)
        elif state.described is None or state.stale or state.described.setup != setup:
            self._describe(layer, state, setup)
        elif self.finding.running:
            self._find_again = True
        else:
            self._find(layer, state)

    def _setup(self, layer: Labels) -> Setup:
        """Return how objects are to be described; ImageError where the image does not fit."""
        scale, image = tuple(float(each) for each in layer.scale), self.image
        origin: object = None
        if image is not None:
            if channels_beside(image, tuple(labels_of(layer).shape))[0] is None:
                raise ImageError(
                    f"{image.name} does not have the pixels of {layer.name}: choose the image that "
                    "its objects are in, or none."
                )
            origin = image.unique_id, id(image.data)
        return Setup(self.ndim, scale, self.first, origin)

    def _describe(self, layer: Labels, state: ObjectClasses, setup: Setup) -> None:
        if self.describing.running:
            return  # what is to be done is looked at again when it ends
        labels, image = labels_of(layer), self.image
        copied = labels.copy() if isinstance(labels, np.ndarray) else labels
        pixels, axis = channels_beside(image, labels.shape) if image else (None, None)
        work = partial(describing_labels, copied, setup, pixels, axis, state.described)
        self._described_layer, self._anew = weakref.ref(layer), state.stale
        state.stale = False
        self.tell(f"{'Objects were changed. ' if self._anew else ''}{_MEASURING}")
        self.describing.start(work)

    def _tell_progress(self, event: object) -> None:
        if isinstance(event, PartsDone) and event.total > 1:
            self.tell(f"{_MEASURING} Frame {event.number + 1} of {event.total}.")

    def _on_described(self, outcome: Outcome) -> None:
        layer = self._described_layer() if self._described_layer else None
        state = None if layer is None else object_classes_in(layer)
        described = None if isinstance(outcome, Failed) else outcome.result
        if described is not None and state is not None:
            state.described = described
            state.visited.clear()
        elif state is not None and self._anew:
            state.described, state.stale = None, False
        if described is not None or layer is not self.layer:
            self.update()
            self._changed_soon()
        elif isinstance(outcome, Failed):
            self.tell("" if isinstance(outcome, Cancelled) else outcome.text)
        else:
            self.tell("Stopped: objects were not measured. The next example begins anew.")
        self.changed.emit()

    def _find(self, layer: Labels, state: ObjectClasses) -> None:
        assert state.described is not None
        given = state.described.given(state.examples)
        classifier = state.classifier(state.described.columns, given)
        if len(np.unique(classifier.classes)) < 2:
            self._forget(layer, state)
            self.tell(_MORE if len(classifier.classes) else _NONE)
            return
        self._found_layer, self._find_again = weakref.ref(layer), False
        work = partial(find_classes, state.described, classifier, list(state.names), given)
        self.finding.start(lambda stop: work())

    def _on_found(self, outcome: Outcome) -> None:
        layer, viewer = self._found_layer() if self._found_layer else None, self._session.viewer
        state = None if layer is None else object_classes_in(layer)
        if isinstance(outcome, Failed):
            self.tell("" if isinstance(outcome, Cancelled) else outcome.text)
        elif viewer is None or layer is None or state is None:
            return
        elif layer in plain_layers(viewer):
            state.found = outcome.result
            show_classes(viewer, layer, state, state.found)
            rows = features_of_found(layer.features, outcome.result)
            layer.features = features_with_classes(rows, state)
            self.tell("")
        if self._find_again:
            self._find_again = False
            self.update()
        self.changed.emit()

    def _forget(self, layer: Labels, state: ObjectClasses) -> None:
        """Show no classes: there is nothing to tell them by."""
        if self.finding.running:
            self._find_again = True
        if state.found is not None:
            state.found = None
            show_classes(self._session.viewer, layer, state, None)
            layer.features = features_with_classes(layer.features, state)

    def _changed_soon(self, event: object = None) -> None:
        self._settled.start()

    def look_again(self) -> None:
        """Follow the objects, where these were changed."""
        layer, state = self.layer, self.state
        if layer is None or state is None or self.refusal or self.describing.running:
            return
        described, labels = state.described, labels_of(layer)
        if described is not None and np.array_equal(described.labels, labels):
            return
        redraw_examples(self._session.viewer, layer)
        if described is None:
            show_examples(self._session.viewer, layer, state, self.ndim, self.first)
            self.changed.emit()
            return
        state.stale = True
        self.update()
