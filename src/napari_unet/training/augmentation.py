"""Random deformations and grey value changes of training patches.

The elastic deformation is the paper's (section 3.1): random displacement vectors on a coarse 3x3
grid, drawn from a Gaussian, interpolated bicubically to each pixel.

Chance is drawn as a few numbers per patch, on the CPU; what is done with them to each pixel is
done by torch, on the device where the pixels are. Only the grain of the noise, a number per
pixel, is drawn there, from a seed: it is the same for the same seed on the same kind of device.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional

from napari_unet.tasks import task_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from napari_unet.training.config import TrainConfig

_COARSE = 3
# The absolute weights of cubic convolution along one axis sum to this at most.
_OVERSHOOT = 1.25


@dataclass(frozen=True)
class Deformation:
    """Where the pixels of one patch are taken from: turned and scaled, then displaced."""

    matrix: NDArray[np.float64]
    """(ndim, ndim) float64: turns, mirrors and zooms, in ``[Z]YX``."""
    nodes: NDArray[np.float64] | None
    """Displacements in pixels on a coarse grid that spans the patch: (3, 3, 2) or (3, 3, 3, 3), the
    vector last.
    """

    @classmethod
    def drawn(cls, config: TrainConfig, rng: np.random.Generator) -> Deformation:
        """Draw one of the kind and strength that the settings ask for."""
        ndim = config.ndim
        matrix = _random_matrix(ndim, config, rng)
        if config.elastic_sigma == 0:
            return cls(matrix, None)
        return cls(matrix, rng.normal(0, config.sigmas, (_COARSE,) * ndim + (ndim,)))

    def reach(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Return so many pixels on each side of its centre a patch `shape` may be taken from."""
        halves = np.array([size // 2 for size in shape])
        farthest = np.abs(self.matrix) @ halves
        if self.nodes is not None:
            largest = np.abs(self.nodes).reshape(-1, len(shape)).max(axis=0)
            farthest = farthest + _OVERSHOOT ** len(shape) * largest
        return tuple(int(pixels) for pixels in np.ceil(farthest + 1e-3))

    def positions(self, shape: Sequence[int], device: torch.device) -> Tensor:
        """Compute the positions of all pixels of a patch of a ``[Z]YX`` shape.

        They are (ndim, *shape) float32: pixels along ``[Z]YX`` from where the patch's centre is.
        """
        return positions_of([self], shape, device)[0]

    def _coefficients(self) -> NDArray[np.float32]:
        """Return (ndim, 5, ..., 5): what to sum of the products of `_basis` along the axes."""
        ndim = len(self.matrix)
        coefficients = np.zeros((ndim,) + (_COARSE + 2,) * ndim, np.float32)
        if self.nodes is not None:
            coarse = (slice(_COARSE),) * ndim
            coefficients[:, *coarse] = np.moveaxis(self.nodes, -1, 0)
        for axis in range(ndim):  # the coordinate along this axis, times 1 along the others
            factors: list[Any] = [_COARSE + 1] * ndim
            factors[axis] = _COARSE
            coefficients[(slice(None), *factors)] = self.matrix[:, axis]
        return coefficients


def positions_of(
    deformations: Sequence[Deformation], shape: Sequence[int], device: torch.device
) -> Tensor:
    """Compute `Deformation.positions` of several patches at once: (B, ndim, *shape)."""
    coefficients = np.concatenate([each._coefficients() for each in deformations])
    positions = torch.from_numpy(coefficients).to(device, non_blocking=True)
    for size in shape:  # each time the axis in front is filled, and goes to the end
        positions = torch.tensordot(positions, _basis(size, device), dims=([1], [1]))
    return positions.reshape(len(deformations), -1, *shape)


@lru_cache(maxsize=16)
def _basis(size: int, device: torch.device) -> Tensor:
    """Return (size, 5): cubic weights of the coarse nodes, the coordinate, and 1."""
    # Whole numbers also for even sizes: undeformed patches are cuts of the image, not blurred.
    coordinate = np.arange(size) - size // 2
    columns = [*cubic_weights(size, _COARSE).T, coordinate, np.ones(size)]
    return torch.from_numpy(np.stack(columns, axis=1).astype(np.float32)).to(device)


def _random_matrix(ndim: int, config: TrainConfig, rng: np.random.Generator) -> NDArray[np.float64]:
    matrix = np.eye(ndim)
    if config.rotate:
        angle = rng.uniform(0, 2 * np.pi)
        cosine, sine = np.cos(angle), np.sin(angle)
        if not task_of(config.kind).bends:
            cosine, sine = ((1, 0), (0, 1), (-1, 0), (0, -1))[int(angle / (np.pi / 2)) % 4]
        matrix[-2:, -2:] = [[cosine, -sine], [sine, cosine]]
    if config.zoom > 0:
        matrix *= rng.uniform(1 - config.zoom, 1 + config.zoom)
    if config.flip:
        matrix *= rng.choice([-1.0, 1.0], size=ndim)[:, np.newaxis]
    return matrix


def cubic_weights(n_fine: int, n_coarse: int) -> NDArray[np.float64]:
    """Weights of cubic convolution (Keys 1981, a = -0.5) from a coarse grid to a fine one.

    Their shape is (n_fine, n_coarse); rows sum to 1. End points coincide; edges are replicated.
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


def sample_smooth(regions: Sequence[Tensor], positions: Tensor) -> Tensor:
    """Take (bi- or tri-)linear samples (B, C, *P) of B regions (1, C, *R) float32 of odd sizes.

    Positions are (B, ndim, *P), pixels relative to the centre of each region. The sizes of the
    regions may differ; on them the last digits of a sample depend. So each is sampled by itself: a
    patch is to be the same in whatever batch.
    """
    return _sample(regions, positions, "bilinear")


def sample_nearest(regions: Sequence[Tensor], positions: Tensor) -> Tensor:
    """Take nearest-pixel samples, for labels and weights; arguments as `sample_smooth`."""
    return _sample(regions, positions, "nearest")


def _sample(regions: Sequence[Tensor], positions: Tensor, mode: str) -> Tensor:
    # grid_sample wants XY[Z] in -1..1, last; its kernels read planes as fast as pairs
    sizes = np.array([region.shape[:1:-1] for region in regions])
    scales = np.where(sizes > 1, 2 / np.maximum(sizes - 1, 1), 0).astype(np.float32)
    per_plane = (*scales.shape, *(1,) * scales.shape[1])
    scaled = positions.flip(1).mul_(torch.from_numpy(scales.reshape(per_plane)).to(positions))
    grids = torch.split(scaled.movedim(1, -1), 1)
    samples = [
        functional.grid_sample(region, grid, mode=mode, padding_mode="border", align_corners=True)
        for region, grid in zip(regions, grids, strict=True)
    ]
    return torch.cat(samples)


def jitter_intensity(
    images: Tensor, strength: float, chances: Sequence[np.random.Generator], window: int = 1
) -> None:
    """Change gamma, contrast, brightness and noise of normalised pixels (B, C, *) in place.

    Each image has a chance of its own. The strength is about the relative size of the changes. The
    channels of each of `window` timepoints come after those of the one before; all timepoints are
    changed alike but for the noise: a camera's settings stay over neighbouring timepoints, and each
    was normalised by itself before.
    """
    if strength == 0:
        return
    curves, grain = [], torch.empty_like(images)
    of_timepoint = images.shape[1] // window
    for grain_of_one, chance in zip(grain, chances, strict=True):
        gammas, contrasts = np.exp(chance.normal(0, strength, (2, of_timepoint)))
        brightnesses = chance.normal(0, strength / 2, of_timepoint)
        noises = np.full(of_timepoint, abs(chance.normal(0, strength / 4)))
        curves.append(np.tile([gammas, contrasts, brightnesses, noises], window))
        on_device = torch.Generator(images.device).manual_seed(int(chance.integers(2**62)))
        grain_of_one.normal_(generator=on_device)
    per_channel = (4, *images.shape[:2]) + (1,) * (images.ndim - 2)
    curve = torch.from_numpy(np.stack(curves, axis=1).astype(np.float32))
    gamma, contrast, brightness, noise = curve.to(images.device, non_blocking=True).view(
        per_channel
    )
    bent = images.abs().pow_(gamma).copysign_(images).mul_(contrast)
    torch.addcmul(bent.add_(brightness), grain, noise, out=images)
