"""What a microscope makes of drawn cells: fluorescence, stains, transmitted light."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage as ndi

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Plane = NDArray[np.float64]
    Labels = NDArray[np.int32]

LOOKS = (
    *("nuclei", "nuclei", "stained", "phase", "rods", "relief", "membranes"),
    *("spread", "spread", "spread", "spread"),
)
# Noise beside the light's own, of looks that cameras show clearly.
_CLEAR = ("spread", "rods")


def render(rng: np.random.Generator, labels: Labels, look: str) -> Plane:
    """Draw the image of some cells.

    Parameters
    ----------
    rng : numpy.random.Generator
        Decides everything.
    labels : ndarray
        ``YX`` int32: 0 background, cells 1..N.
    look : str
        One of `LOOKS`.

    Returns
    -------
    ndarray
        ``YX`` float64, about 0 to 1 and noisy.
    """
    draw = {
        "nuclei": _fluorescence,
        "stained": _stained,
        "phase": _phase_contrast,
        "relief": _relief,
        "membranes": _membranes,
        "spread": _spread,
        "rods": _rods,
    }[look]
    return _exposed(rng, draw(rng, labels), 0.05 if look in _CLEAR else 0.12)


def _fluorescence(rng: np.random.Generator, labels: Labels) -> Plane:
    """Bright cells of very different brightness, out-of-focus light, debris."""
    inside = labels > 0
    brightness = _per_cell(rng, labels, rng.uniform(0.1, 0.9))
    texture = _texture(rng, labels.shape, rng.uniform(0.7, 4))
    cells = inside * brightness * (0.55 + 0.45 * _height(labels))
    cells = cells * (1 + rng.uniform(0, 0.35) * texture).clip(0.1)
    if rng.random() < 0.3:  # nucleoli: dark spots
        cells = cells * (1 - 0.6 * _spots(rng, labels.shape, 1 / 250, rng.uniform(0.8, 2)))
    blurred = ndi.gaussian_filter(cells, rng.uniform(0.4, 2.0))
    ground = rng.uniform(0, 0.3) + 0.05 * _texture(rng, labels.shape, 20)
    image: Plane = ground + blurred + _haze(rng, cells) + _debris(rng, labels)
    return image


def _stained(rng: np.random.Generator, labels: Labels) -> Plane:
    """Dark cells on a bright ground."""
    return -_fluorescence(rng, labels)


def _membranes(rng: np.random.Generator, labels: Labels) -> Plane:
    """Thin walls, bright or dark; interiors nearly as the ground."""
    depth = ndi.distance_transform_edt(_without_borders(labels))
    wall = (labels > 0) & (depth <= rng.uniform(1.0, 2.5))
    strength = np.clip(1 + 0.4 * _texture(rng, labels.shape, 6), 0.15, None)
    image = ndi.gaussian_filter(wall * strength, rng.uniform(0.5, 1.4))
    image += rng.uniform(0, 0.25) * (labels > 0) * _per_cell(rng, labels, 0.4)
    image += rng.uniform(0, 0.12) * _texture(rng, labels.shape, rng.uniform(1, 4))
    vesicles = _spots(rng, labels.shape, rng.choice([0, 1 / 500]), rng.uniform(0.8, 1.6))
    image += 0.6 * vesicles
    walls: Plane = image * float(rng.choice([-1, 1]))
    return walls


def _phase_contrast(rng: np.random.Generator, labels: Labels) -> Plane:
    """Halos around cells, grey interiors with granules and a nucleus."""
    inside = labels > 0
    outside = ndi.distance_transform_edt(~inside)
    halo = np.exp(-(outside**2) / rng.uniform(4, 30)) * ~inside
    image = rng.uniform(0.2, 1) * halo - rng.uniform(0, 0.7) * inside * _height(labels)
    image += rng.uniform(0, 0.4) * inside * _per_cell(rng, labels, 0.3)
    image += rng.uniform(0.05, 0.35) * inside * _texture(rng, labels.shape, rng.uniform(0.7, 2.5))
    image += rng.uniform(0, 0.5) * inside * _spots(rng, labels.shape, 1 / 120, 0.8)
    image += rng.uniform(-0.4, 0.4) * ndi.gaussian_filter(_inner(rng, labels).astype(float), 1)
    image += 0.05 * _texture(rng, labels.shape, 12)
    contrast: Plane = ndi.gaussian_filter(image, rng.uniform(0.3, 1.2)) + _debris(rng, labels) / 2
    return contrast


def _relief(rng: np.random.Generator, labels: Labels) -> Plane:
    """Light from one side on a landscape of cells, nuclei and granules (DIC)."""
    inside = labels > 0
    height = _height(labels) * inside * _per_cell(rng, labels, 0.3)
    nucleus = ndi.gaussian_filter(_inner(rng, labels).astype(float), rng.uniform(1, 3))
    granules = _texture(rng, labels.shape, rng.uniform(0.8, 2.5))
    vesicles = _spots(rng, labels.shape, rng.uniform(0, 1 / 60), rng.uniform(0.8, 2))
    landscape = height + rng.uniform(0, 0.5) * nucleus
    landscape += inside * (rng.uniform(0.03, 0.3) * granules + rng.uniform(0, 0.6) * vesicles)
    landscape = ndi.gaussian_filter(landscape, rng.uniform(0.7, 1.8))
    turn = rng.uniform(0, 2 * np.pi)
    image = np.cos(turn) * ndi.sobel(landscape, 1) + np.sin(turn) * ndi.sobel(landscape, 0)
    image /= max(float(image.std()), 1e-9)
    image += rng.uniform(0, 0.6) * inside * granules
    image += rng.uniform(0, 0.15) * _texture(rng, labels.shape, 1)
    relief: Plane = image + rng.uniform(0, 0.3) * _texture(rng, labels.shape, 25)
    return relief


def _spread(rng: np.random.Generator, labels: Labels) -> Plane:
    """Flat cells in transmitted light: hardly brighter than the ground, seen by their thin edges.

    Phase contrast and DIC alike: a broken line along the edge and another beyond it, fine grains
    around a smooth nucleus with nucleoli, and some cells that have rounded up and shine.
    """
    inside = labels > 0
    alone = _without_borders(labels)
    depth, outside = ndi.distance_transform_edt(alone), ndi.distance_transform_edt(~inside)
    broken = np.clip(1 + 0.5 * _texture(rng, labels.shape, rng.uniform(1.5, 5)), 0, 2)
    line = np.exp(-(((depth - 0.5) / rng.uniform(0.7, 1.6)) ** 2)) * inside
    halo = np.exp(-((outside / rng.uniform(0.8, 2.5)) ** 2)) * ~inside
    strength, side = rng.uniform(0.25, 1), float(rng.choice([-1, 1]))
    nucleus = _inner(rng, labels)
    grains = inside * np.where(nucleus, rng.uniform(0.1, 0.6), 1.0)
    image = side * strength * broken * line - side * rng.uniform(0, 0.9) * strength * broken * halo
    image += inside * (_per_cell(rng, labels, 0.3) - 1) * rng.uniform(0, 0.5)
    image += inside * rng.uniform(-0.25, 0.25)
    image += rng.uniform(0.03, 0.25) * grains * _texture(rng, labels.shape, rng.uniform(0.6, 1.3))
    vesicles = _spots(rng, labels.shape, rng.uniform(0, 1 / 60), rng.uniform(0.6, 1.2))
    image += rng.uniform(-0.7, 0.7) * grains * vesicles
    image += rng.uniform(-0.2, 0.2) * ndi.gaussian_filter(nucleus.astype(float), 1)
    image -= rng.uniform(0, 0.5) * nucleus * _spots(rng, labels.shape, 1 / 150, 1.2)
    landscape = ndi.gaussian_filter(_height(labels) * inside, rng.uniform(0.7, 1.5))
    turn = rng.uniform(0, 2 * np.pi)
    slope = np.cos(turn) * ndi.sobel(landscape, 1) + np.sin(turn) * ndi.sobel(landscape, 0)
    image += rng.choice([0.0, rng.uniform(0.1, 0.8)]) * slope
    shining = (rng.random(int(labels.max()) + 1) < rng.choice([0, 0.1]))[labels] & inside
    image += shining * (rng.uniform(0.3, 1) + rng.uniform(0.5, 1.5) * line)
    image += 0.04 * _texture(rng, labels.shape, rng.uniform(5, 30))
    specks = _spots(rng, labels.shape, rng.choice([0, 1 / 800]), rng.uniform(0.6, 1.2)) * ~inside
    flat: Plane = ndi.gaussian_filter(image + rng.uniform(-0.6, 0.6) * specks, 0.5)
    return flat


def _rods(rng: np.random.Generator, labels: Labels) -> Plane:
    """Bacteria in phase contrast: dark bodies in a bright halo; or bright ones, as they glow."""
    inside = labels > 0
    outside = ndi.distance_transform_edt(~inside)
    body = ndi.gaussian_filter(inside * _per_cell(rng, labels, 0.15) * _height(labels), 0.8)
    halo = np.exp(-outside / rng.uniform(2, 8)) * ~inside
    image: Plane = rng.uniform(0, 0.6) * halo - body
    return image * float(rng.choice([-1, 1, 1])) + 0.03 * _texture(rng, labels.shape, 15)


def _per_cell(rng: np.random.Generator, labels: Labels, spread: float) -> Plane:
    """Give each cell a brightness of its own."""
    values: Plane = rng.lognormal(0, spread, int(labels.max()) + 1)[labels]
    return values


def _height(labels: Labels) -> Plane:
    """Return 0 at the borders of cells to 1 well inside."""
    depth = ndi.distance_transform_edt(_without_borders(labels))
    height: Plane = 1 - np.exp(-depth / max(2.0, float(depth.max()) / 3))
    return height


def _inner(rng: np.random.Generator, labels: Labels) -> NDArray[np.bool_]:
    """Return the nuclei of the cells: what lies deep inside, where cells are large."""
    depth = ndi.distance_transform_edt(_without_borders(labels))
    deepest = np.zeros(int(labels.max()) + 1)
    np.maximum.at(deepest, labels.ravel(), depth.ravel())
    share = rng.uniform(0.4, 0.7)
    inner: NDArray[np.bool_] = (labels > 0) & (depth > share * deepest[labels]) & (depth > 3)
    return inner


def _without_borders(labels: Labels) -> NDArray[np.bool_]:
    """Return where cells are, without the pixels at which two of them meet."""
    low, high = ndi.minimum_filter(labels, 3), ndi.maximum_filter(labels, 3)
    alone: NDArray[np.bool_] = (labels > 0) & (low == high)
    return alone


def _texture(rng: np.random.Generator, shape: tuple[int, ...], grain: float) -> Plane:
    noise = ndi.gaussian_filter(rng.normal(size=shape), grain)
    texture: Plane = noise / max(float(noise.std()), 1e-9)
    return texture


def _spots(
    rng: np.random.Generator, shape: tuple[int, ...], density: float, radius: float
) -> Plane:
    """Return soft spots of height about 1."""
    spots = ndi.gaussian_filter((rng.random(shape) < density).astype(float), radius)
    soft: Plane = np.minimum(spots * 2 * np.pi * radius**2, 1)
    return soft


def _debris(rng: np.random.Generator, labels: Labels) -> Plane:
    """Return a few small bright specks: no cells."""
    if rng.random() < 0.5:
        return np.zeros(labels.shape)
    specks = _spots(rng, labels.shape, rng.uniform(0, 4e-4), rng.uniform(0.6, 1.3))
    debris: Plane = rng.uniform(0.2, 1.2) * specks * (labels == 0)
    return debris


def _haze(rng: np.random.Generator, cells: Plane) -> Plane:
    """Return light of cells out of focus."""
    shifted = np.roll(cells, rng.integers(20, 200, 2).tolist(), axis=(0, 1))
    blurred = ndi.gaussian_filter(shifted, rng.uniform(6, 20))
    own = ndi.gaussian_filter(cells, rng.uniform(4, 12))
    haze: Plane = rng.uniform(0, 0.5) * blurred + rng.uniform(0, 0.4) * own
    return haze


def _exposed(rng: np.random.Generator, image: Plane, noise: float) -> Plane:
    """Add uneven light, noise that grows with the light, and saturation now and then."""
    rows, columns = np.mgrid[-1 : 1 : image.shape[0] * 1j, -1 : 1 : image.shape[1] * 1j]
    light = 1 + rng.uniform(-0.25, 0.25) * rows + rng.uniform(-0.25, 0.25) * columns
    low, high = np.percentile(image, (1, 99))
    image = (image - low) / max(float(high - low), 1e-6) * light
    if rng.random() < 0.15:
        image = np.minimum(image, rng.uniform(0.5, 0.9))
    shot = np.sqrt(np.abs(image)) * rng.uniform(0, 0.08)
    exposed: Plane = image + rng.normal(size=image.shape) * (rng.uniform(0.005, noise) + shot)
    return exposed
