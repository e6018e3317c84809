"""Start a prediction of an image: into a layer for all of it, for a part of it, or into a file."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from qtpy.QtCore import QObject

from napari_unet.io.zarr_files import ZARR_SUFFIX
from napari_unet.prediction.config import PredictConfig, ViewPoint
from napari_unet.widgets.common.layers import pixels_of
from napari_unet.widgets.common.result_layers import ResultLayers
from napari_unet.widgets.common.stored_layers import FileResult
from napari_unet.widgets.common.visible import box_on_screen, frame_and_region
from napari_unet.widgets.predict.region_layer import RegionLayer
from napari_unet.widgets.predict.work import (
    Source,
    check_size,
    is_large,
    predict_with_card,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from napari.layers import Image, Layer
    from napari.viewer import Viewer

    from napari_unet.data.axes import Region
    from napari_unet.model.trained import TrainedNetwork
    from napari_unet.widgets.common.session import Session
    from napari_unet.widgets.common.task import BackgroundTask, Outcome

Keep = tuple[int, ...]


def scoped(
    viewer: Viewer, image: Image, keep: Sequence[int], ndim: int, config: PredictConfig, scope: str
) -> PredictConfig:
    """Choose which part of an image is predicted, from what is on screen now.

    Parameters
    ----------
    viewer : Viewer
        Its camera and its sliders decide.
    keep : sequence of int
        Axes of the image that the result has, in its order.
    ndim : int
        Spatial dimensions of the network.
    config : PredictConfig
        How the whole image is predicted.
    scope : {"view", "slice", "whole"}
        How much of it.

    Raises
    ------
    ImageError
        The result would not fit into memory.
    """
    frame, view = frame_and_region(box_on_screen(viewer, image, keep), ndim)
    shape = tuple(pixels_of(image).shape[axis] for axis in keep)
    plane = _whole_plane(view, shape[len(frame) :])
    region = {"view": view, "slice": plane}.get(scope)
    check_size(shape if region is None else tuple(part.stop - part.start for part in region))
    near = ViewPoint(frame, tuple((part.start + part.stop) / 2 for part in view))
    if region is None:
        return replace(config, near=near)
    return replace(config, near=near, frames=(frame,), region=region)


def _whole_plane(view: Region, shape: tuple[int, ...]) -> Region:
    """Widen a view to its plane: all of the last two axes."""
    return (*view[:-2], *(slice(0, size) for size in shape[-2:]))


def predict_into_layer(
    viewer: Viewer,
    session: Session,
    model: TrainedNetwork,
    image: Image,
    keep: Keep,
    config: PredictConfig,
) -> None:
    """Predict in the background; the result appears as it comes.

    `keep` are the axes of the image that the result has, in its order; `scoped` makes `config`.
    """
    task, pixels = session.prediction, pixels_of(image)
    session.result = None
    source = Source.of(session.model_name, image)
    work = partial(predict_with_card, source, model, pixels, config, None)
    if config.frames is not None and config.region is not None and is_large(image, keep):
        part = RegionLayer(viewer, image, keep)
        session.follower = part
        part.follow(task, config.frames[0], config.region)
        CardKeeper(task, part)
        task.start(work)
        return
    result = ResultLayers(
        viewer,
        image,
        keep,
        model.record.network.ndim,
        whole=config.region is None,
        annotation=session.annotation,
    )
    session.result = result
    result.follow(task)
    CardKeeper(task, result)
    task.start(work)


def predict_into_file(
    viewer: Viewer,
    session: Session,
    model: TrainedNetwork,
    image: Image,
    keep: Keep,
    config: PredictConfig,
    path: Path,
) -> None:
    """Predict into an OME-Zarr in the background, and show it when it is whole.

    As `predict_into_layer`; the suffix is added to `path` where it lacks.
    """
    path = path if path.suffix == ZARR_SUFFIX else path.with_name(path.name + ZARR_SUFFIX)
    source = Source.of(session.model_name, image)
    shown = FileResult(viewer, image, keep)
    session.follower = shown
    shown.follow(session.prediction)
    session.prediction.start(
        partial(predict_with_card, source, model, pixels_of(image), config, path)
    )


# --- Keep the run card of a prediction with the layer that shows it ------------------------------

CARD_KEY = "napari-unet-paint run card"


class ShowsResult(Protocol):
    """What writes a prediction into a layer."""

    @property
    def layer(self) -> Layer | None:
        """The layer."""


class CardKeeper(QObject):
    """Puts the card that a prediction yields into the metadata of its layer, at the end.

    The layer keeps the card as it is: frozen. `result` follows the task too, and was connected
    first.
    """

    def __init__(self, task: BackgroundTask, result: ShowsResult) -> None:
        super().__init__(task)
        self._task, self._result = task, result
        self._card: Any = None
        task.happened.connect(self._on_event)
        task.ended.connect(self._on_ended)

    def _on_event(self, event: object) -> None:
        from napari_unet.provenance.card import PredictionCard

        if isinstance(event, PredictionCard):
            self._card = event

    def _on_ended(self, outcome: Outcome) -> None:
        self._task.happened.disconnect(self._on_event)
        self._task.ended.disconnect(self._on_ended)
        if self._card is not None and self._result.layer is not None:
            self._result.layer.metadata[CARD_KEY] = self._card
        self.deleteLater()
