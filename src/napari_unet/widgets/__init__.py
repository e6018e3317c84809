"""Floor 5: the dock widgets; the only folder that knows napari and Qt.

Each name is imported on first use, so that opening one widget does not pay for the others.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from napari_unet.widgets.common.importing_torch import quietly

if TYPE_CHECKING:
    from napari_unet.widgets.annotate.dock import AnnotateWidget as AnnotateWidget
    from napari_unet.widgets.classify.dock import ClassifyWidget as ClassifyWidget
    from napari_unet.widgets.denoise.dock import DenoiseWidget as DenoiseWidget
    from napari_unet.widgets.models.dock import ModelsWidget as ModelsWidget
    from napari_unet.widgets.predict.dock import PredictWidget as PredictWidget
    from napari_unet.widgets.segment.dock import SegmentWidget as SegmentWidget
    from napari_unet.widgets.train.dock import TrainWidget as TrainWidget

_HOME_OF = {
    "AnnotateWidget": "napari_unet.widgets.annotate.dock",
    "ClassifyWidget": "napari_unet.widgets.classify.dock",
    "DenoiseWidget": "napari_unet.widgets.denoise.dock",
    "ModelsWidget": "napari_unet.widgets.models.dock",
    "PredictWidget": "napari_unet.widgets.predict.dock",
    "SegmentWidget": "napari_unet.widgets.segment.dock",
    "TrainWidget": "napari_unet.widgets.train.dock",
}

__all__ = [*_HOME_OF]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with quietly:  # else all objects of napari are gone through for garbage meanwhile
        return getattr(import_module(_HOME_OF[name]), name)
