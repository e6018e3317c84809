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
    from collections.abc import Callable, Iterator, Sequence

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
    """Tells when a step of a layer is undone, or redone, whose pixels something else goes with.

    `followed` is called with what was remembered with the step, and -1 after an undo, 1 after a
    redo.
    """

    def __init__(self, layer: Labels, followed: Callable[[StepT, int], object]) -> None:
        self._followed, self._busy = followed, False
        self._done: list[tuple[Change, StepT]] = []
        self._undone: list[tuple[Change, StepT]] = []
        layer.events.set_data.connect(self._follow)
        layer.events.editable.connect(self._forget)  # with which napari's history goes

    @contextmanager
    def making(self, change: Change, step: StepT) -> Iterator[None]:
        """Change the layer meanwhile, by one more step; what was undone cannot be redone more."""
        self._busy = True
        try:
            yield
        finally:
            self._busy = False
        self._done.append((change, step))
        self._undone.clear()

    def _forget(self, event: object = None) -> None:
        self._done.clear()
        self._undone.clear()

    def _follow(self, event: Any) -> None:
        labels = event.source.data
        if self._busy:
            return
        if self._done and self._done[-1][0].reversed().is_in(labels):
            self._undone.append(self._done.pop())
            self._followed(self._undone[-1][1], -1)
        elif self._undone and self._undone[-1][0].is_in(labels):
            self._done.append(self._undone.pop())
            self._followed(self._done[-1][1], 1)


class LinkedUndo:
    """Undoes in the paint what is undone in the result, and the other way round; redo likewise.

    napari tells of an undo no more than that pixels have changed: a step is undone when all its
    pixels in one layer are what they were before.
    """

    def __init__(self, result: Labels, paint: Labels, followed: Followed) -> None:
        self._result, self._paint = weakref.ref(result), weakref.ref(paint)
        self._followed = followed  # called with the result and -1 after an undo, 1 after a redo
        self._done: list[Taught] = []
        self._undone: list[Taught] = []
        self._busy = False
        for layer in (result, paint):
            layer.events.set_data.connect(self._follow)
            layer.events.editable.connect(self._forget)  # with which napari's history goes

    def links(self, result: Labels, paint: Labels) -> bool:
        """Return whether it is about these two layers."""
        return self._result() is result and self._paint() is paint

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Follow nothing: what is changed meanwhile is no undo, whatever it looks like."""
        before, self._busy = self._busy, True
        try:
            yield
        finally:
            self._busy = before

    def remember(self, step: Taught) -> None:
        """Link one more step, the last of both layers; what was undone cannot be redone more."""
        if not step.result.empty and not step.paint.empty:
            self._done.append(step)
            self._undone.clear()

    def _forget(self, event: object = None) -> None:
        self._done.clear()
        self._undone.clear()

    def _follow(self, event: Any) -> None:
        result, paint = self._result(), self._paint()
        if self._busy or result is None or paint is None:
            return
        in_result = event.source is result
        if self._done and _shows(event.source, self._done[-1].reversed(), in_result):
            self._undone.append(self._done.pop())
            step, by = self._undone[-1].reversed(), -1
        elif self._undone and _shows(event.source, self._undone[-1], in_result):
            self._done.append(self._undone.pop())
            step, by = self._done[-1], 1
        else:
            return
        with self.paused():
            if in_result:
                _make(paint, step.paint, by)
            else:
                _make(result, step.result, by)
        _remember(result, paint, step)
        self._followed(result, by)


def _shows(layer: Labels, step: Taught, in_result: bool) -> bool:
    return (step.result if in_result else step.paint).is_in(layer.data)


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
