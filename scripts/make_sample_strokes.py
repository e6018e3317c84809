"""Paint what a person paints in the first minutes: the strokes of the 2D samples.

``sample_data/nuclei2d_strokes.tif`` imitates somebody at the napari Labels layer with a round
brush of about five pixels. She fills fourteen nuclei chosen all over the image: bright and dim,
large and small, four groups that touch. She stays close to each nucleus' border without following
it exactly, and gives each nucleus an id of its own. Then she takes the background (value 1) and
draws along the outlines of those nuclei, through the gaps between neighbours, around bright debris,
and a few times across open background. All the rest stays 0, which means "nothing said".

``sample_data/phase2d_paint.tif`` is ten cells in phase contrast, large and with thin ends: each
filled, with a ring of background around it, and three strokes of background in the open.

The positions of the nuclei and the bends of the strokes below were chosen by eye; the full
labels only serve to steady the hand. A seeded wobble makes the edges as uneven as real ones.

Run from the checkout, with the package's own dependencies and nothing more::

    python scripts/make_sample_strokes.py [--overlays FOLDER]
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import tifffile
from scipy import ndimage
from scipy.interpolate import splev, splprep
from skimage.color import label2rgb
from skimage.draw import disk
from skimage.io import imsave

if TYPE_CHECKING:
    from collections.abc import Callable

Array = npt.NDArray[Any]
Point = tuple[float, float]

SAMPLE_DATA = Path(__file__).resolve().parents[1] / "sample_data"
SEED = 1505
BACKGROUND = 1
FIRST_CELL = 2
CELL_BRUSH = 2.5  # radius in pixels

# Touching nuclei are painted together, each by a click position (row, column) inside it.
CELL_GROUPS: tuple[tuple[Point, ...], ...] = (
    ((115, 67), (118, 87)),  # large, of middling brightness, side by side
    ((45, 430), (60, 430)),  # two small ones
    ((307, 348), (323, 350)),  # bright above dim
    ((427, 136), (431, 153), (442, 173)),  # a row of three
    ((32, 265),),  # tiny and very bright
    ((112, 249),),  # dim, alone
    ((328, 397),),  # bright, alone
    ((434, 294),),  # large, of middling brightness
    ((445, 489),),  # thin and slanted
)

# The ten cells in phase contrast: some that touch, bright and flat ones, and the rods.
PHASE_GROUPS: tuple[tuple[Point, ...], ...] = (
    ((265, 205), (285, 262), (246, 356)),  # a chain of three
    ((368, 224), (413, 253)),  # small and bright on the edge of a large flat one
    ((165, 100),),
    ((174, 277),),  # with a bright middle
    ((261, 483),),
    ((364, 556),),  # a rod
    ((154, 515),),
)
RING = 4.0  # pixels of background around each of them


class Stroke(NamedTuple):
    """One background stroke: the brush's radius and the points it passes through."""

    radius: float
    points: tuple[Point, ...]


