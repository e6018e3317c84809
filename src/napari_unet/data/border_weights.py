"""The border weight map: what makes the network learn the gaps between touching cells.

Equation 2 of Ronneberger, Fischer and Brox (2015) weights each pixel by
``wc(x) + w0 * exp(-(d1(x) + d2(x))**2 / (2 * sigma**2))``, where d1 and d2 are the distances to
the nearest pixel of the nearest and of the second nearest object.

Both distances come from one *two-label feature transform*. Every pixel carries the two nearest
distinct objects found so far with their squared distances; one pass per axis lets it look along
that axis only. Nothing is lost by going axis by axis: if an object is among the two nearest to a
pixel, it is also among the two nearest within the line in which its nearest point lies. The cost
is that of pixels times the distance to the second object, at most the reach of the weight,
whatever the number of objects.
"""

from __future__ import annotations

import math
import reprlib
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.errors import NUMBER, ConfigError, accepting, list_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

DEFAULT_W0 = 10.0
DEFAULT_SIGMA = 5.0
# Weights below this are left at 0: it bounds how far a pixel has to look.
_SMALLEST_WEIGHT = 1e-6
# Squares of longer distances do not fit into float32.
_LARGEST_REACH = 1e18


@accepting(w0=NUMBER, sigma=NUMBER, spacing=list_of(NUMBER))
def border_weight_map(
    labels: NDArray[Any],
    w0: float = DEFAULT_W0,
    sigma: float = DEFAULT_SIGMA,
    spacing: Sequence[float] | None = None,
) -> NDArray[np.float32]:
    """Compute the touching-object term of the paper's pixel weights (equation 2).

    Parameters
    ----------
    labels : ndarray
        ``[Z]YX``, any integer dtype: 0 background, each other value one object.
    w0 : float
        Height of the weight where two objects nearly touch.
    sigma : float
        Its width, in pixels (in units of `spacing` where that is given).
    spacing : sequence of float, optional
        Pixel size along each axis; 1 by default.

    Returns
    -------
    ndarray
        Same shape, float32; 0 inside objects and where fewer than two objects are near.

    Raises
    ------
    ConfigError
        `w0` is negative, or `sigma` or a spacing is not positive.

    References
    ----------
    O. Ronneberger, P. Fischer and T. Brox: U-Net: Convolutional Networks for Biomedical Image
    Segmentation, MICCAI 2015, equation 2 (arXiv 1505.04597).
    """
    labels = np.asarray(labels)
    if not labels.ndim or labels.dtype.kind not in "uibf":
        raise ConfigError(f"labels is {reprlib.repr(labels)}; give an array of whole numbers.")
    steps = tuple(1.0 for _ in labels.shape) if spacing is None else tuple(map(float, spacing))
    usable = w0 >= 0 and sigma > 0 and len(steps) == labels.ndim and min(steps, default=1.0) > 0
    if not usable or not np.isfinite([w0, sigma, *steps]).all():
        raise ConfigError(
            f"The border weight needs w0 >= 0, sigma > 0 and a positive spacing per axis, not "
            f"w0={w0}, sigma={sigma}, spacing={spacing}."
        )
    weights = np.zeros(labels.shape, np.float32)
    if w0 <= _SMALLEST_WEIGHT or labels.size == 0:
        return weights
    reach = min(sigma * float(np.sqrt(2 * np.log(w0 / _SMALLEST_WEIGHT))), _LARGEST_REACH)
    _enter_weights(_as_int32(labels), steps, reach, float(w0), float(sigma), weights)
    return weights


def _as_int32(labels: NDArray[Any]) -> NDArray[np.int32]:
    """Return other numbers of the same objects, which fit into int32; 0 stays background."""
    # uint32 wraps to negative numbers: those serve as well.
    narrow = labels.dtype.itemsize <= np.dtype(np.int32).itemsize
    bounds = np.iinfo(np.int32)
    if narrow or (int(labels.min()) >= bounds.min and int(labels.max()) <= bounds.max):
        return np.ascontiguousarray(labels, np.int32)
    index = np.unique(labels, return_inverse=True)[1].reshape(labels.shape)
    return np.where(labels == 0, 0, index + 1).astype(np.int32)


def _enter_weights(
    labels: NDArray[np.int32],
    steps: Sequence[float],
    reach: float,
    w0: float,
    sigma: float,
    weights: NDArray[np.float32],
) -> None:
    """Find the two nearest objects, axis by axis, and write the weights."""
    from napari_unet.data import border_kernel  # compiles on its first use

    objects = np.empty((2, *labels.shape), np.int32)
    squares = np.empty((2, *labels.shape), np.float32)
    with np.errstate(over="ignore"):  # squares beyond float32 are as good as infinite
        lines = labels.reshape(len(labels), -1)
        border_kernel.look_along_first(
            lines,
            min(steps[0], _LARGEST_REACH),
            np.zeros((2, lines.shape[1]), np.int32),
            np.zeros((2, lines.shape[1]), np.float32),
            objects.reshape(2, *lines.shape),
            squares.reshape(2, *lines.shape),
        )
        for axis in range(1, labels.ndim):
            _look_along(axis, steps[axis], reach, objects, squares)
    border_kernel.enter_weights(
        labels.ravel(), squares.reshape(2, -1), reach, w0, sigma, weights.reshape(-1)
    )


def _look_along(
    axis: int,
    step: float,
    reach: float,
    objects: NDArray[np.int32],
    squares: NDArray[np.float32],
) -> None:
    """Let each pixel meet the objects along an axis; both arrays, (2, ``[Z]YX``), are changed."""
    from napari_unet.data import border_kernel

    shape = objects.shape[1:]
    limit, half_limit = np.nextafter(
        np.array([reach**2, (reach / 2) ** 2], np.float32), np.float32(np.inf)
    )
    length, last = shape[axis], axis == len(shape) - 1
    count = int(min(reach / step, length - 1)) + 1
    away = ((np.arange(count) * step) ** 2).astype(np.float32)
    by_axis = (2, math.prod(shape[:axis]), length, math.prod(shape[axis + 1 :]))
    border_kernel.look_along(
        away,
        limit,
        # Both distances count together: the nearer one is at most half.
        half_limit if last else limit,
        last,
        np.zeros((2, length + 2 * len(away)), np.int32),
        np.full((2, length + 2 * len(away)), np.inf, np.float32),
        objects.reshape(by_axis),
        squares.reshape(by_axis),
    )
