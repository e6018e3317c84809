"""Cells that are linked: one number in all frames of a result, their tracks, and corrections."""

from __future__ import annotations

import weakref
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from napari.layers import Labels
from qtpy.QtCore import QObject, Signal

from napari_unet.errors import LabelsError
from napari_unet.objects.linking import LinkConfig
from napari_unet.objects.tracks import LinkMemory, Swap, broken, given, joined
from napari_unet.run import PartsDone
from napari_unet.widgets.common.controls import single_shot
from napari_unet.widgets.common.highlight import Highlight
from napari_unet.widgets.common.layers import (
    follow,
    labels_of,
    plain_layers,
    write_pixels,
)
from napari_unet.widgets.common.linked_undo import Change, FollowedUndo
from napari_unet.widgets.common.result_layer import Predicted, forget_undo, predicted_of
from napari_unet.widgets.common.session import session_of
from napari_unet.widgets.common.task import Failed, Outcome, task_named
from napari_unet.widgets.predict.link_work import (
    LinkedLabels,
    ToLink,
    guessed_axis,
    in_words,
    linking_events,
    newer_tracks,
    result_in_memory,
    result_of,
    separating,
    show_linked_copy,
    show_tracks,
    tracks_beside,
    write_tracks,
)

if TYPE_CHECKING:
    from napari.viewer import Viewer

    from napari_unet.objects.linking import Linked

_DELAY_MS = 200  # after a change: a drag of the brush has many
_LARGEST_HERE = 2**20  # pixels whose tracks are found while the window waits: 20 ms

# Name of a tool: the text of its button, its tooltip, and how it is used.
LINK_TOOLS = {
    "break": (
        "Break",
        "From this frame on it is another cell.",
        "Click a cell in the frame from which on it is another one.",
    ),
    "join": (
        "Join",
        "Two tracks are one cell.",
        "Click a cell, then, in another frame, the cell that it was or becomes.",
    ),
    "reassign": (
        "Re-assign",
        "In this frame, the cell belongs to another track.",
        "Click a cell, then, in any frame, the cell of the track that it belongs to.",
    ),
    "exchange": (
        "Exchange",
        "Two cells have exchanged their numbers: change them back from this frame on.",
        "Drag from one cell to the other, where their numbers were mixed up.",
    ),
}
NOT_LINKED = "The cells are not linked: Link does that, where there is time or depth."


