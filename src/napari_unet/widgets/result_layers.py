"""Where a prediction appears: a labels layer of its own, never one that the user has edited."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Labels
from qtpy.QtCore import QTimer

from napari_unet.widgets.layers import channel_axis_of, pixels_of, placement_of
from napari_unet.widgets.session import METADATA_KEY
from napari_unet.widgets.task import BackgroundTask, Finished, Outcome

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
        self._finished_frames: set[tuple[int, ...]] = set()
        self._frame_axes = 0
        self.layer: Labels | None = None
        self._timer = QTimer()
        self._timer.setSingleShot(True)
        self._timer.setInterval(_REFRESH_MS)
        self._timer.timeout.connect(self._refresh)

    def follow(self, task: BackgroundTask) -> None:
        """Show what a task predicts, until it has ended."""
        self._task = task
        task.happened.connect(self._on_event)
        task.ended.connect(self._on_ended)

    def _on_event(self, event: Any) -> None:
        from napari_unet.prediction.events import FrameFinished, PredictionStarted, TilePredicted

        if isinstance(event, PredictionStarted):
            self._prepare(event.shape)
        elif isinstance(event, TilePredicted):
            self._frame_axes = len(event.frame)
            self._write(event.frame, event.region, event.labels)
        elif isinstance(event, FrameFinished):
            self._write(event.frame, (), event.labels)
            self._finished_frames.add(event.frame)

    def _on_ended(self, outcome: Outcome) -> None:
        self._task.happened.disconnect(self._on_event)
        self._task.ended.disconnect(self._on_ended)
        if isinstance(outcome, Finished):
            self._finish(outcome.result)
        elif self.layer is not None and self.layer in self._viewer.layers:
            self._viewer.layers.remove(self.layer)

    def _prepare(self, shape: tuple[int, ...]) -> None:
        """Add the layer, or take the one of the last prediction if nobody has touched it."""
        placement = self._placement(shape)
        self.layer = self._untouched_layer(shape)
        if self.layer is None:
            labels = np.zeros(shape, np.int32)
            metadata = {METADATA_KEY: None}
            self.layer = Labels(labels, name=self._name, metadata=metadata, **placement)
            self._viewer.add_layer(self.layer)
            return
        for name in ("scale", "translate", "units"):
            setattr(self.layer, name, placement[name])
        np.asarray(self.layer.data)[...] = 0
        self.layer.refresh()

    def _finish(self, result: Any) -> None:
        """Show what has not been shown yet; probabilities come as image layers."""
        if self.layer is None:
            return
        if result.kind == "probabilities":
            self._show_probabilities(result)
            return
        shown = np.asarray(self.layer.data)
        # Frames that were announced are there already, and may have been corrected since.
        for frame in np.ndindex(*shown.shape[: self._frame_axes]):
            if frame not in self._finished_frames:
                shown[frame] = result.array[frame]
        self._refresh()
        self.layer.metadata[METADATA_KEY] = _checksum(result.array.astype(np.int32, copy=False))

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
        """Find a result of this image that still is what was predicted."""
        for layer in self._viewer.layers:
            layer = getattr(layer, "__wrapped__", layer)
            ours = isinstance(layer, Labels) and METADATA_KEY in layer.metadata
            if not ours or layer.data.shape != shape or not layer.name.startswith(self._name):
                continue
            if layer.metadata[METADATA_KEY] == _checksum(layer.data):
                found: Labels = layer
                return found
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


def _checksum(labels: Any) -> int:
    return zlib.crc32(np.ascontiguousarray(labels).data.cast("B"))
