"""The border weight map: what makes the network learn the gaps between touching cells.

Equation 2 of Ronneberger, Fischer and Brox (2015) weights each pixel by
``wc(x) + w0 * exp(-(d1(x) + d2(x))**2 / (2 * sigma**2))``, where d1 and d2 are the distances to
the nearest pixel of the nearest and of the second nearest object.

Both distances come from one *two-label feature transform*. Every pixel carries the two nearest
distinct objects found so far with their squared distances; one pass per axis lets it look along
that axis only. Nothing is lost by going axis by axis: if an object is among the two nearest to a
pixel, it is also among the two nearest within the line in which its nearest point lies. The cost
is that of pixels times the reach of the weight, whatever the number of objects.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

DEFAULT_W0 = 10.0
DEFAULT_SIGMA = 5.0
# Weights below this are left at 0: it bounds how far a pixel has to look.
_SMALLEST_WEIGHT = 1e-6


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
    """
    labels = np.asarray(labels)
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
    reach = sigma * np.sqrt(2 * np.log(w0 / _SMALLEST_WEIGHT))
    nearest = two_nearest_objects(labels, reach, steps)
    near = np.isfinite(nearest.second) & (labels == 0)
    distance_sum = np.sqrt(nearest.first[near]) + np.sqrt(nearest.second[near])
    weights[near] = w0 * np.exp(-(distance_sum**2) / (2 * sigma**2))
    return weights


@dataclass(frozen=True)
class TwoNearest:
    """The two nearest distinct objects of each pixel.

    Parameters
    ----------
    first_object, second_object : ndarray
        Index of the object, -1 where there is none in reach.
    first, second : ndarray
        Squared Euclidean distance to the nearest pixel of it; infinite where there is none.
    """

    first_object: NDArray[np.int32]
    second_object: NDArray[np.int32]
    first: NDArray[np.float64]
    second: NDArray[np.float64]

    def with_first_axis(self, axis: int) -> TwoNearest:
        """Return contiguous copies with `axis` moved to the front."""
        return TwoNearest(
            np.ascontiguousarray(np.moveaxis(self.first_object, axis, 0)),
            np.ascontiguousarray(np.moveaxis(self.second_object, axis, 0)),
            np.ascontiguousarray(np.moveaxis(self.first, axis, 0)),
            np.ascontiguousarray(np.moveaxis(self.second, axis, 0)),
        )

    def with_axis_back(self, axis: int) -> TwoNearest:
        """Return views with the front axis moved to `axis`."""
        return TwoNearest(
            np.moveaxis(self.first_object, 0, axis),
            np.moveaxis(self.second_object, 0, axis),
            np.moveaxis(self.first, 0, axis),
            np.moveaxis(self.second, 0, axis),
        )


def two_nearest_objects(labels: NDArray[Any], reach: float, spacing: Sequence[float]) -> TwoNearest:
    """Find the two nearest distinct objects of each pixel, exactly, as far as `reach`.

    Parameters
    ----------
    labels : ndarray
        Any number of axes and any integer dtype; 0 is background.
    reach : float
        Objects farther away than this count as absent; in units of `spacing`.
    spacing : sequence of float
        Pixel size along each axis.
    """
    index = np.unique(labels, return_inverse=True)[1]
    objects = index.reshape(labels.shape).astype(np.int32)
    objects[labels == 0] = -1  # no object
    state = TwoNearest(
        objects,
        np.full(labels.shape, -1, np.int32),
        np.where(objects >= 0, 0.0, np.inf),
        np.full(labels.shape, np.inf),
    )
    for axis, step in enumerate(spacing):
        state = _look_along(state, axis, step, reach)
    return state


def _look_along(before: TwoNearest, axis: int, step: float, reach: float) -> TwoNearest:
    """Let each pixel meet the candidates of all pixels on its line along `axis`."""
    # Contiguous lines along the first axis make every shift a plain slice of a flat array.
    old = before.with_first_axis(axis)
    after = TwoNearest(
        old.first_object.copy(), old.second_object.copy(), old.first.copy(), old.second.copy()
    )
    candidates = [(old.first_object, old.first)]
    if np.isfinite(old.second).any():
        candidates.append((old.second_object, old.second))
    farthest = min(int(reach / step), len(old.first) - 1)
    for shift in range(1, farthest + 1):
        for there, here in (
            (slice(shift, None), slice(None, -shift)),
            (slice(None, -shift), slice(shift, None)),
        ):
            for objects, distances in candidates:
                _meet(after, here, objects[there], distances[there] + (shift * step) ** 2, reach)
    return after.with_axis_back(axis)


def _meet(
    state: TwoNearest,
    here: slice,
    objects: NDArray[np.int32],
    distances: NDArray[np.float64],
    reach: float,
) -> None:
    """Enter one candidate per pixel into `state`, in place, where it is nearer than the second."""
    bound = np.minimum(state.second[here], reach**2)
    better = np.flatnonzero(distances <= bound)  # rare after the first few shifts
    if better.size == 0:
        return
    # Slices along the first axis of contiguous arrays are contiguous: these are views.
    first_object, second_object, first, second = (
        values[here].reshape(-1)
        for values in (state.first_object, state.second_object, state.first, state.second)
    )
    candidate, distance = objects.reshape(-1)[better], distances.reshape(-1)[better]

    same = candidate == first_object[better]
    nearer = better[same]
    first[nearer] = np.minimum(first[nearer], distance[same])

    better, candidate, distance = better[~same], candidate[~same], distance[~same]
    overtakes = distance < first[better]
    won = better[overtakes]
    second_object[won], second[won] = first_object[won], first[won]
    first_object[won], first[won] = candidate[overtakes], distance[overtakes]

    lost = better[~overtakes]
    nearer_second = distance[~overtakes] < second[lost]
    lost = lost[nearer_second]
    second_object[lost] = candidate[~overtakes][nearer_second]
    second[lost] = distance[~overtakes][nearer_second]
