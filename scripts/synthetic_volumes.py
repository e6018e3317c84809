"""Draw volumes of cells that never lived: training data for a starting model in 3D.

Nothing here comes from a real image. Cells are nearest seeds in a bent space, as in the sheets of
`synthetic_cells`: all of space for tissue, what lies within a radius of its seed for nuclei, which
so touch where they are crowded. A microscope then makes slices thicker than pixels are wide, blurs
along Z, loses light in depth, and adds noise (`rendered`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage as ndi
from scipy.spatial import KDTree

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Volume = NDArray[np.float32]
    Labels = NDArray[np.int32]
    Shape = tuple[int, ...]

LOOKS = ("nuclei", "nuclei", "membranes")
_ANISOTROPY = (1.0, 6.0)
_RADII = (4.0, 11.0)  # of cells, in pixels of the plane
_DENSE = 0.5  # share of the volumes of nuclei in which they are crowded


@dataclass(frozen=True)
class Scene:
    """A volume as a microscope sees it."""

    image: Volume
    """``ZYX`` float32, about 0 to 1 and noisy."""
    labels: Labels
    """``ZYX`` int32: 0 background, cells 1..N, many touching."""
    anisotropy: float
    """How many times as thick as wide a voxel is."""
    look: str
    """One of `LOOKS`."""


def synthetic_volume(
    rng: np.random.Generator,
    shape: tuple[int, ...] = (96, 96, 96),
    look: str = "",
    anisotropy: float = 0.0,
) -> Scene:
    """Draw one volume with its labels.

    Parameters
    ----------
    rng : numpy.random.Generator
        Decides everything.
    shape : tuple of int
        Voxels along ``ZYX``.
    look : str
        One of `LOOKS`; empty: any.
    anisotropy : float
        How many times as thick as wide a voxel is; 0: any from 1 to 6.
    """
    look = look or str(rng.choice(LOOKS))
    thick = anisotropy or float(np.exp(rng.uniform(*np.log(_ANISOTROPY))))
    radius = float(np.exp(rng.uniform(*np.log(_RADII))))
    radius = max(radius, thick)  # two slices at least show a cell
    if look == "membranes":
        radius *= 1.3  # their walls take room
    labels = _draw_cells(rng, shape, thick, radius, look)
    return Scene(rendered(rng, labels, thick, look), labels, thick, look)


def _draw_cells(
    rng: np.random.Generator, shape: Shape, thick: float, radius: float, look: str
) -> Labels:
    """Draw cells as what lies nearest to a seed, and near enough."""
    crowded = look == "membranes" or rng.random() < _DENSE
    pitch = radius * (1.8 if crowded else rng.uniform(2.4, 4.0))
    seeds = _seeds(rng, shape, thick, pitch)
    own = radius * rng.lognormal(0, rng.uniform(0.05, 0.2), len(seeds))
    places = _bent(rng, shape, thick, radius)
    stretch = np.exp(rng.normal(0, 0.15, 3)).astype(np.float32)  # cells of one tissue lie alike
    distance, nearest = KDTree(seeds * stretch).query(places * stretch, workers=1)
    inside = np.ones(len(places), bool) if look == "membranes" else distance < own[nearest]
    absent = rng.random(len(seeds)) < rng.choice([0.0, 0.0, 0.1, 0.4])
    numbers = np.where(inside & ~absent[nearest], nearest + 1, 0).astype(np.int32)
    return _renumbered(numbers.reshape(shape))


def _seeds(
    rng: np.random.Generator, shape: Shape, thick: float, pitch: float
) -> NDArray[np.float64]:
    """Return the centres of cells in pixels of the plane, also beyond the volume."""
    sizes = np.array(shape) * (thick, 1, 1)
    axes = [np.arange(-2 * pitch, size + 2 * pitch, pitch) for size in sizes]
    seeds = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
    seeds[:, 1] += (np.arange(len(seeds)) // (len(axes[1]) * len(axes[2])) % 2) * pitch / 2
    return seeds + rng.normal(0, rng.uniform(0.15, 0.35) * pitch, seeds.shape)


def _bent(rng: np.random.Generator, shape: Shape, thick: float, radius: float) -> Volume:
    """Return where each voxel lies, in pixels of the plane, in a space that is bent: (N, 3)."""
    z, y, x = (np.arange(size, dtype=np.float32) for size in shape)
    grid = np.stack(np.meshgrid(z * np.float32(thick), y, x, indexing="ij"), -1)
    bend = rng.uniform(0.05, 0.2) * radius
    for axis in range(3):
        grid[..., axis] += bend * _smooth(rng, shape, thick, radius)
    return grid.reshape(-1, 3)


def _renumbered(labels: Labels) -> Labels:
    present = np.bincount(labels.ravel())[1:] > 0
    numbers = np.concatenate([[0], np.cumsum(present) * present])
    return numbers.astype(np.int32)[labels]


# --- What a microscope makes of it ---------------------------------------------------------------


def rendered(rng: np.random.Generator, labels: Labels, thick: float, look: str) -> Volume:
    """Draw the image of some cells, ``ZYX`` float32, about 0 to 1 and noisy."""
    signal = (_walls if look == "membranes" else _nuclei)(rng, labels, thick)
    along = rng.uniform(0.6, 1.6)  # of the blur in the plane, and along Z more of it
    blurred = ndi.gaussian_filter(signal, (along * rng.uniform(1, 3) / thick, along, along))
    far = ndi.gaussian_filter(signal[::2, ::4, ::4], 2.0)
    ratios = [whole / part for whole, part in zip(signal.shape, far.shape, strict=True)]
    haze: Volume = ndi.zoom(far, ratios, order=1)
    return _exposed(rng, blurred + np.float32(rng.uniform(0, 0.4)) * haze, thick)


def _nuclei(rng: np.random.Generator, labels: Labels, thick: float) -> Volume:
    """Bright cells of very different brightness, with texture, and dark gaps where they touch."""
    inside = (labels > 0) * (1 - _borders(labels, thick))
    grain = _smooth(rng, labels.shape, thick, rng.uniform(1.5, 4))
    texture = np.clip(1 + np.float32(rng.uniform(0, 0.35)) * grain, 0.1, None)
    nuclei: Volume = inside * _per_cell(rng, labels, rng.uniform(0.1, 0.5)) * texture
    return nuclei


def _walls(rng: np.random.Generator, labels: Labels, thick: float) -> Volume:
    """Thin walls, broken here and there; interiors nearly as the ground."""
    edge = _borders(labels, thick)
    if rng.random() < 0.5:
        edge = ndi.maximum_filter(edge, (1, 2, 2))
    strength = np.clip(1 + 0.4 * _smooth(rng, labels.shape, thick, 6), 0.15, None)
    filling = np.float32(rng.uniform(0, 0.2)) * _per_cell(rng, labels, 0.4) * (labels > 0)
    walls: Volume = edge * strength + filling
    return walls


def _exposed(rng: np.random.Generator, image: Volume, thick: float) -> Volume:
    """Lose light and contrast in depth; add a ground, and noise that grows with the light."""
    low, high = np.percentile(image[::2, ::2, ::2], (1, 99))
    image = (image - np.float32(low)) / np.float32(max(high - low, 1e-6))
    depth = np.linspace(0, 1, len(image), dtype=np.float32)[:: int(rng.choice([-1, 1]))]
    light = np.exp(-np.float32(rng.uniform(0, 1.5)) * depth)[:, None, None]
    ground = np.float32(rng.uniform(0, 0.3)) * (1 + 0.2 * _smooth(rng, image.shape, thick, 16))
    image = image * light + ground
    shot = np.float32(rng.uniform(0.01, 0.12)) * np.sqrt(np.abs(image))
    noise = rng.standard_normal(image.shape, dtype=np.float32)
    return image + noise * (shot + np.float32(rng.uniform(0.01, 0.08)))


def _per_cell(rng: np.random.Generator, labels: Labels, spread: float) -> Volume:
    """Give each cell a brightness of its own."""
    return rng.lognormal(0, spread, int(labels.max()) + 1).astype(np.float32)[labels]


def _borders(labels: Labels, thick: float) -> Volume:
    """Return how much of each voxel lies where a cell ends: less along Z in thick slices."""
    border = np.zeros(labels.shape, np.float32)
    for axis, share in enumerate((1 / thick, 1.0, 1.0)):
        here, (before, after) = border[_PART[axis]], (labels[_PART[axis]], labels[_NEXT[axis]])
        ends = (before != after) & (before > 0)
        np.maximum(here, np.float32(share), out=here, where=ends)
    return border


# All but the last voxels along an axis, and those behind them.
_ALL = slice(None)
_PART = [tuple(slice(-1) if i == axis else _ALL for i in range(3)) for axis in range(3)]
_NEXT = [tuple(slice(1, None) if i == axis else _ALL for i in range(3)) for axis in range(3)]


def _smooth(rng: np.random.Generator, shape: tuple[int, ...], thick: float, grain: float) -> Volume:
    """Return noise of so many pixels' grain and unit spread: drawn coarsely, and interpolated."""
    steps = [max(1.0, 2 * grain / each) for each in (thick, 1, 1)]
    coarse = [int(np.ceil(size / step)) + 2 for size, step in zip(shape, steps, strict=True)]
    noise = rng.standard_normal(coarse, dtype=np.float32)
    for axis, (size, step) in enumerate(zip(shape, steps, strict=True)):
        at = np.arange(size, dtype=np.float32) / np.float32(step)
        low = at.astype(np.intp)
        share = (at % 1).reshape([-1 if i == axis else 1 for i in range(3)])
        noise = noise.take(low, axis) * (1 - share) + noise.take(low + 1, axis) * share
    smooth: Volume = noise / np.float32(max(float(noise.std()), 1e-6))
    return smooth
