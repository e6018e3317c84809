"""The layer in which the network is watched while it learns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels

from napari_unet.objects.overlaps import keep_numbers
from napari_unet.widgets.common.annotation import BACKGROUND_VALUE, annotation_of, object_colours
from napari_unet.widgets.common.layers import (
    METADATA_KEY,
    labels_of,
    placement_from_labels,
    plain_layers,
)

if TYPE_CHECKING:
    from napari.viewer import Viewer

    from napari_unet.training.events import ViewPredicted
    from napari_unet.widgets.common.pairs import LayerPair

_CONTOUR = 2


class LiveLayer:
    """Shows the predictions of what is on screen in a labels layer below the annotation.

    Parameters
    ----------
    viewer : Viewer
        Where the layer is added, when the first prediction comes.
    pair : LayerPair
        Whose image is predicted.
    """

    def __init__(self, viewer: Viewer, pair: LayerPair) -> None:
        self._viewer = viewer
        self._pair = pair
        self.layer: Labels | None = None

    @property
    def name(self) -> str:
        """Name of the layer."""
        return f"{self._pair.image.name} live prediction"

    def show(self, event: ViewPredicted) -> None:
        """Write a prediction where it belongs; objects keep their numbers, and so their colours."""
        if not _holds(labels_of(self._pair.annotation).shape, event):
            return  # the annotation was given other pixels: nothing here is of them any more
        if self.layer is None or not self._is_ours(self.layer):
            self.layer = self._new_layer()
        shown = np.asarray(self.layer.data)[event.frame]
        labels = event.labels
        if not annotation_of(self._pair.annotation).task.named:
            labels = keep_numbers(labels, shown[event.region])
        shown[event.region] = labels
        self.layer.refresh(extent=False, thumbnail=False)

    def _is_ours(self, layer: Any) -> bool:
        """Return whether a layer still is the one to write to: painted on, it is the user's."""
        ours = isinstance(layer, Labels) and layer.metadata.get(METADATA_KEY) == "live"
        fits = ours and layer.data.shape == labels_of(self._pair.annotation).shape
        return fits and layer in plain_layers(self._viewer)

    def _new_layer(self) -> Labels:
        annotation = self._pair.annotation
        chosen = list(self._viewer.layers.selection)
        layers = plain_layers(self._viewer)
        for layer in layers:
            if layer.name == self.name and self._is_ours(layer):
                found: Labels = layer
                return found
        layer = Labels(
            np.zeros(labels_of(annotation).shape, np.int32),
            name=self.name,
            metadata={METADATA_KEY: "live"},
            opacity=0.7,
            **placement_from_labels(annotation),
        )
        layer.contour = _CONTOUR
        layer.events.paint.connect(_give_away)
        colour_like(layer, annotation)
        at = layers.index(annotation) if annotation in layers else len(layers)
        self._viewer.layers.insert(at, layer)
        self._viewer.layers.selection = set(chosen)
        return layer


def _holds(shape: tuple[int, ...], event: ViewPredicted) -> bool:
    """Return whether a prediction lies within labels of a shape."""
    ends = (*(at + 1 for at in event.frame), *(part.stop for part in event.region))
    return len(ends) == len(shape) and all(
        end <= size for end, size in zip(ends, shape, strict=True)
    )


def _give_away(event: Any) -> None:
    """Leave a layer that was painted on to the user: the next prediction gets a fresh one."""
    event.source.metadata[METADATA_KEY] = "edited"


def colour_like(layer: Labels, annotation: Labels) -> None:
    """Show a prediction in the colours of what was painted; background is never shown."""
    painted = annotation_of(annotation)
    if painted.task.named:
        from napari.utils.colormaps import DirectLabelColormap

        colours: dict[int | None, Any] = {None: "#ffffff", 0: "transparent"}
        values = [value for value in painted.names if value > BACKGROUND_VALUE]
        colours |= {value: painted.colour_of(value) for value in values}
        layer.colormap = DirectLabelColormap(color_dict=colours)
    else:
        layer.colormap = object_colours("#999933")
