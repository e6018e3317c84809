"""A correction and what it teaches are one step of undo, although each layer has a history."""

from __future__ import annotations

import weakref
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np

from napari_unet.widgets.common.annotation import annotation_in
from napari_unet.widgets.common.layers import labels_of, write_pixels
from napari_unet.widgets.common.result_layer import predicted_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from napari.layers import Labels
    from numpy.typing import NDArray

    Followed = Callable[[Labels, int], object]
    Indices = tuple[NDArray[np.intp], ...]

StepT = TypeVar("StepT")


@dataclass(frozen=True, eq=False)
class Change:
    """Pixels that became others."""

    at: Indices
    before: NDArray[Any]
    after: NDArray[Any]

    @classmethod
    def between(cls, before: NDArray[Any], after: NDArray[Any], frame: tuple[int, ...]) -> Change:
        """Return where two arrays of one frame differ."""
        inside = np.nonzero(before != after)
        leading = tuple(np.full(inside[0].size, at) for at in frame)
        return cls((*leading, *inside), before[inside], after[inside])

    @classmethod
    def joined(cls, changes: Sequence[Change]) -> Change:
        """Return changes of one array, at least one, as one."""
        at = tuple(np.concatenate(each) for each in zip(*(c.at for c in changes), strict=True))
        before, after = ([getattr(c, name) for c in changes] for name in ("before", "after"))
        return cls(at, np.concatenate(before), np.concatenate(after))

    @property
    def empty(self) -> bool:
        """Whether nothing became another."""
        return self.before.size == 0

    def reversed(self) -> Change:
        """Return the way back."""
        return Change(self.at, self.after, self.before)

    def is_in(self, array: Any) -> bool:
        """Return whether an array holds the pixels as they became."""
        return bool(np.array_equal(array[self.at], self.after))

    def write(self, array: Any) -> None:
        """Write the pixels as they became."""
        array[self.at] = self.after

    def write_where_it_holds(self, layer: Labels) -> None:
        """Change a layer as a step of its own, but for what is others by now."""
        now = np.asarray(labels_of(layer))[self.at]
        own = now == self.before
        write_pixels(layer, tuple(each[own] for each in self.at), self.after[own])


@dataclass(frozen=True, eq=False)
class Taught:
    """A correction, what became of the paint, and of what is remembered of both."""

    result: Change
    paint: Change
    taken: Change
    """Of what counts as taught in the result."""
    corrected: Change
    """Of which pixels of the paint count more."""

    def reversed(self) -> Taught:
        """Return the way back."""
        parts = (self.result, self.paint, self.taken, self.corrected)
        return Taught(*(part.reversed() for part in parts))


class FollowedUndo(Generic[StepT]):
    """Tells when a step of layers is undone, or redone, that something else goes with.

    `change_of` says what a step has changed in one of the layers. `followed` is called with the
    step, -1 after an undo or 1 after a redo, and the layer. napari tells of an undo no more than
    that pixels have changed: a step is undone when all its pixels in one layer are what they were
    before.
    """

    def __init__(
        self,
        layers: Iterable[Labels],
        change_of: Callable[[StepT, Labels], Change],
        followed: Callable[[StepT, int, Labels], object],
    ) -> None:
        self._change_of, self._followed = change_of, followed
        self._done: list[StepT] = []
        self._undone: list[StepT] = []
        self._busy = False
        for layer in layers:
            layer.events.set_data.connect(self._follow)
            layer.events.editable.connect(self._forget)  # with which napari's history goes

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Follow nothing: what is changed meanwhile is no undo, whatever it looks like."""
        before, self._busy = self._busy, True
        try:
            yield
        finally:
            self._busy = before

    def remember(self, step: StepT) -> None:
        """Take up one more step, the last of all layers; what was undone cannot be redone more."""
        self._done.append(step)
        self._undone.clear()

    def _forget(self, event: object = None) -> None:
        self._done.clear()
        self._undone.clear()

    def _follow(self, event: Any) -> None:
        layer = event.source
        if self._busy:
            return
        if self._done and self._change_of(self._done[-1], layer).reversed().is_in(layer.data):
            self._undone.append(self._done.pop())
            step, by = self._undone[-1], -1
        elif self._undone and self._change_of(self._undone[-1], layer).is_in(layer.data):
            self._done.append(self._undone.pop())
            step, by = self._done[-1], 1
        else:
            return
        with self.paused():
            self._followed(step, by, layer)


class LinkedUndo(FollowedUndo[Taught]):
    """Undoes in the paint what is undone in the result, and the other way round; redo likewise."""

    def __init__(self, result: Labels, paint: Labels, followed: Followed) -> None:
        super().__init__((result, paint), self._part_in, self._make_in_both)
        self._result, self._paint = weakref.ref(result), weakref.ref(paint)
        self._tell = followed  # called with the result and -1 after an undo, 1 after a redo

    def links(self, result: Labels, paint: Labels) -> bool:
        """Return whether it is about these two layers."""
        return self._result() is result and self._paint() is paint

    def _part_in(self, step: Taught, layer: Labels) -> Change:
        return step.result if layer is self._result() else step.paint

    def _make_in_both(self, step: Taught, by: int, layer: Labels) -> None:
        result, paint = self._result(), self._paint()
        if result is None or paint is None:
            return
        step = step if by > 0 else step.reversed()
        other = paint if layer is result else result
        _make(other, self._part_in(step, other), by)
        _remember(result, paint, step)
        self._tell(result, by)


def _make(layer: Labels, change: Change, by: int) -> None:
    """Undo or redo in a layer, if that step is this change; else make it as another step."""
    there, back = (layer.undo, layer.redo) if by < 0 else (layer.redo, layer.undo)
    before = np.array(labels_of(layer))
    there()
    if change.is_in(layer.data):
        return
    if not np.array_equal(before, layer.data):
        back()
    change.write_where_it_holds(layer)


def _remember(result: Labels, paint: Labels, step: Taught) -> None:
    about, state = predicted_of(result), annotation_in(paint)
    if about is not None and about.taken is not None:
        step.taken.write(about.taken)
    if state is not None and state.corrected is not None:
        step.corrected.write(state.corrected)
