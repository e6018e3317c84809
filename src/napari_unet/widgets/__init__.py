"""Floor 5: the dock widgets; the only folder that knows napari and Qt.

Each name is imported on first use, so that opening one widget does not pay for the others.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_unet.widgets.annotate import AnnotateWidget as AnnotateWidget
    from napari_unet.widgets.models import ModelsWidget as ModelsWidget
    from napari_unet.widgets.predict import PredictWidget as PredictWidget
    from napari_unet.widgets.train import TrainWidget as TrainWidget

_HOME_OF = {
    "AnnotateWidget": "napari_unet.widgets.annotate",
    "ModelsWidget": "napari_unet.widgets.models",
    "PredictWidget": "napari_unet.widgets.predict",
    "TrainWidget": "napari_unet.widgets.train",
}

__all__ = ["AnnotateWidget", "ModelsWidget", "PredictWidget", "TrainWidget"]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME_OF[name]), name)
