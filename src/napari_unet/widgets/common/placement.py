"""Where layers lie: results on the pixels of their image; axes; micrometres per pixel."""

from __future__ import annotations

import itertools
import math
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.utils.transforms import CompositeAffine
from scipy import ndimage

from napari_unet.data.axes import SPATIAL_AXES, frame_axes, is_axes, micrometres

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.layers import Image, Labels
    from numpy.typing import NDArray

    from napari_unet.data.axes import PixelSize

# Axis labels of layers. What is corrected there is seen everywhere in napari.
_LETTERS = {
    **dict.fromkeys(("t", "time", "frame"), "T"),
    **dict.fromkeys(("c", "ch", "channel", "channels"), "C"),
    **{"z": "Z", "y": "Y", "x": "X"},
}


def kept_axes(axes: str, ndim: int) -> tuple[int, ...]:
    """Return which axes of an image a result has, in the order of the result.

    Examples
    --------
    >>> kept_axes("ZCYX", 2)
    (0, 2, 3)
    """
    return tuple(axes.index(letter) for letter in frame_axes(axes, ndim) + SPATIAL_AXES[ndim])


def placement_along(image: Image | Labels, keep: Sequence[int]) -> dict[str, Any]:
    """Return how to place a layer that has the axes `keep` of an image, in this order, over it.

    Keyword arguments of a layer: scale, translate, units, axis labels, rotate, shear, affine. The
    last three are left out where they turn a dropped axis into a kept one.
    """
    keep = list(keep)
    placement: dict[str, Any] = {
        "scale": np.asarray(image.scale)[keep],
        "translate": np.asarray(image.translate)[keep],
        "units": tuple(image.units[axis] for axis in keep),
        "axis_labels": tuple(image.axis_labels[axis] for axis in keep),
    }
    parts = {name: getattr(image, name) for name in ("scale", "translate", "rotate", "shear")}
    pixels, world = CompositeAffine(ndim=image.ndim, **parts), image.affine
    if _mixes(pixels.linear_matrix, keep) or _mixes(world.linear_matrix, keep):
        return placement
    kept = pixels.set_slice(keep)
    affine = np.eye(len(keep) + 1)
    affine[:-1, :-1] = world.linear_matrix[np.ix_(keep, keep)]
    affine[:-1, -1] = world.translate[keep]
    return placement | {"rotate": kept.rotate, "shear": kept.shear, "affine": affine}


def moved_to(placement: dict[str, Any], start: Sequence[float] | NDArray[Any]) -> dict[str, Any]:
    """Return the placement of a layer that starts at a pixel of a placed layer."""
    parts = {name: placement.get(name) for name in ("scale", "rotate", "shear")}
    linear = CompositeAffine(ndim=len(start), **parts).linear_matrix
    return placement | {"translate": placement["translate"] + linear @ np.asarray(start, float)}


def on_finer_pixels(placement: dict[str, Any], factor: int) -> dict[str, Any]:
    """Return the placement of a layer whose pixels divide those of a placed one, along Y and X.

    Their outer edges agree, so that the first centre lies before that of the coarse pixels.
    """
    ndim = len(placement["scale"])
    parts = np.array([1.0] * (ndim - 2) + [1.0 / factor] * 2)
    return moved_to(placement, (parts - 1) / 2) | {"scale": placement["scale"] * parts}


def lies_over(layer: Labels, image: Image | Labels, keep: Sequence[int]) -> bool:
    """Return whether each pixel of labels is seen where the same pixel of an image is.

    The labels have the axes `keep` of the image. Less than half a pixel off counts as there.
    """
    same_units = tuple(layer.units) == tuple(image.units[axis] for axis in keep)
    here = world_matrix(layer, range(layer.ndim))
    if same_units and np.array_equal(here, world_matrix(image, keep)):
        return True  # as nearly always, and asked for each pair of layers at each event
    matrix = _to_pixels_of(image, layer, keep)
    ends = [(0, size - 1) for size in _finest(layer).shape]
    corners = np.array(list(itertools.product(*ends)), float)
    there = corners @ matrix[:-1, :-1].T + matrix[:-1, -1]
    return bool((np.abs(there - corners) < 0.5).all())


