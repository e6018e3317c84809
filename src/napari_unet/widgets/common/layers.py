"""Between napari's layers and plain arrays: choosing, matching, snapshots."""

from __future__ import annotations

import weakref
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from napari.layers import Image, Labels, Layer
from qtpy.compat import isalive
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QSizePolicy

from napari_unet.data.axes import WITHOUT_TRANSPARENCY
from napari_unet.widgets.common.placement import placement_along

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari.viewer import Viewer
    from qtpy.QtCore import QObject
    from qtpy.QtWidgets import QWidget

    from napari_unet.data.axes import ArrayLike

LayerT = TypeVar("LayerT", bound=Layer)


def follow(owner: QObject, emitter: Any, slot: Callable[[object], object]) -> Callable[[], object]:
    """Connect a slot of a widget to an event of napari for as long as the widget exists.

    napari's events know nothing of Qt: they would go on calling a widget that Qt has deleted. What
    is left of it is not disconnected in its signal `destroyed`: Python that runs while Qt takes a
    widget apart may free what is at work.

    Parameters
    ----------
    owner : QObject
        The widget, or what else of Qt, whose slot it is.
    emitter : EventEmitter or SignalInstance
        The event.
    slot : bound method
        Called with the event.

    Returns
    -------
    callable
        Ends it.
    """
    watched, method = weakref.ref(owner), weakref.WeakMethod(slot)

    def tell(event: object = None) -> None:
        alive, call = watched(), method()
        if alive is not None and call is not None and isalive(alive):
            call(event)

    emitter.connect(tell)
    return partial(emitter.disconnect, tell)


class OfImage:
    """What belongs to an image layer, and does not keep it alive."""

    _image: weakref.ref[Image] | None = None

    @property
    def image(self) -> Image | None:
        """The image layer, while it exists."""
        return self._image() if self._image else None

    @image.setter
    def image(self, image: Image) -> None:
        self._image = weakref.ref(image)

    @property
    def had_image(self) -> bool:
        """Whether there ever was one; it may be closed by now."""
        return self._image is not None


class LayerComboBox(QComboBox, Generic[LayerT]):
    """Chooses one of the viewer's layers of a kind; follows them as they come, go and change name.

    Parameters
    ----------
    viewer : Viewer
        Whose layers.
    kind : type
        `Image` or `Labels`; what this plugin has made of them (predictions, weights) is left out.
    """

    layer_changed = Signal()

    def __init__(self, viewer: Viewer, kind: type[LayerT]) -> None:
        super().__init__()
        self._viewer, self._kind = viewer, kind
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
        index = self.currentIndex()
        return self._layers[index] if 0 <= index < len(self._layers) else None

    @layer.setter
    def layer(self, layer: LayerT) -> None:
        if layer in self._layers:
            self.setCurrentIndex(self._layers.index(layer))

    def reset_choices(self, event: object = None) -> None:
        """Read the layers anew, and keep the choice if its layer is still there."""
        chosen = self.layer
        found = [unwrapped(layer) for layer in self._viewer.layers]
        layers = [
            layer
            for layer in found
            if isinstance(layer, self._kind) and METADATA_KEY not in layer.metadata
        ]
        self.blockSignals(True)
        self.clear()
        self._layers = layers
        self.addItems([layer.name for layer in layers])
        self.blockSignals(False)
        if chosen in layers:
            self.setCurrentIndex(layers.index(chosen))
        elif layers:
            self.setCurrentIndex(len(layers) - 1)
        if self.layer is not chosen:
            self.layer_changed.emit()


def unwrapped(thing: Any) -> Any:
    """Return the layer or viewer itself where napari handed out a proxy of it."""
    return getattr(thing, "__wrapped__", thing)


def plain_layers(viewer: Viewer) -> list[Layer]:
    """List the layers of a viewer, without the proxies that it hands out to plugins."""
    return [unwrapped(layer) for layer in viewer.layers]


def pixels_of(image: Image) -> ArrayLike:
    """Return the pixels of an image layer: full resolution, without transparency.

    Returns
    -------
    ArrayLike
        As the layer holds it, lazy arrays included; colour as a last axis of 3.
    """
    pixels: ArrayLike = image.data[0] if image.multiscale else image.data
    if image.rgb and pixels.shape[-1] == 4:
        opaque: ArrayLike = pixels[..., :3]
        return opaque
    return pixels


def notices_of(image: Image) -> tuple[str, ...]:
    """Say in words what `pixels_of` leaves out."""
    pixels = image.data[0] if image.multiscale else image.data
    return (WITHOUT_TRANSPARENCY,) if image.rgb and pixels.shape[-1] == 4 else ()


def labels_of(layer: Labels) -> Any:
    """Return the numbers of a labels layer, in full resolution."""
    return layer.data[0] if layer.multiscale else layer.data


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


def labels_shape_of(image: Image) -> tuple[int, ...]:
    """Return the shape of labels of an image: without its channel axis, where it is known."""
    shape = tuple(pixels_of(image).shape)
    if image.rgb:
        return shape[:-1]
    channel_axis = channel_axis_of(image)
    return tuple(size for axis, size in enumerate(shape) if axis != channel_axis)


def placement_of(image: Image, drop_axis: int | None) -> dict[str, Any]:
    """Return where a labels layer must lie to cover an image layer.

    Parameters
    ----------
    image : Image
        The image.
    drop_axis : int or None
        Axis of the image that the labels do not have.

    Returns
    -------
    dict
        Keyword arguments of `viewer.add_labels`: scale, translate, rotate, shear, affine, units,
        axis labels; see `placement_along`.
    """
    return placement_along(image, [axis for axis in range(image.ndim) if axis != drop_axis])


def paint_events(layer: Labels) -> tuple[Any, ...]:
    """Return what fires on strokes, on undo and redo, and on new data.

    Moving a slider fires `set_data` too: whoever listens compares before doing anything dear.
    """
    return layer.events.paint, layer.events.set_data, layer.events.data


def placement_from_labels(labels: Labels) -> dict[str, Any]:
    """Return where a labels layer lies, for a layer that covers it."""
    return {
        "scale": labels.scale,
        "translate": labels.translate,
        "rotate": labels.rotate,
        "shear": labels.shear,
        "affine": labels.affine,
        "units": labels.units,
        "axis_labels": labels.axis_labels,
    }


# --- Keys of what this plugin keeps in the metadata of layers ------------------------------------

# Marks what the plugin has made: predictions, uncertainty, weights. Not offered to paint in.
METADATA_KEY = "napari-unet-paint"


# --- Follow the events of one layer at a time, for as long as a widget exists --------------------


class FollowedLayer:
    """Calls a slot when something of a layer changes.

    Parameters
    ----------
    widget : QWidget
        Whose slot it is: when Qt deletes it, nothing is called any more.
    names : sequence of str
        Events of the layer.
    slot : callable
        Called without arguments.
    """

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
