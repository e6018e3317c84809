"""Colours of classes and errors stay apart for colour-blind people.

Colour blindness is simulated by the matrices of Machado, Oliveira and Fernandes (2009, table 1,
severity 1), and distances are CIEDE2000: about 1 can just be seen, and 10 is seen at a glance.
"""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import pytest
from skimage.color import deltaE_ciede2000, rgb2lab

from napari_unet.evaluation.objects import CONFUSED, ERROR_VALUES, MERGED, SPLIT
from napari_unet.widgets.common.annotation import PALETTE
from napari_unet.widgets.train.plot import colours_on

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIGHT = {
    "normal": np.eye(3),
    "protanopia": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "deuteranopia": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
    "tritanopia": np.array(
        [
            [1.255528, -0.076749, -0.178779],
            [-0.078411, 0.930809, 0.147602],
            [0.004733, 0.691367, 0.303900],
        ]
    ),
}
NEAREST_CLASSES = 10.0
NEAREST_ERRORS = 12.0
NEAREST_CURVES = 20.0
NEAREST_TO_GREY = 8.0
MIDDLE_GREY = "#808080"


def seen(colour: str, sight: str) -> NDArray[np.float64]:
    """Return what a colour looks like, as CIE L*a*b*."""
    rgb = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    light = np.clip(SIGHT[sight] @ linear, 0, 1)
    rgb = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    lab: NDArray[np.float64] = rgb2lab(rgb[np.newaxis, np.newaxis])[0, 0]
    return lab


def distance(one: str, other: str, sight: str) -> float:
    return float(deltaE_ciede2000(seen(one, sight), seen(other, sight)))


def nearest(colours: tuple[str, ...], sight: str) -> float:
    return min(distance(one, other, sight) for one, other in combinations(colours, 2))


@pytest.mark.parametrize("sight", SIGHT)
def test_the_first_eight_classes_are_told_apart(sight: str) -> None:
    assert nearest(PALETTE[:8], sight) > NEAREST_CLASSES


@pytest.mark.parametrize("sight", SIGHT)
def test_all_colours_of_classes_are_told_apart(sight: str) -> None:
    assert nearest(PALETTE, sight) > NEAREST_CLASSES


@pytest.mark.parametrize("sight", SIGHT)
@pytest.mark.parametrize("colour", PALETTE[:8])
def test_a_class_is_told_from_grey_ground(colour: str, sight: str) -> None:
    assert distance(colour, MIDDLE_GREY, sight) > NEAREST_TO_GREY


@pytest.mark.parametrize("sight", SIGHT)
@pytest.mark.parametrize(
    "left_out", [(CONFUSED,), (MERGED, SPLIT)], ids=["of objects", "of classes"]
)
def test_errors_are_told_apart(sight: str, left_out: tuple[int, ...]) -> None:
    colours = tuple(each.colour for each in ERROR_VALUES if each.value not in left_out)

    assert nearest(colours, sight) > NEAREST_ERRORS


@pytest.mark.parametrize("sight", SIGHT)
@pytest.mark.parametrize("theme", ["dark", "light"])
def test_the_curves_of_a_training_are_told_apart(theme: str, sight: str) -> None:
    colours = colours_on(theme)

    assert nearest((colours.loss, colours.found, colours.score), sight) > NEAREST_CURVES


@pytest.mark.parametrize("name", ["magma", "inferno"])
def test_maps_of_one_quantity_grow_lighter_all_the_way(name: str) -> None:
    from napari.utils.colormaps import ensure_colormap

    colours = ensure_colormap(name).map(np.linspace(0, 1, 32))[:, :3]
    lightness = rgb2lab(colours[np.newaxis])[0, :, 0]

    assert (np.diff(lightness) > 0).all()
