"""Random deformations and grey value changes of training patches.

The elastic deformation is the paper's (section 3.1): random displacement vectors on a coarse 3x3
grid, drawn from a Gaussian, interpolated bicubically to each pixel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from napari_unet.training.config import TrainConfig

_COARSE = 3


def region_shape(shape: Sequence[int], config: TrainConfig) -> tuple[int, ...]:
    """Pixels along each of ``[Z]YX`` that a deformed patch may reach into; odd."""
    sizes = []
    for axis, (patch, sigma) in enumerate(zip(shape, config.sigmas, strict=True)):
        turned = config.rotate and axis >= len(shape) - 2
        reach = patch * (1 + config.zoom) * (2**0.5 if turned else 1.0)
        reach += 2 * 3 * sigma  # three standard deviations on each side
        sizes.append(2 * int(np.ceil(reach / 2)) + 1)
    return tuple(sizes)


def random_positions(
    shape: Sequence[int], config: TrainConfig, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Draw where each pixel of a patch is taken from.

    Parameters
    ----------
    shape : sequence of int
        ``[Z]YX`` shape of the patch.
    config : TrainConfig
        Which deformations, and how strong.
    rng : numpy.random.Generator
        Source of chance.

    Returns
    -------
    ndarray
        Shape `shape` + (ndim,): positions in pixels relative to the patch's centre.
    """
    ndim = len(shape)
    # Whole numbers also for even sizes: undeformed patches are cuts of the image, not blurred.
    axes = [np.arange(size, dtype=np.float32) - size // 2 for size in shape]
    regular = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    positions: NDArray[Any] = regular @ _random_matrix(ndim, config, rng).T
    if config.elastic_sigma > 0:
        coarse = rng.normal(0, config.sigmas, (_COARSE,) * ndim + (ndim,))
        positions = positions + _interpolate_cubic(coarse, shape)
    return np.ascontiguousarray(positions, dtype=np.float32)


def _random_matrix(ndim: int, config: TrainConfig, rng: np.random.Generator) -> NDArray[np.float32]:
    matrix = np.eye(ndim)
    if config.rotate:
        angle = rng.uniform(0, 2 * np.pi)
        matrix[-2:, -2:] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    if config.zoom > 0:
        matrix *= rng.uniform(1 - config.zoom, 1 + config.zoom)
    if config.flip:
        matrix *= rng.choice([-1.0, 1.0], size=ndim)[:, np.newaxis]
    return matrix.astype(np.float32)


def _interpolate_cubic(coarse: NDArray[np.float64], shape: Sequence[int]) -> NDArray[np.float64]:
    """Interpolate values on a coarse grid that spans the patch, axis by axis."""
    fine = coarse
    for axis, size in enumerate(shape):
        weights = cubic_weights(size, coarse.shape[axis])
        fine = np.moveaxis(np.tensordot(weights, fine, axes=(1, axis)), 0, axis)
    return fine


def cubic_weights(n_fine: int, n_coarse: int) -> NDArray[np.float64]:
    """Weights of cubic convolution (Keys 1981, a = -0.5) from a coarse grid to a fine one.

    Returns
    -------
    ndarray
        Shape (n_fine, n_coarse); rows sum to 1. End points coincide; edges are replicated.
    """
    at = np.linspace(0, n_coarse - 1, n_fine)
    weights = np.zeros((n_fine, n_coarse))
    rows = np.arange(n_fine)
    for offset in (-1, 0, 1, 2):
        node = np.floor(at).astype(int) + offset
        distance = np.abs(at - node)
        near = 1.5 * distance**3 - 2.5 * distance**2 + 1
        far = -0.5 * distance**3 + 2.5 * distance**2 - 4 * distance + 2
        weight = np.where(distance <= 1, near, np.where(distance < 2, far, 0.0))
        np.add.at(weights, (rows, node.clip(0, n_coarse - 1)), weight)
    return weights


def sample_smooth(regions: Tensor, positions: Tensor) -> Tensor:
    """Take (bi- or tri-)linear samples of image regions.

    Parameters
    ----------
    regions : Tensor
        (B, C, *R), odd sizes.
    positions : Tensor
        (B, *P, ndim), pixels relative to the regions' centres.

    Returns
    -------
    Tensor
        (B, C, *P).
    """
    return _sample(regions, positions, "bilinear")


def sample_nearest(regions: Tensor, positions: Tensor) -> Tensor:
    """Take nearest-pixel samples, for labels and weights; arguments as `sample_smooth`."""
    return _sample(regions, positions, "nearest")


def _sample(regions: Tensor, positions: Tensor, mode: str) -> Tensor:
    half = torch.tensor([(size - 1) / 2 for size in regions.shape[2:]], device=regions.device)
    grid = (positions / half).flip(-1)  # grid_sample wants XY[Z] in -1..1
    return functional.grid_sample(
        regions, grid, mode=mode, padding_mode="border", align_corners=True
    )


def jitter_intensity(
    images: NDArray[np.float32], strength: float, rng: np.random.Generator, window: int = 1
) -> NDArray[np.float32]:
    """Change gamma, contrast, brightness and noise of one patch.

    All moments of a time-lapse are changed alike but for the noise: a camera's settings stay
    over neighbouring moments, and each moment was normalised by itself before.

    Parameters
    ----------
    images : ndarray
        ``C[Z]YX``, normalised; the channels of each moment after those of the one before.
    strength : float
        About the relative size of the changes; 0 changes nothing.
    rng : numpy.random.Generator
        Source of chance.
    window : int
        Moments.
    """
    if strength == 0:
        return images
    per_channel = (images.shape[0] // window,) + (1,) * (images.ndim - 1)
    each_moment = (window,) + (1,) * (images.ndim - 1)
    gamma, contrast, brightness = (
        np.tile(values, each_moment).astype(np.float32)
        for values in (
            np.exp(rng.normal(0, strength, per_channel)),
            np.exp(rng.normal(0, strength, per_channel)),
            rng.normal(0, strength / 2, per_channel),
        )
    )
    noise = np.float32(abs(rng.normal(0, strength / 4)))
    bent = np.sign(images) * np.abs(images) ** gamma
    grain = rng.standard_normal(images.shape, dtype=np.float32)
    return bent * contrast + brightness + noise * grain
