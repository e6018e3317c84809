"""Exporting in a worker thread: torch is imported here."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from napari_unet.errors import ImageError, ModelMismatchError

if TYPE_CHECKING:
    import threading
    from collections.abc import Generator
    from pathlib import Path

    from napari_unet.exchange.export_config import ExportConfig, Exported
    from napari_unet.model.trained import TrainedNetwork


def export_events(
    model: TrainedNetwork, path: Path, config: ExportConfig, stop: threading.Event
) -> Generator[object, None, Exported | None]:
    """Export a model; on a texture where the selected image is not one for this model."""
    from napari_unet.exchange.export import export_model
    from napari_unet.prediction.config import PredictConfig
    from napari_unet.prediction.plan import plan_prediction

    if config.image is not None:
        try:
            plan_prediction(model.record, config.image, PredictConfig(axes=config.axes))
        except (ImageError, ModelMismatchError):
            config = replace(config, image=None, axes=None)
    return (yield from export_model(model, path, config, stop))
