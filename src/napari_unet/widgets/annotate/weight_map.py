"""Show the border weight map of what is painted, as an image layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari.layers import Image

from napari_unet.widgets.common.layers import METADATA_KEY, plain_layers
from napari_unet.widgets.common.placement import placement_along

if TYPE_CHECKING:
    import threading

    from napari.layers import Labels
    from napari.viewer import Viewer
    from numpy.typing import NDArray

    from napari_unet.training.config import TrainConfig


def compute_weights(
    labels: NDArray[Any], config: TrainConfig, stop: threading.Event
) -> NDArray[Any]:
    """Compute the weights of one plane or volume, in a worker thread.

    Returns ``[Z]YX`` float32: what each pixel counts in the loss; 0 where unlabelled.
    """
    import numpy as np

    from napari_unet.tasks import class_table
    from napari_unet.training.targets import class_balance, frame_target, pixel_weights, sigma_of

    table = class_table([labels], config.kind, config.unpainted)
    sigma = sigma_of(config, table.task.diameter([labels], table.unpainted))
    config = config.changed(border_sigma=sigma)
    target = frame_target(labels, table, config, 1.0)
    nothing = [np.zeros(labels.shape, bool)]
    balance = class_balance([target.classes], nothing, table.n_classes, config)
    return pixel_weights(target, balance, config)


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
