"""The text beside the presets: what each is for, and when another one fits the images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_unet.training.config import PRESET_HELP
from napari_unet.widgets.common.layers import labels_of
from napari_unet.widgets.common.placement import named_axes_of, pixel_size_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_unet.training.config import PresetName
    from napari_unet.widgets.common.pairs import LayerPair

_FEWEST_SLICES = 8  # from fewer a network learns nothing along Z

VOXEL_SIZE_HELP = (
    "The voxel size decides how much the network looks along Z. napari shows it as the layer's "
    "scale and units: set them before training, as in\n"
    "layer.scale = (2, 0.5, 0.5); layer.units = ('um', 'um', 'um')\n"
    "in napari's console, or save the image as OME-TIFF or OME-Zarr with its pixel size."
)


def preset_text(preset: PresetName, pairs: Sequence[LayerPair]) -> str:
    """Return what a preset is for, and what would fit the chosen images better."""
    text = PRESET_HELP[preset]
    stacks = [pair for pair in pairs if _may_be_stack(pair)]
    if preset != "3d" and stacks:
        return (
            f"{text} {stacks[0].image.name} has several slices: each is learned alone. If they "
            "are slices of a volume (Z), the preset 3d sees them together."
        )
    if preset == "3d" and pairs and not stacks:
        return f"{text} No chosen image has a Z axis of {_FEWEST_SLICES} slices or more."
    if preset == "3d" and any("Z" not in pixel_size_of(pair.image) for pair in stacks):
        return (
            f"{text} The voxel size is not known: set scale and units of the layer if slices "
            "are thicker than pixels are wide."
        )
    return text


def _may_be_stack(pair: LayerPair) -> bool:
    """Return whether an image has slices along Z, or along an axis without a name."""
    labels, axes = labels_of(pair.annotation), named_axes_of(pair.image)
    if axes is None:
        return len(labels.shape) == 3 and labels.shape[0] >= _FEWEST_SLICES
    of_labels = axes.replace("C", "")
    if "Z" not in of_labels or len(of_labels) != len(labels.shape):
        return False
    return bool(labels.shape[of_labels.index("Z")] >= _FEWEST_SLICES)
