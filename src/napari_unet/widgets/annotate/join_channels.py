"""Several image layers of one shape become the channels of one image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
from napari.layers import Image
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QPushButton

from napari_unet.widgets.common.layers import (
    METADATA_KEY,
    channel_axis_of,
    follow,
    plain_layers,
    unwrapped,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.viewer import Viewer

_TOOLTIP = (
    "Make one image of the image layers that are selected in the layer list, to learn from all of "
    "them: napari shows it with a slider for the channel. The single layers stay for looking at; "
    "nothing is copied from files. Select two or more of the same shape."
)


class JoinButton(QPushButton):
    """Joins the selected image layers of a viewer; enabled where that is possible."""

    joined: Final = Signal(object)  # the new image layer

    def __init__(self, viewer: Viewer) -> None:
        super().__init__("&Join channels")
        self._viewer = viewer
        self.setToolTip(_TOOLTIP)
        self.setAccessibleName("Join channels")
        self.setAutoDefault(True)  # Return works as the space bar does
        self.clicked.connect(self.join)
        follow(self, viewer.layers.selection.events.changed, self._show_possible)
        self._show_possible()

    def join(self) -> None:
        """Add the joined image, and show which it is."""
        images = joinable_images(self._viewer)
        if images:
            joined = join_channels(images)
            self._viewer.add_layer(joined)
            self.joined.emit(joined)

    def _show_possible(self, event: object = None) -> None:
        self.setEnabled(bool(joinable_images(self._viewer)))


def joinable_images(viewer: Viewer) -> tuple[Image, ...]:
    """Return the selected image layers, the lowest first; none where they cannot be joined."""
    selected = {id(unwrapped(layer)) for layer in viewer.layers.selection}
    images = [
        layer
        for layer in plain_layers(viewer)
        if id(layer) in selected and isinstance(layer, Image) and METADATA_KEY not in layer.metadata
    ]
    single = all(not image.rgb and channel_axis_of(image) is None for image in images)
    shapes = {tuple(tuple(level.shape) for level in _levels(image)) for image in images}
    return tuple(images) if single and len(images) > 1 and len(shapes) == 1 else ()


def join_channels(images: Sequence[Image]) -> Image:
    """Return an image layer with a first axis ``c``, placed as the first of some layers.

    Takes at least two, of the same shape, without a channel axis. Lazy layers stay lazy: nothing is
    read. Multiscale layers are joined level by level.
    """
    levels = [_stacked(level) for level in zip(*map(_levels, images), strict=True)]
    first = images[0]
    lows, highs = zip(*(image.contrast_limits for image in images), strict=True)
    return Image(
        levels if first.multiscale else levels[0],
        name=" + ".join(image.name for image in images),
        multiscale=first.multiscale,
        contrast_limits=(min(lows), max(highs)),
        rgb=False,
        **_placement(first),
    )


def _levels(image: Image) -> list[Any]:
    return list(image.data) if image.multiscale else [image.data]


def _stacked(arrays: Sequence[Any]) -> Any:
    if all(isinstance(a, np.ndarray) and not isinstance(a, np.memmap) for a in arrays):
        return np.stack(arrays)
    import dask.array

    da: Any = dask.array  # without types of its own

    # Without a name of their own dask would read the arrays to give them one
    lazy = [a if isinstance(a, da.Array) else da.from_array(a, name=False) for a in arrays]
    return da.stack(lazy)


def _placement(image: Image) -> dict[str, Any]:
    """Return where an image with one more axis in front must lie to cover an image."""
    axes = ("y", "x") if image.ndim == 2 else tuple(image.axis_labels)
    return {
        "scale": (1, *image.scale),
        "translate": (0, *image.translate),
        "rotate": _with_axis(image.rotate),
        "shear": (*(0.0,) * image.ndim, *np.ravel(image.shear)),
        "affine": _with_axis(image.affine.affine_matrix),
        "units": ("pixel", *image.units),
        "axis_labels": ("c", *axes),
    }


def _with_axis(matrix: Any) -> Any:
    """Return a matrix that leaves a further first axis alone."""
    larger = np.eye(len(matrix) + 1)
    larger[1:, 1:] = matrix
    return larger
