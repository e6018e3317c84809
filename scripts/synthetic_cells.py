"""Draw images of cells that never lived: training data for the weights that trainings begin with.

Nothing here comes from a real image, so the weights carry nobody's licence. Each image has one
look: bright nuclei, stained cells on a bright ground, phase contrast, relief (DIC) or membranes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage as ndi

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Plane = NDArray[np.float64]

LOOKS = ("nuclei", "nuclei", "stained", "phase", "relief", "membranes")


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
        Image, ``YX`` float32, and labels, ``YX`` int32: 0 background, cells 1..N, some touching.
    """
    labels = _draw_labels(rng, size)
    image = _render(rng, labels, str(rng.choice(LOOKS)))
    return _expose(rng, image).astype(np.float32), labels


def _draw_labels(rng: np.random.Generator, size: int) -> NDArray[np.int32]:
    labels = np.zeros((size, size), np.int32)
    radius = float(np.exp(rng.uniform(np.log(5), np.log(32))))
    wanted = rng.uniform(0.05, 0.65) * size**2 / (np.pi * radius**2)
    sociable = rng.uniform(0, 0.8)  # how often a cell touches another one
    centres: list[tuple[Plane, float]] = []
    for number in range(1, max(3, int(wanted)) + 1):
        own = radius * float(rng.lognormal(0, 0.2))
        centre = rng.uniform(0, size, 2)
        if centres and rng.random() < sociable:
            near, other = centres[int(rng.integers(len(centres)))]
            angle = rng.uniform(0, 2 * np.pi)
            centre = near + (own + other) * 0.9 * np.array([np.sin(angle), np.cos(angle)])
        if _draw_cell(rng, labels, centre, own, number):
            centres.append((centre, own))
    return labels


def _draw_cell(
    rng: np.random.Generator, labels: NDArray[np.int32], centre: Plane, radius: float, number: int
) -> bool:
    """Draw one cell where there is room; tell whether most of it found some."""
    reach = int(2.2 * radius) + 2
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
    for wave in range(2, 6):
        outline += rng.normal(0, 0.12 / wave) * np.cos(wave * angle + rng.uniform(0, 2 * np.pi))
    inside = np.hypot(along, across) < radius * outline
    box = (slice(low[0], high[0]), slice(low[1], high[1]))
    free = inside & (labels[box] == 0)
    if free.sum() < 0.6 * max(inside.sum(), 1):
        return False
    labels[box][free] = number
    return True


def _render(rng: np.random.Generator, labels: NDArray[np.int32], look: str) -> Plane:
    inside = labels > 0
    depth = ndi.distance_transform_edt(_without_borders(labels))
    height = 1 - np.exp(-depth / max(2.0, float(depth.max()) / 3))
    texture = _texture(rng, labels.shape, rng.uniform(0.7, 3))
    brightness = rng.lognormal(0, rng.uniform(0.1, 0.6), int(labels.max()) + 1)[labels]
    ground = rng.uniform(0, 0.3) + 0.05 * _texture(rng, labels.shape, 20)
    image: Plane
    if look in ("nuclei", "stained"):
        cells = inside * brightness * (0.6 + 0.4 * height) * (1 + rng.uniform(0, 0.3) * texture)
        image = ground + ndi.gaussian_filter(cells, rng.uniform(0.4, 1.8)) + _haze(rng, cells)
        image = -image if look == "stained" else image
    elif look == "membranes":
        wall = inside & (depth <= rng.uniform(1.2, 2.5))
        image = ground + ndi.gaussian_filter(wall * brightness, rng.uniform(0.5, 1.2))
        image += 0.1 * inside * texture
    elif look == "phase":
        halo = np.exp(-(ndi.distance_transform_edt(~inside) ** 2) / 8) * ~inside
        image = ground + rng.uniform(0.2, 1) * halo - rng.uniform(0, 0.6) * inside * height
        image += rng.uniform(0.05, 0.3) * inside * texture
    else:
        relief = ndi.gaussian_filter(inside * (height + 0.15 * texture), rng.uniform(0.8, 1.6))
        turn = rng.uniform(0, 2 * np.pi)
        image = np.cos(turn) * ndi.sobel(relief, 1) + np.sin(turn) * ndi.sobel(relief, 0)
        image += 0.1 * inside * texture + 0.02 * _texture(rng, labels.shape, 1)
    return image


def _without_borders(labels: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Return where cells are, without the pixels at which two of them meet."""
    low, high = ndi.minimum_filter(labels, 3), ndi.maximum_filter(labels, 3)
    alone: NDArray[np.bool_] = (labels > 0) & (low == high)
    return alone


def _texture(rng: np.random.Generator, shape: tuple[int, ...], grain: float) -> Plane:
    noise = ndi.gaussian_filter(rng.normal(size=shape), grain)
    texture: Plane = noise / max(float(noise.std()), 1e-9)
    return texture


def _haze(rng: np.random.Generator, cells: Plane) -> Plane:
    """Return light of cells out of focus, and specks of dirt."""
    shifted = np.roll(cells, rng.integers(20, 200, 2).tolist(), axis=(0, 1))
    blurred = ndi.gaussian_filter(shifted, rng.uniform(6, 20))
    specks = ndi.gaussian_filter((rng.random(cells.shape) < 5e-5).astype(float), 0.8) * 8
    haze: Plane = rng.uniform(0, 0.5) * blurred + rng.uniform(0, 0.5) * specks
    return haze


def _expose(rng: np.random.Generator, image: Plane) -> Plane:
    """Add uneven light and noise."""
    rows, columns = np.mgrid[-1 : 1 : image.shape[0] * 1j, -1 : 1 : image.shape[1] * 1j]
    light = 1 + rng.uniform(-0.25, 0.25) * rows + rng.uniform(-0.25, 0.25) * columns
    spread = max(float(np.percentile(image, 99) - np.percentile(image, 1)), 1e-6)
    image = image / spread * light
    noise = rng.normal(size=image.shape) * rng.uniform(0.005, 0.12)
    exposed: Plane = image + noise
    return exposed
