"""A result lies on the pixels of its image, also where the image is turned or has channels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from napari.layers import Image, Labels

from napari_unet.widgets.common import placement as placement_module
from napari_unet.widgets.common.placement import (
    anisotropy_of_scale,
    kept_axes,
    lies_over,
    moved_to,
    placement_along,
)

TURNED = np.array([[1, 0, 0], [0, 0.8, -0.6], [0, 0.6, 0.8]])
AFFINE = np.array([[1, 0, 0, 5], [0, 2, 0.5, 6], [0, 0, 3, 7], [0, 0, 0, 1.0]])


def image(**placement: Any) -> Image:
    about: dict[str, Any] = {
        "scale": (1, 0.5, 0.25),
        "translate": (0, 3, 4),
        "units": ("pixel", "um", "um"),
        "axis_labels": ("c", "y", "x"),
    }
    return Image(np.zeros((2, 40, 50)), **(about | placement))


@pytest.mark.fault(24)
@pytest.mark.parametrize(
    "placement",
    [{}, {"rotate": TURNED}, {"shear": [0, 0, 0.2]}, {"affine": AFFINE}],
    ids=["scaled", "turned", "sheared", "affine"],
)
def test_without_its_channels_a_pixel_stays_where_it_is(placement: dict[str, Any]) -> None:
    layer = image(**placement)

    result = Labels(np.zeros((40, 50), np.int32), **placement_along(layer, (1, 2)))

    np.testing.assert_allclose(
        result.data_to_world((7, 9)), layer.data_to_world((0, 7, 9))[1:], atol=1e-9
    )
    assert result.units == layer.units[1:]
    assert result.axis_labels == ("y", "x")


@pytest.mark.fault(24)
@pytest.mark.parametrize(
    "placement", [{"rotate": TURNED}, {"affine": AFFINE}, {"shear": [0, 0, 1]}]
)
def test_a_layer_of_a_part_lies_on_that_part(placement: dict[str, Any]) -> None:
    layer = image(**placement)
    placed = moved_to(placement_along(layer, (1, 2)), (10, 20))

    part = Labels(np.zeros((5, 5), np.int32), **placed)

    np.testing.assert_allclose(
        part.data_to_world((1, 2)), layer.data_to_world((0, 11, 22))[1:], atol=1e-9
    )


@pytest.mark.filterwarnings("ignore:Non-orthogonal slicing")
def test_a_rotation_that_moves_channels_into_space_is_left_out() -> None:
    mixed = TURNED[::-1, ::-1]

    assert "rotate" not in placement_along(image(rotate=mixed), (1, 2))


def test_axes_come_in_the_order_of_the_result() -> None:
    assert kept_axes("ZTCYX", 3) == (1, 0, 3, 4)


def test_all_axes_of_a_plane_are_kept() -> None:
    assert kept_axes("YXC", 2) == (0, 1)


def test_a_layer_that_is_moved_away_lies_there_no_more() -> None:
    layer = image()
    paint = Labels(np.zeros((40, 50), np.int32), **placement_along(layer, (1, 2)))
    assert lies_over(paint, layer, (1, 2))

    paint.translate = (3, 9)
    assert not lies_over(paint, layer, (1, 2))

    layer.translate = (0, 3, 9)
    assert lies_over(paint, layer, (1, 2))


def test_where_layers_lie_is_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = image()
    paint = Labels(np.zeros((40, 50), np.int32), **placement_along(layer, (1, 2)))
    assert lies_over(paint, layer, (1, 2))

    monkeypatch.setattr(placement_module, "CompositeAffine", None)

    assert lies_over(paint, layer, (1, 2))


@pytest.mark.parametrize(
    ("placement", "expected"),
    [
        ({"scale": (2.24, 1, 1)}, 2.24),
        ({"scale": (0.5, 0.25, 0.25), "units": ("um",) * 3}, 2.0),
        ({"scale": (0.5, 0.25, 0.25), "axis_labels": ("z", "y", "x")}, 2.0),
        ({"scale": (0.25, 0.25, 0.25)}, None),
        ({"scale": (0.5, 0.25, 0.25), "axis_labels": ("t", "y", "x")}, None),
        ({"scale": (0.5, 0.25, 0.25), "units": ("um", "pixel", "pixel")}, None),
    ],
)
def test_how_thick_slices_are_is_told_by_the_scale_alone(
    placement: dict[str, Any], expected: float | None
) -> None:
    found = anisotropy_of_scale(Image(np.zeros((4, 8, 8)), **placement))
    assert found == (None if expected is None else pytest.approx(expected))
