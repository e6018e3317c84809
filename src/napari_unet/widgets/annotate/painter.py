"""What the mouse paints: objects and classes, background, nothing, or annotated regions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
from qtpy.QtCore import QObject, Signal

from napari_unet.data.labels import values_in
from napari_unet.objects.corrections import fill_between
from napari_unet.tasks import task_of
from napari_unet.widgets.annotate.coverage import current_frame, shown_plane
from napari_unet.widgets.common.annotation import (
    BACKGROUND_VALUE,
    FIRST_VALUE,
    UNLABELLED_VALUE,
    annotation_of,
    colour_layer,
    next_object,
)
from napari_unet.widgets.common.controls import single_shot
from napari_unet.widgets.common.layers import follow, labels_of, paint_events, write_pixels
from napari_unet.widgets.common.placement import named_axes_of
from napari_unet.widgets.common.regions import new_regions_layer, regions_layer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from napari.layers import Labels, Shapes
    from napari.viewer import Viewer
    from qtpy.QtWidgets import QComboBox, QWidget

    from napari_unet.tasks import Task
    from napari_unet.widgets.common.layers import LayerComboBox

# The words of its button, its key, and what it is for.
FILL_TEXT = (
    "Fill between",
    "F",
    "Stacks: paint a cell in two slices, and the slices between them are filled. A cell that was "
    "just painted goes on with the one that it lies over in the nearest painted slice. What is "
    "painted stays.",
)


class Painter(QObject):
    """Takes brush, eraser and rectangle tool of the chosen layer, and keeps its classes.

    The data of `kind_box`, what a painted number stands for, are the kinds of tasks.
    """

    changed: Final = Signal()  # the classes of the layer: their names, colours, or which there are
    # Why nothing is painted: once, in the dock, however often it is tried.
    told: Final = Signal(str)
    # The number that the brush paints, 0 erases; it may exceed Qt's 32-bit int.
    brush_taken: Final = Signal(object)

    def __init__(
        self,
        viewer: Viewer,
        annotation_box: LayerComboBox[Labels],
        kind_box: QComboBox,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._annotation_box, self._kind_box = annotation_box, kind_box

    @property
    def annotation(self) -> Labels | None:
        """The labels layer that is painted in."""
        return self._annotation_box.layer

    @property
    def task(self) -> Task:
        """What a painted number stands for."""
        return task_of(self._kind_box.currentData())

    def layer_to_paint(self) -> Labels | None:
        """Make the layer that is painted in the active one; tell where there is none."""
        layer = self.annotation
        if layer is None:
            self.told.emit("There is no layer to paint in yet: click New annotation.")
            return None
        self._viewer.layers.selection.active = layer
        return layer

    def take_brush(self, value: int) -> None:
        """Paint with a number; tell where the layer's data type does not hold it."""
        layer = self.layer_to_paint()
        if layer is None:
            return
        dtype = labels_of(layer).dtype
        if value > np.iinfo(dtype).max:
            self.told.emit(
                f"A layer of {dtype} holds no number {value}; convert its data type "
                "(right click on the layer)."
            )
            return
        if self.task.named and value > BACKGROUND_VALUE:  # one that is not in the table yet, too
            colour_layer(layer, {*self.class_values(layer), value})
        layer.preserve_labels = False
        layer.selected_label = value
        layer.mode = "paint"
        if value == BACKGROUND_VALUE and not self.task.named:
            _protect_cells(layer)
        self.brush_taken.emit(value)

    def pick(self, value: int) -> None:
        """Paint with a class; of objects, everything above the background is the newest one."""
        if value > BACKGROUND_VALUE and not self.task.named:
            self.paint_latest()
        else:
            self.take_brush(value)

    def paint_background(self) -> None:
        """Paint with the background's number."""
        self.take_brush(BACKGROUND_VALUE)

    def paint_next(self, values: Sequence[int]) -> None:
        """Paint the next object, or the next class.

        `values` are the classes to go through, ascending; after the last one comes the first again.
        """
        layer = self.annotation
        if layer is None or not self.task.named:
            self.take_brush(FIRST_VALUE if layer is None else next_object(labels_of(layer)))
            return
        classes = [value for value in values if value > BACKGROUND_VALUE]
        later = [value for value in classes if value > layer.selected_label]
        self.take_brush((later or classes or [FIRST_VALUE])[0])

    def paint_latest(self) -> None:
        """Go on with the newest object or class."""
        layer = self.annotation
        largest = 0 if layer is None else int(np.max(labels_of(layer), initial=0))
        self.take_brush(max(FIRST_VALUE, largest))

    @property
    def has_depth(self) -> bool:
        """Whether what is painted are objects of a volume, and not of planes."""
        return self.annotation is not None and not self.task.named and _has_depth(self.annotation)

    def fill_between(self) -> None:
        """Fill the planes between those that show the object of the brush, as one step of undo."""
        layer = self.layer_to_paint()
        if layer is None or not self.has_depth:
            return
        shown = {axis - self._viewer.dims.ndim for axis in self._viewer.dims.displayed}
        hidden = sorted({-3, -2, -1} - shown)
        if len(shown) != 2 or len(hidden) != 1:
            self.told.emit("Show planes of the volume to fill between them: switch 3D off (Ctrl+Y)")
            return
        index = current_frame(self._viewer, layer)
        number = int(layer.selected_label)
        volume = np.asarray(labels_of(layer)[index])
        edit = fill_between(volume, number, hidden[0] % 3, tuple(map(float, layer.scale[-3:])))
        if number <= BACKGROUND_VALUE or edit.empty:
            self.told.emit(
                "Nothing to fill: paint a cell in two slices with some between them, then press F."
            )
            return
        new = volume[edit.indices] == UNLABELLED_VALUE  # the others were joined
        slices = np.unique(edit.indices[hidden[0] % 3][new]).size
        leading = tuple(np.full(edit.values.size, at) for at in index)
        write_pixels(layer, (*leading, *edit.indices), edit.values)
        self.take_brush(int(edit.values[0]))
        self.told.emit(f"Filled in {slices} slice{'' if slices == 1 else 's'}; Ctrl+Z undoes it.")

    def erase(self) -> None:
        """Take the eraser."""
        layer = self.layer_to_paint()
        if layer is not None:
            layer.preserve_labels = False
            layer.mode = "erase"
            self.brush_taken.emit(UNLABELLED_VALUE)

    def draw_region(self) -> None:
        """Take the rectangle tool of the layer that holds the fully annotated regions."""
        layer = self.layer_to_paint()
        if layer is None:
            return
        shapes = regions_layer(self._viewer, layer) or new_regions_layer(self._viewer, layer)
        self._viewer.layers.selection.active = shapes
        shapes.mode = "add_rectangle"

    def add_class(self) -> None:
        """Add a class with the next number, and paint with it."""
        layer = self.layer_to_paint()
        if layer is None:
            return
        if self.task.in_layers:
            self.told.emit("Each class has a layer of its own: click New annotation.")
            return
        value = max([BACKGROUND_VALUE, *self.class_values(layer)]) + 1
        annotation = annotation_of(layer)
        annotation.names[value] = annotation.name_of(value)
        self.show_classes(layer)
        self.take_brush(value)

    def remove_class(self, value: int | None) -> None:
        """Remove a class and its paint; tell where `value` is None or the background."""
        layer = self.layer_to_paint()
        if layer is None or value is None or value <= BACKGROUND_VALUE:
            self.told.emit("Choose a class in the table first; the background stays.")
            return
        painted = np.nonzero(labels_of(layer) == value)
        if painted[0].size:
            write_pixels(layer, painted, UNLABELLED_VALUE)
        annotation = annotation_of(layer)
        annotation.names.pop(value, None)
        annotation.colours.pop(value, None)
        self.show_classes(layer)

    def rename(self, value: int, name: str) -> None:
        """Give a class another name; with an empty one it keeps its own."""
        if self.annotation is not None and name:
            state = annotation_of(self.annotation)
            state.names[value] = name
            if state.task.in_layers and value == FIRST_VALUE:  # the layer is called as its class
                of = "" if state.image is None else f"{state.image.name} "
                self.annotation.name = f"{of}{name} annotation"
        self.changed.emit()

    def recolour(self, value: int, colour: str) -> None:
        """Give a class another colour, ``#rrggbb``."""
        if self.annotation is not None:
            annotation_of(self.annotation).colours[value] = colour
            self.show_classes(self.annotation)

    def show_classes(self, layer: Labels) -> None:
        """Show a layer in the colours of its classes, and emit that they may have changed."""
        colour_layer(layer, self.class_values(layer))
        self.changed.emit()

    def class_values(self, layer: Labels) -> list[int]:
        """Return the numbers of a layer's classes, ascending: named, or painted in this plane."""
        known = set(annotation_of(layer).names) | {BACKGROUND_VALUE, FIRST_VALUE}
        known |= values_in(shown_plane(self._viewer, layer))
        return sorted(known - {UNLABELLED_VALUE})


