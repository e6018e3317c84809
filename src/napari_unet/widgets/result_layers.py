"""Where a prediction appears: a labels layer of its own, never one that the user has edited."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Labels
from qtpy.QtCore import QTimer

from napari_unet.widgets.layers import channel_axis_of, pixels_of, placement_of
from napari_unet.widgets.session import METADATA_KEY

if TYPE_CHECKING:
    from napari.viewer import Viewer

_REFRESH_MS = 100


class ResultLayers:
    """Writes one prediction into a labels layer, and never over what the user has edited.

    Parameters
    ----------
    viewer : Viewer
        Where the layer is added.
    image : Image
        The image that is predicted: the layer covers it.
    """

    def __init__(self, viewer: Viewer, image: Image) -> None:
        self._viewer = viewer
        self._name = f"{image.name} prediction"
        self._rgb = image.rgb
        self._placements = {axis: placement_of(image, axis) for axis in (None, *range(image.ndim))}
        self._image_shape = pixels_of(image).shape[: image.ndim]
        self._named_channel_axis = channel_axis_of(image)
        self.layer: Labels | None = None
        self._timer = QTimer()
        self._timer.setSingleShot(True)
        self._timer.setInterval(_REFRESH_MS)
        self._timer.timeout.connect(self._refresh)

    def prepare(self, shape: tuple[int, ...]) -> None:
        """Add the layer, or take the one of the last prediction if nobody has touched it."""
        self.layer = self._untouched_layer(shape)
        if self.layer is None:
            labels = np.zeros(shape, np.int32)
            self.layer = Labels(
                labels,
                name=self._name,
                metadata={METADATA_KEY: None},
                **self._placement(shape),
            )
            self._viewer.add_layer(self.layer)
        else:
            self.layer.data[...] = 0
            self.layer.refresh()

    def write_tile(self, frame: tuple[int, ...], region: Any, labels: Any) -> None:
        """Show one tile soon."""
        self._write(frame, region, labels)

    def write_frame(self, frame: tuple[int, ...], labels: Any) -> None:
        """Show the final labels of a frame soon."""
        self._write(frame, (), labels)

    def finish(self, result: Any) -> None:
        """Show the final result; probabilities come as an image layer."""
        if self.layer is None:
            return
        if result.kind == "probabilities":
            self._show_probabilities(result)
            return
        self.layer.data[...] = result.array
        self._refresh()
        self.layer.metadata[METADATA_KEY] = _checksum(self.layer)

    def _write(self, frame: tuple[int, ...], region: Any, labels: Any) -> None:
        if self.layer is None:
            return
        np.asarray(self.layer.data)[frame][region] = labels
        if not self._timer.isActive():
            self._timer.start()

    def _refresh(self) -> None:
        if self.layer is not None:
            self.layer.refresh()

    def _placement(self, shape: tuple[int, ...]) -> dict[str, Any]:
        """Find the axis of the image that the result does not have: its channels."""
        if self._rgb or len(shape) == len(self._image_shape):
            return self._placements[None]
        axis = self._named_channel_axis
        if axis is None:
            candidates = [
                a
                for a in range(len(self._image_shape))
                if self._image_shape[:a] + self._image_shape[a + 1 :] == shape
            ]
            axis = candidates[-1] if candidates else 0
        return self._placements[axis]

    def _untouched_layer(self, shape: tuple[int, ...]) -> Labels | None:
        for layer in self._viewer.layers:
            layer = getattr(layer, "__wrapped__", layer)
            ours = isinstance(layer, Labels) and METADATA_KEY in layer.metadata
            if ours and layer.name == self._name and layer.data.shape == shape:
                unchanged = layer.metadata[METADATA_KEY] == _checksum(layer)
                return layer if unchanged else None
        return None

    def _show_probabilities(self, result: Any) -> None:
        if self.layer is not None and self.layer in self._viewer.layers:
            self._viewer.layers.remove(self.layer)
        probabilities = np.moveaxis(result.array, result.axes.index("C"), 0)
        placement = self._placement(probabilities.shape[1:])
        for number, values in enumerate(probabilities):
            layer = Image(
                values,
                name=f"{self._name}, probability of class {number}",
                contrast_limits=(0, 1),
                **placement,
            )
            self._viewer.add_layer(layer)


def _checksum(layer: Labels) -> int:
    return zlib.crc32(np.ascontiguousarray(layer.data).tobytes())
