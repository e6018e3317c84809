"""Draw images of cells that never lived: training data for the bundled starting weights.

Nothing here comes from a real image, so the weights carry nobody's licence. Each image has a
layout (`synthetic_shapes`) and a look: fluorescent nuclei, stained cells on a bright ground,
bright field, phase contrast, relief (DIC) or membranes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import synthetic_shapes as shapes
from scipy import ndimage as ndi
from synthetic_shapes import smooth_noise

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Plane = NDArray[np.float64]
    LabelImage = NDArray[np.int32]

# How often each look is drawn, and the layouts that it comes with.
_LOOKS = {
    "nuclei": 0.34,
    "stained": 0.12,
    "bright_field": 0.09,
    "phase": 0.15,
    "relief": 0.18,
    "membranes": 0.12,
}
_LAYOUTS: dict[str, tuple[Callable[[np.random.Generator, int], LabelImage], ...]] = {
    "nuclei": (shapes.scattered, shapes.clumped, shapes.clumped, shapes.crowded),
    "stained": (shapes.scattered, shapes.clumped, shapes.crowded),
    "bright_field": (shapes.scattered, shapes.branched, shapes.packed),
    "phase": (shapes.scattered, shapes.branched, shapes.branched, shapes.packed),
    "relief": (shapes.packed, shapes.packed, shapes.scattered, shapes.branched),
    "membranes": (shapes.tissue,),
}


def synthetic_cells(
    rng: np.random.Generator, size: int = 256, look: str | None = None
) -> tuple[NDArray[np.float32], LabelImage]:
    """Draw one image with its labels.

    Parameters
    ----------
    rng : numpy.random.Generator
        Decides everything.
    size : int
        Edge length in pixels.
    look : str, optional
        One of "nuclei", "stained", "bright_field", "phase", "relief", "membranes"; drawn by
        default.

    Returns
    -------
    tuple of ndarray
        Image, ``YX`` float32, and labels, ``YX`` int32: 0 background, cells above 0, many of
        them touching.
    """
    if look is None:
        look = str(rng.choice(list(_LOOKS), p=list(_LOOKS.values())))
    layouts = _LAYOUTS[look]
    labels = layouts[int(rng.integers(len(layouts)))](rng, size)
    scene = _Scene(rng, labels)
    image = _RENDERERS[look](scene)
    return _expose(rng, image).astype(np.float32), labels


class _Scene:
    """Labels and what every look needs to know of them."""

    def __init__(self, rng: np.random.Generator, labels: LabelImage) -> None:
        self.rng = rng
        self.labels = labels
        self.inside = labels > 0
        self.depth: Plane = ndi.distance_transform_edt(_without_borders(labels))
        areas = np.bincount(labels.ravel())[1:]
        self.radius = float(np.sqrt(np.median(areas[areas > 0]) / np.pi)) if areas.any() else 8.0
        edge = min(rng.uniform(0.15, 0.6) * self.radius, rng.uniform(3, 12))
        height = 1 - np.exp(-self.depth / max(1.0, edge))
        self.height: Plane = height

    def per_cell(self, spread: float) -> Plane:
        """Return a brightness per cell, spread on as many pixels."""
        values = self.rng.lognormal(0, spread, int(self.labels.max()) + 1)
        brightness: Plane = values[self.labels]
        return brightness

    def texture(self, low: float, high: float) -> Plane:
        """Return lumps between `low` and `high` pixels."""
        return smooth_noise(self.rng, self.labels.shape, self.rng.uniform(low, high))

    def nuclei(self) -> Plane:
        """Return a soft disk well within each cell: part of the cell, no object of its own."""
        share = self.rng.uniform(0.45, 0.75)
        deepest = ndi.maximum(self.depth, self.labels, np.arange(int(self.labels.max()) + 1))
        relative = self.depth / np.maximum(np.asarray(deepest), 1e-6)[self.labels]
        disk: Plane = 1 / (1 + np.exp((share - relative) * self.rng.uniform(10, 40)))
        return disk * self.inside

    def vesicles(self, density: float) -> Plane:
        """Return small round organelles inside cells, each a bright or a dark spot."""
        where = (self.rng.random(self.labels.shape) < density) & (self.depth > 2)
        signs = where * self.rng.choice([-1.0, 1.0], self.labels.shape)
        grain = self.rng.uniform(0.7, max(0.8, min(3.0, self.radius / 10)))
        spots: Plane = ndi.gaussian_filter(signs, grain) * 2 * np.pi * grain**2
        return spots

    def debris(self, share: float) -> Plane:
        """Return fragments of dead cells: background, though some are bright."""
        fragments = np.zeros(self.labels.shape)
        grain = float(np.clip(self.radius / 8, 0.7, 3))
        number = int(self.rng.poisson(share * self.labels.size / 3000))
        rows, columns = self.rng.integers(0, self.labels.shape[0], (2, number))
        fragments[rows, columns] = self.rng.lognormal(0, 0.5, number)
        soft = ndi.gaussian_filter(fragments, grain) * 2 * np.pi * grain**2
        outside: Plane = soft * ~ndi.binary_dilation(self.inside, iterations=2)
        return outside


def _nuclei(scene: _Scene) -> Plane:
    rng = scene.rng
    brightness = np.maximum(scene.per_cell(rng.choice([0.15, 0.4, 0.7])), 0.3)
    texture = 1 + rng.uniform(0, 0.3) * scene.texture(0.7, 3)
    cells = scene.inside * brightness * (0.5 + 0.5 * scene.height) * texture
    if rng.random() < 0.3:  # chromatin spots, some saturated
        cells = cells * (1 + rng.uniform(0.2, 1) * np.maximum(scene.vesicles(0.01), 0))
    image = rng.uniform(0, 0.3) + ndi.gaussian_filter(cells, rng.uniform(0.4, 2))
    image = image + 0.05 * scene.texture(20, 40) + _haze(scene, cells)
    image = image + scene.debris(rng.choice([0, 0.5])) * rng.uniform(0.2, 0.8)
    if rng.random() < 0.2:
        image = np.minimum(image, np.percentile(image, rng.uniform(93, 99.5)))
    return np.asarray(image)


def _stained(scene: _Scene) -> Plane:
    return -_nuclei(scene) - 0.15 * scene.rng.uniform() * scene.texture(2, 8)


def _bright_field(scene: _Scene) -> Plane:
    rng = scene.rng
    rim = np.exp(-((scene.depth - 1.5) ** 2) / rng.uniform(1, 6)) * scene.inside
    image = rng.uniform(-1, 1) * rim + rng.uniform(-0.3, 0.3) * scene.inside
    image = image + rng.uniform(0.05, 0.4) * scene.inside * scene.texture(0.8, 3)
    image = image + rng.uniform(0, 0.5) * scene.vesicles(0.01)
    image = image + rng.uniform(-0.3, 0.3) * scene.nuclei() + 0.5 * scene.debris(0.3)
    return np.asarray(ndi.gaussian_filter(image, rng.uniform(0.5, 1.6)))


def _phase(scene: _Scene) -> Plane:
    rng = scene.rng
    outside = ndi.distance_transform_edt(~scene.inside)
    halo = np.exp(-((outside / rng.uniform(2, 7)) ** 2)) * ~scene.inside
    image = rng.uniform(0.1, 1) * halo - rng.uniform(-0.1, 0.6) * scene.inside * scene.height
    seams = scene.inside & (scene.depth <= 1.5)  # where two cells meet, a thin bright line
    image = image + rng.uniform(0.1, 0.8) * ndi.gaussian_filter(seams.astype(float), 0.9)
    image = image + rng.uniform(0.05, 0.35) * scene.inside * scene.texture(0.8, 3)
    image = image + rng.uniform(-0.4, 0.4) * scene.nuclei()
    image = image + rng.uniform(0, 0.5) * scene.vesicles(0.015) + scene.debris(0.4)
    return np.asarray(ndi.gaussian_filter(image, rng.uniform(0.4, 1.2)))


def _relief(scene: _Scene) -> Plane:
    """Render differential interference contrast: the slope of the thickness along one angle."""
    rng = scene.rng
    thickness = scene.height * scene.per_cell(0.2) * rng.uniform(0.6, 1.2)
    thickness = thickness + rng.uniform(0.02, 0.12) * scene.inside * scene.texture(3, 8)
    thickness = thickness + rng.uniform(0.05, 0.35) * scene.nuclei()
    thickness = thickness + rng.uniform(0.03, 0.2) * scene.vesicles(rng.uniform(0.002, 0.02))
    thickness = thickness + rng.uniform(0, 0.05) * scene.inside * scene.texture(0.8, 1.6)
    thickness = thickness + rng.uniform(0, 0.6) * scene.debris(0.4)
    soft = ndi.gaussian_filter(thickness, rng.uniform(0.8, 2))
    turn = rng.uniform(0, 2 * np.pi)
    slope = np.cos(turn) * ndi.sobel(soft, 1) + np.sin(turn) * ndi.sobel(soft, 0)
    return np.asarray(slope + rng.uniform(-0.1, 0.1) * soft + 0.01 * scene.texture(1, 3))


def _membranes(scene: _Scene) -> Plane:
    rng = scene.rng
    wall = scene.inside & (scene.depth <= rng.uniform(1, 2.5))
    gain = 1 + rng.uniform(0, 0.5) * np.clip(scene.texture(8, 25), -1, 1)  # walls fade and return
    sign = rng.choice([-1.0, 1.0])
    image = sign * ndi.gaussian_filter(wall * gain, rng.uniform(0.5, 1.3))
    image = image + rng.uniform(0.05, 0.25) * scene.texture(0.8, 3)
    image = image + rng.uniform(0, 0.4) * sign * scene.vesicles(0.006)
    return np.asarray(image + rng.uniform(-0.2, 0.2) * scene.nuclei())


_RENDERERS: dict[str, Callable[[_Scene], Plane]] = {
    "nuclei": _nuclei,
    "stained": _stained,
    "bright_field": _bright_field,
    "phase": _phase,
    "relief": _relief,
    "membranes": _membranes,
}


def _without_borders(labels: LabelImage) -> NDArray[np.bool_]:
    """Return where cells are, without the pixels at which two of them meet."""
    low, high = ndi.minimum_filter(labels, 3), ndi.maximum_filter(labels, 3)
    alone: NDArray[np.bool_] = (labels > 0) & (low == high)
    return alone


def _haze(scene: _Scene, cells: Plane) -> Plane:
    """Return light of cells out of focus, and specks of dirt."""
    rng = scene.rng
    shifted = np.roll(cells, rng.integers(20, 200, 2).tolist(), axis=(0, 1))
    small = ndi.gaussian_filter(shifted[::4, ::4], rng.uniform(1.5, 5))
    blurred = ndi.zoom(small, 4, order=1)[: cells.shape[0], : cells.shape[1]]
    specks = ndi.gaussian_filter((rng.random(cells.shape) < 5e-5).astype(float), 0.8) * 8
    haze: Plane = rng.uniform(0, 0.5) * blurred + rng.uniform(0, 0.5) * specks
    return haze


def _expose(rng: np.random.Generator, image: Plane) -> Plane:
    """Blur some, add uneven light, shot noise and the noise of the camera."""
    if rng.random() < 0.2:
        image = ndi.gaussian_filter(image, rng.uniform(0.5, 2))
    rows, columns = np.mgrid[-1 : 1 : image.shape[0] * 1j, -1 : 1 : image.shape[1] * 1j]
    low, high = np.percentile(image, [1, 99])
    image = (image - low) / max(float(high - low), 1e-6)
    slope = rng.uniform(-0.25, 0.25) * rows + rng.uniform(-0.25, 0.25) * columns
    image = image * (1 + slope) + rng.uniform(0, 0.6) * slope
    if rng.random() < 0.5:
        photons = np.exp(rng.uniform(np.log(20), np.log(2000)))
        image = rng.poisson(np.clip(image + 0.05, 0, None) * photons) / photons
    exposed: Plane = image + rng.normal(size=image.shape) * rng.uniform(0.005, 0.1)
    return exposed
