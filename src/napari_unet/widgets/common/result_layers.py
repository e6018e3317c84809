"""Where a prediction appears: a layer of its own, never one that the user has edited."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Labels
from qtpy.QtCore import QTimer

from napari_unet.prediction.results import RESULT_TYPES
from napari_unet.widgets.common.layers import METADATA_KEY, OfImage, plain_layers, unwrapped
from napari_unet.widgets.common.live_layer import colour_like
from napari_unet.widgets.common.placement import placement_along
from napari_unet.widgets.common.task import BackgroundTask, Finished, Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari.viewer import Viewer
    from numpy.typing import NDArray

    from napari_unet.data.axes import Region
    from napari_unet.prediction.config import ResultKind
    from napari_unet.prediction.results import Prediction

_REFRESH_MS = 100


@dataclass
class Predicted(OfImage):
    """What belongs to a labels layer that was predicted; kept in the layer's metadata.

    Parameters
    ----------
    labels : ndarray
        As they were predicted: what differs from them was corrected.
    ndim : int
        Spatial dimensions of the network.
    kind : {"objects", "classes"}
        What the numbers stand for.
    taken : ndarray or None
        As they were when corrections were last taken into the annotation.
    in_progress : bool
        Whether a prediction still writes there: what it shows now is no one's correction.
    places : tuple of (tuple of int, tuple of slice)
        Frames, and the box in each, that were predicted; nothing is known of the others.
    """

    labels: NDArray[Any]
    ndim: int
    kind: str = "objects"
    taken: NDArray[Any] | None = None
    in_progress: bool = False
    places: tuple[tuple[tuple[int, ...], Region], ...] = ()


def predicted_of(layer: Labels) -> Predicted | None:
    """Return what was predicted in a layer; None for layers of other origin."""
    found = layer.metadata.get(METADATA_KEY)
    return found if isinstance(found, Predicted) else None


def active_labels(viewer: Viewer) -> Labels | None:
    """Return the selected layer, if it is a labels layer."""
    active = viewer.layers.selection.active
    active = unwrapped(active)
    return active if isinstance(active, Labels) else None


def newest_prediction(viewer: Viewer) -> Labels | None:
    """Return the topmost layer that was predicted."""
    for layer in reversed(plain_layers(viewer)):
        if isinstance(layer, Labels) and predicted_of(layer) is not None:
            return layer
    return None


def uncertainty_image(values: NDArray[Any], name: str, placement: Mapping[str, Any]) -> Image:
    """Return a layer that shows, over an image, how unsure the model is: from 0 to 1."""
    return Image(
        values,
        name=name,
        colormap="magma",
        blending="additive",
        opacity=0.6,
        contrast_limits=(0, 1),
        metadata={METADATA_KEY: "uncertainty"},
        **placement,
    )


def show_probabilities(
    viewer: Viewer, values: NDArray[Any], axes: str, name: str, placement: Mapping[str, Any]
) -> None:
    """Show the probability of each class, along the axis C of an array, in a layer of its own."""
    for number, of_class in enumerate(np.moveaxis(values, axes.index("C"), 0)):
        layer = Image(
            of_class,
            name=f"{name}, probability of class {number}",
            contrast_limits=(0, 1),
            metadata={METADATA_KEY: "probabilities"},
            **placement,
        )
        viewer.add_layer(layer)


class ResultLayers:
    """Writes one prediction into a layer, and never over what the user has edited.

    Parameters
    ----------
    viewer : Viewer
        Where the layer is added.
    image : Image
        The image that is predicted: the layer covers it.
    keep : sequence of int
        Axes of the image that the result has, in its order.
    ndim : int
        Spatial dimensions of the network.
    whole : bool
        Whether all of the image is predicted: else what was predicted elsewhere stays.
    annotation : Labels or None
        Whose colours classes have.
    """

    def __init__(
        self,
        viewer: Viewer,
        image: Image,
        keep: Sequence[int],
        ndim: int,
        whole: bool = True,
        annotation: Labels | None = None,
    ) -> None:
        self._viewer, self._ndim, self._whole = viewer, ndim, whole
        self._annotation = annotation
        self._image = image
        self._name = f"{image.name} prediction"
        self._unsure_name = f"{image.name} uncertainty"
        self._placement = placement_along(image, keep)
        self._finished_frames: set[tuple[int, ...]] = set()
        self.layer: Labels | Image | None = None
        self._pixels: NDArray[Any] = np.zeros(0, np.int32)  # of the layer
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
            self._prepare(event.shape, event.kind)
        elif isinstance(event, TilePredicted):
            self._write(event.frame, event.region, event.labels)
        elif isinstance(event, FrameFinished):
            self._write_final(event.frame, event.region, event.labels)
            self._finished_frames.add(event.frame)

    def _on_ended(self, outcome: Outcome) -> None:
        self._task.happened.disconnect(self._on_event)
        self._task.ended.disconnect(self._on_ended)
        self._keep_a_layer()
        predicted = predicted_of(self.layer) if isinstance(self.layer, Labels) else None
        if isinstance(outcome, Finished):
            self._finish(outcome.result)
        elif predicted is not None and predicted.labels.any():
            self._pixels[...] = predicted.labels  # what was there before stays
            self._refresh()
        else:
            self._remove_layer()
        if predicted is not None:
            predicted.in_progress = False
        if isinstance(self.layer, Labels):
            self.layer.editable = True

    def _keep_a_layer(self) -> None:
        """Give the result a fresh layer where its own was given other pixels by the user."""
        if isinstance(self.layer, Labels) and self.layer.data is not self._pixels:
            previous, shown = self.layer, self._pixels
            self.layer = self._labels_layer(shown, previous.metadata[METADATA_KEY])
            previous.metadata[METADATA_KEY] = "edited"
            previous.editable = True
            self._viewer.add_layer(self.layer)

    def _hide_live_prediction(self) -> None:
        """Two predictions on top of each other cannot be read."""
        for layer in plain_layers(self._viewer):
            if layer.metadata.get(METADATA_KEY) == "live":
                layer.visible = False

    def _prepare(self, shape: tuple[int, ...], kind: ResultKind) -> None:
        """Add the layer, or take the one of the last prediction if nobody has touched it."""
        self._frame_axes = len(shape) - self._ndim
        if not RESULT_TYPES[kind].shows_labels:
            self.layer = self._uncertainty_layer(shape)
            self._pixels = self.layer.data
            return
        self._hide_live_prediction()
        self.layer = self._untouched_layer(shape, kind)
        if self.layer is None:
            self.layer = self._new_layer(shape, kind)
        else:
            self._reuse(self.layer)
        self._pixels = self.layer.data
        self.layer.editable = False  # what is painted now would be overwritten
        predicted = predicted_of(self.layer)
        if predicted is not None:
            predicted.in_progress, predicted.taken = True, None

    def _reuse(self, layer: Labels) -> None:
        for name, value in self._placement.items():
            setattr(layer, name, value)
        predicted = predicted_of(layer)
        if self._whole and predicted is not None:
            np.asarray(layer.data)[...] = 0
            predicted.labels[...] = 0
            predicted.places = ()
            layer.refresh()

    def _new_layer(self, shape: tuple[int, ...], kind: ResultKind) -> Labels:
        predicted = Predicted(np.zeros(shape, np.int32), self._ndim, kind)
        predicted.image = self._image
        layer = self._labels_layer(np.zeros(shape, np.int32), predicted)
        self._viewer.add_layer(layer)
        return layer

    def _labels_layer(self, labels: NDArray[Any], predicted: Any) -> Labels:
        layer = Labels(
            labels, name=self._name, metadata={METADATA_KEY: predicted}, **self._placement
        )
        if self._annotation is not None:
            colour_like(layer, self._annotation)
        return layer

    def _uncertainty_layer(self, shape: tuple[int, ...]) -> Image:
        for layer in plain_layers(self._viewer):
            ours = isinstance(layer, Image) and METADATA_KEY in layer.metadata
            if ours and layer.name == self._unsure_name and layer.data.shape == shape:
                found: Image = layer
                return found
        layer = uncertainty_image(np.zeros(shape, np.float32), self._unsure_name, self._placement)
        self._viewer.add_layer(layer)
        return layer

    def _finish(self, result: Prediction) -> None:
        """Show what has not been shown yet; probabilities come as image layers."""
        if self.layer is None:
            return
        if result.type.is_per_class:
            self._remove_layer()
            whole = result.whole()
            show_probabilities(self._viewer, whole, result.axes, self._name, self._placement)
            return
        # Frames that were announced are there already, and may have been corrected since.
        predicted = predicted_of(self.layer) if isinstance(self.layer, Labels) else None
        if predicted is not None and not result.complete:
            self._write_unfinished(result.whole(), predicted, result.type.is_separated)
        if result.complete and self.layer not in plain_layers(self._viewer):
            self._viewer.add_layer(self.layer)  # it was removed on the way
        self._refresh()

    def _write_unfinished(
        self, whole: NDArray[Any], predicted: Predicted, is_separated: bool
    ) -> None:
        for frame in np.ndindex(*whole.shape[: self._frame_axes]):
            if frame in self._finished_frames:
                continue
            previous, found = predicted.labels[frame], whole[frame]
            first = 0 if self._whole or not is_separated else int(predicted.labels.max())
            previous[...] = np.where(found > 0, found.astype(np.int32) + first, previous)
            self._pixels[frame] = previous

    def _write(self, frame: tuple[int, ...], region: Any, labels: Any) -> None:
        if self.layer is None:
            return
        self._pixels[frame][region] = labels
        if not self._timer.isActive():
            self._timer.start()

    def _write_final(self, frame: tuple[int, ...], region: Any, labels: Any) -> None:
        """Write labels that stay; objects beside what was predicted before get higher numbers."""
        predicted = predicted_of(self.layer) if isinstance(self.layer, Labels) else None
        if predicted is None:
            self._write(frame, region, labels)
            return
        previous = predicted.labels[frame]
        if not self._whole and predicted.kind == "objects":
            previous[region] = 0
            first = int(predicted.labels.max())
            labels = np.where(labels > 0, labels.astype(np.int32) + first, 0)
        previous[region] = labels
        predicted.places += ((frame, region),)
        self._write(frame, region, labels)

    def _refresh(self) -> None:
        if self.layer is not None:
            self.layer.refresh()

    def _untouched_layer(self, shape: tuple[int, ...], kind: ResultKind) -> Labels | None:
        """Find a result of this image that still is what was predicted."""
        for layer in plain_layers(self._viewer):
            ours = isinstance(layer, Labels) and predicted_of(layer) is not None
            if not ours or layer.data.shape != shape or not layer.name.startswith(self._name):
                continue
            predicted = predicted_of(layer)
            untouched = predicted is not None and np.array_equal(
                predicted.labels, np.asarray(layer.data)
            )
            if untouched and predicted is not None and predicted.kind == kind:
                found: Labels = layer
                return found
        return None

    def _remove_layer(self) -> None:
        if self.layer is not None and self.layer in plain_layers(self._viewer):
            self._viewer.layers.remove(self.layer)