class LinkedCells(QObject):
    """Links the cells of results, keeps them and their tracks so, and corrects links."""

    told: Final = Signal(str)
    changed: Final = Signal()  # cells are linked now, or no more, or otherwise

    def __init__(self, viewer: Viewer, parent: QObject) -> None:
        super().__init__(parent)
        self._session = session_of(viewer)
        self._source: Labels | None = None
        self._seen: ToLink | None = None
        self._config: weakref.WeakKeyDictionary[Labels, LinkConfig] = weakref.WeakKeyDictionary()
        self._steps: weakref.WeakKeyDictionary[Labels, FollowedUndo[_Step]]
        self._steps = weakref.WeakKeyDictionary()
        self._seen_tracks: weakref.WeakKeyDictionary[Labels, int] = weakref.WeakKeyDictionary()
        self._first: tuple[Labels, int, int] | None = None  # of two cells that are clicked
        self._marked: Highlight | None = None
        self.task: Final = task_named(self._session, "Linking objects")
        self.task.happened.connect(self._on_event)
        self.task.ended.connect(self._on_ended)
        self._timer = single_shot(self, _DELAY_MS, self.refresh)
        for task in (self._session.prediction, self._session.training):
            task.ended.connect(self._follow_soon)
        follow(self, viewer.layers.events.inserted, self._watch_all)
        self._watch_all()

    # --- Link, and separate again -------------------------------------------------------------

    def link(self, source: Labels, config: LinkConfig) -> None:
        """Link the cells of a layer: a result in its own pixels, other labels in a new layer.

        What was corrected of links holds where both cells still exist.
        """
        config = replace(config, axis=config.axis or guessed_axis(source))
        self._config[source] = config
        axes = "TZYX" if len(labels_of(source).shape) == 4 else f"{config.axis}YX"
        task = ToLink.of(source, config, axes)
        self._start(source, task, linking_events, f"Linking {source.name}…")

    def link_when_done(self, source: Labels, config: LinkConfig) -> None:
        """Link the cells of a layer; of a result that is being written as soon as it is there."""
        about = result_in_memory(source)
        if about is None or not (about.in_progress or about.live):
            self.link(source, config)
            return
        self._config[source] = config
        about.linked = about.stale = True
        self.told.emit(f"{source.name} is still being found: it is linked when that is done.")
        self.changed.emit()

    def separate(self, source: Labels) -> None:
        """Give the cells of each frame numbers of their own again; corrections are remembered."""
        about = result_in_memory(source)
        if about is not None and about.linked:
            self._start(source, ToLink.of(source, LinkConfig(), ""), separating, "")

    def _start(self, source: Labels, task: ToLink, work: Any, text: str) -> None:
        if self.task.start(partial(work, task)):
            self._source, self._seen = source, task
            self.drop_first()
            self.told.emit(text)

    def _on_event(self, event: Any) -> None:
        if isinstance(event, PartsDone) and self._source is not None:
            self.told.emit(f"Linking {self._source.name}: {event.number} of {event.total} planes.")

    def _on_ended(self, outcome: Outcome) -> None:
        source, self._source = self._source, None  # a layer that is closed meanwhile may go
        seen, self._seen = self._seen, None
        viewer = self._session.viewer
        if source is None or seen is None or viewer is None:
            return
        if isinstance(outcome, Failed):
            self.told.emit(outcome.text)
        elif outcome.result is None:
            about = result_in_memory(source)
            if about is not None and about.stale:
                about.linked = False  # else it would begin again by itself
            self.told.emit("Stopped; nothing was linked.")
        elif source not in plain_layers(viewer):
            self.told.emit(f"{source.name} was closed meanwhile.")
        elif result_in_memory(source) is None:
            show_linked_copy(viewer, source, outcome.result)
            self.told.emit(in_words(source, outcome.result))
        elif not seen.is_still(source):
            self._again(source, seen)
        else:
            self._take(viewer, source, outcome.result)
        self.changed.emit()

    def _again(self, source: Labels, seen: ToLink) -> None:
        """Begin anew with what was changed meanwhile, when it is written."""
        about = result_of(source)
        about.linked, about.stale = bool(seen.axes), True
        if seen.axes:
            self.told.emit(f"{source.name} is changing: it is linked when that is done.")
            self._timer.start()
        elif not about.in_progress and not about.live:
            about.linked = True
            self.separate(source)

    def _take(self, viewer: Viewer, layer: Labels, found: LinkedLabels) -> None:
        """Write the new numbers into a result, and into what is known of it."""
        about = result_of(layer)
        np.copyto(np.asarray(layer.data), found.labels)
        if found.predicted is not None:
            np.copyto(about.labels, found.predicted)
        about.taken, about.stale, about.linked = found.taken, False, found.linked is not None
        parents = found.linked.parents if found.linked else {}
        about.memory = LinkMemory(parents, about.memory.known)
        forget_undo(layer)
        layer.refresh()
        show_tracks(viewer, layer, found)
        self._watch_all()
        self.told.emit(in_words(layer, found))

    # --- Follow what becomes of linked cells --------------------------------------------------

    def _watch_all(self, event: object = None) -> None:
        viewer = self._session.viewer
        for layer in plain_layers(viewer) if viewer is not None else []:
            if isinstance(layer, Labels) and predicted_of(layer) and layer not in self._steps:
                self._steps[layer] = FollowedUndo(
                    (layer,), lambda step, _: step.change, self._on_undone
                )
                for name in ("paint", "set_data", "data"):
                    follow(self, layer.events[name], self._follow_soon)

    def _follow_soon(self, event: object = None) -> None:
        self._timer.start()

    def refresh(self) -> None:
        """Link anew what was predicted anew, and let tracks follow what was corrected."""
        viewer = self._session.viewer
        for layer in plain_layers(viewer) if viewer is not None else []:
            about = result_in_memory(layer) if isinstance(layer, Labels) else None
            if about is None or not about.linked or about.in_progress or about.live:
                continue
            if about.stale and not self.task.running:
                self.link(layer, self._config.get(layer, LinkConfig()))
            elif not about.stale:
                self._follow_tracks(viewer, layer, about)

    def _follow_tracks(self, viewer: Viewer, layer: Labels, about: Predicted) -> None:
        tracks = tracks_beside(viewer, layer)
        if tracks is None:
            return
        labels, parents = np.asarray(layer.data), dict(about.memory.parents)
        work = partial(newer_tracks, labels, parents, self._seen_tracks.get(layer))

        def take(found: tuple[int, Linked | None]) -> None:
            self._seen_tracks[layer], linked = found
            if linked is not None:
                write_tracks(tracks, linked)

        if layer.data.size <= _LARGEST_HERE:
            take(work())
            return
        task = task_named(self._session, "Following tracks")

        def end(outcome: Outcome) -> None:
            task.ended.disconnect(end)
            if not isinstance(outcome, Failed):
                take(outcome.result)

        if task.start(lambda stop: work()):
            task.ended.connect(end)
        else:
            self._timer.start()  # the newest numbers count

    # --- Correct links ------------------------------------------------------------------------

    def correct(self, layer: Labels, tool: str, frame: int, numbers: list[int]) -> str:
        """Use one of `LINK_TOOLS` on cells of a frame, one or two at once; return what was done.

        Of the tools that take two cells, the first one is kept until the second is clicked.
        LabelsError if the cells are not linked, or what is asked for cannot be.
        """
        about = self.linked(layer)
        if about is None:
            raise LabelsError(NOT_LINKED)
        first = self._first
        self.drop_first()
        _check_there(layer, tool, frame, numbers)
        if tool == "break":
            return self._break(layer, about, frame, numbers[0])
        if len(numbers) > 1:
            return self._relate(layer, tool, (frame, numbers[0]), (frame, numbers[-1]))
        if first is not None and first[0] is layer and _is_there(layer, first[1:]):
            return self._relate(layer, tool, first[1:], (frame, numbers[0]))
        return self._keep_first(layer, frame, numbers[0])

    def linked(self, layer: Labels | None) -> Predicted | None:
        """Return what belongs to a result whose cells are linked, and written."""
        about = None if layer is None else result_in_memory(layer)
        return about if about is not None and about.linked and not about.stale else None

    def _keep_first(self, layer: Labels, frame: int, number: int) -> str:
        self._first = layer, frame, number
        at = np.nonzero(np.asarray(layer.data[frame]) == number)
        self._marked = Highlight(self._session.viewer, "#ffffff", self)
        self._marked.show(layer, (np.full(at[0].size, frame), *at))
        return f"Cell {number} in frame {frame}: now click the other one, in any frame."

    def drop_first(self) -> None:
        """Forget the first of two cells."""
        self._first = None
        if self._marked is not None:
            self._marked.hide()
            self._marked.deleteLater()
            self._marked = None

    def _break(self, layer: Labels, about: Predicted, frame: int, number: int) -> str:
        labels = np.asarray(layer.data)
        kept = (each for each in (labels, about.labels, about.taken) if each is not None)
        unused = 1 + max(int(each.max(initial=0)) for each in kept)
        swap = broken(labels, number, frame, unused)
        begins = not (labels[:frame] == number).any()
        if begins and number not in about.memory.parents:
            raise LabelsError(f"Cell {number} begins in frame {frame}: there is nothing to break.")
        told = "has no mother any more, and is" if begins else f"is from frame {frame} on"
        return self._make(layer, about, swap, f"Cell {number} {told} cell {unused}.")

    def _relate(
        self, layer: Labels, tool: str, first: tuple[int, int], second: tuple[int, int]
    ) -> str:
        about, labels = result_of(layer), np.asarray(layer.data)
        (frame, number), (_, other) = first, second
        if tool == "join":
            swap = joined(labels, number, other)
            told = f"Cells {number} and {other} are one track: cell {swap.numbers[1]}."
        elif tool == "reassign":
            swap = given(labels, frame, number, other)
            both = " They exchanged numbers there." if _is_there(layer, (frame, other)) else ""
            told = f"Cell {number} is cell {other} in frame {frame}.{both}"
        else:
            frame = max(frame, second[0])
            swap = given(labels, frame, number, other, onwards=True)
            told = f"Cells {number} and {other} exchanged numbers from frame {frame} on."
        return self._make(layer, about, swap, told)

    def _make(self, layer: Labels, about: Predicted, swap: Swap, told: str) -> str:
        """Swap numbers as one step of undo."""
        labels, before = np.asarray(layer.data), about.memory
        after = before.after(swap, labels)
        frames = np.array(swap.frames, np.intp)
        of_both = np.isin(labels[frames], swap.numbers)
        at = np.nonzero(of_both)
        values = labels[frames][at]
        swapped = np.where(values == swap.numbers[0], *reversed(swap.numbers)).astype(values.dtype)
        change = Change((frames[at[0]], *at[1:]), values, swapped)
        if change.empty:  # napari would take it for undone whatever happens
            raise LabelsError(f"Neither cell is in frame {swap.frames[0]}, or later.")
        step = _Step(change, swap, before, after)
        with self._steps[layer].paused():
            write_pixels(layer, change.at, change.after)
        self._steps[layer].remember(step)
        step.write(layer, 1)
        self.changed.emit()
        return f"{told} Ctrl+Z takes it back."

    def _on_undone(self, step: _Step, by: int, layer: Labels) -> None:
        step.write(layer, by)
        self.told.emit("Links are as before." if by < 0 else "Links are corrected again.")
        self.changed.emit()