STROKES: tuple[Stroke, ...] = (
    # Around the large pair, through the gaps to its neighbours on either side.
    Stroke(
        2.0,
        ((94, 94), (102, 99), (112, 102), (124, 103), (134, 101), (141, 92), (142, 82)),
    ),
    Stroke(
        2.0,
        ((138, 76), (133, 68), (133, 60), (126, 55), (116, 54), (105, 55), (98, 61), (97, 72)),
    ),
    # Around the two small ones, between them and the bright neighbour.
    Stroke(
        2.0,
        ((35, 418), (44, 418), (54, 417), (64, 417), (72, 423), (73, 433), (67, 442), (56, 443)),
    ),
    Stroke(2.0, ((50, 443), (40, 443), (34, 437), (35, 428))),
    # Between the bright-and-dim pair and the nucleus to its left, then up its right side.
    Stroke(
        2.0,
        ((291, 341), (300, 329), (310, 327), (317, 331), (325, 334), (334, 338), (336, 350)),
    ),
    Stroke(2.0, ((333, 361), (325, 366), (314, 367), (303, 368), (295, 363))),
    # Under the row of three and over it.
    Stroke(
        2.0,
        ((420, 124), (432, 123), (441, 128), (445, 139), (448, 151), (451, 159), (459, 168)),
    ),
    Stroke(2.0, ((412, 156), (416, 160), (424, 170), (426, 180), (434, 190), (444, 200))),
    # Between and beside the two very bright specks.
    Stroke(
        2.0,
        ((23, 254), (23, 268), (25, 279), (33, 280), (40, 275), (42, 264), (41, 254)),
    ),
    # Beside the dim one.
    Stroke(2.5, ((98, 236), (106, 234), (118, 234), (128, 239), (133, 248))),
    # Half round the bright one, whose glow reaches beyond it.
    Stroke(2.0, ((315, 389), (322, 383), (332, 382), (340, 384), (344, 391), (342, 402))),
    # Beside the large one and the thin one.
    Stroke(2.0, ((423, 280), (433, 281), (442, 288), (449, 297), (451, 306), (445, 312))),
    Stroke(2.0, ((454, 470), (446, 475), (437, 482), (429, 491))),
    Stroke(2.0, ((463, 484), (455, 493), (447, 500))),
    # Half round bright debris that nobody should take for its own size.
    Stroke(2.0, ((120, 456), (131, 455), (143, 460), (147, 470))),
    # Over a dim nucleus that is left unpainted.
    Stroke(2.5, ((392, 384), (388, 396), (392, 410), (402, 418))),
    # Open background.
    Stroke(3.0, ((14, 146), (24, 160), (37, 169), (44, 184))),
    Stroke(3.0, ((104, 346), (110, 362), (110, 380), (103, 396))),
    Stroke(3.0, ((404, 28), (416, 42), (426, 62))),
    Stroke(3.0, ((464, 328), (475, 338), (487, 345), (499, 360))),
)

PHASE_STROKES: tuple[Stroke, ...] = (
    Stroke(3.0, ((40, 40), (52, 80), (44, 120), (58, 165), (50, 210))),
    Stroke(3.0, ((540, 300), (520, 345), (535, 390), (515, 440), (530, 480))),
    Stroke(3.0, ((320, 400), (355, 410), (390, 405), (425, 425))),
)


def brush(radius: float) -> npt.NDArray[np.bool_]:
    """Return the round footprint of a brush."""
    reach = int(np.ceil(radius))
    rows, columns = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    return np.asarray(rows**2 + columns**2 <= (radius + 0.25) ** 2)


def paint_group(labels: Array, clicks: tuple[Point, ...], wobble: Array) -> Array:
    """Fill a group of touching nuclei; return 1, 2, ... for its members and 0 elsewhere.

    Parameters
    ----------
    labels
        The full labels.
    clicks
        A position inside each member.
    wobble
        How far the hand is off at each pixel, in pixels; positive keeps away from the border.

    Returns
    -------
    Array
        The painted members.
    """
    ids = [int(labels[int(row), int(column)]) for row, column in clicks]
    if 0 in ids or len(set(ids)) < len(ids):
        raise ValueError(f"the clicks {clicks} do not lie on nuclei of their own")
    group = np.isin(labels, ids)
    group |= ndimage.binary_closing(group, brush(CELL_BRUSH)) & (labels == 0)  # no seams within
    centres = group & (ndimage.distance_transform_edt(group) >= CELL_BRUSH + wobble)
    painted = ndimage.binary_dilation(centres, brush(CELL_BRUSH))
    member = np.select([labels == i for i in ids], range(1, len(ids) + 1))
    nearest = ndimage.distance_transform_edt(
        member == 0, return_distances=False, return_indices=True
    )
    painted &= group | (labels == 0)  # never over a neighbour that is not painted
    return np.where(painted, member[tuple(nearest)], 0)


def draw_stroke(canvas: Array, stroke: Stroke, rng: np.random.Generator) -> None:
    """Draw one smooth stroke into a boolean canvas, with a slightly unsteady hand."""
    count = len(stroke.points)
    curve, _ = splprep(np.transpose(stroke.points), s=count * 0.3, k=min(3, count - 1))
    steps = np.linspace(0.0, 1.0, 300)
    unsteady = ndimage.gaussian_filter1d(rng.normal(size=(3, steps.size)), 12, axis=1) * 2.0
    rows, columns = np.asarray(splev(steps, curve)) + unsteady[:2]
    radii = stroke.radius + 0.5 + 0.5 * unsteady[2]
    for row, column, radius in zip(rows, columns, radii, strict=True):
        canvas[disk((row, column), radius, shape=canvas.shape)] = True


