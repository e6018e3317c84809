"""The two layers over the objects: the class of each, and which are examples."""

from __future__ import annotations

import weakref
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels
from napari.utils.colormaps import DirectLabelColormap

from napari_unet.widgets.common.layers import (
    METADATA_KEY,
    OfImage,
    labels_of,
    placement_from_labels,
    plain_layers,
)
from napari_unet.widgets.common.object_table import objects_at

if TYPE_CHECKING:
    from napari.viewer import Viewer

    from napari_unet.widgets.common.object_classes import ObjectClasses
    from napari_unet.widgets.common.object_table import Found, Key

CLASSES, EXAMPLES = "classes", "examples"
_LARGEST_OUTLINED = 2**22  # pixels of a plane: of larger ones napari takes seconds for outlines
_FILLED = 0.4  # opacity through which texture is seen
_FAINT = 0.2
_RIM = 3  # pixels of an example's outline


@dataclass
class ShownObjects(OfImage):
    """What a layer shows of the objects of another one; kept in the layer's metadata."""

    role: str
    of: weakref.ref[Labels]
    drawn: dict[Key, int] = field(default_factory=dict)
    """Examples that are drawn."""

    def copied(self, layer: Labels) -> ShownObjects:
        """Return the same for a copy, which is the user's: nothing is shown there any more."""
        made: ShownObjects = super().copied(layer)
        made.role = ""
        return made


def shown_of(viewer: Viewer, layer: Labels, role: str) -> Labels | None:
    """Return the layer that shows classes or examples of a layer's objects, while it is there."""
    for each in plain_layers(viewer):
        about = each.metadata.get(METADATA_KEY)
        if isinstance(about, ShownObjects) and about.role == role and about.of() is layer:
            return each
    return None


def show_classes(viewer: Viewer, layer: Labels, state: ObjectClasses, found: Found | None) -> None:
    """Show the class of each object in its colour; nothing where none are found."""
    shown = shown_of(viewer, layer, CLASSES)
    if found is None:
        if shown is not None:
            shown.data = np.zeros_like(shown.data)
        return
    if shown is None:
        shown = _added(viewer, layer, CLASSES, found.picture)
        shown.opacity = _FILLED
        _step_back(layer)
    elif shown.data is not found.picture:
        shown.data = found.picture
    _colour(shown, state)


def show_examples(
    viewer: Viewer, layer: Labels, state: ObjectClasses, ndim: int, first: int
) -> None:
    """Outline the examples in the colours of their classes; only what has changed is drawn."""
    labels, shown = labels_of(layer), shown_of(viewer, layer, EXAMPLES)
    wanted = objects_at(labels, state.examples, ndim, first)
    if shown is None:
        if not wanted:
            return
        shown = _added(viewer, layer, EXAMPLES, np.zeros(labels.shape, np.uint8))
        shown.contour, shown.opacity = 0 if _is_large(layer) else _RIM, 1.0
    about: ShownObjects = shown.metadata[METADATA_KEY]
    if shown.data.shape != tuple(labels.shape):
        shown.data, about.drawn = np.zeros(labels.shape, np.uint8), {}
    changed = {key: wanted.get(key, 0) for key in {*wanted, *about.drawn}}
    changed = {key: value for key, value in changed.items() if value != about.drawn.get(key, 0)}
    for (number, flat), value in changed.items():
        frame = np.unravel_index(flat, labels.shape[:-ndim]) if labels.ndim > ndim else ()
        plane = tuple(int(at) for at in frame)
        shown.data[plane][np.asarray(labels[plane]) == number] = value
    about.drawn = wanted
    _colour(shown, state)
    if changed:
        shown.refresh()


def redraw_examples(viewer: Viewer, layer: Labels) -> None:
    """Draw no example: the objects themselves have changed, and are outlined anew after this."""
    shown = shown_of(viewer, layer, EXAMPLES)
    if shown is not None:
        shown.data[:] = 0
        shown.metadata[METADATA_KEY].drawn = {}


def _added(viewer: Viewer, layer: Labels, role: str, data: Any) -> Labels:
    """Add a layer over the objects, and leave the choice of the active layer as it is.

    Examples lie above classes, whichever come first.
    """
    active, above = viewer.layers.selection.active, plain_layers(viewer).index(layer) + 1
    if role == EXAMPLES and shown_of(viewer, layer, CLASSES) is not None:
        above += 1
    shown = Labels(
        data,
        name=f"{layer.name} {role}",
        metadata={METADATA_KEY: ShownObjects(role, weakref.ref(layer))},
        **placement_from_labels(layer),
    )
    viewer.layers.insert(above, shown)
    viewer.layers.selection.active = active
    return shown


def _step_back(layer: Labels) -> None:
    """Let the colours of the objects themselves not mix with those of their classes."""
    if _is_large(layer):
        layer.opacity = min(layer.opacity, _FAINT)
    elif not layer.contour:
        layer.contour = 1


def _is_large(layer: Labels) -> bool:
    return int(np.prod(labels_of(layer).shape[-2:])) > _LARGEST_OUTLINED


def _colour(shown: Labels, state: ObjectClasses) -> None:
    """Show classes in their colours, and their names where the mouse is."""
    import pandas as pd

    values = list(state.names)
    if list(shown.features.get("class", ())) != list(state.names.values()):
        shown.features = pd.DataFrame({"index": values, "class": list(state.names.values())})
    colours: dict[int | None, Any] = {None: "transparent", 0: "transparent"}
    colours |= {value: state.colour_of(value) for value in values}
    wanted = DirectLabelColormap(color_dict=colours)
    if not _alike(shown.colormap, wanted):
        shown.colormap = wanted


def _alike(one: Any, other: DirectLabelColormap) -> bool:
    mine = getattr(one, "color_dict", {})
    return mine.keys() == other.color_dict.keys() and all(
        np.array_equal(mine[key], colour) for key, colour in other.color_dict.items()
    )
