"""An image seen on a finer grid: each pixel is divided into as many along Y and X, bicubically.

The grids share the outer edges: the centre of the first fine pixel lies half a coarse pixel, less
half a fine one, before that of the first coarse pixel. What is seen of a region does not depend on
what else is read: tiles of it fit together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from napari_unet.data.axes import ArrayLike

# Keys' kernel (1981), a = -1/2: the usual one.
_SHARPNESS = -0.5
# So many pixels on each side take part.
_REACH = 2


@dataclass(frozen=True)
class FinerImage:
    """An image of any axes on a grid that is finer along Y and X; read lazily, as float32."""

    array: ArrayLike
    axes: str
    factor: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes along the axes, on the fine grid."""
        return tuple(
            size * self._factor_along(axis)
            for size, axis in zip(self.array.shape, self.axes, strict=True)
        )

    @property
    def dtype(self) -> np.dtype[Any]:
        """float32, or float64 where the image has more digits."""
        exact = np.can_cast(self.array.dtype, np.float32)
        return np.dtype(np.float32 if exact else np.float64)

    def __getitem__(self, key: Any, /) -> NDArray[Any]:
        """Read a box: a slice, or a number, per axis."""
        key = key if isinstance(key, tuple) else (key,)
        key = (*key, *[slice(None)] * (len(self.axes) - len(key)))
        wanted = [
            _positions(part, size * self._factor_along(axis))
            for part, size, axis in zip(key, self.array.shape, self.axes, strict=True)
        ]
        source = [
            _source(at, size, self._factor_along(axis))
            for at, size, axis in zip(wanted, self.array.shape, self.axes, strict=True)
        ]
        pixels = np.asarray(self.array[tuple(source)]).astype(self.dtype)
        for number, (axis, at, part) in enumerate(zip(self.axes, wanted, source, strict=True)):
            size, factor = self.array.shape[number], self._factor_along(axis)
            if factor > 1:
                pixels = _cubic(pixels, number, (at + 0.5) / factor - 0.5, part.start, size)
            else:
                pixels = pixels.take(at - part.start, number)
        numbers = tuple(axis for axis, part in enumerate(key) if not isinstance(part, slice))
        return np.asarray(pixels.squeeze(numbers))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Return all of it."""
        return self[()].astype(dtype or self.dtype)

    def _factor_along(self, axis: str) -> int:
        return self.factor if axis in "YX" else 1


def on_finer_grid(array: ArrayLike, axes: str, factor: int) -> ArrayLike:
    """Return an image on a grid that is so many times as fine; itself where that is once."""
    return array if factor == 1 else FinerImage(array, axes, factor)


def finer_size(pixel_size: Mapping[str, float], factor: int) -> dict[str, float]:
    """Return the size of pixels, by axis letter, on a grid that is so many times as fine."""
    return {axis: size / (factor if axis in "YX" else 1) for axis, size in pixel_size.items()}


def _positions(part: slice | int, size: int) -> NDArray[np.intp]:
    numbers = np.arange(size)[part]
    return np.atleast_1d(numbers).astype(np.intp)


def _source(at: NDArray[np.intp], size: int, factor: int) -> slice:
    """Find the pixels of an axis of the image from which positions of the grid are made."""
    if not at.size:
        return slice(0, 1)
    low, high = int(at.min()) // factor, int(at.max()) // factor
    reach = _REACH if factor > 1 else 0
    return slice(max(0, low - reach), min(size, high + reach + 1))


def _cubic(
    pixels: NDArray[Any], axis: int, at: NDArray[np.float64], first: int, size: int
) -> NDArray[Any]:
    """Interpolate along an axis of `size`, of which `pixels` begin at `first`; edges go on."""
    base = np.floor(at).astype(np.intp)
    shape = [-1 if each == axis else 1 for each in range(pixels.ndim)]
    total: NDArray[Any] = np.zeros(1, pixels.dtype)
    for step in range(1 - _REACH, _REACH + 1):
        distance = np.abs(at - (base + step))
        weights = _kernel(distance).astype(pixels.dtype).reshape(shape)
        total = total + weights * pixels.take((base + step).clip(0, size - 1) - first, axis)
    return total


def _kernel(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    a, d = _SHARPNESS, distance
    near = (a + 2) * d**3 - (a + 3) * d**2 + 1
    far = a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a
    return np.where(d <= 1, near, np.where(d < _REACH, far, 0.0))
