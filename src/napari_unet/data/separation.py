"""From foreground probabilities to separate objects.

The network learned a one-pixel ridge of background between touching objects. So the foreground
falls apart into 4-connected components (8 neighbours would join 44 % of them again). Where the
ridge is weak, a component still falls apart at a higher threshold: it is then split, if at least
two of the parts are considerable, the more so the higher the threshold, where single cells fall
apart as well. The parts grow back over the ridge.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage as ndi
from skimage.segmentation import watershed

from napari_unet.data.rescaling import plane_factors

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_unet.data.rescaling import Factors

# Ridges are one pixel wide in the labels; a network draws them up to about three wide.
_RIDGE_RADIUS = 2
# At these shares of the way from the threshold to certainty a component may fall apart, if its
# parts have at least such a share of its area. Compared on three sets (docs/accuracy.md).
_SPLITTING_LEVELS = ((0.4, 0.1), (0.7, 0.2), (0.9, 0.3))
# Pixels above this probability are foreground, where no better threshold was found.
DEFAULT_THRESHOLD = 0.5


def separate_objects(
    foreground: NDArray[np.float32],
    smallest: int = 0,
    threshold: float = DEFAULT_THRESHOLD,
    binning: int = 1,
) -> NDArray[np.int32]:
    """Label the single objects in a foreground probability map.

    Parameters
    ----------
    foreground : ndarray
        ``[Z]YX``, probability of foreground, 0 to 1.
    smallest : int
        Components of fewer pixels are debris and are dropped.
    threshold : float
        Probability above which a pixel is foreground.
    binning : int
        Pixels per pixel of the network that made the map: ridges are as much wider.

    Returns
    -------
    ndarray
        ``[Z]YX`` int32: 0 background, objects numbered 1..N without gaps.
    """
    inside = foreground > threshold
    seeds, _ = ndi.label(inside)  # face neighbours only
    seeds = _without_debris(seeds, smallest)
    for level, share in _SPLITTING_LEVELS:
        if not seeds.any():
            return seeds
        cores, _ = ndi.label(foreground > threshold + level * (1 - threshold))
        seeds = _split(seeds, _without_debris(cores, smallest), share)
    return _grown(seeds, foreground, _closed(inside, plane_factors(inside.ndim, binning)))


def _grown(
    seeds: NDArray[np.int32], foreground: NDArray[np.float32], mask: NDArray[np.bool_]
) -> NDArray[np.int32]:
    """Let seeds grow into what no seed holds; only their rims take part, which is much faster."""
    free = mask & (seeds == 0)
    rim = ndi.binary_dilation(free, ndi.generate_binary_structure(free.ndim, 1)) & (seeds > 0)
    # uint8 priorities make the watershed several times faster than float ones.
    priority = np.round((1.0 - foreground.clip(0, 1)) * 255).astype(np.uint8)
    grown = watershed(priority, np.where(rim, seeds, 0), mask=free | rim)
    return np.where(free, grown, seeds).astype(np.int32, copy=False)


def _without_debris(components: NDArray[np.int32], smallest: int) -> NDArray[np.int32]:
    """Drop small components and renumber the others 1..N."""
    kept = np.bincount(components.ravel()) >= max(smallest, 1)
    kept[0] = False
    return _renumbered(components, kept)


def _renumbered(components: NDArray[np.int32], kept: NDArray[np.bool_]) -> NDArray[np.int32]:
    numbers = np.where(kept, np.cumsum(kept), 0).astype(np.int32)
    return numbers[components]


def _split(seeds: NDArray[np.int32], cores: NDArray[np.int32], share: float) -> NDArray[np.int32]:
    """Replace each seed that holds two or more cores of such a share of it by these cores."""
    parent = np.zeros(int(cores.max()) + 1, np.int32)
    parent[cores] = seeds  # a core lies within one seed, or in debris that was dropped
    parent[0] = 0
    considerable = np.bincount(cores.ravel()) >= share * np.bincount(seeds.ravel())[parent]
    considerable &= parent > 0
    cores_per_seed = np.bincount(parent[considerable], minlength=int(seeds.max()) + 1)
    falls_apart = cores_per_seed >= 2
    if not falls_apart.any():
        return seeds
    whole = np.where(falls_apart[seeds], 0, seeds)
    kept = falls_apart[parent] & considerable
    parts = np.where(kept[cores], cores + int(seeds.max()), 0)
    both = np.maximum(whole, parts)
    present = np.bincount(both.ravel()) > 0
    present[0] = False
    return _renumbered(both, present)


def _closed(inside: NDArray[np.bool_], factors: Factors) -> NDArray[np.bool_]:
    """Fill the ridges, which are narrow, without growing outer borders."""
    margin = int(_RIDGE_RADIUS * max(factors))
    ball = ndi.generate_binary_structure(inside.ndim, 1)
    padded = np.pad(inside, margin, mode="edge")  # beyond the image things go on
    closed = ndi.binary_dilation(padded, ball, iterations=_RIDGE_RADIUS)
    if max(factors) > 1:  # ridges are wider along the axes that are binned
        wider, flat = int(_RIDGE_RADIUS * (max(factors) - 1)), ball & _binned_axes(factors)
        closed = ndi.binary_dilation(closed, flat, iterations=wider)
        closed = ndi.binary_erosion(closed, flat, iterations=wider, border_value=1)
    closed = ndi.binary_erosion(closed, ball, iterations=_RIDGE_RADIUS, border_value=1)
    inner = tuple(slice(margin, -margin) for _ in range(inside.ndim))
    result: NDArray[np.bool_] = closed[inner] | inside
    return result


def _binned_axes(factors: Factors) -> NDArray[np.bool_]:
    """Mark the part of a structure of 3 pixels that reaches out along binned axes only."""
    within = np.zeros((3,) * len(factors), bool)
    within[tuple(slice(None) if k > 1 else slice(1, 2) for k in factors)] = True
    return within
