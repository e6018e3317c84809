"""napari's layers: following their events, choosing among them, reading their arrays."""

from __future__ import annotations

import copy
import weakref
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Generic, Self, TypeVar

import numpy as np
from napari.layers import Image, Labels, Layer
from qtpy.compat import isalive
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QSizePolicy

from napari_unet.data.axes import WITHOUT_TRANSPARENCY
from napari_unet.objects.measurements import channel_axis_beside
from napari_unet.widgets.common.placement import placement_along

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari.viewer import Viewer
    from numpy.typing import NDArray
    from qtpy.QtCore import QObject
    from qtpy.QtWidgets import QWidget

    from napari_unet.data.axes import ArrayLike

LayerT = TypeVar("LayerT", bound=Layer)

# Marks layers that this plugin has made: predictions, uncertainty, weights.
METADATA_KEY = "napari-unet-paint"


def follow(owner: QObject, emitter: Any, slot: Callable[[object], object]) -> Callable[[], object]:
    """Connect a slot of a widget to an event of napari for as long as the widget exists.

    napari's events know nothing of Qt, and would go on calling a widget that Qt has deleted. Its
    signal `destroyed` is of no use: Python that runs while Qt takes a widget apart may free what is
    at work. What is returned disconnects the slot.
    """
    watched, method = weakref.ref(owner), weakref.WeakMethod(slot)

    def call_if_alive(event: object = None) -> None:
        alive, call = watched(), method()
        if alive is not None and call is not None and isalive(alive):
            call(event)

    emitter.connect(call_if_alive)
    return partial(emitter.disconnect, call_if_alive)


class FollowedLayer:
    """Calls a slot, without arguments, on some events of a layer, until the widget is deleted."""

    def __init__(self, widget: QWidget, names: Sequence[str], slot: Callable[[], object]) -> None:
        self._names, self._slot = names, slot
        self._widget = weakref.ref(widget)
        self._layer: Layer | None = None

    def follow(self, layer: Layer | None) -> None:
        """Follow this layer, and the previous one no more."""
        if layer is self._layer:
            return
        self.leave()
        self._layer = layer
        if layer is not None:
            for name in self._names:
                layer.events[name].connect(self._call)

    def leave(self) -> None:
        """Follow no layer."""
        layer, self._layer = self._layer, None
        if layer is not None:
            for name in self._names:
                layer.events[name].disconnect(self._call)

    def _call(self, event: object = None) -> None:
        widget = self._widget()
        if widget is None or not isalive(widget):
            self.leave()
        else:
            self._slot()


class OfImage:
    """What is known of one layer of ours, in its metadata; the image it is of is not kept alive."""

    _image: weakref.ref[Image] | None = None
    image_name = ""
    """What the image was called when it was chosen."""

    @property
    def image(self) -> Image | None:
        """The image layer, while it exists."""
        return self._image() if self._image else None

    @image.setter
    def image(self, image: Image) -> None:
        self._image, self.image_name = weakref.ref(image), image.name

    @property
    def had_image(self) -> bool:
        """Whether there ever was one; it may be closed by now."""
        return self._image is not None

    def copied(self, layer: Any) -> Self:
        """Return the same for a layer that was just copied: what changes there stays there."""
        made = copy.copy(self)
        for name, value in vars(self).items():
            if isinstance(value, (dict, list, np.ndarray)):
                setattr(made, name, value.copy())
        return made


def part_from_copies(layers: Sequence[Layer], added: Layer) -> None:
    """Give a layer that was added a state of its own: napari's *Duplicate* lets two share one."""
    shared = {id(each) for layer in layers if layer is not added for each in _states_of(layer)}
    for key, value in list(added.metadata.items()):
        if isinstance(value, OfImage) and id(value) in shared:
            added.metadata[key] = value.copied(added)


def _states_of(layer: Layer) -> list[OfImage]:
    return [each for each in layer.metadata.values() if isinstance(each, OfImage)]


def layers_of_others(viewer: Viewer, kind: type[LayerT]) -> list[LayerT]:
    """List the layers of a kind that this plugin has not made."""
    found = [layer for layer in plain_layers(viewer) if isinstance(layer, kind)]
    return [layer for layer in found if METADATA_KEY not in layer.metadata]


class LayerComboBox(QComboBox, Generic[LayerT]):
    """Chooses one of the viewer's layers of a kind, of those that are listed."""

    layer_changed: Final = Signal()

    def __init__(
        self,
        viewer: Viewer,
        kind: type[LayerT],
        listed: Callable[[Viewer, type[LayerT]], list[LayerT]] = layers_of_others,
        none: str = "",
    ) -> None:
        """Where no layer may be chosen, too, the words of `none` stand first."""
        super().__init__()
        self._viewer, self._kind, self._listed = viewer, kind, listed
        self._first = [none] if none else []
        self._layers: list[LayerT] = []
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        events = viewer.layers.events
        for emitter in (events.inserted, events.removed, events.reordered, events.renamed):
            follow(self, emitter, self.reset_choices)
        self.currentIndexChanged.connect(self.layer_changed)
        self.reset_choices()

    @property
    def layer(self) -> LayerT | None:
        """The chosen layer."""
        index = self.currentIndex() - len(self._first)
        return self._layers[index] if 0 <= index < len(self._layers) else None

    @layer.setter
    def layer(self, layer: LayerT | None) -> None:
        if layer in self._layers:
            self.setCurrentIndex(self._layers.index(layer) + len(self._first))
        elif layer is None and self._first:
            self.setCurrentIndex(0)

    def reset_choices(self, event: object = None) -> None:
        """Update the list, and keep the choice if its layer is still there."""
        chosen, layers = self.layer, self._listed(self._viewer, self._kind)
        self.blockSignals(True)
        self.clear()
        self._layers = layers
        self.addItems([*self._first, *(layer.name for layer in layers)])
        self.blockSignals(False)
        if chosen in layers:
            self.layer = chosen
        elif layers and not self._first:
            self.layer = layers[-1]
        if self.layer is not chosen:
            self.layer_changed.emit()


