"""Show what each painted pixel counts in a training, as an image layer."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from napari.layers import Image

from napari_unet.errors import LabelsError
from napari_unet.widgets.common.annotation import annotation_of, image_for, question_about
from napari_unet.widgets.common.layers import METADATA_KEY, labels_of, plain_layers
from napari_unet.widgets.common.pairs import LayerPair, annotated_images, ticked_pairs
from napari_unet.widgets.common.placement import placement_along
from napari_unet.widgets.common.session import session_of
from napari_unet.widgets.common.visible import frame_and_region, visible_box

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Sequence

    from napari.layers import Labels
    from napari.viewer import Viewer
    from numpy.typing import NDArray

    from napari_unet.training.config import TrainConfig
    from napari_unet.training.dataset import AnnotatedImage


def weighing(viewer: Viewer, layer: Labels) -> Callable[[threading.Event], NDArray[Any]]:
    """Return what computes the weights of the frame on screen, as *Train* would learn from it.

    LabelsError if it is not clear which image the layer is of.
    """
    pairs, image = ticked_pairs(viewer), image_for(viewer, layer)
    if all(pair.annotation is not layer for pair in pairs):
        if image is None:
            raise LabelsError(question_about(viewer, layer) or f"{layer.name} is of no image.")
        pairs = (LayerPair(image, layer),)
    number = [pair.annotation for pair in pairs].index(layer)
    config = session_of(viewer).settings.changed(kind=annotation_of(layer).kind)
    shape = labels_of(layer).shape
    index, _ = frame_and_region(visible_box(viewer, pairs[number].image, shape), config.ndim)
    return partial(_weights, annotated_images(viewer, pairs), number, index, config)


def _weights(
    images: Sequence[AnnotatedImage],
    number: int,
    index: tuple[int, ...],
    config: TrainConfig,
    stop: threading.Event,
) -> NDArray[Any]:
    """Compute, in a worker thread, what each pixel of a frame counts: ``[Z]YX`` float32."""
    from napari_unet.training.preparation import prepare_training
    from napari_unet.training.targets import weights_in_image

    data = prepare_training(images, config)
    shape = images[number].labels.shape[-config.ndim :]
    return weights_in_image(data, number, index, shape)


def show_weights(viewer: Viewer, annotation: Labels, weights: NDArray[Any]) -> Image:
    """Show weights in the layer of an earlier map, or in a new one."""
    name = f"{annotation.name}: weights"
    axes = list(range(annotation.ndim - weights.ndim, annotation.ndim))
    for layer in plain_layers(viewer):
        same = isinstance(layer, Image) and layer.name == name and METADATA_KEY in layer.metadata
        if same and layer.data.shape == weights.shape:
            layer.data = weights
            layer.reset_contrast_limits()
            shown: Image = layer
            return shown
    layer = Image(
        weights,
        name=name,
        colormap="inferno",
        blending="additive",
        opacity=0.7,
        metadata={METADATA_KEY: None},
        **placement_along(annotation, axes),
    )
    viewer.add_layer(layer)
    return layer
