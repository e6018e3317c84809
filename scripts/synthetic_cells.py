"""Draw images of cells that never lived: training data for the weights that trainings begin with.

Nothing here comes from a real image, so the weights carry nobody's licence. This module draws
where cells lie: scattered, in clumps, or packed to a sheet; `synthetic_looks` draws what a
microscope would make of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage as ndi
from synthetic_looks import LOOKS, render

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Plane = NDArray[np.float64]

# Sheets of touching cells are what transmitted light and membrane stains mostly show.
_SHARE_OF_SHEETS = {"relief": 0.5, "phase": 0.25, "membranes": 0.7, "nuclei": 0.1, "spread": 0.6}


def synthetic_cells(
    rng: np.random.Generator, size: int = 256
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Draw one image with its labels.

    Parameters
    ----------
    rng : numpy.random.Generator
        Decides everything.
    size : int
        Edge length in pixels.

    Returns
    -------
    tuple of ndarray
        Image, ``YX`` float32, and labels, ``YX`` int32: 0 background, cells 1..N, many touching.
    """
    look = str(rng.choice(LOOKS))
    if look == "rods":
        labels = _draw_rods(rng, size)
    elif rng.random() < _SHARE_OF_SHEETS.get(look, 0.0):
        labels = _draw_sheet(rng, size)
    else:
        labels = _draw_scattered(rng, size, smallest=3.0 if look == "nuclei" else 6.0)
    if look == "spread":
        labels = _ruffled(rng, labels)
    return render(rng, labels, look).astype(np.float32), labels


def _draw_scattered(rng: np.random.Generator, size: int, smallest: float) -> NDArray[np.int32]:
    labels = np.zeros((size, size), np.int32)
    radius = float(np.exp(rng.uniform(np.log(smallest), np.log(26))))
    wanted = rng.uniform(0.05, 0.75) * size**2 / (np.pi * radius**2)
    spread = rng.uniform(0.05, 0.45)  # of the sizes
    sociable = rng.uniform(0, 0.9)  # how often a cell touches another one
    roughness = rng.uniform(0.03, 0.2)
    longest = rng.uniform(1.05, 2.4)
    centres: list[tuple[Plane, float]] = []
    for number in range(1, max(3, int(wanted)) + 1):
        own = radius * float(rng.lognormal(0, spread))
        centre = rng.uniform(0, size, 2)
        if centres and rng.random() < sociable:
            near, other = centres[int(rng.integers(len(centres)))]
            angle = rng.uniform(0, 2 * np.pi)
            centre = near + (own + other) * 0.9 * np.array([np.sin(angle), np.cos(angle)])
        if _draw_cell(rng, labels, centre, own, number, roughness, longest):
            centres.append((centre, own))
    return labels


def _draw_cell(
    rng: np.random.Generator,
    labels: NDArray[np.int32],
    centre: Plane,
    radius: float,
    number: int,
    roughness: float,
    longest: float,
) -> bool:
    """Draw one cell where there is room; tell whether most of it found some."""
    reach = int(2.6 * radius) + 2
    low = np.maximum(centre.astype(int) - reach, 0)
    high = np.minimum(centre.astype(int) + reach + 1, labels.shape)
    if np.any(high <= low):
        return False
    rows, columns = np.mgrid[low[0] : high[0], low[1] : high[1]]
    y, x = rows - centre[0], columns - centre[1]
    turn, stretch = rng.uniform(0, np.pi), float(rng.uniform(1, longest))
    along = (np.cos(turn) * x + np.sin(turn) * y) / np.sqrt(stretch)
    across = (-np.sin(turn) * x + np.cos(turn) * y) * np.sqrt(stretch)
    angle = np.arctan2(across, along)
    outline = np.ones_like(angle)
    for wave in range(2, 7):
        outline += rng.normal(0, roughness / wave**0.7) * np.cos(
            wave * angle + rng.uniform(0, 2 * np.pi)
        )
    inside = np.hypot(along, across) < radius * outline
    box = (slice(low[0], high[0]), slice(low[1], high[1]))
    free = inside & (labels[box] == 0)
    if free.sum() < 0.6 * max(inside.sum(), 1):
        return False
    labels[box][free] = number
    return True