def paint_cells(
    labels: Array, groups: tuple[tuple[Point, ...], ...], rng: np.random.Generator
) -> npt.NDArray[np.uint16]:
    """Paint all groups, and give each of their cells a number."""
    painted = np.zeros(labels.shape, np.uint16)
    noise = ndimage.gaussian_filter(rng.normal(size=labels.shape), 2.5)
    wobble = 0.3 + 0.7 * noise / noise.std()
    next_id = FIRST_CELL
    for clicks in groups:
        members = paint_group(labels, clicks, wobble)
        painted[members > 0] = (members[members > 0] + next_id - 1).astype(np.uint16)
        next_id += len(clicks)
    return painted


def paint_background(
    painted: Array, labels: Array, strokes: tuple[Stroke, ...], rng: np.random.Generator
) -> None:
    """Draw strokes of background beside what is painted; they keep off every cell."""
    background = np.zeros(labels.shape, bool)
    for stroke in strokes:
        draw_stroke(background, stroke, rng)
    painted[background & (labels == 0) & (painted == 0)] = BACKGROUND


def paint_nuclei(labels: Array) -> npt.NDArray[np.uint16]:
    """Paint nuclei, and background along their outlines and in the open."""
    rng = np.random.default_rng(SEED)
    painted = paint_cells(labels, CELL_GROUPS, rng)
    paint_background(painted, labels, STROKES, rng)
    return painted


def paint_phase(labels: Array) -> npt.NDArray[np.uint16]:
    """Paint ten cells with a ring of background around each, and background in the open."""
    rng = np.random.default_rng(SEED)
    painted = paint_cells(labels, PHASE_GROUPS, rng)
    noise = ndimage.gaussian_filter(rng.normal(size=labels.shape), 4.0)
    away = ndimage.distance_transform_edt(painted == 0)
    ring = (away > 0) & (away <= RING + noise / noise.std())
    painted[ring & (labels == 0)] = BACKGROUND
    paint_background(painted, labels, PHASE_STROKES, rng)
    return painted


def report(strokes: Array) -> str:
    """Return the counts that ``sample_data/README.md`` quotes."""
    background = int((strokes == BACKGROUND).sum())
    cells = int((strokes >= FIRST_CELL).sum())
    share = (background + cells) / strokes.size
    count = len(np.unique(strokes[strokes >= FIRST_CELL]))
    return f"{count} cells {cells} px, background {background} px, together {share:.2%}"


def save_overlay(path: Path, image: Array, strokes: Array) -> None:
    """Write the painting over the image, three times enlarged."""
    grey = np.clip(image / np.percentile(image, 99), 0, 1) ** 0.6
    enlarge = np.ones((3, 3), strokes.dtype)
    shown = label2rgb(np.kron(strokes, enlarge), np.kron(grey, enlarge), alpha=0.4, bg_label=0)
    imsave(path, (shown * 255).astype(np.uint8))


# What is painted on which sample, by whom.
PAINTINGS: tuple[tuple[str, str, Callable[[Array], Array]], ...] = (
    ("nuclei2d", "nuclei2d_strokes", paint_nuclei),
    ("phase2d", "phase2d_paint", paint_phase),
)


def main() -> None:
    """Write the paint beside the images it belongs to."""
    parser = argparse.ArgumentParser(description="Paint the 2D samples.")
    parser.add_argument("--overlays", type=Path, help="also write PNGs to look at into this folder")
    arguments = parser.parse_args()
    for sample, name, paint in PAINTINGS:
        painted = paint(tifffile.imread(SAMPLE_DATA / f"{sample}_labels.tif"))
        tifffile.imwrite(SAMPLE_DATA / f"{name}.tif", painted, compression="zlib")
        print(f"{name}: {report(painted)}")
        if arguments.overlays is not None:
            image = tifffile.imread(SAMPLE_DATA / f"{sample}_image.tif")
            save_overlay(arguments.overlays / f"{name}.png", image, painted)


if __name__ == "__main__":
    main()
