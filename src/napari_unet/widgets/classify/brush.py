"""The mouse gives objects a class: those that are clicked, and those that a drag goes over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
from qtpy.compat import isalive
from qtpy.QtCore import QObject, QTimer, Signal

from napari_unet.widgets.common.layers import follow, unwrapped

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator

    from napari.layers import Labels
    from napari.viewer import Viewer
    from numpy.typing import NDArray

    from napari_unet.widgets.classify.classifying import Classifying

    Place = tuple[int, ...]

_LEFT = 1  # napari's number of the mouse button
ERASE = 0


class ExampleBrush(QObject):
    """Holds a class, or what takes classes away, while the mouse gives it to objects."""

    taken: Final = Signal()

    def __init__(self, viewer: Viewer, classifying: Classifying, parent: QObject) -> None:
        super().__init__(parent)
        self._viewer, self._classifying = viewer, classifying
        self._layer: Labels | None = None
        self.value: int | None = None
        """The class in hand; `ERASE` takes classes away; None: nothing is in hand."""
        follow(self, viewer.layers.selection.events.active, self._choice_changed)

    def take(self, value: int) -> None:
        """Take a class in hand, or `ERASE`."""
        self.put_down()
        layer = self._classifying.layer
        if layer is None or self._classifying.refusal:
            self._classifying.tell(self._classifying.refusal)
            return
        self._viewer.layers.selection.active = layer
        layer.mode = "pan_zoom"
        layer.mouse_pan = False
        layer.mouse_drag_callbacks.append(self._drag)
        layer.events.mode.connect(self._mode_changed)
        self.value, self._layer = value, layer
        self.taken.emit()

    def put_down(self) -> None:
        """Put it down: the mouse is napari's again."""
        layer, self._layer, self.value = self._layer, None, None
        if layer is not None:
            layer.events.mode.disconnect(self._mode_changed)
            layer.mouse_drag_callbacks.remove(self._drag)
            layer.mouse_pan = layer.mode in ("pan_zoom", "transform")
        self.taken.emit()

    def _mode_changed(self, event: object = None) -> None:
        """Go down where a tool of napari was taken."""
        self.put_down()

    def _choice_changed(self, event: object = None) -> None:
        QTimer.singleShot(0, self._follow_choice)  # our own layers are chosen for a moment

    def _follow_choice(self) -> None:
        """Go down where another layer was chosen: the mouse is that one's now."""
        active = unwrapped(self._viewer.layers.selection.active)
        if isalive(self) and self._layer is not None and active is not self._layer:
            self.put_down()

    def _drag(self, layer: Labels, event: Any) -> Generator[None, None, None]:
        if event.button != _LEFT or self.value is None:
            return
        self._classifying.begin_step()
        before, met = None, False
        while event.type in ("mouse_press", "mouse_move"):
            before, met = self._touch(layer, event, before, met)
            yield
        # Where the window is busy, a quick drag has no move but this.
        _, met = self._touch(layer, event, before, met)
        if not met:
            self._classifying.tell("There is no object under the mouse.")

    def _touch(
        self, layer: Labels, event: Any, before: NDArray[np.float64] | None, met: bool
    ) -> tuple[NDArray[np.float64] | None, bool]:
        """Give the class to what is met between two positions of the mouse."""
        value = self.value
        if value is None or self._layer is None:
            return None, met
        if len(event.dims_displayed) > 2:
            seen = (at for at in _along_ray(layer, event) if self._classifying.object_at(at))
            first = next(seen, None)  # what lies behind it is not seen
            return None, self._give_each(() if first is None else (first,), value) or met
        here = np.array(layer.world_to_data(event.position), np.float64)
        places = _between(here if before is None else before, here)
        return here, self._give_each(places, value) or met

    def _give_each(self, places: Iterable[Place], value: int) -> bool:
        """Give the objects at some pixels a class; return whether there are any."""
        there = [place for place in places if self._classifying.object_at(place) is not None]
        for place in there:
            self._classifying.give(place, value)
        return bool(there)


def _between(start: NDArray[np.float64], end: NDArray[np.float64]) -> Iterator[Place]:
    """Yield the pixels on a line between two positions."""
    steps = max(1, int(np.ceil(np.abs(end - start).max())))
    for point in np.unique(np.round(np.linspace(start, end, steps + 1)).astype(int), axis=0):
        yield tuple(point.tolist())


def _along_ray(layer: Labels, event: Any) -> Iterator[Place]:
    """Yield the voxels under the mouse, the nearest first, where volumes are shown in 3D."""
    start, end = layer.get_ray_intersections(
        event.position, event.view_direction, list(event.dims_displayed)
    )
    if start is None or end is None:
        return
    steps = max(1, int(np.ceil(np.abs(np.asarray(end) - start).max() * 2)))
    for point in np.round(np.linspace(start, end, steps + 1)).astype(int):
        yield tuple(np.clip(point, 0, np.array(layer.data.shape) - 1).tolist())
