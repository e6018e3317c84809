"""Draw the outlines of cells that never lived: label images of scattered, clumped, packed cells."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage as ndi
from scipy.spatial import cKDTree

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Plane = NDArray[np.float64]
    LabelImage = NDArray[np.int32]


def scattered(rng: np.random.Generator, size: int) -> LabelImage:
    """Draw cells of one size class, few or many, some of them touching."""
    radius = _between(rng, 5, 32)
    return _place_cells(
        rng, size, radius, rng.uniform(0.05, 0.65), rng.uniform(0, 0.8), rng.uniform(0.5, 1.2)
    )


def clumped(rng: np.random.Generator, size: int) -> LabelImage:
    """Draw clumps of roundish cells that touch and overlap slightly."""
    radius = _between(rng, 7, 24)
    return _place_cells(rng, size, radius, rng.uniform(0.2, 0.7), rng.uniform(0.75, 0.97), 0.5)


def crowded(rng: np.random.Generator, size: int) -> LabelImage:
    """Draw very many small cells, of radius 3 to 6."""
    radius = rng.uniform(3, 6)
    return _place_cells(rng, size, radius, rng.uniform(0.15, 0.6), rng.uniform(0.2, 0.8), 0.6)


def branched(rng: np.random.Generator, size: int) -> LabelImage:
    """Draw few, large, irregular cells with protrusions, mostly apart."""
    radius = _between(rng, 14, 40)
    return _place_cells(
        rng, size, radius, rng.uniform(0.05, 0.35), rng.uniform(0, 0.4), rng.uniform(1.5, 3)
    )


def packed(rng: np.random.Generator, size: int) -> LabelImage:
    """Draw a sheet in which nearly all cells touch, with a few holes and ragged edges."""
    radius = _between(rng, 25, min(80.0, size / 4))
    return _sheet(rng, size, radius, rng.uniform(0, 0.4), rng.uniform(1.1, 1.7))


def tissue(rng: np.random.Generator, size: int) -> LabelImage:
    """Draw tissue without gaps: cells of 6 to 35 pixels, wall to wall."""
    return _sheet(rng, size, _between(rng, 6, 35), rng.uniform(0, 0.08), 3.0)


def _between(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def smooth_noise(rng: np.random.Generator, shape: tuple[int, ...], grain: float) -> Plane:
    """Return noise of mean 0 and deviation 1 whose lumps are about `grain` pixels."""
    step = max(1, int(grain / 3))  # coarse lumps are drawn small and enlarged: much faster
    small = [length // step + 4 for length in shape]
    noise = ndi.gaussian_filter(rng.normal(size=small), grain / step)
    if step > 1:
        noise = ndi.zoom(noise, step, order=1)
    noise = noise[tuple(slice(0, length) for length in shape)]
    lumps: Plane = (noise - noise.mean()) / max(float(noise.std()), 1e-9)
    return lumps


def _place_cells(
    rng: np.random.Generator,
    size: int,
    radius: float,
    share: float,
    sociable: float,
    roughness: float,
) -> LabelImage:
    """Draw cells one by one; `sociable` is how often one touches another."""
    labels = np.zeros((size, size), np.int32)
    wanted = max(3, int(share * size**2 / (np.pi * radius**2)))
    spread = rng.uniform(0.05, 0.3)
    centres: list[tuple[Plane, float]] = []
    for number in range(1, wanted + 1):
        own = radius * float(rng.lognormal(0, spread))
        centre = rng.uniform(0, size, 2)
        if centres and rng.random() < sociable:
            near, other = centres[int(rng.integers(len(centres)))]
            angle = rng.uniform(0, 2 * np.pi)
            apart = rng.uniform(0.75, 0.98)
            centre = near + (own + other) * apart * np.array([np.sin(angle), np.cos(angle)])
        if _draw_cell(rng, labels, centre, own, roughness, number):
            centres.append((centre, own))
    return labels


def _draw_cell(
    rng: np.random.Generator,
    labels: LabelImage,
    centre: Plane,
    radius: float,
    roughness: float,
    number: int,
) -> bool:
    """Draw one cell where there is room; tell whether most of it found some."""
    reach = int(2.6 * radius) + 2
    low = np.maximum(centre.astype(int) - reach, 0)
    high = np.minimum(centre.astype(int) + reach + 1, labels.shape)
    if np.any(high <= low):
        return False
    rows, columns = np.mgrid[low[0] : high[0], low[1] : high[1]]
    y, x = rows - centre[0], columns - centre[1]
    turn, stretch = rng.uniform(0, np.pi), float(rng.uniform(1, 1.7))
    along = (np.cos(turn) * x + np.sin(turn) * y) / stretch
    across = (-np.sin(turn) * x + np.cos(turn) * y) * np.sqrt(stretch)
    angle = np.arctan2(across, along)
    outline = np.ones_like(angle)
    for wave in range(2, 7):
        bump = rng.normal(0, 0.15 * roughness / wave)
        outline += bump * np.cos(wave * angle + rng.uniform(0, 2 * np.pi))
    for _ in range(int(rng.poisson(max(0.0, roughness - 1)))):  # protrusions
        tip = np.cos(angle - rng.uniform(0, 2 * np.pi))
        outline += rng.uniform(0.4, 1.2) * np.exp((tip - 1) * rng.uniform(8, 40))
    inside = np.hypot(along, across) < radius * np.maximum(outline, 0.3)
    box = (slice(low[0], high[0]), slice(low[1], high[1]))
    free = inside & (labels[box] == 0)
    if free.sum() < 0.6 * max(inside.sum(), 1):
        return False
    labels[box][free] = number
    return True


def _sheet(
    rng: np.random.Generator, size: int, radius: float, holes: float, reach: float
) -> LabelImage:
    """Draw the cells of a bent Voronoi diagram; `reach` bounds them, in radii."""
    step = 1.8 * radius
    rows, columns = np.mgrid[-step : size + 2 * step : step, -step : size + 2 * step : step]
    columns = columns + (np.arange(len(rows)) % 2)[:, None] * step / 2
    seeds = np.stack([rows.ravel(), columns.ravel()], axis=1)
    seeds = seeds + rng.normal(0, rng.uniform(0.1, 0.3) * step, seeds.shape)
    grid = np.indices((size, size)).astype(float)
    bend = rng.uniform(0.03, 0.2) * radius
    for axis in range(2):
        grid[axis] += bend * smooth_noise(rng, (size, size), radius * rng.uniform(0.3, 0.8))
    distance, nearest = cKDTree(seeds).query(grid.reshape(2, -1).T)
    emptiness = smooth_noise(rng, (size, size), 2 * radius)
    places = np.clip(seeds.astype(int), 0, size - 1)
    missing = emptiness[places[:, 0], places[:, 1]] < np.quantile(emptiness, holes)
    numbers = np.where(missing & (holes > 0), 0, np.arange(1, len(seeds) + 1)).astype(np.int32)
    labels: LabelImage = numbers[nearest].reshape(size, size)
    labels[distance.reshape(size, size) > reach * radius] = 0
    return labels
