"""Make the figures of docs/how-it-works.md, all from the code that they explain.

    python scripts/make_figures.py [FOLDER]

Drawings are SVG; pictures are PNG, of the sample images. The same input gives the same pixels:
a test makes them again and compares.
"""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from drawing import BLUE, GREY, INK, ORANGE, PALE_BLUE, PALE_ORANGE, Drawing
from network_figure import network_figure
from PIL import Image
from skimage.segmentation import find_boundaries
from synthetic_volumes import synthetic_volume

import napari_unet as nu
from napari_unet.samples import load_nuclei_2d
from napari_unet.training.augmentation import Deformation, sample_nearest, sample_smooth

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Picture = NDArray[np.uint8]

FOLDER = Path(__file__).parents[1] / "docs" / "images" / "figures"
_CROP = (slice(296, 456), slice(64, 224))  # of the sample image: touching nuclei, some painted
_MARGIN = 48  # pixels around it that a deformation may reach into
_ZOOM = 2
_ORANGE, _BLUE = (230, 159, 0), (0, 114, 178)
# Black, violet, orange, pale yellow: brighter is more, also without colours.
_HEAT = np.array([(0, 0, 0), (88, 24, 120), (220, 96, 32), (255, 250, 200)], float)


def main(arguments: Sequence[str]) -> None:
    """Write all figures into a folder."""
    folder = Path(arguments[0]) if arguments else FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in drawings().items():
        (folder / name).write_text(text, encoding="utf-8", newline="\n")
    for name, picture in pictures().items():
        image = Image.fromarray(picture).quantize(128, dither=Image.Dither.NONE)
        image.save(folder / name, optimize=True)


def drawings() -> dict[str, str]:
    """Return SVG text by file name."""
    fast = nu.TrainConfig.preset("fast")
    return {
        "unet-paper.svg": network_figure(
            nu.UNetConfig.paper(), 572, "The network of 2015: 572 pixels in, 388 pixels out"
        ),
        "unet-fast.svg": network_figure(
            fast.network(in_channels=1, out_channels=2),
            fast.patch_size,
            "The network of the preset fast: 192 pixels in, 192 pixels out",
        ),
        "tile-phase.svg": phase_figure(nu.UNetConfig.paper().pooling_factor),
        "tile-halo.svg": halo_figure(nu.UNetConfig.paper().halo),
    }


def phase_figure(cell: int) -> str:
    """Draw where the pooling cells of three tiles lie, for strides of 388 and of 384."""
    drawing = Drawing(700, 230, "Pooling cells of neighbouring tiles for strides of 388 and 384")
    for left, stride in ((20.0, 388), (370.0, 384)):
        drawing.words(left + 155, 24, f"stride {stride} = 24 x 16 + {stride % 16}", 14)
        for tile in range(3):
            shift, y = stride * tile % cell, 48 + 50.0 * tile
            drawing.words(left, y + 20, f"tile {tile + 1}", 12, "start")
            _draw_cells(drawing, left + 50, y, cell, shift)
            drawing.words(left + 302, y + 20, f"+{shift}" if shift else "0", 12, "start")
        for edge in range(6):  # the grid of the first tile, through all of them
            x = left + 50 + edge * 48
            drawing.line((x, 42), (x, 186), ORANGE if stride % cell else BLUE)
        told = "cells of 16 pixels meet the image elsewhere" if stride % cell else "same cells"
        drawing.words(left + 170, 212, told, 12)
    return str(drawing)


def _draw_cells(drawing: Drawing, x: float, y: float, cell: int, shift: int) -> None:
    """Draw a strip of 80 pixels, three units each, cut into cells."""
    end = 5 * cell
    edges = [0, *(edge for edge in range(shift, end, cell) if edge > 0), end]
    for number, (first, last) in enumerate(pairwise(edges)):
        fill = PALE_BLUE if number % 2 else "#eef5fa"
        drawing.box(x + 3 * first, y, 3 * (last - first), 30, fill, GREY)


def halo_figure(halo: int) -> str:
    """Draw what a tile reads, what it computes, and what is kept of it."""
    drawing = Drawing(640, 312, "A tile reads 572 pixels, computes 388 and keeps 384")
    read, kept = 260.0, 384 * 260 / 572
    x = y = 20.0
    drawing.box(x, y, read, read, PALE_ORANGE, ORANGE)
    drawing.box(x + (read - kept) / 2, y + (read - kept) / 2, kept, kept, PALE_BLUE, BLUE)
    drawing.words(x + read / 2, y + 135, "384 kept", 14)
    drawing.words(x + read / 2, y + 27, f"halo, {halo} pixels", 12)
    lines = (
        "Read: 572 x 572 pixels, mirrored where",
        "the image ends.",
        f"Lost to unpadded convolutions: {halo} on each side.",
        "Computed: 388 x 388.",
        "Thrown away: 2 more on each side.",
        "Kept: 384 x 384 = 24 x 16 along each axis,",
        "so the next tile begins on the same grid.",
    )
    for number, text in enumerate(lines):
        drawing.words(310, 62 + 26.0 * number, text, 12, "start")
    drawing.line((x, y + read + 12), (x + read, y + read + 12), INK)
    drawing.box(x + read / 2 - 40, y + read + 4, 80, 16, "#ffffff")
    drawing.words(x + read / 2, y + read + 16, "572 read", 12)
    return str(drawing)