def seen_over(
    layer: Labels, image: Image, keep: Sequence[int], values: NDArray[Any]
) -> NDArray[Any]:
    """Return values of the pixels of labels at the pixels of an image over which they are seen.

    Each is that of the nearest pixel, and 0 where there is none; whole shifts are exact. Shape and
    axes as of the labels.
    """
    back = np.linalg.inv(_to_pixels_of(image, layer, keep))
    linear, start = back[:-1, :-1], back[:-1, -1]
    if np.abs(linear - np.diag(np.diag(linear))).max() > 1e-9:
        found: NDArray[Any] = ndimage.affine_transform(values, linear, start, order=0, cval=0)
        return found
    seen = np.zeros_like(values)
    into, taken = [], []
    for size, step, first in zip(values.shape, np.diag(linear), start, strict=True):
        nearest = np.floor(np.arange(size) * step + first + 0.5 + 1e-9).astype(np.intp)
        inside = np.flatnonzero((nearest >= 0) & (nearest < size))
        into.append(inside)
        taken.append(nearest[inside])
    seen[np.ix_(*into)] = values[np.ix_(*taken)]
    return seen


def world_matrix(layer: Image | Labels, keep: Sequence[int]) -> NDArray[np.float64]:
    """Return what takes pixels of a layer, along the axes `keep`, to the world; homogeneous."""
    indices = [*keep, layer.ndim]
    return _whole_matrix(layer)[np.ix_(indices, indices)]


# By layer, each with the extent it was computed for: napari makes another one when a layer moves.
_matrices: weakref.WeakKeyDictionary[Image | Labels, tuple[object, NDArray[np.float64]]] = (
    weakref.WeakKeyDictionary()
)


def _whole_matrix(layer: Image | Labels) -> NDArray[np.float64]:
    extent, matrix = _matrices.get(layer, (None, np.empty(0)))
    if extent is not layer.extent:
        parts = {name: getattr(layer, name) for name in ("scale", "translate", "rotate", "shear")}
        pixels = CompositeAffine(ndim=layer.ndim, **parts).affine_matrix
        matrix = layer.affine.affine_matrix @ pixels
        _matrices[layer] = layer.extent, matrix
    return matrix


def _to_pixels_of(image: Image | Labels, layer: Labels, keep: Sequence[int]) -> NDArray[np.float64]:
    """Return what takes pixels of labels to those of an image where they are seen; homogeneous."""
    world = world_matrix(layer, range(layer.ndim))
    for axis, of_image in enumerate(keep):
        lengths = [micrometres(1, str(unit)) for unit in (layer.units[axis], image.units[of_image])]
        if lengths[0] and lengths[1]:
            world[axis] *= lengths[0] / lengths[1]
    return np.linalg.inv(world_matrix(image, keep)) @ world


def _finest(layer: Labels) -> Any:
    return layer.data[0] if layer.multiscale else layer.data


def _mixes(matrix: NDArray[np.floating[Any]], keep: Sequence[int]) -> bool:
    """Return whether a matrix turns axes that are dropped into axes that are kept."""
    dropped = [axis for axis in range(len(matrix)) if axis not in keep]
    across = matrix[np.ix_(keep, dropped)], matrix[np.ix_(dropped, keep)]
    return any(bool(np.abs(part).max(initial=0) > 1e-9) for part in across)


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


def anisotropy_of_scale(image: Image | Labels) -> float | None:
    """Return how many times as thick as wide the voxels of a layer are by its scale alone.

    That needs no unit. None without an axis Z, and where the scale is the same along all axes, as
    it is where nobody has set it; or in different units.
    """
    axes = named_axes_of(image) or ("TCZYX"[-image.ndim :] if image.ndim <= 5 else "")
    scale = {axis: abs(float(each)) for axis, each in zip(axes, image.scale, strict=False)}
    units = {str(unit) for axis, unit in zip(axes, image.units, strict=False) if axis in "ZYX"}
    if len(units) > 1 or not all(scale.get(axis) for axis in "ZYX"):
        return None
    ratio = scale["Z"] / math.sqrt(scale["Y"] * scale["X"])
    return None if math.isclose(ratio, 1) else ratio


def pixel_size_of(image: Image | Labels, axes: str | None = None) -> PixelSize:
    """Return micrometres per pixel along those of ``ZYX`` whose length the layer knows.

    Without `axes`, those that the layer names count, else the last ones as (Z,) Y, X. Layers in
    pixels know no length.
    """
    axes = axes or named_axes_of(image) or ("TCZYX"[-image.ndim :] if image.ndim <= 5 else "")
    sizes = {}
    for letter, scale, unit in zip(axes, image.scale, image.units, strict=False):
        size = micrometres(abs(float(scale)), str(unit))
        if letter in "ZYX" and size is not None:
            sizes[letter] = size
    return sizes
