"""Where the prediction of a part of a very large image appears: a layer that covers that part."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Labels

from napari_unet.prediction.results import RESULT_TYPES
from napari_unet.widgets.common.layers import (
    METADATA_KEY,
    plain_layers,
)
from napari_unet.widgets.common.placement import moved_to, placement_along
from napari_unet.widgets.common.result_layers import show_probabilities, uncertainty_image
from napari_unet.widgets.common.task import Failed, Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.layers import Layer
    from napari.viewer import Viewer
    from numpy.typing import NDArray

    from napari_unet.data.axes import Region
    from napari_unet.prediction.results import Prediction
    from napari_unet.widgets.common.task import BackgroundTask


class RegionLayer:
    """Shows what is predicted of one region of one frame, in a layer of its own.

    `keep` are the axes of the image that the result has, in its order.
    """

    def __init__(self, viewer: Viewer, image: Image, keep: Sequence[int]) -> None:
        self._viewer = viewer
        self._name = f"{image.name} prediction of a part"
        self._unsure_name = f"{image.name} uncertainty of a part"
        self._placement = placement_along(image, keep)
        self._frame_axes = 0
        self._region: Region = ()
        self.layer: Labels | Image | None = None
        self._pixels: NDArray[Any] = np.zeros(0, np.int32)  # of the layer

    def follow(self, task: BackgroundTask, frame: tuple[int, ...], region: Region) -> None:
        """Show what a task predicts in a box of a frame, until it has ended."""
        self._task = task
        self._region, self._frame_axes = region, len(frame)
        self._placement = moved_to(self._placement, [*frame, *(part.start for part in region)])
        task.happened.connect(self._on_event)
        task.ended.connect(self._on_ended)

    def _on_event(self, event: Any) -> None:
        from napari_unet.prediction.events import PredictionStarted, TilePredicted

        if isinstance(event, PredictionStarted) and not RESULT_TYPES[event.kind].is_per_class:
            unsure = not RESULT_TYPES[event.kind].is_labels
            self._remove_previous(unsure)
            sizes = (part.stop - part.start for part in self._region)
            shape = (*(1,) * self._frame_axes, *sizes)
            self.layer = self._add(np.zeros(shape, np.float32 if unsure else np.int32))
            self._pixels = self.layer.data
            self.layer.editable = False  # what is painted now would be overwritten
        elif isinstance(event, TilePredicted) and self.layer is not None:
            inside: tuple[Any, ...] = tuple(
                slice(part.start - own.start, part.stop - own.start)
                for part, own in zip(event.region, self._region, strict=True)
            )
            self._pixels[(..., *inside)] = event.labels
            self.layer.refresh()

    def _on_ended(self, outcome: Outcome) -> None:
        self._task.happened.disconnect(self._on_event)
        self._task.ended.disconnect(self._on_ended)
        if isinstance(outcome, Failed):
            self._remove(self.layer)
        elif outcome.result.type.is_per_class:
            result: Prediction = outcome.result
            values = np.asarray(result.array)
            show_probabilities(self._viewer, values, result.axes, self._name, self._placement)
        elif self.layer is not None:
            self._pixels[...] = outcome.result.array
            self.layer.editable = True
            if self.layer.data is not self._pixels or self.layer not in plain_layers(self._viewer):
                self.layer = self._add(self._pixels)
            if isinstance(self.layer, Labels):
                self.layer.metadata[METADATA_KEY] = self._pixels.copy()  # as it was predicted
            self.layer.refresh()

    def _add(self, pixels: Any) -> Labels | Image:
        layer: Labels | Image
        if pixels.dtype == np.float32:
            layer = uncertainty_image(pixels, self._unsure_name, self._placement)
        else:
            layer = Labels(
                pixels, name=self._name, metadata={METADATA_KEY: pixels.copy()}, **self._placement
            )
        self._viewer.add_layer(layer)
        return layer

    def _remove_previous(self, unsure: bool) -> None:
        """Take away the part that was predicted before, unless someone has painted there."""
        name = self._unsure_name if unsure else self._name
        for layer in plain_layers(self._viewer):
            predicted = layer.metadata.get(METADATA_KEY)
            ours = (
                isinstance(layer, Image) and predicted == "uncertainty"
                if unsure
                else (
                    isinstance(layer, Labels)
                    and isinstance(predicted, np.ndarray)
                    and np.array_equal(predicted, layer.data)
                )
            )
            if layer.name == name and ours:
                self._remove(layer)

    def _remove(self, layer: Layer | None) -> None:
        if layer is not None and layer in plain_layers(self._viewer):
            self._viewer.layers.remove(layer)
