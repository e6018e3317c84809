"""The compiled heart of the border weights: see `napari_unet.data.border_weights`.

Positions are uint64 where they index arrays: numba then need not ask whether they are negative.

What uses this begins to compile when it is imported (about a second, once on a machine; numba
keeps the result on disk). So it is imported inside the functions that call it, and nothing here
may come along with ``import napari_unet``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ParamSpec, TypeVar

import numpy as np
from numba import njit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Ids = NDArray[np.int32]
    Squares = NDArray[np.float32]
    NearestTwo = tuple[np.int32, np.float32, np.int32, np.float32]
    from collections.abc import Callable

_FAR = np.float32(np.inf)
_ROUNDED_UP = np.float32(1.0001)
Taken = ParamSpec("Taken")
Given = TypeVar("Given")


def compiled(signature: str) -> Callable[[Callable[Taken, Given]], Callable[Taken, Given]]:
    """Compile a function for one signature, such as ``"void(i4[:,::1], f4)"``, without the GIL.

    One signature, and arrays that are known to be contiguous, keep compiling short. Compiled code
    is kept beside the module, or in the user's cache folder where that may not be written; where
    neither can be, each process compiles anew.
    """

    def compile_it(function: Callable[Taken, Given]) -> Callable[Taken, Given]:
        try:
            return njit(signature, nogil=True, cache=True)(function)
        except (RuntimeError, OSError):  # no folder may be written, or the disk is full
            return njit(signature, nogil=True)(function)

    return compile_it


@compiled("Tuple((i4, f4, i4, f4))(Tuple((i4, f4, i4, f4)), i4, f4)")
def _met(pair: NearestTwo, candidate: np.int32, square: np.float32) -> NearestTwo:
    """Return the two nearest distinct objects of a pair and one candidate more."""
    first, first_square, second, second_square = pair
    if candidate == first:
        return first, min(first_square, square), second, second_square
    if square < first_square:
        return candidate, square, first, first_square
    if square < second_square:
        return first, first_square, candidate, square
    return pair


@compiled("void(i4[:,::1], f4, i4[:,::1], f4[:,::1], i4[:,:,::1], f4[:,:,::1])")
def look_along_first(
    labels: Ids,
    step: float,
    met: Ids,
    met_at: Squares,
    objects: Ids,
    squares: Squares,
) -> None:
    """Give each pixel the two nearest distinct objects of its line along the first axis.

    On the way there and on the way back these are the last two that were met.

    Parameters
    ----------
    labels : ndarray
        Shape (length, other axes); 0 background.
    step : float
        Distance of one pixel to the next.
    met, met_at : ndarray
        Buffers of shape (2, other axes); `met` is 0.
    objects, squares : ndarray
        Result, shape (2, length, other axes): the objects, 0 for none, and their squared
        distances, infinite for none.
    """
    length, width = labels.shape
    for count in range(2 * length):
        back = count >= length
        row = 2 * length - 1 - count if back else count
        if count == length:
            for column in range(width):
                met[0, column] = met[1, column] = 0
        for column in range(width):
            here = np.uint64(column)
            label = labels[row, here]
            if label != 0:
                if label != met[0, here]:
                    met[1, here], met_at[1, here] = met[0, here], met_at[0, here]
                    met[0, here] = label
                met_at[0, here] = row
            one, other = met[0, here], met[1, here]
            near = (np.float32(row) - met_at[0, here]) * step if one != 0 else _FAR
            far = (np.float32(row) - met_at[1, here]) * step if other != 0 else _FAR
            near *= near
            far *= far
            if not back:
                objects[0, row, here], objects[1, row, here] = one, other
                squares[0, row, here], squares[1, row, here] = near, far
            elif near < squares[1, row, here]:
                pair = (
                    objects[0, row, here],
                    squares[0, row, here],
                    objects[1, row, here],
                    squares[1, row, here],
                )
                pair = _met(_met(pair, one, near), other, far)
                objects[0, row, here], squares[0, row, here] = pair[0], pair[1]
                objects[1, row, here], squares[1, row, here] = pair[2], pair[3]


@compiled("void(f4[::1], f4, f4, b1, i4[:,::1], f4[:,::1], i4[:,:,:,::1], f4[:,:,:,::1])")
def look_along(
    away: Squares,
    limit: float,
    nearest_limit: float,
    background_only: bool,
    line_objects: Ids,
    line_squares: Squares,
    objects: Ids,
    squares: Squares,
) -> None:
    """Let each pixel meet the objects that the pixels on its line along one axis know.

    It looks no farther than where its second nearest object lies already.

    Parameters
    ----------
    away : ndarray
        Squared distance of 0, 1, 2 ... pixels, as far as the weights reach.
    limit : float
        Squared distances from this on do not count.
    nearest_limit : float
        Nor do those of the second object where that of the nearest is not below this.
    background_only : bool
        Leave out the pixels of objects: after the last axis nobody asks for these.
    line_objects, line_squares : ndarray
        Buffers of shape (2, as long as the line and twice `away`): 0 and infinite.
    objects, squares : ndarray
        Shape (2, axes before, length, axes after), as `look_along_first` leaves them; changed.
    """
    _, n_before, length, n_after = objects.shape
    step = np.sqrt(away[1]) if len(away) > 1 else _FAR
    margin = np.uint64(len(away))  # beyond the ends of the line there are no objects
    for before in range(n_before):
        for after in range(n_after):
            anybody = False
            for rank in range(2):
                for position in range(length):
                    here = np.uint64(position) + margin
                    line_objects[rank, here] = objects[rank, before, position, after]
                    line_squares[rank, here] = squares[rank, before, position, after]
                    anybody |= line_objects[rank, here] != 0
            if not anybody:
                continue
            beside = _FAR
            for position in range(length):
                here = np.uint64(position) + margin
                if background_only and line_squares[0, here] == 0:
                    beside = _FAR
                    continue
                pair = (
                    line_objects[0, here],
                    line_squares[0, here],
                    line_objects[1, here],
                    line_squares[1, here],
                )
                # the second object is at most a pixel farther away than from the pixel before
                farthest = min(limit, beside)
                bound = min(pair[3], farthest)
                end = bound if pair[1] < nearest_limit else min(bound, nearest_limit)
                for shift in range(np.uint64(1), margin):
                    square = away[shift]
                    if square >= end:
                        break
                    low, high = here - shift, here + shift
                    if min(line_squares[0, low], line_squares[0, high]) + square >= bound:
                        continue
                    for rank in range(np.uint64(2)):
                        pair = _met(pair, line_objects[rank, low], line_squares[rank, low] + square)
                        pair = _met(
                            pair, line_objects[rank, high], line_squares[rank, high] + square
                        )
                    bound = min(pair[3], farthest)
                    end = bound if pair[1] < nearest_limit else min(bound, nearest_limit)
                objects[0, before, position, after] = pair[0]
                squares[0, before, position, after] = pair[1]
                objects[1, before, position, after] = pair[2]
                squares[1, before, position, after] = pair[3]
                beside = np.sqrt(pair[3]) + step
                beside *= beside * _ROUNDED_UP


@compiled("void(i4[::1], f4[:,::1], f8, f8, f8, f4[::1])")
def enter_weights(
    labels: Ids, squares: Squares, reach: float, w0: float, sigma: float, weights: Squares
) -> None:
    """Write the weights of background pixels that have two objects near; others stay as they are.

    `squares` has the shape (2, pixels): squared distances to the nearest and the second nearest
    object. `reach` is the largest sum of both distances that has a weight.
    """
    for here in range(len(labels)):
        if labels[here] == 0:
            both = np.sqrt(np.float64(squares[0, here])) + np.sqrt(np.float64(squares[1, here]))
            if both <= reach:
                weights[here] = w0 * np.exp(-both * both / (2 * sigma * sigma))
