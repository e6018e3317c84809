"""Where a result lies: on the pixels of its image, without the axes that it does not have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.utils.transforms import CompositeAffine

from napari_unet.data.axes import SPATIAL_AXES, frame_axes, is_axes
from napari_unet.data.physical import micrometres

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.layers import Image, Labels
    from numpy.typing import NDArray

    from napari_unet.data.physical import PixelSize


def kept_axes(axes: str, ndim: int) -> tuple[int, ...]:
    """Return which axes of an image a result has, in the order of the result.

    Examples
    --------
    >>> kept_axes("ZCYX", 2)
    (0, 2, 3)
    """
    return tuple(axes.index(letter) for letter in frame_axes(axes, ndim) + SPATIAL_AXES[ndim])


def placement_along(image: Image | Labels, keep: Sequence[int]) -> dict[str, Any]:
    """Return where a layer must lie to cover an image layer.

    Parameters
    ----------
    image : Image or Labels
        The image.
    keep : sequence of int
        Its axes that the layer has, in the order of the layer.

    Returns
    -------
    dict
        Keyword arguments of a layer: scale, translate, rotate, shear, affine, units and axis
        labels. What turns a dropped axis into a kept one cannot be kept: then rotation, shear and
        affine are left out.
    """
    keep = list(keep)
    placement: dict[str, Any] = {
        "scale": np.asarray(image.scale)[keep],
        "translate": np.asarray(image.translate)[keep],
        "units": tuple(image.units[axis] for axis in keep),
        "axis_labels": tuple(image.axis_labels[axis] for axis in keep),
    }
    pixels, world = _transform_of(image), image.affine
    if _mixes(pixels.linear_matrix, keep) or _mixes(world.linear_matrix, keep):
        return placement
    kept = pixels.set_slice(keep)
    affine = np.eye(len(keep) + 1)
    affine[:-1, :-1] = world.linear_matrix[np.ix_(keep, keep)]
    affine[:-1, -1] = world.translate[keep]
    return placement | {"rotate": kept.rotate, "shear": kept.shear, "affine": affine}


def moved_to(placement: dict[str, Any], start: Sequence[int]) -> dict[str, Any]:
    """Return where a layer must lie whose first pixel is a pixel of a placed layer.

    Parameters
    ----------
    placement : dict
        Of `placement_along`.
    start : sequence of int
        That pixel.
    """
    parts = {name: placement.get(name) for name in ("scale", "rotate", "shear")}
    linear = CompositeAffine(ndim=len(start), **parts).linear_matrix
    return placement | {"translate": placement["translate"] + linear @ np.asarray(start, float)}


def _transform_of(image: Image | Labels) -> CompositeAffine:
    return CompositeAffine(
        scale=image.scale,
        translate=image.translate,
        rotate=image.rotate,
        shear=image.shear,
        ndim=image.ndim,
    )


def _mixes(matrix: NDArray[np.floating[Any]], keep: Sequence[int]) -> bool:
    """Return whether a matrix turns axes that are dropped into axes that are kept."""
    dropped = [axis for axis in range(len(matrix)) if axis not in keep]
    across = matrix[np.ix_(keep, dropped)], matrix[np.ix_(dropped, keep)]
    return any(bool(np.abs(part).max(initial=0) > 1e-9) for part in across)


# --- What napari's layers tell of their axes: letters, and micrometres per pixel -----------------
# The letters are the layer's own axis labels: what is corrected here is seen everywhere in napari.

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
