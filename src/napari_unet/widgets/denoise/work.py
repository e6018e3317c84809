"""What goes on when the Denoise dock is closed: the work in its thread, and the layer it makes.

Torch is imported by the work alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image
from napari.utils.notifications import show_error
from qtpy.QtCore import QObject, QTimer

from napari_unet.data.finer import on_finer_grid
from napari_unet.data.frames import Frame
from napari_unet.prediction.results import PredictionStarted, TilePredicted
from napari_unet.run import Run
from napari_unet.widgets.common.layers import pixels_of, plain_layers
from napari_unet.widgets.common.placement import on_finer_pixels, placement_along
from napari_unet.widgets.common.task import BackgroundTask, Cancelled, Failed, Outcome
from napari_unet.widgets.train.work import import_for_training

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Generator, Sequence

    from numpy.typing import NDArray

    from napari_unet.model.trained import TrainedNetwork
    from napari_unet.prediction.config import PredictConfig
    from napari_unet.prediction.results import PredictionEvent
    from napari_unet.training.config import TrainConfig
    from napari_unet.training.dataset import AnnotatedImage
    from napari_unet.widgets.common.session import Session
    from napari_unet.widgets.common.task import Work


@dataclass(frozen=True)
class Learned:
    """What there is to make images with; told before the image is made."""

    model: TrainedNetwork


@dataclass(frozen=True)
class Made:
    """What became of an image."""

    complete: bool
    """Whether all tiles of it are made."""
    removed: float
    """How far it is from the image, in grey values: the root of the mean square."""


def made_of(
    image: AnnotatedImage,
    config: TrainConfig | None,
    known: TrainedNetwork | None,
    prediction: PredictConfig,
    stop: threading.Event,
) -> Generator[object, None, Made | None]:
    """Train on an image, and make of it what was learned; tiles are told as they come.

    Without settings `known` makes it; with both, `known` learns further. Stopped, a training still
    makes an image of what it has learned, or none if that is nothing; stopped again, the tiles
    that are made stay.
    """
    import_for_training(stop)
    from napari_unet.prediction.predictor import predict_image
    from napari_unet.training.loop import train_network
    from napari_unet.training.preparation import prepare_training

    model = known
    if config is not None:
        learned = image if image.labels.size else _beside_itself(image, config)
        data = prepare_training([learned], config, known)
        result = yield from train_network(data, config, stop, known)
        if result.state.step == 0:
            return None
        model = result.trained
        stop.clear()
    assert model is not None
    yield Learned(model)
    events = predict_image(model, image.image, prediction, stop)
    return (yield from _measured(events, image, prediction, model))


def _measured(
    events: Generator[PredictionEvent, None, Any],
    image: AnnotatedImage,
    prediction: PredictConfig,
    model: TrainedNetwork,
) -> Generator[object, None, Made]:
    """Pass on the tiles of an image, and find out how far they are from it."""
    seen = on_finer_grid(image.image, str(image.axes), model.record.classes.finer)
    ndim = model.record.network.ndim
    frame = Frame(seen, str(image.axes), ndim, (), prediction.used_channels or ())
    squared, pixels = 0.0, 0
    run = Run(events)
    for event in run:
        if isinstance(event, TilePredicted):
            before = replace(frame, index=event.frame).read(event.region)[0]
            squared += float(((before - event.labels).astype(np.float64) ** 2).sum())
            pixels += before.size
        yield event
    return Made(run.result.complete, math.sqrt(squared / max(1, pixels)))


def _beside_itself(image: AnnotatedImage, config: TrainConfig) -> AnnotatedImage:
    from napari_unet.training.sources import no_labels

    return replace(image, labels=no_labels(tuple(image.image.shape), image.axes, config.ndim))


# --- What goes on when the dock is closed --------------------------------------------------------

_REFRESH_MS = 100


def maker_of(session: Session) -> Maker:
    """Return what makes the images of a session; the same for all its docks."""
    return next(iter(session.findChildren(Maker)), None) or Maker(session)


class Maker(QObject):
    """Makes images in the background, and shows their tiles as they come."""

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._session = session
        self.task = BackgroundTask("Denoising", session)
        self.model: TrainedNetwork | None = None
        self.tiles, self.teaches_itself = 0, True
        self.said = ""
        self._make: Callable[[tuple[int, ...]], Image] | None = None
        self._layer: Image | None = None
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_REFRESH_MS)
        self._timer.timeout.connect(self._refresh)
        self.task.happened.connect(self._on_event)
        self.task.ended.connect(self._on_ended)

    def start(
        self, work: Work, make: Callable[[tuple[int, ...]], Image], teaches_itself: bool
    ) -> None:
        """Begin; `make` returns the layer, of a shape, that is to show the image."""
        self._make, self.tiles, self.said = make, 0, ""
        self.teaches_itself = teaches_itself
        self.task.start(work)

    def _on_event(self, event: object) -> None:
        viewer = self._session.viewer
        if isinstance(event, Learned):
            self.model = event.model
        elif isinstance(event, PredictionStarted) and self._make and viewer is not None:
            self.tiles, self._layer = event.tiles, self._make(event.shape)
            viewer.add_layer(self._layer)
        elif isinstance(event, TilePredicted) and self._layer is not None:
            at = (*(slice(i, i + 1) for i in event.frame), *event.region)
            self._layer.data[at] = event.labels
            if not self._timer.isActive():
                self._timer.start()

    def _refresh(self) -> None:
        if self._layer is not None:
            self._layer.refresh()

    def _on_ended(self, outcome: Outcome) -> None:
        self._refresh()
        layer, self._layer, self._make = self._layer, None, None
        if isinstance(outcome, Failed):
            self.said = outcome.text
            if not isinstance(outcome, Cancelled):
                show_error(outcome.text)
        elif layer is None or outcome.result is None:
            self.said = "Stopped: nothing was made."
        elif self._session.viewer is not None:
            self.said = self._of_layer(layer, outcome.result)

    def _of_layer(self, layer: Image, made: Made) -> str:
        """Say what became of a layer, and show it in its own contrast where it had no other."""
        assert self.model is not None
        steps = f"{layer.name}: after {self.model.record.steps} steps"
        if layer not in plain_layers(self._session.viewer):
            return f"{steps}. Its layer was closed; what was learned is kept."
        if not made.complete:
            return f"{steps}. Stopped before all tiles were made: elsewhere the layer is empty."
        if not self.teaches_itself:
            layer.reset_contrast_limits()
            return f"{steps}."
        return f"{steps}. {made.removed:.3g} grey values (root mean square) were taken away."


def layer_over(
    image: Image, keep: Sequence[int], name: str, like: Image | None
) -> Callable[[tuple[int, ...]], Image]:
    """Return what makes a layer over an image: empty, so that the image is seen until tiles come.

    Its pixels may be finer than those of the image. Its contrast is that of the layer `like`;
    without one, of the image.
    """
    placement, width = placement_along(image, keep), pixels_of(image).shape[keep[-1]]
    contrast = tuple((like or image).contrast_limits)
    colours = {} if image.rgb else {"colormap": image.colormap}

    def make(shape: tuple[int, ...]) -> Image:
        empty: NDArray[np.float32] = np.full(shape, np.nan, np.float32)
        where = on_finer_pixels(placement, shape[-1] // width)
        return Image(empty, name=name, contrast_limits=contrast, **colours, **where)

    return make
