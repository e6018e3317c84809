"""Link objects over time or through z: relabelled in a layer of its own, and their tracks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels, Layer, Tracks
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_unet.errors import ConfigError
from napari_unet.objects.link_arrays import linked_planes
from napari_unet.objects.linking import LinkConfig
from napari_unet.run import Run
from napari_unet.settings import declared
from napari_unet.tasks import task_of
from napari_unet.widgets.common.button_grid import ButtonGrid
from napari_unet.widgets.common.controls import Note, button
from napari_unet.widgets.common.layers import (
    METADATA_KEY,
    labels_of,
    placement_from_labels,
    plain_layers,
)
from napari_unet.widgets.common.result_layer import (
    Predicted,
    active_labels,
    newest_prediction,
    predicted_of,
)
from napari_unet.widgets.common.session import session_of
from napari_unet.widgets.common.settings_form import SettingsForm
from napari_unet.widgets.common.task import Failed, Outcome, task_named

if TYPE_CHECKING:
    import threading
    from collections.abc import Generator

    from napari.viewer import Viewer
    from numpy.typing import NDArray

    from napari_unet.data.axes import ArrayLike
    from napari_unet.objects.linking import LinkAxis, Linked

_TASK = "Linking objects"
LINKED = "linked"  # the metadata of our tracks
_LETTER_OF = {"t": "T", "time": "T", "z": "Z"}  # what axes may be called


class LinkPanel(QWidget):
    """Links the objects of the selected labels layer, or of the newest prediction."""

    def __init__(self, viewer: Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self._source: Labels | None = None
        self.task = task_named(session_of(viewer), _TASK)
        self.form = SettingsForm(LinkConfig(), declared(LinkConfig))
        self.link_button = button(
            "Lin&k",
            "Give the same object the same number and colour in all frames or planes, in a layer "
            "of its own; over time also as tracks.",
            self.link,
        )
        self.stop_button = button("Stop", "Stop linking; no layer is added.", self.stop)
        self.text = Note()
        self._lay_out()
        self.task.started.connect(self._show_state)
        self.task.happened.connect(self._on_event)
        self.task.ended.connect(self._on_ended)
        self._show_state()

    def _lay_out(self) -> None:
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.form.panel(self.form.editors))
        layout.addLayout(ButtonGrid(2, (self.link_button, self.stop_button)))
        layout.addWidget(self.text)

    @property
    def source(self) -> Labels | None:
        """What is linked: the selected labels, if they hold objects, else the newest prediction.

        What was linked through z may be linked again over time.
        """
        active = active_labels(self._viewer)
        if active is None:
            return newest_prediction(self._viewer)
        ours = active.metadata.get(METADATA_KEY)
        holds_objects = ours is None or predicted_of(active) is not None
        return active if holds_objects else newest_prediction(self._viewer)

    def link(self) -> None:
        """Link in the background; the layers follow."""
        source = self.source
        problem = _problem_of(source)
        if problem or source is None:
            self.text.setText(problem)
            return
        try:
            config: LinkConfig = self.form.value()
            config = replace(config, axis=config.axis or _guessed_axis(source))
        except ConfigError as error:
            self.text.setText(str(error))
            return
        labels = labels_of(source)
        work = ToLink(
            labels=labels.copy() if isinstance(labels, np.ndarray) else labels,
            axes="TZYX" if len(labels.shape) == 4 else f"{config.axis}YX",
            config=config,
        )
        if self.task.start(partial(linking_events, work)):
            self._source = source
            self.text.setText(f"Linking {source.name}…")

    def stop(self) -> None:
        """Stop after the current frame."""
        self.task.stop()
        self.stop_button.setEnabled(False)

    def _show_state(self) -> None:
        self.link_button.setEnabled(not self.task.running)
        self.stop_button.setEnabled(self.task.running and not self.task.stopping)

    def _on_event(self, event: Any) -> None:
        if isinstance(event, PlaneLinked) and self._source is not None:
            self.text.setText(
                f"Linking {self._source.name}: {event.number} of {event.total} planes."
            )

    def _on_ended(self, outcome: Outcome) -> None:
        self._show_state()
        source, self._source = self._source, None  # a layer that is closed meanwhile may go
        if source is None:
            return
        if isinstance(outcome, Failed):
            self.text.setText(outcome.text)
        elif outcome.result is None:
            self.text.setText("Stopped; nothing was linked.")
        elif source in plain_layers(self._viewer):
            _show_linked(self._viewer, source, outcome.result)
            self.text.setText(_sentence(source, outcome.result))
        else:
            self.text.setText(f"{source.name} was closed meanwhile.")


def _problem_of(source: Labels | None) -> str:
    """Return what keeps a layer from being linked, or nothing."""
    if source is None:
        return "There is nothing to link: select a labels layer, or predict one."
    predicted = predicted_of(source)
    if predicted is not None and predicted.in_progress:
        return f"{source.name} is still being predicted: link it when it is done."
    if predicted is not None and (task := task_of(predicted.kind)).named:
        return f"{source.name} holds {task.things}: only objects are linked."
    n_axes = len(labels_of(source).shape)
    if n_axes not in (3, 4):
        return (
            f"{source.name} has {n_axes} axes: link labels with time or z before Y and X, or both."
        )
    return ""


def _guessed_axis(source: Labels) -> LinkAxis:
    """Take time where the first axis is time, or is not named z."""
    letter = _LETTER_OF.get(str(source.axis_labels[0]).lower(), "T")
    return "Z" if letter == "Z" and source.ndim == 3 else "T"


def _sentence(source: Labels, found: LinkedLabels) -> str:
    n_divisions = len(set(found.linked.parents.values()))
    divisions = f", {n_divisions} of which divide" if n_divisions else ""
    return f"{source.name}: {found.linked.n_tracks} objects{divisions}."


def _show_linked(viewer: Viewer, source: Labels, found: LinkedLabels) -> None:
    """Show linked labels and, over time, tracks; the selection stays."""
    active = viewer.layers.selection.active
    _show_labels(viewer, source, found)
    _show_tracks(viewer, source, found)
    viewer.layers.selection.active = active
    if predicted_of(source) is not None:
        source.visible = False  # two predictions on top of each other cannot be read


def _show_labels(viewer: Viewer, source: Labels, found: LinkedLabels) -> None:
    """Show labels in the layer of the last linking of this source, or in a new one."""
    name, placement = f"{source.name} linked", placement_from_labels(source)
    before = predicted_of(source)
    about = Predicted(found.labels.copy(), 2 if before is None else before.ndim, linked=True)
    if before is not None and before.image is not None:
        about.image = before.image
    layer = _ours(viewer, Labels, name)
    if layer is not None and layer.data.shape == found.labels.shape:
        layer.data, layer.metadata[METADATA_KEY], layer.visible = found.labels, about, True
        for key, value in placement.items():
            setattr(layer, key, value)
        return
    viewer.add_layer(Labels(found.labels, name=name, metadata={METADATA_KEY: about}, **placement))


def _show_tracks(viewer: Viewer, source: Labels, found: LinkedLabels) -> None:
    """Show tracks where there was time; those of a previous linking of this source go."""
    name, linked = f"{source.name} tracks", found.linked
    previous = _ours(viewer, Tracks, name)
    if previous is not None:
        viewer.layers.remove(previous)
    if not found.over_time or not len(linked.tracks):
        return
    tracks = Tracks(
        linked.tracks,
        graph={daughter: [mother] for daughter, mother in linked.parents.items()},
        features={"area" if linked.tracks.shape[1] == 4 else "volume": linked.sizes},
        name=name,
        metadata={METADATA_KEY: LINKED},
        **placement_from_labels(source),
    )
    viewer.add_layer(tracks)


def _ours(viewer: Viewer, kind: type[Layer], name: str) -> Any:
    """Find a layer that linking has made and no one has edited: what is edited stays."""
    for layer in plain_layers(viewer):
        about = layer.metadata.get(METADATA_KEY)
        if isinstance(about, Predicted):
            untouched = about.linked and np.array_equal(about.labels, layer.data)
        else:
            untouched = about == LINKED
        if isinstance(layer, kind) and untouched and layer.name == name:
            return layer
    return None


def tracks_beside(viewer: Viewer, layer: Labels) -> Tracks | None:
    """Return the tracks that linking laid beside a layer of linked labels."""
    wanted = f"{layer.name.removesuffix(' linked')} tracks"
    found = (each for each in plain_layers(viewer) if isinstance(each, Tracks))
    return next((tracks for tracks in found if tracks.name == wanted), None)


# --- Link the objects of labels beside the window ------------------------------------------------


@dataclass(frozen=True, eq=False)
class ToLink:
    """Labels, and how their objects are linked."""

    labels: ArrayLike
    """Lazy ones are read in the worker, plane by plane."""
    axes: str
    """One of "TYX", "ZYX", "TZYX"."""
    config: LinkConfig

    @property
    def n_planes(self) -> int:
        """How many planes, or frames, are linked one by one."""
        through_all = self.config.axis == "Z" and "T" in self.axes
        return int(np.prod(self.labels.shape[: 2 if through_all else 1]))


@dataclass(frozen=True)
class PlaneLinked:
    """One more plane, or frame, is linked."""

    number: int
    """Which one, from 1."""
    total: int


@dataclass(frozen=True, eq=False)
class LinkedLabels:
    """What came out."""

    labels: NDArray[np.int32]
    """Of the shape of what was linked."""
    linked: Linked
    """The tracks."""
    over_time: bool
    """Whether they are tracks in time, and not objects of a stack."""


def linking_events(
    task: ToLink, stop: threading.Event
) -> Generator[PlaneLinked, None, LinkedLabels | None]:
    """Link the objects of labels, in a worker thread; returns None if it was stopped.

    Raises LabelsError if the labels are no integers, some are negative, or the axes do not fit.
    """
    found = np.zeros(tuple(task.labels.shape), np.int32)
    planes = Run(linked_planes(task.labels, task.axes, task.config))
    for number, (index, plane) in enumerate(planes, start=1):
        found[index] = plane
        yield PlaneLinked(number, task.n_planes)
        if stop.is_set():
            return None
    return LinkedLabels(found, planes.result, task.config.axis == "T")
