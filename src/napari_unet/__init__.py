"""Paint a few cells, train a U-Net, segment the rest: the headless interface.

Every name below is imported on first use (:pep:`562`), so that ``import napari_unet`` costs
neither the import of torch nor of Qt.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

from napari_unet.version import __version__ as __version__

if TYPE_CHECKING:
    from napari_unet.api.classification import classify_objects as classify_objects
    from napari_unet.api.classification import object_classifier as object_classifier
    from napari_unet.api.model import TrainedModel as TrainedModel
    from napari_unet.api.model import export_model as export_model
    from napari_unet.api.model import load_model as load_model
    from napari_unet.api.model import starting_model as starting_model
    from napari_unet.api.training import denoise as denoise
    from napari_unet.api.training import train as train
    from napari_unet.data.border_weights import border_weight_map as border_weight_map
    from napari_unet.evaluation.objects import error_map as error_map
    from napari_unet.evaluation.scores import evaluate as evaluate
    from napari_unet.io.annotations.reading import read_annotations as read_annotations
    from napari_unet.io.annotations.writing import write_objects as write_objects
    from napari_unet.io.classifiers import load_classifier as load_classifier
    from napari_unet.io.classifiers import save_classifier as save_classifier
    from napari_unet.io.files import read_image as read_image
    from napari_unet.io.files import read_labels as read_labels
    from napari_unet.io.files import write_image as write_image
    from napari_unet.model.config import UNetConfig as UNetConfig
    from napari_unet.model.unet import UNet as UNet
    from napari_unet.objects.classifier import ObjectClassifier as ObjectClassifier
    from napari_unet.objects.link_arrays import link as link
    from napari_unet.objects.measurements import measure as measure
    from napari_unet.training.config import TrainConfig as TrainConfig

# Operations that Apple's GPUs lack run on the CPU instead, and torch says so once. It reads this
# when it is imported, and no module of ours is imported before this one.
os.environ.setdefault("PYTORCH_ENABLE_MPS_FALLBACK", "1")

_HOME_OF = {
    "ObjectClassifier": "napari_unet.objects.classifier",
    "TrainConfig": "napari_unet.training.config",
    "TrainedModel": "napari_unet.api.model",
    "UNet": "napari_unet.model.unet",
    "UNetConfig": "napari_unet.model.config",
    "border_weight_map": "napari_unet.data.border_weights",
    "classify_objects": "napari_unet.api.classification",
    "denoise": "napari_unet.api.training",
    "error_map": "napari_unet.evaluation.objects",
    "evaluate": "napari_unet.evaluation.scores",
    "export_model": "napari_unet.api.model",
    "link": "napari_unet.objects.link_arrays",
    "load_classifier": "napari_unet.io.classifiers",
    "load_model": "napari_unet.api.model",
    "measure": "napari_unet.objects.measurements",
    "object_classifier": "napari_unet.api.classification",
    "read_annotations": "napari_unet.io.annotations.reading",
    "read_image": "napari_unet.io.files",
    "read_labels": "napari_unet.io.files",
    "save_classifier": "napari_unet.io.classifiers",
    "starting_model": "napari_unet.api.model",
    "train": "napari_unet.api.training",
    "write_image": "napari_unet.io.files",
    "write_objects": "napari_unet.io.annotations.writing",
}

__all__ = [*_HOME_OF, "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME_OF[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
