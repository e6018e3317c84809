"""What linking works on beside the window, and the layers that it shows."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels, Tracks

from napari_unet.objects.link_arrays import linked_planes
from napari_unet.objects.linking import Known, LinkConfig, Linked
from napari_unet.objects.tracks import LinkMemory, renumbered_like, separated, tracks_of
from napari_unet.run import PartsDone, Run
from napari_unet.widgets.common.layers import (
    METADATA_KEY,
    labels_of,
    placement_from_labels,
    plain_layers,
)
from napari_unet.widgets.common.result_layer import Predicted, predicted_of

if TYPE_CHECKING:
    import threading
    from collections.abc import Generator

    from napari.viewer import Viewer
    from numpy.typing import NDArray

    from napari_unet.data.axes import ArrayLike
    from napari_unet.objects.linking import LinkAxis

    Numbered = NDArray[np.int32]

LINKED = "linked"  # the metadata of our tracks
_LETTER_OF = {"t": "T", "time": "T", "z": "Z"}  # what axes may be called


@dataclass(frozen=True, eq=False)
class ToLink:
    """Labels, and how their objects are linked."""

    labels: ArrayLike
    """Lazy ones are read in the worker, plane by plane."""
    axes: str
    """One of "TYX", "ZYX", "TZYX"; "" where they are to be separate."""
    config: LinkConfig
    predicted: Numbered | None = None
    """Of a result, as it was predicted: it gets the same numbers; so does `taken`."""
    taken: Numbered | None = None
    ndim: int = 0
    """Of the network that found them; 0: another."""
    known: Known = field(default_factory=Known)
    """What was corrected of links before."""

    @classmethod
    def of(cls, source: Labels, config: LinkConfig, axes: str) -> ToLink:
        """Copy the labels of a layer, which may change meanwhile, and what belongs to a result."""
        about, labels = result_in_memory(source), labels_of(source)
        own = labels.copy() if isinstance(labels, np.ndarray) else labels
        if about is None:
            return cls(own, axes, config)
        taken = None if about.taken is None else about.taken.copy()
        return cls(own, axes, config, about.labels.copy(), taken, about.ndim, about.memory.known)

    def is_still(self, layer: Labels) -> bool:
        """Return whether a result is as it was when it was copied, and nothing writes there."""
        about, labels = result_of(layer), np.asarray(self.labels)
        if about.in_progress or about.live or not np.array_equal(layer.data, labels):
            return False
        if about.taken is None or self.taken is None:
            return about.taken is self.taken
        return np.array_equal(about.taken, self.taken)

    @property
    def runs(self) -> tuple[tuple[LinkConfig, Known], ...]:
        """How they are linked: what was found slice by slice through those first, then over time.

        Through slices nothing is known: what was corrected then is of whole cells.
        """
        own = self.config, self.known
        if (self.axes, self.config.axis, self.ndim) == ("TZYX", "T", 2):
            slices = replace(self.config, axis="Z", gap=min(self.config.gap, 1))
            return (slices, Known()), own
        return (own,)

    @property
    def n_planes(self) -> int:
        """How many planes, or frames, are linked one by one."""
        shape = self.labels.shape
        lead = (2 if config.axis == "Z" and "T" in self.axes else 1 for config, _ in self.runs)
        return sum(int(np.prod(shape[:n])) for n in lead)


@dataclass(frozen=True, eq=False)
class LinkedLabels:
    """What came out."""

    labels: Numbered
    """Of the shape of what was linked."""
    linked: Linked | None
    """The tracks; None where objects are separate now."""
    over_time: bool
    """Whether they are tracks in time, and not objects of a stack."""
    predicted: Numbered | None = None
    taken: Numbered | None = None


def result_in_memory(layer: Labels) -> Predicted | None:
    """Return what belongs to a result whose own pixels get the numbers of linked cells."""
    about = predicted_of(layer)
    if about is None or not isinstance(layer.data, np.ndarray):
        return None
    return about if layer.data.dtype == about.labels.dtype == np.int32 else None


def result_of(layer: Labels) -> Predicted:
    """Return what belongs to a layer that is known to show a result."""
    about: Predicted = layer.metadata[METADATA_KEY]
    return about


def linking_events(
    task: ToLink, stop: threading.Event
) -> Generator[PartsDone, None, LinkedLabels | None]:
    """Link the objects of labels, in a worker thread; returns None if it was stopped.

    Raises LabelsError if the labels are no integers, some are negative, or the axes do not fit.
    """
    labels, number = task.labels, 0
    for config, known in task.runs:
        found = np.zeros(tuple(labels.shape), np.int32)
        planes = Run(linked_planes(labels, task.axes, config, known))
        for index, plane in planes:
            found[index] = plane
            number += 1
            yield PartsDone(number, task.n_planes)
            if stop.is_set():
                return None
        labels = found
    return _with_others(task, found, planes.result, task.config.axis == "T")


def separating(task: ToLink, stop: threading.Event) -> LinkedLabels:
    """Give the objects of each frame numbers of their own, in a worker thread."""
    labels = np.asarray(task.labels)
    return _with_others(task, separated(labels, labels.ndim - task.ndim), None, False)


def guessed_axis(source: Labels) -> LinkAxis:
    """Take time where the first axis is time, or is not named z."""
    letter = _LETTER_OF.get(str(source.axis_labels[0]).lower(), "T")
    return "Z" if letter == "Z" and source.ndim == 3 else "T"


def newer_tracks(
    labels: NDArray[Any], parents: dict[int, int], seen: int | None
) -> tuple[int, Linked | None]:
    """Return a sum over linked labels, and their tracks unless it is the one that was `seen`."""
    start = zlib.crc32(repr(sorted(parents.items())).encode())
    found = zlib.crc32(np.ascontiguousarray(labels).data, start)
    return found, None if found == seen else tracks_of(labels, parents)


def _with_others(
    task: ToLink, found: Numbered, linked: Linked | None, over_time: bool
) -> LinkedLabels:
    """Give what was predicted, and what was learned, the same numbers."""
    if not task.ndim:
        return LinkedLabels(found, linked, over_time)
    before = np.asarray(task.labels)
    others = (
        None if each is None else renumbered_like(each, before, found, found.ndim - task.ndim)
        for each in (task.predicted, task.taken)
    )
    return LinkedLabels(found, linked, over_time, *others)


# --- Layers of tracks ----------------------------------------------------------------------------


def show_tracks(viewer: Viewer, source: Labels, found: LinkedLabels) -> None:
    """Show tracks where there was time; those of a previous linking of this source go."""
    previous = tracks_beside(viewer, source)
    if previous is not None and previous.metadata.get(METADATA_KEY) != LINKED:
        previous = None  # the user's
    wanted = found.over_time and found.linked is not None and len(found.linked.tracks)
    if not wanted or found.linked is None:
        if previous is not None:
            viewer.layers.remove(previous)
        return
    if previous is not None:
        write_tracks(previous, found.linked)
        for key, value in placement_from_labels(source).items():
            setattr(previous, key, value)
        return
    chosen = set(viewer.layers.selection)
    tracks = Tracks(
        found.linked.tracks,
        graph=_graph(found.linked),
        features=_sizes(found.linked),
        name=f"{source.name.removesuffix(' linked')} tracks",
        metadata={METADATA_KEY: LINKED},
        **placement_from_labels(source),
    )
    viewer.add_layer(tracks)
    viewer.layers.selection = chosen


def write_tracks(tracks: Tracks, linked: Linked) -> None:
    """Give a layer other tracks, if they are others; it stays coloured as it is."""
    graph = {int(child): [int(m) for m in np.atleast_1d(of)] for child, of in tracks.graph.items()}
    if np.array_equal(tracks.data, linked.tracks) and graph == _graph(linked):
        return
    if not len(linked.tracks):  # napari has no layer without tracks
        tracks.visible = False
        return
    by, tracks.color_by = tracks.color_by, "track_id"
    tracks.data = linked.tracks
    tracks.features, tracks.graph = _sizes(linked), _graph(linked)
    if by in tracks.features:
        tracks.color_by = by


def _graph(linked: Linked) -> dict[int, list[int]]:
    return {daughter: [mother] for daughter, mother in linked.parents.items()}


def _sizes(linked: Linked) -> dict[str, Any]:
    return {"area" if linked.tracks.shape[1] == 4 else "volume": linked.sizes}


def tracks_beside(viewer: Viewer, layer: Labels) -> Tracks | None:
    """Return the tracks that linking laid beside a layer of linked labels."""
    wanted = f"{layer.name.removesuffix(' linked')} tracks"
    found = (each for each in plain_layers(viewer) if isinstance(each, Tracks))
    return next((tracks for tracks in found if tracks.name == wanted), None)


# --- Labels of others: linked in a layer of their own ------------------------------------------


def show_linked_copy(viewer: Viewer, source: Labels, found: LinkedLabels) -> None:
    """Show linked labels, in the layer of the last linking of this source or in a new one."""
    name, placement = f"{source.name} linked", placement_from_labels(source)
    before = predicted_of(source)
    about = Predicted(found.labels.copy(), 2 if before is None else before.ndim, linked=True)
    about.memory = LinkMemory(found.linked.parents if found.linked else {})
    if before is not None and before.image is not None:
        about.image = before.image
    active = viewer.layers.selection.active
    layer = _untouched(viewer, name)
    if layer is not None and layer.data.shape == found.labels.shape:
        layer.data, layer.metadata[METADATA_KEY], layer.visible = found.labels, about, True
        for key, value in placement.items():
            setattr(layer, key, value)
    else:
        viewer.add_layer(
            Labels(found.labels, name=name, metadata={METADATA_KEY: about}, **placement)
        )
    show_tracks(viewer, source, found)
    viewer.layers.selection.active = active
    if before is not None:
        source.visible = False  # two predictions on top of each other cannot be read


def _untouched(viewer: Viewer, name: str) -> Labels | None:
    """Find a layer that linking has made and no one has edited: what is edited stays."""
    for layer in plain_layers(viewer):
        about = layer.metadata.get(METADATA_KEY)
        if isinstance(layer, Labels) and isinstance(about, Predicted) and layer.name == name:
            return layer if about.linked and np.array_equal(about.labels, layer.data) else None
    return None


def in_words(source: Labels, found: LinkedLabels) -> str:
    """Return how many objects there are now."""
    if found.linked is None:
        return "Each frame has cells of its own again."
    n_divisions = len(set(found.linked.parents.values()))
    divisions = f", {n_divisions} of which divide" if n_divisions else ""
    return f"{source.name}: {found.linked.n_tracks} objects{divisions}."
