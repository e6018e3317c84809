"""How far a whole frame has moved since the one before, for example because the stage drifts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Mask = NDArray[np.bool_]

_LARGEST = 2**22  # pixels whose correlation is computed; larger masks are read in steps
# A lesser gain may be chance: cells that move on their own also fit a little better elsewhere.
_LEAST_GAIN = 1.1


def drift_between(previous: Mask, following: Mask) -> tuple[int, ...]:
    """Find the shift of a foreground, ``[Z]YX``, that brings most of it onto the next one.

    Returns whole pixels per axis to add to positions in `previous`; zeros where a shift gains less
    than a tenth of overlap. Masks of more than 4 million pixels are read in steps along Y and X:
    the shift is then a multiple of the step.
    """
    nowhere = (0,) * previous.ndim
    if not previous.any() or not following.any():
        return nowhere
    step = 1
    while previous.size / step**2 > _LARGEST:
        step += 1
    thinned = (..., slice(None, None, step), slice(None, None, step))
    overlap = _overlap_at_each_shift(previous[thinned], following[thinned])
    best = np.unravel_index(int(overlap.argmax()), overlap.shape)
    if overlap[best] < _LEAST_GAIN * overlap[nowhere]:
        return nowhere
    steps = [1] * (previous.ndim - 2) + [step, step]
    return tuple(
        each * (int(at) - size if at > size // 2 else int(at))
        for at, size, each in zip(best, overlap.shape, steps, strict=True)
    )


def _overlap_at_each_shift(previous: Mask, following: Mask) -> NDArray[np.float32]:
    """Correlate circularly: pixels that two masks share once the first is shifted.

    As scikit-image's `phase_cross_correlation`, but of real numbers and in sizes that are fast.
    """
    import scipy.fft  # on use: windows open without it

    shape = tuple(scipy.fft.next_fast_len(size, real=True) for size in previous.shape)
    first = scipy.fft.rfftn(previous.astype(np.float32), shape)
    second = scipy.fft.rfftn(following.astype(np.float32), shape)
    overlap: NDArray[np.float32] = scipy.fft.irfftn(first.conj() * second, shape)
    return overlap


def shared_part(
    previous: NDArray[Any], following: NDArray[Any], shift: tuple[int, ...]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the parts of two frames that lie on each other once the first is shifted.

    They are views of one shape, empty where the shift is larger than the frame.
    """
    here, there = [], []
    for size, by in zip(previous.shape, shift, strict=True):
        length = max(size - abs(by), 0)
        here.append(slice(max(-by, 0), max(-by, 0) + length))
        there.append(slice(max(by, 0), max(by, 0) + length))
    return previous[tuple(here)], following[tuple(there)]