def _is_there(layer: Labels, at: tuple[int, int]) -> bool:
    return bool((np.asarray(layer.data[at[0]]) == at[1]).any())


def _check_there(layer: Labels, tool: str, frame: int, numbers: list[int]) -> None:
    """Refuse, by LabelsError, numbers that no cell has: they may be written by hand."""
    if tool == "reassign" and not _is_there(layer, (frame, numbers[0])):
        raise LabelsError(f"There is no cell {numbers[0]} in frame {frame}.")
    for number in numbers:
        if not (np.asarray(layer.data) == number).any():
            raise LabelsError(f"There is no cell {number}.")


def linked_cells_of(viewer: Viewer) -> LinkedCells:
    """Return what links the cells of a viewer; the same for all widgets."""
    session = session_of(viewer)
    found: LinkedCells | None = session.findChild(LinkedCells)
    return LinkedCells(viewer, session) if found is None else found


@dataclass(frozen=True, eq=False)
class _Step:
    """A correction of links, which what is known of a result goes with."""

    change: Change
    swap: Swap
    before: LinkMemory
    after: LinkMemory

    def write(self, layer: Labels, by: int) -> None:
        """Let what is known of the result follow its pixels, back or forth."""
        about = result_of(layer)
        for each in (about.labels, about.taken):
            if each is not None:
                self.swap.apply(each)
        about.memory = self.after if by > 0 else self.before