def _draw_rods(rng: np.random.Generator, size: int) -> NDArray[np.int32]:
    """Draw rods with round ends, side by side in colonies or alone."""
    labels = np.zeros((size, size), np.int32)
    radius, slender = rng.uniform(3, 10), rng.uniform(1.5, 4)
    wanted = rng.uniform(0.1, 0.7) * size**2 / (4 * slender * radius**2)
    centres: list[tuple[Plane, float]] = []
    rows, columns = np.mgrid[0:size, 0:size]
    for number in range(1, min(int(wanted), 120) + 3):
        centre, turn = rng.uniform(0, size, 2), rng.uniform(0, np.pi)
        if centres and rng.random() < 0.8:
            near, direction = centres[int(rng.integers(len(centres)))]
            turn = direction + rng.normal(0, 0.15)
            aside = rng.choice([-2.1, 2.1]) * radius * np.array([np.cos(turn), -np.sin(turn)])
            along = rng.choice([0, 0, -1, 1]) * 2.2 * slender * radius
            shift = aside if along == 0 else along * np.array([np.sin(turn), np.cos(turn)])
            centre = near + shift + rng.normal(0, radius / 3, 2)
        half = radius * max(0.2, slender * rng.uniform(0.7, 1.3) - 1)
        y, x = rows - centre[0], columns - centre[1]
        along_axis = np.clip(np.sin(turn) * y + np.cos(turn) * x, -half, half)
        inside = np.hypot(y - along_axis * np.sin(turn), x - along_axis * np.cos(turn)) < radius
        free = inside & (labels == 0)
        if free.sum() >= max(0.8 * inside.sum(), 1):
            labels[free] = number
            centres.append((centre, turn))
    return labels


def _ruffled(rng: np.random.Generator, labels: NDArray[np.int32]) -> NDArray[np.int32]:
    """Give cells jagged edges and spikes."""
    size, bend = len(labels), rng.uniform(0, 2.5)
    shift = [_smooth_noise(rng, size, rng.uniform(1.5, 4)) * bend for _ in range(2)]
    grid = np.clip((np.mgrid[0:size, 0:size] + np.stack(shift)).round().astype(int), 0, size - 1)
    return _largest_parts(labels[grid[0], grid[1]].astype(np.int64)).astype(np.int32)


def _draw_sheet(rng: np.random.Generator, size: int) -> NDArray[np.int32]:
    """Draw cells that touch on all sides: nearest seeds, with bent borders and a few holes."""
    radius = float(np.exp(rng.uniform(np.log(9), np.log(26))))
    margin = int(2 * radius)
    wide = size + 2 * margin
    pitch = 1.8 * radius
    rows, columns = np.mgrid[0:wide:pitch, 0:wide:pitch]
    seeds = np.stack([rows.ravel(), columns.ravel()], axis=1)
    seeds = seeds + rng.normal(0, rng.uniform(0.12, 0.35) * pitch, seeds.shape)
    at = np.clip(seeds.round().astype(int), 0, wide - 1)
    marked = np.zeros((wide, wide), np.int32)
    marked[at[:, 0], at[:, 1]] = np.arange(1, len(at) + 1)
    nearest = ndi.distance_transform_edt(marked == 0, return_distances=False, return_indices=True)
    bend = rng.uniform(0.5, 0.25 * radius)
    shift = [_smooth_noise(rng, wide, radius / 2) * bend for _ in range(2)]
    grid = np.mgrid[0:wide, 0:wide] + np.stack(shift)
    grid = np.clip(grid.round().astype(int), 0, wide - 1)
    sheet = marked[nearest[0], nearest[1]][grid[0], grid[1]]
    inner = sheet[margin : margin + size, margin : margin + size]
    absent = rng.random(len(at) + 1) < rng.choice([0.0, 0.08, 0.3, 0.6])
    absent[0] = True
    numbers = np.where(absent, 0, np.cumsum(~absent))
    return np.ascontiguousarray(_largest_parts(numbers[inner]), np.int32)


def _largest_parts(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Drop what bending has cut off from its cell."""
    kept = labels.copy()
    for number, box in enumerate(ndi.find_objects(labels), start=1):
        if box is None:
            continue
        own, n_parts = ndi.label(labels[box] == number)
        if n_parts > 1:
            largest = 1 + int(np.bincount(own.ravel())[1:].argmax())
            kept[box][(own > 0) & (own != largest)] = 0
    return kept


def _smooth_noise(rng: np.random.Generator, size: int, grain: float) -> Plane:
    noise = ndi.gaussian_filter(rng.normal(size=(size, size)), grain)
    smooth: Plane = noise / max(float(noise.std()), 1e-9)
    return smooth
