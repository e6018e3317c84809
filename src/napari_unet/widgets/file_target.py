"""Predict an image into a file, whatever its size, and show the result from there."""

from __future__ import annotations

import hashlib
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_unet.data.zarr_files import ZARR_SUFFIX
from napari_unet.widgets.layers import pixels_of
from napari_unet.widgets.placement import placement_along
from napari_unet.widgets.prediction_work import stored_events
from napari_unet.widgets.stored_layers import show_stored
from napari_unet.widgets.task import Finished, Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.layers import Image
    from napari.viewer import Viewer

    from napari_unet.model.trained import TrainedNetwork
    from napari_unet.prediction.config import PredictConfig
    from napari_unet.prediction.stored import StoredResult
    from napari_unet.widgets.task import BackgroundTask


class FileTarget:
    """One prediction into a file; its layers appear when it is whole.

    Parameters
    ----------
    viewer : Viewer
        Where the layers are added.
    image : Image
        The image.
    keep : sequence of int
        Its axes that the result has, in its order.
    path : Path
        The OME-Zarr; the suffix is added where it lacks.
    """

    def __init__(self, viewer: Viewer, image: Image, keep: Sequence[int], path: Path) -> None:
        self._viewer, self._image = viewer, image
        self._placement = placement_along(image, keep)
        self.path = path if path.suffix == ZARR_SUFFIX else path.with_name(path.name + ZARR_SUFFIX)

    def start(self, task: BackgroundTask, model: TrainedNetwork, config: PredictConfig) -> None:
        """Predict in the background."""
        self._task = task
        task.ended.connect(self._on_ended)
        pixels, source = pixels_of(self._image), source_of(self._image)
        task.start(partial(stored_events, model, pixels, config, self.path, source))

    def _on_ended(self, outcome: Outcome) -> None:
        self._task.ended.disconnect(self._on_ended)
        result: Any = outcome.result if isinstance(outcome, Finished) else None
        if result is not None and result.complete:
            show_stored(self._viewer, result.path, result.kind, result.axes, self._placement)


def source_of(image: Image) -> str:
    """Say which image a layer shows, so that an interrupted prediction goes on only for the same.

    The name counts too: layers of one file are often its channels. Of pixels in memory some are
    looked at, since nothing else tells when they have changed.
    """
    import numpy as np

    from napari_unet.data.intensity import sample_regions
    from napari_unet.prediction.files import identity_of

    path = image.source.path
    origin = str(path or "")
    if path and Path(path).exists():
        origin = identity_of(Path(path))
    pixels, looked_at = pixels_of(image), ""
    if isinstance(pixels, np.ndarray):
        digest = hashlib.sha256()
        for region in sample_regions(pixels.shape):
            digest.update(np.ascontiguousarray(pixels[region]).tobytes())
        looked_at = digest.hexdigest()
    return f"{origin} {image.name} {tuple(pixels.shape)} {looked_at}"


def said_of_file(result: StoredResult) -> str:
    """Say what became of a prediction into a file, and how a cancelled one goes on."""
    if not result.complete:
        return f"Cancelled. To go on where it was, choose {result.path.name} again."
    count = "" if result.objects is None else f" {result.objects:,} objects."
    return f"Done: {result.path.name} is written.{count}"