def pictures() -> dict[str, Picture]:
    """Return RGB pictures ``YXC`` by file name."""
    image, strokes, labels = load_nuclei_2d()
    grey = _grey(image)[_CROP]
    return {
        "painted.png": _beside(_painted(grey, strokes[_CROP]), _counted(strokes[_CROP])),
        "border-weights.png": _beside(
            grey,
            _outlined(grey, labels[_CROP]),
            _heat(nu.border_weight_map(labels)[_CROP] / 10),
        ),
        "elastic.png": _beside(*_deformed(_grey(image), labels)),
        "synthetic-volumes.png": _volumes(),
    }


def _volumes() -> Picture:
    """Draw volumes of each kind: a slice, the same with outlines, and a section from the side."""
    rows = []
    for look, seed in (("nuclei", 101), ("nuclei", 103), ("membranes", 100), ("membranes", 301)):
        tiles: list[Picture] = []
        for thick in (1, 3, 6):
            rng = np.random.default_rng(seed + thick)
            scene = synthetic_volume(rng, (66 // thick, 66, 66), look, thick)
            low, high = np.percentile(scene.image, (0.5, 99.8))
            grey = (np.clip((scene.image - low) / (high - low), 0, 1) * 255).astype(np.uint8)
            colours = np.stack([grey] * 3, axis=-1)
            middle = len(grey) // 2
            plane, side = colours[middle], np.repeat(colours[:, 33], thick, axis=0)
            tiles += [plane, _outlined(plane, scene.labels[middle]), side]
        rows.append(_beside(*tiles))
    return np.concatenate(rows)


def _grey(image: NDArray[Any]) -> Picture:
    """Return a picture of an image, its darker half lifted."""
    bright = np.clip(image / np.percentile(image, 99.5), 0, 1) ** 0.6
    return np.repeat((bright * 255).astype(np.uint8)[..., np.newaxis], 3, axis=-1)


def _painted(grey: Picture, strokes: NDArray[Any]) -> Picture:
    shown = grey.astype(float)
    for where, colour in ((strokes == 1, _BLUE), (strokes > 1, _ORANGE)):
        shown[where] = 0.4 * shown[where] + 0.6 * np.array(colour)
    return shown.astype(np.uint8)


def _counted(strokes: NDArray[Any]) -> Picture:
    """Return white where the loss counts, and black where it does not."""
    return np.repeat(np.where(strokes > 0, 255, 0).astype(np.uint8)[..., np.newaxis], 3, axis=-1)


def _outlined(grey: Picture, labels: NDArray[Any]) -> Picture:
    shown = grey.copy()
    shown[find_boundaries(labels, mode="inner")] = _ORANGE
    return shown


def _heat(share: NDArray[Any]) -> Picture:
    """Return colours for numbers from 0 to 1."""
    place = np.clip(share, 0, 1) * (len(_HEAT) - 1)
    below = np.minimum(place.astype(int), len(_HEAT) - 2)
    part = (place - below)[..., np.newaxis]
    colours: Picture = np.rint(_HEAT[below] * (1 - part) + _HEAT[below + 1] * part).astype(np.uint8)
    return colours


def _deformed(image: Picture, labels: NDArray[Any]) -> tuple[Picture, Picture]:
    """Return the crop with outlines and a grid, and the same as a training may see it."""
    config = nu.TrainConfig.preset("paper", rotate=False, flip=False)
    deformation = Deformation.drawn(config, np.random.default_rng(5))
    grid = np.zeros(labels.shape, np.uint8)
    grid[::16], grid[:, ::16] = 1, 1
    around = tuple(slice(each.start - _MARGIN, each.stop + 1 + _MARGIN) for each in _CROP)
    positions = deformation.positions(labels[_CROP].shape, torch.device("cpu"))[None]
    planes = np.moveaxis(image[around], -1, 0).astype(np.float32)
    bent = np.moveaxis(sample_smooth([torch.from_numpy(planes)[None]], positions)[0].numpy(), 0, -1)
    marks = np.stack([labels[around], grid[around]]).astype(np.float32)
    bent_labels, bent_grid = sample_nearest([torch.from_numpy(marks)[None]], positions)[0].numpy()
    before = _gridded(_outlined(image[_CROP], labels[_CROP]), grid[_CROP])
    shown = _outlined(np.rint(bent).astype(np.uint8), bent_labels.astype(int))
    return before, _gridded(shown, bent_grid)


def _gridded(picture: Picture, grid: NDArray[Any]) -> Picture:
    shown = picture.astype(float)
    shown[grid > 0] = 0.6 * shown[grid > 0] + 0.4 * np.array(_BLUE)
    return shown.astype(np.uint8)


def _beside(*panels: Picture) -> Picture:
    """Join pictures from left to right, enlarged, with a white gap between them."""
    large = [np.repeat(np.repeat(each, _ZOOM, axis=0), _ZOOM, axis=1) for each in panels]
    gap = np.full((large[0].shape[0], 8, 3), 255, np.uint8)
    parts = [part for each in large for part in (gap, each)][1:]
    return np.concatenate(parts, axis=1)


if __name__ == "__main__":
    main(sys.argv[1:])