def unwrapped(thing: Any) -> Any:
    """Return the layer or viewer itself where napari handed out a proxy of it."""
    return getattr(thing, "__wrapped__", thing)


def plain_layers(viewer: Viewer) -> list[Layer]:
    """List the layers of a viewer, without the proxies that it hands out to plugins."""
    return [unwrapped(layer) for layer in viewer.layers]


def pixels_of(image: Image) -> ArrayLike:
    """Return the pixels of an image layer, as it holds them: full resolution, no transparency.

    Lazy arrays stay lazy; colour is a last axis of 3.
    """
    pixels: ArrayLike = image.data[0] if image.multiscale else image.data
    if image.rgb and pixels.shape[-1] == 4:
        opaque: ArrayLike = pixels[..., :3]
        return opaque
    return pixels


def transparency_notices(image: Image) -> tuple[str, ...]:
    """Return in words what `pixels_of` leaves out."""
    pixels = image.data[0] if image.multiscale else image.data
    return (WITHOUT_TRANSPARENCY,) if image.rgb and pixels.shape[-1] == 4 else ()


def labels_of(layer: Labels) -> Any:
    """Return the numbers of a labels layer, in full resolution."""
    return layer.data[0] if layer.multiscale else layer.data


def as_labels(viewer: Viewer, image: Image) -> Labels:
    """Put a labels layer in the place of an image that holds labels."""
    pixels = np.asarray(pixels_of(image))
    labels = Labels(
        pixels.astype(np.uint8) if pixels.dtype == bool else pixels,
        name=image.name,
        **placement_along(image, range(image.ndim)),
    )
    place = plain_layers(viewer).index(image)
    viewer.layers.remove(image)
    viewer.layers.insert(place, labels)
    return labels


def channel_axis_of(image: Image) -> int | None:
    """Return which of a layer's axes is named as channels, or None.

    Colour layers have none: napari hides their channel axis itself.
    """
    if image.rgb:
        return None
    names = [str(label).lower() for label in image.axis_labels]
    for name in ("c", "channel", "channels"):
        if name in names:
            return names.index(name)
    return None


def channels_beside(image: Image, shape: tuple[int, ...]) -> tuple[Any, int | None]:
    """Return the pixels of an image whose labels have a shape, and which axis is their channels.

    (None, None) where the image has another shape.
    """
    pixels = pixels_of(image)
    if tuple(pixels.shape) == shape:
        return pixels, None
    axis = len(pixels.shape) - 1 if image.rgb else channel_axis_of(image)
    axis = channel_axis_beside(pixels.shape, shape) if axis is None else axis
    if axis is None or tuple(pixels.shape[:axis] + pixels.shape[axis + 1 :]) != shape:
        return None, None
    return pixels, axis


def labels_shape_of(image: Image) -> tuple[int, ...]:
    """Return the shape of labels of an image: without its channel axis, where it is known."""
    shape = tuple(pixels_of(image).shape)
    if image.rgb:
        return shape[:-1]
    channel_axis = channel_axis_of(image)
    return tuple(size for axis, size in enumerate(shape) if axis != channel_axis)


def placement_of(image: Image, drop_axis: int | None) -> dict[str, Any]:
    """Return how to place labels over an image layer; see `placement_along`.

    The labels have all axes of the image but `drop_axis`.
    """
    return placement_along(image, [axis for axis in range(image.ndim) if axis != drop_axis])


def paint_events(layer: Labels) -> tuple[Any, ...]:
    """Return what fires on strokes, on undo and redo, and on new data.

    Moving a slider fires `set_data` too: compare before anything expensive.
    """
    return layer.events.paint, layer.events.set_data, layer.events.data


def write_pixels(layer: Labels, at: tuple[NDArray[np.intp], ...], values: Any) -> None:
    """Change pixels of a layer, as one step of its undo, and show it if it is hidden.

    napari has no picture of a layer that was not shown yet, and fails half way through.
    """
    if not layer.visible:
        layer.visible = True
    layer.data_setitem(at, values)


def placement_from_labels(labels: Labels) -> dict[str, Any]:
    """Return where a labels layer lies, for a layer that covers it."""
    names = ("scale", "translate", "rotate", "shear", "affine", "units", "axis_labels")
    return {name: getattr(labels, name) for name in names}
