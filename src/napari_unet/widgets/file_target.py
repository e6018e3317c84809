"""Predict an image into a file, whatever its size, and show the result from there."""

from __future__ import annotations

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
        pixels, where = pixels_of(self._image), self._image.source.path
        origin = Path(where) if where else None
        task.start(
            partial(stored_events, model, pixels, config, self.path, origin, self._image.name)
        )

    def _on_ended(self, outcome: Outcome) -> None:
        self._task.ended.disconnect(self._on_ended)
        result: Any = outcome.result if isinstance(outcome, Finished) else None
        if result is not None and result.complete:
            show_stored(self._viewer, result.path, result.kind, result.axes, self._placement)


def said_of_file(result: StoredResult) -> str:
    """Say what became of a prediction into a file, and how a cancelled one goes on."""
    if not result.complete:
        return f"Cancelled. To go on where it was, choose {result.path.name} again."
    count = "" if result.objects is None else f" {result.objects:,} objects."
    return f"Done: {result.path.name} is written.{count}"