def _has_depth(layer: Labels) -> bool:
    axes = named_axes_of(layer)
    return layer.ndim > 2 and (axes is None or axes.endswith("ZYX"))


def _protect_cells(layer: Labels) -> None:
    """Let the brush paint over nothing that is painted, as long as it paints background."""

    def release(event: object = None) -> None:
        layer.preserve_labels = False
        layer.events.selected_label.disconnect(release)
        layer.events.mode.disconnect(release)

    layer.preserve_labels = True
    layer.events.selected_label.connect(release)
    layer.events.mode.connect(release)


# --- Notice when the paint of a layer changes, without counting at every move of the mouse -------

_DELAY_MS = 250


class PaintWatcher(QObject):
    """Follows the paint of one `layer`, and emits `painted` shortly after the last change."""

    painted: Final = Signal()

    def __init__(self, owner: QWidget) -> None:
        super().__init__(owner)
        self._owner = owner
        self.layer: Labels | None = None
        self._regions: Shapes | None = None
        self._leave_layer: list[Callable[[], object]] = []
        self._leave_regions: list[Callable[[], object]] = []
        self._timer = single_shot(self, _DELAY_MS, self.painted)

    def watch(self, layer: Labels | None) -> None:
        """Follow another layer, or none."""
        self.layer = layer
        self._follow(self._leave_layer, paint_events(layer) if layer is not None else ())

    def watch_regions(self, layer: Shapes | None) -> None:
        """Follow the fully annotated regions too."""
        if layer is not self._regions:
            self._regions = layer
            self._follow(self._leave_regions, (layer.events.data,) if layer is not None else ())
            self.tell_soon()

    def _follow(self, leave: list[Callable[[], object]], emitters: Iterable[Any]) -> None:
        while leave:
            leave.pop()()
        leave += [follow(self._owner, emitter, self.tell_soon) for emitter in emitters]

    def tell_soon(self, event: object = None) -> None:
        """Emit `painted` a little later; asked again meanwhile, that much after that."""
        self._timer.start()
