"""Where a result lies: on the pixels of its image, without the axes that it does not have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.utils.transforms import CompositeAffine

from napari_unet.data.axes import SPATIAL_AXES, frame_axes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.layers import Image, Labels
    from numpy.typing import NDArray


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
