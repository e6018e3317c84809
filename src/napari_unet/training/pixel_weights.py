"""How much each pixel counts in the loss: equation 2 of the paper, times what is painted."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import find_objects

from napari_unet.data.border_weights import DEFAULT_SIGMA, border_weight_map
from napari_unet.data.labels import UNLABELLED
from napari_unet.tasks import task_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_unet.data.axes import Region
    from napari_unet.data.labels import Target
    from napari_unet.training.config import TrainConfig

# No class counts more than this many times its share.
_LARGEST_BALANCE = 20.0
# Border weights below this are left out.
_SMALLEST_BORDER = 1e-6
_SIGMA_PER_DIAMETER, _LEAST_SIGMA = 0.1, 0.7
# A fifth of a cell's diameter; hands leave two pixels, and seldom more than six.
_SLIVER_PER_SIGMA, _SLIVERS = 2.0, (2.0, 6.0)


def pixel_weights(
    target: Target,
    balance: NDArray[np.float32],
    config: TrainConfig,
    corrected: NDArray[np.bool_] | None = None,
    anisotropy: float = 1.0,
    border: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """Compute the paper's weight map (equation 2), times what is painted.

    Parameters
    ----------
    balance : ndarray
        Weight per class, shape (n_classes,).
    config : TrainConfig
        Height and width of the border weight, and the weight of corrections.
    corrected : ndarray, optional
        ``[Z]YX`` bool: pixels that the user corrected, which count more.
    anisotropy : float
        In 3D: how many times as long along Z as wide a voxel is. Distances between objects are
        in pixels of the plane.
    border : ndarray, optional
        What :func:`border_term` returns of the same target, where it is known.

    Returns
    -------
    ndarray
        ``[Z]YX`` float32; 0 where unlabelled.
    """
    if border is None:
        border = border_term(target, config, anisotropy)
    weights = balance[target.classes.clip(min=0)]
    if border is not None:
        weights += border
    if corrected is not None:
        weights = np.where(corrected, weights * np.float32(config.correction_weight), weights)
    return np.where(target.painted, weights, np.float32(0)).astype(np.float32)


def border_term(
    target: Target, config: TrainConfig, anisotropy: float = 1.0
) -> NDArray[np.float32] | None:
    """Compute the border weights: ``[Z]YX`` float32, 0 where unlabelled; None with classes."""
    if not task_of(config.kind).border_weighted:
        return None
    # The ridge between touching objects is background, where the weight is highest.
    separated = np.where(target.classes == 0, 0, target.objects)
    painted = target.painted
    box = _bounding_box(painted)  # a few strokes on a huge image cost little
    border = np.zeros(separated.shape, np.float32)
    border[box] = border_weight_map(
        separated[box],
        config.border_weight,
        sigma_of(config),
        (anisotropy,) * (separated.ndim - 2) + (1.0, 1.0),
    )
    border[~painted] = 0
    return border


def sigma_of(config: TrainConfig, cell_size: float = 0.0) -> float:
    """Return the width of the border weight for cells of a diameter.

    Both are in network pixels; a diameter of 0 is not known. The paper's cells were some ten times
    as wide as its sigma of 5 pixels, which covers a nucleus of ten pixels as a whole.
    """
    if config.border_sigma or not cell_size:
        return config.border_sigma or DEFAULT_SIGMA
    return min(max(_SIGMA_PER_DIAMETER * cell_size, _LEAST_SIGMA), DEFAULT_SIGMA)


def sliver_of(config: TrainConfig) -> float:
    """Return up to how many pixels between two painted cells are no room for another cell."""
    return min(max(_SLIVER_PER_SIGMA * sigma_of(config), _SLIVERS[0]), _SLIVERS[1])


def ridge_weight(config: TrainConfig) -> float:
    """Return the border weight of a pixel between two cells that both touch it."""
    return config.border_weight * math.exp(-2 / sigma_of(config) ** 2)


def border_reach(config: TrainConfig, ndim: int, anisotropy: float = 1.0) -> tuple[int, ...]:
    """Return how many pixels away along ``[Z]YX`` an object may be that a border weight heeds."""
    if config.border_weight <= _SMALLEST_BORDER:
        return (0,) * ndim
    reach = sigma_of(config) * math.sqrt(2 * math.log(config.border_weight / _SMALLEST_BORDER))
    return (math.ceil(reach / anisotropy),) * (ndim - 2) + (math.ceil(reach),) * 2


def class_balance(
    classes: Sequence[NDArray[np.int16]],
    held_back: Sequence[NDArray[np.bool_]],
    n_classes: int,
    config: TrainConfig,
) -> NDArray[np.float32]:
    """Weight per class: its inverse frequency to the power of the balance.

    Full balance, as in the paper, lets rare classes win at every doubtful pixel: cells come out
    too large. Patches are drawn from all classes alike, so that rare ones are met without it.
    """
    counts = np.zeros(n_classes, np.int64)
    for frame_classes, held in zip(classes, held_back, strict=True):
        used = frame_classes[(frame_classes != UNLABELLED) & ~held]
        counts += np.bincount(used, minlength=n_classes)
    present = np.count_nonzero(counts)
    balance = (counts.sum() / (present * np.maximum(counts, 1))) ** config.class_balance
    limited: NDArray[np.float32] = np.minimum(balance, _LARGEST_BALANCE).astype(np.float32)
    return limited


def _bounding_box(painted: NDArray[np.bool_]) -> Region:
    box = find_objects(painted.astype(np.uint8))
    return box[0] if box else (slice(0, 0),) * painted.ndim
