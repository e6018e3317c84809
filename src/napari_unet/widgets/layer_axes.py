"""What napari's layers tell of their axes: letters, and micrometres per pixel.

The letters are the layer's own axis labels: what is corrected here is seen everywhere in napari.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_unet.data.axes import is_axes
from napari_unet.data.physical import micrometres

if TYPE_CHECKING:
    from napari.layers import Image, Labels

    from napari_unet.data.physical import PixelSize

_LETTERS = {
    "t": "T",
    "time": "T",
    "frame": "T",
    "c": "C",
    "ch": "C",
    "channel": "C",
    "channels": "C",
    "z": "Z",
    "y": "Y",
    "x": "X",
}


def named_axes_of(layer: Image | Labels) -> str | None:
    """Return the axes of a layer's pixels as letters TCZYX, where its axis labels name them all.

    Colour layers end in C, which napari hides.
    """
    letters = "".join(_LETTERS.get(str(label).lower(), "?") for label in layer.axis_labels)
    axes = letters + ("C" if getattr(layer, "rgb", False) else "")
    return axes if is_axes(axes) else None


def name_axes(image: Image, axes: str) -> None:
    """Give a layer axis labels; the C of colours is left out, since napari hides that axis."""
    visible = axes[:-1] if image.rgb else axes
    image.axis_labels = tuple(letter.lower() for letter in visible)


def pixel_size_of(image: Image | Labels, axes: str | None = None) -> PixelSize:
    """Return micrometres per pixel along those of ``ZYX`` whose length the layer tells.

    Layers in pixels tell nothing.

    Parameters
    ----------
    image : Image
        The layer.
    axes : str or None
        Axes of its pixels where they are known from elsewhere; else those that it names, else
        the last ones count as (Z,) Y, X.
    """
    axes = axes or named_axes_of(image) or ("TCZYX"[-image.ndim :] if image.ndim <= 5 else "")
    sizes = {}
    for letter, scale, unit in zip(axes, image.scale, image.units, strict=False):
        size = micrometres(abs(float(scale)), str(unit))
        if letter in "ZYX" and size is not None:
            sizes[letter] = size
    return sizes
