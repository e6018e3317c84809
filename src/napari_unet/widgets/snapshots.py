"""Frozen values of what the user sees now, for workers: they never touch a layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_unet.data.paint import copy_of_paint
from napari_unet.widgets.annotation import annotation_of
from napari_unet.widgets.layer_axes import named_axes_of, pixel_size_of
from napari_unet.widgets.layers import labels_of, notices_of, pixels_of
from napari_unet.widgets.regions import regions_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.layers import Image, Labels
    from napari.viewer import Viewer

    from napari_unet.model.record import ModelRecord
    from napari_unet.training.config import TrainConfig
    from napari_unet.training.dataset import AnnotatedImage

# What a model decides, not the form, where it is trained further.
_OF_THE_NETWORK = ("ndim", "base_channels", "depth", "padding", "normalization", "dropout")


@dataclass(frozen=True)
class LayerPair:
    """An image and the layer that it is annotated in.

    Parameters
    ----------
    image : Image
        The image layer.
    annotation : Labels
        The labels layer.
    """

    image: Image
    annotation: Labels


def annotated_image(viewer: Viewer, pair: LayerPair) -> AnnotatedImage:
    """Copy what is painted, so that painting can go on while a worker reads it."""
    from napari_unet.training.dataset import AnnotatedImage

    corrected = annotation_of(pair.annotation).corrected
    return AnnotatedImage(
        pair.image.name,
        pixels_of(pair.image),
        copy_of_paint(labels_of(pair.annotation)),
        regions_of(viewer, pair.annotation),
        None if corrected is None else copy_of_paint(corrected),
        named_axes_of(pair.image),
        pixel_size_of(pair.image),
        notices_of(pair.image),
    )


def annotated_images(viewer: Viewer, pairs: Sequence[LayerPair]) -> tuple[AnnotatedImage, ...]:
    """Copy what is painted on several images."""
    return tuple(annotated_image(viewer, pair) for pair in pairs)


def settings_to_continue(config: TrainConfig, record: ModelRecord) -> TrainConfig:
    """Return the settings of the form, with the network that a model has."""
    network = {name: getattr(record.network, name) for name in _OF_THE_NETWORK}
    patch = {}
    previous = record.training.get("patch_size")
    if isinstance(previous, int):
        patch["patch_size"] = previous
    return config.changed(**network, **patch)
